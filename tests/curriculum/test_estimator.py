"""The estimator's manners."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from curriculumnet.curriculum.density import density_peaks
from curriculumnet.curriculum.estimator import CurriculumClustering
from curriculumnet.curriculum.subsets import choose_n_subsets, rank_cleanliness, split

CANNOT_APPLY = {"check_array_api_input": "needs SCIPY_ARRAY_API set before scipy is loaded; only numpy is promised"}


def crawl(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(120, 8)) + 1
    y = rng.choice(["b", "a", "c"], 120)
    return X, y


def test_scikit_learn_finds_nothing_to_complain_of():
    results = check_estimator(CurriculumClustering(), on_skip=None)
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= set(CANNOT_APPLY)
    assert sum(r["status"] == "passed" for r in results) > 30


def test_each_category_is_designed_for_itself_from_the_mean_of_all():
    X, y = crawl()
    found = CurriculumClustering().fit(X, y)
    assert found.classes_.tolist() == ["a", "b", "c"]
    assert found.n_features_in_ == 8
    for place, category in enumerate(found.classes_):
        rows = np.flatnonzero(y == category)
        peaks = density_peaks(X[rows], mean=X.mean(axis=0))
        assert found.centre_indices_[place] == rows[peaks.centre]
        assert found.cutoffs_[place] == peaks.cutoff
        assert found.density_[rows].tolist() == peaks.density.tolist()
        assert found.delta_[rows].tolist() == peaks.delta.tolist()
        assert found.distance_to_centre_[rows].tolist() == peaks.distance_to_centre.tolist()
        others = peaks.distance_to_centre > 0
        assert found.labels_[rows[others]].tolist() == split(peaks.distance_to_centre[others], 3).tolist()
        assert found.labels_[rows[~others]].tolist() == [0]
        assert found.cleanliness_[rows].tolist() == rank_cleanliness(peaks.distance_to_centre).tolist()


def test_parameters_reach_the_design():
    X, _ = crawl()
    settings = {"cutoff_percent": 30, "metric": "cosine", "kernel": "gaussian"}
    found = CurriculumClustering(n_subsets=2, by="density", normalise=False, **settings).fit(X)
    peaks = density_peaks(X, **settings)
    assert found.density_.tolist() == peaks.density.tolist()
    assert found.labels_.tolist() == split(-peaks.density, 2).tolist()
    assert found.cleanliness_.tolist() == rank_cleanliness(-peaks.density).tolist()


def test_without_y_all_is_one_category():
    X, _ = crawl()
    found = CurriculumClustering().fit(X)
    assert found.classes_.tolist() == [0]
    assert found.centre_indices_.shape == found.cutoffs_.shape == (1,)
    assert found.distance_to_centre_[found.centre_indices_[0]] == 0


def test_fit_predict_heeds_the_categories():
    X, y = crawl()
    assert CurriculumClustering().fit_predict(X, y).tolist() == CurriculumClustering().fit(X, y).labels_.tolist()
    assert CurriculumClustering().fit_predict(X, y).tolist() != CurriculumClustering().fit(X).labels_.tolist()


def test_nothing_is_random():
    X, y = crawl()
    one, two = (CurriculumClustering(random_state=seed).fit(X, y) for seed in (0, 1))
    assert one.labels_.tobytes() == two.labels_.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad):
    X, y = crawl()
    X[5, 1] = bad
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        CurriculumClustering().fit(X, y)


def test_wrong_parameters_are_a_value_error():
    X, _ = crawl()
    with pytest.raises(ValueError, match="There is no metric 'l1': it must be one of cosine, sqeuclidean"):
        CurriculumClustering(metric="l1").fit(X)
    with pytest.raises(ValueError, match="n_subsets must be a whole number"):
        CurriculumClustering(n_subsets=2.5).fit(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CurriculumClustering().fit(X, [0, 1])


def test_it_is_cloned_and_ends_a_pipeline():
    X, y = crawl()
    assert clone(CurriculumClustering(n_subsets=4)).get_params()["n_subsets"] == 4
    assert make_pipeline(StandardScaler(), CurriculumClustering(n_subsets=2)).fit(X, y)[-1].labels_.max() == 1


def test_it_needs_neither_torchvision_nor_timm():
    code = (
        "import sys; sys.modules.update(torchvision=None, timm=None, pyarrow=None)\n"
        "import curriculumnet as cn\n"
        "print(cn.CurriculumClustering(normalise=False).fit([[0.0], [0.1], [0.2], [3.0], [9.0]]).labels_.tolist())\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[0, 0, 0, 1, 2]"), done.stderr


def test_the_number_of_subsets_can_be_left_to_the_data():
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 5):
        # Rings of four different widths around a centre: their squared distances are n groups.
        radius = np.sqrt(np.arange(1, n + 1))[rng.integers(0, n, 400)] + rng.normal(0, 0.02, 400)
        directions = rng.normal(size=(400, 6))
        X = radius[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        X[0] = 0
        y = rng.integers(0, 2, 400)
        X[1] = 0.001
        y[:2] = [0, 1]
        found = CurriculumClustering("auto", normalise=False, cutoff_percent=40).fit(X, y)
        assert found.n_subsets_ == found.labels_.max() + 1
        values = [found.distance_to_centre_[(y == k) & (found.distance_to_centre_ > 0)] for k in (0, 1)]
        assert found.n_subsets_ == choose_n_subsets(values)


def test_labels_have_the_name_that_the_authors_gave_them():
    X, y = crawl()
    estimator = CurriculumClustering()
    with pytest.raises(NotFittedError):
        _ = estimator.output_labels
    assert estimator.fit(X, y).output_labels is estimator.labels_


@pytest.mark.parametrize("kind", [int, str, object])
def test_labels_of_any_kind(kind):
    X, y = crawl()
    codes = np.unique(y, return_inverse=True)[1]
    given = {int: codes - 5, str: y, object: y.astype(object)}[kind]
    found = CurriculumClustering().fit(X, given)
    assert found.labels_.tolist() == CurriculumClustering().fit(X, y).labels_.tolist()
    assert found.classes_.tolist() == sorted(set(given.tolist()))
    arrow = CurriculumClustering().fit(X, pa.array(given.tolist()).to_numpy(zero_copy_only=False))
    assert arrow.labels_.tolist() == found.labels_.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
def test_features_of_any_kind(dtype):
    X, y = crawl()
    whole = np.round(4 * X).astype(dtype)
    found = CurriculumClustering().fit(whole, y)
    assert found.labels_.tolist() == CurriculumClustering().fit(whole.astype(np.float64), y).labels_.tolist()


def test_large_categories_are_estimated_from_the_random_state():
    X, y = crawl()
    one, again, other = (
        CurriculumClustering(exact_up_to=10, landmarks=12, random_state=seed).fit(X, y).density_ for seed in (0, 0, 1)
    )
    assert one.tolist() == again.tolist() != other.tolist()
