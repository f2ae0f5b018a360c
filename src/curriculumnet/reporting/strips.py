"""Which pictures stand for a category: its centre, its cleanest and its most doubtful images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curriculumnet.reporting.categories import Category
from curriculumnet.reporting.contents import Contents

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Picture:
    """One image of a strip."""

    image_id: int
    file_name: str
    subset: int
    cleanliness: float


@dataclass(frozen=True)
class Strip:
    """A category's pictures; no image is in two of the three groups."""

    category: Category
    centre: tuple[Picture, ...]
    cleanest: tuple[Picture, ...]
    doubtful: tuple[Picture, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures in the order in which they are shown."""
        return self.centre + self.cleanest + self.doubtful


def by_category(contents: Contents, shown: Sequence[Category]) -> dict[int, pa.Table]:
    """Return each category's rows of the curriculum, the cleanest first, by the category's index.

    Categories that have none are left out.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if contents.curriculum is None:
        return {}
    table = contents.curriculum.images
    labels = contents.images["label"].take(table["image_id"])
    place = pc.index_in(labels, value_set=pa.array([category.name for category in shown], pa.string()))
    places = pc.fill_null(place, len(shown)).to_numpy()
    order = np.lexsort((table["image_id"].to_numpy(), -table["cleanliness"].to_numpy(), places))
    borders = np.searchsorted(places[order], np.arange(len(shown) + 1))
    return {
        category.index: table.take(order[first:last])
        for category, first, last in zip(shown, borders[:-1], borders[1:], strict=True)
        if last > first
    }


def strip(contents: Contents, category: Category, table: pa.Table, each: int) -> Strip:
    """Choose a category's pictures.

    Parameters
    ----------
    contents : Contents
    category : Category
    table : pyarrow.Table
        Its rows of the curriculum, the cleanest first.
    each : int
        Pictures in each of the groups of the cleanest and the most doubtful, where there are so many.
    """
    is_centre = table["is_centre"].to_pylist()
    centre = [row for row, true in enumerate(is_centre) if true][:1]
    others = [row for row in range(table.num_rows) if row not in centre]
    cleanest = others[: min(each, (len(others) + 1) // 2)]
    doubtful = others[len(cleanest) :][-each:][::-1]
    found = iter(_pictures(contents, table.take(centre + cleanest + doubtful)))
    groups = [tuple(next(found) for _ in group) for group in (centre, cleanest, doubtful)]
    return Strip(category, groups[0], groups[1], groups[2])


def _pictures(contents: Contents, table: pa.Table) -> list[Picture]:
    names = contents.images["file_name"].take(table["image_id"]).to_pylist()
    columns = (table[name].to_pylist() for name in ("image_id", "subset", "cleanliness"))
    return [
        Picture(image_id, name, subset, cleanliness)
        for name, image_id, subset, cleanliness in zip(names, *columns, strict=True)
    ]
