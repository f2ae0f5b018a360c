"""The same distances and counts as those of `strips` and `blocks`, on a GPU by torch.

A pass over a strip is a few operations on all of its distances at once, each of which reads them from the GPU's memory;
products are float32 in full, never in the shorter formats that GPUs have for them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curriculumnet.curriculum.cutoff import LOW_BITS, LOWER_BINS, UPPER_BINS, Pairs
from curriculumnet.curriculum.rows import SAME, Rows

_ELEMENTS = 2**28
"""Distances of a strip or block at most: 1 GB."""

_AT_ONCE = 64
"""Bytes for each distance of a strip or block, with what an operation on it takes in between, several times over."""

_KEPT_SHARE = 0.5
"""Share of the GPU's free memory that distances may take, 2·n² bytes; those of more rows are computed in each pass."""

_UNTOLD = 2**32
"""Bytes that are reckoned with where the device does not tell how much it has."""

_SAMPLE = 2**22
"""Pairs that tell where the cut-off lies: in a thousandth of all distances."""

_SAMPLED_ELEMENTS = 2**27
"""Features of sampled pairs at a time."""

_ERRORS = 8
"""Standard errors on both sides of where it seems to lie."""

_MOST_BINS = 2**22
"""Different numbers there, at most, for one histogram."""

_one_at_a_time = threading.Lock()


@contextmanager
def on_gpu(device: str) -> Iterator[torch.device]:
    """Have products in full float32, and tell what is wrong with the GPU in Python's own errors.

    The precision of products is the whole process's, so that the threads of several categories take turns.

    Parameters
    ----------
    device : str
        ``cuda`` or ``cuda:N``.

    Raises
    ------
    ValueError
        There is no such device.
    MemoryError
        Its memory is full.
    """
    found = _gpu(device)
    with _one_at_a_time:
        products = torch.backends.cuda.matmul
        # torch's earlier name is refused where its later one was set, and is the only one before torch 2.9.
        setting, whole = ("fp32_precision", "ieee") if hasattr(products, "fp32_precision") else ("allow_tf32", False)
        before = getattr(products, setting)
        setattr(products, setting, whole)
        try:
            yield found
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryError(f"the memory of {device} is full") from error
        finally:
            setattr(products, setting, before)


def _gpu(device: str) -> torch.device:
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(f"device must be cpu, cuda or cuda:N, such as cuda:0, not {device!r}")
    found = torch.device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (found.index or 0) >= count:
        raise ValueError(f"device must be cpu, since {device} cannot be used on this machine, which has {count} GPUs")
    return found


