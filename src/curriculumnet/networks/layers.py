"""A network's layers in the order in which a picture meets them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn


class Used(NamedTuple):
    """A layer as it was used.

    Attributes
    ----------
    name : str
        Its path in the network.
    layer : torch.nn.Module
        One of the network's innermost.
    shrinks : bool
        Whether the picture is narrower behind it.
    sees_picture : bool
        Whether it is given the picture itself.
    """

    name: str
    layer: nn.Module
    shrinks: bool
    sees_picture: bool


def in_order(network: nn.Module, image_size: int) -> list[Used]:
    """Return the network's innermost layers in the order of their first use.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU; it is shown one picture, and is in the end in the mode in which it was.
    image_size : int
        Height and width of the picture in pixels.
    """
    names = {layer: name for name, layer in network.named_modules() if next(layer.children(), None) is None}
    picture = torch.zeros(1, getattr(network, "in_chans", 3), image_size, image_size)
    used: dict[str, Used] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        before = inputs[0] if inputs else None
        shrinks = (
            isinstance(before, torch.Tensor)
            and isinstance(output, torch.Tensor)
            and before.ndim == output.ndim == 4
            and output.shape[-1] < before.shape[-1]
        )
        used.setdefault(names[layer], Used(names[layer], layer, shrinks, before is picture))

    hooks = [layer.register_forward_hook(note) for layer in names]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(picture)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return list(used.values())


def cuts_patches(conv: nn.Conv2d) -> bool:
    """Say whether a convolution cuts the picture into patches that do not overlap."""
    return conv.stride[0] > 1 and conv.stride[0] >= conv.kernel_size[0]
