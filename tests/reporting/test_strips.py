"""Strips: the centre, the cleanest and the most doubtful images, no image twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.reporting.categories import Category, noisiest
from curriculumnet.reporting.contents import Contents, Curriculum
from curriculumnet.reporting.strips import by_category, strip
from curriculumnet.work import tables


def category(index: int, name: str, sizes: tuple[int, ...] = (1,)) -> Category:
    return Category(index, name, sum(sizes), 0, 0, 0, sizes, None, None, None)


def contents(labels: list[str], cleanliness: list[float], centres: list[bool]) -> Contents:
    ids = list(range(len(labels)))
    columns = {"image_id": ids, "subset": [0] * len(ids), "cleanliness": cleanliness, "is_centre": centres}
    images = pa.table({"label": labels, "file_name": [f"{n}.jpg" for n in ids]})
    curriculum = Curriculum("made", tables.build(tables.CURRICULUM, columns), pa.table({}), {})
    return Contents({}, images, curriculum, (), 0, [])


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 5), st.randoms())
def test_no_picture_is_shown_twice_and_the_ends_are_the_ends(n: int, each: int, centre: int, random: Any) -> None:
    cleanliness = [k / n for k in range(n)]
    random.shuffle(cleanliness)
    centres = [k == centre for k in range(n)]
    made = contents(["cat"] * n, cleanliness, centres)
    found = strip(made, category(0, "cat"), by_category(made, [category(0, "cat")])[0], each)
    ids = [picture.image_id for picture in found.pictures]
    assert len(set(ids)) == len(ids) == min(n, 2 * each + (centre < n))
    others = [value for value, true in zip(cleanliness, centres, strict=True) if not true]
    shown = [round(picture.cleanliness * n) for picture in found.cleanest]
    assert shown == [round(value * n) for value in sorted(others, reverse=True)[: len(shown)]]
    doubtful = [round(picture.cleanliness * n) for picture in found.doubtful]
    assert doubtful == [round(value * n) for value in sorted(others)[: len(doubtful)]]


def test_images_go_to_their_own_category_and_empty_ones_are_left_out() -> None:
    made = contents(["b", "a", "b", "c"], [0.1, 0.2, 0.3, 0.4], [False] * 4)
    found = by_category(made, [category(0, "a"), category(1, "b"), category(7, "nothing")])
    assert {index: table["image_id"].to_pylist() for index, table in found.items()} == {0: [1], 1: [2, 0]}


def test_the_noisiest_come_first_only_when_there_are_too_many() -> None:
    three = [category(0, "a", (5, 5)), category(1, "b", (1, 9)), category(2, "c", (9, 1))]
    assert [found.name for found in noisiest(three, 3)] == ["a", "b", "c"]
    assert [found.name for found in noisiest(three, 2)] == ["b", "a"]


def test_noise_counts_before_subsets(crawl: Callable[..., Any]) -> None:
    made = crawl(3).design(noise=True)
    rates = tables.read(made.folder.file("curricula/categories-model-a.parquet"))["noise_rate"].to_pylist()
    from curriculumnet.reporting.categories import Noise

    found = [
        Category(n, str(n), 10, 0, 0, 0, (10,), Noise(rate, None, None), None, None) for n, rate in enumerate(rates)
    ]
    assert noisiest(found, 1)[0].noise == Noise(max(rates), None, None)
