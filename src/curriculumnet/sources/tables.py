"""Tables: CSV, TSV, JSON lines or Parquet, with a column of file names and one of labels."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import is_url
from curriculumnet.images.stored import Bytes
from curriculumnet.sources.layout import COLUMNS, SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing, is_valid, make_listing
from curriculumnet.sources.text import bytes_of, file_name, text_of

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")

_REASON = 120
"""Characters of a foreign reason that are kept."""

_DOWNLOADED = "success"
"""The status of a URL whose picture img2dataset has."""

Cells = dict[str, list[Any]]
"""A table: its columns by their titles."""


def recognise(place: Place, columns: Columns) -> bool:
    """Take a table."""
    del columns
    return place.name.lower().endswith(TABLE_ENDINGS)


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures that a table names, relative to its folder.

    Raises
    ------
    SourceError
        As of `cells_of` and `listing_of`.
    """
    cells = cells_of(place.files, place.name, place.given)
    return listing_of(cells, columns, root=place.files.root, given=place.given, set_aside=not_downloaded(cells))


def cells_of(files: Bytes, name: str, given: str) -> Cells:
    """Return a table.

    Parameters
    ----------
    files : Bytes
        The table's folder, or the folder of a tar.
    name : str
        The table.
    given : str
        What to call it in a message.

    Raises
    ------
    SourceError
        It is damaged.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".parquet":
        return _parquet(bytes_of(files, name, given), given)
    if ending == ".jsonl":
        return _json_lines(text_of(files, name, given), given)
    return _delimited(text_of(files, name, given), "\t" if ending == ".tsv" else ",", given)


def stacked(parts: list[Cells]) -> Cells:
    """Return several tables as one, with the columns of all; None where a table has not the column."""
    titles = dict.fromkeys(title for part in parts for title in part)
    rows = [len(next(iter(part.values()), [])) for part in parts]
    return {
        title: [value for part, n in zip(parts, rows, strict=True) for value in part.get(title, [None] * n)]
        for title in titles
    }


def not_downloaded(cells: Cells) -> dict[int, tuple[str, str]]:
    """Return state and reason of the URLs whose pictures img2dataset did not download, by their rows.

    It has written what came of each into the columns `status` and `error_message`.
    """
    if not {"key", "status", "error_message"} <= cells.keys():
        return {}
    return {
        row: ("missing", f"not downloaded: {' '.join(str(error or status or 'no status').split())[:_REASON]}")
        for row, (status, error) in enumerate(zip(cells["status"], cells["error_message"], strict=True))
        if status != _DOWNLOADED
    }


def listing_of(
    cells: Cells,
    columns: Columns,
    *,
    root: str,
    given: str,
    splits: Sequence[str | None] | None = None,
    set_aside: Mapping[int, tuple[str, str]] | None = None,
    not_images: int = 0,
    notes: tuple[str, ...] = (),
) -> Listing:
    """Make a listing of a table.

    Beside the named columns, `split`, `group`, `rank`, `query`, `url` and `licence` (or `license`) are taken where they
    are there.

    Parameters
    ----------
    cells : dict of str to list
        The table.
    columns : Columns
        Which columns hold what.
    root : str
        Where the names of the files lie.
    given : str
        What to call the table in a message.
    splits : sequence of str or None, optional
        The split of each row, where the table does not tell.
    set_aside : mapping of int to (str, str), optional
        State and reason of rows whose files are not there.
    not_images : int
        Files beside it that are no pictures by their names.
    notes : tuple of str
        Sentences on what is left out.

    Raises
    ------
    SourceError
        A column is missing or holds bytes, or more than one value a row, a split has an unknown name, or a rank is no
        finite number.
    """
    how = f"`curriculumnet collect {given}{_category_column(cells, columns)} -o SHARDS` fetches them"
    if columns.file not in cells and "url" in cells and columns.file == COLUMNS.file:
        raise SourceError(
            f"{given} names no files in a column {columns.file!r}, but URLs: {how}; or name the column of files by "
            "--file-column."
        )
    labels = needed(cells, columns.label, "label-column", given)
    for row, label in enumerate(labels):
        if label and not is_valid(label):
            raise SourceError(f"The label in row {row + 1} of {given} is not UTF-8 text: save the table as UTF-8.")
    names = needed(cells, columns.file, "file-column", given)
    if names and is_url(names[0] or "") and not is_url(root):
        raise SourceError(f"{given} names URLs, not files: {how}.")
    return make_listing(
        root,
        [file_name(each or "") for each in names],
        [(label or "").strip() for label in labels],
        _splits(texts(cells, "split", given), len(labels), given) if "split" in cells or splits is None else splits,
        unlabelled="no label",
        set_aside=set_aside,
        groups=needed(cells, columns.group, "group-column", given) if columns.group else _single(cells, "group", given),
        ranks=_ranks(cells, columns.rank, given) if columns.rank else _numbers(cells),
        queries=_single(cells, "query", given),
        urls=_single(cells, "url", given),
        licences=_single(cells, "licence" if "licence" in cells else "license", given),
        not_images=not_images,
        notes=notes,
    )


def _category_column(cells: Cells, columns: Columns) -> str:
    """Return the flag with which `collect` finds the categories, where it needs one."""
    return f" --category-column {columns.label}" if "category" not in cells and columns.label in cells else ""


# -- formats ----------------------------------------------------------------------------------------------------------


def _delimited(text: str, delimiter: str, given: str) -> Cells:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        header = next(reader, [])
        rows = []
        for row in reader:
            if len(row) > len(header):
                raise SourceError(
                    f"Line {reader.line_num} of {given} has {len(row)} values, but the header has {len(header)}: "
                    f"put values that hold {delimiter!r} in quotation marks."
                )
            if row:
                rows.append(row + [""] * (len(header) - len(row)))
    except csv.Error as error:
        raise SourceError(f"Line {reader.line_num} of {given} cannot be read ({error}): mend it.") from error
    places = {title: header.index(title) for title in header}
    return {title: [row[place] for row in rows] for title, place in places.items()}


def _json_lines(text: str, given: str) -> Cells:
    rows = []
    # JSON may hold other separators of lines than this one inside its texts.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"Line {number} of {given} is not JSON ({error}): mend it.") from error
        if not isinstance(row, dict):
            raise SourceError(
                f"Line {number} of {given} is no JSON object: write one `{{…}}` with named values a line."
            )
        rows.append(row)
    titles = dict.fromkeys(title for row in rows for title in row)
    return {title: [row.get(title) for row in rows] for title in titles}


def _parquet(data: bytes, given: str) -> Cells:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = file.schema_arrow
        twice = next((title for title in schema.names if schema.names.count(title) > 1), None)
        if twice is not None:
            raise SourceError(f"{given} has two columns {twice!r}: rename one of them.")
        # Nested and binary columns, such as pictures, are only named: no value of theirs is wanted.
        plain = [field.name for field in schema if not (pa.types.is_nested(field.type) or _is_binary(field.type))]
        table, names = file.read(plain), class_names(schema)
        return {
            title: named(table[title].to_pylist(), names.get(title))
            if title in plain
            else [[]] * file.metadata.num_rows
            for title in schema.names
        }
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{given} is no Parquet table, or is damaged ({reason}): make it anew.") from error


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return what the numbers in columns of labels stand for, where Hugging Face's `datasets` has written that down.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    dict of str to list of str
        By the titles of the columns.
    """
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {title: each["names"] for title, each in features.items() if each.get("_type") == "ClassLabel"}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}


