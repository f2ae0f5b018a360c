"""Pictures in the cells of tables: Parquet and Arrow as Hugging Face's `datasets` and img2dataset write them.

A picture is a cell of `{bytes, path}`, or of bytes alone. Data sets that were made from files on a disk have paths
only, which are read then.
"""

from __future__ import annotations

import contextlib
import io
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import GONE
from curriculumnet.sources.layout import SPLITS, Columns, HeldPlace, Member, member
from curriculumnet.sources.tables import class_names, named

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "table.parquet"
"""What the table is called in the tar, with the names of the pictures instead of the pictures."""

_PICTURES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
"""What a column of bytes is called that holds pictures, in the order of preference."""

_ROWS = 64
"""Rows that are read at a time: of ten megabytes each they take less than a gigabyte."""

_FIRST_WORD = re.compile(r"[a-z]+")


def tables_with_pictures(place: HeldPlace) -> list[str]:
    """Return the tables at a place that hold pictures, in code-point order; none where there are no such.

    They are a Parquet file; Parquet files at the top of a folder, or in its `data`; or Arrow files as
    `Dataset.save_to_disk` leaves them.

    Raises
    ------
    SourceError
        The first one is damaged.
    """
    names = [place.name] if place.name else _in_folder(place)
    names = [name for name in names if name.lower().endswith((".parquet", ".arrow"))]
    return names if names and _picture_column(_schema(place, names[0])) is not None else []


def cell_members(
    place: HeldPlace, names: list[str], columns: Columns, advance: Callable[[int], None]
) -> Iterator[Member]:
    """Give the pictures of tables one after the other, and at last the table of all other columns.

    Parameters
    ----------
    place : HeldPlace
    names : list of str
        The tables.
    columns : Columns
        Which columns hold what; the names of the pictures take the place of the column of files.
    advance : callable
        Told how many more of the tables' bytes were read.

    Raises
    ------
    SourceError
        A table is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: list[pa.Table] = []
    for name in names:
        schema = _schema(place, name)
        picture, classes, row = _picture_column(schema), class_names(schema), 0
        size, read = place.files.size(name), 0
        for batch, share in _batches(place, name):
            files: list[str | None] = []
            for cell in batch[picture].to_pylist() if picture else [None] * batch.num_rows:
                data, path = _picture(place, cell)
                files.append(_called(name, row, path) if data is not None else path or None)
                if data is not None:
                    yield member(str(files[-1]), io.BytesIO(data), len(data))
                row += 1
            parts.append(
                _described(batch, picture, classes, _split(name), {columns.file: pa.array(files, pa.string())})
            )
            advance(int(size * share) - read)
            read = int(size * share)
    table = pa.concat_tables(parts, promote_options="permissive")
    data_of_table = pa.BufferOutputStream()
    pq.write_table(table, data_of_table)
    whole = data_of_table.getvalue().to_pybytes()
    yield member(TABLE, io.BytesIO(whole), len(whole))


def _in_folder(place: HeldPlace) -> list[str]:
    """Return the tables of a folder that could hold pictures."""
    top = place.files.top()
    if "state.json" in top:
        return _arrows(place, "")
    if "dataset_dict.json" in top:
        return [name for folder in top if folder.endswith("/") for name in _arrows(place, folder)]
    found = [name for name in top if name.lower().endswith(".parquet")]
    if not found and "data/" in top:
        found = [name for name in place.files.names() if re.fullmatch(r"data/[^/]+\.parquet", name)]
    return found


def _arrows(place: HeldPlace, folder: str) -> list[str]:
    """Return the files of a data set that `save_to_disk` wrote, in their order."""
    state = posixpath.join(folder, "state.json")
    if place.files.stamp(state).size == GONE:
        return []
    try:
        told = json.loads(place.files.read(state))["_data_files"]
        return [posixpath.join(folder, each["filename"]) for each in told]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{place.called(state)} does not name its files: save the data set anew.") from error


def _schema(place: HeldPlace, name: str) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with place.files.open(name) as file:
            return pa.ipc.open_stream(file).schema if name.endswith(".arrow") else pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(place, name, error) from error


def _damaged(place: HeldPlace, name: str, error: Exception) -> SourceError:
    called = place.given if place.name else place.called(name)
    kind = "Arrow" if name.endswith(".arrow") else "Parquet"
    return SourceError(f"{called} is no {kind} table, or is damaged ({str(error).splitlines()[0]}): make it anew.")


def _batches(place: HeldPlace, name: str) -> Iterator[tuple[pa.Table, float]]:
    """Give a table's rows, some at a time, with the share of it that is read by then."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with place.files.open(name) as file:
            if name.endswith(".arrow"):
                size = place.files.size(name)
                for batch in pa.ipc.open_stream(file):
                    yield pa.Table.from_batches([batch]), min(1.0, file.tell() / max(1, size))
                return
            table, done = pq.ParquetFile(file), 0
            for batch in table.iter_batches(_ROWS):
                done += batch.num_rows
                yield pa.Table.from_batches([batch]), done / max(1, table.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(place, name, error) from error


def _picture_column(schema: pa.Schema) -> str | None:
    """Return the column that holds pictures; None where none does."""
    import pyarrow as pa

    def holds(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    cells = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and {"bytes", "path"} <= {each.name for each in field.type}
        and holds(field.type.field("bytes").type)
    ]
    plain = [field.name for field in schema if holds(field.type) and field.name in _PICTURES]
    found = [*cells, *plain]
    return min(found, key=lambda name: _PICTURES.index(name) if name in _PICTURES else len(_PICTURES), default=None)


def _picture(place: HeldPlace, cell: Any) -> tuple[bytes | None, str]:
    """Return a picture's bytes, None where there are none, and the name that the cell tells."""
    if not isinstance(cell, dict):
        return cell, ""
    data, path = cell.get("bytes"), str(cell.get("path") or "")
    if data is None and path:
        with contextlib.suppress(OSError):
            data = place.files.read(path)
    return data, path


def _called(table: str, row: int, path: str) -> str:
    """Return what a picture is called: paths in cells need not differ."""
    base = posixpath.basename(path.replace("\\", "/"))
    return f"{posixpath.splitext(table)[0]}/{row:08}{f'-{base}' if base else ''}"


def _described(
    batch: pa.Table, picture: str | None, classes: dict[str, list[str]], split: str | None, files: dict[str, pa.Array]
) -> pa.Table:
    """Return rows with the names of their pictures: numbers of classes as their names, and nothing nested."""
    import pyarrow as pa

    kept: dict[str, Any] = {} if split is None else {"split": pa.array([split] * batch.num_rows)}
    for field in batch.schema:
        if field.name == picture or pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            continue
        values = batch[field.name]
        if field.name in classes:
            values = pa.array(named(values.to_pylist(), classes[field.name]), pa.string())
        kept[field.name] = values
    return pa.table(kept | files)


def _split(name: str) -> str | None:
    """Return the split that a table's folder or name begins with."""
    folder, _, base = name.rpartition("/")
    word = _FIRST_WORD.match(base.lower())
    return SPLITS.get(folder) or (SPLITS.get(word[0]) if word else None)
