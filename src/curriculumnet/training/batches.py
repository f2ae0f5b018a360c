"""Which images make up each batch, as a function of nothing but the seed and the step.

The composition is that of Guo et al. 2018, section 3.3: the clean subset has half of the places of a batch and shares
them equally among the categories; the noisier subsets share the other half and are gone through in a random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from curriculumnet.errors import InputError, UsageError
from curriculumnet.training.recipes import find
from curriculumnet.training.settings import check_choices, check_ranges

Balance = Literal["clean", "all", "none", "sqrt"]
Places = Literal["half", "equal", "size"]

_ROUNDS = 8
"""Rounds of the Feistel network; with four, permutations of a handful of images are visibly uneven."""


@dataclass(frozen=True)
class Pool:
    """Images that share places of a batch.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
        The images, sorted by category and then by number if the pool is balanced.
    starts : ndarray of int64, shape (C + 1,), or None
        Where each category's images begin in `ids`, for the categories that have any; None for a pool that is gone
        through in a seeded order.
    odds : ndarray of float64, shape (C,), or None
        Up to which number below 1 each of these categories is drawn; None where all have an equal share of the places.
    """

    ids: np.ndarray
    starts: np.ndarray | None = None
    odds: np.ndarray | None = None

    @classmethod
    def balanced(cls, ids: np.ndarray, labels: np.ndarray, *, by_root: bool = False) -> Pool:
        """Return a pool whose places are shared among the categories.

        Parameters
        ----------
        ids : ndarray of int64, shape (n,)
            Below 2³².
        labels : ndarray of int64, shape (n,)
            The category's index of each.
        by_root : bool
            A category has places in proportion to the root of its size (Mahajan et al. 2018), and not as many as any
            other.
        """
        # Category and image in one number each: sorted in place, in a fraction of the time and memory that an order to
        # sort by would take.
        ordered = labels.astype(np.int64)
        ordered <<= 32
        ordered |= ids
        ordered.sort()
        ordered &= 2**32 - 1
        sizes = np.bincount(labels)
        sizes = sizes[sizes > 0]
        starts = np.append(0, sizes.cumsum())
        if not by_root or not len(ids):
            return cls(ordered, starts)
        odds = np.sqrt(sizes).cumsum()
        return cls(ordered, starts, odds / odds[-1])

    def draw(self, places: int, seed: int, step: int, key: int) -> np.ndarray:
        """Return the images on this pool's places in one batch, int64 (places,).

        Parameters
        ----------
        places : int
            How many.
        seed, step : int
            The run's seed, and the number of the batch within its stage.
        key : int
            Tells pools and stages apart.
        """
        if self.starts is None:
            return self.ids[_walk(np.arange(step * places, (step + 1) * places), len(self.ids), seed, key)]
        rng = np.random.default_rng((seed, key, step))
        categories = len(self.starts) - 1
        if self.odds is not None:
            chosen = self.odds.searchsorted(rng.random(places), side="right")
        else:
            chosen = rng.choice(categories, places % categories, replace=False, shuffle=False)
            # Where there are more categories than places, not one step for each of them.
            if places >= categories:
                everyone = np.repeat(np.arange(categories), places // categories)
                chosen = np.concatenate([everyone, chosen])
        return self.ids[rng.integers(self.starts[chosen], self.starts[chosen + 1])]


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes
    ----------
    subsets : tuple of int
        The subsets that take part.
    places : tuple of int
        How many places of a batch each of them has.
    weights : tuple of float
        The weight r of each of them in the loss.
    first, last : int
        The stage's steps are first … last - 1.
    """

    subsets: tuple[int, ...]
    places: tuple[int, ...]
    weights: tuple[float, ...]
    first: int
    last: int

    def place_weights(self) -> np.ndarray:
        """Return the weight of each place of a batch, float32 (B,)."""
        return np.repeat(np.asarray(self.weights, dtype=np.float32), self.places)

    def divisor(self, weight_norm: bool) -> float:
        """Return what a batch's loss is divided by: B or, normed, Σ r over its places."""
        return float(self.place_weights().sum()) if weight_norm else float(sum(self.places))

    def place_subsets(self) -> np.ndarray:
        """Return the subset to which each place of a batch belongs, int64 (B,)."""
        return np.repeat(np.asarray(self.subsets, dtype=np.int64), self.places)


