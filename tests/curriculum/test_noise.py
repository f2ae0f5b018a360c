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
    return *seen_from_mean(own, others), wrong.mean()


def seen_from_mean(own, others):
    mean = np.concatenate([own, others]).mean(axis=0)
    return directions(own, mean), directions(others, mean)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_the_share_of_foreign_images_is_found(rate, spread):
    own, others, share = mixture(rate, spread=spread)
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


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(20, 80), st.integers(0, 10_000))
def test_what_always_holds(n, m, seed):
    rng = np.random.default_rng(seed)
    own, others = seen_from_mean(rng.normal(size=(n, 5)), rng.normal(size=(m, 5)))
    found = noise_rate(own, others)
    assert 0 <= found.low <= found.value <= found.high <= 1
    again = noise_rate(own[rng.permutation(n)], others[rng.permutation(m)])
    # An image whose typicality is that of the border may fall on either side by rounding.
    assert again.value == pytest.approx(found.value, abs=2.01 / n)
