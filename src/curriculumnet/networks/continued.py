"""Go on from a network that was trained before, for the same categories or others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from curriculumnet.errors import UsageError
from curriculumnet.networks.create import classifiers
from curriculumnet.networks.folder import Model


def take_over(network: nn.Module, earlier: Model, categories: Sequence[str]) -> int:
    """Give a new network the weights of an earlier one.

    Its classifier has those of the categories that both know; of others, what it was made with.

    Parameters
    ----------
    network : torch.nn.Module
        The new one, changed in place.
    earlier : Model
        The earlier one.
    categories : sequence of str
        The new one's categories in their order.

    Returns
    -------
    int
        How many categories both know.

    Raises
    ------
    UsageError
        They are not the same but for the classifier.
    """
    mine, theirs = network.state_dict(), earlier.network.state_dict()
    heads = {id(weight) for layer in classifiers(network) for weight in layer.parameters()}
    of_categories = {name for name, weight in network.named_parameters() if id(weight) in heads}
    if mine.keys() != theirs.keys() or any(
        mine[name].shape != theirs[name].shape for name in mine.keys() - of_categories
    ):
        raise UsageError(
            f"The earlier network is {earlier.name}, whose layers are not those of the new one: leave out --model, "
            "--image-size, --small-stem and --multi-scale, which are then the earlier one's."
        )
    known = [
        (place, earlier.categories.index(name)) for place, name in enumerate(categories) if name in earlier.categories
    ]
    to, since = (
        torch.tensor(places, dtype=torch.int64) for places in (zip(*known, strict=True) if known else ((), ()))
    )
    taken = {}
    for name, values in theirs.items():
        taken[name] = values
        if name in of_categories:
            taken[name] = mine[name].clone()
            taken[name][to] = values.to(mine[name].device)[since]
    network.load_state_dict(taken)
    return len(known)
