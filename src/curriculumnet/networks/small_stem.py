"""A first layer for small pictures: a 3×3 convolution and no pooling.

Networks made for 224 px shrink their input to a quarter before they look at it; of a picture of 64 px hardly anything
would be left. Importing this module registers the entry point `ENTRYPOINT` with timm, so that a model folder with such
a first layer can be loaded by ``timm.create_model("local-dir:FOLDER", pretrained=True)``.
"""

from __future__ import annotations

from typing import Any

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
from torch import nn

from curriculumnet.errors import UsageError
from curriculumnet.networks.layers import cuts_patches, in_order

ENTRYPOINT = "curriculumnet_small_stem"
"""The name under which timm knows networks with such a first layer."""

_MAP = 32
"""The greatest height and width that the first convolution leaves."""

_KERNEL = 3

LARGEST = _MAP * _KERNEL
"""The largest image size: of larger ones, a 3×3 convolution that leaves 32×32 would not see every pixel."""


def apply(network: nn.Module, image_size: int) -> nn.Module:
    """Give a network a first layer for small pictures, in place.

    The first convolution becomes 3×3 with the stride that leaves at most 32×32; its weights are kept if it was 3×3,
    else they are new. A pooling that follows before any other layer shrinks the picture is left out.

    Parameters
    ----------
    network : torch.nn.Module
        A network of timm's.
    image_size : int
        Height and width of its input in pixels, at most 96.

    Returns
    -------
    torch.nn.Module
        The same network.

    Raises
    ------
    UsageError
        The network has no such first convolution, as those that cut the picture into patches; or the pictures are not
        small.
    """
    if image_size > LARGEST:
        raise UsageError(f"--small-stem is for images of up to {LARGEST} px, and --image-size is {image_size}.")
    layers = in_order(network, image_size)
    first = next((used.name for used in layers if isinstance(used.layer, nn.Conv2d)), None)
    conv = network.get_submodule(first) if first else None
    if first is None or not isinstance(conv, nn.Conv2d) or cuts_patches(conv):
        raise UsageError(
            f"{type(network).__name__} networks begin by cutting the picture into patches and have no first "
            "convolution that --small-stem could make smaller: take --no-small-stem."
        )
    after = layers[[used.name for used in layers].index(first) + 1 :]
    pooling = _pooling(network, first, next((used.name for used in after if used.shrinks), None))
    _shrink(conv, stride=-(-image_size // _MAP))
    if pooling:
        parent, _, name = pooling.rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
    return network


def curriculumnet_small_stem(
    pretrained: bool = False, *, network: str = "resnet18", image_size: int = 64, **kwargs: Any
) -> nn.Module:
    """Make a network of timm's with a first layer for small pictures: timm's entry point.

    Parameters
    ----------
    pretrained : bool
        Load the weights that the configuration names, as of a model folder.
    network : str
        The network, by its timm name.
    image_size : int
        Height and width of its input in pixels.
    **kwargs
        What timm hands to every entry point, and the network's own arguments.
    """
    return build_model_with_cfg(_build, ENTRYPOINT, pretrained, network=network, image_size=image_size, **kwargs)


def _build(network: str, image_size: int, **kwargs: Any) -> nn.Module:
    return apply(timm.create_model(network, **kwargs), image_size)


default_cfgs = generate_default_cfgs({ENTRYPOINT: {}})
"""timm looks here for the entry point's weights, and warns where it finds nothing at all."""

# A module that is loaded anew must not register a second time: timm would warn.
if not is_model(ENTRYPOINT):
    register_model(curriculumnet_small_stem)


def _pooling(network: nn.Module, first: str, shrinking: str | None) -> str | None:
    """Return the name of the first pooling, given the first convolution and the next layer that shrinks the picture.

    It is the part of the network that holds this layer and not the first convolution. A part with weights is a block,
    not a pooling; but in timm's ResNets ``maxpool`` may be made of layers that do the same.
    """
    if shrinking is None:
        return None
    first_parts, parts = first.split("."), shrinking.split(".")
    shared = next(place for place, (a, b) in enumerate(zip(first_parts, parts, strict=False)) if a != b)
    part = ".".join(parts[: shared + 1])
    weights = next(network.get_submodule(part).parameters(), None)
    return part if weights is None or part == "maxpool" else None


def _shrink(conv: nn.Conv2d, stride: int) -> None:
    """Make a convolution 3×3, in place: its kind is kept, such as one that pads as TensorFlow does."""
    conv.stride = (stride, stride)
    if conv.kernel_size == (_KERNEL, _KERNEL):
        return
    conv.kernel_size = (_KERNEL, _KERNEL)
    conv.padding = (_KERNEL // 2, _KERNEL // 2)
    weight = conv.weight.new_empty(conv.out_channels, conv.in_channels // conv.groups, _KERNEL, _KERNEL)
    conv.weight = nn.Parameter(nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu"))
