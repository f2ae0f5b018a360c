"""A model folder: a network with all that is needed to ask it, as timm and the Hugging Face hub lay it out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from timm.models import is_model, model_entrypoint
from torch import nn

from curriculumnet.errors import InputError
from curriculumnet.networks import multi_scale as scales
from curriculumnet.networks import small_stem as stem
from curriculumnet.networks.create import INTERPOLATIONS, Preprocessing, size_arguments, three
from curriculumnet.version import __version__

CONFIG, WEIGHTS, README = "config.json", "model.safetensors", "README.md"
"""The files of a model folder."""


@dataclass(frozen=True)
class Model:
    """A network that was loaded from a model folder, or made, ready to be asked.

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode.
    name : str
        Its timm name.
    categories : tuple of str
        What its outputs mean, in their order; empty when it has none.
    preprocessing : Preprocessing
        What it expects of its input.
    training : dict
        The settings it was trained with, as far as they are known.
    """

    network: nn.Module
    name: str
    categories: tuple[str, ...]
    preprocessing: Preprocessing
    training: dict[str, Any]

    def digest(self) -> str:
        """Return the BLAKE2b-128 digest of the weights, by name and value, as 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode("utf-8"))
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def save(
    network: nn.Module,
    *,
    model: str,
    categories: list[str],
    preprocessing: Preprocessing,
    small_stem: bool,
    multi_scale: bool = False,
    training: dict[str, Any],
) -> dict[str, bytes]:
    """Return the files of a model folder.

    Parameters
    ----------
    network : torch.nn.Module
        The trained network, made by `networks.create.create`.
    model : str
        Its timm name.
    categories : list of str
        The categories in the order of its outputs.
    preprocessing : Preprocessing
        What it expects of its input.
    small_stem : bool
        Whether it has a first layer for small pictures.
    multi_scale : bool
        Whether it has a first layer of several kernel sizes.
    training : dict
        The settings it was trained with.

    Returns
    -------
    dict of str to bytes
        ``config.json``, ``model.safetensors`` and ``README.md``.
    """
    config = _config(network, model, categories, preprocessing, small_stem, multi_scale, training)
    # A copy of each: safetensors refuses tensors that share memory, and wants rows, not channels, last.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    return {
        CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode("utf-8"),
        WEIGHTS: save_tensors(tensors, metadata={"format": "pt"}),
        README: _readme(model, config, preprocessing, training).encode("utf-8"),
    }