def named(values: list[Any], names: list[str] | None) -> list[Any]:
    """Return numbers as the names that they stand for, if they stand for any; -1 is none."""
    if names is None:
        return values
    return [names[value] if isinstance(value, int) and 0 <= value < len(names) else None for value in values]


# -- columns ----------------------------------------------------------------------------------------------------------


def needed(cells: Cells, title: str, flag: str, given: str) -> list[str | None]:
    """Return a column as text, None where it is empty.

    Raises
    ------
    SourceError
        There is no such column, or it holds bytes, or more than one value a row.
    """
    values = texts(cells, title, given)
    if values is None:
        known = ", ".join(repr(name) for name in cells) or "none"
        if len(cells) == 1 and any(mark in known for mark in ";|\\"):
            raise SourceError(f"{given} has one column, {known}: save it with commas between the values.")
        raise SourceError(f"{given} has no column {title!r}; its columns are {known}: name the right one by --{flag}.")
    return values


def texts(cells: Cells, title: str, given: str) -> list[str | None] | None:
    """Return a column as text, None where it is empty; None when there is no such column.

    Raises
    ------
    SourceError
        It holds bytes, or more than one value a row.
    """
    if title not in cells:
        return None
    return [_text(value, title, given) for value in cells[title]]


def _single(cells: Cells, title: str, given: str) -> list[str | None] | None:
    """Return a column that nobody named as text; None when there is none of single values."""
    if any(isinstance(value, list | dict) for value in cells.get(title, ())):
        return None
    return texts(cells, title, given)


def _numbers(cells: Cells) -> list[float | None] | None:
    """Return the column `rank`, if all it holds are finite numbers."""
    try:
        return _ranks(cells, "rank", "") if "rank" in cells else None
    except SourceError:
        return None


def _text(value: Any, title: str, given: str) -> str | None:
    if isinstance(value, list | dict):
        raise SourceError(
            f"The column {title!r} of {given} holds bytes, or more than one value a row: give one of texts or numbers."
        )
    if isinstance(value, float):
        # pandas makes numbers with gaps into floating-point ones.
        return None if math.isnan(value) else f"{value:.15g}"
    return None if value is None or value == "" else str(value)


def _ranks(cells: Cells, title: str, given: str) -> list[float | None]:
    texts = needed(cells, title, "rank-column", given)
    # A text of a floating-point number may have lost its last digits.
    values = [value if isinstance(value, float) else text for value, text in zip(cells[title], texts, strict=True)]
    return [_rank(value, row, title, given) for row, value in enumerate(values, 1)]


def _rank(value: float | str | None, row: int, title: str, given: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()) or value != value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(
            f"The column {title!r} of {given} has the value {str(value)[:80]!r} in row {row}, but must hold finite "
            "numbers, the lower the better: change it, or leave it empty."
        )
    return number


def _splits(values: Sequence[str | None] | None, rows: int, given: str) -> list[str | None]:
    if values is None:
        return [None] * rows
    strange = sorted(_unknown(values))
    if strange:
        raise SourceError(
            f"The column 'split' of {given} has the value {strange[0]!r}, but must hold train, val or test: "
            "change it, or give the column another name."
        )
    return [SPLITS[value.strip().lower()] if value else None for value in values]


def _unknown(values: Iterable[str | None]) -> set[str]:
    return {value for value in set(values) if value and value.strip().lower() not in SPLITS}
