"""Paired differences of two runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.evaluation.comparison import compare
from curriculumnet.evaluation.intervals import share_interval


@st.composite
def two_runs(draw):
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    run, baseline = rng.random((2, n)) < draw(st.floats(0, 1))
    # Categories without images, among and after the others.
    return run, baseline, rng.choice([0, 2, 3, 7], n)


@given(two_runs())
def test_a_difference_is_that_of_the_errors(found):
    run, baseline, targets = found
    won = compare(run, baseline, targets)
    assert won.value == pytest.approx(baseline.mean() - run.mean())
    assert won.n == len(run)
    assert won.low <= won.value <= won.high


@given(two_runs())
def test_categories_are_counted_one_by_one(found):
    run, baseline, targets = found
    better = [int(baseline[targets == c].sum()) - int(run[targets == c].sum()) for c in np.unique(targets)]
    won = compare(run, baseline, targets)
    counted = (sum(b > 0 for b in better), sum(b < 0 for b in better), better.count(0))
    assert (won.improved, won.fell, won.unchanged) == counted


@given(two_runs())
def test_swapping_the_runs_turns_the_difference(found):
    run, baseline, targets = found
    won, lost = compare(run, baseline, targets), compare(baseline, run, targets)
    turned = won.turned()
    assert (turned.value, turned.n) == (lost.value, lost.n)
    assert (turned.improved, turned.fell, turned.unchanged) == (lost.improved, lost.fell, lost.unchanged)
    # Drawn anew, the ends may fall on a neighbouring step.
    assert (turned.low, turned.high) == pytest.approx((lost.low, lost.high), abs=2.01 / won.n)
    assert turned.turned() == won


def test_a_run_is_no_better_than_itself():
    wrong = np.random.default_rng(0).random(200) < 0.4
    won = compare(wrong, wrong, np.arange(200) % 5)
    assert (won.value, won.low, won.high) == (0, 0, 0)
    assert (won.improved, won.fell, won.unchanged) == (0, 0, 5)


def test_pairing_makes_the_interval_of_like_runs_much_shorter():
    rng = np.random.default_rng(0)
    baseline = rng.random(1000) < 0.4
    run = baseline ^ (rng.random(1000) < 0.02)
    won = compare(run, baseline, np.zeros(1000, np.int64))
    low, high = share_interval(np.array([run.sum(), baseline.sum()]), np.array([1000, 1000]))
    unpaired = np.hypot(*(high - low))
    assert 0 < won.high - won.low < 0.5 * unpaired
