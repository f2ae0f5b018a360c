"""Clothing1M: a million photographs of clothes, labelled by the words around them, and some by people.

The layout and the counts are those of T. Xiao et al., "Learning from Massive Noisy Labeled Data for Image
Classification", CVPR 2015, and of the description that the data set comes with.
"""

from __future__ import annotations

import posixpath

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.lists import indexed_lines
from curriculumnet.sources.text import differences, file_name, lines

_FOLDERS = ("", "annotations")

_CATEGORIES = "category_names_eng.txt"

_LISTS = {
    "train": ("noisy_train_key_list.txt", "noisy_label_kv.txt"),
    "val": ("clean_val_key_list.txt", "clean_label_kv.txt"),
    "test": ("clean_test_key_list.txt", "clean_label_kv.txt"),
}

PUBLISHED = {"categories": 14, "train": 1_000_000, "val": 14_313, "test": 10_526}


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with Clothing1M's lists."""
    del columns
    return not place.name and _folder(place) is not None


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures with noisy labels for training, and those that people labelled for validation and test.

    The 47,570 training pictures that people labelled are left out, but for those that have a noisy label too.

    Raises
    ------
    SourceError
        A list names a picture without a label, or a category that there is not.
    """
    del columns
    folder = _folder(place) or ""
    categories = lines(place, posixpath.join(folder, _CATEGORIES))
    names: list[str] = []
    labels: list[str] = []
    splits: list[str | None] = []
    for split, (keys, values) in _LISTS.items():
        if not place.has(posixpath.join(folder, keys)):
            continue
        known = dict(indexed_lines(place, posixpath.join(folder, values), categories, _CATEGORIES))
        for key in map(file_name, lines(place, posixpath.join(folder, keys))):
            if key not in known:
                raise SourceError(
                    f"{key}, named in {place.called(posixpath.join(folder, keys))}, has no label in {values}: fetch "
                    "both anew."
                )
            names.append(key)
            labels.append(known[key])
            splits.append(split)
    counts = {"categories": len(categories), **{split: splits.count(split) for split in _LISTS}}
    return make_listing(
        place.files.root,
        names,
        labels,
        splits,
        unlabelled="no label",
        checked_splits=("val", "test"),
        notes=differences("Clothing1M", PUBLISHED, counts),
    )


def _folder(place: Place) -> str | None:
    needed = [*_LISTS["train"], _CATEGORIES]
    return next((each for each in _FOLDERS if all(place.has(posixpath.join(each, name)) for name in needed)), None)
