"""What a user can do wrong on the path: one sentence on stderr, its exit code, and what had finished is kept.

What each step says of its own input is tested with the step; here it is typed, in a work folder that is finished or
not there yet.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from curriculumnet import cli
from curriculumnet.miniature import make_crawl
from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder, file_digest

SMALL = shlex.split("--model test_resnet --image-size 32 --epochs 1 --batch-size 32 --workers 0 --device cpu --quiet")


def typed(*words: str | Path) -> int:
    """Type a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.app([str(word) for word in words], prog_name="curriculumnet")
    return int(ended.value.code or 0)


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder but the lock's."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "lock.json"))
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


@dataclass(frozen=True)
class Finished:
    crawl: Path
    test: Path
    work: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A crawl, and the work folder of a path that was gone to its end; shared, so copy it before writing."""
    home = tmp_path_factory.mktemp("finished")
    made = make_crawl(home / "miniature", images_per_category=(6, 10), test_images=20)
    assert typed("run", made.crawl, "-o", home / "work", "--test", made.test, *SMALL) == 0
    return Finished(made.crawl, made.test, home / "work")


@pytest.fixture
def here(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The same in a folder of one's own, which is the current one: `crawl`, `test`, `work`."""
    for path in (finished.crawl, finished.test, finished.work):
        shutil.copytree(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    # The work folder learns where the pictures lie now.
    assert typed("ingest", "crawl", "-o", "work", "--test", "test", "--workers", "0", "--quiet") == 0
    return Finished(Path("crawl"), Path("test"), Path("work"))


# -- what is wrong ----------------------------------------------------------------------------------------------------

Prepare = Callable[[Finished], AbstractContextManager[None]]


def nothing(here: Finished) -> AbstractContextManager[None]:
    return nullcontext()


def empty(here: Finished) -> AbstractContextManager[None]:
    Path("empty").mkdir()
    return nullcontext()


def one_category(here: Finished) -> AbstractContextManager[None]:
    shutil.copytree(here.test / "zero", "one/zero")
    return nullcontext()


def unreadable(here: Finished) -> AbstractContextManager[None]:
    for category in ("cat", "dog"):
        Path("pages", category).mkdir(parents=True)
        Path("pages", category, "1.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    return nullcontext()


def unknown_paths(here: Finished) -> AbstractContextManager[None]:
    Path("list.txt").write_text("gone/1.jpg cat\ngone/2.jpg dog\n", encoding="utf-8")
    return nullcontext()


def table(here: Finished) -> AbstractContextManager[None]:
    Path("table.csv").write_text("file_name,class\ncrawl/1.jpg,cat\n", encoding="utf-8")
    return nullcontext()


def strangers(here: Finished) -> AbstractContextManager[None]:
    for category in ("zero", "ten"):
        shutil.copytree(here.test / "zero", Path("clean", category))
    return nullcontext()


def matrix(rows: int, columns: int | None = 4) -> Prepare:
    def prepare(here: Finished) -> AbstractContextManager[None]:
        n = tables.read(here.work / "images.parquet").num_rows + rows
        np.save("mine.npy", np.zeros((n, columns) if columns else n, np.float32))
        return nullcontext()

    return prepare


def gone_picture(here: Finished) -> AbstractContextManager[None]:
    images = tables.read(here.work / "images.parquet", ["file_name", "split", "state"]).to_pylist()
    used = [row["file_name"] for row in images if row["state"] == "used" and row["split"] == "train"]
    (here.crawl / used[0]).unlink()
    return nullcontext()


def damaged_model(here: Finished) -> AbstractContextManager[None]:
    path = here.work / "runs/model-d/model/model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    return nullcontext()


HOLD = """
import sys
from curriculumnet.work.folder import WorkFolder
with WorkFolder(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def busy(here: Finished) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, here.work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("")
    assert holder.returncode == 0


@dataclass(frozen=True)
class Wrong:
    """Something wrong: how it comes about, what is typed, and what is to follow."""

    name: str
    prepare: Prepare
    words: str
    code: int
    sentence: str


NEW = "run {} -o new"
"""The path from a source into a new work folder."""
AGAIN = "run crawl -o work --test test"
"""The path in the finished work folder."""

WRONG = [
    Wrong("a missing folder", nothing, NEW.format("nowhere"), 3, "nowhere is not there, or may not be read"),
    Wrong("an empty folder", empty, NEW.format("empty"), 3, "empty holds no pictures"),
    Wrong("one category", one_category, NEW.format("one"), 3, "one has one category only (zero)"),
    Wrong("no readable picture", unreadable, NEW.format("pages"), 3, "None of the 2 files of pages is a picture"),
    Wrong("a list of unknown paths", unknown_paths, NEW.format("list.txt"), 3, "None of the 2 files of list.txt"),
    Wrong("a table without the column", table, NEW.format("table.csv"), 3, "table.csv has no column 'label'"),
    Wrong("a test of other categories", strangers, "run crawl -o new --test clean", 3, "does not have: ten."),
    Wrong("the test folder is missing", nothing, "run crawl -o new --test nowhere", 3, "nowhere is not there"),
    Wrong("work inside the pictures", nothing, "run crawl -o crawl/work", 2, "would lie inside the pictures' folder"),
    Wrong("work where a file is", table, "run crawl -o table.csv", 2, "table.csv is a file: give the name of a folder"),
    Wrong("work inside a file", table, "run crawl -o table.csv/a/b", 2, "table.csv is a file: give the name of a"),
    Wrong("work among other files", nothing, "run crawl -o test", 2, "test holds other files ("),
    Wrong("another source's work folder", nothing, "run test -o work", 2, "work is the work folder of another source"),
    Wrong("an unknown network", nothing, f"{AGAIN} --model resnet81", 2, "the nearest names are resnet18, "),
    Wrong("a recipe for a network", nothing, f"{AGAIN} --model model-d", 2, "--recipe model-d"),
    Wrong("features of no network", nothing, f"{AGAIN} --features-from resnt18", 2, "the nearest names are resnet18"),
    Wrong("an unknown method", nothing, f"{AGAIN} --method dense", 2, "one of density, dynamics, given, kmeans"),
    Wrong("an unknown category", nothing, f"{AGAIN} --exclude-category ten", 2, "There is no category 'ten'"),
    Wrong("no epochs", nothing, f"{AGAIN} --epochs 0", 2, "--epochs is 0"),
    Wrong("no such device", nothing, f"{AGAIN} --epochs 2 --device cuda:99", 4, "--device is cuda:99, but"),
    Wrong("another process writes", busy, AGAIN, 2, "work is in use by process "),
    Wrong("a picture has gone", gone_picture, "train work --recipe model-b", 3, "can no longer be read"),
    Wrong("features too few", matrix(-1), "embed work --from mine.npy", 3, "mine.npy"),
    Wrong("features too many", matrix(1), "embed work --from mine.npy", 3, "mine.npy"),
    Wrong("features that are no rows", matrix(0, None), "embed work --from mine.npy", 3, "mine.npy"),
    Wrong("features of a missing file", nothing, "embed work --from mine.npy", 3, "mine.npy is not there"),
    Wrong("a run that is not there", nothing, "embed work --from model-b", 2, "has no finished run model-b"),
    Wrong("an unknown run", nothing, "evaluate work --run model-x", 2, "There is no run 'model-x'"),
    Wrong("a damaged network", damaged_model, "evaluate work --run model-d", 3, "model.safetensors cannot be read"),
    Wrong("no work folder", nothing, "status crawl", 2, "crawl is no work folder"),
    Wrong("no model to ask", nothing, "predict nowhere test/zero", 3, "nowhere is not there"),
    Wrong("nothing to be asked about", unreadable, "predict work pages", 3, "None of the 2 files can be read"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_it_is_one_sentence_and_an_exit_code_and_nothing_is_lost(
    here: Finished, wrong: Wrong, capsys: pytest.CaptureFixture[str]
) -> None:
    with wrong.prepare(here):
        before = digests(Path())
        capsys.readouterr()
        command, *words = wrong.words.split()
        # A flag that is given twice counts as it was given last.
        flags = {"run": SMALL, "train": SMALL, "status": []}.get(command, ["--quiet"])
        assert typed(command, *words[:1], *flags, *words[1:]) == wrong.code
        said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert wrong.sentence in said.err
    assert said.err.count("\n") == 1
    assert said.err.endswith(".\n")
    after = digests(Path())
    assert {name: after.get(name) for name in before} == before
    assert not list(Path().rglob(".writing-*"))
    assert not list(Path().rglob("lock.json"))


def test_a_list_with_some_unknown_paths_goes_the_whole_path(here: Finished) -> None:
    pictures = [path for path in sorted(here.crawl.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    lines = [f"{path.as_posix()} {path.parent.name}" for path in pictures]
    Path("list.txt").write_text("\n".join([*lines, "gone/1.jpg zero", "gone/2.jpg one"]), encoding="utf-8")
    assert typed("run", "list.txt", "-o", "new", *SMALL) == 0
    images = tables.read(Path("new/images.parquet")).to_pylist()
    missing = [row for row in images if row["state"] == "missing"]
    assert [(row["file_name"], row["label"], row["reason"]) for row in missing] == [
        ("gone/1.jpg", "zero", "not there"),
        ("gone/2.jpg", "one", "not there"),
    ]
    features = np.load("new/features/model-a.npy")
    assert len(features) == len(images)
    assert np.isnan(features[[row["image_id"] for row in missing]]).all()
    ordered = tables.read(Path("new/curricula/model-a.parquet"))["image_id"].to_pylist()
    assert not {row["image_id"] for row in missing} & set(ordered)
    assert Path("new/report.html").is_file()


# -- a full disk ------------------------------------------------------------------------------------------------------

FIRST = ["images.parquet", "project.json"]
"""Files that make a folder a work folder."""
WRITTEN = [
    "runs/model-a/checkpoints/settings.json",
    "runs/model-a/checkpoints/step-00000002.pt",
    "project.json",
    "runs/model-a/model/model.safetensors",
    "runs/model-a/settings.json",
    "runs/model-a/history.parquet",
    "features/model-a.npy",
    "features/model-a.json",
    "curricula/model-a.parquet",
    "curricula/categories-model-a.parquet",
    "runs/model-d/model/config.json",
    "runs/model-a/predictions-test.parquet",
    "runs/model-d/predictions-val-10-crops.parquet",
    "runs/model-d/metrics.json",
    "comparisons.json",
    "report.html",
]
"""Files in an order in which each is still to be written when those before it have been, after those of `FIRST`."""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_the_disk_is_full_at_one_file_after_another(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = WorkFolder(tmp_path / "work")
    command = ("run", finished.crawl, "-o", "work", "--test", finished.test, *SMALL)
    kept: dict[str, str] = {}
    for name in [*FIRST, *WRITTEN]:
        if name == WRITTEN[0]:
            assert typed("ingest", finished.crawl, "-o", "work", "--test", finished.test, "--quiet") == 0
            capsys.readouterr()
        path = folder.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = file_digest(path) if path.exists() else None
        # Whoever takes the lock clears away what a killed process had half written, and this is to stay.
        with folder.lock():
            full = path.with_name(f".writing-{os.getpid()}-{path.name}")
            full.symlink_to("/dev/full")
            assert typed(*command) == 4, name
        said = capsys.readouterr()
        assert said.out == "", name
        assert said.err.startswith(f"Error: The disk is full: work/{name} could not be written. "), name
        assert said.err.count("\n") == 1
        assert (file_digest(path) if path.exists() else None) == before, name
        assert not list(tmp_path.rglob(".writing-*"))
        # What had been finished when an earlier file did not fit is neither lost nor done again.
        assert digests(folder.path).items() >= kept.items(), name
        records = folder.project["steps"].values()
        kept = {written: known["digest"] for record in records for written, known in record["outputs"].items()}
    assert len(kept) > 20
    assert typed(*command) == 0
    ended, undisturbed = digests(folder.path), digests(finished.work)
    assert ended.items() >= kept.items()
    same = [name for name in undisturbed if name.endswith((".npy", ".safetensors", "metrics.json", "comparisons.json"))]
    same += [name for name in undisturbed if "curricula/" in name or "/predictions-" in name]
    assert {name: ended[name] for name in same} == {name: undisturbed[name] for name in same}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_small_disk_that_becomes_a_larger_one(finished: Finished, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let root mount a small disk")
    try:
        program = "from curriculumnet.cli import main; main()"
        command = [sys.executable, "-c", program, "run", finished.crawl, "-o", disk / "work", "--test", finished.test]
        first = subprocess.run([*command, *SMALL], capture_output=True, text=True, check=False, timeout=300)
        assert first.returncode == 4, first.stderr
        checkpoint = disk / "work/runs/model-a/checkpoints/step-00000002.pt"
        assert first.stderr == (
            f"Error: The disk is full: {checkpoint} could not be written. Free some space and start the same command "
            "again; what had finished is kept.\n"
        )
        kept = {".lock", "images.parquet", "modified.parquet", "project.json", "runs"}
        assert {path.name for path in (disk / "work").iterdir()} == kept
        images = file_digest(disk / "work/images.parquet")

        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        second = subprocess.run([*command, *SMALL], capture_output=True, text=True, check=False, timeout=300)
        assert (second.returncode, second.stderr) == (0, "")
        assert file_digest(disk / "work/images.parquet") == images
        model = "runs/model-d/model/model.safetensors"
        assert file_digest(disk / "work" / model) == file_digest(finished.work / model)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
