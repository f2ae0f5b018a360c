"""Figures and differences as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curriculumnet.console import Grid
from curriculumnet.work.tables import LABEL_NAMES, SPLIT_NAMES

_WHOSE = {
    "clean": "their labels are clean.",
    "crawl": "their labels are the crawl's own, so a network is also blamed where the label is wrong.",
}


def whose_labels(figures: Sequence[dict[str, Any]]) -> list[str]:
    """Say of the images of each split whose labels they have.

    Parameters
    ----------
    figures : sequence of dict
        Rows of `work.tables.METRICS` over all categories.
    """
    about = dict.fromkeys((row["split"], row["n"], row["labels"]) for row in figures)
    return [f"{n:,} {SPLIT_NAMES[split]} images: {_WHOSE[labels]}" for split, n, labels in about]


def error_grids(figures: Sequence[dict[str, Any]]) -> list[Grid]:
    """Return a table of the runs' errors for each split and number of crops.

    Parameters
    ----------
    figures : sequence of dict
        Rows of `work.tables.METRICS` over all categories, with the key `run`.
    """
    grids = []
    for kind in dict.fromkeys(_kind(row) for row in figures):
        these = [row for row in figures if _kind(row) == kind]
        metrics = list(dict.fromkeys(row["metric"] for row in these))
        cells = {(row["run"], row["metric"]): _interval(row) for row in these}
        split, labels, crops = kind
        grids.append(
            Grid(
                f"Error in % on {SPLIT_NAMES[split]} images, {LABEL_NAMES[labels]}, {_crops(crops)}; 95 % intervals",
                ("run", *map(_title, metrics)),
                tuple(
                    (run, *(cells.get((run, metric), "") for metric in metrics))
                    for run in dict.fromkeys(row["run"] for row in these)
                ),
            )
        )
    return grids


def difference_grids(comparisons: Sequence[dict[str, Any]]) -> list[Grid]:
    """Return a table of paired differences for each baseline, split and number of crops.

    Parameters
    ----------
    comparisons : sequence of dict
        Rows of `work.tables.COMPARISONS`.
    """
    grids = []
    for baseline, kind in dict.fromkeys((row["baseline"], _kind(row)) for row in comparisons):
        these = [row for row in comparisons if (row["baseline"], _kind(row)) == (baseline, kind)]
        metrics = list(dict.fromkeys(row["metric"] for row in these))
        cells = {(row["run"], row["metric"]): _interval(row, "+.1f") for row in these}
        split, _, crops = kind
        grids.append(
            Grid(
                f"Points of error less than {baseline} (+ is better): {SPLIT_NAMES[split]} images, {_crops(crops)}; "
                "95 % paired intervals",
                ("run", *map(_title, metrics), "categories"),
                tuple(
                    (
                        row["run"],
                        *(cells.get((row["run"], metric), "") for metric in metrics),
                        f"+{row['improved']:,} -{row['fell']:,} ={row['unchanged']:,}",
                    )
                    for row in these
                    if row["metric"] == "top1_error"
                ),
            )
        )
    return grids


def _kind(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["split"], row["labels"], row["crops"]


def _interval(row: dict[str, Any], form: str = ".1f") -> str:
    value, low, high = (format(100 * row[key], form) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _title(metric: str) -> str:
    """Return a metric as a column is titled: ``top-1``."""
    return metric.removesuffix("_error").replace("top", "top-")


def _crops(crops: int) -> str:
    return "1 crop" if crops == 1 else f"{crops} crops"
