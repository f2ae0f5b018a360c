"""Which pictures become noise, and of what kind: a row of the copy for each picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curriculumnet.noising.chance import digest
from curriculumnet.noising.pictures import Picture
from curriculumnet.noising.shares import CONFUSED, OUTSIDE, RIGHT, UNIFORM, Cell


class Placed(NamedTuple):
    """A picture of the copy: the label that it is given, the true one, and the kind that it is."""

    picture: Picture
    label: str
    true_label: str
    kind: str


def draw(
    pictures: Sequence[Picture], numbers: Mapping[Cell, int], outside: Sequence[Picture], seed: int
) -> list[Placed]:
    """Give labels to the pictures.

    The pictures of a category are put into an order that the seed decides, and noise is taken from its front: first
    what is uniform, then what is confused, then what is replaced from outside. A larger share therefore changes what
    a smaller one changed, but for a picture of a category here and there that rounding takes.

    Parameters
    ----------
    pictures : sequence of Picture
        The clean ones, in any order.
    numbers : mapping of Cell to int
        As `shares.numbers` gives them.
    outside : sequence of Picture
        At least as many as are to be replaced, in any order.
    seed : int

    Returns
    -------
    list of Placed
        As many as pictures.
    """
    categories = sorted({picture.label for picture in pictures})
    ordered = defaultdict(list)
    for picture in sorted(pictures, key=lambda each: digest(seed, "picture", each.key)):
        ordered[picture.label].append(picture)
    by_category: dict[str, list[tuple[Cell, int]]] = defaultdict(list)
    for cell, number in sorted(numbers.items()):
        by_category[cell.category].append((cell, number))
    placed: list[Placed] = []
    replaced: list[tuple[float, bytes, str]] = []
    for category in categories:
        new = _changes(category, categories, dict(by_category[category]), seed)
        own = ordered[category]
        for place, picture in enumerate(own):
            label, kind = next(new, (category, RIGHT))
            if kind == OUTSIDE:
                replaced.append((place / len(own), digest(seed, "tie", category), category))
            else:
                placed.append(Placed(picture, label, category, kind))
    strangers = sorted(outside, key=lambda each: digest(seed, "outside", each.key))
    for (_, _, category), stranger in zip(sorted(replaced), strangers, strict=False):
        placed.append(Placed(stranger, category, f"{OUTSIDE}:{stranger.label}", OUTSIDE))
    return placed


def _changes(
    category: str, categories: Sequence[str], numbers: Mapping[Cell, int], seed: int
) -> Iterator[tuple[str, str]]:
    """Give the labels and kinds of a category's first pictures, the noisy ones, from the numbers of its cells."""
    if uniform := numbers.get(Cell(UNIFORM, category), 0):
        others = [each for each in categories if each != category]
        chance = np.random.default_rng(int.from_bytes(digest(seed, "labels", category)))
        turn = chance.permutation(len(others)).tolist()
        for place in range(uniform):
            yield others[turn[place % len(turn)]], UNIFORM
    for cell, number in numbers.items():
        if cell.kind == CONFUSED:
            yield from [(cell.label, CONFUSED)] * number
    yield from [(category, OUTSIDE)] * numbers.get(Cell(OUTSIDE, category), 0)
