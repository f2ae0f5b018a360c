"""Stages that end when the network has learnt what it can of them.

The "task-transform threshold" of the authors' slides (S. Guo et al., WebVision workshop 2017): the next stage begins
when the loss on images of the present one, which the network is not trained on, no longer falls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.course import AllLosses, Course, Losses

CHECKS = 40
"""How often in a training the loss is looked at."""

PATIENCE = 3
"""So many looks without a lower loss end a stage."""

LESS = 0.005
"""What counts as lower: by this share."""

_LATEST = 0.5
"""A stage ends at the latest when this share of what is laid down for the later ones is left for them."""


class Plateau(Course):
    """A course whose stages end when they are learnt, or when little is left for the later ones.

    Parameters
    ----------
    batches : CurriculumBatches
        The stages as they would be laid down.
    """

    def __init__(self, batches: CurriculumBatches) -> None:
        super().__init__(batches)
        self._every = max(1, self.total // CHECKS)
        self._ends: list[int] = []
        self._losses: list[float] = []

    def batches(self) -> CurriculumBatches:
        """Return the batches up to the next look at the loss, or to the end."""
        laid_down = self._laid_down.stages
        ends = [*self._ends, self._next()]
        stages = [
            replace(stage, first=first, last=last)
            for stage, first, last in zip(laid_down, [0, *self._ends], ends, strict=False)
        ]
        return replace(self._laid_down, stages=tuple(stages))

    def _next(self) -> int:
        """Return the step of the next look; in the last stage the end."""
        now = len(self._ends)
        if now == len(self._laid_down.stages) - 1:
            return self.total
        first = self._ends[-1] if self._ends else 0
        return min(first + (len(self._losses) + 1) * self._every, self._latest())

    def _latest(self) -> int:
        """Return the step at which the present stage ends at the latest."""
        later = self.total - self._laid_down.stages[len(self._ends)].last
        first = self._ends[-1] if self._ends else 0
        return max(first + 1, self.total - max(len(self._laid_down.stages) - 1 - len(self._ends), int(later * _LATEST)))

    def decide(self, losses: Losses, all_losses: AllLosses) -> dict[str, float]:
        """Begin the next stage if the loss has not fallen for some looks; see `Course.decide`."""
        del all_losses
        found, stage = losses(), self._laid_down.stages[len(self._ends)]
        places = dict(zip(stage.subsets, stage.places, strict=True))
        known = [subset for subset in found if places.get(subset)]
        loss = float(np.average([found[subset] for subset in known], weights=[places[subset] for subset in known]))
        step = self._next()
        self._losses.append(loss)
        before = min(self._losses[:-PATIENCE], default=np.inf)
        if min(self._losses[-PATIENCE:]) > before * (1 - LESS) or step >= self._latest():
            self._ends.append(step)
            self._losses = []
        return {"held_out_loss": loss}

    def dump(self) -> dict[str, Any]:
        """Return what was decided."""
        return {"ends": self._ends, "losses": self._losses}

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over what was decided."""
        self._ends, self._losses = list(dumped["ends"]), list(dumped["losses"])
