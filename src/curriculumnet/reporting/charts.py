"""The geometry of the page's charts, in units that stretch with the page.

A chart is drawn in a square of 1000 × 1000 units that the page stretches to the place it has, with lines of constant
width; its labels are text of the page, placed in percent. So it stays legible at any width, in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curriculumnet.reporting import wording
from curriculumnet.reporting.contents import Contents, Run

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SIDE = 1000
_POINTS = 120
"""Points of a curve; of a longer history each is a mean, which also calms the training loss of single batches."""

_POINT = 15
"""Half the size of a point, in units."""

_TEXT = 20
"""How much of a chart's width the name of a stage takes, in percent, where charts are narrow."""

_LABELS = 5
"""Labels of an axis, roughly."""

CURVES = (
    ("test_top1_error", "Top-1 error on test images", "%"),
    ("test_loss", "Test loss", "nats"),
    ("val_top1_error", "Top-1 error on validation images", "%"),
    ("val_loss", "Validation loss", "nats"),
    ("train_loss", "Training loss", "nats"),
    ("share_taking_part", "Training images that took part", "%"),
)
"""The metrics of `history.parquet` that are drawn, with a chart's title and unit."""

_TEACHER = "share_subset_"
"""How the metrics of a teacher begin that say which share of the places each subset gets."""

COLOURS = 8
"""Colours that runs are told apart by."""


@dataclass(frozen=True)
class Tick:
    """A label of an axis, and its place in percent of the axis' length."""

    at: float
    text: str


