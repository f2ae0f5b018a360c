"""Intervals against drawing images, against exact distributions, and against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.evaluation.intervals import paired_interval, share_interval


def one(count, n):
    low, high = share_interval(np.array([count]), np.array([n]))
    return float(low[0]), float(high[0])


def exact_differences(better, worse, n):
    """The probabilities of each sum -n … n of n draws from the values, by convolution."""
    single = np.array([worse, n - better - worse, better]) / n
    sums = np.ones(1)
    for _ in range(n):
        sums = np.convolve(sums, single)
    return sums


@st.composite
def counts(draw):
    n = draw(st.integers(1, 200))
    better = draw(st.integers(0, n))
    return better, draw(st.integers(0, n - better)), n


@pytest.mark.parametrize(("count", "n"), [(7, 20), (150, 500), (1, 40)])
def test_an_exact_interval_is_the_one_that_drawing_images_gives(count, n):
    wrong = np.arange(n) < count
    drawn = np.random.default_rng(0).choice(wrong, size=(20_000, n)).mean(axis=1)
    expected = np.quantile(drawn, (0.025, 0.975), method="inverted_cdf")
    # A quantile of a lattice may fall on either side of a step.
    assert one(count, n) == pytest.approx(expected, abs=1.01 / n)


@given(counts())
def test_a_share_lies_in_its_interval(found):
    count, _, n = found
    low, high = one(count, n)
    assert 0 <= low <= count / n <= high <= 1
    if count in (0, n) or n == 1:
        assert low == high == count / n


@pytest.mark.parametrize(("share", "n"), [(0.3, 200), (0.5, 60), (0.1, 500)])
def test_intervals_of_shares_hold_the_truth_about_95_times_in_100(share, n):
    found = np.random.default_rng(1).binomial(n, share, size=4000)
    low, high = share_interval(found, np.full(4000, n))
    assert 0.925 <= np.mean((low <= share) & (share <= high)) <= 0.97


@pytest.mark.parametrize(("better", "worse", "n"), [(12, 5, 60), (3, 3, 40), (1, 0, 30), (0, 9, 80), (25, 15, 40)])
def test_a_paired_interval_is_that_of_the_exact_distribution(better, worse, n):
    cumulated = exact_differences(better, worse, n).cumsum()
    expected = [(np.searchsorted(cumulated, end) - n) / n for end in (0.025, 0.975)]
    assert paired_interval(better, worse, n, 0) == pytest.approx(expected, abs=1.01 / n)


@given(counts(), st.integers(0, 5))
def test_a_difference_lies_in_its_interval(found, seed):
    better, worse, n = found
    low, high = paired_interval(better, worse, n, seed)
    assert -1 <= low <= (better - worse) / n <= high <= 1
    if n in (better, worse) or better == worse == 0:
        assert low == high == (better - worse) / n


def test_paired_intervals_hold_the_truth_about_95_times_in_100():
    better, worse, n = 0.16, 0.1, 300
    drawn = np.random.default_rng(2).multinomial(n, [better, worse, 1 - better - worse], size=250)
    intervals = [paired_interval(int(row[0]), int(row[1]), n, 0) for row in drawn]
    assert 0.91 <= np.mean([low <= better - worse <= high for low, high in intervals]) <= 0.98


def test_the_seed_decides_the_draws():
    # So many images that the quantiles of two seeds do not meet by chance.
    first, again, other = (paired_interval(30_001, 20_003, 100_003, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, abs=3e-4)
