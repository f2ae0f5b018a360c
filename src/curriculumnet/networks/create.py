"""Make a network by its name, and what a picture must look like to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, is_model
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from curriculumnet.errors import CurriculumNetError, UnknownNameError, UsageError, WeightsError
from curriculumnet.networks import inception_v2, weights  # noqa: F401 (timm knows inception_v2 by its import)
from curriculumnet.networks import multi_scale as scales
from curriculumnet.networks import small_stem as stem

_RECIPE = re.compile(r"model-[a-d](-balanced)?")
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
INTERPOLATIONS = ("bilinear", "bicubic")
_FIRST_LAYERS = (stem.ENTRYPOINT, scales.ENTRYPOINT)
"""Names that timm knows from us and that are no networks."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input.

    Attributes
    ----------
    image_size : int
        Height and width in pixels.
    mean, std : tuple of float
        Of each channel (red, green, blue), for values from 0 to 1.
    interpolation : str
        ``bilinear`` or ``bicubic``.
    crop_pct : float
        The centre crop's share of the resized picture's short side.
    """

    image_size: int
    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD
    interpolation: str = "bilinear"
    crop_pct: float = 0.875


def create(
    model: str,
    n_categories: int,
    *,
    image_size: int,
    pretrained: bool = False,
    small_stem: bool = False,
    multi_scale: bool = False,
    dropout: float | None = None,
) -> nn.Module:
    """Make a network.

    Parameters
    ----------
    model : str
        A timm name, with or without a tag of its weights, or ``inception_v2``.
    n_categories : int
        Outputs of its classifier; 0 for none.
    image_size : int
        Height and width of its input in pixels.
    pretrained : bool
        Begin with weights trained elsewhere: from an installed package, from this machine's cache, or downloaded.
    small_stem : bool
        Give it a first layer for small pictures (see `networks.small_stem`).
    multi_scale : bool
        Give it a first layer of several kernel sizes (see `networks.multi_scale`); not with `pretrained`.
    dropout : float, optional
        Share of the features that its classifier is not shown in training; the network's own unless given.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode. New weights are drawn from torch's global generator.

    Raises
    ------
    UnknownNameError, UsageError
        There is no such network, or it cannot take images of that size, or no such first layer, or dropout.
    WeightsError
        The weights cannot be had.
    """
    check_name(model)
    if multi_scale and pretrained:
        raise UsageError(
            f"--multi-scale gives {model} a new first layer, which --pretrained weights do not fit: leave one of them "
            "out."
        )
    arguments = size_arguments(model, image_size) | ({} if dropout is None else {"drop_rate": dropout})
    with _refusals(model, image_size):
        if pretrained:
            network = _with_weights(model, n_categories, image_size, arguments)
        else:
            network = timm.create_model(model, num_classes=n_categories, **arguments)
        if multi_scale:
            scales.apply(network, image_size, small_stem=small_stem)
        elif small_stem:
            stem.apply(network, image_size)
    check_image_size(network, model, image_size)
    return network


def _with_weights(model: str, n_categories: int, image_size: int, arguments: dict[str, Any]) -> nn.Module:
    try:
        return weights.create_pretrained(model, n_categories, image_size, arguments)
    except WeightsError:
        # When the network cannot take such images without weights either, the weights are not what is wrong.
        check_image_size(timm.create_model(model, **arguments), model, image_size)
        raise


def classifiers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a timm network that give a number per category; most networks have one."""
    try:
        found = network.get_classifier()  # type: ignore[operator]
    except AttributeError:  # some have none to give when they were made without one
        return []
    heads = found if isinstance(found, tuple | list) else [found]
    layers = [[each for each in head.modules() if isinstance(each, nn.Linear | nn.Conv2d)] for head in heads]
    return [each[-1] for each in layers if each]


def check_image_size(network: nn.Module, model: str, image_size: int) -> None:
    """Show a network one picture, so that a size it cannot take is found before any work is done.

    Parameters
    ----------
    network : torch.nn.Module
        On the CPU.
    model : str
        Its timm name.
    image_size : int
        Height and width of its input in pixels.

    Raises
    ------
    UsageError
        It cannot take images of that size.
    """
    training = network.training
    try:
        with _refusals(model, image_size), torch.no_grad():
            network.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        network.train(training)


