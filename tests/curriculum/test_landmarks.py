"""Estimates from landmarks beside the exact densities."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from curriculumnet.curriculum import rows as rows_module
from curriculumnet.curriculum.density import density_peaks
from curriculumnet.curriculum.landmarks import CANDIDATES, landmark_peaks
from curriculumnet.curriculum.subsets import split


def gathered(n, d=24, seed=0):
    """Features as of a category: right images around a few places, wrong ones anywhere."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(4, d))[rng.integers(0, 4, n)] * (rng.random(n) < 0.7)[:, None]
    return np.maximum(places + rng.normal(0.2, 0.7, (n, d)), 0).astype(np.float32)


def agree(features, m, **settings):
    exact = density_peaks(features, **settings)
    found = landmark_peaks(features, landmarks=m, **settings)
    # By the Gaussian kernel densities of a category differ little.
    assert spearmanr(exact.density, found.density)[0] >= (0.95 if settings.get("kernel") else 0.99)
    assert found.cutoff == pytest.approx(exact.cutoff, rel=0.02)
    assert exact.density[found.centre] >= exact.density.max() - 4 * found.density_error * len(features)
    subsets = [split(peaks.distance_to_centre) for peaks in (exact, found)]
    assert (subsets[0] == subsets[1]).mean() >= 0.97
    return exact, found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_eight_thousand_landmarks_tell_what_all_would(seed):
    features = gathered(20_000, seed=seed)
    exact, found = agree(features, 8192, mean=features.mean(axis=0))
    errors = (found.density - exact.density) / len(features)
    assert found.density_error <= 0.5 / 8192**0.5
    assert errors.std() <= 2 * found.density_error


@pytest.mark.parametrize(
    "settings", [{}, {"mean": True}, {"metric": "cosine"}, {"kernel": "gaussian"}, {"mean": True, "kernel": "gaussian"}]
)
@pytest.mark.parametrize("exact_products", [True, False])
def test_half_of_a_category_tells_what_all_would(settings, exact_products, monkeypatch):
    if not exact_products:
        monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = gathered(2000)
    if settings.get("mean"):
        settings = settings | {"mean": features.mean(axis=0)}
    _, found = agree(features, 1500, **settings)
    assert found.distance_to_centre[found.centre] == 0
    assert found.delta[found.centre] == found.distance_to_centre.max()
    assert (found.delta > 0).all()


def test_of_the_densest_densities_are_exact_at_the_estimated_cutoff():
    features = gathered(1000).astype(np.float64)
    found = landmark_peaks(features, landmarks=300)
    apart = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    counted = (apart < found.cutoff).sum(axis=1) - 1
    assert (found.density == counted).sum() >= CANDIDATES
    assert found.density[found.centre] == counted[found.centre]
    assert found.distance_to_centre == pytest.approx(apart[found.centre], rel=1e-5, abs=1e-5)


def test_all_but_one_as_landmarks_are_nearly_exact():
    features = gathered(400)
    exact, found = density_peaks(features), landmark_peaks(features, landmarks=399)
    assert np.abs(found.density - exact.density).max() <= 4
    assert found.density_error < 0.002


def test_identical_rows_are_equal_and_their_order_changes_nothing():
    rng = np.random.default_rng(1)
    features = gathered(300)[rng.integers(0, 300, 900)]
    order = rng.permutation(900)
    straight, turned = (landmark_peaks(each, landmarks=200, seed=5) for each in (features, features[order]))
    assert turned.cutoff == straight.cutoff
    assert (features[order][turned.centre] == features[straight.centre]).all()
    for name in ("density", "delta", "distance_to_centre"):
        values = getattr(straight, name)
        assert getattr(turned, name).tolist() == values[order].tolist()
        _, kind = np.unique(features, axis=0, return_inverse=True)
        for each in range(kind.max() + 1):
            assert len(set(values[kind.ravel() == each].tolist())) == 1


def test_another_seed_takes_other_landmarks():
    features = gathered(900)
    one, again, other = (landmark_peaks(features, landmarks=100, seed=seed) for seed in (0, 0, 1))
    assert one.density.tolist() == again.density.tolist() != other.density.tolist()


@pytest.mark.parametrize("kernel", ["cutoff", "gaussian"])
def test_odd_categories(kernel):
    equal = landmark_peaks(np.full((50, 3), 0.1), landmarks=10, kernel=kernel)
    assert set(equal.distance_to_centre.tolist()) == set(equal.delta.tolist()) == {0.0}
    assert equal.cutoff == 0.0
    assert equal.density.tolist() == [49.0 if kernel == "gaussian" else 0.0] * 50
    two = landmark_peaks(np.repeat([[0.0, 0.0], [3.0, 4.0]], [80, 20], axis=0), landmarks=30, kernel=kernel)
    assert two.centre == 0
    assert two.distance_to_centre.tolist() == [0.0] * 80 + [25.0] * 20
    assert two.density[0] > two.density[99]


@pytest.mark.parametrize("landmarks", [0, 1, 50, 51])
def test_a_number_of_landmarks_out_of_range_is_refused(landmarks):
    with pytest.raises(ValueError, match=r"landmarks must lie in 2 … 49"):
        landmark_peaks(np.zeros((50, 2)), landmarks=landmarks)


@pytest.mark.parametrize("kernel", ["cutoff", "gaussian"])
@pytest.mark.parametrize("settings", [{"metric": "cosine"}, {"mean": np.zeros(16)}])
def test_zero_vectors_are_near_each_other(kernel, settings):
    features = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    features[:500] = 0
    exact = density_peaks(features, kernel=kernel, **settings)
    found = landmark_peaks(features, landmarks=500, kernel=kernel, **settings)
    assert found.density == pytest.approx(exact.density, abs=120)
    assert found.density[:500] == pytest.approx(exact.density[:500], abs=5)
    assert found.centre == exact.centre == 0
    assert ((found.density >= 0) & (found.density <= 999)).all()


def test_rare_images_that_no_landmark_shows_are_not_taken_for_the_others():
    features = np.zeros((3000, 2))
    features[:5] = [[0, 3], [0, 4], [1, 0], [2, 0], [5, 5]]
    found = landmark_peaks(features, landmarks=20, seed=1)
    assert found.cutoff == 1.0
    assert found.distance_to_centre[:5].tolist() == [9, 16, 1, 4, 50]


@pytest.mark.parametrize("wrong", [{"metric": "l1"}, {"kernel": "box"}, {"cutoff_percent": 400}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must (be one of|lie in)"):
        landmark_peaks(np.eye(9), landmarks=3, **wrong)
