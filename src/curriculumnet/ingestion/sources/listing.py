"""What every kind of source gives: its files with their labels, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_NOT_UTF8 = ("refused", "its name is not valid UTF-8")
_NO_NAME = ("missing", "no file name")


@dataclass(frozen=True)
class Listing:
    """The files that a source names, a row each.

    Attributes
    ----------
    root : str
        Where the names lie, for `curriculumnet.images.archives.open_bytes`.
    file_names : list of str
        Relative to the root, with ``/``.
    labels : list of str
        The category of each; empty where there is none.
    splits : list of (str or None)
        ``train``, ``val`` or ``test`` where the source says so.
    groups, urls, licences : list of (str or None), or None
        What a table's further columns tell; None when there is no such column.
    set_aside : dict of int to (str, str)
        State and reason of rows that cannot be used whatever their bytes are.
    not_images : int
        Files that were passed over because of their names: hidden ones, texts, tables, archives.
    """

    root: str
    file_names: list[str]
    labels: list[str]
    splits: list[str | None]
    groups: list[str | None] | None = None
    urls: list[str | None] | None = None
    licences: list[str | None] | None = None
    set_aside: dict[int, tuple[str, str]] = field(default_factory=dict)
    not_images: int = 0


def make_listing(
    root: str,
    file_names: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str | None],
    *,
    unlabelled: str,
    refused: Mapping[str, str] | None = None,
    groups: list[str | None] | None = None,
    urls: list[str | None] | None = None,
    licences: list[str | None] | None = None,
    not_images: int = 0,
) -> Listing:
    """Make a listing whose text is valid, and set aside the rows that cannot be used.

    Parameters
    ----------
    unlabelled : str
        The reason why a row without a label is refused.
    refused : mapping of str to str, optional
        Names that are refused, with the reason.
    """
    set_aside = {}
    shown = list(file_names)
    for row, (name, label) in enumerate(zip(file_names, labels, strict=True)):
        if not name:
            set_aside[row] = _NO_NAME
        elif not is_valid(name):
            shown[row], set_aside[row] = printable(name), _NOT_UTF8
        elif refused and name in refused:
            set_aside[row] = ("refused", refused[name])
        elif not label:
            set_aside[row] = ("refused", unlabelled)
    plain = [label if is_valid(label) else printable(label) for label in labels]
    return Listing(
        root,
        shown,
        plain,
        list(splits),
        _printable(groups),
        _printable(urls),
        _printable(licences),
        set_aside,
        not_images,
    )


def is_valid(text: str) -> bool:
    """Say whether a text can be written as UTF-8: names of files may hold any bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    r"""Return a text with stray bytes written as ``\xNN``, so that tables can hold it."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _printable(column: list[str | None] | None) -> list[str | None] | None:
    return None if column is None else [value if value is None else printable(value) for value in column]
