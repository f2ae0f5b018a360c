"""Loss and error on images that are not trained on, or on all, while a training runs: for curves and decisions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from curriculumnet.images.loader import Pictures
    from curriculumnet.networks.create import Preprocessing

_BATCH = 128
_POINTS = 20
_IMAGES = 2000
_COST = 0.1
"""What the curves may cost, as a share of the training; a training step costs three times a forward pass."""


def curves_every(steps: int, batch_size: int, held_out: int) -> int:
    """Return the steps between two points of the curves: few enough that they cost about a tenth of the training."""
    affordable = _COST * 3 * steps * batch_size / max(1, held_out)
    return max(1, math.ceil(steps / min(_POINTS, max(1.0, affordable))))


def sampled(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return so many images as the curves look at, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(ids)[:_IMAGES])


def decoded(
    named: dict[str, np.ndarray],
    pictures: Pictures,
    preprocessing: Preprocessing,
    targets: np.ndarray,
    workers: int,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return views of images, uint8 (n, 3, S, S), and the index of each one's category, int64 (n,); decoded once."""
    import torch

    from curriculumnet.images.loader import even_batches, load
    from curriculumnet.images.views import CentreView

    view = CentreView(preprocessing.image_size, preprocessing.interpolation, preprocessing.crop_pct)
    return {
        name: (
            torch.cat([shown for _, shown in load(pictures, even_batches(ids, 64), view, workers=workers)]),
            torch.from_numpy(targets[ids]),
        )
        for name, ids in named.items()
        if len(ids)
    }


def losses_on_all(
    network: torch.nn.Module,
    ids: np.ndarray,
    pictures: Pictures,
    preprocessing: Preprocessing,
    targets: np.ndarray,
    to_input: Callable[[torch.Tensor], torch.Tensor],
    precision: torch.dtype,
    workers: int,
) -> np.ndarray:
    """Return the network's loss on each of many images, decoded on the way, float32 (n,); nats."""
    import torch
    from torch.nn.functional import cross_entropy

    from curriculumnet.images.loader import even_batches, load
    from curriculumnet.images.views import CentreView

    network.eval()
    view = CentreView(preprocessing.image_size, preprocessing.interpolation, preprocessing.crop_pct)
    found = []
    for some, views in load(pictures, even_batches(ids, _BATCH), view, workers=workers):
        inputs = to_input(views)
        wanted = torch.from_numpy(targets[some]).to(inputs.device)
        reduced = precision is not torch.float32
        with torch.inference_mode(), torch.autocast(inputs.device.type, precision, enabled=reduced):
            logits = network(inputs)
        found.append(cross_entropy(logits.float(), wanted, reduction="none").cpu().numpy())
    return np.concatenate(found)


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