@dataclass(frozen=True)
class Span:
    """A stretch of numbers that is laid along an axis."""

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()

    def at(self, value: float) -> float:
        """Return where a value lies, in percent of the stretch."""
        return 100 * (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Line:
    """A curve: whose it is, the number of its colour, its path, its last value in words, whether it is one point."""

    name: str
    colour: int
    path: str
    last: str
    is_point: bool

    @property
    def spoken(self) -> str:
        """The curve in words, for who cannot see it."""
        return f"{self.name} ends at {self.last}"


@dataclass(frozen=True)
class Border:
    """Where a stage begins, in percent, and what is written behind it, or before it.

    The text is empty where another's stands.
    """

    at: float
    text: str
    colour: int
    is_before: bool


@dataclass(frozen=True)
class LineChart:
    """Curves of several runs over the steps of their training."""

    metric: str
    title: str
    unit: str
    x: Span
    y: Span
    lines: tuple[Line, ...]
    borders: tuple[Border, ...]

    @property
    def of_test(self) -> bool:
        """Whether test images were measured."""
        return self.metric.startswith("test_")


@dataclass(frozen=True)
class Dots:
    """The images of one subset: a path of dots."""

    subset: int
    path: str


@dataclass(frozen=True)
class DecisionGraph:
    """Density against distance to the nearest denser image, for one category.

    `centre` is the place of its centre in percent, or None; `shown` of `n` images are drawn.
    """

    category: str
    index: int
    n: int
    shown: int
    x: Span
    y: Span
    dots: tuple[Dots, ...]
    centre: tuple[float, float] | None

    @property
    def thinned(self) -> bool:
        """Whether there are more images than dots."""
        return self.shown < self.n


def span(values: Iterable[float], margin: float = 0.06, labels: int = _LABELS) -> Span:
    """Return the stretch that holds all values, with a margin at both ends that stays on their side of 0.

    It has about as many labels as asked.
    """
    found = list(values)
    return _with_ticks(*_ends(found, margin), labels)


def share_span(values: Iterable[float]) -> Span:
    """Return the stretch that holds all shares, its labels in hundredths."""
    return _in_hundredths(*_ends(list(values), 0.06))


def _ends(found: list[float], margin: float) -> tuple[float, float]:
    low, high = min(found), max(found)
    width = (high - low) or abs(high) or 1.0
    below = low - margin * width
    above = high + margin * width
    return max(0.0, below) if low >= 0 else below, min(0.0, above) if high <= 0 and low < 0 else above


def line_charts(contents: Contents) -> list[LineChart]:
    """Return the curves that the runs' histories hold: for each metric a chart of all runs."""
    import pyarrow.compute as pc

    last_steps = [pc.max(run.history["step"]).as_py() or 1 for run in contents.runs if run.history is not None]
    charts = []
    for metric, title, unit in CURVES:
        curves = [_Curve(run, number % COLOURS, *_measured(run, metric)) for number, run in enumerate(contents.runs)]
        drawn = [curve for curve in curves if len(curve.steps)]
        if drawn:
            charts.append(_line_chart(metric, title, unit, drawn, float(max(last_steps))))
    return charts


def teacher_charts(contents: Contents) -> list[LineChart]:
    """Return, for each run that had a teacher, how it shared out the places in batches among the subsets."""
    import pyarrow.compute as pc

    charts = []
    for run in contents.runs:
        if run.history is None:
            continue
        found = [name for name in pc.unique(run.history["metric"]).to_pylist() if name.startswith(_TEACHER)]
        if found:
            names = wording.subset_names(len(found))
            curves = [
                _Curve(replace(run, name=name, history=None), subset % COLOURS, *_measured(run, f"{_TEACHER}{subset}"))
                for subset, name in enumerate(names)
            ]
            title = f"Share of each subset in the batches of {run.name}, as its teacher chose it"
            drawn = [curve for curve in curves if len(curve.steps)]
            charts.append(_line_chart("share_subset", title, "%", drawn, float(pc.max(run.history["step"]).as_py())))
    return charts


def learning_charts(contents: Contents) -> list[LineChart]:
    """Return, for each run that saw all subsets alike, how often it found the labels of each subset's images.

    What is clean is learnt first; labels that are wrong are learnt late or never. Runs along a curriculum do not see
    all subsets from the beginning, so that theirs would say when, and not how well.
    """
    import numpy as np

    if contents.curriculum is None:
        return []
    table = contents.curriculum.images
    ids, subsets = table["image_id"].to_numpy(), table["subset"].to_numpy()
    names = wording.subset_names(contents.curriculum.n_subsets)
    charts = []
    for run in contents.runs:
        if run.dynamics is None or run.history is None or run.follows_curriculum:
            continue
        found = np.asarray(run.dynamics["agreements"].combine_chunks().flatten(), dtype=np.float64)
        found = found.reshape(run.dynamics.num_rows, -1)
        known = np.full(max(int(ids.max()), int(run.dynamics["image_id"].to_numpy().max())) + 1, -1)
        known[ids] = subsets
        of_image = known[run.dynamics["image_id"].to_numpy()]
        last_step = float(np.max(run.history["step"].to_numpy()))
        steps = (np.arange(found.shape[1]) + 0.5) / found.shape[1] * last_step
        curves = []
        for subset, name in enumerate(names):
            rows = found[of_image == subset]
            seen = np.isfinite(rows)
            if seen.any(axis=0).all():
                means = np.where(seen, rows, 0.0).sum(axis=0) / seen.sum(axis=0)
                curves.append(_Curve(replace(run, name=name, history=None), subset % COLOURS, steps, means))
        if curves:
            title = f"Labels that {run.name} found, of the training images of each subset"
            charts.append(_line_chart("agreement", title, "%", curves, last_step))
    return charts


def decision_graph(category: str, index: int, table: pa.Table, most: int, n_subsets: int) -> DecisionGraph | None:
    """Return a category's decision graph; None when its images have no density or no delta.

    Parameters
    ----------
    category : str
    index : int
        Its place in the order of the categories.
    table : pyarrow.Table
        Its rows of the curriculum.
    most : int
        Images drawn. Of more, those that stand out by δ are all kept and the others thinned evenly along ρ.
    n_subsets : int
        How many subsets the curriculum has.
    """
    import numpy as np

    density = table["density"].to_numpy().astype(np.float64)
    delta = table["delta"].to_numpy().astype(np.float64)
    finite = np.isfinite(density) & np.isfinite(delta)
    if not finite.any():
        return None
    subset = table["subset"].to_numpy()[finite]
    centre = table["is_centre"].to_numpy()[finite]
    density, delta = density[finite], delta[finite]
    kept = _thinned(density, delta, centre, most)
    x = span([0.0, float(density.max())], 0.03, 3)
    y = span([0.0, float(delta.max())], 0.05, 3)
    across, down = _units(density[kept], x), _SIDE - _units(delta[kept], y)
    dots = []
    for number in range(n_subsets):
        here = subset[kept] == number
        if here.any():
            path = "".join(f"M{a} {b}h.1" for a, b in zip(across[here], down[here], strict=True))
            dots.append(Dots(number, path))
    middle = (x.at(float(density[centre][0])), y.at(float(delta[centre][0]))) if centre.any() else None
    return DecisionGraph(category, index, len(density), len(kept), x, y, tuple(dots), middle)


def _thinned(density: np.ndarray, delta: np.ndarray, centre: np.ndarray, most: int) -> np.ndarray:
    import numpy as np

    if len(density) <= most:
        return np.arange(len(density))
    outstanding = np.argsort(-delta, kind="stable")[: most // 10]
    outstanding = np.union1d(outstanding, np.flatnonzero(centre))
    others = np.setdiff1d(np.argsort(density, kind="stable"), outstanding, assume_unique=True)
    even = np.linspace(0, len(others) - 1, max(0, most - len(outstanding))).astype(np.int64)
    return np.union1d(outstanding, others[even])


@dataclass(frozen=True)
class _Curve:
    """What was measured of a run: values at steps, float64."""

    run: Run
    colour: int
    steps: np.ndarray
    values: np.ndarray


def _measured(run: Run, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and finite values of one metric, thinned by taking means; empty when there are none."""
    import numpy as np
    import pyarrow.compute as pc

    if run.history is None:
        return np.zeros(0), np.zeros(0)
    rows = run.history.filter(pc.equal(run.history["metric"], metric)).sort_by("step")
    steps = rows["step"].to_numpy().astype(np.float64)
    values = rows["value"].to_numpy().astype(np.float64)
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(steps) <= _POINTS:
        return steps, values
    parts = np.linspace(0, len(steps), _POINTS + 1).astype(np.int64)
    lengths = np.diff(parts)
    return np.add.reduceat(steps, parts[:-1]) / lengths, np.add.reduceat(values, parts[:-1]) / lengths


def _line_chart(metric: str, title: str, unit: str, drawn: Sequence[_Curve], last_step: float) -> LineChart:
    import numpy as np

    values = np.concatenate([curve.values for curve in drawn])
    # A first value far above all others would flatten what matters; the curve then enters from above.
    top = min(float(values.max()), 3 * float(np.median(values)))
    x = _with_ticks(0.0, last_step)
    ends = [float(values.min()), max(top, float(values.min()))]
    percent = unit == "%"
    if metric.startswith("share_") or metric == "agreement":
        # Of several charts the shares are compared by eye.
        ends = [0.0, 1.0]
    y = share_span(ends) if percent else span(ends)
    lines = tuple(
        Line(
            curve.run.name,
            curve.colour,
            _path(*_places(curve, x, y)),
            wording.percent(float(curve.values[-1])) if percent else wording.number(float(curve.values[-1])),
            len(curve.steps) == 1,
        )
        for curve in drawn
    )
    return LineChart(metric, title, unit, x, y, lines, _borders(drawn, x))


def _places(curve: _Curve, x: Span, y: Span) -> tuple[np.ndarray, np.ndarray]:
    """Return where a curve's points lie; a single one away from the edges, which would cut it."""
    import numpy as np

    across, down = _units(curve.steps, x), _SIDE - _units(curve.values, y)
    if len(across) > 1:
        return across, down
    return np.clip(across, _POINT, _SIDE - _POINT), np.clip(down, _POINT, _SIDE - _POINT)


def _borders(drawn: Sequence[_Curve], x: Span) -> tuple[Border, ...]:
    """Return where stages begin, from left to right; of texts that would lie over each other the first is kept."""
    found = sorted((x.at(step), stage, curve.colour) for curve in drawn for stage, step in _stage_borders(curve.run))
    borders, free = [], 0.0
    for at, stage, colour in found:
        is_before = at > 100 - _TEXT
        fits = at - _TEXT * is_before >= free
        borders.append(Border(at, f"stage {stage}" if fits else "", colour, is_before))
        if fits:
            free = at + _TEXT
    return tuple(borders)


def _stage_borders(run: Run) -> list[tuple[int, float]]:
    """Return the stages after the first, each with the first step at which something was measured in it."""
    if run.history is None:
        return []
    rows = run.history.group_by("stage").aggregate([("step", "min")]).sort_by("stage").to_pylist()
    return [(row["stage"], row["step_min"]) for row in rows[1:]]


def _path(across: np.ndarray, down: np.ndarray) -> str:
    points = [f"{a} {b}" for a, b in zip(across, down, strict=True)]
    # One point is drawn as a line to itself: a path without a line shows nothing.
    return "M" + "L".join(points if len(points) > 1 else 2 * points)


def _units(values: np.ndarray, along: Span) -> np.ndarray:
    import numpy as np

    return np.rint(np.clip(_SIDE * (values - along.low) / (along.high - along.low), -_SIDE, 2 * _SIDE)).astype(np.int64)


def _with_ticks(low: float, high: float, labels: int = _LABELS) -> Span:
    """Return a stretch with labels at round numbers."""
    rough = (high - low) / labels
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= 0.8 * rough)
    bare = Span(low, high)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return Span(low, high, tuple(Tick(bare.at(number * step), wording.number(number * step)) for number in numbers))


def _in_hundredths(low: float, high: float) -> Span:
    return Span(low, high, _with_ticks(100 * low, 100 * high).ticks)
