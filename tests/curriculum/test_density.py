"""Density peaks against a plain reading: float64, loops, a full sort."""

import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_info

from curriculumnet.curriculum import rows as rows_module
from curriculumnet.curriculum import strips as strips_module
from curriculumnet.curriculum.density import density_peaks


def naive_distances(features, mean=None, metric="sqeuclidean"):
    rows = [[float(v) for v in row] for row in features]
    if mean is not None:
        rows = [[v - float(m) for v, m in zip(row, mean, strict=True)] for row in rows]
    n = len(rows)
    D = np.zeros((n, n))
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            length_a, length_b = math.sqrt(sum(v * v for v in a)), math.sqrt(sum(v * v for v in b))
            if mean is None and metric == "sqeuclidean":
                distance = sum((v - w) ** 2 for v, w in zip(a, b, strict=True))
                same = distance <= 1e-6 * (length_a**2 + length_b**2)
            else:
                twice = 1.0 if metric == "cosine" else 2.0
                if length_a == 0 or length_b == 0:
                    distance = 0.0 if length_a == length_b else twice
                else:
                    cosine = sum(v * w for v, w in zip(a, b, strict=True)) / (length_a * length_b)
                    distance = twice * (1 - cosine)
                same = distance <= 1e-6 * twice
            D[i, j] = 0.0 if same else distance
    return D


def distances_in_float64(features, mean=None, metric="sqeuclidean"):
    """The same for many rows, which are neither zero nor nearly equal."""
    rows = features.astype(np.float64) - (0.0 if mean is None else mean)
    if mean is not None or metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    D = np.array([((rows - row) ** 2).sum(axis=1) for row in rows])
    return D / 2 if metric == "cosine" else D


def naive_peaks(D, percent=60.0, kernel="cutoff"):
    n = len(D)
    ordered = sorted(D.ravel().tolist())
    cutoff = ordered[min(math.floor(n * n * percent / 100), n * n - 1)]
    if cutoff == 0:
        cutoff = min((v for v in ordered if v > 0), default=0.0)
    density = []
    for i in range(n):
        others = [D[i, j] for j in range(n) if j != i]
        if kernel == "cutoff":
            density.append(float(sum(v < cutoff for v in others)))
        else:
            density.append(sum(math.exp(-v / cutoff) if cutoff else 1.0 for v in others))
    delta = []
    for i in range(n):
        denser = [D[i, j] for j in range(n) if density[j] > density[i]]
        delta.append(min(denser) if denser else max(D[i]))
    centre = min(range(n), key=lambda i: (-density[i], math.fsum(D[i]), i))
    return np.array(density), np.array(delta), D[centre], centre, cutoff


def same_in_all(found, expected):
    density, delta, to_centre, centre, cutoff = expected
    assert found.cutoff == cutoff
    assert found.density.tolist() == density.tolist()
    assert found.delta.tolist() == delta.tolist()
    assert found.centre == centre
    assert found.distance_to_centre.tolist() == to_centre.tolist()


@st.composite
def small_whole_features(draw, lowest=-2, highest=3):
    n, d = draw(st.integers(1, 14)), draw(st.integers(1, 3))
    rows = draw(arrays(np.float32, (n, d), elements=st.integers(lowest, highest).map(float)))
    copies = draw(st.lists(st.integers(0, n - 1), max_size=6))
    return np.concatenate([rows, rows[copies]])


@settings(max_examples=150)
@given(small_whole_features(), st.sampled_from([0, 1, 10, 33.3, 50, 60, 70, 99, 100]))
def test_whole_numbers_equal_a_plain_reading_exactly(features, percent):
    found = density_peaks(features, cutoff_percent=percent)
    same_in_all(found, naive_peaks(naive_distances(features), percent))


@settings(max_examples=100)
@given(small_whole_features(), st.sampled_from([None, 0.0, 1.0]), st.sampled_from(["sqeuclidean", "cosine"]))
def test_directions_equal_a_plain_reading(features, mean, metric):
    mean = None if mean is None else np.full(features.shape[1], mean)
    # Equal distances that rounding tells apart become equal again: directions of small whole numbers lie far apart.
    D = np.round(naive_distances(features, mean, metric), 6)
    density, delta, _, _, cutoff = naive_peaks(D)
    found = density_peaks(features, mean=mean, metric=metric)
    assert found.cutoff == pytest.approx(cutoff, abs=2e-6)
    assert found.density.tolist() == density.tolist()
    assert found.delta == pytest.approx(delta, abs=2e-6)
    assert density[found.centre] == density.max()
    assert D[found.centre].sum() <= D[density == density.max()].sum(axis=1).min() + 1e-5
    assert found.distance_to_centre == pytest.approx(D[found.centre], abs=2e-6)


