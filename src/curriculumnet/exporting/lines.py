"""Rows as lines of text, and names that have no place in one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curriculumnet.errors import InputError

_OTHER_NAME = "give it another name by `curriculumnet ingest --rename TABLE`"


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
