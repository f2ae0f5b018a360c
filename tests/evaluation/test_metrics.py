"""Errors against a plain reading, and what always holds of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.evaluation.metrics import figures, is_wrong, label_ranks, metrics_of


def plain_rank(row, target):
    """The place of the label when the categories are sorted by probability, then by their order."""
    order = sorted(range(len(row)), key=lambda category: (-row[category], category))
    return order.index(target)


@st.composite
def answers(draw, least=2, most=9):
    """Probabilities of few values, so that ties are common, and the labels."""
    n, n_categories = draw(st.integers(1, 40)), draw(st.integers(least, most))
    seed, values = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 8))
    rng = np.random.default_rng(seed)
    probabilities = (rng.integers(0, values, (n, n_categories)) / values).astype(np.float16)
    return probabilities, rng.integers(0, n_categories, n)


@given(answers())
def test_ranks_are_those_of_sorting(found):
    probabilities, targets = found
    expected = [plain_rank(row, target) for row, target in zip(probabilities.tolist(), targets.tolist(), strict=True)]
    assert label_ranks(probabilities, targets).tolist() == expected


@given(answers())
def test_the_first_place_is_where_argmax_is(found):
    probabilities, targets = found
    right = ~is_wrong(label_ranks(probabilities, targets), "top1_error")
    assert np.array_equal(right, probabilities.argmax(axis=1) == targets)


def test_ranks_do_not_depend_on_where_a_block_ends(monkeypatch):
    rng = np.random.default_rng(0)
    probabilities, targets = rng.random((50, 6), dtype=np.float32), rng.integers(0, 6, 50)
    whole = label_ranks(probabilities, targets)
    monkeypatch.setattr("curriculumnet.evaluation.metrics._BLOCK_ROWS", 7)
    assert np.array_equal(label_ranks(probabilities, targets), whole)


@pytest.mark.parametrize("place", [0, 1])
def test_no_answer_is_a_wrong_one(place):
    probabilities = np.full((1, 6), 0.1)
    probabilities[0, place] = math.nan
    ranks = label_ranks(probabilities, np.array([0]))
    assert is_wrong(ranks, "top1_error").all()
    assert is_wrong(ranks, "top5_error").all()


@pytest.mark.parametrize(
    ("n_categories", "metrics"),
    [(2, ("top1_error",)), (5, ("top1_error",)), (6, ("top1_error", "top5_error")), (40, ("top1_error", "top5_error"))],
)
def test_top5_is_left_out_where_it_says_nothing(n_categories, metrics):
    assert metrics_of(n_categories) == metrics
    rows = figures(np.zeros(3, np.int64), np.zeros(3, np.int64), [f"c{n}" for n in range(n_categories)])
    assert tuple(dict.fromkeys(row["metric"] for row in rows)) == metrics


@given(answers(least=6))
def test_figures_hold_together(found):
    probabilities, targets = found
    categories = [f"category {index}" for index in range(probabilities.shape[1])]
    rows = figures(label_ranks(probabilities, targets), targets, categories)
    by_metric = {
        metric: {row["category"]: row for row in rows if row["metric"] == metric}
        for metric in ("top1_error", "top5_error")
    }
    for by_category in by_metric.values():
        overall = by_category.pop(None)
        assert set(by_category) == {categories[target] for target in targets}
        assert overall["n"] == len(targets) == sum(row["n"] for row in by_category.values())
        weighted = sum(row["value"] * row["n"] for row in by_category.values()) / len(targets)
        assert overall["value"] == pytest.approx(weighted)
        for row in (overall, *by_category.values()):
            assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    for category, row in by_metric["top1_error"].items():
        assert by_metric["top5_error"][category]["value"] <= row["value"]


@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_images_makes_no_difference(found, random):
    probabilities, targets = found
    order = list(range(len(targets)))
    random.shuffle(order)
    categories = [f"category {index}" for index in range(probabilities.shape[1])]
    shuffled = figures(label_ranks(probabilities[order], targets[order]), targets[order], categories)
    assert shuffled == figures(label_ranks(probabilities, targets), targets, categories)