@settings(max_examples=60)
@given(small_whole_features())
def test_the_gaussian_kernel_equals_a_plain_reading(features):
    density, *_, cutoff = naive_peaks(naive_distances(features), kernel="gaussian")
    found = density_peaks(features, kernel="gaussian")
    assert found.cutoff == cutoff
    assert found.density == pytest.approx(density, rel=1e-6, abs=1e-6)
    assert found.density[found.centre] == found.density.max()


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_real_features_keep_to_the_precision_that_is_promised(metric, normalise, dtype):
    rng = np.random.default_rng(5)
    features = np.maximum(rng.normal(0.3, 1.0, (90, 24)), 0).astype(dtype)
    mean = features.mean(axis=0, dtype=np.float64) if normalise else None
    density, _, _, _, cutoff = naive_peaks(naive_distances(features, mean, metric))
    found = density_peaks(features, mean=mean, metric=metric)
    assert found.cutoff == pytest.approx(cutoff, rel=1e-6)
    off = np.abs(found.density - density)
    assert off.max() <= 2
    assert (off > 0).mean() <= 0.01
    assert density[found.centre] >= density.max() - 2


def test_identical_rows_are_equal_in_every_result():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(70, 33)).astype(np.float32)
    picks = rng.integers(0, 70, 400)
    features = rows[picks]
    for options in ({}, {"mean": features.mean(axis=0)}, {"kernel": "gaussian"}, {"metric": "cosine"}):
        found = density_peaks(features, **options)
        for row in np.unique(picks):
            copies = picks == row
            for values in (found.density, found.delta, found.distance_to_centre):
                assert len(set(values[copies].tolist())) == 1
        assert (found.distance_to_centre[picks == picks[found.centre]] == 0).all()


def test_the_order_of_the_rows_changes_nothing():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(150, 20)).astype(np.float32)
    order = rng.permutation(150)
    mean = features.mean(axis=0)
    for options in ({}, {"mean": mean}, {"kernel": "gaussian"}):
        straight, turned = density_peaks(features, **options), density_peaks(features[order], **options)
        assert turned.cutoff == straight.cutoff
        assert order[turned.centre] == straight.centre
        assert turned.density.tolist() == straight.density[order].tolist()
        assert turned.delta.tolist() == straight.delta[order].tolist()
        assert turned.distance_to_centre.tolist() == straight.distance_to_centre[order].tolist()


WAYS = {
    "kept, in strips of a row": {"_HEIGHT": 1},
    "kept, in strips of 17 rows": {"_HEIGHT": 17},
    "kept, three threads": {"_HEIGHT": 17, "_ALONE": 0},
    "computed anew, in strips of a row": {"KEPT_BYTES": 0, "_STRIP_ELEMENTS": 1},
    "computed anew": {"KEPT_BYTES": 0, "_STRIP_ELEMENTS": 777},
    "computed anew, three threads": {"KEPT_BYTES": 0, "_STRIP_ELEMENTS": 777, "_ALONE": 0},
}


def go(way, monkeypatch):
    for name, value in WAYS[way].items():
        monkeypatch.setattr(strips_module, name, value)
    monkeypatch.setattr(strips_module, "thread_count", lambda: 3)


@pytest.mark.parametrize("way", WAYS)
def test_distances_are_the_same_in_every_way(way, monkeypatch):
    features = np.random.default_rng(2).integers(0, 6, (60, 4)).astype(np.float32)
    settings = ({}, {"kernel": "gaussian"}, {"mean": np.ones(4)}, {"metric": "cosine"})
    whole = [density_peaks(features, **each) for each in settings]
    go(way, monkeypatch)
    for each, straight in zip(settings, whole, strict=True):
        found = density_peaks(features, **each)
        assert (found.centre, found.cutoff) == (straight.centre, straight.cutoff)
        assert found.density.tolist() == straight.density.tolist()
        assert found.delta.tolist() == straight.delta.tolist()
        assert found.distance_to_centre.tolist() == straight.distance_to_centre.tolist()