def load(path: str | Path, device: torch.device) -> Model:
    """Load a model folder.

    Parameters
    ----------
    path : path-like
        The folder.
    device : torch.device
        Where the network goes.

    Raises
    ------
    InputError
        Something is missing there, or is not what it should be.
    """
    folder = Path(path)
    config = _read_config(folder)
    try:
        about = config.get("pretrained_cfg", config)
        arguments = dict(config.get("model_args", {}))
        arguments.setdefault("num_classes", int(config.get("num_classes", about.get("num_classes", 1000))))
        labels = config.get("label_names", about.get("label_names"))
        categories = labels if isinstance(labels, list) else [str(n) for n in range(arguments["num_classes"])]
        expected = _preprocessing(about)
        name = str(arguments.get("network", config["architecture"]))
        known = is_model(config["architecture"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / CONFIG} is not as timm writes it ({error!r}): train or fetch it anew.") from error
    if not known:
        raise InputError(f"{folder / CONFIG} names the network {name!r}, which this version of timm does not have.")
    network = timm.create_model(config["architecture"], **arguments)
    network.load_state_dict(_read_weights(folder, network))
    network = placed(network, device)
    return Model(network, name, tuple(categories), expected, dict(config.get("curriculumnet", {}).get("training", {})))


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a network on a device, channels last in memory, in evaluation mode."""
    network.to(device)
    # Two calls: torch's types know no single one.
    return network.to(memory_format=torch.channels_last).eval()


def _config(
    network: nn.Module,
    model: str,
    categories: list[str],
    preprocessing: Preprocessing,
    small_stem: bool,
    multi_scale: bool,
    training: dict[str, Any],
) -> dict[str, Any]:
    own: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    architecture = own.get("architecture") or model.partition(".")[0]
    size = preprocessing.image_size
    arguments: dict[str, Any] = size_arguments(model, size)
    entrypoint = architecture
    if small_stem or multi_scale:
        entrypoint = scales.ENTRYPOINT if multi_scale else stem.ENTRYPOINT
        arguments |= {"network": architecture, "image_size": size}
    if multi_scale:
        arguments["small_stem"] = small_stem
    return {
        "architecture": entrypoint,
        "num_classes": len(categories),
        "num_features": network.num_features,
        "label_names": categories,
        "model_args": arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": bool(own.get("fixed_input_size", False)),
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": len(categories),
            "pool_size": None,
            "first_conv": own.get("first_conv"),
            "classifier": own.get("classifier"),
        },
        "curriculumnet": {"version": __version__, "training": training},
    }


def _preprocessing(about: dict[str, Any]) -> Preprocessing:
    plain = Preprocessing(int(about["input_size"][-1]))
    return Preprocessing(
        plain.image_size,
        three(about.get("mean", plain.mean)),
        three(about.get("std", plain.std)),
        about["interpolation"] if about.get("interpolation") in INTERPOLATIONS else "bicubic",
        float(about.get("crop_pct", plain.crop_pct)),
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no model folder: it has no {CONFIG}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): train or fetch the model anew.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not as timm writes it (no object): train or fetch the model anew.")
    return found


def _read_weights(folder: Path, network: nn.Module) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    try:
        tensors = load_tensors(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} has no {WEIGHTS}: train or fetch the model anew.") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read ({error}): train or fetch the model anew.") from error
    wanted = network.state_dict()
    strangers = [
        name
        for name in sorted(wanted.keys() | tensors.keys())
        if name not in wanted or name not in tensors or wanted[name].shape != tensors[name].shape
    ]
    if strangers:
        raise InputError(
            f"{path} does not fit the network that {CONFIG} describes ({strangers[0]}, {len(strangers)} in all): "
            "the two are not from one model."
        )
    return tensors


def _readme(model: str, config: dict[str, Any], preprocessing: Preprocessing, training: dict[str, Any]) -> str:
    size, categories = preprocessing.image_size, config["label_names"]
    short = int(size / preprocessing.crop_pct)
    imported = [f"import {module}" for module in _own_modules(config)]
    need = (
        f"It is {_described(config)}, which timm does not have: `pip install curriculumnet`, and what is imported of "
        "it below makes timm know the network."
        if imported
        else "Nothing but timm is needed."
    )
    settings = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in training.items()]
    labels = [f"| {index} | {_cell(name)} |" for index, name in enumerate(categories)]
    return "\n".join(
        [
            "---",
            "library_name: timm",
            "pipeline_tag: image-classification",
            "tags:",
            "- image-classification",
            "- timm",
            "- curriculum-learning",
            "---",
            f"# {model}, {len(categories):,} categories",
            "",
            f"Trained with curriculumnet {__version__} on pictures whose labels were not checked by a person: it may "
            "have learnt mistakes of theirs.",
            "",
            "## Asking it",
            "",
            "```",
            "curriculumnet predict FOLDER photo.jpg",
            "```",
            "",
            f"In timm, with FOLDER as a path. {need}",
            "",
            "```python",
            *imported,
            "import timm",
            'network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
            "```",
            "",
            f"Its input: RGB, the short side resized to {short} px ({preprocessing.interpolation}), the centre cropped "
            f"to {size} × {size}, values from 0 to 1 less the mean {_numbers(preprocessing.mean)}, divided by "
            f"{_numbers(preprocessing.std)}.",
            "",
            "## How it was trained",
            "",
            "| setting | value |",
            "|---|---|",
            *settings,
            "",
            "## Categories",
            "",
            "| output | category |",
            "|---|---|",
            *labels,
            "",
        ]
    )


def _network(config: dict[str, Any]) -> str:
    return str(config["model_args"].get("network", config["architecture"]))


def _described(config: dict[str, Any]) -> str:
    first_layers = {stem.ENTRYPOINT: "for small pictures", scales.ENTRYPOINT: "of several kernel sizes"}
    kind = first_layers.get(config["architecture"])
    return _network(config) + (f" with a first layer {kind}" if kind else "")


def _own_modules(config: dict[str, Any]) -> list[str]:
    """Return the modules of ours that make timm know what the configuration names."""
    homes = [model_entrypoint(name).__module__ for name in dict.fromkeys([_network(config), config["architecture"]])]
    return [home for home in homes if home.startswith("curriculumnet.")]


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _cell(value: Any) -> str:
    """Return a value as text that cannot break a Markdown table."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str("" if value is None else value)
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]<>|#~" else letter for letter in text)
    return " ".join(escaped.split())
