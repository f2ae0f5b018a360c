"""The account of every file: how many were seen, what became of them, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from curriculumnet.images.decode import kind_of_reason
from curriculumnet.work.tables import QUALITY

_EXAMPLES = 50
"""How many files that cannot be used are named."""


def account(images: Mapping[str, Sequence[Any]], not_images: Mapping[str, int]) -> dict[str, Any]:
    """Count what became of the files.

    Parameters
    ----------
    images : mapping of str to sequence
        Columns of the table of images: `source`, `file_name`, `label`, `split`, `state`, `reason`, `format`,
        `label_conflict`, `near_group`, and the scores of `work.tables.QUALITY`.
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
    sources, states, labels = images["source"], images["state"], images["label"]
    used = [row for row, state in enumerate(states) if state == "used"]
    crawled = {label for source, label in zip(sources, labels, strict=True) if source == "crawl" and label}
    kept = sorted({labels[row] for row in used if sources[row] == "crawl"})
    training = Counter(labels[row] for row in used if images["split"][row] == "train")
    splits = Counter(images["split"][row] for row in used)
    given = {images["near_group"][row] for row in used if images["split"][row] != "train"} - {None}
    unused = [row for row, state in enumerate(states) if state in ("missing", "broken", "refused")]
    named = ("source", "file_name", "state", "reason")
    return {
        **_count(images, range(len(states))),
        "not_images": sum(not_images.values()),
        "label_conflicts": sum(bool(images["label_conflict"][row]) for row in used),
        "near_copies": sum(images["near_group"][row] is not None for row in used),
        "near_groups": len({images["near_group"][row] for row in used} - {None}),
        "near_given": sum(images["near_group"][row] in given for row in used if images["split"][row] == "train"),
        "quality": {
            name: sum(images[name][row] is not None and images[name][row] < least for row in used)
            for name, (least, _) in QUALITY.items()
        },
        "used": {split: splits.get(split, 0) for split in ("train", "val", "test")},
        "categories": {label: training[label] for label in kept},
        "excluded_categories": sorted(crawled - set(kept)),
        "sources": {
            key: _count(images, [row for row, source in enumerate(sources) if source == key])
            | {"not_images": not_images.get(key, 0)}
            for key in dict.fromkeys([*not_images, *sources])
        },
        "examples": [{name: images[name][row] for name in named} for row in unused[:_EXAMPLES]],
    }


def changes(before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> list[str]:
    """Say what has changed between two readings of the sources, a sentence per source.

    Parameters
    ----------
    before, now : sequence of mapping
        The rows of the table of images: `source`, `file_name`, `label`, `digest`.
    """
    lines = []
    for key in dict.fromkeys(row["source"] for row in (*now, *before)):
        old, new = (
            {(row["file_name"], row["label"]): row["digest"] for row in rows if row["source"] == key}
            for rows in (before, now)
        )
        counts = {
            "added": len(new.keys() - old.keys()),
            "removed": len(old.keys() - new.keys()),
            "changed": sum(old[name] != new[name] for name in old.keys() & new.keys()),
        }
        if not old:
            lines.append(f"The source {key!r} is new: {len(new):,} files.")
        elif any(counts.values()):
            what = ", ".join(f"{n:,} {verb}" for verb, n in counts.items() if n)
            lines.append(f"The files of the source {key!r} have changed since they were ingested: {what}.")
    return lines


def _count(images: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> dict[str, Any]:
    states = Counter(images["state"][row] for row in rows)
    reasons = Counter(kind_of_reason(images["reason"][row]) for row in rows if images["reason"][row])
    formats = Counter(images["format"][row] for row in rows if images["format"][row])
    return {
        "seen": len(rows),
        "states": dict(states.most_common()),
        "reasons": dict(reasons.most_common()),
        "formats": dict(formats.most_common()),
    }
