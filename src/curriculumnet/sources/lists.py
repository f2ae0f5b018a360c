"""Lists: a text file with ``path label`` in each line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from curriculumnet.errors import SourceError
from curriculumnet.images.stored import GONE, Bytes
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, is_valid, make_listing
from curriculumnet.sources.text import LINE_END, file_name, lines, text_of

_SPACE = " \t"
_LAST_SPACE = re.compile(r"[ \t]+(?=[^ \t]*$)")

_CATEGORIES = "categories.txt"

LIST_ENDINGS = (".txt", ".list", ".lst")


def recognise(place: Place, columns: Columns) -> bool:
    """Take a text file."""
    del columns
    return place.name.lower().endswith(LIST_ENDINGS)


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures that a text file names.

    A line holds a path, which may have spaces, and after the last space or tab a label. Paths are relative to the
    list's folder. Numbers become names where a `categories.txt` lies beside the list.

    Raises
    ------
    SourceError
        A line has no label, or one that is not UTF-8.
    """
    del columns
    found = list(lines_of(place.files, place.name, place.given))
    if place.files.stamp(_CATEGORIES).size != GONE and all(label.isdecimal() for _, label in found):
        categories = lines(place, _CATEGORIES)
        found = [(name, categories[int(label)] if int(label) < len(categories) else label) for name, label in found]
    names, labels = [name for name, _ in found], [label for _, label in found]
    return make_listing(place.files.root, names, labels, [None] * len(names), unlabelled="no label")


def indexed_lines(place: Place, name: str, categories: Sequence[str], of: str) -> list[tuple[str, str]]:
    """Return the path in each line of a text file, and the category whose number stands behind it, from 0 on.

    Parameters
    ----------
    place : Place
    name : str
        The list.
    categories : sequence of str
        Their names.
    of : str
        The list of these names, for a message.

    Raises
    ------
    SourceError
        A line has no label, or one that is no category's number.
    """
    called, found = place.called(name), []
    for number, (file, index) in enumerate(lines_of(place.files, name, called), 1):
        if not index.isdecimal() or int(index) >= len(categories):
            raise SourceError(
                f"Line {number} of {called} has the category {index!r}, but {of} has {len(categories):,}, numbered "
                "from 0 on: mend the line, or add the category."
            )
        found.append((file, categories[int(index)]))
    return found


def lines_of(files: Bytes, name: str, given: str) -> Iterator[tuple[str, str]]:
    """Give the path and the label in each line of a text file.

    Parameters
    ----------
    files : Bytes
        The list's folder, or the folder of a tar.
    name : str
        The list.
    given : str
        What to call it in a message.

    Raises
    ------
    SourceError
        A line has no label, or one that is not UTF-8.
    """
    # Names may hold what else ends a line, or is a space, in Unicode.
    for number, whole in enumerate(LINE_END.split(text_of(files, name, given)), 1):
        line = whole.strip(_SPACE)
        parts = [part.strip(_SPACE) for part in _LAST_SPACE.split(line, maxsplit=1)]
        if not line:
            continue
        if len(parts) < 2:
            raise SourceError(f"Line {number} of {given} has no label ({line[:80]!r}): write `path label`.")
        if not is_valid(parts[1]):
            raise SourceError(f"The label in line {number} of {given} is not UTF-8 text: save the list as UTF-8.")
        yield file_name(parts[0]), parts[1]
