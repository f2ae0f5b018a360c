"""Shards: tars of pictures with a table of all URLs beside each, in img2dataset's layout.

A shard is written under temporary names, and takes its own when it is whole; its ``_stats.json`` comes last and says
so.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from curriculumnet.collection.listing import Listed
from curriculumnet.collection.pictures import NO_PICTURE, NOT_FETCHED, SUCCESS, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

PART = ".part-"
"""What the temporary names begin with."""

_BLOCK = 512
_RECORD = 20 * _BLOCK
"""Bytes of which a tar is a multiple."""

_DIGITS = 5
"""Digits of a shard's number."""

_STATS = "_stats.json"
_ENDINGS = (_STATS, ".tar", ".parquet")
_OURS = re.compile(r"(\d{5,})(_stats\.json|\.tar|\.parquet)")


def is_ours(name: str) -> bool:
    """Say whether a file's name is one of a shard's, whole or begun."""
    return name.startswith(PART) or _OURS.fullmatch(name) is not None


class Shards:
    """The shards of a list in their folder.

    Parameters
    ----------
    folder : Path
        Where they lie.
    listed : Listed
        The list.
    size : int
        Rows of the list in a shard.
    """

    def __init__(self, folder: Path, listed: Listed, size: int) -> None:
        self._folder, self._listed, self._size = folder, listed, size
        self._key_digits = _DIGITS + (len(str(size - 1)) if size > 1 else 0)

    def __len__(self) -> int:
        """Return how many there are when all are finished."""
        return -(-len(self._listed) // self._size)

    def of(self, row: int) -> int:
        """Return the shard of a row."""
        return row // self._size

    def rows(self, number: int) -> range:
        """Return the rows of a shard."""
        return range(number * self._size, min(len(self._listed), (number + 1) * self._size))

    def finished(self) -> set[int]:
        """Return the shards that are whole."""
        return {number for number in range(len(self)) if all(self.path(number, end).is_file() for end in _ENDINGS)}

    def unfinished_rows(self) -> Iterator[int]:
        """Give the rows of all shards that are not whole, in order."""
        done = self.finished()
        for number in range(len(self)):
            if number not in done:
                yield from self.rows(number)

    def path(self, number: int, ending: str) -> Path:
        """Return a file of a shard."""
        return self._folder / f"{number:0{_DIGITS}d}{ending}"

    def clear(self) -> None:
        """Remove what belongs to no whole shard."""
        done = self.finished()
        for path in list(self._folder.iterdir()):
            known = _OURS.fullmatch(path.name)
            if path.name.startswith(PART) or (known and int(known[1]) not in done):
                path.unlink(missing_ok=True)

    def stats(self) -> Iterator[dict[str, Any]]:
        """Give the account of each whole shard."""
        for number in sorted(self.finished()):
            yield json.loads(self.path(number, _STATS).read_text(encoding="utf-8"))

    def begin(self, number: int) -> Shard:
        """Begin a shard anew."""
        return Shard(self, number, self._folder / f"{PART}{number:0{_DIGITS}d}")

    def described(self, row: int, outcome: Outcome) -> dict[str, Any]:
        """Return a row as the shard's table, and the picture's ``.json``, have it."""
        listed = self._listed
        further = {title: values[row].as_py() for title, values in listed.further.items()}
        return {
            **further,
            "label": listed.labels[row],
            "caption": listed.captions[row],
            "url": listed.urls[row],
            "key": f"{self._key(row):0{self._key_digits}d}",
            "status": outcome.status,
            "error_message": outcome.error_message,
            "width": outcome.width,
            "height": outcome.height,
            "original_width": outcome.width,
            "original_height": outcome.height,
            "exif": outcome.exif,
            "sha256": outcome.sha256,
        }

    def schema(self) -> pa.Schema:
        """Return the columns of a shard's table."""
        import pyarrow as pa

        further = [(title, values.type) for title, values in self._listed.further.items()]
        texts = [(title, pa.string()) for title in ("label", "caption", "url", "key", "status", "error_message")]
        sides = [(title, pa.int32()) for title in ("width", "height", "original_width", "original_height")]
        return pa.schema([*further, *texts, *sides, ("exif", pa.string()), ("sha256", pa.string())])

    def _key(self, row: int) -> int:
        number = self.of(row)
        return number * 10 ** (self._key_digits - _DIGITS) + row - number * self._size


class Shard:
    """A shard that is being filled; of its pictures only the bytes on the disk are kept."""

    def __init__(self, shards: Shards, number: int, part: Path) -> None:
        self._shards, self._number, self._part = shards, number, part
        self._rows: dict[int, dict[str, Any]] = {}
        self._reasons: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._bytes = 0
        self._start = time.time()
        self._tar.write_bytes(b"")

    @property
    def _tar(self) -> Path:
        return self._part.with_name(f"{self._part.name}.tar")

    @property
    def full(self) -> bool:
        """Whether each of its rows has an outcome."""
        return len(self._rows) == len(self._shards.rows(self._number))

    def add(self, row: int, outcome: Outcome, data: bytes) -> None:
        """Add a row, and its picture if there is one."""
        found = self._shards.described(row, outcome)
        self._rows[row] = found
        self._reasons[outcome.reason] += 1
        self._statuses[outcome.status] += 1
        if outcome.status != SUCCESS:
            return
        self._bytes += len(data)
        members = {
            outcome.ending: data,
            "json": json.dumps(found, default=str).encode(),
            "txt": (found["caption"] or "").encode(),
        }
        # Opened each time: with small shards hundreds are filled at once, and a process may not have many files open.
        with self._tar.open("ab") as file:
            file.writelines(
                part for ending, content in members.items() for part in _member(found["key"], ending, content)
            )

    def finish(self) -> None:
        """Write the table, give both files their names, and say last that the shard is whole."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._tar.open("ab") as file:
            file.write(bytes(2 * _BLOCK))
            file.write(bytes(-file.tell() % _RECORD))
            _settle(file)
        rows = [self._rows[row] for row in self._shards.rows(self._number)]
        table = self._part.with_name(f"{self._part.name}.parquet")
        with table.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(rows, self._shards.schema()), file, compression="zstd")
            _settle(file)
        stats = self._part.with_name(f"{self._part.name}{_STATS}")
        with stats.open("wb") as file:
            file.write((json.dumps(self._stats(), indent=4, ensure_ascii=False) + "\n").encode())
            _settle(file)
        for path, ending in ((self._tar, ".tar"), (table, ".parquet"), (stats, _STATS)):
            path.replace(self._shards.path(self._number, ending))

    def _stats(self) -> dict[str, Any]:
        end = time.time()
        return {
            "count": len(self._rows),
            "successes": self._statuses[SUCCESS],
            "failed_to_download": self._statuses[NOT_FETCHED],
            "failed_to_resize": self._statuses[NO_PICTURE],
            "duration": end - self._start,
            "start_time": self._start,
            "end_time": end,
            "status_dict": dict(self._reasons.most_common()),
            "bytes": self._bytes,
        }


def _member(key: str, ending: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a member of a tar: its header, its bytes, and what fills its last block."""
    member = tarfile.TarInfo(f"{key}.{ending}")
    member.size = len(data)
    return member.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % _BLOCK)


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
