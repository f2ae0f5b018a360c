"""Loss and error on held-out images while a training runs: drawn as curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_BATCH = 128


def curves(
    held_out: dict[str, tuple[torch.Tensor, torch.Tensor]],
    to_input: Callable[[torch.Tensor], torch.Tensor],
    precision: torch.dtype,
) -> Callable[[torch.nn.Module], dict[str, float]]:
    """Return a function from a network to its loss and error.

    Parameters
    ----------
    held_out : dict
        For each split its decoded views, uint8 (n, 3, S, S), and the index of each image's category, int64 (n,).
    to_input : callable
        uint8 views to normalised floats on the device.
    precision : torch.dtype
        float32 or bfloat16.

    Returns
    -------
    callable
        Network to ``SPLIT_loss`` (nats) and ``SPLIT_top1_error`` (0 … 1).
    """
    import torch
    from torch.nn.functional import cross_entropy

    def measure(network: torch.nn.Module) -> dict[str, float]:
        network.eval()
        figures: dict[str, float] = {}
        for split, (views, wanted) in held_out.items():
            losses, wrong = 0.0, 0
            for first in range(0, len(views), _BATCH):
                inputs = to_input(views[first : first + _BATCH])
                truth = wanted[first : first + _BATCH].to(inputs.device)
                bfloat16 = precision is torch.bfloat16
                with torch.inference_mode(), torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
                    logits = network(inputs).float()
                losses += float(cross_entropy(logits, truth, reduction="sum"))
                wrong += int((logits.argmax(1) != truth).sum())
            figures |= {f"{split}_loss": losses / len(views), f"{split}_top1_error": wrong / len(views)}
        return figures

    return measure
