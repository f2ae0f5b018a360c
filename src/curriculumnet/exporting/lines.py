"""Rows as lines of text, and names that have no place in one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curriculumnet.errors import InputError

_OTHER_NAME = "give it another name by `curriculumnet ingest --rename TABLE`"


def csv_line(values: Iterable[Any]) -> bytes:
    """Return a row of a CSV table; None is an empty value."""
    line = io.StringIO(newline="")
    # Before Python 3.13, a value is put in quotation marks for a carriage return only if lines end with one.
    csv.writer(line, lineterminator="\r\n").writerow(["" if value is None else value for value in values])
    return (line.getvalue().removesuffix("\r\n") + "\n").encode("utf-8")


def json_line(values: Mapping[str, Any]) -> bytes:
    """Return an object as a line of JSON."""
    return (json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8")


def check_kept(categories: Iterable[str]) -> None:
    """Check that names stay what they are where spaces around them count for nothing, as in lists and tables.

    Raises
    ------
    InputError
        A name begins or ends with a space, or is nothing else.
    """
    for name in categories:
        if name != name.strip():
            raise InputError(
                f"The category {name!r} begins or ends with a space, and would be another one where the export is read "
                f"again: {_OTHER_NAME}."
            )


def names_in_lines(categories: Sequence[str]) -> bytes:
    """Return the categories, one a line, in their order.

    Raises
    ------
    InputError
        A name has more than one line.
    """
    for name in categories:
        if len(name.splitlines()) != 1:
            raise InputError(
                f"The category {name!r} has a line break in its name, and cannot stand in a list of one name a line: "
                f"{_OTHER_NAME}, or choose another --format."
            )
    return "".join(f"{name}\n" for name in categories).encode("utf-8")
