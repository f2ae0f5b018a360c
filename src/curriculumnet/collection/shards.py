"""Shards: tars of pictures with a table of all URLs beside each, in img2dataset's layout.

A shard is written under temporary names, and takes its own when it is whole; its ``_stats.json`` comes last and says
so. Until then its journal says what of it is there, so that who starts again goes on from that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from curriculumnet.collection.earlier import outcomes_of, pictures_of
from curriculumnet.collection.journal import DamagedError, Entry, Journal, append
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

_STATS, _JOURNAL = "_stats.json", ".jsonl"
_ENDINGS = (_STATS, ".tar", ".parquet")
_OURS = re.compile(r"(\d{5,})(_stats\.json|\.tar|\.parquet)")
_BEGUN = re.compile(r"\.part-(\d{5,})(_stats\.json|\.tar|\.parquet|\.jsonl)")


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

    Attributes
    ----------
    kept_rows, again_rows : int
        Rows that had an outcome before, and keep it; that had failed, and are asked for again.
    fetched_rows, fetched_bytes : int
        What has been added since.
    """

    def __init__(self, folder: Path, listed: Listed, size: int) -> None:
        self._folder, self._listed, self._size = folder, listed, size
        self._key_digits = _DIGITS + (len(str(size - 1)) if size > 1 else 0)
        self._resumed: dict[int, Shard] = {}
        self._again: set[int] = set()
        self._sound: set[int] = set()
        self.kept_rows = self.again_rows = self.fetched_rows = self.fetched_bytes = 0

    def __len__(self) -> int:
        """Return how many there are when all are finished."""
        return -(-len(self._listed) // self._size)

    def rows(self, number: int) -> range:
        """Return the rows of a shard."""
        return range(number * self._size, min(len(self._listed), (number + 1) * self._size))

    def finished(self) -> set[int]:
        """Return the shards that are whole."""
        return {
            number
            for number in range(len(self))
            if all(self.path(number, end).is_file() for end in _ENDINGS) and self._is_sound(number)
        }

    def _is_sound(self, number: int) -> bool:
        """Say whether the account of a shard can be read, and its tar is as long as that says; looked at once."""
        if number in self._sound:
            return True
        try:
            told = json.loads(self.path(number, _STATS).read_text(encoding="utf-8"))
            size = told.get("tar_bytes")
        except (ValueError, AttributeError):
            return False
        if size is not None and size != self.path(number, ".tar").stat().st_size:
            return False
        self._sound.add(number)
        return True

    def untouched(self) -> set[int]:
        """Return the shards that are whole, and of which nothing is asked for again."""
        return self.finished() - self._again - self._resumed.keys()

    def is_again(self, number: int) -> bool:
        """Say whether a shard is whole, and has rows that are asked for again, so that the others are copied."""
        return number in self._again

    def path(self, number: int, ending: str) -> Path:
        """Return a file of a whole shard."""
        return self._folder / f"{number:0{_DIGITS}d}{ending}"

    def part(self, number: int, ending: str) -> Path:
        """Return a file of a shard that is begun."""
        return self._folder / f"{PART}{number:0{_DIGITS}d}{ending}"

    def stats(self) -> Iterator[dict[str, Any]]:
        """Give the account of each whole shard."""
        for number in sorted(self.finished()):
            yield json.loads(self.path(number, _STATS).read_text(encoding="utf-8"))

    def recover(self, *, retry_failed: bool) -> None:
        """Take up what an earlier call has begun, and remove what belongs neither to that nor to a whole shard.

        Parameters
        ----------
        retry_failed : bool
            Forget what failed, of whole shards as well, so that it is asked for again.
        """
        for number in self._begun(_STATS):
            self.name(number)
        for number in self._begun(_JOURNAL):
            self._take_up(number, retry_failed)
        self._clear()
        for number in [number for number, shard in self._resumed.items() if shard.full]:
            self._resumed.pop(number).finish()
        self.kept_rows = sum(shard.count for shard in self._resumed.values())
        for number in sorted(self.untouched()):
            rows = len(self.rows(number))
            again = self._count_failed(number) if retry_failed else 0
            if again:
                self._again.add(number)
            self.again_rows += again
            self.kept_rows += rows - again

    def begin(self, number: int) -> Shard:
        """Begin a shard: where it was left off, with what had not failed before, or anew."""
        if number in self._resumed:
            return self._resumed.pop(number)
        if number in self._again:
            try:
                return self._begin_again(number)
            except DamagedError:
                pass
        self.part(number, ".tar").write_bytes(b"")
        return Shard(self, number, Journal.begin(self.part(number, _JOURNAL), time.time()))

    def name(self, number: int) -> None:
        """Give the files of a shard that is written their names, in place of those of an earlier one.

        The stats that are written say that the others are; with those of the earlier one gone first, there are never
        any beside files that they do not speak of. Killed in between, this is done again at the next start.
        """
        self._sound.discard(number)
        self.path(number, _STATS).unlink(missing_ok=True)
        for ending in (".tar", ".parquet", _STATS):
            part = self.part(number, ending)
            if part.exists():
                part.replace(self.path(number, ending))
        self.part(number, _JOURNAL).unlink(missing_ok=True)

    def _begun(self, ending: str) -> list[int]:
        """Return the shards of which there is such a file under a temporary name."""
        names = [_BEGUN.fullmatch(path.name) for path in self._folder.iterdir()]
        found = sorted(int(name[1]) for name in names if name and name[2] == ending)
        return [number for number in found if number < len(self)]

    def _clear(self) -> None:
        done = self.finished()
        kept = {self.part(number, ending).name for number in self._resumed for ending in (".tar", _JOURNAL)}
        for path in list(self._folder.iterdir()):
            known = _OURS.fullmatch(path.name)
            begun = path.name.startswith(PART) and path.name not in kept
            if begun or (known and int(known[1]) not in done):
                path.unlink(missing_ok=True)

    def _take_up(self, number: int, retry_failed: bool) -> None:
        """Go on with a shard, unless what there is of it is damaged."""
        path = self.part(number, _JOURNAL)
        try:
            journal, entries = Journal.read(path)
            self._check(number, entries)
        except (DamagedError, FileNotFoundError):
            return
        kept = [entry for entry in entries if not (retry_failed and self._may_be_asked_again(entry))]
        if len(kept) < len(entries):
            journal = Journal.begin(path, journal.start, kept)
        self._resumed[number] = Shard(self, number, journal, kept)
        self.again_rows += len(entries) - len(kept)

    def _check(self, number: int, entries: Sequence[Entry]) -> None:
        """Compare the tar of a shard that is begun with its journal, to the byte.

        Raises
        ------
        DamagedError
        """
        seen, end = set[int](), 0
        with self.part(number, ".tar").open("rb") as file:
            for entry in entries:
                if entry.row in seen or entry.row not in self.rows(number) or entry.end < end:
                    raise DamagedError
                found = file.read(entry.end - end)
                data = found[_BLOCK : _BLOCK + entry.size]
                row = self.described(entry.row, entry.outcome)
                if len(data) != entry.size or found != b"".join(_members(row, entry.outcome, data)):
                    raise DamagedError
                if entry.outcome.status == SUCCESS and hashlib.sha256(data).hexdigest() != entry.outcome.sha256:
                    raise DamagedError
                seen.add(entry.row)
                end = entry.end

    def _may_be_asked_again(self, entry: Entry) -> bool:
        listed = self._listed
        known = listed.urls[entry.row] is not None and listed.labels[entry.row] is not None
        return known and entry.outcome.status != SUCCESS

    def _entries(self, number: int) -> list[Entry]:
        """Return the rows of a whole shard; where their members end is not known.

        Raises
        ------
        DamagedError
        """
        rows = self.rows(number)
        found = outcomes_of(self.path(number, ".parquet"), [self._key(row) for row in rows])
        return [Entry(row, outcome, 0, 0) for row, outcome in zip(rows, found, strict=True)]

    def _count_failed(self, number: int) -> int:
        try:
            return sum(self._may_be_asked_again(entry) for entry in self._entries(number))
        except DamagedError:
            return len(self.rows(number))

    def _begin_again(self, number: int) -> Shard:
        """Begin a shard with what had not failed in the whole one, which stays until this one is whole as well.

        Raises
        ------
        DamagedError
            The whole one is.
        """
        before = {self._key(entry.row): entry for entry in self._entries(number) if not self._may_be_asked_again(entry)}
        digests = {key: entry.outcome.sha256 or "" for key, entry in before.items() if entry.outcome.status == SUCCESS}
        kept = [entry for key, entry in before.items() if key not in digests]
        tar, end = self.part(number, ".tar"), 0
        tar.write_bytes(b"")
        for key, ending, data in pictures_of(self.path(number, ".tar"), digests):
            row, outcome = before[key].row, replace(before[key].outcome, ending=ending)
            end = append(tar, end, _members(self.described(row, outcome), outcome, data))
            kept.append(Entry(row, outcome, len(data), end))
        return Shard(self, number, Journal.begin(self.part(number, _JOURNAL), time.time(), kept), kept)

    def described(self, row: int, outcome: Outcome) -> dict[str, Any]:
        """Return a row as the shard's table, and the picture's ``.json``, have it."""
        listed = self._listed
        further = {title: values[row].as_py() for title, values in listed.further.items()}
        return {
            **further,
            "label": listed.labels[row],
            "caption": listed.captions[row],
            "url": listed.urls[row],
            "key": self._key(row),
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

    def _key(self, row: int) -> str:
        number, place = divmod(row, self._size)
        return f"{number * 10 ** (self._key_digits - _DIGITS) + place:0{self._key_digits}d}"


class Shard:
    """A shard that is being filled; of its pictures only the bytes on the disk are kept."""

    def __init__(self, shards: Shards, number: int, journal: Journal, entries: Iterable[Entry] = ()) -> None:
        self._shards, self._number, self._journal = shards, number, journal
        self._tar = shards.part(number, ".tar")
        self._rows: dict[int, dict[str, Any]] = {}
        self._reasons: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._bytes = self._end = 0
        for entry in entries:
            self._note(entry, shards.described(entry.row, entry.outcome))

    @property
    def full(self) -> bool:
        """Whether each of its rows has an outcome."""
        return self.count == len(self._shards.rows(self._number))

    @property
    def count(self) -> int:
        """How many of its rows have an outcome."""
        return len(self._rows)

    def missing(self) -> list[int]:
        """Return the rows without an outcome."""
        return [row for row in self._shards.rows(self._number) if row not in self._rows]

    def add(self, row: int, outcome: Outcome, data: bytes) -> None:
        """Add a row, and its picture if there is one."""
        found, size, end = self._shards.described(row, outcome), 0, self._end
        if members := _members(found, outcome, data):
            size, end = len(data), append(self._tar, end, members)
        entry = Entry(row, outcome, size, end)
        self._journal.add(entry)
        self._note(entry, found)
        self._shards.fetched_rows += 1
        self._shards.fetched_bytes += size

    def finish(self) -> None:
        """Write the table, say last that the shard is whole, and give all files their names."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        shards, number = self._shards, self._number
        end = self._end + 2 * _BLOCK
        append(self._tar, self._end, [bytes(2 * _BLOCK), bytes(-end % _RECORD)])
        with self._tar.open("r+b") as file:
            _settle(file)
        rows = [self._rows[row] for row in shards.rows(number)]
        with shards.part(number, ".parquet").open("wb") as file:
            pq.write_table(pa.Table.from_pylist(rows, shards.schema()), file, compression="zstd")
            _settle(file)
        stats = shards.part(number, f"{_STATS}.new")
        with stats.open("wb") as file:
            told = self._stats() | {"tar_bytes": end + -end % _RECORD}
            file.write((json.dumps(told, indent=4, ensure_ascii=False) + "\n").encode())
            _settle(file)
        stats.replace(shards.part(number, _STATS))
        shards.name(number)

    def _note(self, entry: Entry, found: dict[str, Any]) -> None:
        self._rows[entry.row] = found
        self._reasons[entry.outcome.reason] += 1
        self._statuses[entry.outcome.status] += 1
        self._bytes += entry.size
        self._end = entry.end

    def _stats(self) -> dict[str, Any]:
        end = time.time()
        return {
            "count": len(self._rows),
            "successes": self._statuses[SUCCESS],
            "failed_to_download": self._statuses[NOT_FETCHED],
            "failed_to_resize": self._statuses[NO_PICTURE],
            "duration": end - self._journal.start,
            "start_time": self._journal.start,
            "end_time": end,
            "status_dict": dict(self._reasons.most_common()),
            "bytes": self._bytes,
        }


def _members(found: dict[str, Any], outcome: Outcome, data: bytes) -> list[bytes]:
    """Return what stands in the tar for a row, given as the table has it: nothing where there is no picture."""
    if outcome.status != SUCCESS:
        return []
    members = {
        outcome.ending: data,
        "json": json.dumps(found, default=str).encode(),
        "txt": (found["caption"] or "").encode(),
    }
    return [part for ending, content in members.items() for part in _member(found["key"], ending, content)]


def _member(key: str, ending: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a member of a tar: its header, its bytes, and what fills its last block."""
    member = tarfile.TarInfo(f"{key}.{ending}")
    member.size = len(data)
    return member.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % _BLOCK)


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
