"""What a source is: found out by what lies there; and its files, whatever it is."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curriculumnet.errors import SourceError, UsageError
from curriculumnet.images.archives import holder_of, is_archive, is_url, open_bytes, split_root
from curriculumnet.images.stored import GONE, Bytes, Holder
from curriculumnet.images.tar import Tar, compression, open_tar
from curriculumnet.sources import (
    class_tars,
    clothing1m,
    curriculum_lists,
    folders,
    food101n,
    hugging_face,
    img2dataset,
    lists,
    tables,
    webdataset,
    webvision,
)
from curriculumnet.sources.layout import COLUMNS, Columns, HeldPlace, Place
from curriculumnet.sources.listing import Listing, Names
from curriculumnet.sources.packed import Packed, packed_at

_WHAT = (
    "give a folder, a tar or another archive, a list "
    f"({', '.join(lists.LIST_ENDINGS)}) or a table ({', '.join(tables.TABLE_ENDINGS)})."
)

_AT_ONCE = 8192
"""Values that are made into Python strings at a time."""


class Kind(NamedTuple):
    """A kind of source.

    Attributes
    ----------
    what : str
        What a person calls it, in the plural or with an article.
    recognise : callable
        Says whether a place holds it.
    read : callable
        Lists its files.
    has_columns : bool
        Whether groups and ranks can be asked of it by the name of a column.
    """

    what: str
    recognise: Callable[[Place, Columns], bool]
    read: Callable[[Place, Columns], Listing]
    has_columns: bool = False


KINDS = {
    "table": Kind("a table", tables.recognise, tables.read, has_columns=True),
    "list": Kind("a list", lists.recognise, lists.read),
    "webvision": Kind("WebVision's lists", webvision.recognise, webvision.read),
    "clothing1m": Kind("Clothing1M", clothing1m.recognise, clothing1m.read),
    "food101n": Kind("Food-101N", food101n.recognise, food101n.read),
    "img2dataset": Kind("shards of img2dataset", img2dataset.recognise, img2dataset.read, has_columns=True),
    "huggingface": Kind(
        "a folder with a table of metadata", hugging_face.recognise, hugging_face.read, has_columns=True
    ),
    "curriculum-lists": Kind("a curriculum's lists", curriculum_lists.recognise, curriculum_lists.read),
    "webdataset": Kind("WebDataset", webdataset.recognise, webdataset.read, has_columns=True),
    "class-tars": Kind("tars of categories", class_tars.recognise, class_tars.read),
    "folders": Kind("class folders", folders.recognise, folders.read),
}
"""The kinds of sources, in the order in which they are asked whether one is theirs."""


@dataclass(frozen=True)
class Source:
    """A source that was read: what was given, and the files that it names.

    Attributes
    ----------
    given : str
        As the person gave it.
    place : str
        The same, made absolute: what tells one source from another.
    kind : str
        One of `KINDS`.
    table : str
        The list or table in that folder which names the files; empty where the folder itself is the source.
    files : Bytes
        The folder where the files' bytes lie.
    listing : Listing
        The files and their labels.
    unpacked : bool
        Whether the files are those of a tar into which it was unpacked.
    folder : str
        The folder in it that was taken for the source, as the only one there is; mostly none.
    """

    given: str
    place: str
    kind: str
    table: str
    files: Bytes
    listing: Listing
    unpacked: bool = False
    folder: str = ""

    @property
    def what(self) -> str:
        """What it was taken for."""
        inside = f" in its only folder, {self.folder!r}" if self.folder else ""
        return f"{KINDS[self.kind].what}{inside}{', unpacked' if self.unpacked else ''}"

    @property
    def has_columns(self) -> bool:
        """Whether it has columns that can be named."""
        return KINDS[self.kind].has_columns

    def stamps(self) -> NDArray[np.int64]:
        """Return each file's size, time and offset, as `images.stored.Stamp` has them; GONE where its row is set aside.

        Returns
        -------
        ndarray of int64, shape (n, 3)
        """
        found = np.full((len(self.listing), 3), GONE, dtype=np.int64)
        order = self.by_tar(np.arange(len(self.listing)))
        for row, name in zip(order.tolist(), Names(self.listing.file_names.take(order)), strict=True):
            if row not in self.listing.set_aside:
                found[row] = self.files.stamp(name)
        return found

    def by_tar(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rows of the listing in an order in which those of one tar lie beside each other.

        Of tars in a folder only some are known at a time: in a mixed order most would be gone through again and again.
        """
        names = self.listing.file_names.take(rows)
        if not pc.any(pc.match_substring(names, "#")).as_py():
            return rows
        # By the whole name, of which the tar's is the beginning.
        return rows[pc.array_sort_indices(names).to_numpy()]

    def fingerprint(self, stamps: NDArray[np.int64]) -> str:
        """Return a digest that changes when the files or what is said of them do; no picture is read.

        Parameters
        ----------
        stamps : ndarray of int64, shape (n, 3)
            As `stamps` gives them.
        """
        listing = self.listing
        digest = hashlib.blake2b(self.files.version().encode(), digest_size=16)
        digest.update(np.ascontiguousarray(stamps[:, :2], dtype="<i8").data)
        columns = [
            listing.file_names,
            listing.labels,
            listing.splits,
            listing.groups,
            listing.urls,
            listing.licences,
        ]
        # Without ranks and queries the digest is that of versions which knew none.
        for column in [*columns, *(each for each in (listing.ranks, listing.queries) if each is not None)]:
            digest.update(b"\1")
            if column is None:
                continue
            for start in range(0, len(column), _AT_ONCE):
                for value in column[start : start + _AT_ONCE].to_pylist():
                    digest.update(b"\0" if value is None else str(value).encode("utf-8") + b"\n")
        digest.update(repr((sorted(listing.set_aside.items()), listing.not_images)).encode())
        return digest.hexdigest()


