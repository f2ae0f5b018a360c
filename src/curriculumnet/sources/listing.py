"""What every kind of source gives: its files with their labels, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import pyarrow as pa

_NOT_UTF8 = ("refused", "its name is not valid UTF-8")
_NO_NAME = ("missing", "no file name")
_AT_ONCE = 8192
"""Names that are made into Python strings at a time."""


class Names(Sequence[str]):
    """Names held as Arrow: a Python string for each of a million would take a hundred megabytes.

    Parameters
    ----------
    names : pyarrow.StringArray or ChunkedArray
    """

    def __init__(self, names: pa.Array | pa.ChunkedArray) -> None:
        self._names = names

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Return a name, or a list of some that lie beside each other."""
        if isinstance(place, int):
            return str(self._names[place].as_py())
        return list(self._names[place].to_pylist())

    def __iter__(self) -> Iterator[str]:
        """Give one after the other."""
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]


@dataclass(frozen=True)
class Listing:
    """The files that a source names, a row each, in Arrow columns.

    Attributes
    ----------
    root : str
        Where the names lie, for `curriculumnet.images.archives.open_bytes`. In a folder, ``x.tar#name`` is a member of
        a tar that lies there.
    file_names : pyarrow.StringArray
        Relative to the root, with ``/``.
    labels : pyarrow.DictionaryArray of string
        The category of each; empty where there is none.
    splits : pyarrow.DictionaryArray of string
        ``train``, ``val`` or ``test`` where the source says so, else null.
    groups, urls, licences : pyarrow.Array of string or dictionary, or None
        What a table's further columns tell; None when there is no such column.
    ranks : pyarrow.DoubleArray or None
        The source's own order, lower is better; None when there is no such column.
    queries : pyarrow.DictionaryArray of string or None
        The words that each was found by; None when there is no such column.
    set_aside : dict of int to (str, str)
        State and reason of rows that cannot be used whatever their bytes are.
    not_images : int
        Files that were passed over because of their names: hidden ones, texts, tables, archives.
    checked_splits : tuple of str
        Splits whose labels were checked by people, as the source's makers say.
    notes : tuple of str
        Sentences on what differs from what is known of such a source.
    """

    root: str
    file_names: pa.StringArray
    labels: pa.DictionaryArray
    splits: pa.DictionaryArray
    groups: pa.Array | None = None
    urls: pa.Array | None = None
    licences: pa.Array | None = None
    ranks: pa.DoubleArray | None = None
    queries: pa.Array | None = None
    set_aside: dict[int, tuple[str, str]] = field(default_factory=dict)
    not_images: int = 0
    checked_splits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.file_names)

    @property
    def names(self) -> Names:
        """The file names as a sequence of strings."""
        return Names(self.file_names)


def make_listing(
    root: str,
    file_names: Sequence[str],
    labels: Sequence[str],
    splits: Sequence[str | None],
    *,
    unlabelled: str,
    refused: Mapping[str, str] | None = None,
    set_aside: Mapping[int, tuple[str, str]] | None = None,
    groups: Sequence[str | None] | None = None,
    urls: Sequence[str | None] | None = None,
    licences: Sequence[str | None] | None = None,
    ranks: Sequence[float | None] | None = None,
    queries: Sequence[str | None] | None = None,
    not_images: int = 0,
    checked_splits: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Listing:
    """Make a listing whose text is valid, and set aside the rows that cannot be used.

    Parameters
    ----------
    unlabelled : str
        The reason why a row without a label is refused.
    refused : mapping of str to str, optional
        Names that are refused, with the reason.
    set_aside : mapping of int to (str, str), optional
        State and reason of rows that the source itself says are not there.
    """
    aside = {}
    shown = list(file_names)
    for row, (name, label) in enumerate(zip(file_names, labels, strict=True)):
        if set_aside and row in set_aside:
            shown[row], aside[row] = printable(name), set_aside[row]
        elif not name:
            aside[row] = _NO_NAME
        elif not is_valid(name):
            shown[row], aside[row] = printable(name), _NOT_UTF8
        elif refused and name in refused:
            aside[row] = ("refused", refused[name])
        elif not label:
            aside[row] = ("refused", unlabelled)
    return Listing(
        root,
        pa.array(shown, pa.string()),
        _few_kinds([label if is_valid(label) else printable(label) for label in labels]),
        _few_kinds(splits),
        None if groups is None else _few_kinds(_printable(groups)),
        None if urls is None else pa.array(_printable(urls), pa.string()),
        None if licences is None else _few_kinds(_printable(licences)),
        None if ranks is None else pa.array(ranks, pa.float64()),
        None if queries is None else _few_kinds(_printable(queries)),
        aside,
        not_images,
        checked_splits,
        notes,
    )


def _few_kinds(values: Sequence[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


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


def _printable(column: Sequence[str | None]) -> list[str | None]:
    return [value if value is None else printable(value) for value in column]
