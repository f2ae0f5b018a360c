"""The list of URLs: what is fetched, and what is written beside each picture."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.errors import SourceError
from curriculumnet.images.folder import Folder
from curriculumnet.sources.listing import is_valid, printable
from curriculumnet.sources.tables import TABLE_ENDINGS, Cells, cells_of, needed, texts

if TYPE_CHECKING:
    import pyarrow as pa

OURS = (
    "label", "caption", "url", "key", "status", "error_message", "width", "height", "original_width",
    "original_height", "exif", "sha256",
)  # fmt: skip
"""The columns of a shard's table that do not come from the list; one of such a name in it is written as ``list_…``."""


@dataclass(frozen=True)
class Listed:
    """A list of URLs, in columns.

    Attributes
    ----------
    urls, labels : sequence of str or None
        What is fetched, and the category that it was found under.
    captions : sequence of str or None
        What a picture was searched by, or its category.
    further : dict of str to pyarrow.Array
        The list's other columns.
    """

    urls: Sequence[str | None]
    labels: Sequence[str | None]
    captions: Sequence[str | None]
    further: dict[str, pa.Array]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.urls)


def read_listed(path: Path, *, url_column: str, category_column: str, query_column: str) -> Listed:
    """Read a list: a CSV, TSV, JSON lines or Parquet table.

    Raises
    ------
    SourceError
        It is not there, a folder or none of these, a column is missing, or it has no row.
    """
    if path.is_dir():
        raise SourceError(
            f"{path} is a folder: give a table of URLs ({', '.join(TABLE_ENDINGS)}); `ingest` reads folders."
        )
    if not path.is_file():
        raise SourceError(f"{path} is not there: give a table of URLs ({', '.join(TABLE_ENDINGS)}).")
    if path.suffix.lower() not in TABLE_ENDINGS:
        raise SourceError(f"{path} is no list of URLs: give a table ({', '.join(TABLE_ENDINGS)}) with a column `url`.")
    given = str(path)
    columns = cells_of(Folder(str(path.parent)), path.name, given)
    urls = _needed(columns, url_column, "url-column", given)
    labels = _needed(columns, category_column, "category-column", given)
    if not urls:
        raise SourceError(f"{path} has no row: give a list with a URL in each.")
    queries = texts(columns, query_column, given) or [None] * len(urls)
    captions = [printable(query) if query else label for query, label in zip(queries, labels, strict=True)]
    made = {title: _array(values) for title, values in columns.items() if title not in (url_column, category_column)}
    further: dict[str, pa.Array] = {}
    for title, values in made.items():
        if values is not None:
            further[_renamed(title, made.keys() | further.keys())] = values
    return Listed(urls, labels, captions, further)


def _needed(cells: Cells, title: str, flag: str, given: str) -> list[str | None]:
    """Return a column as text without white space around it, None where it is empty."""
    found = needed(cells, title, flag, given)
    for row, value in enumerate(found, 1):
        if value and not is_valid(value):
            raise SourceError(f"The column {title!r} of {given} is not UTF-8 text in row {row}: save it as UTF-8.")
    return [(value or "").strip() or None for value in found]


def _renamed(title: str, taken: Collection[str]) -> str:
    """Return what a column of the list is called in the shards, whose own columns have their names."""
    if title not in OURS:
        return title
    while title in OURS or title in taken:
        title = f"list_{title}"
    return title


def _array(values: list[Any]) -> pa.Array | None:
    """Return a column as Arrow has it: of its own type where it has one; None where it holds several values a row."""
    import pyarrow as pa

    if any(isinstance(value, list | dict | bytes) for value in values):
        return None
    known = [_known(value) for value in values]
    try:
        made = pa.array(known)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([_written(value) for value in known], pa.string())
    return made.cast(pa.string()) if pa.types.is_null(made.type) else made


def _known(value: Any) -> Any:
    """Return a value, None where it is empty or no number."""
    if isinstance(value, str):
        return printable(value) or None
    return None if isinstance(value, float) and math.isnan(value) else value


def _written(value: Any) -> str | None:
    """Return a value of a column of several types as text, as JSON writes it."""
    return value if value is None or isinstance(value, str) else json.dumps(value, default=str)