def check_there(given: str | os.PathLike[str]) -> tuple[str, str]:
    """Return a source's path, and the part of it that is meant if it is an archive; nothing is read.

    Raises
    ------
    SourceError
        It is not there.
    UsageError
        It has no name.
    """
    text = os.fspath(given)
    if not text:
        raise UsageError("No source is named: give a folder, an archive, a list or a table.")
    try:
        os.path.abspath(text).encode("utf-8")  # noqa: PTH100
    except UnicodeEncodeError:
        raise SourceError(
            f"The path of the source {text!a} is not UTF-8 and cannot be written down: rename it, or give a link."
        ) from None
    path, inner = split_root(text)
    # Path.exists would raise where a folder above may not be entered.
    if not is_url(path) and not os.path.exists(path):  # noqa: PTH110
        if set(text) & set("*{"):
            raise SourceError(f"{text} is not there, and patterns are not known: give the folder of the files.")
        raise SourceError(f"{text} is not there, or may not be read: check the name, or the folder that you are in.")
    return path, inner


def read_source(
    given: str | os.PathLike[str],
    *,
    columns: Columns = COLUMNS,
    unpack: Callable[[Packed], str] | None = None,
    indexes: str = "",
) -> Source:
    """Find out what a source is, and list its files.

    Parameters
    ----------
    given : path-like
        A folder, a list, a table, an archive, or the URL of one; ``x.tar#part`` is a folder, list or table inside one.
    columns : Columns
        Which columns of a table hold what.
    unpack : callable, optional
        Called where the pictures have no place of their own, as in a compressed archive: it unpacks them, and returns
        the path of the uncompressed tar.
    indexes : str
        The folder in which the indexes of large tars are kept; empty where they are not.

    Raises
    ------
    SourceError
        It is not there, or is nothing that holds or names pictures.
    UsageError
        A column of groups or ranks is asked of what has no columns.
    """
    text = os.fspath(given)
    path, inner = check_there(given)
    if not is_url(path):
        path = str(Path(path).resolve())
    absolute = f"{path}#{inner}" if inner else path
    holder, name = holder_of(path, indexes)
    packed = packed_at(HeldPlace(holder, name, text), path, columns)
    if packed is not None:
        if unpack is None:
            raise SourceError(
                f"{text} is {packed.what}, and pictures in it cannot be read in place: unpack it and give the folder."
            )
        holder, name = holder_of(unpack(packed), indexes)
        inner = inner or packed.inner
    try:
        files, table = _located(holder, name, inner, text)
    except SourceError as error:
        if packed is None:
            raise
        # Nobody has named the tar into which it was unpacked.
        unpacked = posixpath.join(holder.root, name)
        raise SourceError(str(error).replace(unpacked, split_root(text)[0])) from error
    place = Place(files, table, text)
    kind, listing = _read(place, columns)
    folder = "" if kind != "folders" else folders.only_folder(listing) or _named_inside(files, listing, text, columns)
    if folder:
        around, place = listing, Place(_inside(files, folder), "", text)
        kind, listing = _read(place, columns)
        beside = [name for name in files.top() if name.lower().endswith(tables.TABLE_ENDINGS)]
        told = (f"The table {beside[0]} of {text} lies beside that folder and is not read.",) if beside else ()
        listing = replace(listing, notes=(*around.notes, *told, *listing.notes), not_images=around.not_images)
    if not KINDS[kind].has_columns and (columns.group or columns.rank):
        flag = "--group-column" if columns.group else "--rank-column"
        raise UsageError(f"{flag} names a column of a table, but {text} is no table: leave it out.")
    return Source(text, absolute, kind, table, place.files, listing, packed is not None, folder)


