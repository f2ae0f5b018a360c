"""Food-101N: 310,009 pictures of 101 dishes from the web, of which some were verified by people.

The layout and the counts are those of K.-H. Lee et al., "CleanNet: Transfer Learning for Scalable Image Classifier
Training with Label Noise", CVPR 2018, and of the files of the data set.
"""

from __future__ import annotations

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.text import differences, lines

_LIST, _VERIFIED = "meta/imagelist.tsv", "meta/verified_val.tsv"

PUBLISHED = {"categories": 101, "pictures": 310_009, "verified validation pictures": 4_741}


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with Food-101N's lists."""
    del columns
    return not place.name and place.has(_LIST)


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures; those of the validation list that people found right are held out for validation.

    Those found wrong, and all that the training list says, stay as the web gave them: nobody's verdict is trained on.
    The test pictures are those of Food-101: give them with --test.

    Raises
    ------
    SourceError
        A line names no category, or a verdict that is none.
    """
    del columns
    names = lines(place, _LIST)[1:]
    strange = next((name for name in names if "/" not in name), None)
    if strange is not None:
        raise SourceError(
            f"{place.called(_LIST)} has the line {strange[:80]!r}, but must have `category/file` in each: fetch "
            "it anew."
        )
    right = _verified(place)
    labels = [name.split("/")[0] for name in names]
    counts = {"categories": len(set(labels)), "pictures": len(names), "verified validation pictures": len(right)}
    return make_listing(
        place.files.root,
        [f"images/{name}" for name in names],
        labels,
        ["val" if right.get(name) else "train" for name in names],
        unlabelled="no label",
        checked_splits=("val",),
        notes=differences("Food-101N", PUBLISHED, counts),
    )


def _verified(place: Place) -> dict[str, bool]:
    """Return what people said of the pictures of the validation list."""
    found = {}
    for line in lines(place, _VERIFIED)[1:] if place.has(_VERIFIED) else ():
        name, _, verdict = line.partition("\t")
        if verdict.strip() not in ("0", "1"):
            raise SourceError(
                f"{place.called(_VERIFIED)} has the line {line[:80]!r}, but must end with 0 or 1 after a tab: fetch it "
                "anew."
            )
        found[name] = verdict.strip() == "1"
    return found
