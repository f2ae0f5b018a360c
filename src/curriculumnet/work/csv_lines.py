"""CSV tables that are written a line at a time, and read again as they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any


def csv_line(values: Iterable[Any]) -> bytes:
    r"""Return a row of a CSV table in UTF-8, with the end of its line; None is an empty value.

    >>> csv_line(["a,b", None, 1])
    b'"a,b",,1\n'
    """
    line = io.StringIO(newline="")
    # Before Python 3.13, a value is put in quotation marks for a carriage return only if lines end with one.
    csv.writer(line, lineterminator="\r\n").writerow(["" if value is None else value for value in values])
    return (line.getvalue().removesuffix("\r\n") + "\n").encode("utf-8")
