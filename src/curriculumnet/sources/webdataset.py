"""WebDataset: tars of samples, each of which is the files of one name: `000.jpg`, `000.cls`, `000.json`."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import may_be_image
from curriculumnet.images.tar import Tar
from curriculumnet.sources.layout import SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing
from curriculumnet.sources.tables import Cells, listing_of
from curriculumnet.sources.text import lines

_CATEGORIES = "categories.txt"
_LABEL, _MORE = "cls", "json"
_ENOUGH = 256
"""Names by which a tar is known to hold samples."""

_FIRST_WORD = re.compile(r"[a-z]+")


def recognise(place: Place, columns: Columns) -> bool:
    """Take tars, or a tar, in which pictures have files of labels or of JSON beside them."""
    del columns
    if place.name:
        return False
    tars = tars_of(place.files.top())
    if not tars:
        return isinstance(place.files, Tar) and _holds_samples(place.files.names()[:_ENOUGH])
    return _holds_samples(place.files.members(tars[0])[:_ENOUGH])


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures of all samples, a row for each.

    The label is what the `.json` has under the label column, or else the `.cls`: a name, or the number of one in a
    `categories.txt` beside the tars. What else the `.json` has are columns. Splits are those that the `.json` tells, or
    with which the names of all tars begin.

    Raises
    ------
    SourceError
        A sample has no label, or its `.json` cannot be read.
    """
    categories = lines(place.files, _CATEGORIES, place.given) if place.has(_CATEGORIES) else []
    rows = [row for tar, members in _members(place) for row in _samples(place, tar, members, columns, categories)]
    titles = dict.fromkeys([columns.file, columns.label, *(title for row in rows for title in row)])
    cells: Cells = {title: [row.get(title) for row in rows] for title in titles}
    return listing_of(
        cells,
        columns,
        root=place.files.root,
        given=place.given,
        splits=splits_of(str(name) for name in cells[columns.file]),
    )


def tars_of(names: list[str]) -> list[str]:
    """Return the tars among the names at a folder's top; none where there are folders as well."""
    shown = [name for name in names if not name.startswith(".")]
    if any(name.endswith("/") or may_be_image(name) for name in shown):
        return []
    return [name for name in shown if name.lower().endswith(".tar")]


def splits_of(names: Iterator[str]) -> list[str | None]:
    """Return the split of each file by the first word of its tar's name; None for all unless some are for training."""
    words = (_FIRST_WORD.match(name.lower()) for name in names)
    found = [SPLITS.get(word[0]) if word else None for word in words]
    return found if "train" in found and None not in found else [None] * len(found)


def parted(name: str) -> tuple[str, str]:
    """Return a member's key and what follows it, as WebDataset has them: parted at the first dot of its last part.

    >>> parted("a.b/000.left.jpg")
    ('a.b/000', 'left.jpg')
    """
    folder, _, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    return posixpath.join(folder, key), ending.lower()


def _holds_samples(names: list[str]) -> bool:
    """Say whether pictures have labels or JSON beside them."""
    described = {key for key, ending in map(parted, names) if ending in (_LABEL, _MORE)}
    return any(key in described for key, _ in (parted(name) for name in names if may_be_image(name)))


def _members(place: Place) -> Iterator[tuple[str, list[str]]]:
    """Give the tars, each with ``#`` at its end, and the names in them; of a single tar the first is empty."""
    tars = tars_of(place.files.top())
    if not tars:
        yield "", place.files.names()
    for tar in tars:
        yield f"{tar}#", place.files.members(tar)


def _samples(
    place: Place, tar: str, members: list[str], columns: Columns, categories: list[str]
) -> Iterator[dict[str, object]]:
    """Give a row for each picture of a tar."""
    beside = {parted(name): name for name in members}
    for name in members:
        if not may_be_image(name):
            continue
        key, _ = parted(name)
        row: dict[str, object] = {}
        if (more := beside.get((key, _MORE))) is not None:
            row |= _json(place, tar + more)
        if row.get(columns.label) is None and (label := beside.get((key, _LABEL))) is not None:
            row[columns.label] = _class(place, tar + label, categories)
        if row.get(columns.label) is None:
            told = ", ".join(repr(title) for title in row) or "nothing"
            raise SourceError(
                f"{place.called(tar + name)} has no label: there is no .cls beside it, and its .json has {told}: name "
                "the right one by --label-column."
            )
        yield row | {columns.file: tar + name}


def _json(place: Place, name: str) -> dict[str, object]:
    try:
        found = json.loads(place.files.read(name))
    except ValueError as error:
        raise SourceError(f"{place.called(name)} is not JSON ({error}): make the tar anew.") from error
    return found if isinstance(found, dict) else {}


def _class(place: Place, name: str, categories: list[str]) -> str:
    text = place.files.read(name).decode("utf-8", "replace").strip()
    if not categories or not text.isdecimal():
        return text
    if int(text) >= len(categories):
        raise SourceError(
            f"{place.called(name)} has the category {text}, but {_CATEGORIES} has {len(categories):,}, from 0 on: add "
            "it."
        )
    return categories[int(text)]
