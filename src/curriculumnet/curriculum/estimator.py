"""The density design with scikit-learn's manners."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from curriculumnet.curriculum.methods import EXACT_UP_TO, LANDMARKS, METHODS, Options, counted, cut
from curriculumnet.curriculum.subsets import choose_n_subsets, rank_cleanliness
from curriculumnet.errors import UsageError


class CurriculumClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Order the samples of each category from clean to doubtful and cut them into subsets.

    In each category the sample with the densest neighbourhood is the centre; samples near it are clean, those far
    from it doubtful (S. Guo et al., "CurriculumNet", ECCV 2018, section 3.2). Time grows with the square of the
    largest category, memory by 2·n² bytes up to a gigabyte, and both with n above `exact_up_to`.

    Parameters
    ----------
    n_subsets : int or "auto", default=3
        How many subsets, 1 … 127; "auto" chooses 2 … 5, the same for all categories, by how much tighter the subsets
        are than those of evenly spread numbers (`subsets.choose_n_subsets`, after Marriott 1971).
    by : {"distance", "density"}, default="distance"
        What the subsets are cut from: the distance to the centre, or the density.
    cutoff_percent : float, default=60
        k in 0 … 100: samples are neighbours when nearer than k percent of all distances in the category.
    metric : {"sqeuclidean", "cosine"}, default="sqeuclidean"
        How far two samples are apart.
    normalise : bool, default=True
        Subtract the mean of all of X and make rows unit length first.
    kernel : {"cutoff", "gaussian"}, default="cutoff"
        How neighbours are counted: those within the cut-off, or all by exp(-distance / cut-off).
    exact_up_to : int, default=50000
        Samples of a category up to which densities are exact; those of larger ones are estimated from landmarks.
    landmarks : int, default=8192
        How many samples such an estimate is made from.
    random_state : int, RandomState instance or None, default=None
        What landmarks are drawn from. Nothing else is drawn at random.
    device : str, default="cpu"
        Where distances are computed: ``cpu``, or a GPU, ``cuda`` or ``cuda:N``.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n_samples,)
        The subset of each sample; 0 is the cleanest.
    cleanliness_ : ndarray of float64, shape (n_samples,)
        Rank within the category in [0, 1], higher is cleaner.
    density_ : ndarray of float64, shape (n_samples,)
        ρ: how many samples of the category are nearer than the cut-off; in categories above `exact_up_to` an estimate.
    delta_ : ndarray of float64, shape (n_samples,)
        δ: distance to the nearest denser sample of the category; to the farthest where none is denser. In categories
        above `exact_up_to` to the nearest denser landmark, or to the centre.
    distance_to_centre_ : ndarray of float64, shape (n_samples,)
        Distance to the category's centre.
    classes_ : ndarray, shape (n_categories,)
        The categories in ascending order; ``[0]`` without `y`.
    centre_indices_ : ndarray of int64, shape (n_categories,)
        Row of each category's centre, in the order of `classes_`.
    cutoffs_ : ndarray of float64, shape (n_categories,)
        d_c of each category, in the order of `classes_`.
    density_errors_ : ndarray of float64, shape (n_categories,)
        Largest standard error of density / n of each category, in the order of `classes_`; 0 where densities are exact.
    n_subsets_ : int
        How many subsets each category was cut into, where it has as many different values.
    n_features_in_ : int
        Columns of X.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [0.1], [0.2], [3.0], [9.0]])
    >>> CurriculumClustering(normalise=False).fit(X).labels_
    array([0, 0, 0, 1, 2])
    """

    def __init__(
        self,
        n_subsets: int | str = 3,
        by: str = "distance",
        cutoff_percent: float = 60,
        metric: str = "sqeuclidean",
        normalise: bool = True,
        kernel: str = "cutoff",
        exact_up_to: int = EXACT_UP_TO,
        landmarks: int = LANDMARKS,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.n_subsets = n_subsets
        self.by = by
        self.cutoff_percent = cutoff_percent
        self.metric = metric
        self.normalise = normalise
        self.kernel = kernel
        self.exact_up_to = exact_up_to
        self.landmarks = landmarks
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> CurriculumClustering:
        """Order the samples of each category.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            One finite row per sample.
        y : array-like, shape (n_samples,), optional
            The category of each sample, right or wrong; without it all samples are of one.

        Returns
        -------
        CurriculumClustering
            The estimator itself.

        Raises
        ------
        ValueError
            X holds NaN or infinity, its length is not that of y, or a parameter is out of its range; there is no such
            device.
        MemoryError
            The GPU's memory is full.
        """
        if isinstance(self.n_subsets, (str, bool)) and self.n_subsets != "auto":
            raise ValueError(f"n_subsets must be a whole number in 1 … 127 or 'auto', not {self.n_subsets!r}")
        try:
            options = Options(
                by=self.by,
                cutoff_percent=self.cutoff_percent,
                metric=self.metric,
                kernel=self.kernel,
                n_subsets=cast(int, 3 if self.n_subsets == "auto" else self.n_subsets),
                seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
                exact_up_to=self.exact_up_to,
                landmarks=self.landmarks,
                device=self.device,
            )
        except UsageError as error:
            raise ValueError(str(error)) from error
        floats = [np.float64, np.float32]
        if y is None:
            features: NDArray[Any] = validate_data(self, X, dtype=floats)
            y = np.zeros(len(features), np.int64)
        else:
            features, y = validate_data(self, X, y, dtype=floats)
        self.classes_, category = np.unique(np.asarray(y), return_inverse=True)
        mean = features.mean(axis=0, dtype=np.float64) if self.normalise else None
        self._fit_categories(features, category, mean, options)
        return self

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.int64]:
        """Order the samples of each category and return their subsets; parameters as in `fit`."""
        labels: NDArray[np.int64] = self.fit(X, y).labels_
        return labels

    def _fit_categories(
        self, X: NDArray[Any], category: NDArray[np.intp], mean: NDArray[np.float64] | None, options: Options
    ) -> None:
        self.labels_ = np.zeros(len(X), np.int64)
        self.cleanliness_ = np.zeros(len(X))
        self.density_ = np.zeros(len(X))
        self.delta_ = np.zeros(len(X))
        self.distance_to_centre_ = np.zeros(len(X))
        self.centre_indices_ = np.zeros(len(self.classes_), np.int64)
        self.cutoffs_ = np.zeros(len(self.classes_))
        self.density_errors_ = np.zeros(len(self.classes_))
        orderings = []
        for place in range(len(self.classes_)):
            rows = np.flatnonzero(category == place)
            found = METHODS["density"].order(X[rows], mean, options, None)
            for name, values in found.columns.items():
                getattr(self, f"{name}_")[rows] = values
            self.cleanliness_[rows] = rank_cleanliness(found.doubt)
            self.centre_indices_[place] = rows[found.centre]
            self.cutoffs_[place] = found.cutoff
            self.density_errors_[place] = found.density_error or 0.0
            orderings.append((rows, found))
        auto = self.n_subsets == "auto"
        self.n_subsets_ = choose_n_subsets(counted(found) for _, found in orderings) if auto else options.n_subsets
        for rows, found in orderings:
            self.labels_[rows] = cut(found, self.n_subsets_)

    @property
    def output_labels(self) -> NDArray[np.int64]:
        """The same as `labels_`: its name in the code that the authors released."""
        check_is_fitted(self)
        labels: NDArray[np.int64] = self.labels_
        return labels
