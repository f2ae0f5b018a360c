"""The pictures of a source that can be in a copy, and what they are called there."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import may_be_image
from curriculumnet.images.stored import GONE
from curriculumnet.images.tar import split_member
from curriculumnet.noising.chance import digest
from curriculumnet.sources.folders import IN_NO_CATEGORY, unfit
from curriculumnet.sources.kinds import Source

_SPLIT_FOLDERS = {"train", "val", "validation", "test"}
"""Folders of these names alone would be read as splits."""

_UNSAFE = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]|[. ]$')
"""What a file's name may not hold on every system: the same copy has the same names everywhere."""

_LONGEST = 200
"""Bytes of a name that is kept; file systems take 255."""


class Picture(NamedTuple):
    """A picture: its place among the sources, its name and label there, and how often it was listed so before."""

    source: int
    file_name: str
    label: str
    repeat: int

    @property
    def key(self) -> str:
        """What tells it from the others of its source."""
        return f"{self.file_name}\0{self.label}\0{self.repeat}"


def find(source: Source, number: int, unlabelled: str | None = None) -> tuple[dict[str, list[Picture]], int]:
    """Return the pictures of a source by split, ``train`` where it says nothing, and how many files are left out.

    Left out are files that are not there, that no image can be called, and those without a label.

    Parameters
    ----------
    source : Source
    number : int
        Its place among the sources.
    unlabelled : str, optional
        The label of pictures that have none.
    """
    listing = source.listing
    found: dict[str, list[Picture]] = defaultdict(list)
    listed: Counter[tuple[str, str]] = Counter()
    labels, splits = listing.labels.to_pylist(), listing.splits.to_pylist()
    stamps = source.stamps()
    for row, name in enumerate(listing.names):
        label = labels[row]
        if unlabelled is not None and listing.set_aside.get(row, ("", ""))[1] in (IN_NO_CATEGORY, "no label"):
            label, there = unlabelled, source.files.stamp(name).size != GONE
        else:
            there = stamps[row, 0] != GONE
        if there and may_be_image(_base(name)) and not name.endswith("/"):
            found[splits[row] or "train"].append(Picture(number, name, label, listed[name, label]))
            listed[name, label] += 1
    return found, len(listing) - sum(map(len, found.values()))


def check_labels(labels: Collection[str], given: str) -> None:
    """Check that the labels can be the names of folders, from which they are read again.

    Raises
    ------
    SourceError
        One cannot, or all together would be read as splits.
    """
    for label in sorted(labels):
        if why := unfit(label):
            raise SourceError(
                f"The category {label!r} of {given} cannot name a folder, since its name {why}: give it another name "
                "in the source."
            )
    if "train" in labels and set(labels) <= _SPLIT_FOLDERS:
        raise SourceError(
            f"The categories of {given} are {', '.join(sorted(labels))}: as folders they would be read as splits; give "
            "them other names in the source."
        )


def names_in_copy(pictures: Sequence[Picture]) -> dict[Picture, str]:
    """Return what each picture is called in the copy, whatever folder it comes to lie in.

    It keeps its name where no other picture has it; else a part is added that follows from its name in the source.
    Names that differ in small and capital letters alone count as the same.
    """
    bases = [_base(picture.file_name) for picture in pictures]
    listed = Counter(map(_folded, bases))
    return {
        picture: base if listed[_folded(base)] == 1 and _is_safe(base) else _told_apart(picture, base)
        for picture, base in zip(pictures, bases, strict=True)
    }


def _base(name: str) -> str:
    return posixpath.basename(split_member(name)[1] or name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_safe(name: str) -> bool:
    return not _UNSAFE.search(name) and len(name.encode("utf-8")) <= _LONGEST


def _told_apart(picture: Picture, base: str) -> str:
    stem, ending = posixpath.splitext(_UNSAFE.sub("_", base))
    return f"{stem[:40]}-{digest(picture.source, picture.key).hex()}{ending[:10]}"
