"""What takes part when: laid down before a training, or decided while it runs by how the network learns.

A course that decides as it goes gives its batches up to the next decision, is then told how the network fares, and
gives further ones. What it decided is kept with the weights, so that a training that was stopped goes on alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from curriculumnet.training.batches import CurriculumBatches

Losses = Callable[[], dict[int, float]]
"""Measures the mean loss of the network on a few images of each subset that it is not trained on; nats."""

AllLosses = Callable[[], np.ndarray]
"""Measures the loss of the network on each training image; float32 (n,), nats."""

PIECE_SHARE, PIECE_MOST = 0.05, 500
"""Of each subset so many images, and not more, are set aside to measure losses on."""


class Course:
    """A course that is laid down: the batches, and nothing to decide.

    Parameters
    ----------
    batches : CurriculumBatches
        All of them.

    Attributes
    ----------
    total : int
        How many steps the training has.
    numbered : bool
        Whether its stages are stages of the curriculum, which are drawn, and no mere windows.
    """

    numbered = True

    def __init__(self, batches: CurriculumBatches) -> None:
        self._laid_down, self.total = batches, len(batches)

    def batches(self) -> CurriculumBatches:
        """Return the batches up to the next decision, or to the end."""
        return self._laid_down

    def decide(self, losses: Losses, all_losses: AllLosses) -> dict[str, float]:
        """Decide what follows, after the last of the batches; return what was measured and decided, for the history."""
        raise NotImplementedError

    def dump(self) -> dict[str, Any]:
        """Return what was decided, as plain values and tensors."""
        return {}

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over what was decided."""


def pieces(members: dict[int, np.ndarray], seed: int) -> dict[int, np.ndarray]:
    """Return the images of each subset that are set aside, int64, in ascending order.

    Parameters
    ----------
    members : dict of int to ndarray of int64
        The images of each subset.
    seed : int
        Decides which.
    """
    rng = np.random.default_rng((seed, 3))
    return {
        subset: np.sort(rng.permutation(ids)[: min(PIECE_MOST, max(1, round(PIECE_SHARE * len(ids))))])
        for subset, ids in members.items()
        if len(ids) > 1
    }
