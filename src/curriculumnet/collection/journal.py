"""What has come of a shard that is begun: a line for each row, beside the tar that its pictures are in.

A line is written when the row's members are in the tar, and says where they end. So whatever is killed in the midst of
writing leaves, at most, the beginning of a line and members that no line speaks of; both are cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from curriculumnet.collection.pictures import NO_PICTURE, NOT_FETCHED, SUCCESS, Outcome, failed


class DamagedError(Exception):
    """What is read is not what was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that is finished.

    Attributes
    ----------
    row : int
        Its place in the list.
    outcome : Outcome
        What has become of it.
    size : int
        The bytes of its picture.
    end : int
        Where in the tar its members end.
    """

    row: int
    outcome: Outcome
    size: int
    end: int


class Journal:
    """The journal of one shard.

    Parameters
    ----------
    path : Path
        Where it is.
    start : float
        When the shard was begun.
    end : int
        Where the next line begins.
    """

    def __init__(self, path: Path, start: float, end: int) -> None:
        self.start = start
        self._path, self._end = path, end

    @classmethod
    def begin(cls, path: Path, start: float, entries: Sequence[Entry] = ()) -> Journal:
        """Write a journal in place of what is there, whole or not at all."""
        lines = b"".join([_line({"start": start}), *map(_line_of, entries)])
        whole = path.with_name(f"{path.name}.new")
        whole.write_bytes(lines)
        whole.replace(path)
        return cls(path, start, len(lines))

    @classmethod
    def read(cls, path: Path) -> tuple[Journal, list[Entry]]:
        """Read a journal, and what it holds, as far as the last whole line.

        Raises
        ------
        DamagedError
        """
        data = path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        try:
            head, *lines = [json.loads(line) for line in data.splitlines()]
            start = float(head["start"])
            entries = [_entry(line) for line in lines]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DamagedError from None
        return cls(path, start, len(data)), entries

    def add(self, entry: Entry) -> None:
        """Add a row."""
        self._end = append(self._path, self._end, [_line_of(entry)])


def append(path: Path, end: int, parts: Sequence[bytes]) -> int:
    """Write at a place in a file, of which what lay behind it is cut off, and return where it ends now.

    What an earlier attempt has left there, such as one that the full disk ended, is written over. The file is opened
    each time: with small shards hundreds are filled at once, and a process may not have many files open.
    """
    with path.open("r+b") as file:
        if file.seek(0, os.SEEK_END) != end:
            file.truncate(end)
            file.seek(end)
        file.writelines(parts)
        return file.tell()


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _line_of(entry: Entry) -> bytes:
    outcome = {field.name: getattr(entry.outcome, field.name) for field in fields(Outcome)}
    return _line({"row": entry.row, "outcome": outcome, "size": entry.size, "end": entry.end})


def _entry(line: dict[str, Any]) -> Entry:
    row, size, end, outcome = line["row"], line["size"], line["end"], Outcome(**line["outcome"])
    if not all(type(number) is int for number in (row, size, end)):
        raise DamagedError
    if outcome.status != SUCCESS:
        known = outcome.status in (NOT_FETCHED, NO_PICTURE) and isinstance(outcome.error_message, str)
        if not known or outcome != failed(outcome.status, outcome.error_message or ""):
            raise DamagedError
    return Entry(row, outcome, size, end)
