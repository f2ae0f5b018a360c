"""Numbers from shares, and who is drawn: exact, seeded, whatever the order."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.noising.chance import digest
from curriculumnet.noising.draw import Placed, draw
from curriculumnet.noising.pictures import Picture
from curriculumnet.noising.shares import CONFUSED, KINDS, OUTSIDE, RIGHT, UNIFORM, Cell, exact, numbers

CATEGORIES = [chr(ord("a") + place) for place in range(12)]

sizes_of = st.lists(st.integers(1, 60), min_size=2, max_size=12).map(
    lambda sizes: dict(zip(CATEGORIES, sizes, strict=False))
)
hundredths = st.integers(0, 100).map(lambda share: Fraction(share, 100))


def tie(cell: Cell) -> bytes:
    return digest(0, cell.category, cell.label)


def near(number: float, quota: Fraction) -> bool:
    """Whether a number is a quota rounded up or down."""
    return math.floor(quota) <= number <= math.ceil(quota)


def pictures_of(sizes: dict[str, int]) -> list[Picture]:
    return [Picture(0, f"{name}/{place}.jpg", name, 0) for name, size in sizes.items() for place in range(size)]


STRANGERS = [Picture(1, f"web/{place}.jpg", "web", 0) for place in range(12 * 60)]


@given(sizes_of, hundredths)
def test_one_kind_is_a_rounded_share_of_each_category_and_of_all(sizes: dict[str, int], share: Fraction) -> None:
    found = numbers(sizes, share, {}, Fraction(0), tie)
    assert all(near(found[Cell(UNIFORM, name)], share * size) for name, size in sizes.items())
    assert sum(found.values()) == math.floor(share * sum(sizes.values()) + Fraction(1, 2))


@given(sizes_of, st.data())
def test_several_kinds_never_exceed_a_category_and_are_exact_where_there_is_room(
    sizes: dict[str, int], data: st.DataObject
) -> None:
    closed, outside, *rest = (Fraction(part, 100) for part in data.draw(parts(4)))
    confusions = {("a", "b"): rest[0], ("b", "a"): rest[1]} | ({("a", "c"): rest[1]} if "c" in sizes else {})
    found = numbers(sizes, closed, confusions, outside, tie)
    wanted = {Cell(UNIFORM, name): closed * size for name, size in sizes.items()}
    wanted |= {Cell(OUTSIDE, name): outside * size for name, size in sizes.items()}
    wanted |= {Cell(CONFUSED, *pair): share * sizes[pair[0]] for pair, share in confusions.items()}
    assert found.keys() == wanted.keys()
    assert all(near(number, wanted[cell]) for cell, number in found.items())
    changed = Counter(dict.fromkeys(sizes, 0))
    for cell, number in found.items():
        changed[cell.category] += number
    assert all(changed[name] <= size for name, size in sizes.items())
    kept = {name: size - sum(q for cell, q in wanted.items() if cell.category == name) for name, size in sizes.items()}
    if all(kept[name] >= 4 for name in sizes):
        for kind in (UNIFORM, CONFUSED, OUTSIDE):
            whole = sum((quota for cell, quota in wanted.items() if cell.kind == kind), Fraction(0))
            got = sum(number for cell, number in found.items() if cell.kind == kind)
            assert got == math.floor(whole + Fraction(1, 2))


def parts(number: int) -> st.SearchStrategy[list[int]]:
    """Whole hundredths that together are at most one."""
    cuts = st.lists(st.integers(0, 100), min_size=number, max_size=number).map(sorted)
    return cuts.map(lambda at: [high - low for low, high in zip([0, *at[:-1]], at, strict=True)])


@pytest.mark.parametrize(("share", "size", "number"), [(0.29, 100, 29), (0.1, 30, 3), (0.7, 10, 7), (1 / 3, 3, 1)])
def test_a_share_is_meant_as_it_is_typed(share: float, size: int, number: int) -> None:
    assert numbers({"a": size}, exact(share), {}, Fraction(0), tie)[Cell(UNIFORM, "a")] == number


@given(sizes_of, hundredths, hundredths, st.integers(0, 5))
def test_a_larger_share_changes_what_a_smaller_one_changed(
    sizes: dict[str, int], one: Fraction, other: Fraction, seed: int
) -> None:
    few, many = (
        {row.picture: row.label for row in drawn(sizes, share, Fraction(0), seed) if row.kind == UNIFORM}
        for share in sorted([one, other])
    )
    lost = Counter(picture.label for picture in few.keys() - many.keys())
    assert all(number <= 1 for number in lost.values())
    assert all(many[picture] == label for picture, label in few.items() if picture in many)


@given(sizes_of, hundredths, st.integers(0, 5))
def test_uniform_labels_are_spread_evenly_and_never_the_right_one(
    sizes: dict[str, int], share: Fraction, seed: int
) -> None:
    for name in sizes:
        wrong = [row for row in drawn(sizes, share, Fraction(0), seed) if row.true_label == name and row.kind != RIGHT]
        counts = Counter({other: 0 for other in sizes if other != name})
        counts.update(row.label for row in wrong)
        assert name not in counts
        assert max(counts.values()) - min(counts.values()) <= 1


@given(sizes_of, st.integers(0, 50), st.integers(0, 50), st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_does_not_matter(sizes: dict[str, int], closed: int, outside: int, random) -> None:
    shares = Fraction(closed, 100), Fraction(outside, 100)
    own, strangers = pictures_of(sizes), list(STRANGERS)
    cells = numbers(sizes, shares[0], {}, shares[1], tie)
    before = draw(own, cells, strangers, 3)
    random.shuffle(own)
    random.shuffle(strangers)
    assert sorted(draw(own, cells, strangers, 3)) == sorted(before)


@given(sizes_of, st.integers(0, 50), st.integers(0, 50))
def test_pictures_from_outside_replace_others_once_each(sizes: dict[str, int], closed: int, outside: int) -> None:
    placed = drawn(sizes, Fraction(closed, 100), Fraction(outside, 100), 1)
    assert len(placed) == sum(sizes.values())
    assert len({row.picture for row in placed}) == len(placed)
    lost = Counter(row.label for row in placed if row.kind == OUTSIDE)
    assert all(near(lost[name], Fraction(outside * size, 100)) for name, size in sizes.items())
    assert {row.true_label for row in placed if row.kind == OUTSIDE} <= {"outside:web"}
    assert {row.kind for row in placed} <= set(KINDS)


def drawn(sizes: dict[str, int], closed: Fraction, outside: Fraction, seed: int) -> list[Placed]:
    return draw(pictures_of(sizes), numbers(sizes, closed, {}, outside, tie), STRANGERS, seed)


def test_another_seed_changes_other_pictures() -> None:
    one, other = (
        {row.picture for row in drawn({"a": 50, "b": 50}, Fraction(1, 5), Fraction(0), seed) if row.kind == UNIFORM}
        for seed in (0, 1)
    )
    assert len(one) == len(other) == 20
    assert one != other
