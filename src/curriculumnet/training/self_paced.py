"""Easy images first, as the network itself finds them, with no curriculum.

M. P. Kumar, B. Packer, D. Koller, "Self-Paced Learning for Latent Variable Models", NIPS 2010: the images whose loss is
lowest take part, more of them from round to round. So that no category is left out, as the hard ones would be, it is so
within each (L. Jiang et al., "Self-Paced Learning with Diversity", NIPS 2014).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from curriculumnet.training.batches import CurriculumBatches, Pool
from curriculumnet.training.course import AllLosses, Course, Losses

SHARES = (1.0, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Which share of each category takes part in each round; in the first one all: a new network's losses say nothing."""


class SelfPaced(Course):
    """A course of rounds, in each of which the easiest images take part.

    Parameters
    ----------
    batches : CurriculumBatches
        A pool of all images, and one stage.
    ids : ndarray of int64, shape (n,)
        The training images, in the order in which their losses are told.
    labels : ndarray of int64, shape (n,)
        The category of each.
    """

    def __init__(self, batches: CurriculumBatches, ids: np.ndarray, labels: np.ndarray) -> None:
        super().__init__(batches)
        self._ids, self._labels = ids, labels
        self._rounds = min(len(SHARES), self.total)
        self._round = 0
        self._easy = np.ones(len(ids), np.bool_)

    def _end(self, number: int) -> int:
        return (number + 1) * self.total // self._rounds

    def batches(self) -> CurriculumBatches:
        """Return the batches up to the end of the round."""
        pool, stage = self._laid_down.pools[0], self._laid_down.stages[0]
        ids = self._ids[self._easy]
        pools = Pool(ids)
        if pool.starts is not None:
            pools = Pool.balanced(ids, self._labels[self._easy], by_root=pool.odds is not None)
        ends = [self._end(number) for number in range(self._round + 1)]
        stages = [replace(stage, first=first, last=last) for first, last in zip([0, *ends], ends, strict=False)]
        return replace(self._laid_down, pools=(pools,), stages=tuple(stages))

    def decide(self, losses: Losses, all_losses: AllLosses) -> dict[str, float]:
        """Choose the images of the next round; see `Course.decide`."""
        del losses
        self._round += 1
        share = SHARES[self._round]
        found = all_losses()
        # Place of each image among those of its category, easiest first.
        order = np.lexsort((found, self._labels))
        sizes = np.bincount(self._labels)
        place = np.empty(len(found), np.int64)
        place[order] = np.arange(len(found)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self._easy = place < np.maximum(1, np.ceil(share * sizes[self._labels] - 1e-9))
        return {"share_taking_part": float(self._easy.mean())}

    def dump(self) -> dict[str, Any]:
        """Return what was decided."""
        import torch

        return {"round": self._round, "easy": torch.from_numpy(np.packbits(self._easy))}

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over what was decided."""
        self._round = dumped["round"]
        self._easy = np.unpackbits(dumped["easy"].numpy(), count=len(self._ids)).astype(np.bool_)
