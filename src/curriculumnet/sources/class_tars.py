"""Folders of tars without further files: one tar a category, as ImageNet comes, or class folders parted over tars."""

from __future__ import annotations

import posixpath

from curriculumnet.images.archives import may_be_image
from curriculumnet.sources.folders import strangers
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.webdataset import beside, splits_of, tars_of


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
    passed_over = beside(place)
    for tar in tars_of(place.files.top()):
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
    )
