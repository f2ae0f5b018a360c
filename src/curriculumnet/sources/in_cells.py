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
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from curriculumnet.errors import SourceError
from curriculumnet.images.decode import Unreadable, probe
from curriculumnet.sources.folders import PICTURE_ENDINGS
from curriculumnet.sources.img2dataset import shards
from curriculumnet.sources.layout import SPLITS, Columns, HeldPlace
from curriculumnet.sources.tables import class_names, named
from curriculumnet.sources.text import few

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "table.parquet"
"""What the table is called in the tar, with the names of the pictures instead of the pictures."""

_PICTURES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
"""What a column of bytes is called that holds pictures, in the order of preference."""

_ARROW_FILE = b"ARROW1"

_TRIED = 8
"""Tables of a folder that are looked into for pictures."""

_ROWS = 64
"""Rows that are read at a time: of ten megabytes each they take less than a gigabyte."""

_FIRST_WORD = re.compile(r"[a-z]+")


def tables_with_pictures(place: HeldPlace) -> tuple[list[str], tuple[str, ...]]:
    """Return the tables at a place that hold pictures, in code-point order, and sentences on what is left out.

    They are a Parquet file; Parquet files at the top of a folder without other folders, or in its only folder `data`;
    or Arrow files as `Dataset.save_to_disk` leaves them.

    Raises
    ------
    SourceError
        A table that was given itself is damaged.
    """
    notes: tuple[str, ...] = ()
    names = [place.name]
    if not place.name:
        names, notes = _in_folder(place)
    names = [name for name in names if name.lower().endswith((".parquet", ".arrow"))]
    if not names:
        return [], ()
    if place.name:
        return (names, notes) if _picture_column(_schema(place, names[0])) is not None else ([], ())
    first = next((n for n, name in enumerate(names[:_TRIED]) if _holds_pictures(place, name)), None)
    if first is None:
        return [], ()
    if first:
        notes = (*notes, f"{few(names[:first])} of {place.given} holds no pictures, and is not read.")
    return names[first:], notes


def _holds_pictures(place: HeldPlace, name: str) -> bool:
    """Say whether a table holds pictures: a damaged one is no reason to take its folder for something else."""
    try:
        return _picture_column(_schema(place, name)) is not None
    except SourceError:
        return False