class CudaStrips(Pairs):
    """The distances of all pairs of rows, see `strips.Strips`: kept, or computed anew in each pass.

    Parameters
    ----------
    rows : Rows
        Of which.
    device : torch.device
        Where.
    """

    def __init__(self, rows: Rows, device: torch.device) -> None:
        super().__init__(rows.copies)
        self._rows, self._device, self._n = _Rows(rows, device), device, len(rows)
        self._images = torch.from_numpy(rows.copies.cumsum()).to(device)
        self._copies = torch.from_numpy(rows.copies).to(device, torch.float64) if rows.copies.max() > 1 else None
        free = _free(device)
        self._kept: dict[int, torch.Tensor] | None = {} if 2 * self._n**2 <= _KEPT_SHARE * free else None
        self._height = max(1, min(self._n, _at_once(free) // self._n))

    def _strips(self) -> Iterator[tuple[torch.Tensor, slice, slice]]:
        """Yield distances of some rows to all from the first of them on; what is no pair yet is at infinity."""
        for first in range(0, self._n, self._height):
            some, others = slice(first, min(first + self._height, self._n)), slice(first, self._n)
            strip = self._kept.get(first) if self._kept is not None else None
            if strip is None:
                strip = self._rows.distances(some, others)
                height = len(strip)
                behind = torch.ones(height, height, dtype=torch.bool, device=self._device).tril()
                strip[:, :height].masked_fill_(behind, torch.inf)
                if self._kept is not None:
                    self._kept[first] = strip
            yield strip, some, others

    def element(self, place: int) -> np.float32:
        """Return the distance at a place of the ascending order of all pairs.

        A sample tells between which two numbers it lies, surely enough; one pass then counts what is below them, and
        each number between them.
        """
        if self.total <= 4 * _SAMPLE:
            return super().element(place)
        low, high = self._bracket(place)
        if high - low >= _MOST_BINS:
            return super().element(place)
        below, counts = 0, np.zeros(high - low + 1, np.int64)
        for strip, some, others in self._strips():
            bits = strip.view(torch.int32)
            below += self._sum(bits < low, some, others)
            inside = (bits >= low) & (bits <= high)
            counts += self._counted(bits[inside] - low, self._weights(inside, some, others), len(counts))
        found = int(counts.cumsum().searchsorted(place - below, side="right"))
        if below > place or found == len(counts):
            return super().element(place)
        return np.float32(np.array(low + found, np.int32).view(np.float32))

    def _bracket(self, place: int) -> tuple[int, int]:
        """Return the bits of two numbers between which the distance at a place lies, as a sample of pairs tells."""
        generator = torch.Generator(self._device).manual_seed(0)
        images = torch.randint(int(self._images[-1]), (2, _SAMPLE), generator=generator, device=self._device)
        one, other = torch.searchsorted(self._images, images, right=True)
        one, other = one[one != other], other[one != other]
        if len(one) == 0:
            return 0, _bits(np.inf)
        found = self._rows.apart(one, other).sort().values
        share = place / self.total
        error = _ERRORS * ((share * (1 - share) / len(found)) ** 0.5 + 1 / len(found))
        low, high = int((share - error) * len(found)), int((share + error) * len(found)) + 1
        return (
            _bits(found[low].item()) if low >= 0 else 0,
            _bits(found[high].item()) if high < len(found) else _bits(np.inf) - 1,
        )

    def histogram(self) -> NDArray[np.int64]:
        """Count pairs of images by the upper bits of their distance; shape (65,536,)."""
        counts = np.zeros(UPPER_BINS, np.int64)
        for strip, some, others in self._strips():
            # What is at infinity is no pair.
            finite = strip < torch.inf
            upper = strip.view(torch.int32)[finite] >> LOW_BITS
            counts += self._counted(upper, self._weights(finite, some, others), UPPER_BINS)
        return counts

    def histogram_within(self, upper: int) -> NDArray[np.int64]:
        """Count the pairs whose distance has these upper bits by its lower ones; shape (32,768,)."""
        counts = np.zeros(LOWER_BINS, np.int64)
        for strip, some, others in self._strips():
            bits = strip.view(torch.int32)
            inside = bits >> LOW_BITS == upper
            weights = self._weights(inside, some, others)
            counts += self._counted(bits[inside] & (LOWER_BINS - 1), weights, LOWER_BINS)
        return counts

    def near(self, cutoff: np.float32) -> NDArray[np.float64]:
        """Count for each row the images of other rows that are nearer than the cut-off; shape (n,)."""
        counts = torch.zeros(self._n, dtype=torch.float64, device=self._device)
        for strip, some, others in self._strips():
            near = strip < float(cutoff)
            if self._copies is None:
                counts[some] += near.sum(1)
                counts[others] += near.sum(0)
            else:
                weights = near.double()
                counts[some] += weights @ self._copies[others]
                counts[others] += self._copies[some] @ weights
        return _numpy(counts)

    def weigh(self, cutoff: np.float32) -> NDArray[np.float64]:
        """Sum for each row exp(-distance / cutoff) over the images of other rows; shape (n,)."""
        sums = torch.zeros(self._n, dtype=torch.float64, device=self._device)
        for strip, some, others in self._strips():
            weights = torch.exp(strip * (-1 / float(cutoff)))
            if self._copies is None:
                sums[some] += weights.sum(1, dtype=torch.float64)
                sums[others] += weights.sum(0, dtype=torch.float64)
            else:
                weights = weights.double()
                sums[some] += weights @ self._copies[others]
                sums[others] += self._copies[some] @ weights
        return _numpy(sums)

    def nearest_higher(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return for each row the distance to the nearest one that is higher; infinite where none is; shape (n,)."""
        height = torch.from_numpy(heights).to(self._device)
        nearest = torch.full((self._n,), torch.inf, device=self._device)
        for strip, some, others in self._strips():
            higher = height[others] > height[some, None]
            nearest[some] = torch.minimum(nearest[some], strip.where(higher, torch.inf).amin(1))
            lower = height[others] < height[some, None]
            nearest[others] = torch.minimum(nearest[others], strip.where(lower, torch.inf).amin(0))
        return _numpy(nearest)

    def between(self, some: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the distances of some rows to all rows, shape (some, n)."""
        which = torch.from_numpy(some).to(self._device)
        distances = self._rows.distances(which, slice(None))
        distances[torch.arange(len(which), device=self._device), which] = 0
        return _numpy(distances)

    def _weights(self, mask: torch.Tensor, some: slice, others: slice) -> torch.Tensor | None:
        """Return how many pairs of images those distances of a strip stand for; None for one each."""
        if self._copies is None:
            return None
        return (self._copies[some, None] * self._copies[others])[mask]

    def _sum(self, mask: torch.Tensor, some: slice, others: slice) -> int:
        """Return how many pairs of images those distances of a strip stand for together."""
        if self._copies is None:
            return int(mask.sum())
        return int(self._copies[some] @ mask.double() @ self._copies[others])

    def _counted(self, bins: torch.Tensor, weights: torch.Tensor | None, count: int) -> NDArray[np.int64]:
        return _numpy(torch.bincount(bins, weights, minlength=count)).astype(np.int64)


class CudaBlocks:
    """Distances between some rows and others, see `blocks.Blocks`.

    Parameters
    ----------
    rows : Rows
        Of which.
    device : torch.device
        Where.
    """

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self._rows, self._n, self._device = _Rows(rows, device), len(rows), device

    def near(
        self, which: NDArray[np.intp], others: NDArray[np.intp], weights: NDArray[np.int64], cutoff: np.float32
    ) -> NDArray[np.float64]:
        """Count for some rows the others that are nearer than the cut-off, each with its weight; shape (which,)."""
        counts = torch.zeros(len(which), dtype=torch.float64, device=self._device)
        weight = torch.from_numpy(weights).to(self._device)
        for distances, these, those in self._between(which, others):
            counts[these] += torch.where(distances < float(cutoff), weight[those], 0).sum(1)
        return _numpy(counts)

    def weigh(
        self, which: NDArray[np.intp], others: NDArray[np.intp], weights: NDArray[np.int64], cutoff: np.float32
    ) -> NDArray[np.float64]:
        """Sum for some rows exp(-distance / cutoff) over others, each with its weight; shape (which,)."""
        sums = torch.zeros(len(which), dtype=torch.float64, device=self._device)
        weight = torch.from_numpy(weights).to(self._device, torch.float64)
        for distances, these, those in self._between(which, others):
            sums[these] += torch.exp(distances * (-1 / float(cutoff))).double() @ weight[those]
        return _numpy(sums)

    def nearest_higher(
        self, which: NDArray[np.intp], others: NDArray[np.intp], heights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return for some rows the distance to the nearest of others that is higher; shape (which,)."""
        mine, theirs = (torch.from_numpy(heights[rows]).to(self._device) for rows in (which, others))
        nearest = torch.full((len(which),), torch.inf, device=self._device)
        for distances, these, those in self._between(which, others):
            higher = theirs[those] > mine[these, None]
            nearest[these] = torch.minimum(nearest[these], distances.where(higher, torch.inf).amin(1))
        return _numpy(nearest)

    def least_positive(self, which: NDArray[np.intp], others: NDArray[np.intp]) -> np.float32:
        """Return the least distance above 0; infinite where there is none."""
        least = torch.tensor(torch.inf, device=self._device)
        for distances, _, _ in self._between(which, others):
            least = torch.minimum(least, distances.where(distances > 0, torch.inf).min())
        return np.float32(least.item())

    def _between(
        self, which: NDArray[np.intp], others: NDArray[np.intp]
    ) -> Iterator[tuple[torch.Tensor, slice, slice]]:
        """Yield the distances, a block at a time."""
        mine, theirs = (torch.from_numpy(rows).to(self._device) for rows in (which, others))
        elements = _at_once(_free(self._device))
        width = min(len(others), max(1, elements // 256))
        height = max(1, elements // width)
        for start in range(0, len(which), height):
            for column in range(0, len(others), width):
                these, those = slice(start, start + height), slice(column, column + width)
                distances = self._rows.distances(mine[these], theirs[those])
                # A zero vector's product with itself would not tell that it is at distance 0.
                place = torch.searchsorted(theirs[those], mine[these]).clamp_(max=len(theirs[those]) - 1)
                itself = (theirs[those][place] == mine[these]).nonzero()[:, 0]
                distances[itself, place[itself]] = 0
                yield distances, these, those


class _Rows:
    """Rows on the device."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self._values, self._squares = (torch.from_numpy(each).to(device) for each in (rows.values, rows.squares))
        self._alike = bool((rows.squares == 1).all())

    def distances(self, some: Any, others: Any) -> torch.Tensor:
        """Return the squared distances of some rows to others, float32; the smallest are 0, see `rows.SAME`."""
        mine, theirs = self._values[some], self._values[others].T
        if self._alike:
            # All lengths are 1: fewer operations on what a GPU is slowest at, its memory.
            found = torch.addmm(self._values.new_tensor(2.0), mine, theirs, alpha=-2)
            return torch.threshold_(found, SAME * 2, 0.0).to(torch.float32)
        found = torch.addmm(self._squares[others], mine, theirs, alpha=-2).add_(self._squares[some, None])
        lengths = (SAME * self._squares[some, None]) + SAME * self._squares[others]
        return found.masked_fill_(found <= lengths, 0.0).to(torch.float32)

    def apart(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return the squared distances of pairs of rows, float32."""
        size = max(1, _SAMPLED_ELEMENTS // self._values.shape[1])
        found = [
            self._squares[a] + self._squares[b] - 2 * (self._values[a] * self._values[b]).sum(1)
            for a, b in zip(one.split(size), other.split(size), strict=True)
        ]
        return torch.cat(found).clamp_(min=0).to(torch.float32)


def _free(device: torch.device) -> int:
    """Return how many bytes the device has free."""
    if device.type != "cuda":
        return _UNTOLD
    # What torch keeps for later is free, too.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def _at_once(free: int) -> int:
    """Return how many distances a strip or block has."""
    return max(1, min(_ELEMENTS, free // _AT_ONCE))


def _bits(number: float) -> int:
    return int(np.array(number, np.float32).view(np.int32))


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
