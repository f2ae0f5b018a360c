"""WebVision 1.0 and 2.0: lists of what Google and Flickr answered to queries, in a folder `info`.

What is known of the layout is from the README that the data sets come with, and from
W. Li et al., "WebVision Database", arXiv:1708.02862.
"""

from __future__ import annotations

import posixpath
import re

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.lists import indexed_lines, lines_of
from curriculumnet.sources.text import lines

_INFO = "info"
_TRAIN = ("google", "flickr")
_IMAGES = ("", "train_images", "train_images_256", "train_images_resized", "resized_256")
_VAL_IMAGES = ("", "val_images", "val_images_256", "val_images_resized")
"""Folders in which the pictures lie, depending on which of the archives was unpacked."""

_SOME = 50
"""Pictures of a list by which the folder is found in which they lie; single ones may be missing."""

_QUERY = re.compile(r"(?:^|/)q(\d+)/")


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with WebVision's lists."""
    del columns
    return (
        not place.name
        and place.has(f"{_INFO}/synsets.txt")
        and any(place.has(f"{_INFO}/train_filelist_{engine}.txt") for engine in _TRAIN)
    )


def read(place: Place, columns: Columns) -> Listing:
    """List the training pictures of both engines, and the validation pictures, whose labels people checked.

    A category is called by its WordNet id and its first name, as ``n01440764 tench``. The query is kept with each
    picture, as is its rank: the place of its entry among what the engine answered to that query, from 1. A list of
    one engine is enough; the test pictures, whose labels were never published, are left out.

    Raises
    ------
    SourceError
        A list names a category that `synsets.txt` does not have, or is not as such lists are.
    """
    del columns
    categories = [_category(line) for line in lines(place, f"{_INFO}/synsets.txt")]
    names: list[str] = []
    labels: list[str] = []
    splits: list[str | None] = []
    queries: list[str | None] = []
    ranks: list[float | None] = []
    for engine in _TRAIN:
        if not place.has(f"{_INFO}/train_filelist_{engine}.txt"):
            continue
        asked, places = _queries(place, engine), _ranks(place, engine)
        found = _listed(place, f"train_filelist_{engine}.txt", categories, _IMAGES)
        if places is not None and len(places) != len(found):
            raise SourceError(
                f"{place.called(f'{_INFO}/train_meta_list_{engine}.txt')} has {len(places):,} lines, but the list of "
                f"files {len(found):,}: fetch both anew, or remove it."
            )
        for number, (name, label) in enumerate(found):
            query = _QUERY.search(name)
            names.append(name)
            labels.append(label)
            splits.append("train")
            queries.append(None if query is None else asked.get(int(query[1])))
            ranks.append(None if places is None else places[number])
    for name, label in _listed(place, "val_filelist.txt", categories, _VAL_IMAGES, needed=False):
        names.append(name)
        labels.append(label)
        splits.append("val")
        queries.append(None)
        ranks.append(None)
    return make_listing(
        place.files.root,
        names,
        labels,
        splits,
        unlabelled="no label",
        queries=queries,
        ranks=ranks,
        checked_splits=("val",),
    )


def _category(line: str) -> str:
    """Return what a category is called; names alone are not unique: a crane is a bird or a machine."""
    wordnet_id, _, words = line.partition(" ")
    return f"{wordnet_id} {words.split(',')[0].strip()}".strip()


def _listed(
    place: Place, name: str, categories: list[str], folders: tuple[str, ...], *, needed: bool = True
) -> list[tuple[str, str]]:
    """Return the files that a list names, with their categories."""
    if not needed and not place.has(f"{_INFO}/{name}"):
        return []
    found = indexed_lines(place, f"{_INFO}/{name}", categories, "synsets.txt")
    some = [file for file, _ in found[:: max(1, len(found) // _SOME)]]
    folder = next((each for each in folders if any(place.has(posixpath.join(each, file)) for file in some)), "")
    return [(posixpath.join(folder, file), category) for file, category in found]


def _queries(place: Place, engine: str) -> dict[int, str]:
    """Return the queries by their numbers; WebVision 1.0 has a file for each engine, 2.0 one for both."""
    for name in (f"{_INFO}/queries_{engine}.txt", f"{_INFO}/queries.txt"):
        if place.has(name):
            parted = (line.partition(" ") for line in lines(place, name))
            return {int(number): query.replace("+", " ") for number, _, query in parted if number.isdecimal()}
    return {}


def _ranks(place: Place, engine: str) -> list[float | None] | None:
    """Return the place of each picture's entry in the answers to its query, in the order of the list of files."""
    name = f"{_INFO}/train_meta_list_{engine}.txt"
    if not place.has(name):
        return None
    told = (entry for _, entry in lines_of(place.files, name, place.called(name)))
    return [float(entry) if entry.isdecimal() else None for entry in told]
