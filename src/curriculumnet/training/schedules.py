"""Learning-rate schedules: the rate's factor at each step."""

import math
from itertools import pairwise


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at a step.

    It rises linearly over `warmup` steps, then falls along half a cosine to 0 (Loshchilov & Hutter 2017; Goyal et al.
    2017 for the warm-up).

    Parameters
    ----------
    step : int
        0 … steps - 1.
    steps : int
        The length of the schedule.
    warmup : int
        Steps of the warm-up, below `steps`.

    Returns
    -------
    float
        Above 0, at most 1.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


STEP_SHARES = (30 / 70, 50 / 70, 60 / 70, 65 / 70)
"""Where the authors of CurriculumNet divided the rate by ten: after 30, 50, 60 and 65 of 70 times 10,000 steps."""


def warmup_steps(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at a step, divided by ten at each of `STEP_SHARES` of all steps.

    Guo et al. 2018, section 4.1, from memory; before it the rate rises linearly over `warmup` steps, which they did
    not have. Parameters and what is returned are those of `warmup_cosine`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return float(0.1 ** sum(step >= share * steps for share in STEP_SHARES))


SCHEDULES = {"cosine": warmup_cosine, "step": warmup_steps}
"""The schedules by their names."""


def split(steps: int, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    """Cut `steps` into stages by their shares.

    Returns
    -------
    list of tuple of int
        First step and end of each stage; every stage has at least one step if there are as many steps as stages.
    """
    total, done, ends = sum(shares), 0.0, [0]
    for index, share in enumerate(shares):
        done += share
        most = steps - (len(shares) - 1 - index)
        ends.append(max(ends[-1], min(max(round(steps * done / total), ends[-1] + 1), most)))
    ends[-1] = steps
    return list(pairwise(ends))
