"""Tables: CSV, TSV, JSON lines or Parquet, with a column of file names and one of labels."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import Bytes
from curriculumnet.sources.listing import Listing, is_valid, make_listing
from curriculumnet.sources.text import bytes_of, file_name, text_of

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}

Columns = dict[str, list[Any]]


def read_table(
    files: Bytes,
    name: str,
    given: str,
    *,
    label_column: str,
    file_column: str,
    group_column: str | None = None,
    rank_column: str | None = None,
) -> Listing:
    """List the pictures that a table names.

    Names are relative to the table's folder. Beside the named columns, `split`, `url` and `licence` (or `license`)
    are taken where they are there.

    Parameters
    ----------
    files : Bytes
        The table's folder, or the folder of a tar.
    name : str
        The table.
    given : str
        What to call it in a message.
    label_column, file_column, group_column, rank_column : str
        Which columns hold what.

    Raises
    ------
    SourceError
        A column is missing or holds more than one value a row, the table is damaged, a split has an unknown name, or a
        rank is no finite number.
    """
    columns = read_columns(files, name, given)
    labels = _needed(columns, label_column, "label-column", given)
    for row, label in enumerate(labels):
        if label and not is_valid(label):
            raise SourceError(f"The label in row {row + 1} of {given} is not UTF-8 text: save the table as UTF-8.")
    names = _needed(columns, file_column, "file-column", given)
    return make_listing(
        files.root,
        [file_name(each or "") for each in names],
        [(label or "").strip() for label in labels],
        _splits(texts(columns, "split", given), len(labels), given),
        unlabelled="no label",
        groups=_needed(columns, group_column, "group-column", given) if group_column else None,
        ranks=_ranks(columns, rank_column, given) if rank_column else None,
        urls=texts(columns, "url", given),
        licences=texts(columns, "licence" if "licence" in columns else "license", given),
    )


def read_columns(files: Bytes, name: str, given: str) -> Columns:
    """Read all columns of a table; of nested and binary ones in Parquet only the names.

    Raises
    ------
    SourceError
        The table is damaged, or may not be read.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".parquet":
        return _parquet(bytes_of(files, name, given), given)
    if ending == ".jsonl":
        return _json_lines(text_of(files, name, given), given)
    return _delimited(text_of(files, name, given), "\t" if ending == ".tsv" else ",", given)


# -- formats ----------------------------------------------------------------------------------------------------------


def _delimited(text: str, delimiter: str, given: str) -> Columns:
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


def _json_lines(text: str, given: str) -> Columns:
    rows = []
    # JSON may hold other separators of lines than this one inside its texts.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SourceError(f"Line {number} of {given} is not JSON ({error}): mend it.") from error
        if not isinstance(row, dict):
            raise SourceError(
                f"Line {number} of {given} is no JSON object: write one `{{…}}` with named values a line."
            )
        rows.append(row)
    titles = dict.fromkeys(title for row in rows for title in row)
    return {title: [row.get(title) for row in rows] for title in titles}


def _parquet(data: bytes, given: str) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{given} is no Parquet table, or is damaged ({reason}): make it anew.") from error
    nested = {field.name for field in table.schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)}
    # Nested and binary columns, such as pictures, are only named: no value of theirs is wanted.
    return {
        title: [[]] * table.num_rows if title in nested else table.column(place).to_pylist()
        for place, title in enumerate(table.column_names)
    }


# -- columns ----------------------------------------------------------------------------------------------------------


def _needed(columns: Columns, title: str, flag: str, given: str) -> list[str | None]:
    values = texts(columns, title, given)
    if values is None:
        known = ", ".join(repr(name) for name in columns) or "none"
        raise SourceError(f"{given} has no column {title!r}; its columns are {known}: name the right one by --{flag}.")
    return values


def texts(columns: Columns, title: str, given: str) -> list[str | None] | None:
    """Return a column as text, None where it is empty; None when there is no such column."""
    if title not in columns:
        return None
    return [_text(value, title, given) for value in columns[title]]


def _text(value: Any, title: str, given: str) -> str | None:
    if isinstance(value, list | dict):
        raise SourceError(
            f"The column {title!r} of {given} holds more than one value a row: give one with a single one."
        )
    if isinstance(value, float):
        # pandas makes numbers with gaps into floating-point ones.
        return None if math.isnan(value) else f"{value:.15g}"
    return None if value is None or value == "" else str(value)


def _ranks(columns: Columns, title: str, given: str) -> list[float | None]:
    texts = _needed(columns, title, "rank-column", given)
    # A text of a floating-point number may have lost its last digits.
    values = [value if isinstance(value, float) else text for value, text in zip(columns[title], texts, strict=True)]
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
    return [_SPLITS[value.strip().lower()] if value else None for value in values]


def _unknown(values: Iterable[str | None]) -> set[str]:
    return {value for value in set(values) if value and value.strip().lower() not in _SPLITS}
