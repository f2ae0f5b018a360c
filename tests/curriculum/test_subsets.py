"""The cut into subsets against all cuts, and the ranks."""

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculumnet.curriculum.subsets import CHOICES, choose_n_subsets, rank_cleanliness, split


def scatter(values):
    values = [Fraction(v) for v in values]
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values)


def best_of_all_cuts(values, n_subsets):
    distinct = sorted(set(values))
    parts = min(n_subsets, len(distinct))
    best = None
    for cuts in itertools.combinations(range(1, len(distinct)), parts - 1):
        subset = {value: sum(place >= cut for cut in cuts) for place, value in enumerate(distinct)}
        groups = [[v for v in values if subset[v] == part] for part in range(parts)]
        key = (sum(map(scatter, groups)), [-len(group) for group in groups])
        if best is None or key < best[0]:
            best = (key, [subset[v] for v in values])
    return best[1]


whole = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=11)
far_apart = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1e6, 1e9]), st.integers(0, 4)).map(sum), min_size=1, max_size=10
)
# Values that differ by less than 2**-48 of the largest make cuts that count as equally good.
real = st.lists(st.floats(-100, 100, width=32).map(lambda value: round(value, 9)), min_size=1, max_size=9)


@settings(max_examples=300)
@given(st.one_of(whole, far_apart, real), st.integers(1, 5))
def test_the_cut_is_the_best_of_all_cuts_and_ties_go_to_the_cleaner(values, n_subsets):
    assert split(np.array(values), n_subsets).tolist() == best_of_all_cuts(values, n_subsets)


def quadratic_scatter(values, n_subsets):
    """The least sum of squares, by the textbook's quadratic dynamic programme."""
    values = np.sort(values)
    ones = np.concatenate(([0.0], np.cumsum(values)))
    squares = np.concatenate(([0.0], np.cumsum(values**2)))
    best = np.concatenate(([0.0], np.full(len(values), np.inf)))
    for _ in range(n_subsets):
        following = np.full_like(best, np.inf)
        for stop in range(1, len(best)):
            start = np.arange(stop)
            inside = squares[stop] - squares[start] - (ones[stop] - ones[start]) ** 2 / (stop - start)
            following[stop] = (best[start] + inside).min()
        best = following
    return best[-1]


@pytest.mark.parametrize("n_subsets", [2, 3, 4, 5])
def test_many_values_reach_the_least_sum_of_squares(n_subsets):
    values = np.random.default_rng(n_subsets).gamma(1.5, size=257)
    subset = split(values, n_subsets)
    reached = sum(((values[subset == s] - values[subset == s].mean()) ** 2).sum() for s in range(n_subsets))
    assert reached == pytest.approx(quadratic_scatter(values, n_subsets), rel=1e-12)


def test_a_tie_goes_to_the_larger_clean_subset_then_to_the_larger_next():
    assert split(np.array([0.0, 1.0, 2.0]), 2).tolist() == [0, 0, 1]
    assert split(np.array([0.0, 1.0, 2.0, 3.0]), 3).tolist() == [0, 0, 1, 2]
    assert split(np.arange(5.0), 3).tolist() == [0, 0, 1, 1, 2]
    assert split(np.arange(8.0) + 1e9, 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_a_tie_is_seen_beside_a_far_outlier():
    values = np.array([0.1, 1.1, 2.1, 1e12], np.float32).astype(np.float64)
    values[:3] = [0.0, 1.0, 2.0]
    assert split(values, 3).tolist() == [0, 0, 1, 2]


def test_equal_values_never_part():
    assert split(np.array([5.0] * 50 + [6.0]), 3).tolist() == [0] * 50 + [1]
    assert split(np.array([2.0, 1.0, 2.0, 1.0, 9.0, 2.0]), 2).tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("values", [[], [4.0], [4.0, 4.0], [9.0, 4.0]])
def test_fewer_values_than_subsets_are_subsets_from_the_cleanest_on(values):
    assert split(np.array(values), 3).tolist() == [0 if v == 4 else 1 for v in values]


def test_one_subset_takes_all():
    assert split(np.arange(9.0), 1).tolist() == [0] * 9


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30).map(float), min_size=1, max_size=40), st.randoms())
def test_the_order_of_the_values_changes_nothing(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    values = np.array(values)
    assert split(values[order], 3).tolist() == split(values, 3)[order].tolist()
    assert rank_cleanliness(values[order]).tolist() == rank_cleanliness(values)[order].tolist()


def test_ten_thousand_values_are_cut_within_a_second():
    values = np.random.default_rng(0).normal(size=10_000)
    start = time.process_time()
    subset = split(values, 3)
    assert time.process_time() - start < 1
    assert np.bincount(subset).min() > 1_000
    assert (np.diff(subset[np.argsort(values)]) >= 0).all()


def test_a_hundred_thousand_values_in_five_subsets():
    subset = split(np.random.default_rng(0).normal(size=100_000), 5)
    assert np.bincount(subset).tolist() == pytest.approx([10_700, 24_300, 30_000, 24_300, 10_700], rel=0.05)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=20))
def test_cleanliness_is_the_middle_rank(values):
    found = rank_cleanliness(np.array(values))
    if len(set(values)) == 1:
        assert found.tolist() == [1.0] * len(values)
        return
    for value, cleanliness in zip(values, found, strict=True):
        below = sum(other < value for other in values)
        equal = values.count(value)
        ranks = range(below + 1, below + equal + 1)
        assert cleanliness == pytest.approx(1 - (sum(ranks) / equal - 0.5) / len(values))
        assert 0 <= cleanliness <= 1


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="values must be finite"):
        split(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="values must be finite"):
        rank_cleanliness(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match=r"one number per image, not of the shape \(1, 2\)"):
        split(np.array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match="n_subsets must lie in 1 … 127, not 0"):
        split(np.array([1.0]), 0)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_as_many_subsets_are_chosen_as_there_are_groups(n):
    rng = np.random.default_rng(n)
    categories = [rng.integers(0, n, 300) + rng.normal(0, 0.05, 300) for _ in range(4)]
    assert choose_n_subsets(categories) == n
    assert choose_n_subsets([1e6 * values - 3 for values in categories]) == n


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1000])
def test_the_number_of_subsets_is_the_same_at_any_scale(scale):
    values = np.random.default_rng(0).integers(0, 4, 200) + np.random.default_rng(1).normal(0, 0.05, 200)
    assert choose_n_subsets([values * scale]) == choose_n_subsets([values]) == 4


def test_categories_of_few_values_have_no_say_in_their_number():
    assert choose_n_subsets([]) == 2
    assert choose_n_subsets([np.zeros(9), np.arange(5.0)]) == 2
    three = np.repeat([0.0, 1.0, 2.0], 20) + np.linspace(0, 0.1, 60)
    assert choose_n_subsets([np.repeat([0.0, 1.0], 500), three]) == 3
    assert choose_n_subsets([np.repeat(np.arange(6.0), 4)]) in CHOICES
