"""The whole path as a process of its own: killed, stopped and started again, it ends as if it had not been."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from curriculumnet.miniature import Miniature, make_crawl
from curriculumnet.pipeline import status
from curriculumnet.work.folder import WorkFolder, file_digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

PROGRAM = "from curriculumnet.cli import main; main()"
SMALL = shlex.split("--model test_resnet --image-size 32 --batch-size 32 --device cpu")
STOPPED = "Nothing that had finished is lost: start the same command again to go on.\n"
DECIDED = (
    "images.parquet",
    "features/*.npy",
    "curricula/*.parquet",
    "runs/*/model/*",
    "runs/*/predictions-*.parquet",
    "runs/*/metrics.json",
    "comparisons.json",
)
"""What the same seed decides to the last byte; histories hold times as well."""


@dataclass
class Start:
    """A start of the path: a process with a session of its own, and the file of what it says."""

    process: subprocess.Popen[str]
    messages: Path

    @property
    def said(self) -> str:
        return self.messages.read_text(encoding="utf-8")

    def end(self, seconds: float = 300) -> tuple[int, str, str]:
        """Wait for its end; return its exit code, its results and its messages."""
        shown, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, shown, self.said


@dataclass
class Starts:
    """Starts of the path on one crawl."""

    made: Miniature
    all: list[Start] = field(default_factory=list)

    def start(self, work: Path, epochs: int = 1, workers: int = 2) -> Start:
        words = ["run", self.made.crawl, "-o", work, "--test", self.made.test, *SMALL]
        words += ["--epochs", str(epochs), "--workers", str(workers)]
        messages = work.with_name(f"{work.name}-messages-{len(self.all)}")
        with messages.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words],
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
                # Sums depend on the number of threads.
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self.all.append(Start(process, messages))
        return self.all[-1]

    def finish(self, work: Path) -> str:
        """Start the path, wait for its end, and return what it said."""
        code, _, said = self.start(work).end()
        assert code == 0, said
        assert "Traceback" not in said
        return said

    def kill_when(self, work: Path, moment: Callable[[Path], bool]) -> None:
        """Start the path, and kill it and its workers at a moment."""
        start = self.start(work)
        wait_until(lambda: moment(work), start)
        os.killpg(start.process.pid, signal.SIGKILL)
        code, _, said = start.end(30)
        assert code == -signal.SIGKILL, f"it had ended by itself before it could be killed: {said}"
        wait_until(lambda: not session(start.process.pid))


def wait_until(moment: Callable[[], bool], start: Start | None = None) -> None:
    until = time.monotonic() + 120
    while not moment():
        assert time.monotonic() < until, "the moment did not come"
        if start is not None and start.process.poll() is not None:
            pytest.fail(f"the path ended with {start.process.returncode} before the moment came: {start.said}")
        time.sleep(0.001)


def session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def digests(work: Path, *patterns: str) -> dict[str, str]:
    found = (path for pattern in patterns for path in work.glob(pattern))
    return {path.relative_to(work).as_posix(): file_digest(path) for path in found}


def finished_files(work: Path) -> dict[str, str]:
    """Return the digests of the files of finished steps, as their records have them."""
    project = work / "project.json"
    steps = json.loads(project.read_text(encoding="utf-8"))["steps"] if project.exists() else {}
    return {name: known["digest"] for record in steps.values() for name, known in record["outputs"].items()}


def leftovers(work: Path) -> list[Path]:
    return [*work.rglob(".writing-*"), *work.rglob("lock.json")]


def there(pattern: str) -> Callable[[Path], bool]:
    return lambda work: any(work.glob(pattern))


def recorded(step: str) -> Callable[[Path], bool]:
    """Return whether a step's record has been written, and no more than a moment ago."""
    return lambda work: (work / "project.json").exists() and WorkFolder(work).record(step) is not None


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the table of images is being written": there(".writing-*-images.parquet"),
    "the table of images is written": there("images.parquet"),
    "the pictures are ingested": recorded("ingest"),
    "model-a is about to be trained": there("runs/model-a/tensorboard/*"),
    "model-a is at its last checkpoint": there("runs/model-a/checkpoints/step-*.pt"),
    "the network of model-a is written": there("runs/model-a/model/model.safetensors"),
    "model-a is trained": recorded("train:model-a"),
    "features are being written": there("features/.writing-*"),
    "features are written": there("features/model-a.npy"),
    "the curriculum is half written": there("curricula/model-a.parquet"),
    "model-d is at its last checkpoint": there("runs/model-d/checkpoints/step-*.pt"),
    "model-a is being evaluated": there("runs/model-a/predictions-test.parquet"),
    "model-a is evaluated": there("runs/model-a/metrics.json"),
    "the runs are compared": there("comparisons.json"),
    "the page is written": there("report.html"),
}
"""Moments in the order of the path. Between a file and its step's record lies the time in which a step is half done."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Starts, dict[str, str]]:
    """The starts of the path on a crawl, and what it leaves where nobody disturbs it."""
    home = tmp_path_factory.mktemp("undisturbed")
    starts = Starts(make_crawl(home / "miniature", images_per_category=(6, 10), test_images=20))
    starts.finish(home / "work")
    return starts, digests(home / "work", *DECIDED)


@pytest.fixture
def starts(undisturbed: tuple[Starts, dict[str, str]]) -> Iterator[Starts]:
    starts = Starts(undisturbed[0].made)
    yield starts
    for start in starts.all:
        if session(start.process.pid):
            os.killpg(start.process.pid, signal.SIGKILL)
        start.process.communicate(timeout=30)


@pytest.fixture
def expected(undisturbed: tuple[Starts, dict[str, str]]) -> dict[str, str]:
    return undisturbed[1]


# -- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.short
def test_a_path_that_was_killed_ends_as_one_that_was_not(
    starts: Starts, expected: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    starts.kill_when(work, MOMENTS["model-d is at its last checkpoint"])
    kept = finished_files(work)
    assert {"images.parquet", "runs/model-a/model/model.safetensors", "curricula/model-a.parquet"} <= set(kept)
    said = starts.finish(work)
    assert f"process {starts.all[0].process.pid} on " in said
    assert "ended without finishing; going on from what it had finished." in said
    for done in ("the images are ingested and", "Run model-a is", "Features model-a are"):
        assert f"{done} up to date; nothing to do." in said
    assert digests(work, *DECIDED) == expected
    assert digests(work, *kept) == kept
    assert leftovers(work) == []
    assert {row["state"] for row in status(work).steps} == {"done"}


def test_a_path_that_was_killed_again_and_again_ends_as_one_that_was_not(
    starts: Starts, expected: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    for name, moment in MOMENTS.items():
        kept = finished_files(work)
        if moment(work):
            # On a busy machine a kill comes late, and the next moment has been then.
            continue
        starts.kill_when(work, moment)
        # What had been finished at an earlier moment has been neither lost nor changed since.
        assert digests(work, *kept) == kept, name
        assert finished_files(work).items() >= kept.items(), name
    assert len(starts.all) > len(MOMENTS) / 2
    assert len(kept) > 20
    starts.finish(work)
    assert digests(work, *DECIDED) == expected
    assert leftovers(work) == []
    assert "nothing to do" in starts.finish(work).splitlines()[-1]


# -- stopped ----------------------------------------------------------------------------------------------------------

LONG = 10_000
"""Epochs that no test waits for."""

PACE = "Training model-a takes about "
"""The last that is said before a training goes on for long; several steps have been taken then."""


def in_training(starts: Starts, work: Path, workers: int = 2) -> Start:
    """Start a path that trains for long, with workers that decode."""
    start = starts.start(work, LONG, workers)
    wait_until(lambda: PACE in start.said and start.said.endswith("\n"), start)
    assert len(session(start.process.pid)) == 1 + workers
    return start


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("send", "number", "code", "sentence"),
    [
        # A terminal and many a scheduler send it to all processes of the command.
        (os.killpg, signal.SIGINT, 130, "Stopped. "),
        (os.killpg, signal.SIGTERM, 143, "Stopped by SIGTERM. "),
        (os.kill, signal.SIGTERM, 143, "Stopped by SIGTERM. "),
    ],
    ids=["Ctrl-C", "SIGTERM to all", "SIGTERM to one"],
)
def test_a_path_that_is_stopped_says_one_sentence_and_leaves_nobody_behind(
    starts: Starts,
    tmp_path: Path,
    send: Callable[[int, int], None],
    number: signal.Signals,
    code: int,
    sentence: str,
    workers: int,
) -> None:
    work = tmp_path / "work"
    start = in_training(starts, work, workers)
    before = start.said
    send(start.process.pid, number)
    ended, shown, said = start.end(60)
    assert (ended, shown, said) == (code, "", before + sentence + STOPPED)
    wait_until(lambda: not session(start.process.pid))
    assert leftovers(work) == []
    kept = finished_files(work)
    assert set(kept) == {"images.parquet", "modified.parquet"}
    assert digests(work, *kept) == kept
    steps = [(row["step"], row["state"]) for row in status(work).steps]
    assert steps == [("ingest", "done"), ("train model-a", "begun")]


# -- two at once ------------------------------------------------------------------------------------------------------


def test_a_second_process_in_the_same_work_folder_is_turned_away(starts: Starts, tmp_path: Path) -> None:
    work = tmp_path / "work"
    first = in_training(starts, work)
    kept = digests(work, "images.parquet", "project.json", "lock.json")
    assert len(kept) == 3
    code, shown, said = starts.start(work, LONG).end(60)
    assert (code, shown) == (2, "")
    assert said.startswith(f"Error: {work} is in use by process {first.process.pid} on ")
    assert said.endswith(": wait until it has ended, or work in another folder.\n")
    assert said.count("\n") == 1
    assert first.process.poll() is None
    assert digests(work, *kept) == kept
    # Whoever only reads need not wait.
    steps = [(row["step"], row["state"]) for row in status(work).steps]
    assert steps == [("ingest", "done"), ("train model-a", "begun")]
