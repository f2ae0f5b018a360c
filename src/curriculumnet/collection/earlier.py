"""A whole shard, read again so that only what failed in it is asked for."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from curriculumnet.collection.journal import DamagedError
from curriculumnet.collection.pictures import SUCCESS, Outcome, failed

_BESIDE = ("json", "txt")


def outcomes_of(table: Path, keys: Sequence[str]) -> list[Outcome]:
    """Return what has become of the rows with these keys, by a shard's table; no ending is known of the pictures.

    Raises
    ------
    DamagedError
        The table cannot be read, or has other rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["key", "status", "error_message", "width", "height", "exif", "sha256"]
    try:
        rows = pq.read_table(table, columns=columns).to_pylist()
    except (pa.ArrowException, ValueError, OSError):
        raise DamagedError from None
    if [row.get("key") for row in rows] != list(keys):
        raise DamagedError
    return [
        Outcome(SUCCESS, None, SUCCESS, "", row["width"], row["height"], row["exif"], row["sha256"])
        if row["status"] == SUCCESS
        else failed(row["status"], row["error_message"] or "")
        for row in rows
    ]


def pictures_of(tar: Path, digests: dict[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """Give key, ending and bytes of the pictures in a shard's tar, given their digests by their keys.

    Raises
    ------
    DamagedError
        One is missing or is not what it was.
    """
    missing = dict(digests)
    try:
        with tarfile.open(tar, "r:") as file:
            for member in file:
                key, _, ending = member.name.partition(".")
                if ending in _BESIDE:
                    continue
                found = file.extractfile(member)
                data = found.read() if found is not None else b""
                if missing.pop(key, None) != hashlib.sha256(data).hexdigest():
                    raise DamagedError
                yield key, ending, data
    except (tarfile.TarError, OSError):
        raise DamagedError from None
    if missing:
        raise DamagedError
