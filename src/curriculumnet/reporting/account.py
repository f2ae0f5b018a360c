"""The account of all files: which state each is in and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curriculumnet.images.decode import kind_of_reason
from curriculumnet.reporting import wording
from curriculumnet.reporting.contents import Contents
from curriculumnet.work import tables

if TYPE_CHECKING:
    import pyarrow as pa

_REASONS = 6
"""Reasons named per state; the rest are one number."""

_EXAMPLES = 5
"""Files named per state in which a file could not be used."""

_FORMATS = 12

_NAMED = ("missing", "broken", "refused")
"""States whose files are named: those whose fault is in the file."""


@dataclass(frozen=True)
class Part:
    """A share of a whole: its name, its number, its share in percent, and what it means."""

    name: str
    n: int
    percent: float
    meaning: str = ""


@dataclass(frozen=True)
class Example:
    """A file that could not be used, and why."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class State:
    """The files of one state: numbers per source, the most frequent reasons, a few names."""

    part: Part
    by_source: tuple[int, ...]
    reasons: tuple[Part, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Account:
    """The account of all files.

    Attributes
    ----------
    files : int
        Rows of the table of images.
    not_images : int
        Names that are no images, which have no row.
    sources : tuple of str
        The sources in which files were seen.
    states : tuple of State
        The states that occur, `used` first.
    splits : tuple of Part
        Used images per split.
    formats : tuple of Part
        All images per format, as found in the bytes.
    conflicts : int
        Used images that were also found under another category.
    near_copies, near_groups, near_given : int
        Used images that have near copies, the groups that they form, and how many of them are for training beside one
        to measure on.
    quality : tuple of Part
        Used images that are low in a score of picture quality, the most frequent kind first.
    """

    files: int
    not_images: int
    sources: tuple[str, ...]
    states: tuple[State, ...]
    splits: tuple[Part, ...]
    formats: tuple[Part, ...]
    conflicts: int
    near_copies: int
    near_groups: int
    near_given: int
    quality: tuple[Part, ...]

    @property
    def used(self) -> int:
        """Images that take part."""
        return sum(part.n for part in self.splits)


def account(contents: Contents) -> Account:
    """Count all files by state, source, reason, split and format."""
    import pyarrow.compute as pc

    images = contents.images
    used = images.filter(pc.equal(images["state"], "used"))
    near = used["near_group"]
    states = _counts(images, "state")
    seen = _counts(images, "source")
    sources = tuple(source for source in ("crawl", "val", "test") if source in seen)
    order = ("used", *(state for state in tables.STATES if state != "used"))
    formats = Counter({name or "unknown": n for name, n in _counts(images, "format").items()})
    rest = sum(formats.values()) - sum(n for _, n in formats.most_common(_FORMATS))
    named = [*formats.most_common(_FORMATS), *([("others", rest)] if rest else [])]
    splits = _counts(used, "split")
    return Account(
        files=images.num_rows,
        not_images=int(contents.project["account"].get("not_images", 0)),
        sources=sources,
        states=tuple(_state(contents, state, sources) for state in order if state in states),
        splits=tuple(_part(split, splits[split], used.num_rows) for split in tables.SPLITS if split in splits),
        formats=tuple(_part(name, n, images.num_rows) for name, n in named),
        conflicts=int(pc.sum(used["label_conflict"]).as_py() or 0),
        near_copies=used.num_rows - near.null_count,
        near_groups=len(near.unique().drop_null()),
        near_given=int(contents.project["account"].get("near_given", 0)),
        quality=tuple(sorted(_quality(used), key=lambda part: -part.n)),
    )


def _quality(used: pa.Table) -> list[Part]:
    import pyarrow.compute as pc

    found = [
        (name, int(pc.sum(pc.less(used[score], least)).as_py() or 0))
        for score, (least, name) in tables.QUALITY.items()
        if score in used.column_names
    ]
    return [_part(name, n, used.num_rows) for name, n in found if n]


def _state(contents: Contents, state: str, sources: tuple[str, ...]) -> State:
    import pyarrow.compute as pc

    images = contents.images
    rows = images.filter(pc.equal(images["state"], state))
    by_source = _counts(rows, "source")
    reasons: Counter[str] = Counter()
    for reason, n in _counts(rows, "reason").items():
        if reason:
            reasons[kind_of_reason(reason)] += n
    parts = [_part(reason, n, rows.num_rows) for reason, n in reasons.most_common(_REASONS)]
    rest = sum(reasons.values()) - sum(part.n for part in parts)
    if rest:
        others = wording.plural(len(reasons) - len(parts), "other reason", "other reasons")
        parts.append(_part(others, rest, rows.num_rows))
    few = rows.slice(0, _EXAMPLES if state in _NAMED else 0)
    names = zip(few["file_name"].to_pylist(), few["reason"].to_pylist(), strict=True)
    return State(
        _part(state, rows.num_rows, images.num_rows, tables.STATES[state]),
        tuple(by_source.get(source, 0) for source in sources),
        tuple(parts),
        tuple(Example(file_name, reason) for file_name, reason in names),
    )


def _part(name: str, n: int, whole: int, meaning: str = "") -> Part:
    return Part(name, n, 100 * n / max(1, whole), meaning)


def _counts(table: object, column: str) -> dict[str, int]:
    """Return how often each value of a column occurs."""
    import pyarrow.compute as pc

    counts = pc.value_counts(table[column])  # type: ignore[index]
    return {pair["values"]: pair["counts"] for pair in counts.to_pylist()}
