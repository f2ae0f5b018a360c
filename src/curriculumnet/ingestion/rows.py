"""The rows of the table of images: the files of all sources in one order, and what is asked of them beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curriculumnet.errors import SourceError, UnknownNameError, UsageError
from curriculumnet.ingestion.states import KEYS
from curriculumnet.sources.folders import IN_NO_CATEGORY
from curriculumnet.sources.kinds import Source
from curriculumnet.sources.layout import joined
from curriculumnet.sources.tables import TABLE_ENDINGS
from curriculumnet.sources.text import few

_SUGGESTED = 3
"""Names that a message suggests."""

_OF_SPLIT = {"train": "crawl", "val": "val", "test": "test"}


@dataclass(frozen=True)
class Rows:
    """All n files, first the crawl's, then those given for validation and test.

    Attributes
    ----------
    given : dict of str to Source
        The sources as they were given.
    source : ndarray of int8, shape (n,)
        Codes of `ingestion.states.KEYS`. A crawl that tells splits itself is the source of all that it tells.
    origin : ndarray of int8, shape (n,)
        The given source that each row is from, by its number.
    place : ndarray of int64, shape (n,)
        Its place in that source's listing.
    """

    given: dict[str, Source]
    source: NDArray[np.int8]
    origin: NDArray[np.int8]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.source)

    def of(self, origin: str) -> NDArray[np.int64]:
        """Return the rows of a given source, in the order of its listing."""
        rows = np.flatnonzero(self.origin == list(self.given).index(origin))
        return rows[np.argsort(self.place[rows], kind="stable")]

    def column(self, name: str) -> pa.Array:
        """Return a column of the listings, such as ``labels``; null in rows whose source does not have it."""
        parts = []
        kind = pa.float64() if name == "ranks" else pa.string()
        for source in self.given.values():
            part = getattr(source.listing, name)
            parts.append(pa.nulls(len(source.listing), kind) if part is None else part)
        if any(pa.types.is_dictionary(part.type) for part in parts):
            parts = [part if pa.types.is_dictionary(part.type) else part.dictionary_encode() for part in parts]
        whole = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
        # Listings one after the other, which is mostly the order of the rows already.
        starts = np.cumsum([0, *(len(source.listing) for source in self.given.values())])
        order = starts[self.origin] + self.place
        return whole if (order == np.arange(len(self))).all() else whole.take(pa.array(order))

    def set_aside(self) -> dict[str, list[str]]:
        """Return, by source, the reasons for its files where the listing sets all of them aside."""
        found = {}
        for code, key in enumerate(KEYS):
            held = np.flatnonzero(self.source == code)
            aside = self._given_for(held).listing.set_aside if len(held) else {}
            if aside and all(place in aside for place in self.place[held].tolist()):
                found[key] = [aside[place][1] for place in self.place[held].tolist()]
        return found

    def hidden(self) -> list[str]:
        """Return the splits that a crawl itself has, and of which no file has a label."""
        reasons = {key: set(why) for key, why in self.set_aside().items() if key not in self.given}
        return [key for key, why in reasons.items() if why <= {"no label", IN_NO_CATEGORY}]

    def none_usable(self, key: str, reasons: Iterable[str]) -> SourceError:
        """Return the error that no file of a source can be used, for these reasons."""
        held = np.flatnonzero(self.source == KEYS.index(key))
        source = self._given_for(held)
        first = source.listing.names[int(self.place[held[0]])]
        return SourceError(
            f"None of the {len(held):,} files of {source.given} is a picture that can be used "
            f"({frequent(reasons)}; the first is {first}, looked for in {source.listing.root}): check the source."
        )

    def _given_for(self, rows: NDArray[np.intp]) -> Source:
        """Return the source that was given, from which the rows of one source are."""
        return list(self.given.values())[self.origin[rows[0]]]

    def not_images(self) -> dict[str, int]:
        """Return how many files of each given source were passed over because of their names."""
        return {origin: source.listing.not_images for origin, source in self.given.items()}

    def projects(self) -> dict[str, dict[str, str]]:
        """Return what project.json says of each source."""
        origins = list(self.given)
        found = {}
        for code, key in enumerate(KEYS):
            rows = np.flatnonzero(self.source == code)
            if len(rows):
                origin = origins[self.origin[rows[-1]]]
                checked = self.given[origin].listing.checked_splits
                found[key] = {
                    "source": self.given[origin].given,
                    "place": self.given[origin].place,
                    "root": self.given[origin].listing.root,
                    "kind": self.given[origin].kind,
                    # What a crawl itself sets apart is as clean as the crawl, unless people have checked it; what was
                    # given to measure on is clean.
                    "labels": "clean" if origin == key != "crawl" or key in checked else "crawl",
                }
        return found


def gather(given: dict[str, Source]) -> Rows:
    """Put the files of all sources in one order.

    Raises
    ------
    SourceError
        A source holds no pictures, or those for validation or test have a split of another name.
    UsageError
        The crawl has its own validation or test pictures, and others were given as well.
    """
    sources, origins, places = [], [], []
    for number, (origin, source) in enumerate(given.items()):
        listing = source.listing
        if not len(listing):
            raise SourceError(
                f"{source.given} holds no pictures{_passed_over(source)}: give another source{_or_table(source)}."
            )
        splits = listing.splits.dictionary.to_pylist()
        strange = [split for split in splits if _OF_SPLIT[split] != origin]
        if strange and origin != "crawl":
            raise SourceError(
                f"{source.given}, given for --{origin}, has pictures for {strange[0]!r} as well: "
                f"give only those meant for {origin}."
            )
        codes = np.array([KEYS.index(_OF_SPLIT[split]) for split in splits] + [KEYS.index(origin)], dtype=np.int8)
        sources.append(codes[listing.splits.indices.fill_null(len(splits)).to_numpy()])
        origins.append(np.full(len(listing), number, dtype=np.int8))
        places.append(np.arange(len(listing), dtype=np.int64))
    rows = Rows(given, *(np.concatenate(parts) for parts in (sources, origins, places)))
    for key in ("val", "test"):
        if len(np.unique(rows.origin[rows.source == KEYS.index(key)])) > 1:
            raise UsageError(
                f"{given['crawl'].given} has its own {key} pictures: leave out --{key}, "
                "or give only the training pictures as the source."
            )
    order = np.argsort(rows.source, kind="stable")
    return Rows(given, rows.source[order], rows.origin[order], rows.place[order])


def check_labels(rows: Rows, exclude: Sequence[str]) -> None:
    """Check what can be known before any picture is read.

    Raises
    ------
    SourceError
        There are fewer than two categories, labels that the crawl does not have, or no file of a source can be used.
    UnknownNameError
        A category to leave out does not exist.
    """
    column = rows.column("labels")
    texts, codes = column.dictionary.to_pylist(), column.indices.to_numpy()
    labels = {
        key: {texts[code] for code in np.unique(codes[rows.source == number]).tolist()} - {""}
        for number, key in enumerate(KEYS)
    }
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
        strange = sorted(labels[key] - set(known))
        if strange:
            raise SourceError(
                f"The {key} pictures in {rows.given.get(key, crawl).given} have labels that the crawl does not have: "
                f"{few(strange)}. Use the crawl's labels, such as {few(known[:3])}."
            )
    hidden = rows.hidden()
    for key, reasons in rows.set_aside().items():
        if key not in hidden:
            raise rows.none_usable(key, reasons)


def hidden_labels(rows: Rows) -> str | None:
    """Say so when splits of the crawl have no labels: data sets are published whose test labels stay hidden."""
    hidden = " or ".join(rows.hidden())
    return f"No {hidden} picture of {rows.given['crawl'].given} has a label: they are left out." if hidden else None


def torn_groups(rows: Rows) -> str | None:
    """Say so when a source's own splits part what belongs together."""
    groups = rows.column("groups")
    if not pa.types.is_dictionary(groups.type):
        return None
    codes = groups.indices.fill_null(-1).to_numpy()
    known = np.unique(np.stack([codes, rows.source]), axis=1)
    _, times = np.unique(known[0][known[0] >= 0], return_counts=True)
    torn = int((times > 1).sum())
    if not torn:
        return None
    return (
        f"{torn:,} groups lie in several of the splits that {rows.given['crawl'].given} has: what is measured on them "
        "may have been learnt."
    )


