"""The step `collect`: from a list of URLs to shards of pictures."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet import console
from curriculumnet.errors import SourceError, UsageError
from curriculumnet.version import __version__
from curriculumnet.work.folder import Stopwatch, WorkFolder, file_digest, make_folder, writing

if TYPE_CHECKING:
    from curriculumnet.collection.fetching import Bounds
    from curriculumnet.collection.listing import Listed
    from curriculumnet.collection.shards import Shards

_RECORD = "collect.json"
"""What a folder of shards was made of."""

_REASONS = 10
"""Reasons that a terminal shows."""

_NAMED = 5
"""Rows that are named where the list has nothing to fetch."""

_LEFT_BY_OTHERS = (".lock", "lock.json", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Collected:
    """What `collect` has fetched, in this and in earlier calls.

    Attributes
    ----------
    shards : Path
        The folder of the shards; a source for `ingest`.
    rows : int
        Rows of the list.
    statuses : dict of str to int
        How many of them are `success`, `failed_to_download` and `failed_to_resize` (came, but is no picture).
    reasons : dict of str to int
        Why there is no picture, the most frequent reason first.
    without_url, without_category : tuple of int
        Rows of the list that could not be asked for; the first row after the header is 1.
    whole_shards, earlier_shards : int
        How many shards there are, and how many of them had been there before and are as they were.
    bytes : int
        Bytes of all pictures.
    fetched_rows, fetched_bytes : int
        What this call has done.
    seconds : float
        How long this call took.
    """

    shards: Path
    rows: int
    statuses: dict[str, int]
    reasons: dict[str, int]
    without_url: tuple[int, ...]
    without_category: tuple[int, ...]
    whole_shards: int
    earlier_shards: int
    bytes: int
    fetched_rows: int
    fetched_bytes: int
    seconds: float

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        pictures, failed = self.statuses["success"], self.rows - self.statuses["success"]
        shown: list[str | console.Grid] = [
            f"{self.shards}: {_many(pictures, 'picture')} of {_many(self.rows, 'URL')} in "
            f"{_many(self.whole_shards, 'shard')}, {console.storage(self.bytes)}."
        ]
        if self.fetched_rows:
            seconds = max(1e-9, self.seconds)
            shown.append(
                f"{_many(self.fetched_rows, 'URL')} asked for in {console.duration(self.seconds)}: "
                f"{self.fetched_rows / seconds:,.3g} a second, "
                f"{console.storage(round(self.fetched_bytes / seconds))} a second."
            )
        else:
            shown.append("All shards had been finished before: nothing was asked for.")
        if failed:
            shown.append(console.Grid("", ("status", "URLs"), _counted(self.statuses)))
            shown.append(console.Grid("", ("why there is no picture", "URLs"), _counted(self.reasons, _REASONS)))
        for rows, what in ((self.without_url, "URL"), (self.without_category, "category")):
            if rows:
                shown.append(f"Without {what}: {_rows(rows)} of the list.")
        return [*shown, *self._advice(), f"Next: curriculumnet ingest {self.shards}"]

    def _advice(self) -> list[str]:
        """Return what to do about what failed."""
        from curriculumnet.collection.pictures import NO_CATEGORY, NO_URL, REFUSED

        failed = sum(count for reason, count in self.reasons.items() if reason not in (NO_URL, NO_CATEGORY))
        shown = [f"{_many(failed, 'URL')} failed: --retry-failed asks for them again."] if failed else []
        if refused := self.reasons.get(REFUSED):
            shown.append(f"The address of {_many(refused, 'URL')} is not public: --allow-private allows it.")
        return shown


def collect(
    list_: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    url_column: str = "url",
    category_column: str = "category",
    query_column: str = "query",
    shard_size: int = 10_000,
    concurrency: int = 64,
    per_host: int = 8,
    host_rate: float | None = None,
    timeout: float = 30.0,
    max_bytes: int = 20_000_000,
    max_redirects: int = 5,
    retries: int = 2,
    max_wait: float = 60.0,
    retry_failed: bool = False,
    opt_outs: bool = True,
    allow_private: bool = False,
    user_agent: str | None = None,
    quiet: bool = False,
) -> Collected:
    """Fetch the pictures of a list of URLs.

    They are written as they come, in shards with img2dataset's names and columns; what has come is not fetched
    again. Only http and https are spoken, to public addresses, and to no proxy.

    Parameters
    ----------
    list_ : path-like
        A CSV, TSV, JSONL or Parquet table with a URL in each row.
    output : path-like, optional
        The folder of the shards; ./<name of the list>-shards unless given.
    url_column : str
        The column of URLs.
    category_column : str
        The column of categories, which becomes the column label.
    query_column : str
        The column of what was searched for, which becomes the caption.
        Where it is absent or empty the caption is the category.
    shard_size : int
        Rows of the list in a shard.
    concurrency : int
        Requests at a time.
        Times --max-bytes it is the most memory that bodies take.
    per_host : int
        Requests to one host at a time.
    host_rate : float, optional
        Requests to one host a second; as many as come unless given.
    timeout : float
        Seconds for one try at a file, from the connection to the last byte.
    max_bytes : int
        The largest file, in bytes.
    max_redirects : int
        Redirects that are followed.
    retries : int
        Further tries after what may pass: timeouts, 429, 5xx.
        Errors of the connection may pass as well; 404 and the like may not. The first wait is half a second, each
        further one twice as long.
    max_wait : float
        The longest that a host's Retry-After is waited for, in seconds.
        Nothing is asked of a host while it is to be left alone; where that is longer, its files fail.
    retry_failed : bool
        Ask again for what failed before.
        A shard with such rows is written anew: its pictures are copied, and it stays until the new one is whole.
    opt_outs : bool
        Leave out what X-Robots-Tag forbids.
        That is noai, noimageai, noindex and noimageindex, for all or for the name that the user agent begins with.
    allow_private : bool
        Connect to private, local and reserved addresses as well.
    user_agent : str, optional
        What to call oneself; curriculumnet and its version unless given.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Collected

    Raises
    ------
    UsageError
        A number makes no sense, or the folder holds other files, or the shards of another list.
    SourceError
        The list is missing, empty or damaged, or not one picture came of it.
    WorkFolderBusyError
        Another process fetches into the same folder.

    Examples
    --------
    curriculumnet collect urls.csv -o shards
    """
    from curriculumnet.collection.fetching import Bounds

    bounds = Bounds(
        concurrency=concurrency,
        per_host=per_host,
        host_rate=host_rate,
        timeout=timeout,
        max_bytes=max_bytes,
        max_redirects=max_redirects,
        retries=retries,
        max_wait=max_wait,
        opt_outs=opt_outs,
        allow_private=allow_private,
        user_agent=user_agent or f"curriculumnet/{__version__}",
    )
    _check(bounds, shard_size)
    path = Path(list_)
    folder = Path(output) if output is not None else Path(f"{path.stem}-shards")

    from curriculumnet.collection.listing import read_listed
    from curriculumnet.collection.shards import Shards

    listed = read_listed(path, url_column=url_column, category_column=category_column, query_column=query_column)
    made_of = {
        "digest": file_digest(path),
        "rows": len(listed),
        "columns": {"url": url_column, "category": category_column, "query": query_column},
        "shard_size": shard_size,
    }
    shards = Shards(folder, listed, shard_size)
    with _taken(folder, path, made_of, quiet):
        found = _collect(shards, folder, listed, bounds, retry_failed, quiet)
    if not found.statuses["success"]:
        raise _no_picture(found)
    return found


def _no_picture(found: Collected) -> SourceError:
    """Return what to say where all URLs failed."""
    from curriculumnet.collection.pictures import NO_CATEGORY, NO_URL, REFUSED

    reason, count = next(iter(found.reasons.items()))
    mend = "--retry-failed asks for all of them again."
    if reason in (NO_URL, NO_CATEGORY):
        mend = "Mend the list, and fetch into another folder with -o."
    elif reason == REFUSED:
        mend = "--retry-failed --allow-private asks for them again, and allows their addresses."
    return SourceError(
        f"Not one picture came of {_many(found.rows, 'URL')}; the tables in {found.shards} say why, most often "
        f"({count:,}): {reason}. {mend}"
    )


def _check(bounds: Bounds, shard_size: int) -> None:
    """Refuse numbers that make no sense."""
    least = {"concurrency": 1, "per_host": 1, "max_bytes": 1, "max_redirects": 0, "retries": 0, "max_wait": 0}
    for name, low in least.items():
        _at_least(name, getattr(bounds, name), low)
    _at_least("shard_size", shard_size, 1)
    for name, value in (("timeout", bounds.timeout), ("host_rate", bounds.host_rate)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} is {value}: it must be above 0.")
    if not bounds.user_agent.isprintable() or not bounds.user_agent.strip():
        raise UsageError("--user-agent is no line of text: give a name such as mycrawler/1.0.")


def _at_least(name: str, value: float, low: int) -> None:
    if not value >= low:
        raise UsageError(f"--{name.replace('_', '-')} is {value}: it must be at least {low}.")


@contextmanager
def _taken(folder: Path, path: Path, made_of: dict[str, Any], quiet: bool) -> Iterator[None]:
    """Be the only one who fetches into a folder that is empty, or holds shards of the same list.

    Raises
    ------
    UsageError
    """
    # Of a name that is too long, Path.exists would raise.
    if os.path.exists(folder) and not folder.is_dir():  # noqa: PTH110
        raise UsageError(f"{folder} is a file: give the name of a folder with -o.")
    _refuse_strangers(folder)
    _refuse_another(folder, path, made_of)
    make_folder(folder)
    with writing(folder), WorkFolder(folder).lock(lambda message: console.say(message, quiet=quiet)):
        _refuse_another(folder, path, made_of)
        WorkFolder(folder).write_json(_RECORD, {"curriculumnet": __version__, "list": path.name, **made_of})
        yield


def _refuse_strangers(folder: Path) -> None:
    from curriculumnet.collection.shards import is_ours

    names = sorted(each.name for each in folder.iterdir()) if os.path.isdir(folder) else []  # noqa: PTH112
    recorded = _RECORD in names
    for name in names:
        if name in (_RECORD, *_LEFT_BY_OTHERS) or name.startswith(".writing-") or (recorded and is_ours(name)):
            continue
        raise UsageError(f"{folder} holds {name!r}, which is not of `collect`: give a folder of its own with -o.")


def _refuse_another(folder: Path, path: Path, made_of: dict[str, Any]) -> None:
    """Refuse a folder with shards of another list, or of the same one cut otherwise."""
    record = folder / _RECORD
    if not os.path.exists(record):  # noqa: PTH110
        return
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        changed = [name for name, value in made_of.items() if known[name] != value]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{record} is damaged: fetch into another folder with -o, or remove this one.") from None
    if {"digest", "rows"} & set(changed):
        raise UsageError(
            f"{folder} holds shards of another list, or {path} has changed since: fetch into another folder with -o."
        )
    if changed:
        flags = ", ".join({"columns": "--…-column", "shard_size": "--shard-size"}[name] for name in changed)
        raise UsageError(f"{folder} was begun with another {flags}: give what it was, or another folder with -o.")


def _collect(
    shards: Shards, folder: Path, listed: Listed, bounds: Bounds, retry_failed: bool, quiet: bool
) -> Collected:
    from curriculumnet.collection.flow import fill, run

    shards.recover(retry_failed=retry_failed)
    earlier = len(shards.untouched())
    clock = Stopwatch()
    if earlier < len(shards):
        if before := _before(shards):
            console.say(before, quiet=quiet)
        with console.Progress("fetching", len(listed), "URLs", done=shards.kept_rows, quiet=quiet) as progress:
            run(fill(shards, listed, bounds, progress.advance))
    return _found(shards, folder, listed, earlier, clock.seconds)


def _before(shards: Shards) -> str:
    """Return what to say of earlier calls, where there were any."""
    before, again = shards.kept_rows + shards.again_rows, shards.again_rows
    if not before:
        return ""
    failed = f"; {again:,} of them failed and {'is' if again == 1 else 'are'} asked for again" if again else ""
    return f"{_many(before, 'URL')} had been asked for before{failed}."


def _found(shards: Shards, folder: Path, listed: Listed, earlier: int, seconds: float) -> Collected:
    counts = _counts(shards)
    reasons: Counter[str] = Counter()
    for stats in shards.stats():
        reasons.update(stats["status_dict"])
    del reasons["success"]
    return Collected(
        shards=folder,
        rows=len(listed),
        statuses={
            "success": counts["successes"],
            "failed_to_download": counts["failed_to_download"],
            "failed_to_resize": counts["failed_to_resize"],
        },
        reasons=dict(reasons.most_common()),
        without_url=tuple(row for row, url in enumerate(listed.urls, 1) if url is None),
        without_category=tuple(row for row, label in enumerate(listed.labels, 1) if label is None),
        whole_shards=len(shards),
        earlier_shards=earlier,
        bytes=counts["bytes"],
        fetched_rows=shards.fetched_rows,
        fetched_bytes=shards.fetched_bytes,
        seconds=seconds,
    )


def _counts(shards: Shards) -> Counter[str]:
    """Return the figures of all whole shards together."""
    names = ("count", "successes", "failed_to_download", "failed_to_resize", "bytes")
    counts: Counter[str] = Counter()
    for stats in shards.stats():
        counts.update({name: stats[name] for name in names})
    return counts


def _counted(counts: dict[str, int], most: int | None = None) -> tuple[tuple[str, str], ...]:
    shown = [(name, f"{count:,}") for name, count in list(counts.items())[:most]]
    others = sum(list(counts.values())[most:]) if most else 0
    return tuple([*shown, ("others", f"{others:,}")] if others else shown)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _rows(rows: tuple[int, ...]) -> str:
    named = ", ".join(f"{row:,}" for row in rows[:_NAMED])
    if len(rows) == 1:
        return f"row {named}"
    return f"rows {named}" if len(rows) <= _NAMED else f"{len(rows):,} rows, {named}, …,"
