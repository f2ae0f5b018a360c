"""Sources whose pictures have no place of their own: compressed archives, and tables that hold them in cells.

They are read once, from the beginning to the end, into an uncompressed tar, from which all that follows reads in place.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from curriculumnet.errors import SourceError
from curriculumnet.images.tar import compression
from curriculumnet.sources.compressed import KINDS, compressed_members
from curriculumnet.sources.in_cells import TABLE, cell_members, tables_with_pictures
from curriculumnet.sources.layout import Columns, HeldPlace, Member


@dataclass(frozen=True)
class Packed:
    """A source that has to be unpacked.

    Attributes
    ----------
    given : str
        What to call it in a message.
    what : str
        What it is, such as ``compressed (zip)``.
    version : str
        Changes when it does.
    size : int
        How large it is, in bytes.
    inner : str
        What in the tar is the source; empty where all of it is.
    members : callable
        Gives its files one after the other; called with a function that is told how many bytes were read since.
    """

    given: str
    what: str
    version: str
    size: int
    inner: str
    members: Callable[[Callable[[int], None]], Iterable[Member]] = field(repr=False)

    def write_tar(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        """Write its files into an uncompressed tar.

        Parameters
        ----------
        file : binary file
            To be written to.
        advance : callable
            Told how many more bytes of the source were read.

        Raises
        ------
        SourceError
            It is damaged, encrypted, or cut off.
        """
        with tarfile.open(fileobj=file, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
            for member in self.members(advance):
                tar.addfile(member.info, member.data)


def packed_at(place: HeldPlace, columns: Columns) -> Packed | None:
    """Return what has to be unpacked at a place; None where pictures can be read in place.

    Parameters
    ----------
    place : HeldPlace
        A file, or a folder.
    columns : Columns
        Which columns of a table hold what.

    Raises
    ------
    SourceError
        A table is damaged.
    """
    if place.name and (kind := _compression(place)) in KINDS:
        names, inner, what = [place.name], "", f"compressed ({kind})"
        members = partial(compressed_members, place, kind)
    else:
        names, inner, what = tables_with_pictures(place), TABLE, "a table that holds its pictures"
        members = partial(cell_members, place, names, columns)
    if not names:
        return None
    stamps = [place.files.stamp(name) for name in names]
    version = " ".join(f"{name} {stamp.size} {stamp.modified}" for name, stamp in zip(names, stamps, strict=True))
    return Packed(place.given, what, version, sum(stamp.size for stamp in stamps), inner, members)


def _compression(place: HeldPlace) -> str:
    """Return how a file is compressed; empty where it is not."""
    try:
        return compression(place.files.read_range(place.name, 0, 8)) or ""
    except OSError as error:
        raise SourceError(f"{place.given} may not be read ({error.strerror or error}): allow it.") from error
