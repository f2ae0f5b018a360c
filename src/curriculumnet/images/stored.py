"""Files by name, wherever they lie: what a folder, a tar and a place on the network have in common."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from curriculumnet.images.tar import Tar

GONE, UNTOLD = -1, -2

NOWHERE = -1
"""Stands for the place of a file that lies in no archive."""


class Stamp(NamedTuple):
    """By what a file is known again without reading it: its size in bytes, and when it was changed, in ns since 1970.

    Both are `GONE` when there is no such file, the time `UNTOLD` where nothing tells. `offset` is where its bytes begin
    in the tar that holds it, `NOWHERE` where none does.
    """

    size: int
    modified: int
    offset: int = NOWHERE


class Bytes(Protocol):
    """Files by name. In a folder, ``x.tar#name`` is a member of a tar that lies there."""

    @property
    def root(self) -> str:
        """The root that was opened."""
        ...

    def names(self) -> list[str]:
        """Return the names of all regular files, relative to the root, with ``/``, in code-point order."""
        ...

    def contents(self) -> tuple[list[str], list[str]]:
        """Return the names of all regular files, and of what is none or lies outside: pipes, devices, ``../x``."""
        ...

    def top(self) -> list[str]:
        """Return the names of what lies at the top, in code-point order; those of folders end with ``/``."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes; OSError when it is gone or may not be read."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size in bytes; OSError when it is gone."""
        ...

    def stamp(self, name: str) -> Stamp:
        """Return a file's size, when it was changed, and where it lies."""
        ...

    def version(self) -> str:
        """Return a text that changes when files may have changed whose stamps have not; empty where there is none."""
        ...

    def tar(self, name: str) -> Tar:
        """Return an uncompressed tar that lies here; a tar itself where nothing is named.

        Raises
        ------
        SourceError
            It is no tar, compressed or damaged.
        """
        ...


class Holder(Bytes, Hashable, Protocol):
    """A folder, here or on the network, in which tars may lie."""

    @property
    def indexes(self) -> str:
        """The folder in which the indexes of large tars are kept once they were made; empty where they are not."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read from any place of it; OSError when it is gone or may not be read."""
        ...

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file's bytes, fewer where it ends before; OSError when it is gone."""
        ...