@dataclass(frozen=True)
class CurriculumBatches:
    """All batches of a training, by number; picklable, and computed in O(B) without the ones before.

    They are a ``batch_sampler`` of torch's DataLoader as they are.

    Attributes
    ----------
    pools : tuple of Pool
        One per subset, cleanest first.
    stages : tuple of Stage
        In their order.
    seed : int
        With the step, decides a batch.
    """

    pools: tuple[Pool, ...]
    stages: tuple[Stage, ...]
    seed: int

    @classmethod
    def of(
        cls,
        subsets: ArrayLike,
        labels: ArrayLike,
        *,
        recipe: str = "model-d",
        epochs: float = 30,
        batch_size: int = 256,
        n_subsets: int | None = None,
        balance: Balance | None = None,
        places: Places = "half",
        noisy_share: float = 1.0,
        subset_weights: tuple[float, ...] = (),
        stage_shares: tuple[float, ...] = (),
        stage_steps: tuple[int, ...] = (),
        stage_schedule: Literal["one", "restart"] = "one",
        seed: int = 0,
    ) -> CurriculumBatches:
        """Return the batches of a training of one's own, whose items are places in the two arrays.

        It takes arrays and no work folder, so that any data set and any design will do. With those of a work folder,
        indexed by image id, and the same settings the batches are the ones that `train` sees.

        Parameters
        ----------
        subsets : array-like of int, shape (n,)
            The subset of each image, 0 the cleanest; -1 for one that takes no part.
        labels : array-like of int, shape (n,)
            The index of each image's category; whatever one likes where the image takes no part.
        recipe : str
            model-a, model-a-balanced, model-b, model-c or model-d.
        epochs : float
            Passes over the images that have a subset, whichever of these the recipe uses.
        batch_size : int
            Images per step, B.
        n_subsets : int, optional
            How many subsets the curriculum has; as many as there are in `subsets` unless given.
        balance, places, noisy_share, subset_weights, stage_shares, stage_steps, stage_schedule
            As `train` has them.
        seed : int
            The same seed gives the same batches.

        Returns
        -------
        CurriculumBatches

        Raises
        ------
        InputError
            The arrays do not fit, or the clean subset is empty.
        UnknownNameError
            No such recipe or choice.
        UsageError
            Settings that cannot be meant.

        Examples
        --------
        >>> batches = CurriculumBatches.of([0, 0, 1, 2, 1, 0], [0, 1, 0, 1, 1, 0], epochs=2, batch_size=4)
        >>> len(batches), len(batches[2])
        (3, 4)
        """
        # plan.py makes objects of this module.
        from curriculumnet.training.plan import plan

        settings = {
            "epochs": epochs,
            "batch_size": batch_size,
            "balance": balance,
            "places": places,
            "noisy_share": noisy_share,
            "subset_weights": tuple(subset_weights),
            "stage_shares": tuple(stage_shares),
            "stage_steps": tuple(stage_steps),
            "stage_schedule": stage_schedule,
            "seed": seed,
        }
        how = find(recipe)
        if how.course != "laid down":
            raise UsageError(f"The recipe {recipe} decides as it goes, by what is learnt: take `train`, or another.")
        check_choices(cls.of, {"balance": balance, "places": places, "stage_schedule": stage_schedule})
        check_ranges(settings)
        member, category = np.asarray(subsets), np.asarray(labels)
        if member.ndim != 1 or member.shape != category.shape:
            raise InputError(f"The subsets are of shape {member.shape} and the labels of {category.shape}: one each.")
        if member.dtype.kind not in "iu" or category.dtype.kind not in "iu":
            raise InputError("Subsets and labels are numbers of subsets and categories, integers from 0 on.")
        ids = np.flatnonzero(member >= 0)
        if not len(ids):
            raise InputError("No image takes part: all subsets are below 0.")
        if ((category < 0) & (member >= 0)).any():
            raise InputError("An image that takes part has a label below 0: give it a category, or the subset -1.")
        there = int(member.max()) + 1
        if n_subsets is not None and n_subsets < there:
            raise InputError(f"Images are of subset {there - 1}, but there are to be {n_subsets} subsets, from 0 on.")
        found = member[ids] if how.uses_curriculum else None
        return plan(how, ids, found, n_subsets or there, category, settings)

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.stages[-1].last

    def __iter__(self) -> Iterator[np.ndarray]:
        """Go through all batches in their order."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> np.ndarray:
        """Return the image ids of a batch, int64 (B,), subset after subset; raises IndexError."""
        index, stage = self.stage(number)
        drawn = [
            self.pools[subset].draw(places, self.seed, number - stage.first, key=index * 64 + subset)
            for subset, places in zip(stage.subsets, stage.places, strict=True)
            if places
        ]
        return np.concatenate(drawn)

    def stage(self, number: int) -> tuple[int, Stage]:
        """Return the index and the stage to which a batch belongs; raises IndexError."""
        if not 0 <= number < len(self):
            raise IndexError(f"There are {len(self):,} batches, numbered from 0, and none of number {number:,}.")
        index = next(i for i, stage in enumerate(self.stages) if number < stage.last)
        return index, self.stages[index]


def share_places(batch_size: int, sizes: tuple[int, ...], places: Places) -> tuple[int, ...]:
    """Share the places of a batch among subsets.

    Parameters
    ----------
    batch_size : int
        B.
    sizes : tuple of int
        Images in each subset that takes part, cleanest first. An empty one leaves its places to the next cleaner one
        that has images.
    places : {"half", "equal", "size"}
        Half to the clean one and the other half shared equally; all equally; or in proportion to the sizes.

    Returns
    -------
    tuple of int
        They add up to B; places that cannot be shared evenly go to the cleaner subsets.

    Raises
    ------
    InputError
        The clean subset is empty.
    """
    if sizes[0] == 0:
        raise InputError("The clean subset is empty: there is nothing to begin with; design another curriculum.")
    if places == "size":
        shares = np.asarray(sizes, dtype=float)
    elif places == "equal" or len(sizes) == 1:
        shares = np.ones(len(sizes))
    else:
        shares = np.asarray([len(sizes) - 1.0] + [1.0] * (len(sizes) - 1))
    whole = np.floor(batch_size * shares / shares.sum() + 1e-9).astype(int)
    odd = batch_size - int(whole.sum())
    whole[np.flatnonzero(shares)[:odd]] += 1
    given = [0] * len(sizes)
    receiver = 0
    for index, count in enumerate(whole.tolist()):
        receiver = index if sizes[index] else receiver
        given[receiver] += count
    return tuple(given)


def _walk(positions: np.ndarray, n: int, seed: int, key: int) -> np.ndarray:
    """Return where a walk through 0 … n-1 is at each position: every index once in a pass, a new order each pass.

    The order is a bijection computed by index: a Feistel network over the next power of four, walked along its cycles
    until it is back below n (Black & Rogaway 2002). So no permutation is ever stored.
    """
    passes, index = positions // n, (positions % n).astype(np.uint64)
    bits = max(1, (int(n - 1).bit_length() + 1) // 2)
    half, mask = np.array(bits, dtype=np.uint64), np.array(2**bits - 1, dtype=np.uint64)
    round_keys = np.empty((_ROUNDS, len(positions)), dtype=np.uint64)
    for number in np.unique(passes):
        here = passes == number
        keys = np.random.SeedSequence((seed, key, int(number))).generate_state(_ROUNDS, np.uint64)
        round_keys[:, here] = keys[:, None]
    out = _feistel(index, round_keys, half, mask)
    while (outside := out >= n).any():
        out[outside] = _feistel(out[outside], round_keys[:, outside], half, mask)
    return out.astype(np.int64)


def _feistel(values: np.ndarray, round_keys: np.ndarray, half: np.ndarray, mask: np.ndarray) -> np.ndarray:
    left, right = values >> half, values & mask
    for key in round_keys:
        mixed = _mix(right ^ key)
        mixed &= mask
        mixed ^= left
        left, right = right, mixed
    return (left << half) | right


_SHIFTS = tuple(np.array(shift, dtype=np.uint64) for shift in (30, 27, 31))
_FACTORS = tuple(np.array(factor, dtype=np.uint64) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(values: np.ndarray) -> np.ndarray:
    """Mix 64-bit values in their place (the finaliser of SplitMix64, Steele et al. 2014).

    A batch is hundreds of these calls on few values, so that what counts is how long numpy takes to begin.
    """
    values ^= values >> _SHIFTS[0]
    values *= _FACTORS[0]
    values ^= values >> _SHIFTS[1]
    values *= _FACTORS[1]
    values ^= values >> _SHIFTS[2]
    return values