@contextmanager
def _refusals(model: str, image_size: int) -> Iterator[None]:
    """Turn a network's refusal of an image size into one sentence."""
    try:
        yield
    except (CurriculumNetError, MemoryError):
        raise
    except Exception as error:  # a network refuses a size by whatever it happens to stumble over
        if "allocate memory" in str(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
        own = get_pretrained_cfg(model)
        size = own.input_size[-1] if own else 224
        raise UsageError(
            f"{model} cannot take images of {image_size} px ({reason}): it was made for {size} px; give another "
            "--image-size, or another network."
        ) from error


def small_stem_suits(model: str, image_size: int) -> bool:
    """Say whether a network can have a first layer for small pictures at that image size; it is made to find out.

    Raises
    ------
    UnknownNameError, UsageError
        timm has no such network.
    """
    check_name(model)
    try:
        create(model, 1, image_size=image_size, small_stem=True)
    except UsageError:
        return False
    return True


def normalises_by_batches(model: str) -> bool:
    """Say whether batch norms are a network's only norms, as in most convolutional ones; it is made to find out.

    Raises
    ------
    UnknownNameError, UsageError
        timm has no such network.
    """
    check_name(model)
    norms = [layer for layer in timm.create_model(model, num_classes=1).modules() if isinstance(layer, _NORMS)]
    return bool(norms) and all(isinstance(layer, _BatchNorm) for layer in norms)


def check_name(model: str) -> None:
    """Check that timm has a network of that name.

    Raises
    ------
    UnknownNameError
        It has none; the nearest names are given.
    UsageError
        The name is a recipe's.
    """
    if _RECIPE.fullmatch(model):
        raise UsageError(
            f"{model} is a recipe, not a network: give it as --recipe {model}, "
            "and a network such as resnet18 as --model."
        )
    if not model or not is_model(model) or model in _FIRST_LAYERS:
        raise UnknownNameError("network", model, network_names(), "`timm.list_models()` lists them all.")
    name, _, tag = model.partition(".")
    tagged = get_arch_pretrained_cfgs(name)
    if tag and model not in tagged:
        raise UnknownNameError("network", model, tagged, f"Without a tag, {name} is known.")


def network_names() -> list[str]:
    """Return the names of all networks: timm's, without tags, and ours."""
    return [name for name in timm.list_models() if name not in _FIRST_LAYERS]


def preprocessing(model: str, image_size: int | None, pretrained: bool) -> Preprocessing:
    """Return what a network expects of its input.

    Parameters
    ----------
    model : str
        A timm name.
    image_size : int, optional
        Height and width in pixels; the network's own unless given.
    pretrained : bool
        Whether it has weights trained elsewhere: then it is what these were trained with. Else the means of ImageNet,
        bilinear, and a centre crop of 0.875.

    Raises
    ------
    UnknownNameError, UsageError
        timm has no such network.
    """
    check_name(model)
    config = get_pretrained_cfg(model)
    own = 224 if config is None else int(config.input_size[-1])
    if config is None or not pretrained:
        return Preprocessing(image_size or own)
    return Preprocessing(
        image_size or own,
        three(config.mean),
        three(config.std),
        config.interpolation if config.interpolation in INTERPOLATIONS else "bicubic",
        config.crop_pct,
    )


def size_arguments(model: str, image_size: int) -> dict[str, Any]:
    """Return the arguments that tell a timm network its image size; empty for those that take any."""
    config = get_pretrained_cfg(model)
    return {"img_size": image_size} if config is not None and config.fixed_input_size else {}


def normalise(batch: torch.Tensor, preprocessing: Preprocessing, device: torch.device) -> torch.Tensor:
    """Bring pixels to the device and to what a network expects.

    Parameters
    ----------
    batch : torch.Tensor of uint8, shape (B, 3, S, S)
    preprocessing : Preprocessing
    device : torch.device

    Returns
    -------
    torch.Tensor of float32, shape (B, 3, S, S), channels last in memory
    """
    # uint8 is a quarter of what float32 would be on the way to a GPU.
    pixels = batch.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last)
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
    return pixels.mul_(1 / (255 * std)).sub_(mean / std)


def three(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the numbers of the three channels; ValueError when there are not three."""
    red, green, blue = values
    return red, green, blue