def write_pictures(
    place: HeldPlace, names: list[str], columns: Columns, out: IO[bytes], advance: Callable[[int], None]
) -> None:
    """Write a tar of the pictures in tables, and at last the table of all other columns.

    Parameters
    ----------
    place : HeldPlace
    names : list of str
        The tables.
    columns : Columns
        Which columns hold what; the names of the pictures take the place of the column of files.
    out : binary file
        Written to.
    advance : callable
        Told how many more of the tables' bytes were read.

    Raises
    ------
    SourceError
        A table is damaged, all are empty, or they have columns of one name and different types.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = [_described_schema(place, name, columns) for name in names]
    try:
        whole = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise _unfitting(place, error) from error
    parts: list[pa.Table] = []
    with tarfile.open(fileobj=out, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        for name in names:
            picture, classes = _picture_column(_schema(place, name)), class_names(_schema(place, name))
            size, read, row = place.files.size(name), 0, 0
            for batch, share in _batches(place, name):
                files: list[str | None] = []
                for cell in batch[picture].to_pylist() if picture else [None] * batch.num_rows:
                    data, path = _picture(place, cell)
                    files.append(_called(name, row, path) if data is not None else path or None)
                    if data is not None:
                        _add(tar, str(files[-1]), data)
                    row += 1
                called = {columns.file: pa.array(files, pa.string())}
                parts.append(_described(batch, picture, classes, _split(name), called))
                advance(int(size * share) - read)
                read = int(size * share)
        if not parts:
            raise SourceError(f"{place.given} holds no rows: give a table with pictures.")
        try:
            fitting = [part.cast(pa.schema([whole.field(name) for name in part.column_names])) for part in parts]
            joined = pa.concat_tables(fitting, promote_options="permissive")
        except pa.ArrowException as error:
            raise _unfitting(place, error) from error
        table = pa.BufferOutputStream()
        pq.write_table(joined, table)
        _add(tar, TABLE, table.getvalue().to_pybytes())


def _unfitting(place: HeldPlace, error: Exception) -> SourceError:
    return SourceError(
        f"The tables of {place.given} do not fit together ({str(error).splitlines()[0]}): give each column one type."
    )


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _in_folder(place: HeldPlace) -> tuple[list[str], tuple[str, ...]]:
    """Return the tables of a folder that could hold pictures, and sentences on what is left out."""
    top = [name for name in place.files.top() if not name.startswith(".")]
    if "dataset_info.json" in top and (found := _arrows(place, "")):
        return found, ()
    if "dataset_dict.json" in top:
        folders = {folder: _arrows(place, folder) for folder in top if folder.endswith("/")}
        empty = [folder for folder, found in folders.items() if not found]
        told = f"{few(empty)} in {place.given} is no whole part of the data set, and is not read."
        return [name for found in folders.values() for name in found], (told,) if empty else ()
    if "data/" not in top and not any(name.lower().endswith(".parquet") for name in top):
        return [], ()
    names = place.files.names()
    if any(name.lower().endswith(tuple(PICTURE_ENDINGS)) for name in names):
        # Where pictures lie as files, a table beside them is none of pictures.
        return [], ()
    tables = [name for name in names if re.fullmatch(r"(data/)?[^/.][^/]*\.parquet", name, re.IGNORECASE)]
    finished, unfinished = shards(place)
    notes = tuple(f"The shard {shard} of {place.given} was not finished, and is left out." for shard in unfinished)
    if finished:
        return [f"{shard}.parquet" for shard in finished], notes
    others = [name for name in names if name.lower().endswith(".parquet") and name not in tables]
    return tables, (f"{few(others)} in {place.given} lies elsewhere, and is not read.",) if others else ()


def _arrows(place: HeldPlace, folder: str) -> list[str]:
    """Return the files of a data set that `save_to_disk` wrote, in their order; none where it did not."""
    state = posixpath.join(folder, "state.json")
    try:
        told = json.loads(place.files.read(state))["_data_files"]
        return [posixpath.join(folder, each["filename"]) for each in told]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _schema(place: HeldPlace, name: str) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with place.files.open(name) as file:
            found = _arrow(file)[0] if name.endswith(".arrow") else pq.read_schema(file)
        # A damaged name is found only by looking at it.
        sorted(each.name for field in found for each in field.flatten())
        return found
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(place, name, error) from error


def _arrow(file: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open an Arrow file, of which there are two kinds: streams, and files with a table of contents."""
    import pyarrow as pa

    if file.read(len(_ARROW_FILE)) == _ARROW_FILE:
        found = pa.ipc.open_file(file)
        return found.schema, (found.get_batch(number) for number in range(found.num_record_batches))
    file.seek(0)
    stream = pa.ipc.open_stream(file)
    return stream.schema, iter(stream)


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
                for batch in _arrow(file)[1]:
                    # Damaged text is seen only when it is looked at.
                    batch.validate(full=True)
                    yield pa.Table.from_batches([batch]), min(1.0, file.tell() / max(1, size))
                return
            table, done = pq.ParquetFile(file), 0
            for batch in table.iter_batches(_ROWS):
                done += batch.num_rows
                batch.validate(full=True)
                yield pa.Table.from_batches([batch]), done / max(1, table.metadata.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
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
    """Return a picture's bytes, None where there are none, and the name that the cell tells.

    A path without bytes is followed as that of a list would be; what is no picture there is not taken along.
    """
    if not isinstance(cell, dict):
        return cell, ""
    data, path = cell.get("bytes"), str(cell.get("path") or "")
    if data is None and path:
        with contextlib.suppress(OSError, Unreadable):
            found = place.files.read(path)
            probe(found)
            data = found
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

    kept: dict[str, Any] = {} if split is None else {"split": pa.array([split] * batch.num_rows, pa.string())}
    for field in batch.schema:
        if field.name == picture or not _is_single(field.type):
            continue
        values = batch[field.name]
        if field.name in classes:
            values = pa.array(named(values.to_pylist(), classes[field.name]), pa.string())
        kept[field.name] = values
    return pa.table(kept | files)


def _described_schema(place: HeldPlace, name: str, columns: Columns) -> pa.Schema:
    """Return the columns that `_described` gives for a table."""
    import pyarrow as pa

    schema = _schema(place, name)
    twice = next((title for title in schema.names if schema.names.count(title) > 1), None)
    if twice is not None:
        raise SourceError(f"{place.given} has two columns {twice!r}: rename one of them.")
    none = pa.table({field.name: pa.array([], field.type) for field in schema})
    files = {columns.file: pa.array([], pa.string())}
    return _described(none, _picture_column(schema), class_names(schema), _split(name), files).schema


def _is_single(kind: pa.DataType) -> bool:
    """Say whether a column has one value a row that is no bytes."""
    import pyarrow as pa

    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _split(name: str) -> str | None:
    """Return the split that a table's folder or name begins with."""
    folder, _, base = name.rpartition("/")
    word = _FIRST_WORD.match(base.lower())
    return SPLITS.get(folder) or (SPLITS.get(word[0]) if word else None)
