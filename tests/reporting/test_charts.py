"""The geometry of charts: everything within its frame, round labels, thinning that keeps what matters."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.reporting.charts import (
    decision_graph,
    learning_charts,
    line_charts,
    share_span,
    span,
    teacher_charts,
)
from curriculumnet.reporting.contents import Contents, Curriculum, Run
from curriculumnet.work import tables

numbers = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_span_holds_all_values_and_labels_are_few_and_inside(values: list[float]) -> None:
    found = span(values)
    assert all(-1e-6 <= found.at(value) <= 100 + 1e-6 for value in values)
    assert 1 <= len(found.ticks) <= 8
    assert all(-1e-6 <= tick.at <= 100 + 1e-6 for tick in found.ticks)
    if min(values) >= 0:
        assert found.low >= 0


def test_shares_are_labelled_in_hundredths() -> None:
    found = share_span([0.62, 0.7])
    assert {tick.text for tick in found.ticks} >= {"62", "64", "70"}
    assert abs(found.at(0.64) - next(tick.at for tick in found.ticks if tick.text == "64")) < 1e-9


def rows(n: int, rng: np.random.Generator) -> pa.Table:
    columns: dict[str, Any] = {
        "image_id": np.arange(n),
        "subset": rng.integers(0, 3, n).astype(np.int8),
        "cleanliness": rng.random(n).astype(np.float32),
        "is_centre": np.arange(n) == n // 2,
        "density": rng.integers(0, 500, n).astype(np.float32),
        "delta": rng.random(n).astype(np.float32),
    }
    return tables.build(tables.CURRICULUM, columns)


@given(st.integers(1, 900), st.integers(0, 99))
def test_decision_graph_draws_every_image_or_as_many_as_asked(n: int, seed: int) -> None:
    graph = decision_graph("cat", 0, rows(n, np.random.default_rng(seed)), 300, 3)
    assert graph is not None
    places = [tuple(map(int, at)) for dots in graph.dots for at in re.findall(r"M(-?\d+) (-?\d+)h", dots.path)]
    assert len(places) == graph.shown
    assert graph.shown == n if n <= 300 else 200 <= graph.shown <= 300
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in places)
    assert graph.centre is not None


def test_thinning_keeps_the_images_that_stand_out() -> None:
    table = rows(5000, np.random.default_rng(0))
    delta = table["delta"].to_numpy().copy()
    delta[[17, 4711]] = 9.0
    graph = decision_graph(
        "cat", 0, table.set_column(table.column_names.index("delta"), "delta", pa.array(delta)), 300, 3
    )
    assert graph is not None
    heights = [int(at) for dots in graph.dots for at in re.findall(r" (-?\d+)h", dots.path)]
    assert sum(height < 100 for height in heights) == 2


def test_no_graph_without_a_finite_density() -> None:
    table = rows(5, np.random.default_rng(0))
    for column in ("density", "delta"):
        place = table.schema.get_field_index(column)
        assert decision_graph("cat", 0, table.set_column(place, column, pa.nulls(5, pa.float32())), 300, 3) is None


def history(**metrics: list[tuple[int, int, float]]) -> pa.Table:
    found = [(step, stage, name, value) for name, rows in metrics.items() for step, stage, value in rows]
    step, stage, metric, value = zip(*found, strict=True)
    return tables.build(tables.HISTORY, {"step": step, "stage": stage, "metric": metric, "value": value})


def charts(*histories: pa.Table) -> list[Any]:
    runs = tuple(Run(f"run-{n}", {}, [], table) for n, table in enumerate(histories))
    return line_charts(Contents({}, pa.table({}), None, runs, 0, []))


def test_curves_mark_where_stages_begin() -> None:
    table = history(train_loss=[(10, 1, 3.0), (20, 1, 2.0), (30, 2, 1.5), (40, 3, 1.0)])
    (chart,) = charts(table)
    assert [(border.at, border.text) for border in chart.borders] == [(75.0, "stage 2"), (100.0, "")]
    assert chart.lines[0].last == "1"


@pytest.mark.parametrize(
    ("starts", "texts"),
    [
        ((50, 70), ["stage 2", "stage 3"]),
        ((50, 69), ["stage 2", ""]),
        ((50, 85), ["stage 2", ""]),
        ((50, 99), ["stage 2", "stage 3"]),
    ],
)
def test_names_of_stages_do_not_lie_over_each_other(starts: tuple[int, int], texts: list[str]) -> None:
    table = history(train_loss=[(10, 1, 3.0), (starts[0], 2, 2.0), (starts[1], 3, 1.5), (100, 3, 1.0)])
    (chart,) = charts(table, table)
    assert [border.at for border in chart.borders] == [float(each) for each in sorted(2 * starts)]
    assert [border.text for border in chart.borders] == [texts[0], "", texts[1], ""]
    assert [border.is_before for border in chart.borders[::2]] == [False, starts[1] > 80]


def test_a_run_that_was_measured_once_is_a_point() -> None:
    table = history(train_loss=[(10, 1, 3.0), (20, 1, 2.0)])
    (chart,) = charts(table, history(train_loss=[(20, 1, 2.5)]))
    assert [line.is_point for line in chart.lines] == [False, True]
    start, end = chart.lines[1].path[1:].split("L")
    assert start == end


@pytest.mark.parametrize("n_subsets", [2, 3, 5])
def test_what_a_teacher_gave_to_the_subsets_is_one_chart(n_subsets: int) -> None:
    shares = {f"share_subset_{n}": [(10, 1, 1 / n_subsets), (20, 1, 0.1 * n)] for n in range(n_subsets)}
    runs = (Run("taught", {}, [], history(train_loss=[(10, 1, 3.0)], **shares)), Run("plain", {}, [], None))
    (chart,) = teacher_charts(Contents({}, pa.table({}), None, runs, 0, []))
    assert "taught" in chart.title
    assert [line.last for line in chart.lines] == [f"{10 * n}.0\u202f%" for n in range(n_subsets)]
    names = [line.name for line in chart.lines]
    assert names == (
        ["clean", "noisy", "highly noisy"] if n_subsets == 3 else [f"subset {n}" for n in range(n_subsets)]
    )


def test_long_histories_become_means_and_lost_values_are_left_out() -> None:
    long = [(step, 1, 2.0 + (step % 2)) for step in range(1, 5001)]
    (chart,) = charts(
        history(train_loss=long),
    )
    assert chart.lines[0].path.count("L") == 119
    assert chart.lines[0].last.startswith("2.")
    (chart,) = charts(history(test_loss=[(1, 1, float("nan")), (2, 1, 1.0), (3, 1, float("inf"))]))
    assert chart.lines[0].is_point


def test_only_what_was_measured_is_drawn_and_errors_are_percent() -> None:
    found = charts(history(test_top1_error=[(1, 1, 0.9), (2, 1, 0.5)]), history(train_loss=[(1, 1, 2.0)]))
    assert [(chart.metric, [line.name for line in chart.lines]) for chart in found] == [
        ("test_top1_error", ["run-0"]),
        ("train_loss", ["run-1"]),
    ]
    assert found[0].lines[0].last == "50.0\N{NARROW NO-BREAK SPACE}%"


def test_a_run_without_history_draws_nothing() -> None:
    runs = (Run("bare", {}, [], None),)
    assert line_charts(Contents({}, pa.table({}), None, runs, 0, [])) == []


def test_how_often_labels_of_each_subset_were_found_is_drawn_for_runs_without_a_curriculum() -> None:
    ids, subsets = np.arange(60), np.arange(60) % 3
    curriculum = tables.build(
        tables.CURRICULUM,
        {
            "image_id": ids,
            "subset": subsets.astype(np.int8),
            "cleanliness": np.ones(60, np.float32),
            "is_centre": np.zeros(60, np.bool_),
        },
    )
    shares = np.linspace(0.1, 0.9, 5)[None] / (1 + subsets[:, None])
    shares[7] = np.nan
    lists = pa.FixedSizeListArray.from_arrays(pa.array(shares.ravel().astype(np.float16)), 5)
    dynamics = pa.table({"image_id": ids, "agreements": lists})
    history = pa.table({"step": [10, 100], "stage": [1, 1], "metric": ["train_loss"] * 2, "value": [2.0, 1.0]})
    runs = tuple(
        Run(name, {"recipe": name, "curriculum": along}, [], history, dynamics)
        for name, along in (("model-a", None), ("model-d", "net"))
    )
    order = Curriculum("net", curriculum, pa.table({"subset_sizes": [[20, 20, 20]]}), {})
    (chart,) = learning_charts(Contents({}, pa.table({}), order, runs, 0, []))
    assert chart.title == "Labels that model-a found, of the training images of each subset"
    assert [line.name for line in chart.lines] == ["clean", "noisy", "highly noisy"]
    lasts = [float(line.last.split("\N{NARROW NO-BREAK SPACE}")[0]) for line in chart.lines]
    assert lasts == [90.0, 45.0, 30.0]
    assert learning_charts(Contents({}, pa.table({}), None, runs, 0, [])) == []
