"""The whole path in one process: what it leaves, what a second start does, and what `status` says on the way."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import curriculumnet as cn
from curriculumnet import cli
from curriculumnet.curriculum import turns
from curriculumnet.errors import FeaturesError, UsageError, WorkFolderError
from curriculumnet.miniature import CATEGORIES, Miniature, make_crawl
from curriculumnet.pipeline import Run, Status
from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder, file_digest

SMALL: dict[str, Any] = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 1,
    "batch_size": 32,
    "workers": 0,
    "device": "cpu",
    "quiet": True,
}
PATH = [
    "ingest",
    "train model-a",
    "embed model-a",
    "design model-a",
    "train model-d",
    "evaluate model-a",
    "evaluate model-d",
    "evaluate",
    "report",
]
SPLITS = ("test", "val")


@dataclass(frozen=True)
class Gone:
    """A path that was gone to its end: the crawl as it was before and after, and what came out."""

    made: Miniature
    before: dict[str, tuple[int, str]]
    after: dict[str, tuple[int, str]]
    run: Run

    @property
    def work(self) -> Path:
        return self.run.work


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Return time and digest of every file in a folder; the guard of the lock is touched by every start."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, file_digest(path)) for path in files}


def digests(work: Path, *patterns: str) -> dict[str, str]:
    found = (path for pattern in patterns for path in work.glob(pattern))
    return {path.relative_to(work).as_posix(): file_digest(path) for path in found}


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Gone:
    """The path on a tiny crawl; shared, so copy the work folder before writing into it."""
    home = tmp_path_factory.mktemp("path")
    made = make_crawl(home / "miniature", images_per_category=(6, 10), test_images=20)
    before = state_of(home / "miniature")
    done = cn.run(made.crawl, output=home / "work", test=made.test, **SMALL)
    return Gone(made, before, state_of(home / "miniature"), done)


@pytest.fixture
def again(gone: Gone, tmp_path: Path) -> Callable[..., Run]:
    """Start the path again in a copy of the finished work folder, with some settings changed."""
    work = shutil.copytree(gone.work, tmp_path / "work")

    def start(source: Path = gone.made.crawl, **changed: Any) -> Run:
        return cn.run(source, output=work, test=gone.made.test, **(SMALL | changed))

    return start


# -- what it leaves ---------------------------------------------------------------------------------------------------


def test_all_files_of_a_work_folder_are_there_and_no_others(gone: Gone) -> None:
    expected = {
        "project.json",
        "images.parquet",
        "modified.parquet",
        "features/model-a.npy",
        "features/model-a.json",
        "curricula/model-a.parquet",
        "curricula/categories-model-a.parquet",
        "comparisons.json",
        "report.html",
    }
    for run in ("model-a", "model-d"):
        names = ("settings.json", "history.parquet", "dynamics.parquet", "metrics.json")
        expected |= {f"runs/{run}/{name}" for name in names}
        expected.add(f"runs/{run}/checkpoints/settings.json")
        expected |= {f"runs/{run}/model/{name}" for name in ("config.json", "model.safetensors", "README.md")}
        expected |= {
            f"runs/{run}/predictions-{split}{crops}.parquet" for split in SPLITS for crops in ("", "-10-crops")
        }
    found = set(state_of(gone.work))
    for run in ("model-a", "model-d"):
        for folder, begins in (("checkpoints", "step-"), ("tensorboard", "events.")):
            more = {name for name in found if name.startswith(f"runs/{run}/{folder}/{begins}")}
            assert len(more) == 1, f"runs/{run}/{folder}"
            found -= more
    assert found == expected


def test_the_tables_speak_of_the_same_images(gone: Gone) -> None:
    images = tables.read(gone.work / "images.parquet")
    ids = images["image_id"].to_pylist()
    assert ids == list(range(sum(gone.made.sizes.values()) + gone.made.counts["broken"] + gone.made.counts["test"]))
    used = images.filter(pc.equal(images["state"], "used"))
    of_split = {
        split: used.filter(pc.equal(used["split"], split))["image_id"].to_pylist() for split in ("train", *SPLITS)
    }
    assert all(of_split.values())
    assert used.num_rows < len(ids)

    features = np.load(gone.work / "features/model-a.npy")
    finite = np.isfinite(features).all(axis=1)
    assert np.flatnonzero(finite).tolist() == used["image_id"].to_pylist()
    assert np.isnan(features[~finite]).all()

    curriculum = tables.read(gone.work / "curricula/model-a.parquet")
    assert curriculum["image_id"].to_pylist() == of_split["train"]
    assert gone.run.subset_sizes == tuple(np.bincount(curriculum["subset"].to_numpy(), minlength=3).tolist())
    categories = tables.read(gone.work / "curricula/categories-model-a.parquet")["category"].to_pylist()
    assert categories == sorted(CATEGORIES)
    assert categories == json.loads((gone.work / "project.json").read_text(encoding="utf-8"))["categories"]

    for run, split, crops in ((r, s, c) for r in ("model-a", "model-d") for s in SPLITS for c in ("", "-10-crops")):
        answers = tables.read(gone.work / f"runs/{run}/predictions-{split}{crops}.parquet")
        assert answers["image_id"].to_pylist() == of_split[split]
        shares = np.array(answers["probabilities"].to_pylist(), np.float64)
        assert shares.shape == (len(of_split[split]), len(categories))
        assert shares.sum(axis=1) == pytest.approx(1, abs=0.01)


def test_the_figures_of_the_result_are_those_of_the_files(gone: Gone) -> None:
    written = [
        {"run": run} | row
        for run in ("model-a", "model-d")
        for row in json.loads((gone.work / f"runs/{run}/metrics.json").read_text(encoding="utf-8"))
        if row["category"] is None
    ]
    assert {(row["split"], row["labels"]) for row in written} == {("test", "clean"), ("val", "crawl")}
    assert {(row["crops"], row["metric"]) for row in written} == {
        (crops, metric) for crops in (1, 10) for metric in ("top1_error", "top5_error")
    }
    assert gone.run.figures == written
    assert gone.run.table().to_pylist() == written
    compared = json.loads((gone.work / "comparisons.json").read_text(encoding="utf-8"))
    assert gone.run.comparisons == [row for row in compared if row["baseline"] == "model-a"]
    assert len(gone.run.comparisons) == 8
    with pytest.raises(AttributeError, match="cannot assign to field 'figures'"):
        gone.run.figures = []  # type: ignore[misc]


def test_the_figures_are_what_the_answers_say(gone: Gone) -> None:
    categories = sorted(CATEGORIES)
    for row in gone.run.figures:
        crops = "" if row["crops"] == 1 else "-10-crops"
        answers = tables.read(gone.work / f"runs/{row['run']}/predictions-{row['split']}{crops}.parquet")
        shares = np.array(answers["probabilities"].to_pylist(), np.float64)
        labels = np.array([categories.index(label) for label in answers["label"].to_pylist()])
        own = shares[np.arange(len(labels)), labels]
        better = (shares > own[:, None]).sum(axis=1)
        # A tie may be broken either way.
        ties = (shares == own[:, None]).sum(axis=1) - 1
        worst = {"top1_error": 1, "top5_error": 5}[row["metric"]]
        assert (better >= worst).mean() - 1e-9 <= row["value"] <= (better + ties >= worst).mean() + 1e-9
        assert row["n"] == len(labels)
        assert row["low"] <= row["value"] <= row["high"]


def test_what_a_terminal_shows_ends_with_the_page(gone: Gone) -> None:
    shown = gone.run.summary()
    assert shown[-1] == f"All figures, the pictures and the account of every file are on the page: {gone.run.report}"
    assert gone.run.report == gone.work / "report.html"
    assert shown[-2] == gone.run.sentence
    assert gone.run.sentence in re.sub("<[^>]*>", "", gone.run.report.read_text(encoding="utf-8"))
    states = Counter(tables.read(gone.work / "images.parquet", ["state"])["state"].to_pylist())
    counted = ", ".join(f"{n} {state}" for state, n in states.most_common())
    assert shown[0] == f"{states.total()} files seen: {counted}."
    errors = next(part for part in shown if not isinstance(part, str))
    assert [row[0] for row in errors.rows] == ["model-a", "model-d"]
    value = next(row["value"] for row in gone.run.figures if (row["run"], row["split"]) == ("model-d", "test"))
    assert errors.rows[1][1].startswith(f"{100 * value:.1f} ")


def test_the_work_folder_answers_with_the_network_of_the_curriculum(gone: Gone) -> None:
    pictures = sorted(gone.made.test.rglob("*.png"))
    answered = cn.predict(gone.work, pictures, workers=0, device="cpu", quiet=True)
    assert answered.model == gone.work / "runs/model-d/model"
    images = tables.read(gone.work / "images.parquet", ["image_id", "source", "file_name"]).to_pylist()
    names = {row["image_id"]: row["file_name"] for row in images if row["source"] == "test"}
    evaluated = tables.read(gone.work / "runs/model-d/predictions-test.parquet").to_pylist()
    expected = {names[row["image_id"]]: max(row["probabilities"]) for row in evaluated}
    given = {
        path.relative_to(gone.made.test).as_posix(): answer.confidence
        for path, answer in zip(pictures, answered.answers, strict=True)
    }
    assert given == pytest.approx(expected, abs=1e-3)


def test_nothing_of_the_source_is_changed(gone: Gone) -> None:
    assert len(gone.before) > 90
    assert gone.after == gone.before


def test_the_same_seed_gives_the_same_bytes_in_another_work_folder(gone: Gone, tmp_path: Path) -> None:
    other = cn.run(gone.made.crawl, output=tmp_path / "other", test=gone.made.test, **SMALL)
    decided = (
        "images.parquet",
        "features/*.npy",
        "curricula/*.parquet",
        "runs/*/model/*",
        "runs/*/predictions-*.parquet",
        "runs/*/metrics.json",
        "comparisons.json",
    )
    first = digests(gone.work, *decided)
    assert len(first) == 1 + 1 + 2 + 6 + 8 + 2 + 1
    assert digests(other.work, *decided) == first
    assert other.figures == gone.run.figures


# -- a second start ---------------------------------------------------------------------------------------------------


def test_a_second_start_does_nothing_and_says_so(
    again: Callable[..., Run], gone: Gone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(tmp_path / "work")
    second = again(quiet=False)
    assert state_of(tmp_path / "work") == before
    assert (second.figures, second.subset_sizes) == (gone.run.figures, gone.run.subset_sizes)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    subjects = ("images", "Run model-a", "Features model-a", "Curriculum model-a", "Run model-d", "run model-a",
                "run model-d", "page")  # fmt: skip
    assert len(lines) == len(subjects)
    for line, subject in zip(lines, subjects, strict=True):
        assert subject in line
        assert "nothing to do" in line or "is there already" in line


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ({"method": "random"}, ("curricula/", "runs/model-d/")),
        ({"epochs": 2}, ("features/", "curricula/", "runs/")),
        ({"exclude_category": ("zero",)}, ("images.parquet", "modified.parquet", "features/", "curricula/", "runs/")),
    ],
)
def test_with_other_settings_what_depends_on_them_is_done_again(
    again: Callable[..., Run], tmp_path: Path, changed: dict[str, Any], redone: tuple[str, ...]
) -> None:
    work = tmp_path / "work"
    before = state_of(work)
    again(**changed)
    after = state_of(work)
    anew = ("project.json", "comparisons.json", "report.html", *redone)
    kept = {name for name in before if not name.startswith(anew)}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # Events of TensorBoard are added as files.
    changing = {name for name in before if name.startswith(anew) and "/tensorboard/" not in name}
    assert not [name for name in changing if name in after and after[name] == before[name]]
    assert all(row["state"] == "done" for row in cn.status(work).steps)
    # What is done again for one setting is not left half done for the next start.
    before = state_of(work)
    again(**changed)
    assert state_of(work) == before


def test_a_source_that_has_grown_is_gone_through_again(
    gone: Gone, again: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same crawl at another place, with one more picture.
    crawl = shutil.copytree(gone.made.crawl, tmp_path / "crawl")
    work = again(crawl).work
    assert all(row["state"] == "done" for row in cn.status(work).steps)
    clean = min((gone.made.test / "nine").glob("*.png"))
    (crawl / "nine" / "new.png").write_bytes(clean.read_bytes())
    capsys.readouterr()
    cn.ingest(crawl, output=work, test=gone.made.test, workers=0)
    assert "have changed since they were ingested: 1 added." in " ".join(capsys.readouterr().err.split())

    found = cn.status(work)
    assert [(row["step"], row["state"]) for row in found.steps] == [
        (step, "done" if step == "ingest" else "outdated") for step in PATH
    ]
    assert found.next.startswith(f"curriculumnet train {work} --recipe model-a")

    again(crawl)
    assert [(row["step"], row["state"]) for row in cn.status(work).steps] == [(step, "done") for step in PATH]
    assert cn.status(work).next == ""
    images = tables.read(work / "images.parquet")
    new = images.filter(pc.equal(images["file_name"], "nine/new.png")).to_pylist()
    # A copy of a test picture is not trained on.
    assert [row["state"] for row in new] == ["leak"]


def test_test_pictures_that_are_added_later_cost_no_training(gone: Gone, tmp_path: Path) -> None:
    options = SMALL | {"output": tmp_path / "work"}
    work = cn.run(gone.made.crawl, **options).work
    before = state_of(work)
    done = cn.run(gone.made.crawl, test=gone.made.test, **options)
    assert {row["split"] for row in done.figures} == {"test", "val"}
    after = state_of(work)
    runs = [name for name in before if name.startswith("runs/") and "predictions" not in name and "metrics" not in name]
    assert {name: after[name] for name in runs} == {name: before[name] for name in runs}
    assert len(runs) > 10
    assert all(row["state"] == "done" for row in cn.status(work).steps)
    # Where one of them hides among the training images, that one is set aside, and all is trained again.
    hidden = shutil.copytree(gone.made.test, tmp_path / "test")
    used = tables.read(work / "images.parquet").filter(pc.equal(tables.read(work / "images.parquet")["split"], "train"))
    name = used["file_name"][0].as_py()
    shutil.copy(gone.made.crawl / name, hidden / name.split("/")[0] / f"copy-{Path(name).name}")
    cn.ingest(gone.made.crawl, output=work, test=hidden, workers=0, quiet=True)
    states = {row["step"]: row["state"] for row in cn.status(work).steps}
    assert states["train model-a"] == states["train model-d"] == "outdated"


# -- other ways along the path ----------------------------------------------------------------------------------------


def test_features_of_a_pretrained_network_and_the_runs_it_is_compared_with(gone: Gone, tmp_path: Path) -> None:
    options = SMALL | {"output": tmp_path / "work", "test": gone.made.test, "features_from": "tf_efficientnet_lite0"}
    alone = cn.run(gone.made.crawl, **options)
    work = alone.work
    assert {path.name for path in (work / "runs").iterdir()} == {"model-d"}
    assert {path.name for path in (work / "features").iterdir()} == {
        "tf_efficientnet_lite0.npy",
        "tf_efficientnet_lite0.json",
    }
    about = json.loads((work / "features/tf_efficientnet_lite0.json").read_text(encoding="utf-8"))
    assert (about["kind"], about["preprocessing"]["image_size"], about["dimensions"]) == ("network", 224, 1280)
    settings = json.loads((work / "runs/model-d/settings.json").read_text(encoding="utf-8"))
    assert (settings["curriculum"], settings["image_size"]) == ("tf_efficientnet_lite0", 32)
    assert alone.comparisons == []
    assert cn.status(work).next == ""

    before = state_of(work)
    compared = cn.run(gone.made.crawl, **options, compare=True, balanced=True)
    after = state_of(work)
    assert {path.name for path in (work / "runs").iterdir()} == {"model-a", "model-a-balanced", "model-d"}
    kept = [name for name in before if name.startswith(("images", "features/", "curricula/", "runs/model-d/"))]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # Without a curriculum, and the same everything: only where the features come from differs.
    same = digests(gone.work, "images.parquet", "runs/model-a/model/model.safetensors")
    assert digests(work, *same) == same
    assert {(row["run"], row["baseline"]) for row in compared.comparisons} == {
        ("model-d", "model-a"),
        ("model-a-balanced", "model-a"),
    }
    assert {row["run"] for row in compared.figures} == {"model-a", "model-a-balanced", "model-d"}


# -- status -----------------------------------------------------------------------------------------------------------

FLAGS = {
    "train": "--model test_resnet --image-size 32 --epochs 0.5 --batch-size 32 --workers 0 --device cpu",
    "embed": "--workers 0 --device cpu",
    "evaluate": "--workers 0 --device cpu",
}
"""What a person adds to the command that `status` names."""


def test_what_status_says_is_next_leads_to_the_end(gone: Gone, tmp_path: Path) -> None:
    work = cn.ingest(gone.made.crawl, output=tmp_path / "my work", test=gone.made.test, workers=0, quiet=True).work
    stages: list[tuple[str, Status]] = []
    while (found := cn.status(work)).next and len(stages) < 10:
        program, command, *words = shlex.split(found.next)
        assert program == "curriculumnet"
        stages.append((command, found))
        with pytest.raises(SystemExit) as ended:
            cli.app([command, *words, *shlex.split(FLAGS.get(command, "")), "--quiet"], prog_name=program)
        assert ended.value.code == 0
    assert [command for command, _ in stages] == ["train", "embed", "design", "train", "evaluate", "report"]
    assert [len(found.steps) for _, found in stages] == [1, 2, 3, 4, 5, 8]
    for _, found in [*stages, ("", cn.status(work))]:
        assert [row["step"] for row in found.steps] == PATH[: len(found.steps)]
        assert {row["state"] for row in found.steps} == {"done"}
    assert len(found.steps) == len(PATH)


def follow(work: Path) -> list[str]:
    """Type what `status` says is next until nothing is; return the commands without their flags and paths."""
    typed: list[str] = []
    said: list[str] = []
    while following := cn.status(work).next:
        assert following not in said, f"again after {said}"
        said.append(following)
        program, command, *words = shlex.split(following)
        with pytest.raises(SystemExit) as ended:
            cli.app([command, *words, *shlex.split(FLAGS.get(command, "")), "--quiet"], prog_name=program)
        assert ended.value.code == 0, following
        typed.append(command)
    assert {row["state"] for row in cn.status(work).steps} == {"done"}
    return typed


@pytest.fixture
def twice(gone: Gone, tmp_path: Path) -> Path:
    """A finished path, and a second curriculum from the features of the run that followed the first."""
    work = shutil.copytree(gone.work, tmp_path / "work")
    cn.embed(work, from_="model-d", workers=0, device="cpu", quiet=True)
    cn.design(work, features="model-d", quiet=True)
    cn.train(work, recipe="model-d", name="second", curriculum="model-d", **SMALL)
    cn.evaluate(work, workers=0, device="cpu", quiet=True)
    cn.report(work, compare=("second", "model-d"), quiet=True)
    assert cn.status(work).next == ""
    return work


def test_status_leads_to_the_end_where_features_rest_on_a_run_that_followed_a_curriculum(twice: Path) -> None:
    cn.design(twice, features="model-a", by="density", quiet=True)
    assert follow(twice) == ["train", "embed", "design", "train", "evaluate", "report"]
    assert "second" in cn.report(twice, compare=("second", "model-d"), quiet=True).sentence


def test_status_leads_to_the_end_where_a_run_is_gone(twice: Path) -> None:
    shutil.rmtree(twice / "runs" / "model-d")
    commands = follow(twice)
    assert commands[0] == "train"
    assert commands[-1] == "report"


def test_status_leads_to_the_end_where_a_training_was_stopped_and_the_crawl_then_changed(
    gone: Gone, tmp_path: Path
) -> None:
    crawl = shutil.copytree(gone.made.crawl, tmp_path / "crawl")
    work = cn.run(crawl, output=tmp_path / "work", test=gone.made.test, **SMALL).work
    checkpoints = work / "runs" / "model-d" / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    begun = json.loads((work / "runs" / "model-d" / "settings.json").read_text(encoding="utf-8")) | {"epochs": 9.0}
    (checkpoints / "settings.json").write_text(json.dumps(begun), encoding="utf-8")
    (checkpoints / "step-00000001.pt").write_bytes(b"")
    assert cn.status(work).next.startswith(f"curriculumnet train {work} --recipe model-d")
    for category in CATEGORIES:
        sorted((crawl / category).iterdir())[0].unlink()
    cn.ingest(crawl, output=work, test=gone.made.test, workers=0, quiet=True)
    assert cn.status(work).next.startswith(f"curriculumnet train {work} --recipe model-a")
    assert {row["state"] for row in cn.status(work).steps} >= {"outdated", "begun"}


def test_status_knows_a_training_that_was_begun_again_without_its_cache(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    cn.train(work, recipe="model-a", name="kept", cache=True, **SMALL)
    assert not cn.status(work).next.startswith("curriculumnet train")
    checkpoints = work / "runs" / "kept" / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    begun = json.loads((work / "runs" / "kept" / "settings.json").read_text(encoding="utf-8"))
    assert begun.pop("cache")
    (checkpoints / "settings.json").write_text(json.dumps(begun), encoding="utf-8")
    (checkpoints / "step-00000001.pt").write_bytes(b"")
    following = cn.status(work).next
    assert following.startswith(f"curriculumnet train {work} --recipe model-a --name kept")
    assert "--cache" not in following


def test_status_leads_to_the_end_where_the_tables_are_gone_after_near_copies_were_confirmed(
    gone: Gone, tmp_path: Path
) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    features = work / "features" / "model-a.npy"
    for table in ("images.parquet", "modified.parquet"):
        cn.ingest(gone.made.crawl, output=work, test=gone.made.test, near_features=features, workers=0, quiet=True)
        (work / table).unlink()
        if table == "images.parquet":
            with pytest.raises(FeaturesError, match="an earlier reading"):
                cn.ingest(
                    gone.made.crawl, output=work, test=gone.made.test, near_features=features, workers=0, quiet=True
                )
        assert follow(work)[0] == "ingest"


def test_status_shows_a_line_for_each_step(gone: Gone) -> None:
    found = cn.status(gone.work)
    times = [datetime.fromisoformat(row["finished"]) for row in found.steps]
    assert times == sorted(times)
    assert sum(row["seconds"] for row in found.steps) > 0
    grid, end = found.summary()
    assert not isinstance(grid, str)
    assert grid.title == str(gone.work)
    assert [row[:2] for row in grid.rows] == [(step, "done") for step in PATH]
    assert [row[2] for row in grid.rows] == [f"{time:%Y-%m-%d %H:%M:%S}" for time in times]
    assert end == "Everything is done."


def test_what_status_says_after_a_path_that_was_stopped_goes_on_with_it(
    gone: Gone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "my work"
    shutil.copytree(gone.made.crawl, tmp_path / "my crawl")
    monkeypatch.chdir(tmp_path)
    settings = {**SMALL, "epochs": 0.3, "crop_scale": (0.7, 1.0), "exclude_category": ("one", "two"), "mirror": False}

    def breaks_off(*_arguments: Any, **_keywords: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("curriculumnet.pipeline.embed", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            cn.run("my crawl", output=work, test=gone.made.test, **settings)
    program, command, *words = shlex.split(cn.status(work).next)
    assert (program, command) == ("curriculumnet", "run")
    monkeypatch.chdir("/")
    with pytest.raises(SystemExit) as ended:
        cli.app([command, *words, "--quiet"], prog_name=program)
    assert ended.value.code == 0
    assert cn.status(work).next == ""
    # The trainings that had finished were those of this command: nothing was done twice.
    before = state_of(work)
    cn.run(tmp_path / "my crawl", output=work, test=gone.made.test, **settings)
    assert state_of(work) == before


def stopped(work: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object], at: str) -> str:
    """Begin a path that is stopped at one of its steps; return what `status` then says."""

    @functools.wraps(getattr(cn, at))
    def breaks_off(*_arguments: Any, **_keywords: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"curriculumnet.pipeline.{at}", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            begin()
    return cn.status(work).next


def test_a_path_that_is_begun_again_in_a_finished_folder_is_what_comes_next_until_it_is_left(
    gone: Gone, again: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    said = stopped(work, monkeypatch, lambda: again(epochs=2), "train")
    assert shlex.split(said)[:2] == ["curriculumnet", "run"]
    assert "--epochs 2" in said
    # The same once more, and then on by single steps: the path that was begun is left.
    assert stopped(work, monkeypatch, lambda: again(epochs=2), "evaluate") == said
    cn.design(work, method="random", name="chance", quiet=True)
    assert "curriculumnet run" not in cn.status(work).next


def test_the_same_path_over_a_crawl_that_has_grown_is_what_comes_next_when_stopped(
    gone: Gone, again: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl = shutil.copytree(gone.made.crawl, tmp_path / "crawl")
    again(crawl)
    (crawl / "nine" / "new.png").write_bytes(min((gone.made.crawl / "one").glob("*.png")).read_bytes())
    said = stopped(tmp_path / "work", monkeypatch, lambda: again(crawl), "train")
    assert shlex.split(said)[:3] == ["curriculumnet", "run", str(crawl)]


def test_the_path_takes_the_order_of_a_table(gone: Gone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl = shutil.copytree(gone.made.crawl, tmp_path / "crawl")
    names = sorted(path.relative_to(crawl).as_posix() for path in crawl.rglob("*") if path.is_file())
    lines = [f"{name},{name.split('/')[0]},{place}" for place, name in enumerate(names)]
    (crawl / "t.csv").write_text("file_name,label,place\n" + "\n".join(lines), encoding="utf-8")

    def begin() -> None:
        cn.run(crawl / "t.csv", output=tmp_path / "work", rank_column="place", method="given", **SMALL)

    said = stopped(tmp_path / "work", monkeypatch, begin, "train")
    assert "--rank-column place" in said
    assert "--method given" in said
    assert tables.read(tmp_path / "work/images.parquet")["rank"].to_pylist() == list(range(len(names)))


def stopped_design(work: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    whole = turns.in_turn

    def breaks_off(*arguments: Any) -> Any:
        for number, each in enumerate(whole(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield each

    with monkeypatch.context() as patched:
        patched.setattr(turns, "in_turn", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            cn.design(work, quiet=True, **settings)


def test_what_status_says_of_a_design_that_was_stopped_goes_on_with_it(
    gone: Gone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    stopped_design(work, monkeypatch, name="theirs", by="density", normalise=False, cutoff_percent=50)
    found = cn.status(work)
    assert [row["step"] for row in found.steps if row["state"] == "begun"] == ["design theirs"]
    program, command, *words = shlex.split(found.next)
    flags = "--features model-a --name theirs --by density --cutoff-percent 50 --no-normalise"
    assert [program, command, *words] == ["curriculumnet", "design", str(work), *flags.split()]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.app([command, *words], prog_name=program)
    assert ended.value.code == 0
    assert "images had been ordered before; the others follow." in capsys.readouterr().err
    assert {row["state"] for row in cn.status(work).steps} == {"done"}
    assert cn.status(work).next == ""


def test_a_design_that_was_stopped_waits_for_its_features(
    gone: Gone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    stopped_design(work, monkeypatch, method="kmeans", n_subsets=2)
    assert cn.status(work).next == f"curriculumnet design {work} --features model-a --method kmeans --n-subsets 2"
    (work / "features" / "model-a.npy").unlink()
    assert cn.status(work).next == f"curriculumnet embed {work} --from model-a"
    # Killed before its first line was whole, it has not begun.
    (work / "curricula" / "model-a.begun").write_bytes(b'[{"features": "mod')
    assert "begun" not in {row["state"] for row in cn.status(work).steps}


def test_a_demo_that_was_stopped_is_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin() -> None:
        cn.demo(output=tmp_path / "demo", seed=3, workers=0, device="cpu", quiet=True)

    said = stopped(tmp_path / "demo" / "work", monkeypatch, begin, "train")
    assert shlex.split(said)[:2] == ["curriculumnet", "demo"]
    assert "--seed 3" in said
    assert f"--output {tmp_path / 'demo'}" in said


def test_a_table_of_images_that_is_gone_is_ingested_again(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    (work / "images.parquet").unlink()
    program, command, *words = shlex.split(cn.status(work).next)
    assert command == "ingest"
    with pytest.raises(SystemExit) as ended:
        cli.app([command, *words, "--quiet"], prog_name=program)
    assert ended.value.code == 0
    assert cn.status(work).next == ""


def test_a_training_with_other_settings_that_was_left_is_given_up(
    gone: Gone, again: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"

    def breaks_off(*_arguments: Any, **_keywords: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("curriculumnet.networks.folder.save", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            again(epochs=2)
    assert [row["step"] for row in cn.status(work).steps if row["state"] == "begun"] == ["train model-a"]
    again()
    assert {row["state"] for row in cn.status(work).steps} == {"done"}
    assert cn.status(work).next == ""


def test_every_setting_of_a_training_can_be_typed(gone: Gone) -> None:
    from curriculumnet.pipeline import _again
    from curriculumnet.training.settings import LATER

    folder = WorkFolder.open(gone.work)
    known = folder.record("train:model-d")
    assert known is not None
    others = {
        "cache": True, "schedule": "step", "mixup": 0.2, "clip_norm": 1.0, "balance": "all", "stage_steps": [1, 2, 3],
        "accumulate": 2, "compile": True, "multi_scale": True, "dropout": 0.1, "continue_from": "model-a",
        "freeze": True, "stage_until": "plateau", "teacher": "window",
    }  # fmt: skip
    assert others.keys() == LATER.keys()
    said = _again(folder, cn.train, "mine", known.settings | others)
    for name in others:
        assert f"--{name.replace('_', '-')}" in said


def test_what_status_says_of_a_training_that_is_out_of_date_can_be_typed(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    settings = {"stage_shares": (0.2, 0.3, 0.5), "subset_weights": (1.0, 0.1, 0.1), "places": "equal"}
    cn.train(work, recipe="model-d", name="mine", **{**SMALL, **settings})
    cn.evaluate(work, workers=0, device="cpu", quiet=True)
    cn.report(work, quiet=True)
    (work / "runs/mine/settings.json").unlink()
    program, command, *words = shlex.split(cn.status(work).next)
    with pytest.raises(SystemExit) as ended:
        cli.app([command, *words, "--workers", "0", "--device", "cpu", "--quiet"], prog_name=program)
    assert ended.value.code == 0
    assert cn.train(work, recipe="model-d", name="mine", **{**SMALL, **settings}).up_to_date


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": -1}, "--epochs is -1: it must be above 0"),
        ({"batch_size": 0}, "--batch-size is 0: it must be above 0"),
        ({"image_size": 4}, "--image-size is 4: it must be at least 16 pixels"),
        ({"crop_scale": (0.5, 0.1)}, "--crop-scale is 0.5 0.1: "),
        ({"optimizer": "adam"}, "There is no optimizer 'adam': it must be one of adamw, rmsprop, sgd"),
        ({"workers": -1}, "--workers is -1: it must be at least 0"),
    ],
)
def test_what_would_stop_the_path_later_stops_it_before_anything_is_read(
    gone: Gone, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cn.run(gone.made.crawl, output=tmp_path / "work", **{**SMALL, **wrong})
    assert not (tmp_path / "work").exists()


def test_an_order_that_the_source_does_not_tell_is_missed_before_any_training(gone: Gone, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--method given goes by the source's own order, but .* tells none: name the"):
        cn.run(gone.made.crawl, output=tmp_path / "work", **SMALL, method="given")
    assert not (tmp_path / "work" / "runs").exists()


def test_status_names_the_step_that_was_done_on_what_is_no_longer_there(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    n = tables.read(work / "images.parquet").num_rows
    np.save(tmp_path / "other.npy", np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32))
    cn.embed(work, from_=tmp_path / "other.npy", name="model-a", quiet=True)
    states = {row["step"]: row["state"] for row in cn.status(work).steps}
    resting = [step for step in PATH if states[step] == "outdated"]
    assert resting == ["design model-a", "train model-d", "evaluate model-d", "evaluate", "report"]
    assert shlex.split(cn.status(work).next) == ["curriculumnet", "design", str(work), "--features", "model-a"]
    cn.design(work, quiet=True)
    states = {row["step"]: row["state"] for row in cn.status(work).steps}
    assert [step for step in PATH if states[step] == "outdated"] == [
        "train model-d",
        "evaluate model-d",
        "evaluate",
        "report",
    ]


def test_status_names_the_step_whose_files_are_gone(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    shutil.rmtree(work / "runs" / "model-d")
    states = {row["step"]: row["state"] for row in cn.status(work).steps}
    assert [step for step in PATH if states[step] == "outdated"] == [
        "train model-d",
        "evaluate model-d",
        "evaluate",
        "report",
    ]
    assert cn.status(work).next.startswith(f"curriculumnet train {work} --recipe model-d")


def test_what_comes_next_after_near_copies_were_confirmed_begins_where_the_table_of_images_changed_something(
    gone: Gone, tmp_path: Path
) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    shutil.copy(work / "features" / "model-a.npy", tmp_path / "features.npy")
    cn.ingest(
        gone.made.crawl,
        output=work,
        test=gone.made.test,
        near_features=tmp_path / "features.npy",
        workers=0,
        quiet=True,
    )
    states = {row["step"]: row["state"] for row in cn.status(work).steps}
    first = next(step for step in PATH if states[step] == "outdated")
    assert first in ("train model-a", "embed model-a")
    assert {states[step] for step in PATH[PATH.index("embed model-a") :]} == {"outdated"}
    _, step, _ = cn.status(work).next.split(maxsplit=2)
    assert step == first.split()[0]


def test_status_names_the_process_that_is_at_work(gone: Gone, tmp_path: Path) -> None:
    work = shutil.copytree(gone.work, tmp_path / "work")
    assert cn.status(work).at_work == ""
    with WorkFolder(work).lock():
        found = cn.status(work)
    assert found.at_work.startswith(f"process {os.getpid()} on ")
    assert found.summary()[-1] == f"At work: {found.at_work}."
    assert cn.status(work).at_work == ""


def test_status_of_a_folder_beside_a_work_folder_names_that(gone: Gone, tmp_path: Path) -> None:
    shutil.copytree(gone.work, tmp_path / "demo" / "work")
    shutil.copytree(gone.work, tmp_path / "crawl-work")
    (tmp_path / "crawl").mkdir()
    for asked, meant in (("demo", "demo/work"), ("crawl", "crawl-work")):
        with pytest.raises(WorkFolderError, match=f"perhaps .*{meant} is meant"):
            cn.status(tmp_path / asked)