def too_deep(rows: Rows) -> str | None:
    """Say so when all pictures lie in folders below the categories': a folder too high may have been given."""
    crawl = rows.given["crawl"]
    listing = crawl.listing
    if (
        crawl.kind != "folders"
        or len(listing.splits.dictionary)
        or pc.min(pc.count_substring(listing.file_names, "/")).as_py() < 2
    ):
        return None
    tops = sorted(listing.labels.dictionary.to_pylist())
    meant = _above_categories(crawl) or tops
    return (
        f"The categories are {few(tops)}, and all pictures lie in folders below them. If those folders are the "
        f"categories, give {joined(crawl.given, meant[0])} as the source."
    )


def frequent(reasons: Iterable[str]) -> str:
    """Return the three most frequent reasons."""
    return "; ".join(f"{reason}: {n:,}" for reason, n in Counter(reasons).most_common(3))


def _passed_over(source: Source) -> str:
    n = source.listing.not_images
    return f" ({n:,} files are no images by their names)" if n else ""


def _deeper(source: Source) -> str:
    """Suggest folders below, where the categories' folders lie deeper than was thought."""
    found = [joined(source.given, folder) for folder in _above_categories(source)[:_SUGGESTED]]
    return f": perhaps {' or '.join(found)} is meant" if found else ""


def _above_categories(source: Source) -> list[str]:
    """Return the folders in which several folders of pictures lie, that of the most pictures first."""
    if source.kind != "folders" or IN_NO_CATEGORY in {why for _, why in source.listing.set_aside.values()}:
        return []
    pictures: Counter[str] = Counter()
    categories: dict[str, set[str]] = {}
    for *above, category, _ in (name.split("/") for name in source.listing.names if name.count("/") > 1):
        pictures["/".join(above)] += 1
        categories.setdefault("/".join(above), set()).add(category)
    return [folder for folder, _ in pictures.most_common() if len(categories[folder]) > 1]


def _or_table(source: Source) -> str:
    """Suggest a table that lies at the top of a folder or tar, or in a folder there."""
    if source.kind != "folders":
        return ""
    found = [name for name in source.files.names() if name.count("/") < 2 and name.lower().endswith(TABLE_ENDINGS)]
    found = [name for name in found if not name.rpartition("/")[2].startswith(".")][:_SUGGESTED]
    return f"; or give its table, {' or '.join(joined(source.given, name) for name in found)}" if found else ""
