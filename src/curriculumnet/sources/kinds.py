"""What a source is: a folder, a tar, a list or a table; and its files, whatever it is."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from curriculumnet.errors import SourceError, UsageError
from curriculumnet.images.archives import GONE, Bytes, Folder, Tar, compression, open_tar, split_root
from curriculumnet.sources.folders import read_folders
from curriculumnet.sources.listing import Listing
from curriculumnet.sources.lists import LIST_ENDINGS, read_list
from curriculumnet.sources.tables import TABLE_ENDINGS, read_table

_WHAT = (
    f"give a folder, an uncompressed .tar, a list ({', '.join(LIST_ENDINGS)}) or a table ({', '.join(TABLE_ENDINGS)})."
)

_AT_ONCE = 8192
"""Values that are made into Python strings at a time."""


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
        ``folders``, ``list`` or ``table``; ``tar`` for any of them inside a tar.
    table : str
        The list or table in that folder which names the files; empty where the folder itself is the source.
    files : Bytes
        The folder where the files' bytes lie.
    listing : Listing
        The files and their labels.
    """

    given: str
    place: str
    kind: str
    table: str
    files: Bytes
    listing: Listing

    def stamps(self) -> NDArray[np.int64]:
        """Return each file's size and time, as `images.archives.Stamp` has them; GONE where its row is set aside.

        Returns
        -------
        ndarray of int64, shape (n, 2)
        """
        found = np.full((len(self.listing), 2), GONE, dtype=np.int64)
        for row, name in enumerate(self.listing.names):
            if row not in self.listing.set_aside:
                found[row] = self.files.stamp(name)
        return found

    def fingerprint(self, stamps: NDArray[np.int64]) -> str:
        """Return a digest that changes when the files or what is said of them do; no picture is read.

        Parameters
        ----------
        stamps : ndarray of int64, shape (n, 2)
            As `stamps` gives them.
        """
        listing = self.listing
        digest = hashlib.blake2b(self.files.version().encode(), digest_size=16)
        digest.update(np.ascontiguousarray(stamps, dtype="<i8").data)
        columns = [
            listing.file_names,
            listing.labels,
            listing.splits,
            listing.groups,
            listing.urls,
            listing.licences,
        ]
        # Without ranks the digest is that of versions which knew none.
        for column in columns if listing.ranks is None else [*columns, listing.ranks]:
            digest.update(b"\1")
            if column is None:
                continue
            for start in range(0, len(column), _AT_ONCE):
                for value in column[start : start + _AT_ONCE].to_pylist():
                    digest.update(b"\0" if value is None else str(value).encode("utf-8") + b"\n")
        digest.update(repr((sorted(listing.set_aside.items()), listing.not_images)).encode())
        return digest.hexdigest()


def check_there(given: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return a source's path, and the part of it that is meant if it is a tar; nothing is read.

    Raises
    ------
    SourceError
        It is not there.
    """
    text = os.fspath(given)
    try:
        os.path.abspath(text).encode("utf-8")  # noqa: PTH100
    except UnicodeEncodeError:
        raise SourceError(
            f"The path of the source {text!a} is not UTF-8 and cannot be written down: rename it, or give a link."
        ) from None
    path, inner = split_root(text)
    # Path.exists would raise where a folder above may not be entered.
    if not os.path.exists(path):  # noqa: PTH110
        raise SourceError(f"{text} is not there, or may not be read: check the name, or the folder that you are in.")
    return path, inner


def read_source(
    given: str | os.PathLike[str],
    *,
    label_column: str = "label",
    file_column: str = "file_name",
    group_column: str | None = None,
    rank_column: str | None = None,
) -> Source:
    """Find out what a source is, and list its files.

    Parameters
    ----------
    given : path-like
        A folder of class folders, a list, a table, or an uncompressed tar; ``x.tar#part`` is a folder, list or table
        inside one.
    label_column, file_column, group_column, rank_column : str
        Which columns of a table hold what.

    Raises
    ------
    SourceError
        It is not there, or is nothing that holds or names pictures.
    UsageError
        A column of groups or ranks is asked of what is no table.
    """
    text = os.fspath(given)
    path, inner = check_there(given)
    path = path.resolve()
    place = f"{path}#{inner}" if inner else str(path)
    files, name = _locate(path, inner, text)
    ending = PurePosixPath(name).suffix.lower()
    if ending in TABLE_ENDINGS:
        listing = read_table(
            files,
            name,
            text,
            label_column=label_column,
            file_column=file_column,
            group_column=group_column,
            rank_column=rank_column,
        )
        kind = "table"
    elif group_column or rank_column:
        flag = "--group-column" if group_column else "--rank-column"
        raise UsageError(f"{flag} names a column of a table, but {text} is no table: leave it out.")
    elif ending in LIST_ENDINGS:
        listing, kind = read_list(files, name, text), "list"
    else:
        listing, kind = read_folders(files), "folders"
    return Source(text, place, "tar" if isinstance(files, Tar) else kind, name, files, listing)


def _locate(path: Path, inner: str, given: str) -> tuple[Bytes, str]:
    """Return the folder that a source lies in, and the list or table that it is; no name where it is the folder."""
    if path.is_dir():
        return Folder(str(path)), ""
    ending = path.suffix.lower()
    if ending == ".tar":
        tar = open_tar(path)
        folder, _, name = inner.rpartition("/")
        if tar.index.find(inner) is not None:
            if PurePosixPath(inner).suffix.lower() not in (*LIST_ENDINGS, *TABLE_ENDINGS):
                raise SourceError(f"{given} is a file, but no list or table: {_WHAT}")
            return tar.inside(folder), name
        return tar.inside(inner), ""
    if ending in (*LIST_ENDINGS, *TABLE_ENDINGS):
        return Folder(str(path.parent)), path.name
    kind = compression(path)
    if kind:
        raise SourceError(
            f"{given} is compressed ({kind}), and pictures in it cannot be read in place: "
            "unpack it and give the folder."
        )
    raise SourceError(f"{given} is no source of pictures: {_WHAT}")


def source_name(given: str | os.PathLike[str]) -> str:
    """Return what a source is called: the last part of its path, without the ending of a file.

    >>> source_name("data/pets.tar#pets/crawl"), source_name("data/pets.csv"), source_name("data/my.pets/")
    ('crawl', 'pets', 'my.pets')
    """
    path, inner = split_root(given)
    if inner:
        last = PurePosixPath(inner)
        return last.stem if last.suffix.lower() in (*LIST_ENDINGS, *TABLE_ENDINGS) else last.name
    path = path.resolve()
    return path.name if path.is_dir() else path.stem
