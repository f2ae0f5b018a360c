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
