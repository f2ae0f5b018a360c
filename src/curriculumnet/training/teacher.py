"""A teacher that gives most places to the subset of which the network learns most.

T. Matiisen, A. Oliver, T. Cohen, J. Schulman, "Teacher-Student Curriculum Learning", 2017 (arXiv:1707.00183), which
the authors of CurriculumNet name as the ideal. The tasks are the subsets, the score of a task is minus the loss on a
few of its images that the network is not trained on, and what is rewarded is learning progress, forgetting as well as
learning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.course import AllLosses, Course, Losses

WINDOWS = 30
"""How often in a training the teacher chooses."""

EXPLORED = 0.2
"""Share of the places that all subsets have equally, whatever is learnt of them."""

_RATE = 0.3
"""Online: the weight of the newest progress."""

_BUFFER = 5
"""Window: scores through which a line is laid."""


class Teacher(Course):
    """A course that is decided window by window.

    Parameters
    ----------
    batches : CurriculumBatches
        The pools, and one stage in which all subsets take part, with their weights.
    variant : {"online", "window"}
        How progress is told: a moving average of the differences of scores (algorithm 1 of the paper), or the slope of
        a line through the last scores (algorithm 3).
    """

    numbered = False

    def __init__(self, batches: CurriculumBatches, variant: Literal["online", "window"]) -> None:
        super().__init__(batches)
        self._variant, self._stage = variant, batches.stages[-1]
        self._every = max(1, -(-self.total // WINDOWS))
        full = [len(pool.ids) > 0 for pool in batches.pools]
        self._shares = [[float(here) / sum(full) for here in full]]
        self._losses: list[list[float]] = []
        self._progress = [0.0] * len(full)

    def batches(self) -> CurriculumBatches:
        """Return the batches up to the teacher's next choice, or to the end."""
        stages = [
            replace(
                self._stage,
                places=places(sum(self._stage.places), shares),
                first=number * self._every,
                last=min(self.total, (number + 1) * self._every),
            )
            for number, shares in enumerate(self._shares)
        ]
        return replace(self._laid_down, stages=tuple(stages))

    def decide(self, losses: Losses, all_losses: AllLosses) -> dict[str, float]:
        """Choose the next shares by what was learnt of each subset; see `Course.decide`."""
        del all_losses
        found = losses()
        subsets = range(len(self._progress))
        self._losses.append([found.get(subset, 0.0) for subset in subsets])
        for subset in subsets:
            scores = [-each[subset] for each in self._losses]
            if self._variant == "window":
                latest = scores[-_BUFFER:]
                slope = np.polyfit(np.arange(len(latest)), latest, 1)[0] if len(latest) > 1 else 0.0
                self._progress[subset] = float(slope)
            elif len(scores) > 1:
                newest = scores[-1] - scores[-2]
                self._progress[subset] += _RATE * (newest - self._progress[subset])
        self._shares.append(self._chosen())
        return {f"held_out_loss_subset_{subset}": value for subset, value in found.items()} | {
            f"share_subset_{subset}": share for subset, share in enumerate(self._shares[-1])
        }

    def _chosen(self) -> list[float]:
        """Return each subset's share of the places: some for all alike, the others in proportion to what was learnt."""
        even = np.array(self._shares[0])
        learnt = np.abs(self._progress) * (even > 0)
        if learnt.sum() == 0:
            return [float(share) for share in even]
        return [float(share) for share in EXPLORED * even + (1 - EXPLORED) * learnt / learnt.sum()]

    def dump(self) -> dict[str, Any]:
        """Return what was decided."""
        return {"shares": self._shares, "losses": self._losses, "progress": self._progress}

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over what was decided."""
        self._shares, self._losses = (
            [list(each) for each in dumped["shares"]],
            [list(each) for each in dumped["losses"]],
        )
        self._progress = list(dumped["progress"])


def places(batch_size: int, shares: list[float]) -> tuple[int, ...]:
    """Return whole places that add up to the batch size, as near to the shares as can be; ties go to the cleaner."""
    wanted = batch_size * np.array(shares)
    whole = np.floor(wanted + 1e-9).astype(int)
    left = batch_size - int(whole.sum())
    whole[np.argsort(-(wanted - whole), kind="stable")[:left]] += 1
    return tuple(whole.tolist())
