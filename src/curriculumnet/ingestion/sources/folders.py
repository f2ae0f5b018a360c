"""Class folders: each folder at the top is a category, and all below it belongs to it.

With ``train/``, ``val/`` and ``test/`` at the top the categories are the folders inside those.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from curriculumnet.images.archives import Bytes
from curriculumnet.ingestion.sources.listing import Listing, make_listing

IN_NO_CATEGORY = "in no category's folder"

_SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "test": "test"}

# fmt: off
_NO_IMAGE_ENDINGS = frozenset((
    ".7z", ".avi", ".bz2", ".cfg", ".csv", ".db", ".doc", ".docx", ".gz", ".ini", ".ipynb", ".json", ".jsonl", ".list",
    ".log", ".lst", ".m4v", ".md", ".mkv", ".mov", ".mp3", ".mp4", ".ndjson", ".npy", ".npz", ".parquet", ".pkl", ".pt",
    ".pth", ".py", ".rar", ".rst", ".rtf", ".sh", ".sqlite", ".tar", ".tgz", ".toml", ".tsv", ".txt", ".wav", ".webm",
    ".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst",
))
# fmt: on
"""Endings of names that are passed over. All other files are looked into, web pages too: crawlers save pictures under
names such as ``.php`` or ``.aspx``, and pages under ``.jpg``."""


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


def may_be_image(name: str) -> bool:
    """Say whether a file could be a picture by its name: not hidden, nor in a hidden folder, nor of a known ending."""
    if name.startswith(".") or "/." in name:
        return False
    return PurePosixPath(name).suffix.lower() not in _NO_IMAGE_ENDINGS


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
