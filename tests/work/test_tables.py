"""Tables as data: what is built fits its description, and what does not is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder

STRANGER = tables.Table(
    "stranger",
    "stranger.parquet",
    "a row",
    (
        tables.Column("number", "int64", "", ""),
        tables.Column("share", "float32", "", "", nullable=True),
        tables.Column("word", "string", "", ""),
        tables.Column("flag", "bool", "", ""),
        tables.Column("sizes", "list<int64>", "", "", nullable=True),
    ),
)

ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, width=32),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.booleans(),
        st.none() | st.lists(st.integers(0, 100), max_size=4),
    ),
    max_size=20,
)


@given(rows=ROWS)
def test_what_is_built_comes_back_from_the_disk(rows: list[tuple[Any, ...]], tmp_path_factory: Any) -> None:
    columns = {c.name: [row[i] for row in rows] for i, c in enumerate(STRANGER.columns)}
    made = tables.build(STRANGER, columns, {"method": "none"})
    folder = WorkFolder(tmp_path_factory.mktemp("work"))
    folder.write_table(STRANGER.file, made)
    back = tables.read(folder.file(STRANGER.file))
    assert back.to_pydict() == columns
    assert back.schema == made.schema
    assert back.schema.metadata == {b"method": b"none"}
    assert [field.nullable for field in back.schema] == [False, True, False, False, True]


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_every_table_can_be_built_empty(table: tables.Table) -> None:
    columns: dict[str, Any] = {
        c.name: pa.array([], tables.arrow_type(c.type, 3)) for c in table.columns if not c.nullable
    }
    made = tables.build(table, columns)
    assert made.num_rows == 0
    assert made.column_names == [c.name for c in table.columns]


def one_row() -> dict[str, Any]:
    return {"number": [1], "word": ["a"], "flag": [True]}


def test_an_absent_column_is_empty_if_it_may_be() -> None:
    assert tables.build(STRANGER, one_row())["share"].to_pylist() == [None]


def test_an_absent_column_that_must_be_there() -> None:
    columns = one_row()
    del columns["word"]
    with pytest.raises(ValueError, match="table stranger lacks its column word"):
        tables.build(STRANGER, columns)


def test_a_column_that_nobody_described() -> None:
    with pytest.raises(ValueError, match="table stranger has no column extra"):
        tables.build(STRANGER, one_row() | {"extra": [1]})


def test_an_open_table_keeps_a_method_s_own_columns() -> None:
    columns = {
        "image_id": np.arange(2),
        "subset": np.zeros(2, np.int8),
        "cleanliness": np.ones(2, np.float32),
        "is_centre": [True, False],
        "agreement": np.array([0.5, 0.25]),
    }
    made = tables.build(tables.CURRICULUM, columns)
    assert made["agreement"].to_pylist() == [0.5, 0.25]
    assert made.column_names[-1] == "agreement"


def test_an_empty_value_where_there_must_be_one() -> None:
    with pytest.raises(ValueError, match="table stranger has empty values in its column word"):
        tables.build(STRANGER, one_row() | {"word": [None]})


def test_values_of_another_type() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        tables.build(STRANGER, one_row() | {"number": ["one"]})


def test_probabilities_are_lists_of_one_length() -> None:
    share = pa.FixedSizeListArray.from_arrays(pa.array(np.full(6, 1 / 3, np.float16)), 3)
    made = tables.build(tables.PREDICTIONS, {"image_id": [4, 7], "label": ["a", "b"], "probabilities": share})
    assert made.schema.field("probabilities").type == pa.list_(pa.float16(), 3)


METRIC = {
    "split": "val", "labels": "crawl", "crops": 1, "metric": "top1_error", "category": None,
    "value": 0.25, "low": 0.2, "high": 0.3, "n": 100,
}  # fmt: skip


def test_rows_that_fit() -> None:
    tables.check_rows(tables.METRICS, [METRIC, METRIC | {"category": "dog", "value": 1}])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (METRIC | {"value": "0.25"}, r"metrics\.value is '0\.25', not float64"),
        (METRIC | {"n": None}, r"metrics\.n is None, not int64"),
        (METRIC | {"more": 1}, "a row of metrics has the columns"),
        (dict(reversed(METRIC.items())), "a row of metrics has the columns"),
    ],
)
def test_rows_that_do_not_fit(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tables.check_rows(tables.METRICS, [METRIC, row])


def test_only_the_asked_columns_are_read(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    folder.write_table("stranger.parquet", tables.build(STRANGER, one_row()))
    assert tables.read(tmp_path / "stranger.parquet", ["word"]).column_names == ["word"]


def test_no_column_of_a_table_is_described_twice_or_not_at_all() -> None:
    for table in tables.TABLES:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        for column in table.columns:
            assert column.meaning
            tables.arrow_type(column.type, 2)
