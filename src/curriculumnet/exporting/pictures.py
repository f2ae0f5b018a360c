"""What is exported: pictures in their order, with what is known of them, and their bytes once these are verified."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.images.archives import is_archive, is_url, split_root

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.images.loader import Pictures

COLUMNS = (
    "subset",
    "cleanliness",
    "right_probability",
    "group",
    "rank",
    "query",
    "url",
    "licence",
    "digest",
)
"""What is said of a picture, where it is known, beside its label and split, in this order."""

_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "HEIF": ".heic", "JPEG2000": ".jp2", "DICOM": ".dcm"}
"""Endings of formats that are not the format's own name."""

_AT_ONCE = 1024
"""Rows that are made into Python objects at a time."""

_AHEAD = 2
"""Pictures for each thread that are read before they are asked for."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes
    ----------
    image_id : int
        Its row in the table of images.
    source, file_name : str
        Where its bytes lie.
    label : str
        Its category.
    category : int
        The category's place in their order.
    split : str
        train, val or test.
    subset : int or None
        Its subset, where there is a curriculum and it is for training.
    ending : str
        ``.jpg``, ``.png``, … by the format that was found.
    digest : str
        BLAKE2b-128 of its bytes.
    columns : dict of str to object
        The values of `COLUMNS` that are known.
    """

    image_id: int
    source: str
    file_name: str
    label: str
    category: int
    split: str
    subset: int | None
    ending: str
    digest: str
    columns: dict[str, Any]

    @property
    def key(self) -> str:
        """Its number in nine digits, so that names sort as numbers do."""
        return f"{self.image_id:09d}"


@dataclass(frozen=True)
class Part:
    """Rows that lie beside each other: those of a split, or of a subset of the training images."""

    split: str
    subset: int | None
    start: int
    stop: int

    @property
    def rows(self) -> range:
        """The rows."""
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Selection:
    """The pictures that are exported.

    Attributes
    ----------
    table : pyarrow.Table
        A row each, as `order.arranged` gives them.
    categories : sequence of str
        The categories in their order.
    n_subsets : int or None
        How many subsets the curriculum has; None without a curriculum.
    bytes_of : images.loader.Pictures
        Reads a picture, and verifies its digest.
    roots : dict of str to str
        Where each source lies: a folder, ``x.tar`` or ``x.tar#inner``.
    threads : int
        How many pictures are read at once.
    advance : callable
        Told how many pictures are done.
    """

    table: pa.Table
    categories: Sequence[str]
    n_subsets: int | None
    bytes_of: Pictures
    roots: dict[str, str]
    threads: int
    advance: Callable[[int], None] = field(repr=False)

    @property
    def known(self) -> tuple[str, ...]:
        """Those of `COLUMNS` of which any picture has a value."""
        there = [name for name in COLUMNS if name in self.table.column_names]
        return tuple(name for name in there if self.table[name].null_count < len(self.table))

    def parts(self) -> list[Part]:
        """Return the splits that there are, the training images subset by subset, in their order."""
        import numpy as np
        import pyarrow.compute as pc

        if not len(self.table):
            return []
        splits, subsets = self.table["split"].combine_chunks(), self.table["subset"].fill_null(-1).to_numpy()
        same = pc.equal(splits[1:], splits[:-1]).to_numpy(zero_copy_only=False) & (subsets[1:] == subsets[:-1])
        edges = [0, *(np.flatnonzero(~same) + 1).tolist(), len(self.table)]
        return [
            Part(splits[start].as_py(), None if subsets[start] < 0 else int(subsets[start]), start, stop)
            for start, stop in pairwise(edges)
        ]

    def splits(self) -> list[Part]:
        """Return the splits that there are."""
        found: dict[str, Part] = {}
        for part in self.parts():
            first = found.get(part.split, part)
            found[part.split] = Part(part.split, None, first.start, part.stop)
        return list(found.values())

    def pictures(self, rows: range) -> Iterator[Picture]:
        """Give the pictures of some rows."""
        place = {category: number for number, category in enumerate(self.categories)}
        for start in range(rows.start, rows.stop, _AT_ONCE):
            for row in self.table.slice(start, min(_AT_ONCE, rows.stop - start)).to_pylist():
                known = {name: row[name] for name in COLUMNS if row.get(name) is not None}
                yield Picture(
                    row["image_id"],
                    row["source"],
                    row["file_name"],
                    row["label"],
                    place[row["label"]],
                    row["split"],
                    row["subset"],
                    _ENDINGS.get(row["format"], f".{row['format'].lower()}"),
                    row["digest"],
                    known,
                )

    def verified(
        self, rows: range, wanted: Callable[[Picture], bool] = lambda _: True
    ) -> Iterator[tuple[Picture, bytes | None]]:
        """Give the pictures of some rows with their bytes, which are those that were ingested.

        Parameters
        ----------
        rows : range
        wanted : callable
            Says whether a picture is to be read; None stands for the bytes of one that is not.

        Raises
        ------
        SourceError
            A file is gone, or is not what was ingested.
        """
        for picture, data in self._read_ahead((each, wanted(each)) for each in self.pictures(rows)):
            yield picture, data
            self.advance(1)

    def _read_ahead(self, asked: Iterable[tuple[Picture, bool]]) -> Iterator[tuple[Picture, bytes | None]]:
        if not self.threads:
            yield from ((picture, self._read(picture) if read else None) for picture, read in asked)
            return
        waiting: deque[tuple[Picture, Future[bytes] | None]] = deque()
        pool = ThreadPoolExecutor(self.threads)
        try:
            for picture, read in asked:
                waiting.append((picture, pool.submit(self._read, picture) if read else None))
                if len(waiting) > _AHEAD * self.threads:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, picture: Picture) -> bytes:
        return self.bytes_of.read(picture.image_id)

    # -- where bytes lie ----------------------------------------------------------------------------------------------

    def file(self, picture: Picture) -> Path | None:
        """Return the path of a picture that is a file of its own; None where it lies in an archive or elsewhere."""
        path, _ = split_root(self.roots[picture.source])
        found = Path(path, picture.file_name)
        return found if not is_url(path) and Path(path).is_dir() and found.is_file() else None

    def location(self, picture: Picture, base: Path) -> str:
        """Return where a picture lies as seen from a folder, with ``/``; a member of a tar as ``../x.tar#member``."""
        path, inner = split_root(self.roots[picture.source])
        name = f"{inner}/{picture.file_name}" if inner else picture.file_name
        in_archive = is_archive(path) if is_url(path) else not Path(path).is_dir()
        return f"{seen_from(base, path)}{'#' if in_archive else '/'}{name}"


def _done(picture: Picture, read: Future[bytes] | None) -> tuple[Picture, bytes | None]:
    return picture, None if read is None else read.result()


def seen_from(base: Path, path: str | os.PathLike[str]) -> str:
    """Return a path relative to a folder, with ``/``; absolute where there is no way from one to the other."""
    if is_url(path):
        return os.fspath(path).rstrip("/")
    try:
        # Of a link to a folder, `..` is where the folder itself lies.
        return Path(os.path.relpath(path, base.resolve())).as_posix()
    except ValueError:
        return Path(path).absolute().as_posix()
