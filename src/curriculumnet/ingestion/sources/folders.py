"""Class folders: each folder at the top is a category, and all below it belongs to it.

With ``train/``, ``val/`` and ``test/`` at the top the categories are the folders inside those.
"""

from __future__ import annotations

from curriculumnet.images.archives import Bytes, may_be_image
from curriculumnet.ingestion.sources.listing import Listing, make_listing

IN_NO_CATEGORY = "in no category's folder"

_SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def read_folders(files: Bytes) -> Listing:
    """List the pictures in class folders.

    Parameters
    ----------
    files : Bytes
        A folder or a tar.

    Returns
    -------
    Listing
        In code-point order of the names. Pictures that lie beside the categories' folders are set aside.
    """
    regular, others = files.contents()
    names = [name for name in regular if may_be_image(name)]
    split_by_top = _has_split_folders(names)
    places = [_place(name, split_by_top) for name in names]
    return make_listing(
        files.root,
        names,
        [label for _, label in places],
        [split for split, _ in places],
        unlabelled=IN_NO_CATEGORY,
        not_images=len(regular) - len(names) + len(others),
    )


def _has_split_folders(names: list[str]) -> bool:
    """Say whether the folders at the top are ``train`` and perhaps ``val``, ``validation``, ``test``, and no others."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    return "train" in tops and tops <= set(_SPLIT_FOLDERS)


def _place(name: str, split_by_top: bool) -> tuple[str | None, str]:
    """Return the split and the category that a file's folders name."""
    folders = name.split("/")[:-1]
    if not split_by_top:
        return None, folders[0] if folders else ""
    if not folders:
        return None, ""
    return _SPLIT_FOLDERS[folders[0]], folders[1] if len(folders) > 1 else ""
