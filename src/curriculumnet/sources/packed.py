"""Sources whose pictures have no place of their own: compressed archives, and tables that hold them in cells.

They are read once, from the beginning to the end, into an uncompressed tar, from which all that follows reads in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from curriculumnet.errors import SourceError
from curriculumnet.images.tar import compression
from curriculumnet.sources.compressed import KINDS, write_unpacked
from curriculumnet.sources.in_cells import TABLE, tables_with_pictures, write_pictures
from curriculumnet.sources.layout import Columns, HeldPlace
from curriculumnet.sources.lists import LIST_ENDINGS
from curriculumnet.sources.tables import TABLE_ENDINGS

_FORMAT = "1"
"""Another one when the same source would be unpacked otherwise."""


@dataclass(frozen=True)
class Packed:
    """A source that has to be unpacked.

    Attributes
    ----------
    given : str
        What to call it in a message.
    place : str
        What tells it from other sources.
    what : str
        What it is, such as ``compressed (zip)``.
    digest : str
        32 hex digits, others when it has changed or is to be unpacked otherwise.
    size : int
        How large it is, in bytes.
    inner : str
        What in the tar is the source; empty where all of it is.
    notes : tuple of str
        Sentences on what is left out.
    write : callable
        Writes the tar into a binary file; told how many more of the source's bytes were read is the second argument.
        It raises `SourceError` where the source is damaged, encrypted or cut off.
    """

    given: str
    place: str
    what: str
    digest: str
    size: int
    inner: str
    notes: tuple[str, ...]
    write: Callable[[IO[bytes], Callable[[int], None]], None] = field(repr=False)


def packed_at(place: HeldPlace, absolute: str, columns: Columns) -> Packed | None:
    """Return what has to be unpacked at a place; None where pictures can be read in place.

    Parameters
    ----------
    place : HeldPlace
        A file, or a folder.
    absolute : str
        Its whole path, or URL.
    columns : Columns
        Which columns of a table hold what.

    Raises
    ------
    SourceError
        A table is damaged.
    """
    notes: tuple[str, ...] = ()
    if place.name and (kind := _compression(place)) in KINDS:
        names, inner, what = [place.name], "", f"compressed ({kind})"
        write = partial(write_unpacked, place, kind)
    else:
        names, notes = tables_with_pictures(place)
        inner = TABLE
        what = "a table that holds its pictures" if place.name else "a folder of tables that hold their pictures"
        write = partial(write_pictures, place, names, columns)
    if not names:
        return None
    stamps = [place.files.stamp(name) for name in names]
    told = [(name, stamp.size, stamp.modified) for name, stamp in zip(names, stamps, strict=True)]
    digest = hashlib.blake2b(repr((_FORMAT, told, columns.file)).encode(), digest_size=16).hexdigest()
    return Packed(place.given, absolute, what, digest, sum(stamp.size for stamp in stamps), inner, notes, write)


def _compression(place: HeldPlace) -> str:
    """Return how a file is compressed; empty where it is not."""
    if place.name.lower().endswith((*TABLE_ENDINGS, *LIST_ENDINGS)):
        return ""
    try:
        return compression(place.files.read_range(place.name, 0, 8)) or ""
    except OSError as error:
        raise SourceError(
            f"{place.given} may not be read ({error.strerror or error}): allow it, or fetch it first."
        ) from error
