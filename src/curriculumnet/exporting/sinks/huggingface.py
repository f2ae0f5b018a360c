"""Hugging Face: an image folder with metadata, which ``datasets.load_dataset`` reads with its splits and classes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.lines import json_line
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import Part, Picture, Selection

FOLDERS = {"train": "train", "val": "validation", "test": "test"}
"""What the splits are called there."""

METADATA = "metadata.jsonl"

_TYPES = {"subset": "int64", "cleanliness": "float64", "right_probability": "float64", "rank": "float64"}
"""Of columns that are not text."""

_ABSENT: dict[str, Any] = {"int64": -1, "float64": math.nan, "string": ""}
"""What stands where a value is not known: the library takes a split of which a column is empty throughout to have
another type of column than the others, and refuses them all. It reads NaN, though JSON does not know it."""


def write(selection: Selection, staging: Staging, options: Options) -> None:
    """Write a folder for each split, with pictures and ``metadata.jsonl``, and a ``README.md`` that describes them.

    Columns that are empty for all pictures are left out. Rows are in the curriculum's order.

    Parameters
    ----------
    selection : Selection
    staging : Staging
    options : Options
        None is used.

    Raises
    ------
    InputError
        A picture has changed.
    """
    del options
    columns, splits = selection.known, selection.splits()
    for part in splits:
        _write_split(selection, staging, columns, part)
    staging.write("README.md", _readme(selection, columns, splits).encode("utf-8"))


def _write_split(selection: Selection, staging: Staging, columns: Sequence[str], part: Part) -> None:
    folder = FOLDERS[part.split]
    if staging.has(f"{folder}/{METADATA}"):
        selection.advance(len(part.rows))
        return
    with staging.open(f"{folder}/{METADATA}") as file:
        for picture, data in selection.verified(part.rows, lambda each: not staging.has(f"{folder}/{_name(each)}")):
            if data is not None:
                staging.write(f"{folder}/{_name(picture)}", data)
            file.write(json_line(_said(picture, columns)))


def _name(picture: Picture) -> str:
    return f"{picture.key}{picture.ending}"


def _said(picture: Picture, columns: Sequence[str]) -> dict[str, Any]:
    known = {name: picture.columns.get(name, _ABSENT[_TYPES.get(name, "string")]) for name in columns}
    return {
        "file_name": _name(picture),
        "label": picture.label,
        "split": picture.split,
        **known,
        # Not `original_file_name`: the library takes every column whose name ends so for pictures.
        "original": picture.file_name,
        "image_id": picture.image_id,
    }


def _readme(selection: Selection, columns: Sequence[str], splits: Sequence[Part]) -> str:
    features = [("split", "string"), *((name, _TYPES.get(name, "string")) for name in columns)]
    features += [("original", "string"), ("image_id", "int64")]
    lines = [
        "---",
        "task_categories:",
        "- image-classification",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for part in splits:
        lines += [f"  - split: {FOLDERS[part.split]}", f"    path: {FOLDERS[part.split]}/**"]
    lines += ["  features:", "  - name: image", "    dtype: image", "  - name: label", "    dtype:"]
    lines += ["      class_label:", "        names:"]
    lines += [f"          '{number}': {_quoted(name)}" for number, name in enumerate(selection.categories)]
    for name, kind in features:
        lines += [f"  - name: {name}", f"    dtype: {kind}"]
    return "\n".join([*lines, "---", "", *_text(selection, splits)]) + "\n"


def _quoted(name: str) -> str:
    """Return a name as YAML has it between quotation marks: as JSON, but with what cannot be seen by its number."""
    letters = json.dumps(name, ensure_ascii=False)
    return "".join(
        each if each.isprintable() else each.encode("ascii", "backslashreplace").decode() for each in letters
    )


def _text(selection: Selection, splits: Sequence[Part]) -> list[str]:
    counts = ", ".join(f"{len(part.rows):,} {FOLDERS[part.split]}" for part in splits)
    text = [
        "# A crawl of images",
        "",
        f"{counts} images in {len(selection.categories):,} categories, exported by curriculumnet. `label` is the "
        "category an image was found under, right or wrong; `original` is its name in the source. `url` and `licence`, "
        "where there are such columns, say where a picture is from and what may be done with it.",
        "",
    ]
    if selection.n_subsets is None:
        return [*text, "There is no curriculum."]
    return [
        *text,
        f"Training images are ordered by a curriculum: `subset` 0 is clean, {selection.n_subsets - 1} the most "
        "doubtful; `cleanliness` is the rank within the category, 1 the cleanest. `subset` is -1, and a number NaN, "
        "where there is none, as of images of other splits.",
    ]
