"""Class folders: each folder at the top is a category, and all below it belongs to it.

With ``train/``, ``val/`` and ``test/`` at the top the categories are the folders inside those, whatever lies beside.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Collection

from curriculumnet.images.archives import is_archive, may_be_image
from curriculumnet.sources.layout import SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing, make_listing
from curriculumnet.sources.text import few

IN_NO_CATEGORY = "in no category's folder"

_NO_FILE = "no regular file"
_OUTSIDE = "its name leads out of the archive"

PICTURE_ENDINGS = frozenset(
    (".avif", ".bmp", ".dcm", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
"""Endings by which tools that read class folders know pictures."""

_LONGEST = 255
"""Bytes that file systems take for a name."""

_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""


def recognise(place: Place, columns: Columns) -> bool:
    """Take any folder or tar: this kind is asked last."""
    del columns
    return not place.name


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures in class folders.

    Returns
    -------
    Listing
        In code-point order of the names. Set aside are pictures that lie beside the categories' folders, names that
        lead out of an archive, and what is no file: pipes, devices, and the links in an archive.
    """
    del columns
    files = place.files
    regular, others = files.contents()
    strange = strangers(regular, others)
    names = sorted([*filter(may_be_image, regular), *strange])
    split_by_top = _has_split_folders([name for name in names if strange.get(name) != _OUTSIDE])
    labels, splits = [], []
    for name in names:
        split, label = (None, "") if strange.get(name) == _OUTSIDE else _place(name, split_by_top)
        labels.append(label)
        splits.append(split)
    return make_listing(
        files.root,
        names,
        labels,
        splits,
        unlabelled=IN_NO_CATEGORY,
        refused=strange,
        not_images=len(regular) + len(set(others).difference(regular)) - len(names),
        notes=archives_beside(place, "the folders"),
    )


def archives_beside(place: Place, what: str, read: Collection[str] = ()) -> tuple[str, ...]:
    """Return a sentence on archives at the top, in which pictures may be, that lie beside what is read."""
    found = [name for name in place.files.top() if is_archive(name) and name not in read]
    return (f"{few(found)} in {place.given} beside {what}: what is in archives there is not read.",) if found else ()


def only_folder(listing: Listing) -> str:
    """Return the folder at the top in which the categories' folders lie, if it is the only one; else nothing.

    Archives are often made so. Where the pictures lie deeper, nobody can tell what the categories are.
    """
    # What else a picture cannot be by its ending may lie higher: a page, weights, a licence.
    names = [
        name.split("/")
        for name in listing.names
        if name.count("/") > 1 or posixpath.splitext(name)[1].lower() in PICTURE_ENDINGS
    ]
    tops = {parts[0] for parts in names}
    categories = {parts[1] for parts in names if len(parts) == 3}
    if len(tops) != 1 or len(categories) < 2 or any(len(parts) < 3 for parts in names):
        return ""
    return tops.pop()


def strangers(regular: list[str], others: list[str]) -> dict[str, str]:
    """Return what could be pictures by their names but cannot be read, with the reason.

    Parameters
    ----------
    regular, others : list of str
        As `images.stored.Bytes.contents` gives them.
    """
    strange = {name: _NO_FILE for name in set(others).difference(regular) if may_be_image(name)}
    return strange | {name: _OUTSIDE for name in others if _leads_outside(name)}


def unfit(category: str) -> str:
    r"""Return why a category cannot be a folder that is read as that category again; nothing where it can.

    What is written here may be carried elsewhere: names that another system would refuse as a whole count as unfit,
    letters that only Windows does not allow, and which are frequent, count only there.

    >>> unfit("cat"), unfit("a/b"), unfit(".net")
    ('', 'has a / or \\ or a zero byte in it', 'begins with a dot')
    """
    if set(category) & set("/\\\0"):
        return "has a / or \\ or a zero byte in it"
    if category.startswith("."):
        return "begins with a dot"
    if category.endswith((".", " ")):
        return "ends with a dot or a space"
    if _DEVICES.fullmatch(category):
        return "is kept by Windows for a device"
    if os.name == "nt" and any(letter < " " or letter in '<>:"|?*' for letter in category):
        return "has a letter that Windows does not allow"
    if len(category.encode("utf-8")) > _LONGEST:
        return f"is longer than {_LONGEST} bytes"
    return ""


def _leads_outside(name: str) -> bool:
    return f"{posixpath.normpath(name)}/".startswith(("/", "../"))


def _has_split_folders(names: list[str]) -> bool:
    """Say whether the folders at the top are ``train`` and others that are called like splits.

    Where something else lies beside these, ``train`` could be a category: then another split is needed, and folders of
    categories in each.
    """
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    called = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    if "train" not in called.values() or len(called) == len(tops):
        return "train" in called.values()
    parted = {name.split("/", 1)[0] for name in names if name.count("/") > 1}
    return len(set(called.values())) > 1 and parted.issuperset(called)


def _place(name: str, split_by_top: bool) -> tuple[str | None, str]:
    """Return the split and the category that a file's folders name."""
    folders = name.split("/")[:-1]
    if not split_by_top:
        return None, sys.intern(folders[0]) if folders else ""
    split = SPLITS.get(folders[0].lower()) if folders else None
    return split, sys.intern(folders[1]) if split and len(folders) > 1 else ""
