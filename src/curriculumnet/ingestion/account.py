"""The account of every file: how many were seen, what became of them, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curriculumnet.images.decode import kind_of_reason
from curriculumnet.work.tables import QUALITY

_EXAMPLES = 50
"""How many files that cannot be used are named."""


class Kind(NamedTuple):
    """By what files are counted: columns of the table of images."""

    source: str
    label: str
    split: str
    state: str
    reason: str
    format: str | None


COLUMNS = (*Kind._fields, "file_name", "label_conflict", "near_group", *QUALITY)
"""What `account` reads of the table of images."""


def account(parts: Iterable[pa.Table], not_images: Mapping[str, int]) -> dict[str, Any]:
    """Count what became of the files.

    Parameters
    ----------
    parts : iterable of pyarrow.Table
        `COLUMNS` of the table of images, some rows at a time.
    not_images : mapping of str to int
        Per source, the files that were passed over because of their names.

    Returns
    -------
    dict
        `seen`, `not_images`, `states`, `reasons` (numbers in a reason are left out, so that like ones are one),
        `formats`; among used images `label_conflicts`, `near_copies` (those that have some), `near_groups` of these,
        `near_given` (training images in a group with a validation or test image), how many are low in each score in
        `quality`, and `used` per split; `categories` with their training images, `excluded_categories`, the counts of
        each source in `sources`, and up to 50 `examples` of files that are missing, broken or refused. The counts of
        `states` add up to `seen`.
    """
    kinds: Counter[Kind] = Counter()
    low = dict.fromkeys(QUALITY, 0)
    conflicts = 0
    grouped: dict[str, Counter[int]] = {}
    examples: list[dict[str, Any]] = []
    for part in parts:
        counted = part.group_by(list(Kind._fields), use_threads=False).aggregate([([], "count_all")])
        for *kind, n in zip(*(column.to_pylist() for column in counted.itercolumns()), strict=True):
            kinds[Kind(*kind)] += n
        used = part.filter(pc.equal(part["state"], "used"))
        conflicts += _number(used["label_conflict"])
        for name, (least, _) in QUALITY.items():
            low[name] += _number(pc.less(used[name], least))
        near = used.filter(pc.is_valid(used["near_group"]))
        for split, group in zip(near["split"].to_pylist(), near["near_group"].to_pylist(), strict=True):
            grouped.setdefault(split, Counter())[group] += 1
        unused = part.filter(pc.is_in(part["state"], pa.array(["missing", "broken", "refused"])))
        named = unused.select(["source", "file_name", "state", "reason"])
        examples += named.slice(0, _EXAMPLES - len(examples)).to_pylist()
    given = {group for split, groups in grouped.items() if split != "train" for group in groups}
    training = _by(kinds, "label", lambda kind: kind.state == "used" and kind.split == "train")
    kept = sorted(_by(kinds, "label", lambda kind: kind.state == "used" and kind.source == "crawl"))
    crawled = _by(kinds, "label", lambda kind: kind.source == "crawl" and kind.label != "")
    splits = _by(kinds, "split", lambda kind: kind.state == "used")
    return {
        **_count(kinds),
        "not_images": sum(not_images.values()),
        "label_conflicts": conflicts,
        "near_copies": sum(groups.total() for groups in grouped.values()),
        "near_groups": len({group for groups in grouped.values() for group in groups}),
        "near_given": sum(n for group, n in grouped.get("train", Counter()).items() if group in given),
        "quality": low,
        "used": {split: splits[split] for split in ("train", "val", "test")},
        "categories": {label: training[label] for label in kept},
        "excluded_categories": sorted(crawled.keys() - set(kept)),
        "sources": {
            key: _count(Counter({kind: n for kind, n in kinds.items() if kind.source == key}))
            | {"not_images": not_images.get(key, 0)}
            for key in dict.fromkeys([*not_images, *_by(kinds, "source")])
        },
        "examples": examples,
    }


CHANGED = ("source", "file_name", "label", "digest")
"""What `changes` reads of the table of images."""


def changes(before: pa.Table, now: pa.Table) -> list[str]:
    """Say what has changed between two readings of the sources, a sentence per source.

    Parameters
    ----------
    before, now : pyarrow.Table
        `CHANGED` of the table of images.
    """
    lines = []
    for key in pc.unique(pa.chunked_array([*now["source"].chunks, *before["source"].chunks])).to_pylist():
        old, new = (table.filter(pc.equal(table["source"], key)) for table in (before, now))
        old_names, new_names = (_named(table) for table in (old, new))
        place = pc.index_in(new_names, value_set=old_names)
        there = new.filter(pc.is_valid(place))
        digests = (there["digest"], old["digest"].take(place.drop_null()))
        same = _number(pc.equal(*(digest.fill_null("") for digest in digests)))
        counts = {
            "added": new.num_rows - there.num_rows,
            "removed": _number(pc.invert(pc.is_in(old_names, value_set=new_names))),
            "changed": there.num_rows - same,
        }
        if not old.num_rows:
            lines.append(f"The source {key!r} is new: {new.num_rows:,} files.")
        elif any(counts.values()):
            what = ", ".join(f"{n:,} {verb}" for verb, n in counts.items() if n)
            lines.append(f"The files of the source {key!r} have changed since they were ingested: {what}.")
    return lines


def _named(images: pa.Table) -> pa.Array:
    """Return each file's name and label as one text."""
    return pc.binary_join_element_wise(images["file_name"], images["label"], "\0").combine_chunks()


def _count(kinds: Counter[Kind]) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    for kind, n in kinds.items():
        if kind.reason:
            reasons[kind_of_reason(kind.reason)] += n
    return {
        "seen": kinds.total(),
        "states": dict(_by(kinds, "state").most_common()),
        "reasons": dict(reasons.most_common()),
        "formats": dict(_by(kinds, "format", lambda kind: kind.format is not None).most_common()),
    }


def _by(kinds: Counter[Kind], name: str, which: Callable[[Kind], bool] | None = None) -> Counter[str]:
    """Return how many files there are of each value of a column, among some kinds or all."""
    counts: Counter[str] = Counter()
    for kind, n in kinds.items():
        if which is None or which(kind):
            counts[getattr(kind, name)] += n
    return counts


def _number(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)
