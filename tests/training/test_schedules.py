"""Learning-rate schedules and the cutting of steps into stages."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.training.schedules import split, warmup_cosine, warmup_steps


@given(steps=st.integers(2, 500), warmup_share=st.floats(0, 0.5))
def test_the_rate_rises_then_falls_and_stays_above_zero(steps, warmup_share):
    warmup = math.floor(warmup_share * steps)
    factors = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert factors[warmup] == pytest.approx(1.0)


@given(steps=st.integers(1, 5000), shares=st.lists(st.floats(0.01, 10), min_size=1, max_size=5))
def test_stages_cover_all_steps_without_gap(steps, shares):
    spans = split(steps, tuple(shares))
    assert spans[0][0] == 0
    assert spans[-1][1] == steps
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    if steps >= len(shares):
        assert all(last > first for first, last in spans)


def test_the_default_stages_are_30_30_40():
    assert split(100, (0.3, 0.3, 0.4)) == [(0, 30), (30, 60), (60, 100)]


def test_the_authors_rate_falls_tenfold_four_times():
    rates = [warmup_steps(step, 700, 0) for step in range(700)]
    falls = [step for step in range(1, 700) if rates[step] != rates[step - 1]]
    assert falls == [300, 500, 600, 650]
    assert rates[0] == 1
    assert [rates[step] for step in falls] == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    assert warmup_steps(3, 700, 9) == 0.4
