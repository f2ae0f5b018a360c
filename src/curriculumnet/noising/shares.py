"""How many pictures of each category become noise: exact numbers from shares, by largest remainders."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

from curriculumnet.errors import UsageError

RIGHT, CONFUSED, UNIFORM, OUTSIDE = KINDS = ("right", "confused", "uniform", "outside")
"""What a picture of the copy can be, in the words of ``truth.csv``."""

Confusions = Mapping[tuple[str, str], Fraction]
"""The share of a category's pictures that are given another category's label, by the two."""


class Cell(NamedTuple):
    """Pictures of one category that become one kind of noise; `label` is what confused ones are called, else empty."""

    kind: str
    category: str
    label: str = ""


def exact(share: float) -> Fraction:
    """Return a share as it was typed: as a float, 0.29 of a hundred would be 28.

    >>> math.floor(100 * 0.29), math.floor(100 * exact(0.29))
    (28, 29)
    """
    return Fraction(repr(float(share)))


def check_sums(sizes: Mapping[str, int], closed: Fraction, confusions: Confusions, outside: Fraction) -> None:
    """Check that no category is asked for more noise than it has pictures.

    Raises
    ------
    UsageError
        The shares of a category exceed 1.
    """
    confused: dict[str, Fraction] = defaultdict(Fraction)
    for (category, _), share in confusions.items():
        confused[category] += share
    for category in sizes:
        whole = closed + confused[category] + outside
        if whole > 1:
            raise UsageError(
                f"The shares of {category} add up to {float(whole):g} (--closed {float(closed):g}, --confuse "
                f"{float(confused[category]):g}, --outside-share {float(outside):g}): together they must not exceed 1."
            )


def numbers(
    sizes: Mapping[str, int],
    closed: Fraction,
    confusions: Confusions,
    outside: Fraction,
    tie: Callable[[Cell], object],
) -> dict[Cell, int]:
    """Return how many pictures each cell has.

    Each number is its share of the category's pictures, rounded up or down. Over all categories those of a kind add
    up to the rounded share of all pictures, as long as every category keeps as many right ones as it has kinds of
    noise; in smaller ones there may be no room for the last.

    Parameters
    ----------
    sizes : mapping of str to int
        The pictures of each category.
    closed, outside : Fraction
        Shares of each category.
    confusions : mapping of (str, str) to Fraction
        Shares by category and label.
    tie : callable
        Orders cells of the same remainder.
    """
    wanted = {
        UNIFORM: {Cell(UNIFORM, category): closed * size for category, size in sizes.items()},
        CONFUSED: {Cell(CONFUSED, *pair): share * sizes[pair[0]] for pair, share in confusions.items()},
        OUTSIDE: {Cell(OUTSIDE, category): outside * size for category, size in sizes.items()},
    }
    room = dict(sizes)
    for quotas in wanted.values():
        for cell, quota in quotas.items():
            room[cell.category] -= math.floor(quota)
    found: dict[Cell, int] = {}
    for quotas in wanted.values():
        found |= _largest_remainders(quotas, room, tie)
    return found


def _largest_remainders(
    quotas: Mapping[Cell, Fraction], room: dict[str, int], tie: Callable[[Cell], object]
) -> dict[Cell, int]:
    """Round quotas so that their sum is rounded, too; what is rounded up takes from the category's room."""
    found = {cell: math.floor(quota) for cell, quota in quotas.items()}
    short = math.floor(sum(quotas.values()) + Fraction(1, 2)) - sum(found.values())
    remainders = {cell: quota - found[cell] for cell, quota in quotas.items() if quota > found[cell]}
    for cell in sorted(remainders, key=lambda cell: (-remainders[cell], tie(cell))):
        if short and room[cell.category]:
            found[cell] += 1
            room[cell.category] -= 1
            short -= 1
    return found
