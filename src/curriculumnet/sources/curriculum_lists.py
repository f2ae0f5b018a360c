"""A curriculum's lists, as `export` writes them and its authors published theirs: `1.txt`, `2.txt`, … by subset."""

from __future__ import annotations

import re

from curriculumnet.sources.layout import SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.lists import indexed_lines, lines_of
from curriculumnet.sources.text import lines

_CATEGORIES = "categories.txt"
_SUBSET = re.compile(r"[1-9]\d*\.txt")


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with lists, and one of what the categories are called."""
    del columns
    if place.name or not place.has(_CATEGORIES):
        return False
    first = next((line for name in _lists(place) for line in lines_of(place.files, name, place.called(name))), None)
    return first is not None and first[1].isdecimal()


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures that the lists name, relative to their folder: `path index` in each line.

    Raises
    ------
    SourceError
        A line has no label, or an index that no category has.
    """
    del columns
    categories = lines(place, _CATEGORIES)
    names: list[str] = []
    labels: list[str] = []
    splits: list[str | None] = []
    for name, split in _lists(place).items():
        for file, category in indexed_lines(place, name, categories, _CATEGORIES):
            names.append(file)
            labels.append(category)
            splits.append(split)
    return make_listing(place.files.root, names, labels, splits, unlabelled="no label")


def _lists(place: Place) -> dict[str, str]:
    """Return the lists at the top, with the split that each is for."""
    found = {}
    for name in place.files.top():
        stem = name.removesuffix(".txt")
        if _SUBSET.fullmatch(name):
            found[name] = "train"
        elif name != stem and stem in SPLITS:
            found[name] = SPLITS[stem]
    return found if "train" in found.values() else {}
