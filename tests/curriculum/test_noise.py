"""The estimate of wrong labels: on mixtures whose share is known, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculumnet.curriculum.noise import noise_rate

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
    return own, others, np.concatenate([own, others]).mean(axis=0), wrong.mean()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_the_share_of_foreign_images_is_found(rate, spread):
    own, others, mean, share = mixture(rate, spread=spread)
    found = noise_rate(own, others, mean)
    assert found.value == pytest.approx(share, abs=0.07)
    assert found.low <= share + 0.03
    assert found.high >= share - 0.03


def test_intervals_hold_what_the_share_comes_from_about_95_times_in_100():
    held = []
    for seed in range(200):
        own, others, mean, _ = mixture(0.3, n=80, spread=0.1, seed=seed)
        found = noise_rate(own, others, mean)
        held.append(found.low <= 0.3 <= found.high)
    assert 0.9 <= np.mean(held) <= 1


def test_wrong_images_that_look_right_are_not_seen():
    own, others, mean, _ = mixture(0.0, spread=0.1)
    assert noise_rate(own, others, mean).value < 0.02


def test_features_that_tell_nothing_let_everything_look_wrong():
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(500, 16)), rng.normal(size=(5000, 16))
    assert noise_rate(own, others, np.zeros(16)).value > 0.8


@pytest.mark.parametrize(("n", "m"), [(1, 100), (5, 19), (0, 100)])
def test_too_few_images_tell_nothing(n, m):
    rng = np.random.default_rng(0)
    assert noise_rate(rng.normal(size=(n, 4)), rng.normal(size=(m, 4)), np.zeros(4)) is None


def test_others_that_are_all_alike_tell_nothing():
    assert noise_rate(np.eye(4), np.ones((50, 4)), np.zeros(4)) is None


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(20, 80), st.integers(0, 10_000))
def test_what_always_holds(n, m, seed):
    rng = np.random.default_rng(seed)
    own, others = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    mean = rng.normal(size=5)
    found = noise_rate(own, others, mean)
    assert 0 <= found.low <= found.value <= found.high <= 1
    # Neither the order of the images nor the scale and place of the features matters.
    again = noise_rate(4 * own[rng.permutation(n)] + 2, 4 * others[rng.permutation(m)] + 2, 4 * mean + 2)
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high), abs=1.01 / n * 2)


def test_blocks_change_nothing(monkeypatch):
    own, others, mean, _ = mixture(0.3)
    whole = noise_rate(own, others, mean)
    monkeypatch.setattr("curriculumnet.curriculum.noise._BLOCK_ROWS", 37)
    assert noise_rate(own, others, mean) == whole
