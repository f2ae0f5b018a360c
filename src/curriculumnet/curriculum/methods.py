"""The methods that order a category's images from clean to doubtful, all behind one signature.

A method gives each image a number, its doubt; the subsets are cut from it and the cleanliness is its rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum import density, feature_kmeans, given_order, random_order, subsets
from curriculumnet.curriculum.features import checked
from curriculumnet.errors import UnknownNameError, UsageError

ORDERS = {
    "distance": "the distance to the category's centre",
    "density": "the density, densest first",
}
"""What the subsets are cut from."""


EXACT_UP_TO = 50_000
"""The exact way takes a minute for so many images of 1,024 features on two cores, and four times as long for twice as
many; the estimate takes ten seconds."""

LANDMARKS = 8192
"""They tell a density to half a percent of n."""


@dataclass(frozen=True)
class Options:
    """The settings of a design; every method takes all and uses those that concern it.

    Parameters
    ----------
    by : {"distance", "density"}
        What the subsets are cut from.
    cutoff_percent : float
        k in 0 … 100: the share of distances below the cut-off.
    metric : {"sqeuclidean", "cosine"}
        How far two images are apart.
    kernel : {"cutoff", "gaussian"}
        How neighbours are counted.
    n_subsets : int
        How many subsets, 1 … 127.
    seed : int
        What a method that draws draws from.
    exact_up_to : int
        Images of a category up to which densities are exact; in larger ones they are estimated from landmarks.
    landmarks : int
        How many images such an estimate is made from.
    device : str
        Where distances are computed, see `density.density_peaks`.

    Raises
    ------
    UnknownNameError, UsageError
        A setting is out of its range.
    """

    by: str = "distance"
    cutoff_percent: float = 60.0
    metric: str = "sqeuclidean"
    kernel: str = "cutoff"
    n_subsets: int = 3
    seed: int = 0
    exact_up_to: int = EXACT_UP_TO
    landmarks: int = LANDMARKS
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(vars(self))


def check(settings: Mapping[str, Any], spelled: Callable[[str], str] = str) -> None:
    """Check the settings of a design.

    Parameters
    ----------
    settings : mapping of str to object
        Values by the names that `Options` has.
    spelled : callable
        How a message writes a name, such as the flag that it is.

    Raises
    ------
    UnknownNameError, UsageError
        A setting is out of its range.
    """
    for kind, name, known in (
        ("order to cut subsets from", "by", ORDERS),
        ("metric", "metric", density.METRICS),
        ("kernel", "kernel", density.KERNELS),
    ):
        if settings[name] not in known:
            raise UnknownNameError(kind, settings[name], known)
    percent, n_subsets = settings["cutoff_percent"], settings["n_subsets"]
    if not 0 <= percent <= 100:
        raise UsageError(f"{spelled('cutoff_percent')} must lie in 0 … 100, not {percent}.")
    if not isinstance(n_subsets, Integral) or not 1 <= int(n_subsets) <= 127:
        raise UsageError(f"{spelled('n_subsets')} must be a whole number in 1 … 127, not {n_subsets}.")
    for name, least, usual in (("exact_up_to", 1, ""), ("landmarks", 2, "; some thousands are usual")):
        if settings[name] < least:
            raise UsageError(f"{spelled(name)} is {settings[name]}, but must be at least {least}{usual}.")


@dataclass(frozen=True)
class Ordering:
    """What a method says of one category's images.

    Attributes
    ----------
    doubt : ndarray of float64, shape (n,)
        Lower is cleaner; equal for images that the method cannot tell apart.
    columns : dict of str to ndarray, shape (n,)
        The method's own columns of the curriculum.
    centre : int, optional
        Row of the category's centre, where the method knows one.
    cutoff : float, optional
        d_c, where the method has one.
    density_error : float, optional
        Standard error of density / n at most, where densities are estimated.
    given : ndarray of bool, shape (n,), optional
        Images whose doubt is the lowest by definition and not by measurement, as the centre's distance to itself.
    subset : ndarray of int8, shape (n,), optional
        The subsets, where the method itself says where to cut.
    """

    doubt: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    centre: int | None = None
    cutoff: float | None = None
    density_error: float | None = None
    given: NDArray[np.bool_] | None = None
    subset: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Method:
    """A way to order a category's images.

    Attributes
    ----------
    description : str
        A line.
    order : callable
        From features, their mean, options, and the images' ranks, NaN where there is none, to an ordering. Ranks are
        None unless the method needs them.
    uses : frozenset of str
        The settings of `design` that change the order, or where it is cut.
    ranks : {"none", "source", "run"}
        Whether it orders by ranks: the source's own, or those of a training, its losses.
    on_gpu : bool
        Whether a GPU can do it.
    """

    description: str
    order: Callable[[NDArray[Any], NDArray[np.float64] | None, Options, NDArray[np.float64] | None], Ordering]
    uses: frozenset[str]
    ranks: Literal["none", "source", "run"] = "none"
    on_gpu: bool = False


_Mean = NDArray[np.float64] | None
_Ranks = NDArray[np.float64] | None


def _by_density(features: NDArray[Any], mean: _Mean, options: Options, _ranks: _Ranks) -> Ordering:
    settings: dict[str, Any] = {
        "mean": mean,
        "cutoff_percent": options.cutoff_percent,
        "metric": options.metric,
        "kernel": options.kernel,
        "device": options.device,
    }
    if len(features) > max(options.exact_up_to, options.landmarks):
        # Only here: it needs numba, which a design by another method does not.
        from curriculumnet.curriculum.landmarks import landmark_peaks

        peaks = landmark_peaks(features, landmarks=options.landmarks, seed=options.seed, **settings)
    else:
        peaks = density.density_peaks(features, **settings)
    columns = {"density": peaks.density, "delta": peaks.delta, "distance_to_centre": peaks.distance_to_centre}
    if options.by == "density":
        return Ordering(-peaks.density, columns, peaks.centre, peaks.cutoff, peaks.density_error)
    doubt = peaks.distance_to_centre
    return Ordering(doubt, columns, peaks.centre, peaks.cutoff, peaks.density_error, given=doubt == 0)


def _by_chance(features: NDArray[Any], _mean: _Mean, options: Options, _ranks: _Ranks) -> Ordering:
    return Ordering(random_order.random_order(features, options.seed))


def _by_kmeans(features: NDArray[Any], mean: _Mean, options: Options, _ranks: _Ranks) -> Ordering:
    doubt, group = feature_kmeans.feature_kmeans(
        features, mean=mean, metric=options.metric, n_clusters=options.n_subsets, seed=options.seed
    )
    return Ordering(doubt, subset=group)


def _by_given(features: NDArray[Any], _mean: _Mean, _options: Options, ranks: _Ranks) -> Ordering:
    if ranks is None:
        raise ValueError("ranks must be given to order by them")
    checked(features)
    return Ordering(given_order.given_order(ranks))


METHODS = {
    "density": Method(
        "density peaks: clean is what lies near the densest image of its category",
        _by_density,
        frozenset(
            ("n_subsets", "by", "cutoff_percent", "metric", "normalise", "kernel", "exact_up_to", "landmarks", "seed")
        ),
        on_gpu=True,
    ),
    "kmeans": Method(
        "k-means in feature space: clean is the tightest group, whatever shows in it",
        _by_kmeans,
        frozenset(("n_subsets", "metric", "normalise", "seed")),
    ),
    "given": Method(
        "the source's own order, such as a search's: clean is what it put first",
        _by_given,
        frozenset(("n_subsets",)),
        ranks="source",
    ),
    "dynamics": Method(
        "training dynamics: clean is what a network learnt soonest and best, by its mean loss",
        _by_given,
        frozenset(("n_subsets", "run")),
        ranks="run",
    ),
    "random": Method(
        "a seeded random order: the control that says what a curriculum by chance does",
        _by_chance,
        frozenset(("n_subsets", "seed")),
    ),
}
"""Every method by its name."""


@dataclass(frozen=True)
class CategoryDesign:
    """One category's images, ordered.

    Attributes
    ----------
    subset : ndarray of int8, shape (n,)
        0 is the cleanest.
    cleanliness : ndarray of float64, shape (n,)
        In [0, 1], higher is cleaner; a rank.
    ordering : Ordering
        What the method said.
    """

    subset: NDArray[np.int8]
    cleanliness: NDArray[np.float64]
    ordering: Ordering


def design_category(
    features: NDArray[Any], mean: _Mean, method: str, options: Options, ranks: _Ranks = None
) -> CategoryDesign:
    """Order one category's images by a method and cut them into subsets.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image, n at least 1.
    mean : ndarray, shape (d,), optional
        The mean of the rows of all categories: subtracted before rows are made unit length. None: as they are.
    method : str
        A name of `METHODS`.
    options : Options
        Its settings.
    ranks : ndarray of float64, shape (n,), optional
        The images' places in the source's own order, lower is better, NaN where it gives none; for a method that needs
        them.

    Returns
    -------
    CategoryDesign

    Raises
    ------
    UnknownNameError
        There is no such method.
    ValueError
        Features are not a matrix of at least one row and column, or not finite; ranks are missing.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    ordering = METHODS[method].order(features, mean, options, ranks)
    return CategoryDesign(cut(ordering, options.n_subsets), subsets.rank_cleanliness(ordering.doubt), ordering)


def counted(ordering: Ordering) -> NDArray[np.float64]:
    """Return the doubts that have a say in where an ordering is cut: those that are not given by definition."""
    return ordering.doubt if ordering.given is None else ordering.doubt[~ordering.given]


def cut(ordering: Ordering, n_subsets: int) -> NDArray[np.int8]:
    """Cut an ordering into subsets, where those of a doubt by definition have no say and are clean.

    In a category of tens of images whose neighbours are far, as with features of many dimensions, the distance 0 would
    be an outlier that k-means gives a subset of its own: the clean one would be the centre alone.
    """
    if ordering.subset is not None:
        return ordering.subset
    doubt = ordering.doubt
    if ordering.given is None or len(np.unique(doubt)) <= n_subsets:
        return subsets.split(doubt, n_subsets)
    subset = np.zeros(len(doubt), np.int8)
    subset[~ordering.given] = subsets.split(counted(ordering), n_subsets)
    return subset
