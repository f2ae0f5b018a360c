from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curriculumnet.ingestion.splits import LEAST, hold_out


def digests(pictures: list[int]) -> NDArray[np.uint8]:
    whole = b"".join(hashlib.blake2b(str(p).encode(), digest_size=16).digest() for p in pictures)
    return np.frombuffer(whole, dtype=np.uint8).reshape(-1, 16)


def codes(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


shares = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.9])
images = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(-1, 12)), min_size=1, max_size=120)
"""A picture, a category and a group for each image."""


def split(rows: list[tuple[int, int, int]], share: float, seed: int, grouped: bool = True) -> NDArray[np.bool_]:
    pictures, categories, groups = (list(column) for column in zip(*rows, strict=True))
    known = {category: code for code, category in enumerate(sorted(set(categories)))}
    return hold_out(
        digests(pictures),
        codes([known[category] for category in categories]),
        share=share,
        seed=seed,
        groups=[codes(groups)] if grouped else [],
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=150), shares, st.integers(0, 5))
def test_distinct_pictures_are_held_out_exactly_by_share(categories: list[int], share: float, seed: int) -> None:
    held = split([(place, category, -1) for place, category in enumerate(categories)], share, seed)
    for category in set(categories):
        rows = codes(categories) == category
        n = rows.sum()
        expected = 0 if share == 0 or n < LEAST else min(max(1, round(n * share)), n - 1)
        assert held[rows].sum() == expected


@given(images, shares, st.integers(0, 5))
def test_what_belongs_together_is_never_parted(rows: list[tuple[int, int, int]], share: float, seed: int) -> None:
    held = split(rows, share, seed)
    for place in (0, 2):
        sides: dict[int, set[bool]] = {}
        for row, side in zip(rows, held.tolist(), strict=True):
            if row[place] >= 0:
                sides.setdefault(row[place], set()).add(side)
        assert all(len(side) == 1 for side in sides.values())


@given(images, st.data(), shares, st.integers(0, 5))
def test_groups_of_two_kinds_are_both_kept_together(
    rows: list[tuple[int, int, int]], data: st.DataObject, share: float, seed: int
) -> None:
    kinds = [[row[2] for row in rows], data.draw(st.lists(st.integers(-1, 9), min_size=len(rows), max_size=len(rows)))]
    held = hold_out(
        digests([row[0] for row in rows]),
        codes([row[1] for row in rows]),
        share=share,
        seed=seed,
        groups=[codes(kind) for kind in kinds],
    )
    for kind in kinds:
        for group in set(kind) - {-1}:
            assert len(set(held[codes(kind) == group].tolist())) == 1


@given(images, shares, st.integers(0, 5))
def test_every_category_keeps_a_training_image_and_small_ones_all(
    rows: list[tuple[int, int, int]], share: float, seed: int
) -> None:
    held = split(rows, share, seed)
    categories = codes([row[1] for row in rows])
    for category in set(categories.tolist()):
        mine = held[categories == category]
        assert not mine.all()
        assert len(mine) >= LEAST or not mine.any()


@given(images, shares, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_files_is_irrelevant(
    rows: list[tuple[int, int, int]], share: float, seed: int, random: object
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    held = split(rows, share, seed)
    assert split([rows[place] for place in order], share, seed).tolist() == held[order].tolist()


def test_another_seed_holds_out_other_pictures() -> None:
    rows = [(place, place % 4, -1) for place in range(400)]
    first, again, other = split(rows, 0.1, 0), split(rows, 0.1, 0), split(rows, 0.1, 1)
    assert (first == again).all()
    assert (first & other).sum() < 15
    assert first.sum() == other.sum() == 40


@pytest.mark.parametrize("seed", range(5))
def test_groups_over_many_categories_come_near_the_share(seed: int) -> None:
    random = np.random.default_rng(seed)
    group = random.zipf(1.5, 3000).clip(max=200)
    rows = [(place, int(random.integers(0, 15)), int(group[place])) for place in range(3000)]
    # The largest group alone is a third of all images.
    held = split(rows, 0.1, seed)
    assert 0.08 <= held.mean() <= 0.11
    category = codes([row[1] for row in rows])
    shares = np.bincount(category, held) / np.bincount(category)
    assert shares.min() > 0.04
    assert shares.max() < 0.18


def test_each_category_has_one_held_out_if_any_group_allows_it() -> None:
    # Of the small category each picture shares its sender with many of the large one.
    rows = [(place, 0, place // 9) for place in range(900)]
    rows += [(1000 + place, 1, place) for place in range(20)]
    held = split(rows, 0.1, 0)
    assert held[900:].any()
    assert not held[900:].all()
    assert 0.08 <= held.mean() <= 0.13


def test_one_group_over_all_leaves_nothing_to_hold_out() -> None:
    assert not split([(place, place % 2, 7) for place in range(100)], 0.1, 0).any()


def test_no_images_hold_out_nothing() -> None:
    assert hold_out(digests([]), codes([]), share=0.1, seed=0).tolist() == []
