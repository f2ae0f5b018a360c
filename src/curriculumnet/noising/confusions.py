"""What is taken for what: ``cat:dog=0.3``, or a table of such rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from curriculumnet.errors import InputError, UnknownNameError, UsageError
from curriculumnet.noising.shares import exact

_COLUMNS = ("label", "confused_with", "share")

Row = tuple[str, str, str, str]
"""A category, the label that it is given, the share, and where this is written."""


def read_confusions(given: Sequence[str], categories: Collection[str]) -> dict[tuple[str, str], Fraction]:
    """Return the share of each pair of categories.

    Parameters
    ----------
    given : sequence of str
        Pairs, or paths of tables (``.csv``) with the columns label, confused_with, share.
    categories : collection of str
        The categories that there are.

    Raises
    ------
    UsageError, UnknownNameError
        A pair is not written as one, names an unknown category, or comes twice; a share is not in 0 … 1.
    InputError
        A table is missing or lacks a column.
    """
    found: dict[tuple[str, str], Fraction] = {}
    for each in given:
        rows = _table(Path(each)) if each.lower().endswith(".csv") else iter([_pair(each, categories)])
        for category, label, share, where in rows:
            for name in (category, label):
                if name not in categories:
                    raise UnknownNameError("category", name, categories, f"It is named by {where}.")
            if category == label:
                raise UsageError(f"{where} takes {category} for itself: name another category.")
            if (category, label) in found:
                raise UsageError(f"{where} names {category} taken for {label} once more: name each pair once.")
            found[category, label] = _share(share, where)
    return found


def _pair(text: str, categories: Collection[str]) -> Row:
    """Read ``cat:dog=0.3``; the names of categories may hold colons."""
    names, _, share = text.rpartition("=")
    parts = names.split(":")
    cuts = [(":".join(parts[:cut]), ":".join(parts[cut:])) for cut in range(1, len(parts))]
    if not cuts or not share:
        raise UsageError(
            f'--confuse {text} is no pair and no table: write "cat:dog=0.3", or give a .csv with the columns '
            f"{', '.join(_COLUMNS)}."
        )
    known = [cut for cut in cuts if set(cut) <= set(categories)]
    return *(known or cuts)[0], share, f"--confuse {text}"


def _table(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"The table {path} of --confuse cannot be read ({reason}): check the file.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    lacking = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise InputError(f"The table {path} of --confuse has no column {lacking[0]!r}: name {', '.join(_COLUMNS)}.")
    for row in reader:
        category, label, share = ((row[name] or "").strip() for name in _COLUMNS)
        yield category, label, share, f"Line {reader.line_num} of {path}"


def _share(text: str, where: str) -> Fraction:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{where} has the share {text!r}: it must be a number from 0 to 1.")
    return exact(share)
