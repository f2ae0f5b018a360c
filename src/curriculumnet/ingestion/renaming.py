"""Categories renamed, merged and left out by a small table, and written in one way in all sources."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pyarrow as pa
import pyarrow.compute as pc

from curriculumnet.errors import SourceError, UnknownNameError, UsageError
from curriculumnet.images.folder import Folder
from curriculumnet.sources.kinds import Source
from curriculumnet.sources.listing import Listing
from curriculumnet.sources.tables import TABLE_ENDINGS, cells_of, texts


def read_names(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what categories are to be called.

    Parameters
    ----------
    path : path-like
        A table with the columns `label`, as the source has it, and `category`, what it is to be called; the same for
        several merges them, nothing leaves them out.

    Raises
    ------
    SourceError
        It is not there, or names a label twice or not at all.
    UsageError
        It is no table.
    """
    place = Path(path)
    if not place.is_file():
        raise SourceError(f"The table {place} of --rename is not there: check the name.")
    if place.suffix.lower() not in TABLE_ENDINGS:
        raise UsageError(f"--rename needs a table ({', '.join(TABLE_ENDINGS)}), but {place} is none.")
    cells = cells_of(Folder(str(place.parent)), place.name, str(place))
    labels, categories = (texts(cells, title, str(place)) for title in ("label", "category"))
    if labels is None or categories is None:
        raise SourceError(
            f"{place} has the columns {', '.join(map(repr, cells)) or 'none'}, but --rename needs 'label' and "
            "'category': give them these titles."
        )
    names: dict[str, str] = {}
    for row, (label, category) in enumerate(zip(labels, categories, strict=True), 1):
        if not label:
            raise SourceError(f"Row {row} of {place} names no label: write one, or remove the row.")
        if names.setdefault(label, (category or "").strip()) != (category or "").strip():
            raise SourceError(f"{place} has the label {label!r} twice, with two names: keep one of them.")
    return names


def meant(names: dict[str, str], crawl: Source) -> dict[str, str]:
    """Return the names by the categories as the crawl has them: spaces around one count where it has them.

    Raises
    ------
    UnknownNameError
        The crawl has no category of a name that is to be changed.
    SourceError
        A category is named twice, or left out though another one is called so.
    """
    known = set(crawl.listing.labels.dictionary.to_pylist()) - {""}
    found: dict[str, str] = {}
    for label, category in names.items():
        own = label if label in known else label.strip()
        if own not in known:
            raise UnknownNameError("category", own, known, "It is named in the table of --rename.")
        if found.setdefault(own, category) != category:
            raise SourceError(f"The table of --rename has the label {own!r} twice, with two names: keep one of them.")
    both = sorted(set(left_out(found)) & set(found.values()))
    if both:
        raise SourceError(
            f"The table of --rename leaves {both[0]!r} out and calls another category so: choose another name for that "
            "one."
        )
    return found


def renamed(given: dict[str, Source], names: dict[str, str]) -> dict[str, Source]:
    """Return sources whose categories have their new names; those that are to be left out keep the old one."""
    if not names:
        return given
    return {key: replace(source, listing=_renamed(source.listing, names)) for key, source in given.items()}


def as_the_crawl_writes(given: dict[str, Source]) -> dict[str, Source]:
    """Return sources in which the labels to measure on are written as the crawl writes them.

    Systems differ in whether a letter and its accent are one character or two, which nobody can see. Where the crawl
    has labels of both kinds, they stay two categories.
    """
    crawl = given["crawl"].listing
    trained = pc.fill_null(pc.equal(crawl.splits.dictionary_decode(), "train"), True)
    own = set(crawl.labels.filter(trained).unique().to_pylist())
    forms: dict[str, list[str]] = {}
    for label in own:
        forms.setdefault(normalize("NFC", label), []).append(label)
    others = {label for source in given.values() for label in source.listing.labels.dictionary.to_pylist()} - own
    meant = {label: forms.get(normalize("NFC", label), []) for label in others}
    return renamed(given, {label: found[0] for label, found in meant.items() if len(found) == 1})


def left_out(names: dict[str, str]) -> list[str]:
    """Return the categories that a table leaves out."""
    return sorted(label for label, category in names.items() if not category)


def _renamed(listing: Listing, names: dict[str, str]) -> Listing:
    old = listing.labels.dictionary.to_pylist()
    new = [names.get(label) or label for label in old]
    merged = {label: code for code, label in enumerate(dict.fromkeys(new))}
    codes = pa.array([merged[label] for label in new], pa.int32())
    labels = pa.DictionaryArray.from_arrays(codes.take(listing.labels.indices), pa.array(list(merged), pa.string()))
    return replace(listing, labels=labels)
