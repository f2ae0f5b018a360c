"""From a recipe and a curriculum to the batches of a training: which images, in which stages, with which weights."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from curriculumnet.errors import UsageError
from curriculumnet.training.batches import CurriculumBatches, Pool, Stage, share_places
from curriculumnet.training.course import Course, pieces
from curriculumnet.training.plateau import Plateau
from curriculumnet.training.recipes import Recipe
from curriculumnet.training.schedules import split
from curriculumnet.training.self_paced import SelfPaced
from curriculumnet.training.teacher import Teacher

_STAGE_SHARES = {1: (1.0,), 2: (0.4, 0.6), 3: (0.3, 0.3, 0.4)}
"""Lengths of one, two, three stages as shares; with more, all are equal."""


def plan(
    recipe: Recipe,
    ids: np.ndarray,
    subsets: np.ndarray | None,
    n_subsets: int,
    targets: np.ndarray,
    settings: dict[str, Any],
    aside: np.ndarray | None = None,
) -> CurriculumBatches:
    """Return the batches of a training.

    Parameters
    ----------
    recipe : Recipe
    ids : ndarray of int64, shape (n,)
        All usable training images.
    subsets : ndarray of int, shape (n,), or None
        The subset of each of them, -1 where the curriculum does not know it; None for a recipe without curriculum.
    n_subsets : int
        How many subsets the curriculum has, those without images included.
    targets : ndarray of int64, shape (number of images,)
        The category's index of each image id.
    settings : dict
        `train`'s arguments: epochs, batch_size, balance, places, noisy_share, subset_weights, stage_shares,
        stage_steps, stage_schedule and seed.
    aside : ndarray of int64, optional
        Images that take no part, though they count for the length.

    Returns
    -------
    CurriculumBatches

    Raises
    ------
    InputError
        The clean subset is empty.
    UsageError
        Not as many shares or steps as stages, or fewer weights than subsets.
    """
    members = _members(recipe, ids, subsets, n_subsets, settings)
    if aside is not None:
        members = [found[~np.isin(found, aside)] for found in members]
    stages = _stages(recipe, tuple(len(found) for found in members), len(ids), settings)
    balance = settings["balance"] or recipe.balance
    pools = [
        Pool.balanced(found, targets[found], by_root=balance == "sqrt")
        if balance in ("all", "sqrt") or (balance == "clean" and subset == 0)
        else Pool(found)
        for subset, found in enumerate(members)
    ]
    return CurriculumBatches(tuple(pools), stages, settings["seed"])


def _members(
    recipe: Recipe, ids: np.ndarray, subsets: np.ndarray | None, n_subsets: int, settings: dict[str, Any]
) -> list[np.ndarray]:
    """Return the images of each subset that takes part, cleanest first."""
    if subsets is None:
        return [ids]
    taking_part = recipe.taking_part(n_subsets)
    members = [ids[subsets == subset] for subset in range(taking_part)]
    if settings["noisy_share"] < 1 and taking_part == n_subsets > 1:
        order = np.random.default_rng((settings["seed"], 0)).permutation(members[-1])
        members[-1] = np.sort(order[: round(settings["noisy_share"] * len(order))])
    return members


def _stages(recipe: Recipe, sizes: tuple[int, ...], n: int, settings: dict[str, Any]) -> tuple[Stage, ...]:
    count = len(sizes) if recipe.staged else 1
    lengths = tuple(settings["stage_steps"])
    shares = tuple(settings["stage_shares"]) or _STAGE_SHARES.get(count, (1.0,) * count)
    for flag, values in (("stage-shares", shares), ("stage-steps", lengths or shares)):
        if len(values) != count:
            raise UsageError(f"--{flag} has {len(values)} values, but this training has {count} stages.")
    if lengths and (settings["stage_shares"] or settings["stage_schedule"] == "restart"):
        raise UsageError("--stage-steps says how long each stage is: leave out --stage-shares and --stage-schedule.")
    weights = tuple(settings["subset_weights"]) or (1.0, *(0.5,) * (len(sizes) - 1))
    if len(weights) < len(sizes):
        raise UsageError(f"--subset-weights has {len(weights)} values, but {len(sizes)} subsets take part.")
    steps = math.ceil(settings["epochs"] * n / settings["batch_size"])
    if lengths:
        ends = [0, *accumulate(lengths)]
        spans = list(pairwise(ends))
    elif settings["stage_schedule"] == "restart":
        spans = [(index * steps, (index + 1) * steps) for index in range(count)]
    else:
        spans = split(steps, shares)
    stages = []
    for index, (first, last) in enumerate(spans):
        subsets = tuple(range(index + 1)) if recipe.staged else tuple(range(len(sizes)))
        places = share_places(settings["batch_size"], sizes[: len(subsets)], settings["places"])
        stages.append(Stage(subsets, places, weights[: len(subsets)], first, last))
    return tuple(stage for stage in stages if stage.last > stage.first)


def plan_course(
    recipe: Recipe,
    training: tuple[np.ndarray, np.ndarray | None, int],
    targets: np.ndarray,
    settings: dict[str, Any],
) -> tuple[Course, dict[int, np.ndarray]]:
    """Return what takes part when, and the images of each subset that are set aside to decide it by.

    Raises
    ------
    UsageError
        What is to be decided cannot be, or has been laid down as well.
    """
    ids, subsets, n_subsets = training
    by_plateau = settings["stage_until"] == "plateau"
    if by_plateau and not recipe.staged:
        raise UsageError("--stage-until plateau ends stages: take a recipe that has some, such as model-d.")
    if settings["teacher"] != "online" and recipe.course != "teacher":
        raise UsageError("--teacher is for the recipe teacher: leave it out.")
    if settings["stage_schedule"] == "restart" and (by_plateau or recipe.course != "laid down"):
        raise UsageError("--stage-schedule restart needs stages whose length is laid down: leave one of the two out.")
    if subsets is None or (recipe.course == "laid down" and not by_plateau):
        batches = plan(recipe, *training, targets, settings)
        if recipe.course == "self-paced":
            return SelfPaced(batches, ids, targets[ids]), {}
        return Course(batches), {}
    members = {subset: ids[subsets == subset] for subset in range(recipe.taking_part(n_subsets))}
    aside = pieces(members, settings["seed"])
    batches = plan(recipe, *training, targets, settings, np.concatenate([ids[:0], *aside.values()]))
    return Plateau(batches) if by_plateau else Teacher(batches, settings["teacher"]), aside
