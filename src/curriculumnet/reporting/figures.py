"""The runs' figures with their intervals, and the paired differences, as rows of the page's tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from curriculumnet.reporting import wording
from curriculumnet.reporting.charts import Span, share_span
from curriculumnet.reporting.contents import Contents, Row, Run
from curriculumnet.reporting.verdict import between, importance
from curriculumnet.work.tables import LABEL_NAMES, SPLIT_NAMES


@dataclass(frozen=True)
class Cell:
    """A share and its interval, in words, and where they lie on the table's scale, in percent of its width."""

    share: float
    text: str
    interval: str
    low: float
    value: float
    high: float


@dataclass(frozen=True)
class RunRow:
    """A run's figures; `role` is ``run`` or ``baseline`` for the two that the page compares."""

    name: str
    recipe: str
    model: str
    role: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class RunTable:
    """All runs on the same images: what they are, the columns, the rows, and the scale of the first column."""

    title: str
    clean: bool
    columns: tuple[str, ...]
    rows: tuple[RunRow, ...]
    scale: Span

    @property
    def with_top5(self) -> bool:
        """Whether there are top-5 errors, which need more than five categories."""
        return any(column.startswith(wording.METRICS["top5_error"]) for column in self.columns)


@dataclass(frozen=True)
class DifferenceRow:
    """The paired difference of two runs in one figure."""

    run: str
    baseline: str
    measured_on: str
    metric: str
    finding: str
    cell: Cell
    improved: int
    fell: int
    unchanged: int


@dataclass(frozen=True)
class Differences:
    """Paired differences on one scale: those of the compared pair, and those of all others."""

    chosen: tuple[DifferenceRow, ...]
    others: tuple[DifferenceRow, ...]
    scale: Span


def run_tables(contents: Contents, pair: tuple[str, str] | None) -> list[RunTable]:
    """Return a table for each set of images and labels that runs were measured on, the most telling first."""
    figures = {run.name: {_key(row): row for row in run.metrics if row["category"] is None} for run in contents.runs}
    keys = sorted({key for rows in figures.values() for key in rows}, key=_rank)
    tables = []
    for split, labels in dict.fromkeys((key[0], key[1]) for key in keys):
        columns = [key for key in keys if key[:2] == (split, labels)]
        rows = [rows[column] for rows in figures.values() for column in columns if column in rows]
        first = [row for row in rows if _key(row) == columns[0]]
        scale = share_span([row[end] for row in first for end in ("low", "high")])
        n = max(row["n"] for row in rows)
        images = wording.plural(n, "image", "images")
        tables.append(
            RunTable(
                f"{SPLIT_NAMES[split].capitalize()} images with {LABEL_NAMES[labels]} ({images})",
                labels == "clean",
                tuple(
                    f"{wording.METRICS.get(metric, metric)}, {wording.crops(crops)}" for _, _, crops, metric in columns
                ),
                tuple(
                    _run_row(run, [figures[run.name].get(column) for column in columns], scale, pair)
                    for run in contents.runs
                    if any(column in figures[run.name] for column in columns)
                ),
                scale,
            )
        )
    return tables


def mirrored_unawares(contents: Contents) -> tuple[str, ...]:
    """Return the runs of which ten crops were evaluated, half of them mirrored, and which were trained without."""
    return tuple(
        run.name
        for run in contents.runs
        if not run.settings.get("mirror", True) and any(row["crops"] > 1 for row in run.metrics)
    )


def differences(contents: Contents, pair: tuple[str, str] | None) -> Differences | None:
    """Return the paired differences; None when no two runs were compared.

    All figures of the compared pair are shown; of each other pair, the most telling one of the later run.
    """
    chosen = between(contents.comparisons, *pair) if pair else []
    pairs = itertools.combinations([run.name for run in contents.runs], 2)
    found = (
        between(contents.comparisons, later, earlier) for earlier, later in pairs if {earlier, later} != {*(pair or ())}
    )
    others = [rows[0] for rows in found if rows]
    rows = [*chosen, *others]
    if not rows:
        return None
    scale = share_span([0.0, *(row[end] for row in rows for end in ("low", "high"))])
    return Differences(
        tuple(_difference_row(row, scale) for row in chosen),
        tuple(_difference_row(row, scale) for row in others),
        scale,
    )


def _key(row: Row) -> tuple[str, str, int, str]:
    return row["split"], row["labels"], row["crops"], row["metric"]


def _rank(key: tuple[str, str, int, str]) -> tuple[bool, bool, int, str]:
    return importance(dict(zip(("split", "labels", "crops", "metric"), key, strict=True)))


def _run_row(run: Run, rows: Sequence[Row | None], scale: Span, pair: tuple[str, str] | None) -> RunRow:
    role = dict(zip(pair or (), ("run", "baseline"), strict=False)).get(run.name, "")
    cells = tuple(
        None
        if row is None
        else Cell(
            row["value"],
            wording.percent(row["value"]),
            wording.percent_interval(row["low"], row["high"]),
            *(scale.at(row[end]) for end in ("low", "value", "high")),
        )
        for row in rows
    )
    return RunRow(run.name, run.recipe, run.model, role, cells)


def _difference_row(row: Row, scale: Span) -> DifferenceRow:
    return DifferenceRow(
        row["run"],
        row["baseline"],
        f"{SPLIT_NAMES[row['split']]}, {LABEL_NAMES[row['labels']]}",
        f"{wording.METRICS.get(row['metric'], row['metric'])}, {wording.crops(row['crops'])}",
        "gain" if row["low"] > 0 else "harm" if row["high"] < 0 else "none",
        Cell(
            row["value"],
            wording.signed(row["value"]),
            wording.signed_interval(row["low"], row["high"]),
            *(scale.at(row[end]) for end in ("low", "value", "high")),
        ),
        row["improved"],
        row["fell"],
        row["unchanged"],
    )
