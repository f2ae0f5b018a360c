"""What a training begins with: the network as it is trained and called, its optimiser, and how it is updated."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from curriculumnet.training.ranks import Ranks

if TYPE_CHECKING:
    import torch

    from curriculumnet.training.course import Course
    from curriculumnet.training.loop import State
    from curriculumnet.training.updates import Manner

_BATCH_NORM_MOMENTUM = 0.1
_CLASSIFIER_RATE = 10.0
"""How much faster a new classifier learns than weights trained elsewhere (docs/results has what was tried)."""


def begin(network: torch.nn.Module, settings: dict[str, Any], precision: torch.dtype, n: int, course: Course) -> State:
    """Return a training of n images that has not begun."""
    import torch
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    from curriculumnet.training.loop import State
    from curriculumnet.training.records import Dynamics

    device = next(network.parameters()).device.type
    of_rmsprop: dict[str, Any] = {"alpha": 0.9, "eps": 1.0} if settings["optimizer"] == "rmsprop" else {}
    return State(
        network,
        ModelEmaV3(network, decay=settings["ema_decay"], use_warmup=True) if settings["ema_decay"] else None,
        create_optimizer_v2(
            network,
            opt=_optimizer(settings),
            lr=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            momentum=settings["momentum"],
            param_group_fn=partial(_groups, settings=settings),
            **of_rmsprop,
        ),
        torch.amp.GradScaler(device, enabled=precision is torch.float16),
        Dynamics.of(n),
        course,
    )


def _optimizer(settings: dict[str, Any]) -> str:
    """Return timm's name of the optimiser: of RMSProp TensorFlow's, whose ε is under the root."""
    if settings["optimizer"] == "sgd" and not settings["momentum"]:
        return "momentum"  # the one that is not Nesterov's, which needs some
    return {"rmsprop": "rmsproptf"}.get(settings["optimizer"], settings["optimizer"])


def manner_of(settings: dict[str, Any], precision: torch.dtype, norms: list[torch.nn.Module]) -> Manner:
    """Return how weights are updated; `norms` are the network's batch norms."""
    from curriculumnet.training.updates import Manner

    return Manner(
        precision,
        label_smoothing=settings["label_smoothing"],
        mixup=settings["mixup"],
        clip_norm=settings["clip_norm"],
        accumulate=settings["accumulate"],
        seed=settings["seed"],
        # Statistics of a few noisy batches are worse than those that the weights came with, where these fit.
        still=norms if settings["freeze"] or (settings["pretrained"] and not settings["small_stem"]) else (),
    )


def as_called(network: torch.nn.Module, settings: dict[str, Any], ranks: Ranks, where: torch.device) -> torch.nn.Module:
    """Return a network as it is called in training: with gradients added up over processes, and compiled."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    forward = network
    if ranks.count > 1:
        on = [where] if where.type == "cuda" else None
        forward = DistributedDataParallel(network, device_ids=on, gradient_as_bucket_view=True)
    return torch.compile(forward) if settings["compile"] else forward  # type: ignore[return-value]


def batch_norms(network: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the batch norms, made to follow within tens of steps: some are made for hundreds of thousands."""
    from torch.nn.modules.batchnorm import _BatchNorm

    found = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    for layer in found:
        if layer.momentum is not None:
            layer.momentum = max(layer.momentum, _BATCH_NORM_MOMENTUM)
    return list(found)


def _groups(network: torch.nn.Module, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the optimiser's groups: no decay of biases and norms; a new classifier on trained features is faster."""
    from timm.optim import param_groups_weight_decay

    from curriculumnet.networks.create import classifiers

    layers = classifiers(network) if settings["pretrained"] else []
    new = {id(weight) for layer in layers for weight in layer.parameters()}
    whole = network.no_weight_decay() if hasattr(network, "no_weight_decay") else ()  # type: ignore[operator]
    groups = []
    for group in param_groups_weight_decay(network, settings["weight_decay"], no_weight_decay_list=whole):
        old = [weight for weight in group["params"] if id(weight) not in new]
        fresh = [weight for weight in group["params"] if id(weight) in new]
        groups += [group | {"params": old}] if old else []
        groups += [group | {"params": fresh, "lr_scale": _CLASSIFIER_RATE}] if fresh else []
    return groups
