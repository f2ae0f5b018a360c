"""The order in which images are exported."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.errors import InputError
from curriculumnet.exporting.order import arranged
from curriculumnet.work.tables import SPLITS

IMAGE = st.tuples(
    st.sampled_from(["used", "used", "copy", "broken"]),
    st.sampled_from(SPLITS),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.25, 0.95, 1.0]),
    st.sampled_from([None, 0.1, 0.7]),
)


def tables_of(rows: list[tuple[Any, ...]], further: dict[str, list[Any]] | None = None) -> tuple[pa.Table, pa.Table]:
    n = len(rows)
    columns = {name: [f"{name} {row}" for row in range(n)] for name in ("source", "file_name", "label", "digest")}
    columns |= {"format": ["PNG"] * n, "group": [None] * n, "url": ["u"] * n, **(further or {})}
    images = pa.table(
        {"image_id": range(n), "state": [row[0] for row in rows], "split": [row[1] for row in rows], **columns}
        | {"rank": pa.array([None] * n, pa.float64())}
    )
    trained = [(place, row) for place, row in enumerate(rows) if row[:2] == ("used", "train")]
    curriculum = pa.table(
        {
            "image_id": pa.array([place for place, _ in trained], pa.int64()),
            "subset": pa.array([row[2] for _, row in trained], pa.int8()),
            "cleanliness": pa.array([row[3] for _, row in trained], pa.float32()),
            "right_probability": pa.array([row[4] for _, row in trained], pa.float32()),
        }
    )
    return images, curriculum


@given(st.lists(IMAGE, min_size=1, max_size=30), st.sets(st.integers(0, 2)))
def test_used_images_come_once_each_in_the_curriculums_order(rows: list[tuple[Any, ...]], subsets: set[int]) -> None:
    images, curriculum = tables_of(rows)
    found = arranged(images, curriculum, subsets).to_pylist()
    expected = []
    for place, (state, split, subset, cleanliness, right) in enumerate(rows):
        if state != "used" or (split == "train" and subsets and subset not in subsets):
            continue
        key = (SPLITS.index(split), *((subset, -cleanliness) if split == "train" else (0, 0)), place)
        expected.append((key, (subset, cleanliness, right) if split == "train" else (None, None, None)))
    expected.sort()
    assert [row["image_id"] for row in found] == [key[-1] for key, _ in expected]
    assert [(row["subset"], row["cleanliness"], row["right_probability"]) for row in found] == [
        values for _, values in expected
    ]


@given(st.lists(IMAGE, min_size=1, max_size=12))
def test_without_a_curriculum_ids_rise_within_a_split(rows: list[tuple[Any, ...]]) -> None:
    found = arranged(tables_of(rows)[0], None).to_pylist()
    keys = [(SPLITS.index(row["split"]), row["image_id"]) for row in found]
    assert keys == sorted(keys)
    assert all(row["subset"] is row["cleanliness"] is row["right_probability"] is None for row in found)


def test_what_a_table_of_images_does_not_have_is_not_there() -> None:
    rows = [("used", "train", 0, 1.0, None), ("used", "val", 0, 1.0, None)]
    assert "query" not in arranged(tables_of(rows)[0], None).column_names
    found = arranged(tables_of(rows, {"query": ["willow", None], "licence": ["CC0", None]})[0], None)
    assert found["query"].to_pylist() == ["willow", None]
    assert found["licence"].to_pylist() == ["CC0", None]


def test_what_cannot_be_told_is_empty() -> None:
    images, curriculum = tables_of([("used", "train", 0, 1.0, math.nan)])
    assert arranged(images, curriculum)["right_probability"].to_pylist() == [None]


def test_a_curriculum_that_lacks_an_image_is_refused() -> None:
    images, curriculum = tables_of([("used", "train", 0, 1.0, None)] * 3)
    with pytest.raises(InputError, match=r"no row for 2 training images, such as file_name 1: `curriculumnet design`"):
        arranged(images, curriculum.slice(0, 1))
