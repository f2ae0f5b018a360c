"""What lists and tables share: their text, and the names of files in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import Bytes
from curriculumnet.sources.layout import Place

LINE_END = re.compile(r"\r\n|\n|\r")
"""What ends a line: names may hold what else does so in Unicode."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def text_of(files: Bytes, name: str, given: str) -> str:
    """Return the text of a list or table. Bytes that are not UTF-8 stay in it as lone surrogates: names may hold any.

    Raises
    ------
    SourceError
        It may not be read, or is UTF-16.
    """
    data = bytes_of(files, name, given)
    if data.startswith(_UTF16):
        raise SourceError(f"{given} is UTF-16 text: save it as UTF-8.")
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def bytes_of(files: Bytes, name: str, given: str) -> bytes:
    """Return the bytes of a list or table.

    Raises
    ------
    SourceError
        It may not be read.
    """
    try:
        return files.read(name)
    except OSError as error:
        raise SourceError(f"{given} cannot be read ({error.strerror}): check the file and its rights.") from error


def file_name(written: str) -> str:
    r"""Return the name of a file as it was written, with ``/``; lists made on Windows have backslashes.

    >>> file_name("./cats/1.jpg"), file_name("cats\\1.jpg")
    ('cats/1.jpg', 'cats/1.jpg')
    """
    name = written if "/" in written else written.replace("\\", "/")
    return name.removeprefix("./").rstrip("/")


def lines(place: Place, name: str) -> list[str]:
    """Return the lines of a list in a place that are not empty, without the spaces around them.

    Raises
    ------
    SourceError
        It may not be read, or is UTF-16.
    """
    text = text_of(place.files, name, place.called(name))
    return [line.strip() for line in LINE_END.split(text) if line.strip()]


def few(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row, of many only the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def differences(name: str, published: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence on what a data set should have and has not; none where all is there."""
    other = [f"{n:,} {what}, not {published[what]:,}" for what, n in found.items() if n != published[what]]
    return (f"This {name} is not as it was published: it has {'; '.join(other)}.",) if other else ()
