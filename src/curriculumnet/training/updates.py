"""From a batch to new weights: forward, loss, backward, step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curriculumnet.training.losses import weighted_cross_entropy

if TYPE_CHECKING:
    import torch

    from curriculumnet.training.loop import State
    from curriculumnet.training.ranks import Ranks

_MIXUP, _RANDOM = 1, 2
"""Keys of what is drawn in a step."""


@dataclass(frozen=True)
class Manner:
    """How weights are updated.

    Attributes
    ----------
    precision : torch.dtype
        float32, or bfloat16 or float16 for the forward and backward passes.
    label_smoothing : float
        Share of each target spread over the categories.
    mixup : float
        α of the Beta distribution by which pairs of images are mixed; 0 for none (Zhang et al. 2018).
    clip_norm : float or None
        The norm to which a larger gradient is scaled.
    accumulate : int
        In how many parts a batch goes through the network.
    seed : int
        With the step, decides what dropout and mixup draw.
    still : sequence of torch.nn.Module
        Layers that behave as in evaluation.
    """

    precision: torch.dtype
    label_smoothing: float = 0.0
    mixup: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1
    seed: int = 0
    still: Sequence[torch.nn.Module] = ()


class Updates:
    """Updates of a network's weights, one a batch.

    Parameters
    ----------
    state : State
        Its network, average, optimiser and scaler are changed.
    forward : torch.nn.Module
        The network as it is called: itself, compiled, or one that adds gradients up over processes.
    manner : Manner
    ranks : Ranks
        Among how many processes a batch is shared, and which of them this is.
    """

    def __init__(self, state: State, forward: torch.nn.Module, manner: Manner, ranks: Ranks) -> None:
        self._network, self._forward, self._average = state.network, forward, state.average
        self._optimizer, self._scaler, self._manner, self._ranks = state.optimizer, state.scaler, manner, ranks

    def __call__(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        divisor: float,
        step: int,
        learning_rate: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Update the weights once.

        Parameters
        ----------
        inputs : Tensor, shape (b, 3, S, S)
            This process's share of a batch.
        targets : Tensor of int64, shape (b,)
        weights : Tensor, shape (b,)
            The weight of each image in the loss.
        divisor : float
            What the whole batch's loss is divided by: its size or, normed, the sum of its weights.
        step : int
            The number of the batch.
        learning_rate : float

        Returns
        -------
        losses : Tensor, shape (b,)
            Each image's own, without weights; nats.
        right : Tensor of bool, shape (b,)
            Whether its label was the most probable category.
        """
        import torch

        how = self._manner
        rng = np.random.default_rng((how.seed, _RANDOM, step, self._ranks.rank))
        torch.manual_seed(int(rng.integers(2**63)))
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_scale", 1.0)
        self._network.train()
        for layer in how.still:
            layer.eval()
        mixed = self._mixed(inputs, targets, weights, step)
        parts = [each.chunk(how.accumulate) for each in mixed[:-1]]
        share = mixed[-1]
        found = []
        for number, (pixels, wanted, weight, other, other_weight) in enumerate(zip(*parts, strict=True), 1):
            with nullcontext() if number == len(parts[0]) else self._apart():
                with self._arithmetic(inputs.device.type):
                    logits = self._forward(pixels)
                loss, losses = weighted_cross_entropy(
                    logits, wanted, weight * share, divisor=divisor, label_smoothing=how.label_smoothing
                )
                if share < 1:
                    second, others = weighted_cross_entropy(
                        logits, other, other_weight * (1 - share), divisor=divisor, label_smoothing=how.label_smoothing
                    )
                    loss, losses = loss + second, share * losses + (1 - share) * others
                # Gradients of several processes are averaged, where the sum is meant.
                self._scaler.scale(loss * self._ranks.count).backward()
            found.append((losses, logits.detach().argmax(1) == wanted))
        if how.clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), how.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self._network, step=step)
        losses, right = (torch.cat(each) for each in zip(*found, strict=True))
        return losses, right

    def _arithmetic(self, device: str) -> Any:
        import torch

        return torch.autocast(device, self._manner.precision, enabled=self._manner.precision is not torch.float32)

    def _apart(self) -> Any:
        """Do not add gradients up over processes yet: with the last part of a batch they all are."""
        no_sync: Any = getattr(self._forward, "no_sync", nullcontext)
        return no_sync()

    def _mixed(
        self, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float]:
        """Return images mixed in pairs: targets and weights of both, and the share of the first."""
        import torch

        if not self._manner.mixup:
            return inputs, targets, weights, targets, weights, 1.0
        # One share for all processes; whom an image is mixed with is each one's own affair.
        share = float(
            np.random.default_rng((self._manner.seed, _MIXUP, step)).beta(self._manner.mixup, self._manner.mixup)
        )
        rng = np.random.default_rng((self._manner.seed, _MIXUP, step, self._ranks.rank + 1))
        other = torch.from_numpy(rng.permutation(len(targets))).to(targets.device)
        return share * inputs + (1 - share) * inputs[other], targets, weights, targets[other], weights[other], share
