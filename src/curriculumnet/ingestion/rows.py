"""The rows of the table of images: the files of all sources in one order, and what is asked of them beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curriculumnet.errors import SourceError, UnknownNameError, UsageError
from curriculumnet.ingestion.sources.folders import IN_NO_CATEGORY
from curriculumnet.ingestion.sources.kinds import Source
from curriculumnet.ingestion.sources.tables import TABLE_ENDINGS

KEYS = ("crawl", "val", "test")
"""The sources in the order of their rows."""

_KEY_OF_SPLIT = {None: None, "train": "crawl", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Rows:
    """All files, first the crawl's, then those given for validation and test.

    Attributes
    ----------
    given : dict of str to Source
        The sources as they were given.
    keys : list of str, length n
        ``crawl``, ``val`` or ``test``. A crawl that tells splits itself is the source of all that it tells.
    origins : list of str, length n
        The given source that each row is from.
    places : list of int, length n
        Its place in that source's listing.
    """

    given: dict[str, Source]
    keys: list[str]
    origins: list[str]
    places: list[int]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.keys)

    def column(self, name: str) -> list[Any]:
        """Return a column of the listings, such as ``labels``; None in rows whose source does not have it."""
        columns = {origin: getattr(source.listing, name) for origin, source in self.given.items()}
        return [
            columns[origin][place] if columns[origin] is not None else None
            for origin, place in zip(self.origins, self.places, strict=True)
        ]

    def not_images(self) -> dict[str, int]:
        """Return how many files of each given source were passed over because of their names."""
        return {origin: source.listing.not_images for origin, source in self.given.items()}

    def projects(self) -> dict[str, dict[str, str]]:
        """Return what project.json says of each source."""
        origin = dict(zip(self.keys, self.origins, strict=True))
        return {
            key: {
                "source": self.given[origin[key]].given,
                "place": self.given[origin[key]].place,
                "root": self.given[origin[key]].listing.root,
                "kind": self.given[origin[key]].kind,
                # What a crawl itself sets apart is as clean as the crawl; only what was given to measure on is clean.
                "labels": "clean" if origin[key] == key != "crawl" else "crawl",
            }
            for key in KEYS
            if key in origin
        }


def gather(given: dict[str, Source]) -> Rows:
    """Put the files of all sources in one order.

    Raises
    ------
    SourceError
        A source holds no pictures, or those for validation or test have a split of another name.
    UsageError
        The crawl has its own validation or test pictures, and others were given as well.
    """
    rows = []
    for origin, source in given.items():
        if not source.listing.file_names:
            raise SourceError(f"{source.given} holds no pictures{_passed_over(source)}: give another source.")
        for place, split in enumerate(source.listing.splits):
            key = _KEY_OF_SPLIT[split] or origin
            if key != origin and origin != "crawl":
                raise SourceError(
                    f"{source.given}, given for --{origin}, has pictures for {split!r} as well: "
                    f"give only those meant for {origin}."
                )
            rows.append((KEYS.index(key), key, origin, place))
    for key in ("val", "test"):
        if len({origin for _, found, origin, _ in rows if found == key}) > 1:
            raise UsageError(
                f"{given['crawl'].given} has its own {key} pictures: leave out --{key}, "
                "or give only the training pictures as the source."
            )
    rows.sort(key=lambda row: row[0])
    return Rows(given, [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows])


def check_labels(rows: Rows, exclude: Sequence[str]) -> None:
    """Check what can be known before any picture is read.

    Raises
    ------
    SourceError
        There are fewer than two categories, or labels that the crawl does not have.
    UnknownNameError
        A category to leave out does not exist.
    """
    labels: dict[str, dict[str, int]] = {key: {} for key in KEYS}
    for key, label in zip(rows.keys, rows.column("labels"), strict=True):
        if label:
            labels[key][label] = labels[key].get(label, 0) + 1
    crawl = rows.given["crawl"]
    known = sorted(labels["crawl"])
    if not known:
        raise SourceError(
            f"{crawl.given} has pictures but no folders of categories: put those of each category into a folder of its "
            f"own{_or_table(crawl)}."
        )
    for name in exclude:
        if name not in known:
            raise UnknownNameError("category", name, known)
    left = [name for name in known if name not in set(exclude)]
    if len(left) < 2:
        if exclude:
            raise SourceError(f"All but {len(left)} of the categories are left out, but a classifier needs two.")
        raise SourceError(
            f"{crawl.given} has one category only ({known[0]}), but a classifier needs two"
            f"{_deeper(crawl)}{_or_table(crawl)}."
        )
    for key in ("val", "test"):
        strange = sorted(set(labels[key]) - set(known))
        if strange:
            raise SourceError(
                f"The {key} pictures in {rows.given.get(key, crawl).given} have labels that the crawl does not have: "
                f"{few(strange)}. Use the crawl's labels, such as {few(known[:3])}."
            )


def too_deep(rows: Rows) -> str | None:
    """Say so when all pictures lie in folders below the categories': a folder too high may have been given."""
    crawl = rows.given["crawl"]
    if crawl.table or any(crawl.listing.splits) or any(name.count("/") < 2 for name in crawl.listing.file_names):
        return None
    tops = sorted(set(crawl.listing.labels))
    return (
        f"The categories are {few(tops)}, and all pictures lie in folders below them. If those folders are the "
        f"categories, give {joined(crawl.given, tops[0])} as the source."
    )


def few(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row, of many only the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _passed_over(source: Source) -> str:
    n = source.listing.not_images
    return f" ({n:,} files are no images by their names)" if n else ""


def _deeper(source: Source) -> str:
    """Suggest the folder below, where the categories' folders lie one deeper than was thought."""
    names = source.listing.file_names
    if source.table or IN_NO_CATEGORY in {why for _, why in source.listing.set_aside.values()}:
        return ""
    deep = [name.split("/") for name in names]
    tops = {parts[0] for parts in deep}
    if len(tops) != 1 or len({parts[1] for parts in deep if len(parts) > 2}) < 2:
        return ""
    return f": perhaps {joined(source.given, tops.pop())} is meant"


def _or_table(source: Source) -> str:
    """Suggest a table that lies at the top of a folder or tar."""
    if source.table:
        return ""
    found = [name for name in source.files.names() if "/" not in name and name.lower().endswith(TABLE_ENDINGS)]
    return f"; or give its table, {joined(source.given, found[0])}" if len(found) == 1 else ""


def joined(given: str, name: str) -> str:
    """Return how a part of a folder or tar is written.

    >>> joined("pets/", "crawl"), joined("pets.tar", "crawl"), joined("pets.tar#pets", "crawl")
    ('pets/crawl', 'pets.tar#crawl', 'pets.tar#pets/crawl')
    """
    return f"{given}#{name}" if given.lower().endswith(".tar") else f"{given.rstrip('/')}/{name}"
