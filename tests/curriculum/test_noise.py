"""The estimate of wrong labels: on mixtures whose share is known, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculumnet.curriculum.noise import noise_rate
from curriculumnet.curriculum.rows import directions

CATEGORIES = 8
DIMENSIONS = 24


def mixture(rate, n=600, spread=0.5, seed=0):
    """Features of the first category, a share of them of the others, and those of the others."""
    rng = np.random.default_rng(seed)
    centres = np.eye(CATEGORIES, DIMENSIONS)

    def draw(categories):
        return centres[categories] + rng.normal(0, spread, (len(categories), DIMENSIONS))

    wrong = rng.random(n) < rate
    own = draw(np.where(wrong, rng.integers(1, CATEGORIES, n), 0))
    others = draw(rng.integers(1, CATEGORIES, 3000))
    return *seen_from_mean(own, others), wrong


def seen_from_mean(own, others):
    mean = np.concatenate([own, others]).mean(axis=0)
    return directions(own, mean), directions(others, mean)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_the_share_of_foreign_images_is_found(rate, spread):
    own, others, wrong = mixture(rate, spread=spread)
    share = wrong.mean()
    found = noise_rate(own, others)
    assert found.value == pytest.approx(share, abs=0.07)
    assert found.low <= share + 0.03
    assert found.high >= share - 0.03


def test_intervals_hold_what_the_share_comes_from_about_95_times_in_100():
    held = []
    for seed in range(200):
        own, others, _ = mixture(0.3, n=80, spread=0.1, seed=seed)
        found = noise_rate(own, others)
        held.append(found.low <= 0.3 <= found.high)
    assert 0.9 <= np.mean(held) <= 1


def test_wrong_images_of_a_look_alike_are_not_seen():
    rng = np.random.default_rng(0)
    centres = np.eye(CATEGORIES, DIMENSIONS)
    # The second category is like the first, and 40 in 100 images of the first are of the second.
    centres[1] = centres[0] + 0.2 * centres[1]
    wrong = rng.random(600) < 0.4
    own = centres[wrong.astype(int)] + rng.normal(0, 0.1, (600, DIMENSIONS))
    others = centres[rng.integers(1, CATEGORIES, 3000)] + rng.normal(0, 0.1, (3000, DIMENSIONS))
    assert noise_rate(*seen_from_mean(own, others)).value < 0.02


def test_with_two_categories_the_estimate_is_too_high_but_by_no_more_than_a_half():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 4000)
    truth = np.where(rng.random(4000) < 0.3, 1 - label, label)
    rows = np.eye(2, DIMENSIONS)[truth] + rng.normal(0, 0.05, (4000, DIMENSIONS))
    share = (truth[label == 0] != 0).mean()
    assert share < noise_rate(*seen_from_mean(rows[label == 0], rows[label == 1])).value < 1.6 * share


def test_features_that_tell_nothing_let_everything_look_wrong():
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(500, 16)), rng.normal(size=(5000, 16))
    assert noise_rate(*seen_from_mean(own, others)).value > 0.8


@pytest.mark.parametrize(("n", "m"), [(1, 100), (5, 19), (0, 100)])
def test_too_few_images_tell_nothing(n, m):
    rng = np.random.default_rng(0)
    assert noise_rate(rng.normal(size=(n, 4)), rng.normal(size=(m, 4))) is None


def test_others_that_are_all_alike_tell_nothing():
    assert noise_rate(np.eye(4), np.ones((50, 4))) is None


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(20, 80), st.integers(0, 10_000))
def test_what_always_holds(n, m, seed):
    rng = np.random.default_rng(seed)
    own, others = seen_from_mean(rng.normal(size=(n, 5)), rng.normal(size=(m, 5)))
    found = noise_rate(own, others)
    assert 0 <= found.low <= found.value <= found.high <= 1
    again = noise_rate(own[rng.permutation(n)], others[rng.permutation(m)])
    # An image whose typicality is that of the border may fall on either side by rounding.
    assert again.value == pytest.approx(found.value, abs=2.01 / n)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("spread", [0.3, 0.45])
def test_of_images_with_a_probability_so_many_are_right(rate, spread):
    probability, right = [], []
    for seed in range(6):
        own, others, wrong = mixture(rate, spread=spread, seed=seed)
        found = noise_rate(own, others).right
        assert ((found >= 0) & (found <= 1)).all()
        probability.append(found)
        right.append(~wrong)
    probability, right = np.concatenate(probability), np.concatenate(right)
    for low in np.arange(0, 1, 0.2):
        these = (probability >= low) & (probability < low + 0.2 + (low > 0.7))
        if these.sum() >= 100:
            assert right[these].mean() == pytest.approx(probability[these].mean(), abs=0.2)
    # Of a right and a wrong one, the right one has the higher probability.
    ranks = np.argsort(np.argsort(probability, kind="stable"))
    assert ranks[right].mean() - ranks[~right].mean() > 0.3 * len(ranks)


def test_the_more_typical_the_more_likely_right_and_equal_ones_equally():
    own, others, _ = mixture(0.3, n=200, spread=0.5)
    own = np.concatenate([own, own[:50]])
    found = noise_rate(own, others).right
    assert found[200:].tolist() == found[:50].tolist()
    total = own.sum(axis=0)
    typical = own @ total - (own * own).sum(axis=1)
    assert (np.diff(found[np.argsort(typical)]) >= -1e-12).all()


def test_images_of_the_category_itself_do_not_count_among_the_others():
    own, others, _ = mixture(0.3)
    straight = noise_rate(own, others)
    mixed = noise_rate(own, np.concatenate([own[:100], others]), np.arange(len(others) + 100) >= 100)
    assert (mixed.value, mixed.low, mixed.high) == (straight.value, straight.low, straight.high)
    assert mixed.right.tolist() == straight.right.tolist()
