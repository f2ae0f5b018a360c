"""Folders as Hugging Face's `datasets` reads them: pictures, and `metadata.csv`, `.jsonl` or `.parquet` beside them."""

from __future__ import annotations

import json
import posixpath

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import may_be_image
from curriculumnet.sources.layout import COLUMNS, SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing
from curriculumnet.sources.tables import cells_of, listing_of, needed, stacked

_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with such a table, at the top or in the folders of splits, that names files and their labels.

    Where a person named the column of labels it is enough that there are files: reading says which columns there are.
    """
    paths = [] if place.name else [posixpath.join(folder, name) for folder, name in _tables(place).items()]
    wanted = {columns.file} if columns.label != COLUMNS.label else {columns.file, columns.label}
    return bool(paths) and all(wanted <= _titles(place, path) for path in paths)


def _titles(place: Place, path: str) -> set[str]:
    """Return the titles of a table; of one that cannot be read to its end those of its first row."""
    try:
        return set(cells_of(place.files, path, place.called(path)))
    except SourceError:
        first = place.files.read(path).partition(b"\n")[0].decode("utf-8", "replace")
        try:
            row = json.loads(first)
        except (ValueError, RecursionError):
            return {title.strip(' \t\r"\ufeff') for title in first.split(",")}
        return set(row) if isinstance(row, dict) else set()


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures that the tables name, each relative to its own folder.

    Raises
    ------
    SourceError
        As of `sources.tables`.
    """
    parts = []
    splits: list[str | None] = []
    for folder, name in _tables(place).items():
        path = posixpath.join(folder, name)
        part = cells_of(place.files, path, place.called(path))
        files = needed(part, columns.file, "file-column", place.called(path))
        parts.append(part | {columns.file: [posixpath.join(folder, file) if file else None for file in files]})
        # At the top, the folders of the files tell.
        splits += [SPLITS.get(folder or (file or "").split("/")[0]) for file in files]
    cells = stacked(parts)
    return listing_of(
        cells,
        columns,
        root=place.files.root,
        given=place.given,
        splits=splits if "train" in splits else [None] * len(splits),
        notes=_unnamed(place, set(cells[columns.file])),
    )


def _unnamed(place: Place, named: set[str | None]) -> tuple[str, ...]:
    """Return a sentence on pictures that no table names."""
    more = sum(may_be_image(name) and name not in named for name in place.files.names())
    return (f"Pictures of {place.given} that its table does not name and that are not read: {more:,}.",) if more else ()


def _tables(place: Place) -> dict[str, str]:
    """Return the tables by their folders: the one at the top, or those of the splits."""
    folders = ["", *(name.rstrip("/") for name in place.files.top() if name.endswith("/") and name[:-1] in SPLITS)]
    found = {folder: name for folder in folders for name in _METADATA if place.has(posixpath.join(folder, name))}
    return {"": found[""]} if "" in found else found
