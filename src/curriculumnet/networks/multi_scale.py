"""A first layer of several scales: convolutions of 5×5, 7×7 and 9×9 side by side in place of one.

The authors of CurriculumNet report half a per cent less error from it (the slides of the WebVision workshop 2017).
Importing this module registers the entry point `ENTRYPOINT` with timm, so that a model folder with such a first layer
can be loaded by ``timm.create_model("local-dir:FOLDER", pretrained=True)``.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
from torch import nn

from curriculumnet.errors import UsageError
from curriculumnet.networks import small_stem as stem
from curriculumnet.networks.layers import Used, cuts_patches, in_order

ENTRYPOINT = "curriculumnet_multi_scale"
"""The name under which timm knows networks with such a first layer."""

KERNELS = (5, 7, 9)
"""Height and width of the kernels; the middle one has half of the channels, each other a quarter."""


class MultiScale(nn.Module):
    """Convolutions of several kernel sizes over the same input, their channels one after another.

    Parameters
    ----------
    conv : torch.nn.Conv2d
        The convolution in whose place it is: it has as many channels and leaves maps of the same size. Weights are new.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        quarter = conv.out_channels // 4
        ends = (quarter, conv.out_channels - quarter, conv.out_channels)
        beginnings = (0, *ends[:-1])
        self.scales = nn.ModuleList(_of_kernel(conv, *place) for place in zip(KERNELS, beginnings, ends, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return all channels, (B, 3, S, S) to (B, C, S/stride, S/stride)."""
        return torch.cat([scale(x) for scale in self.scales], 1)


def apply(network: nn.Module, image_size: int, *, small_stem: bool = False) -> nn.Module:
    """Give a network a first layer of several scales, in place.

    Parameters
    ----------
    network : torch.nn.Module
        A network of timm's.
    image_size : int
        Height and width of its input in pixels.
    small_stem : bool
        Give it the stride of a first layer for small pictures first, and no first pooling (see `small_stem`).

    Returns
    -------
    torch.nn.Module
        The same network.

    Raises
    ------
    UsageError
        The network does not begin with one convolution, or has no small first layer.
    """
    layers = in_order(network, image_size)
    first = next((used.name for used in layers if isinstance(used.layer, nn.Conv2d)), "")
    reason = _unsuited(layers, first)
    if reason:
        raise UsageError(
            f"{type(network).__name__} networks do not begin with one convolution that --multi-scale could replace "
            f"({reason}): leave it out, or take a network that does, such as inception_v2 or resnet18."
        )
    if small_stem:
        stem.apply(network, image_size)
    parent, _, name = first.rpartition(".")
    layer = MultiScale(network.get_submodule(first))  # type: ignore[arg-type]
    setattr(network.get_submodule(parent), name, layer)
    # timm looks here for what to change when pictures have other than three channels.
    places = [f"{first}.scales.{place}" for place in range(len(KERNELS))]
    network.pretrained_cfg = dict(network.pretrained_cfg) | {"first_conv": places}  # type: ignore[arg-type,assignment]
    return network


def curriculumnet_multi_scale(
    pretrained: bool = False,
    *,
    network: str = "resnet18",
    image_size: int = 224,
    small_stem: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Make a network of timm's with a first layer of several scales: timm's entry point.

    Parameters
    ----------
    pretrained : bool
        Load the weights that the configuration names, as of a model folder.
    network : str
        The network, by its timm name.
    image_size : int
        Height and width of its input in pixels.
    small_stem : bool
        Whether the first layer is one for small pictures as well.
    **kwargs
        What timm hands to every entry point, and the network's own arguments.
    """
    return build_model_with_cfg(
        _build, ENTRYPOINT, pretrained, network=network, image_size=image_size, small_stem=small_stem, **kwargs
    )


def _build(network: str, image_size: int, small_stem: bool, **kwargs: Any) -> nn.Module:
    return apply(timm.create_model(network, **kwargs), image_size, small_stem=small_stem)


default_cfgs = generate_default_cfgs({ENTRYPOINT: {}})
"""timm looks here for the entry point's weights, and warns where it finds nothing at all."""

# A module that is loaded anew must not register a second time: timm would warn.
if not is_model(ENTRYPOINT):
    register_model(curriculumnet_multi_scale)


def _unsuited(layers: list[Used], first: str) -> str:
    """Say in a few words why the layers do not begin with one convolution; empty where they do."""
    convs = [used for used in layers if isinstance(used.layer, nn.Conv2d)]
    if not convs:
        return "they have none"
    conv: Any = convs[0].layer
    if sum(used.sees_picture for used in convs) > 1:
        return "several see the picture side by side"
    if cuts_patches(conv):
        return "they begin by cutting the picture into patches"
    # Behind the only one of a stem comes a pooling, or a block, whose convolutions lie deeper in the network.
    between = (
        [used.shrinks for used in layers[layers.index(convs[0]) + 1 : layers.index(convs[1])]] if convs[1:] else []
    )
    if convs[1:] and not any(between) and _siblings(first, convs[1].name):
        return "several follow one another"
    square = conv.kernel_size[0] == conv.kernel_size[1] and conv.kernel_size[0] % 2 == 1
    usual = square and conv.groups == 1 and conv.out_channels >= 4 and _padding(conv, min(KERNELS)) >= 0
    return "" if usual else "theirs is of an unusual kind"


def _siblings(one: str, other: str) -> bool:
    """Say whether two paths differ in one part, as those of ``conv1.0`` and ``conv1.3``."""
    parts, others = one.split("."), other.split(".")
    return len(parts) == len(others) and sum(a != b for a, b in zip(parts, others, strict=True)) == 1


def _padding(conv: nn.Conv2d, kernel: int) -> int:
    """Return the padding with which a kernel leaves a map of the size that the convolution's own leaves."""
    return int(conv.padding[0]) + (kernel - conv.kernel_size[0]) // 2


def _of_kernel(conv: nn.Conv2d, kernel: int, begin: int, end: int) -> nn.Conv2d:
    """Return a convolution of another kernel for a part of the channels: its kind is kept, its weights are new."""
    made = deepcopy(conv)
    made.out_channels = end - begin
    made.kernel_size = (kernel, kernel)
    made.padding = (_padding(conv, kernel),) * 2
    for name, values in conv.named_parameters():
        setattr(made, name, nn.Parameter(values.detach()[begin:end].clone()))
    weight = conv.weight.new_empty(end - begin, conv.in_channels, kernel, kernel)
    made.weight = nn.Parameter(nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu"))
    return made