def gathered(n=700, d=48, seed=7):
    """Features as of a category: right images around a few places, wrong ones anywhere."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(4, d))[rng.integers(0, 4, n)] * (rng.random(n) < 0.7)[:, None]
    return np.maximum(places + rng.normal(0.2, 0.7, (n, d)), 0).astype(np.float32)


def keeps_its_promises(found, expected, most_off=0.01):
    density, delta, to_centre, centre, cutoff = expected
    assert found.cutoff == pytest.approx(cutoff, rel=1e-5)
    off = np.abs(found.density - density)
    assert off.max() <= 2
    assert (off > 0).mean() <= most_off
    assert found.centre == centre or density[found.centre] >= density.max() - 2
    if found.centre == centre:
        assert found.distance_to_centre == pytest.approx(to_centre, rel=1e-5, abs=1e-5 * cutoff)
        changed = found.delta != pytest.approx(delta, rel=1e-5, abs=1e-5 * cutoff)
        assert not changed or (np.abs(found.delta - delta) > 1e-5 * cutoff).mean() <= most_off


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("normalise", [True, False])
def test_large_categories_keep_to_the_precision_that_is_promised(metric, normalise, monkeypatch):
    monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = gathered()
    mean = features.mean(axis=0, dtype=np.float64) if normalise else None
    expected = naive_peaks(distances_in_float64(features, mean, metric))
    keeps_its_promises(density_peaks(features, mean=mean, metric=metric), expected)


@pytest.mark.parametrize("way", WAYS)
def test_large_categories_keep_to_it_in_every_way(way, monkeypatch):
    go(way, monkeypatch)
    monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = gathered(400)
    keeps_its_promises(density_peaks(features), naive_peaks(distances_in_float64(features)))


def test_features_far_from_the_origin_keep_to_it(monkeypatch):
    monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = gathered() + 1e3
    expected = naive_peaks(distances_in_float64(features - 1e3))
    keeps_its_promises(density_peaks(features.astype(np.float64)), expected)
    rounded = features.astype(np.float32)
    keeps_its_promises(density_peaks(rounded), naive_peaks(distances_in_float64(rounded.astype(np.float64) - 1e3)))


def test_one_image():
    found = density_peaks(np.array([[3.0, 4.0]]))
    same_in_all(found, (np.zeros(1), np.zeros(1), np.zeros(1), 0, 0.0))


def test_all_images_equal():
    found = density_peaks(np.full((5, 3), 0.1), mean=np.full(3, 0.1))
    same_in_all(found, (np.zeros(5), np.zeros(5), np.zeros(5), 0, 0.0))
    assert density_peaks(np.full((5, 3), 0.1), kernel="gaussian").density.tolist() == [4.0] * 5


def test_a_cutoff_of_zero_becomes_the_smallest_positive_distance():
    features = np.array([[0.0]] * 9 + [[3.0], [5.0]])
    found = density_peaks(features)
    assert found.cutoff == 4.0
    assert found.density.tolist() == [8.0] * 9 + [0.0, 0.0]


def test_the_cutoff_is_an_element_with_the_diagonal_counted():
    # Nine distances, ascending: 0 0 0 1 1 4 4 9 9; place ⌊9·60/100⌋ = 5.
    features = np.array([[0.0], [1.0], [3.0]])
    assert density_peaks(features).cutoff == 4.0
    assert density_peaks(features, cutoff_percent=100).cutoff == 9.0
    assert density_peaks(features, cutoff_percent=50).cutoff == 1.0


def test_equally_dense_images_the_nearest_to_all_is_the_centre_then_the_first():
    assert density_peaks(np.array([[2.0], [0.0], [1.0]]), cutoff_percent=100).centre == 2
    assert density_peaks(np.array([[1.0], [0.0], [1.0], [0.0]])).centre == 0


def test_a_zero_vector_is_orthogonal_to_everything_and_equal_to_its_like():
    features = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [1.0, 0.2]])
    centred = density_peaks(features, mean=np.zeros(2))
    assert centred.distance_to_centre[:2].tolist() == [2.0, 2.0]
    assert density_peaks(features, metric="cosine").distance_to_centre[:2].tolist() == [1.0, 1.0]
    zeros = density_peaks(features[[0, 1, 0, 1, 2]], mean=np.zeros(2))
    assert zeros.distance_to_centre.tolist() == [0.0, 0.0, 0.0, 0.0, 2.0]


def test_a_row_at_the_mean_but_for_rounding_is_a_zero_vector():
    features = np.array([[0.1], [0.2], [0.3], [0.3], [0.3]], np.float32)
    mean = np.array([np.float64(np.float32(0.2)) + 1e-9])
    assert density_peaks(features, mean=mean).distance_to_centre[1] == 2.0
    at_mean = np.array([[0.2 - 1e-9], [0.2 + 1e-9], [0.2], [0.9]])
    assert density_peaks(at_mean, mean=np.array([0.2])).distance_to_centre.tolist() == [0.0, 0.0, 0.0, 2.0]


def test_nearly_equal_rows_are_at_distance_zero():
    # By their lengths as seen from their middle: what all rows have in common is no reason to take them for the same.
    features = np.array([[1000.0, 5.0], [1000.0005, 5.0], [1000.0, -5.0]])
    assert density_peaks(features).distance_to_centre.tolist() == [0.0, 0.0, 100.0]
    features = np.array([[1000.0, 0.0], [1000.0, 0.5], [1000.0, 9.0]])
    assert density_peaks(features).distance_to_centre.tolist() == [0.25, 0.0, 8.5**2]


def test_cosine_is_half_of_the_normalised_squared_distance():
    features = np.random.default_rng(3).normal(size=(40, 5))
    cosine = density_peaks(features, mean=np.zeros(5), metric="cosine")
    squared = density_peaks(features, mean=np.zeros(5))
    assert (2 * cosine.distance_to_centre).tolist() == squared.distance_to_centre.tolist()
    assert cosine.density.tolist() == squared.density.tolist()


@pytest.mark.parametrize("scale", [2.0**-90, 2.0**90])
def test_very_small_and_very_large_features_keep_their_order(scale):
    features = np.random.default_rng(4).integers(0, 9, (30, 3)).astype(np.float64)
    plain, scaled = density_peaks(features), density_peaks(features * scale)
    assert scaled.density.tolist() == plain.density.tolist()
    assert scaled.distance_to_centre.tolist() == (plain.distance_to_centre * scale**2).tolist()
    assert scaled.cutoff == plain.cutoff * scale**2


def test_wrong_settings_and_features_are_refused():
    features = np.eye(3)
    with pytest.raises(ValueError, match="metric must be one of sqeuclidean, cosine, not 'l1'"):
        density_peaks(features, metric="l1")
    with pytest.raises(ValueError, match="kernel must be one of cutoff, gaussian, not 'box'"):
        density_peaks(features, kernel="box")
    with pytest.raises(ValueError, match=r"cutoff_percent must lie in 0 … 100, not 101"):
        density_peaks(features, cutoff_percent=101)
    with pytest.raises(ValueError, match=r"at least one row and one column, not the shape \(0, 3\)"):
        density_peaks(features[:0])


@pytest.mark.parametrize("exact_products", [True, False])
@pytest.mark.parametrize("far", [1e3, 1e4, 1e5])
def test_one_far_outlier_leaves_the_others_what_they_are(far, exact_products, monkeypatch):
    if not exact_products:
        monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = np.random.default_rng(8).normal(size=(300, 20)) + 7
    without = density_peaks(features[1:])
    features[0, 0] = far
    found = density_peaks(features)
    assert found.cutoff == pytest.approx(without.cutoff, rel=0.02)
    assert len(np.unique(found.distance_to_centre)) == 300
    expected = naive_peaks(distances_in_float64(features))
    assert np.abs(found.density - expected[0]).max() <= (0 if exact_products else 3)


def test_every_image_twice_is_in_the_same_order():
    features = gathered(200)
    once, twice = density_peaks(features), density_peaks(np.concatenate([features, features]))
    assert twice.centre == once.centre
    order = np.argsort(once.distance_to_centre, kind="stable")
    assert np.argsort(twice.distance_to_centre[:200], kind="stable").tolist() == order.tolist()
    assert twice.distance_to_centre[200:].tolist() == twice.distance_to_centre[:200].tolist()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_of_few_columns_small_distances_are_exact_too(d, monkeypatch):
    monkeypatch.setattr(rows_module, "_EXACT", 0)
    features = np.random.default_rng(9).normal(size=(500, d))
    expected = naive_peaks(distances_in_float64(features))
    # A millionth of the squared lengths counts as 0.
    assert density_peaks(features).delta == pytest.approx(expected[1], rel=1e-5, abs=2e-5)


def test_images_that_are_all_nearly_equal_are_all_neighbours_by_the_gaussian_kernel():
    features = np.c_[1e3 + np.arange(6) * 1e-4, np.full(6, 1e3)]
    assert density_peaks(features, metric="cosine", kernel="gaussian").density.tolist() == [5.0] * 6


def test_features_too_large_for_their_squares_are_refused():
    features = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match="features are too large for squared distances: divide them"):
        density_peaks(features * 2.0**501)
    with pytest.raises(ValueError, match="features are too small for squared distances: multiply them"):
        density_peaks(features * 2.0**-560)
    huge = density_peaks(features * 2.0**520, mean=(features * 2.0**520).mean(axis=0))
    assert huge.density.tolist() == density_peaks(features, mean=features.mean(axis=0)).density.tolist()


def test_fits_that_overlap_leave_products_their_threads():
    before = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
    features = gathered(3000)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(density_peaks, [features[: 3000 - 300 * k] for k in range(6)]))
    assert [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"] == before


@pytest.mark.slow
def test_a_large_category_takes_the_memory_of_half_a_matrix():
    n = 8_000
    features = np.random.default_rng(6).normal(size=(n, 16)).astype(np.float32)
    tracemalloc.start()
    try:
        density_peaks(features, mean=features.mean(axis=0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * 2 * n * n
