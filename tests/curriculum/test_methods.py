"""The contract that every method of the dict keeps."""

import numpy as np
import pytest

from curriculumnet.curriculum.methods import METHODS, Options, design_category
from curriculumnet.curriculum.subsets import split
from curriculumnet.errors import UnknownNameError, UsageError

every_method = pytest.mark.parametrize("method", METHODS)
every_order = pytest.mark.parametrize("by", ["distance", "density"])


def category_with_outliers(seed, n_right=90, n_wrong=30, d=16):
    """Rows around one point, and rows that are anywhere; which are right."""
    rng = np.random.default_rng(seed)
    right = rng.normal(size=d) * 2 + rng.normal(size=(n_right, d))
    wrong = rng.normal(size=(n_wrong, d)) * 4
    order = rng.permutation(n_right + n_wrong)
    return np.concatenate([right, wrong])[order].astype(np.float32), (np.arange(len(order)) < n_right)[order]


def designed(features, mean, method, options):
    """Design a category; where the source's own order is asked for, it is that of the rows' lengths."""
    ranks = np.linalg.norm(features, axis=1) if method in METHODS and METHODS[method].ranks != "none" else None
    return design_category(features, mean, method, options, ranks)


@every_method
def test_it_has_a_line_of_description(method):
    assert 20 < len(METHODS[method].description) < 100
    assert "\n" not in METHODS[method].description


@every_method
@every_order
def test_length_type_and_range(method, by):
    features, _ = category_with_outliers(0)
    found = designed(features, features.mean(axis=0), method, Options(by=by))
    assert found.subset.dtype == np.int8
    assert found.subset.shape == found.cleanliness.shape == found.ordering.doubt.shape == (len(features),)
    assert set(found.subset.tolist()) == {0, 1, 2}
    assert 0 <= found.cleanliness.min() < found.cleanliness.max() <= 1
    assert np.isfinite(found.ordering.doubt).all()
    for values in found.ordering.columns.values():
        assert values.shape == (len(features),)


@every_method
@every_order
def test_direction_the_less_doubt_the_cleaner(method, by):
    features, _ = category_with_outliers(1)
    found = designed(features, features.mean(axis=0), method, Options(by=by))
    order = np.argsort(found.ordering.doubt)
    assert (np.diff(found.subset[order]) >= 0).all()
    assert (np.diff(found.cleanliness[order]) <= 0).all()
    if found.ordering.centre is not None and by == "distance":
        assert found.subset[found.ordering.centre] == 0
        assert found.cleanliness[found.ordering.centre] == found.cleanliness.max()


@every_method
def test_the_same_seed_gives_the_same_bytes(method):
    features, _ = category_with_outliers(2)
    one, two = (designed(features, None, method, Options(seed=7)) for _ in range(2))
    assert one.ordering.doubt.tobytes() == two.ordering.doubt.tobytes()
    assert one.subset.tobytes() == two.subset.tobytes()


