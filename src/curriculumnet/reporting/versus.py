"""Any two runs against each other, category by category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curriculumnet.reporting.categories import Category, category_errors
from curriculumnet.reporting.contents import Contents, Row
from curriculumnet.reporting.verdict import importance
from curriculumnet.work.tables import LABEL_NAMES, SPLIT_NAMES


@dataclass(frozen=True)
class Against:
    """One category under two runs: both errors and the difference; None where unknown.

    `place` is where `Versus.data` holds the category; `width` the size of the difference in percent of the largest.
    """

    place: int
    category: Category
    n: int | None
    baseline_error: float | None
    error: float | None
    difference: float | None
    width: float


@dataclass(frozen=True)
class Versus:
    """Two runs against each other.

    Attributes
    ----------
    run, baseline : str
        The pair that the page shows first.
    measured_on : str
        The images and labels it shows first.
    rows : tuple of Against
        The categories, the most improved first.
    improved, fell, unchanged : int
    data : dict
        What the page's script switches between: the runs, and per set of images and labels every run's errors.
    """

    run: str
    baseline: str
    measured_on: str
    rows: tuple[Against, ...]
    improved: int
    fell: int
    unchanged: int
    data: dict[str, Any]


def versus(contents: Contents, pair: tuple[str, str] | None, shown: Sequence[Category]) -> Versus | None:
    """Set two runs against each other, with the figures of all other pairs beside them.

    Parameters
    ----------
    contents : Contents
    pair : tuple of str or None
        Run and baseline that come first; the last two runs unless given.
    shown : sequence of Category

    Returns
    -------
    Versus or None
        None when there are no two runs with figures per category on the same images.
    """
    sets = _sets(contents)
    for key, like in sets.items():
        measured = [run for run in contents.runs if category_errors(run.metrics, like)]
        names = [run.name for run in measured]
        run, baseline = (
            pair if pair and set(pair) <= set(names) else (names[-1], names[0]) if len(names) > 1 else ("", "")
        )
        if not run:
            continue
        own = category_errors(contents.run(run).metrics, like)
        other = category_errors(contents.run(baseline).metrics, like)
        rows = _rows(shown, own, other)
        data = {
            "runs": [
                found.name for found in contents.runs if any(category_errors(found.metrics, s) for s in sets.values())
            ],
            "sets": [_figures(contents, name, like, shown) for name, like in sets.items()],
        }
        signs = [0 if row.difference is None else (row.difference > 0) - (row.difference < 0) for row in rows]
        known = [sign for sign, row in zip(signs, rows, strict=True) if row.difference is not None]
        return Versus(run, baseline, key, tuple(rows), known.count(1), known.count(-1), known.count(0), data)
    return None


def _sets(contents: Contents) -> dict[str, Row]:
    """Return the sets of images and labels with figures per category, the most telling first, by their names."""
    rows = [row for run in contents.runs for row in run.metrics if row["category"] is not None]
    found: dict[str, Row] = {}
    for row in sorted(rows, key=importance):
        found.setdefault(f"{SPLIT_NAMES[row['split']]} images, {LABEL_NAMES[row['labels']]}", row)
    return found


def _rows(
    shown: Sequence[Category], own: dict[str, tuple[float, int]], other: dict[str, tuple[float, int]]
) -> list[Against]:
    both = {
        category.name: (own[category.name], other[category.name])
        for category in shown
        if category.name in own and category.name in other
    }
    longest = max((abs(b[0] - a[0]) for a, b in both.values()), default=0.0) or 1.0
    rows = []
    for place, category in enumerate(shown):
        if category.name in both:
            (error, n), (baseline_error, _) = both[category.name]
            difference = baseline_error - error
            rows.append(Against(place, category, n, baseline_error, error, difference, 100 * abs(difference) / longest))
        else:
            rows.append(Against(place, category, None, None, None, None, 0.0))
    return sorted(rows, key=lambda row: (row.difference is None, -(row.difference or 0.0), row.category.index))


def _figures(contents: Contents, name: str, like: Row, shown: Sequence[Category]) -> dict[str, Any]:
    sizes: dict[str, int] = {}
    errors = {}
    for run in contents.runs:
        found = category_errors(run.metrics, like)
        if found:
            errors[run.name] = [
                round(found[category.name][0], 5) if category.name in found else None for category in shown
            ]
            sizes = {category: n for category, (_, n) in found.items()} | sizes
    return {"name": name, "n": [sizes.get(category.name) for category in shown], "errors": errors}
