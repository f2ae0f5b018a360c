"""What is recorded while a training runs: means over some steps, and how each image fared."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from curriculumnet.errors import UsageError
from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.ranks import Ranks

if TYPE_CHECKING:
    import torch

PARTS = 5
"""Into how many equal parts of a training the record of each image is divided."""


@dataclass
class Dynamics:
    """How each image fared in each part of a training; 60 bytes an image.

    After S. Swayamdipta et al., "Dataset Cartography", EMNLP 2020, who tell wrong labels by them, and M. Toneva et al.,
    "An Empirical Study of Example Forgetting", ICLR 2019.

    Attributes
    ----------
    seen : ndarray of int32, shape (PARTS, n)
        How often each image was in a batch.
    losses : ndarray of float32, shape (PARTS, n)
        The sum of its losses, without weights; nats.
    right : ndarray of int32, shape (PARTS, n)
        How often its label was the most probable category.
    """

    seen: np.ndarray
    losses: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, n: int) -> Dynamics:
        """Return a record of n images of which none has been seen."""
        return cls(*(np.zeros((PARTS, n), dtype) for dtype in (np.int32, np.float32, np.int32)))

    def add(self, part: int, places: np.ndarray, losses: np.ndarray, right: np.ndarray) -> None:
        """Add a batch: the places of its images, their losses, and whether their labels were found."""
        np.add.at(self.seen[part], places, 1)
        np.add.at(self.losses[part], places, losses)
        np.add.at(self.right[part], places, right)

    def columns(self) -> dict[str, np.ndarray]:
        """Return `seen` int64 (n,) and means: `loss`, `agreement` float32 (n,), and of each part float16 (n, PARTS)."""
        seen = self.seen.astype(np.float32)
        total = seen.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "seen": total.astype(np.int64),
                "loss": self.losses.sum(axis=0) / total,
                "agreement": self.right.sum(axis=0, dtype=np.float32) / total,
                "losses": (self.losses / seen).T.astype(np.float16),
                "agreements": (self.right / seen).T.astype(np.float16),
            }


@dataclass
class Records:
    """Collects what each step gives, and hands it on every few steps: a GPU need not be waited for in each.

    Parameters
    ----------
    batches : CurriculumBatches
        Whose steps they are.
    total : int
        How many steps the training has.
    ranks : Ranks
        This process among those of the training.
    places : ndarray of int64, shape (number of images,)
        The place of each image id among the training images.
    dynamics : Dynamics
        Where images are recorded, in the process that writes.
    """

    batches: CurriculumBatches
    total: int
    ranks: Ranks
    places: np.ndarray
    dynamics: Dynamics
    _steps: list[tuple[int, torch.Tensor, torch.Tensor, float]] = field(default_factory=list)
    _losses: list[float] = field(default_factory=list)
    _right: list[float] = field(default_factory=list)
    _by_subset: dict[int, list[float]] = field(default_factory=dict)
    _images: int = 0
    _waited: float = 0.0
    _worked: float = 0.0
    _mark: float = field(default_factory=time.perf_counter)

    def waited(self) -> None:
        """Take note that a batch is there."""
        self._waited += self._since()

    def worked(self, step: int, losses: torch.Tensor, right: torch.Tensor, divisor: float) -> None:
        """Take note of a step: this process's losses, whether labels were found, what the whole loss is divided by."""
        self._steps.append((step, losses, right, divisor))
        self._worked += self._since()

    def resume(self) -> None:
        """Take note that what was done besides is over, and a batch is waited for."""
        self._since()

    def _since(self) -> float:
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before

    def collect(self) -> None:
        """Take over what the steps since the last time gave, of all processes.

        Raises
        ------
        UsageError
            A loss is not finite.
        """
        if not self._steps:
            return
        import torch

        about = [(step, divisor) for step, _, _, divisor in self._steps]
        pairs = zip(*((losses, right) for _, losses, right, _ in self._steps), strict=True)
        mine = [torch.stack(each).cpu().numpy() for each in pairs]
        self._worked += self._since()
        self._steps.clear()
        parts = self.ranks.gathered(mine)
        if not parts:
            if not np.isfinite(mine[0]).all():
                raise UsageError("The loss is no longer finite.")
            return
        size = sum(losses.shape[1] for losses, _ in parts)
        losses, right = np.empty((len(about), size), np.float32), np.empty((len(about), size), np.bool_)
        for rank, (some_losses, some_right) in enumerate(parts):
            losses[:, rank :: len(parts)], right[:, rank :: len(parts)] = some_losses, some_right
        for (step, divisor), in_step, found in zip(about, losses, right, strict=True):
            self._add(step, in_step, found, divisor)

    def _add(self, step: int, losses: np.ndarray, right: np.ndarray, divisor: float) -> None:
        ids = self.batches[step]
        if not np.isfinite(losses).all():
            raise NotFiniteError(step, ids[~np.isfinite(losses)])
        _, stage = self.batches.stage(step)
        weights = stage.place_weights()
        self._losses.append(float((weights * losses).sum() / divisor))
        self._right.append(float(right.mean()))
        self._images += len(losses)
        subsets = stage.place_subsets()
        for subset in stage.subsets:
            here = subsets == subset
            if here.any():
                self._by_subset.setdefault(subset, []).append(float(losses[here].mean()))
        part = min(PARTS - 1, step * PARTS // self.total)
        self.dynamics.add(part, self.places[ids], losses, right)

    def figures(self) -> dict[str, float]:
        """Return the means since the last call."""
        seconds = self._waited + self._worked
        found: dict[str, Any] = {
            "train_loss": np.mean(self._losses),
            "train_accuracy": np.mean(self._right),
            "images_per_second": self._images / seconds,
            "wait_share": self._waited / seconds,
        }
        if len(self._by_subset) > 1:
            found |= {f"train_loss_subset_{s}": np.mean(v) for s, v in sorted(self._by_subset.items())}
        self._losses, self._right, self._by_subset = [], [], {}
        self._images, self._waited, self._worked = 0, 0.0, 0.0
        return {name: float(value) for name, value in found.items()}


class NotFiniteError(Exception):
    """A loss is infinite or no number.

    Attributes
    ----------
    step : int
        The step.
    ids : ndarray of int64
        The images of its batch of which it is.
    """

    def __init__(self, step: int, ids: np.ndarray) -> None:
        super().__init__(f"step {step}")
        self.step, self.ids = step, ids