@every_method
def test_the_order_of_the_rows_is_irrelevant(method):
    features, _ = category_with_outliers(3)
    order = np.random.default_rng(0).permutation(len(features))
    mean = features.mean(axis=0)
    straight = designed(features, mean, method, Options())
    turned = designed(features[order], mean, method, Options())
    assert turned.ordering.doubt.tolist() == straight.ordering.doubt[order].tolist()
    assert turned.subset.tolist() == straight.subset[order].tolist()
    assert turned.cleanliness.tolist() == straight.cleanliness[order].tolist()


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("n_right", [12, 60, 400])
def test_the_centre_and_its_copies_are_clean_and_have_no_say_where_the_others_are_cut(n_right, copies):
    # Of many dimensions, where all images lie about equally far from the centre, which is at no distance from itself.
    features, right = category_with_outliers(4, n_right, n_right // 3, d=1000)
    mean = features.mean(axis=0) * 0
    centre = designed(features, mean, "density", Options()).ordering.centre
    features = np.concatenate([features, np.repeat(features[[centre]], copies - 1, axis=0)])
    right = np.concatenate([right, np.ones(copies - 1, bool)])
    found = designed(features, mean, "density", Options())
    same = found.ordering.doubt == 0
    assert same.sum() == copies
    assert (found.subset[same] == 0).all()
    assert found.subset[~same].tolist() == split(found.ordering.doubt[~same]).tolist()
    assert (found.subset == 0).sum() > copies + 0.1 * n_right
    assert right[found.subset == 0].mean() > 0.9


def test_where_distances_are_few_the_centre_is_a_subset_as_any_value_is():
    found = designed(np.array([[0.0], [1.0], [-1.0], [2.5]]), None, "density", Options())
    assert found.ordering.doubt.tolist() == [0, 1, 1, 6.25]
    assert found.subset.tolist() == [0, 1, 1, 2]


@every_method
@every_order
def test_one_image_is_clean(method, by):
    found = designed(np.array([[1.0, 2.0]]), None, method, Options(by=by))
    assert found.subset.tolist() == [0]
    assert found.cleanliness.tolist() == [1.0]


@every_method
@every_order
def test_equal_images_are_all_clean(method, by):
    found = designed(np.full((6, 2), 0.3), np.full(2, 0.1), method, Options(by=by))
    assert found.subset.tolist() == [0] * 6
    assert found.cleanliness.tolist() == [1.0] * 6


@every_method
def test_ties_share_everything(method):
    features, _ = category_with_outliers(4)
    found = designed(np.concatenate([features, features]), None, method, Options())
    n = len(features)
    assert found.subset[:n].tolist() == found.subset[n:].tolist()
    assert found.cleanliness[:n].tolist() == found.cleanliness[n:].tolist()


@every_method
def test_negative_zero_is_zero(method):
    found = designed(np.array([[0.0, 1.0], [-0.0, 1.0], [4.0, 4.0]]), None, method, Options())
    assert found.ordering.doubt[0] == found.ordering.doubt[1]


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(method, bad):
    features, _ = category_with_outliers(5)
    features[3, 2] = bad
    with pytest.raises(ValueError, match="features must be finite"):
        designed(features, None, method, Options())


@every_method
def test_no_features_are_refused(method):
    with pytest.raises(ValueError, match="at least one row and one column"):
        designed(np.zeros((0, 3)), None, method, Options())


def share_right_in_the_clean_subset(method, seed):
    features, right = category_with_outliers(seed)
    return right[designed(features, None, method, Options(seed=seed)).subset == 0].mean()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_it_beats_random_where_the_outliers_are_known(method):
    for seed in range(5):
        assert share_right_in_the_clean_subset(method, seed) > share_right_in_the_clean_subset("random", seed) + 0.1


def test_images_without_a_rank_come_behind_all_others_and_are_equal():
    ranks = np.array([3.0, np.nan, 1.0, 2.0, np.nan, 900.0])
    found = design_category(np.eye(6), None, "given", Options(), ranks)
    doubt = found.ordering.doubt
    assert doubt[[0, 2, 3, 5]].tolist() == [3.0, 1.0, 2.0, 900.0]
    assert doubt[1] == doubt[4] > 900
    assert found.subset.tolist() == [1, 2, 0, 0, 2, 2]
    assert found.cleanliness.tolist() == pytest.approx([7 / 12, 2 / 12, 11 / 12, 9 / 12, 2 / 12, 5 / 12])
    assert found.ordering.centre is None


def test_without_any_rank_all_images_are_equal_and_an_order_by_ranks_needs_them():
    assert design_category(np.eye(4), None, "given", Options(), np.full(4, np.nan)).cleanliness.tolist() == [1] * 4
    with pytest.raises(ValueError, match="ranks must be given"):
        design_category(np.eye(4), None, "given", Options())


def test_random_is_no_better_than_chance_and_follows_its_seed():
    shares = [share_right_in_the_clean_subset("random", seed) for seed in range(40)]
    assert np.mean(shares) == pytest.approx(0.75, abs=0.04)
    features, _ = category_with_outliers(6)
    one, two = (designed(features, None, "random", Options(seed=seed)).subset for seed in (0, 1))
    assert (one != two).any()


def test_unknown_names_and_wrong_numbers_are_refused():
    with pytest.raises(
        UnknownNameError, match="There is no method 'densty': it must be one of density, dynamics, given, kmeans"
    ):
        designed(np.eye(2), None, "densty", Options())
    with pytest.raises(UnknownNameError, match="There is no metric 'l2': it must be one of cosine, sqeuclidean"):
        Options(metric="l2")
    with pytest.raises(UnknownNameError, match="There is no kernel 'box'"):
        Options(kernel="box")
    with pytest.raises(UnknownNameError, match="it must be one of density, distance"):
        Options(by="size")
    with pytest.raises(UsageError, match=r"cutoff_percent must lie in 0 … 100, not -1"):
        Options(cutoff_percent=-1)
    with pytest.raises(UsageError, match="n_subsets must be a whole number in 1 … 127, not 0"):
        Options(n_subsets=0)
