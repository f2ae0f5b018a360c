"""The settings of a training: what they are unless given, and which cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from curriculumnet.errors import UnknownNameError, UsageError

_LARGEST = 1_000_000
"""Epochs, images in a batch, or a rate beyond which nobody can mean it."""
_SMALLEST_IMAGE, _LARGEST_IMAGE = 16, 4096
"""Pixels; what networks make of less has no height or width left."""
SMALL_IMAGE = 64
"""Pixels up to which a network gets a first layer for small pictures."""
LARGEST_BATCH, _SMALLEST_BATCH, _EPOCH_STEPS = 256, 32, 50
"""The batch of Guo et al. 2018, and down to what it is halved while an epoch has fewer steps."""


LATER: dict[str, Any] = {
    "cache": False,
    "schedule": "cosine",
    "mixup": 0.0,
    "clip_norm": None,
    "balance": None,
    "stage_steps": [],
    "accumulate": 1,
    "compile": False,
    "multi_scale": False,
    "dropout": None,
    "continue_from": None,
    "freeze": False,
    "stage_until": "steps",
    "teacher": "online",
}
"""Settings that are written down only where they are not these, their defaults: earlier trainings had none of them."""


def default_decay(optimizer: str) -> float:
    """Return the decay of weights: with RMSProp that of Szegedy et al. 2016."""
    return {"sgd": 5e-4, "adamw": 0.05, "rmsprop": 4e-5}[optimizer]


def default_small_stem(model: str, image_size: int, pretrained: bool) -> bool:
    """Whether a first layer for small pictures is used: on small pictures, by networks that can have one."""
    if pretrained or image_size > SMALL_IMAGE:
        return False
    from curriculumnet.networks.create import small_stem_suits

    return small_stem_suits(model, image_size)


def default_optimizer(model: str, pretrained: bool) -> Literal["sgd", "adamw"]:
    """Return SGD where all norms are batch norms, as in most convolutional networks: it cannot train others."""
    from curriculumnet.networks.create import normalises_by_batches

    return "sgd" if pretrained or normalises_by_batches(model) else "adamw"


def default_batch_size(n_train: int) -> int:
    """Return the images per step: 256, or less where an epoch of a small crawl would have too few steps to learn in.

    Parameters
    ----------
    n_train : int
        Usable training images.

    Returns
    -------
    int
        The largest of 256, 128, 64 and 32 with which an epoch has 50 steps; 32 if there is none.
    """
    batch_size = LARGEST_BATCH
    while batch_size > _SMALLEST_BATCH and n_train < _EPOCH_STEPS * batch_size:
        batch_size //= 2
    return batch_size


def default_rate(optimizer: Literal["sgd", "adamw", "rmsprop"], pretrained: bool, batch_size: int) -> float:
    """Return the highest learning rate: by the root of the batch, from scratch but with AdamW in proportion to it.

    Parameters
    ----------
    optimizer : {"sgd", "adamw", "rmsprop"}
    pretrained : bool
        Whether the weights were trained elsewhere.
    batch_size : int
        Images per step.

    Returns
    -------
    float
        Four significant digits.
    """
    share = max(0, batch_size) / LARGEST_BATCH
    if pretrained:
        # Batch norms that stand still do not hold back what a rate in proportion to a large batch would do.
        rate = {"sgd": 0.005, "adamw": 0.0003, "rmsprop": 0.001}[optimizer] * math.sqrt(share)
    else:
        rate = {"sgd": 0.4 * share, "adamw": 0.003 * math.sqrt(share), "rmsprop": 0.1 * share}[optimizer]
    return float(f"{rate:.4g}")


def check_choices(function: Callable[..., Any], given: Mapping[str, str | None]) -> None:
    """Refuse what is none of the choices of a function's argument; a shell's flags were checked before.

    Parameters
    ----------
    function : callable
        Its arguments are annotated with ``Literal``.
    given : mapping of str to str or None
        Values by the arguments' names; None is whatever the default is.

    Raises
    ------
    UnknownNameError
    """
    hints = get_type_hints(function)
    for name, value in given.items():
        hint = hints[name]
        known = get_args(hint if get_origin(hint) is Literal else get_args(hint)[0])
        if value is not None and value not in known:
            raise UnknownNameError(name.replace("_", " "), value, known)


def check_ranges(settings: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be meant, in one sentence.

    Parameters
    ----------
    settings : mapping of str to number or sequence of numbers, or None
        Any of them by their names; what is absent, None or an empty sequence is whatever the default is.

    Raises
    ------
    UsageError
    """

    def check(name: str, fits: Callable[[Any], bool], what: str) -> None:
        value = settings.get(name)
        if value is None or (isinstance(value, tuple | list) and not value) or fits(value):
            return
        shown = " ".join(f"{number:g}" for number in (value if isinstance(value, tuple | list) else (value,)))
        raise UsageError(f"--{name.replace('_', '-')} is {shown}: {what}.")

    for name in ("epochs", "batch_size", "learning_rate", "clip_norm"):
        check(name, lambda value: 0 < value <= _LARGEST, f"it must be above 0 and at most {_LARGEST:,}")
    check(
        "image_size",
        lambda value: _SMALLEST_IMAGE <= value <= _LARGEST_IMAGE,
        f"it must be at least {_SMALLEST_IMAGE} pixels and at most {_LARGEST_IMAGE:,}",
    )
    check("seed", lambda value: 0 <= value < 2**63, "it must be at least 0 and below 2^63")
    check("weight_decay", lambda value: 0 <= value < math.inf, "it must be at least 0")
    for name in ("ema_decay", "momentum", "label_smoothing", "warmup_share", "dropout"):
        check(name, lambda value: 0 <= value < 1, "it must be at least 0 and below 1")
    check("noisy_share", lambda value: 0 <= value <= 1, "it must lie between 0 and 1")
    check("crop_scale", lambda pair: 0 < pair[0] <= pair[1] <= 1, "it must be two rising numbers above 0, at most 1")
    check("crop_ratio", lambda pair: 0 < pair[0] <= pair[1] < math.inf, "it must be two rising numbers above 0")
    check("stage_shares", lambda shares: all(0 < share < math.inf for share in shares), "every share must be above 0")
    check(
        "subset_weights",
        lambda weights: all(0 <= weight < math.inf for weight in weights) and weights[0] > 0,
        "none may be below 0, and the first must be above",
    )
    check("mixup", lambda value: 0 <= value < math.inf, "it must be at least 0")
    check("stage_steps", lambda steps: all(step > 0 for step in steps), "every stage needs a step")
    for name in ("accumulate", "devices"):
        check(name, lambda value: 1 <= value <= _LARGEST, f"it must be at least 1 and at most {_LARGEST:,}")
    check("checkpoint_minutes", lambda value: 0 <= value < math.inf, "it must be at least 0")
    check("workers", lambda value: value >= 0, "it must be at least 0; 0 works in this process")
