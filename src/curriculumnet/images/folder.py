"""Files in a folder of this machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import GONE, UNTOLD, Stamp
from curriculumnet.images.tar import Tar, open_tar, split_member


@dataclass(frozen=True)
class Folder:
    """The files below a folder.

    Links are followed, but not to a folder that is read already, or that holds the root: such a link is no regular
    file. A name whose link leads nowhere is among the names: reading it says that it is gone. So is a folder that may
    not be read, with a ``/`` at its end.

    Parameters
    ----------
    root : str
        The folder.
    indexes : str
        Where the indexes of large tars are kept; empty where they are not.
    """

    root: str
    indexes: str = ""

    def names(self) -> list[str]:
        """Return the names of all regular files, relative to the root, with ``/``, in code-point order."""
        return self.contents()[0]

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all regular files, and of what is neither a file nor a folder."""
        files: list[str] = []
        others: list[str] = []
        for name, regular in self._walk():
            (files if regular else others).append(name)
        return sorted(files), sorted(others)

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        tar, member = split_member(name)
        if member and self._is_file(tar):
            return open_tar(self, tar).read(member)
        with open(self._regular(name), "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        tar, member = split_member(name)
        if member and self._is_file(tar):
            return open_tar(self, tar).size(member)
        return self._stat(name).st_size

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, when it was changed, and where it lies."""
        tar, member = split_member(name)
        if member and self._is_file(tar):
            return open_tar(self, tar).stamp(member)
        try:
            found = self._stat(name)
        except OSError:
            return Stamp(GONE, GONE)
        if not stat.S_ISREG(found.st_mode):
            return Stamp(GONE, GONE)
        # A time before 1970 or after 2262 says nothing.
        return Stamp(found.st_size, found.st_mtime_ns if 0 <= found.st_mtime_ns < 2**63 else UNTOLD)

    def version(self) -> str:
        """Return nothing: the files' stamps tell."""
        return ""

    def top(self) -> list[str]:
        """Return the names of what lies at the top, in code-point order; those of folders end with ``/``."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in entries)
        except PermissionError:
            # Whoever lists its files says so.
            return []

    def tar(self, name: str) -> Tar:
        """Return an uncompressed tar that lies here."""
        return open_tar(self, name)

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read from any place of it; OSError when it is gone or may not be read."""
        return open(self._regular(name), "rb")  # noqa: PTH123

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file's bytes, fewer where it ends before; OSError when it is gone."""
        with open(self._regular(name), "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(offset)
            return file.read(size)

    def _regular(self, name: str) -> str:
        """Return the path of a regular file; OSError where it is none."""
        mode = self._stat(name).st_mode
        if stat.S_ISDIR(mode) and name.endswith("/"):
            raise PermissionError(errno.EACCES, "a folder that may not be read", name)
        if not stat.S_ISREG(mode):
            # Opening a pipe would wait for ever.
            raise FileNotFoundError(errno.ENOENT, "not a file", name)
        return self._path(name)

    def _is_file(self, name: str) -> bool:
        return os.path.isfile(self._path(name))  # noqa: PTH113

    def _path(self, name: str) -> str:
        # Not by pathlib, which takes ten microseconds: a twentieth of what decoding a small picture takes.
        return os.path.join(self.root, name)  # noqa: PTH118

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(self._path(name))  # noqa: PTH116
        except ValueError as error:
            # A list may hold names that no file can have, such as ones with a zero byte.
            raise FileNotFoundError(errno.ENOENT, str(error), name) from error

    def _walk(self) -> Iterator[tuple[str, bool]]:
        """Give each name below the root, and whether it is a regular file or a link that leads nowhere."""
        root = Path(self.root)
        known = {_identity(folder) for folder in (root, *root.resolve().parents)}
        waiting = [""]
        links: list[str] = []
        while waiting or links:
            linked = not waiting
            if linked:
                # Only now, so that what can be read by its own name is; by name, whatever the order on the disk.
                links.sort(reverse=True)
            prefix = (links if linked else waiting).pop()
            here = _identity(root / prefix)
            if linked and here in known:
                yield prefix.rstrip("/"), False
                continue
            known.add(here)
            try:
                with os.scandir(root / prefix) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        if not _is_folder(entry):
                            yield name, _is_file(entry)
                        else:
                            (links if entry.is_symlink() else waiting).append(f"{name}/")
            except (FileNotFoundError, NotADirectoryError):
                # It has gone since its name was read.
                if not prefix:
                    raise
            except OSError as error:
                if not prefix:
                    raise SourceError(
                        f"The folder {root} may not be read ({error.strerror}): allow it, or give another source."
                    ) from error
                yield prefix, True


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return by what a folder is known again under another name; None where it cannot be told."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle, or one to where we may not go, is a file that cannot be read.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether a name is a regular file, or a link from which none can be read."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True
