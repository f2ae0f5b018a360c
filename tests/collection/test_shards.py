"""The layout of shards: img2dataset's, as it was seen."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import curriculumnet as cn

from .conftest import PICTURES, Server, rows_of, stats_of

# What img2dataset 1.47.0 wrote, output_format webdataset, with the default number_sample_per_shard of 10,000, for a
# CSV with the columns url, query (caption_col), category and rank (save_additional_columns), of which one URL gave a
# JPEG, one 404 and one a web page.
FILES = {"00000.tar", "00000.parquet", "00000_stats.json"}
COLUMNS = [
    ("category", "string"),
    ("rank", "int64"),
    ("caption", "string"),
    ("url", "string"),
    ("key", "string"),
    ("status", "string"),
    ("error_message", "string"),
    ("width", "int32"),
    ("height", "int32"),
    ("original_width", "int32"),
    ("original_height", "int32"),
    ("exif", "string"),
    ("sha256", "string"),
]
MEMBERS = ["000000000.jpg", "000000000.json", "000000000.txt"]
STATUSES = ["success", "failed_to_download", "failed_to_resize"]
STATS = [
    *("count", "successes", "failed_to_download", "failed_to_resize", "duration", "start_time", "end_time"),
    "status_dict",
]


@pytest.fixture
def shards(tmp_path: Path, listing: Callable[..., Path]) -> Path:
    table = listing("picture/1.jpg", "status/404", "html/2.jpg")
    cn.collect(table, output=tmp_path / "shards", allow_private=True, quiet=True)
    return tmp_path / "shards"


def test_the_files_are_those_of_img2dataset_and_a_record(shards: Path) -> None:
    assert {path.name for path in shards.iterdir() if not path.name.startswith(".")} == FILES | {"collect.json"}


def test_the_columns_are_those_of_img2dataset_with_label_in_place_of_category(shards: Path) -> None:
    schema = pq.read_schema(shards / "00000.parquet")
    found = {field.name: str(field.type) for field in schema}
    # Of a CSV everything is text: a number may have a leading zero.
    known = dict(COLUMNS) | {"label": "string", "query": "string", "rank": "string"}
    del known["category"]
    assert found == known
    ours = [name for name, _ in COLUMNS if name != "category"]
    assert [name for name in schema.names if name in ours] == ours


def test_the_members_and_their_text_are_those_of_img2dataset(shards: Path) -> None:
    with tarfile.open(shards / "00000.tar") as tar:
        assert tar.getnames() == MEMBERS
        data, about, caption = (tar.extractfile(name).read() for name in MEMBERS)  # type: ignore[union-attr]
    row = rows_of(shards)[0]
    assert json.loads(about) == row
    assert caption == b"a cat, sitting"
    assert data == PICTURES["jpg"]
    assert row["sha256"] == hashlib.sha256(data).hexdigest()


def test_rows_and_figures_are_those_of_img2dataset(shards: Path) -> None:
    rows = rows_of(shards)
    assert [row["status"] for row in rows] == STATUSES
    assert [row["key"] for row in rows] == ["000000000", "000000001", "000000002"]
    assert [row["label"] for row in rows] == ["cat"] * 3
    (stats,) = stats_of(shards)
    assert list(stats) == [*STATS, "bytes", "tar_bytes"]
    assert [stats[name] for name in STATS[:4]] == [3, 1, 1, 1]
    assert sum(stats["status_dict"].values()) == 3


def test_no_column_of_the_list_takes_the_place_of_another(tmp_path: Path, server: Server) -> None:
    table = tmp_path / "list.csv"
    table.write_text(f"url,category,label,list_label\n{server.url('1.jpg')},cat,first,second\n", encoding="utf-8")
    cn.collect(table, output=tmp_path / "shards", allow_private=True, quiet=True)
    (row,) = rows_of(tmp_path / "shards")
    assert (row["label"], row["list_list_label"], row["list_label"]) == ("cat", "first", "second")


@pytest.mark.parametrize(("size", "keys"), [(1, ["00000", "00001", "00002"]), (2, ["000000", "000001", "000010"])])
def test_keys_have_as_many_digits_as_img2dataset_gives_them(
    tmp_path: Path, listing: Callable[..., Path], size: int, keys: list[str]
) -> None:
    table = listing("1.jpg", "2.jpg", "3.jpg")
    found = cn.collect(table, output=tmp_path / "shards", shard_size=size, allow_private=True, quiet=True)
    assert [row["key"] for row in rows_of(tmp_path / "shards")] == keys
    assert found.whole_shards == -(-3 // size)


def test_a_tar_is_the_same_to_the_byte_when_it_is_made_again(tmp_path: Path, listing: Callable[..., Path]) -> None:
    table = listing(*(f"{n}.jpg" for n in range(8)))
    tars = []
    for name in ("one", "two"):
        flags = {"output": tmp_path / name, "concurrency": 1, "allow_private": True, "quiet": True}
        cn.collect(table, **flags)  # type: ignore[arg-type]
        tars.append((tmp_path / name / "00000.tar").read_bytes())
        assert len(tars[-1]) % 10240 == 0
    assert tars[0] == tars[1]
