"""What every kind of source is asked with: a place, and the columns that a person named."""

from __future__ import annotations

from dataclasses import dataclass

from curriculumnet.images.archives import is_archive
from curriculumnet.images.stored import GONE, Bytes, Holder

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What splits are called elsewhere, and what they are called here."""


@dataclass(frozen=True)
class Place:
    """Where a source lies.

    Attributes
    ----------
    files : Bytes
        Its folder or tar.
    name : str
        The list or table in that folder which is the source; empty where the folder itself is.
    given : str
        What to call it in a message.
    """

    files: Bytes
    name: str
    given: str

    def has(self, name: str) -> bool:
        """Say whether a file is there."""
        return self.files.stamp(name).size != GONE

    def called(self, name: str) -> str:
        """Return what to call a file in its folder in a message."""
        folder = self.given.removesuffix(self.name) if self.name else self.given
        return joined(folder.removesuffix("#"), name) if folder else name


@dataclass(frozen=True)
class HeldPlace(Place):
    """A place in a folder, and not inside a tar."""

    files: Holder


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what; None where none was named.

    Attributes
    ----------
    label, file, group, rank : str or None
    """

    label: str = "label"
    file: str = "file_name"
    group: str | None = None
    rank: str | None = None


COLUMNS = Columns()
"""What columns are called unless told otherwise."""


def joined(given: str, name: str) -> str:
    """Return how a part of a folder or archive is written.

    >>> joined("pets/", "crawl"), joined("pets.tar", "crawl"), joined("pets.tar#pets", "crawl")
    ('pets/crawl', 'pets.tar#crawl', 'pets.tar#pets/crawl')
    """
    return f"{given}#{name}" if is_archive(given) else f"{given.rstrip('/')}/{name}"
