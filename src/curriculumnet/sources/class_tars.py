"""Folders of tars without further files: one tar a category, as ImageNet comes, or class folders parted over tars."""

from __future__ import annotations

import posixpath

from curriculumnet.images.archives import may_be_image
from curriculumnet.sources.folders import archives_beside, strangers
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.webdataset import beside, is_called_like_a_shard, splits_of, tars_of


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder in which nothing but tars could hold pictures."""
    del columns
    return not place.name and bool(tars_of(place.files.top()))


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures in the tars; the category is the first folder in a tar, or else the tar's own name."""
    del columns
    names: list[str] = []
    labels: list[str] = []
    strange: dict[str, str] = {}
    passed_over, tars = beside(place), tars_of(place.files.top())
    for tar in tars:
        found = place.files.tar(tar)
        regular, others = found.contents()
        unreadable = strangers(regular, others)
        pictures = [*filter(may_be_image, found.in_order()), *unreadable]
        passed_over += len(regular) + len(others) - len(pictures)
        names += [f"{tar}#{name}" for name in pictures]
        labels += [name.split("/")[0] if "/" in name else posixpath.splitext(tar)[0] for name in pictures]
        strange |= {f"{tar}#{name}": why for name, why in unreadable.items()}
    return make_listing(
        place.files.root,
        names,
        labels,
        splits_of(iter(names)) if any("/" in name for name in names) else [None] * len(names),
        unlabelled="no label",
        refused=strange,
        not_images=passed_over,
        notes=(*archives_beside(place, "the tars", tars), *_like_shards(place, tars, names)),
    )


def _like_shards(place: Place, tars: list[str], names: list[str]) -> tuple[str, ...]:
    """Return a sentence on tars that may be shards without labels: they are called by numbers and hold no folders."""
    if any("/" in name for name in names) or not all(is_called_like_a_shard(tar) for tar in tars):
        return ()
    return (
        f"Each tar of {place.given} is taken for a category, called {posixpath.splitext(tars[0])[0]} and so on: shards "
        "of WebDataset need a .cls or a .json with a label for each picture.",
    )
