"""What the tools say that the layouts are for. They are in the extra `compare`."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import curriculumnet as cn

pytestmark = pytest.mark.slow

CATEGORIES = ["ash", "weeping willow", "Ölweide"]
_BOTH = ("True", "False")
QUIET: dict[str, Any] = {"workers": 0, "quiet": True}


@pytest.fixture
def tolerant() -> Iterator[None]:
    """Other people's libraries may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def imported(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return pytest.importorskip(name)


@pytest.mark.usefixtures("tolerant")
@pytest.mark.parametrize("with_curriculum", [True, False])
def test_datasets_sees_splits_classes_and_columns(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_curriculum: bool
) -> None:
    datasets = imported("datasets", monkeypatch, tmp_path)
    work = prepared / "work"
    if not with_curriculum:
        table = {"group_column": "who", "rank_column": "place"}
        work = cn.ingest(prepared / "table.csv", output=tmp_path / "work", **table, **QUIET).work
    out = cn.export(work, output=tmp_path / "out", format_="huggingface", **QUIET).output
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 27, "validation": 6, "test": 6}
    features = found["train"].features
    assert features["label"].names == CATEGORIES
    assert features["image"] == datasets.Image()
    assert features["rank"] == datasets.Value("float64")
    assert ("subset" in features) == with_curriculum
    for rows in found.values():
        assert rows.features == features
        for row in rows:
            assert row["image"].convert("RGB").size == (36, 30)
            assert row["original"].split("/")[1] == CATEGORIES[row["label"]]
    if with_curriculum:
        subsets = found["train"]["subset"][:]
        assert subsets == sorted(subsets)
        assert set(found["test"]["subset"][:]) == {-1}
    # Without the README, as of any image folder.
    plain = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "plain"))
    assert len(plain["train"]) == 27


@pytest.mark.usefixtures("tolerant")
def test_webdataset_reads_pictures_classes_and_what_is_said(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webdataset = imported("webdataset", monkeypatch, tmp_path)
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="webdataset", shard_size=5, **QUIET).output
    shards = [str(path) for path in sorted(out.glob("train-*.tar"))]
    found = []
    endings = "jpg;png;webp;gif;bmp"
    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pilrgb").rename(image=endings):
        assert sample["image"].size == (36, 30)
        assert CATEGORIES[sample["cls"]] == sample["json"]["label"]
        found.append((sample["json"]["subset"], -sample["json"]["cleanliness"], int(sample["__key__"])))
    assert len(found) == 27
    assert found == sorted(found)


@pytest.mark.usefixtures("tolerant")
def test_the_columns_are_those_that_cleanlab_gives(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported("datasets", monkeypatch, tmp_path)
    cleanlab = imported("cleanlab", monkeypatch, tmp_path)
    import numpy as np

    labels = np.arange(60) % 3
    shares = np.full((60, 3), 0.05)
    shares[np.arange(60), np.r_[(labels[:6] + 1) % 3, labels[6:]]] = 0.9
    lab = cleanlab.Datalab(data={"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=shares, issue_types={"label": {}})
    theirs = lab.get_issues("label")
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="cleanlab", **QUIET).output
    with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
        ours = list(csv.DictReader(file))
    assert {"is_label_issue", "label_score"} <= set(theirs.columns) & set(ours[0])
    # Lower is worse, there and here.
    flagged = theirs["is_label_issue"]
    assert flagged.tolist() == [True] * 6 + [False] * 54
    assert theirs["label_score"][flagged].mean() < theirs["label_score"][~flagged].mean()
    doubtful, right = ([float(row["label_score"]) for row in ours if row["is_label_issue"] == is_it] for is_it in _BOTH)
    assert sum(doubtful) / len(doubtful) < sum(right) / len(right)
