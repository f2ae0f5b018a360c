"""Where bytes lie: in a folder, in an uncompressed tar that is read in place, or in either of them on the network.

A place is written as a *root*: ``crawl/``, ``crawl.tar``, ``crawl.tar#inner/folder``, ``s3://bucket/crawl``. Opening
one holds no file open, so what is opened can be sent to other processes and used by threads.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from curriculumnet.images.folder import Folder
from curriculumnet.images.stored import Bytes, Holder
from curriculumnet.images.tar import open_tar, split_member, whole

# fmt: off
_NO_IMAGE_ENDINGS = frozenset((
    ".7z", ".arrow", ".avi", ".bz2", ".cfg", ".csv", ".db", ".doc", ".docx", ".gz", ".ini", ".ipynb", ".json",
    ".jsonl", ".list", ".log", ".lst", ".m4v", ".md", ".mkv", ".mov", ".mp3", ".mp4", ".ndjson", ".npy", ".npz",
    ".parquet", ".pkl", ".pt", ".pth", ".py", ".rar", ".rst", ".rtf", ".sh", ".sqlite", ".tar", ".tgz", ".toml",
    ".tsv", ".txt", ".wav", ".webm", ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst",
))
# fmt: on
"""Endings of names that are passed over. All other files are looked into, web pages too: crawlers save pictures under
names such as ``.php`` or ``.aspx``, and pages under ``.jpg``."""


_HELD = 4096
"""Tars whose folder is kept."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
"""How places on the network begin; a single letter before a colon is a drive of Windows."""

_ARCHIVE = r".+?\.(?:tar|zip|tgz|tbz2|txz|tar\.(?:gz|bz2|xz|zst))"
_INNER = re.compile(rf"({_ARCHIVE})#(.*)", re.IGNORECASE | re.DOTALL)


def is_url(root: str | os.PathLike[str]) -> bool:
    """Say whether a root lies on the network.

    >>> is_url("s3://bucket/crawl"), is_url("C:/crawl"), is_url("crawl")
    (True, False, False)
    """
    return _URL.match(os.fspath(root)) is not None


def is_archive(name: str) -> bool:
    """Say whether a file is an archive by its name.

    >>> is_archive("pets.tar"), is_archive("pets.tar.gz"), is_archive("pets.tar#pets")
    (True, True, False)
    """
    return re.fullmatch(_ARCHIVE, name, re.IGNORECASE | re.DOTALL) is not None


def split_root(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the path of a root and the part inside its archive, which is empty when there is none.

    >>> split_root("crawl.tar#photos/cats/")
    ('crawl.tar', 'photos/cats')
    """
    text = os.fspath(root)
    found = _INNER.match(text)
    if found is None or (not is_url(text) and os.path.lexists(text)):
        return text, ""
    inner = posixpath.normpath(found[2].strip("/"))
    return found[1], "" if inner == "." else inner


def local_path(root: str) -> Path | None:
    """Return the path of a root on this machine, which may be a URL too; None where it is on the network.

    >>> local_path("s3://bucket/crawl") is None
    True
    """
    if not is_url(root):
        return Path(root)
    parts = urlsplit(root)
    return Path(url2pathname(parts.path)) if parts.scheme.lower() == "file" else None


def holder_of(path: str, indexes: str = "") -> tuple[Holder, str]:
    """Return the folder that a path names, or the folder in which the file lies that it names, and the file's name.

    Parameters
    ----------
    path : str
        A path or a URL.
    indexes : str
        The folder in which the indexes of large tars are kept; empty where they are not.

    Raises
    ------
    SourceError
        It lies on the network, and cannot be reached.
    """
    if is_url(path):
        from curriculumnet.images.remote import Remote

        place = Remote(path.rstrip("/"), indexes)
        if not _is_web_folder(path) and place.is_file():
            return Remote(path[: path.rindex("/")], indexes), path[path.rindex("/") + 1 :]
        return place, ""
    if os.path.isdir(path):  # noqa: PTH112
        return Folder(path, indexes), ""
    return Folder(os.fspath(Path(path).parent), indexes), Path(path).name


def _is_web_folder(url: str) -> bool:
    """Say whether a URL is a web server's folder: such a server calls everything a file, pages that list a folder too.

    >>> _is_web_folder("http://host/pets"), _is_web_folder("http://host/pets.csv"), _is_web_folder("s3://bucket/pets")
    (True, False, False)
    """
    parts = urlsplit(url)
    return parts.scheme.lower() in ("http", "https") and not re.search(r"\.\w+$", parts.path)


def open_bytes(root: str) -> Bytes:
    """Open the files of a folder, a tar, or a folder inside a tar.

    Parameters
    ----------
    root : str
        A folder, ``x.tar``, or ``x.tar#inner``, on this machine or, as a URL, on the network.

    Raises
    ------
    SourceError
        It is not there, is no tar, or the tar is compressed or damaged.
    """
    path, inner = split_root(root)
    holder, name = holder_of(path)
    return open_tar(holder, name).inside(inner) if name else holder


@dataclass(frozen=True)
class Ranges:
    """Members of tars by their places, for which no tar's headers are read.

    Parameters
    ----------
    root : str
        A tar, a folder in one, or a folder that holds tars.
    """

    root: str

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes of a member; OSError when the tar is gone, or ends before."""
        path, _ = split_root(self.root)
        tar, member = split_member(name)
        holder, held = _held(path, tar if member else "")
        return whole(holder.read_range(held, offset, size), size, posixpath.join(holder.root, held), name)


@lru_cache(maxsize=_HELD)
def _held(path: str, tar: str) -> tuple[Holder, str]:
    """Return the folder that holds a tar, and the tar's name there."""
    return holder_of(posixpath.join(path, tar) if tar else path)


def may_be_image(name: str) -> bool:
    """Say whether a file could be a picture by its name: not hidden, nor in a hidden folder, nor of a known ending."""
    if name.startswith(".") or "/." in name:
        return False
    return posixpath.splitext(name)[1].lower() not in _NO_IMAGE_ENDINGS
