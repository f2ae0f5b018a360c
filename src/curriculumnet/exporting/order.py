"""The order in which images are exported, and what is said of each: from the tables of a work folder to one table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curriculumnet.errors import InputError
from curriculumnet.work.tables import SPLITS

OF_IMAGES = ("image_id", "source", "file_name", "label", "split", "format", "digest", "group", "rank")
"""What is taken from the table of images; and `query`, `url`, `licence`, where it has them."""

WHERE_THERE = ("query", "url", "licence")


def arranged(images: pa.Table, curriculum: pa.Table | None, subsets: Collection[int] = ()) -> pa.Table:
    """Return the used images in the order of a curriculum.

    Training images come first, subset by subset, from clean to doubtful: the cleanliness is a rank within a category,
    so that categories mix. Validation and test images follow. Where all else is equal, image ids rise.

    Parameters
    ----------
    images : pyarrow.Table
        The table of images.
    curriculum : pyarrow.Table, optional
        A curriculum of these images.
    subsets : collection of int
        The subsets from which training images are taken; all, if empty.

    Returns
    -------
    pyarrow.Table
        The columns of `OF_IMAGES` and `WHERE_THERE`, and `subset`, `cleanliness`, `right_probability`, empty where
        there is none.

    Raises
    ------
    InputError
        The curriculum lacks a training image.
    """
    found = images.select([*OF_IMAGES, *(name for name in WHERE_THERE if name in images.column_names)])
    found = found.filter(pc.equal(images["state"], "used"))
    for name, values in _placed(images.num_rows, curriculum).items():
        found = found.append_column(name, values.take(found["image_id"]))
    split = pc.index_in(found["split"], value_set=pa.array(SPLITS, pa.string())).to_numpy()
    if curriculum is not None:
        # Images of other splits have no place in it, even if the table said so.
        _check_complete(found.filter(pa.array(split == 0)))
    subset = found["subset"].fill_null(0).to_numpy()
    doubt = -found["cleanliness"].fill_null(0.0).to_numpy()
    order = np.lexsort((found["image_id"].to_numpy(), doubt, subset, split))
    if subsets:
        order = order[(split[order] != 0) | np.isin(subset[order], list(subsets))]
    return found.take(pa.array(order)).combine_chunks()


def _placed(n: int, curriculum: pa.Table | None) -> dict[str, pa.Array]:
    """Return what a curriculum says of each of n images, in the order of their ids."""
    kinds = {"subset": pa.int64(), "cleanliness": pa.float64(), "right_probability": pa.float64()}
    if curriculum is None:
        return {name: pa.nulls(n, kind) for name, kind in kinds.items()}
    ids = curriculum["image_id"].to_numpy()
    found = {}
    for name, kind in kinds.items():
        values = np.zeros(n, np.int64 if name == "subset" else np.float64)
        there = np.zeros(n, np.bool_)
        if name in curriculum.column_names:
            column = curriculum[name]
            there[ids] = column.is_valid().to_numpy()
            values[ids] = _shortest(column.fill_null(0).to_numpy())
            there &= np.isfinite(values)
        found[name] = pa.array(values, kind, mask=~there)
    return found


def _shortest(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers of single precision as those of double precision that are written as shortly: 0.95 is 0.95."""
    return values.astype("U16").astype(np.float64) if values.dtype == np.float32 else values


def _check_complete(training: pa.Table) -> None:
    lacking = training.filter(training["subset"].is_null())
    if lacking.num_rows:
        raise InputError(
            f"The curriculum has no row for {lacking.num_rows:,} training images, such as "
            f"{lacking['file_name'][0].as_py()}: `curriculumnet design` makes it again."
        )
