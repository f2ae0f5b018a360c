"""What img2dataset, or `collect`, has downloaded: shards of files or tars, each with a table of all its URLs.

Of a shard `00000` that is finished there are `00000_stats.json` and the table `00000.parquet`, with a `status` for each
URL; its pictures lie in a folder `00000` or in `00000.tar`. Shards that hold them in the table are unpacked first.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable

from curriculumnet.errors import SourceError
from curriculumnet.sources.layout import Columns, Place
from curriculumnet.sources.listing import Listing
from curriculumnet.sources.tables import cells_of, listing_of, not_downloaded, stacked

_STATS = re.compile(r"(\d+)_stats\.json")
_TABLE = re.compile(r"(\d+)\.parquet")
_RECORD = "collect.json"
"""What `collect` writes down before it begins."""

_STOPPED = "`curriculumnet collect` was stopped there, and goes on when it is started again."

_SIDECARS = (".json", ".txt")


def recognise(place: Place, columns: Columns) -> bool:
    """Take a folder with the tables of shards, and what says that they are finished; or what `collect` has begun."""
    del columns
    return not place.name and bool(shards(place)[0] or _to_come(place))


def read(place: Place, columns: Columns) -> Listing:
    """List all URLs, of which those that were not downloaded are missing.

    Raises
    ------
    SourceError
        As of `sources.tables`; or `collect` was stopped before it had finished a shard.
    """
    finished, unfinished = shards(place)
    left = _to_come(place) - len(finished)
    if not finished:
        raise SourceError(
            f"{place.given} holds no shard that is whole: `curriculumnet collect` was stopped there; start it again."
        )
    top = set(place.files.top())
    loose = _loose(place) if any(f"{shard}.tar" not in top for shard in finished) else {}
    parts, names = [], []
    for shard in finished:
        part = cells_of(place.files, f"{shard}.parquet", place.called(f"{shard}.parquet"))
        keys = [str(key) for key in part.get("key", [])]
        if f"{shard}.tar" in top:
            names += _found(keys, f"{shard}.tar#", place.files.tar(f"{shard}.tar").in_order())
        else:
            names += _found(keys, f"{shard}/", loose.get(shard, []))
        parts.append(part)
    cells = stacked(parts)
    return listing_of(
        cells | {columns.file: names},
        columns,
        root=place.files.root,
        given=place.given,
        set_aside=not_downloaded(cells),
        notes=(
            *(f"The shard {shard} of {place.given} was not finished, and is left out." for shard in unfinished),
            *([f"{place.given} lacks {left:,} of {left + len(finished):,} shards: {_STOPPED}"] if left > 0 else []),
        ),
    )


def _to_come(place: Place) -> int:
    """Return how many shards `collect` was to make; 0 where it has made none of these."""
    if not place.has(_RECORD):
        return 0
    try:
        made = json.loads(place.files.read(_RECORD))
        return -(-int(made["rows"]) // int(made["shard_size"]))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
        return 0


def shards(place: Place) -> tuple[list[str], list[str]]:
    """Return the shards that are finished, and those that are not."""
    top = place.files.top()
    done = {found[1] for name in top if (found := _STATS.fullmatch(name))}
    told = {found[1] for name in top if (found := _TABLE.fullmatch(name))}
    return sorted(told & done), sorted(told ^ done)


def _loose(place: Place) -> dict[str, list[str]]:
    """Return the names of the files in each folder at the top."""
    found: dict[str, list[str]] = {}
    for folder, _, name in (each.partition("/") for each in place.files.names()):
        found.setdefault(folder, []).append(name)
    return found


def _found(keys: Iterable[str], before: str, there: Iterable[str]) -> list[str]:
    """Return the file of each key among those that are there; the key itself where there is none."""
    known = {posixpath.splitext(name)[0]: name for name in there if not name.endswith(_SIDECARS)}
    return [before + known.get(key, key) for key in keys]