def _read(place: Place, columns: Columns) -> tuple[str, Listing]:
    """Return the kind of a source, and its files."""
    kind = next(each for each in KINDS if _is_of(each, place, columns))
    return kind, KINDS[kind].read(place, columns)


def _named_inside(files: Bytes, listing: Listing, given: str, columns: Columns) -> str:
    """Return the folder at the top if it is the only one, and a data set that is known by what lies there."""
    tops = {name.partition("/")[0] for name in listing.names}
    folder = tops.pop() if len(tops) == 1 and listing.names else ""
    if not folder or "/" not in listing.names[0]:
        return ""
    place = Place(_inside(files, folder), "", given)
    return folder if any(_is_of(kind, place, columns) for kind in KINDS if kind != "folders") else ""


def _inside(files: Bytes, folder: str) -> Bytes:
    """Return a folder of a folder or tar."""
    if isinstance(files, Tar):
        return files.inside(posixpath.join(files.inner, folder))
    return open_bytes(posixpath.join(files.root, folder))


def _is_of(kind: str, place: Place, columns: Columns) -> bool:
    """Say whether a place holds a kind of source; what cannot be read as that is none."""
    try:
        return KINDS[kind].recognise(place, columns)
    except SourceError:
        return False


def _located(holder: Holder, name: str, inner: str, given: str) -> tuple[Bytes, str]:
    """Return the folder that a source lies in, and the list or table that it is; no name where it is the folder."""
    endings = (*lists.LIST_ENDINGS, *tables.TABLE_ENDINGS)
    if not name:
        if inner:
            path = given.removesuffix(f"#{inner}")
            raise SourceError(f"{path} is a folder, and no tar: write {path}/{inner}.")
        return holder, ""
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".tar":
        tar = open_tar(holder, name)
        folder, _, base = inner.rpartition("/")
        if tar.index.find(inner) is not None:
            if PurePosixPath(inner).suffix.lower() not in endings:
                raise SourceError(f"{given} is a file, but no list or table: {_WHAT}")
            return tar.inside(folder), base
        return tar.inside(inner), ""
    if ending in endings:
        return holder, name
    kind = compression(holder.read_range(name, 0, 8))
    if kind:
        raise SourceError(
            f"{given} is compressed ({kind}), which cannot be unpacked here: unpack it and give the folder."
        )
    raise SourceError(f"{given} is no source of pictures: {_WHAT}")


def source_name(given: str | os.PathLike[str]) -> str:
    """Return what a source is called: the last part of its path, without the ending of a file.

    >>> source_name("data/pets.tar#pets/crawl"), source_name("data/pets.csv"), source_name("data/my.pets.csv")
    ('crawl', 'pets', 'my.pets')
    """
    path, inner = split_root(given)
    if inner:
        last = PurePosixPath(inner)
        return last.stem if last.suffix.lower() in (*lists.LIST_ENDINGS, *tables.TABLE_ENDINGS) else last.name
    name = path.rstrip("/").rpartition("/")[2] if is_url(path) else Path(path).resolve().name
    if not is_url(path) and Path(path).is_dir():
        return name
    return _stem(name)


def _stem(name: str) -> str:
    """Return a file's name without its ending, of which some have two parts.

    >>> _stem("pets.tar.gz"), _stem("my.pets.csv")
    ('pets', 'my.pets')
    """
    stem = PurePosixPath(name).stem
    return PurePosixPath(stem).stem if is_archive(name) and stem.lower().endswith(".tar") else stem
