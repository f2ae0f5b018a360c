"""What a person sees: progress, messages, results."""

import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from curriculumnet import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Found:
    work: Path
    counts: dict[str, int]
    parts: tuple[float, ...]

    def summary(self) -> list[str | console.Grid]:
        rows = (("dog [puppy]", "1,200"), ("très long " * 20, "3"))
        return [f"The work folder: {self.work}", console.Grid("Images", ("category", "images"), rows)]


FOUND = Found(Path("here") / "work", {"é": 1}, (0.5, 1.0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_without_a_terminal_progress_is_a_line_after_seconds_and_then_a_line_a_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.Progress("reading", 100, "files") as progress:
        for _ in range(100):
            clock[0] += 3.0
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "reading: 4 of 100 files, 0.333/s, 5 min left",
        "reading: 24 of 100 files, 0.333/s, 4 min left",
    ]
    assert len(lines) == 5
    assert capsys.readouterr().out == ""


def test_the_time_left_does_not_count_what_was_done_before(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.Progress("training", 1000, "steps", done=900) as progress:
        clock[0] += 60.0
        progress.advance(10)
    assert "910 of 1,000 steps, 0.167/s, 9 min left" in capsys.readouterr().err


def test_a_line_comes_even_when_nothing_is_done_yet(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with console.Progress("fetching", 10, "URLs", done=4) as progress:
        clock[0] += 30.0
        progress.advance(0)
    assert capsys.readouterr().err == "fetching: 4 of 10 URLs, none in 30 s\n"


def test_quick_work_says_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.Progress("reading", 3, "files") as progress:
        progress.advance(3)
    assert capsys.readouterr().err == ""


def test_quiet_progress_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with console.Progress("reading", 2, "files", quiet=True) as progress:
        clock[0] += 600.0
        progress.advance()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.Progress("reading", 4, "files") as progress:
        for _ in range(3):
            progress.advance()
            time.sleep(0.01)
    shown = terminal.getvalue()
    assert "reading" in shown
    assert "3/4 files" in shown
    assert "\x1b[" in shown


def test_the_whole_path_shows_its_steps_in_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.whole_path("the whole path") as path:
        path.plan({"ingest": 1.0, "train": 3.0})
        for step in ("ingest", "train"):
            path.enter(step)
            with console.Progress(step, 2, "files") as progress:
                progress.advance(2)
    shown = terminal.getvalue()
    assert "the whole path" in shown
    assert "train" in shown


def test_the_whole_path_without_a_terminal_says_how_long_it_still_takes(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.whole_path("the whole path") as path:
        path.plan({"ingest": 1.0, "train": 3.0})
        path.enter("ingest")
        with console.Progress("reading", 2, "files") as progress:
            clock[0] += 100.0
            progress.advance(2)
        path.enter("train")
        with console.Progress("training", 3, "steps") as progress:
            clock[0] += 100.0
            progress.advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading: 2 of 2 files, 0.02/s, under 1 s left; whole path: 5 min left",
        "training: 1 of 3 steps, 0.01/s, 3 min left; whole path: 3 min left",
    ]


def test_steps_that_had_nothing_to_do_tell_nothing_of_the_time_that_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.whole_path("the whole path") as path:
        path.plan({"train": 6.0, "embed": 1.0, "train again": 3.0})
        for step in ("train", "embed", "train again"):
            path.enter(step)
        with console.Progress("training", 3, "steps") as progress:
            clock[0] += 100.0
            progress.advance(1)
    assert capsys.readouterr().err == "training: 1 of 3 steps, 0.01/s, 3 min left; whole path: 3 min left\n"


def test_work_aside_moves_the_whole_path_neither_on_nor_back(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.whole_path("the whole path") as path:
        path.plan({"train": 3.0, "report": 1.0})
        path.enter("train")
        with console.Progress("decoding", 2, "pictures", aside=True) as progress:
            clock[0] += 100.0
            progress.advance(1)
        with console.Progress("training", 3, "steps") as progress:
            clock[0] += 100.0
            progress.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "decoding: 1 of 2 pictures, 0.01/s, 2 min left; whole path: measuring",
        "training: 1 of 3 steps, 0.01/s, 3 min left; whole path: 5 min left",
    ]


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured, plain = Terminal(), Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", coloured)
    console.fail("broken")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", plain)
    console.fail("broken")
    assert "\x1b[31m" in coloured.getvalue()
    assert plain.getvalue() == "Error: broken\n"


def test_messages_go_to_stderr_and_quiet_silences_only_talk(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("one", quiet=True)
    console.say("two [red]")
    console.warn("three")
    console.fail("four")
    got = capsys.readouterr()
    assert got.err == "two [red]\nWarning: three\nError: four\n"
    assert got.out == ""


def test_a_long_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.fail("word " * 100)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_result_is_shown_on_stdout_with_its_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.show(FOUND)
    got = capsys.readouterr()
    assert got.err == ""
    assert got.out.splitlines()[0] == f"The work folder: {Path('here') / 'work'}"
    assert "dog [puppy]" in got.out
    assert "1,200" in got.out


def test_a_result_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_json(FOUND)
    out = capsys.readouterr().out
    assert json.loads(out) == {"work": str(Path("here") / "work"), "counts": {"é": 1}, "parts": [0.5, 1.0]}
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "under 1 s"),
        (1, "1 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (5400, "1 h 30 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 MB"),
        (90_000, "0.09 MB"),
        (640e6, "640 MB"),
        (999.6e6, "1.0 GB"),
        (5.2e9, "5.2 GB"),
        (2.6e12, "2,600.0 GB"),
    ],
)
def test_bytes(size: int, words: str) -> None:
    assert console.storage(size) == words


@pytest.mark.parametrize(("run", "rank", "shown"), [(None, "1", True), ("none", "0", True), ("none", "1", False)])
def test_of_the_processes_of_torchrun_one_shows_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: str | None, rank: str, shown: bool
) -> None:
    monkeypatch.setenv("RANK", rank)
    if run:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
    for show in (console.show, console.show_json):
        show(FOUND)
        assert bool(capsys.readouterr().out) == shown


@pytest.mark.parametrize(("quiet", "shown"), [(False, True), (True, False)])
def test_what_is_waited_for_is_said_on_a_terminal(monkeypatch: pytest.MonkeyPatch, quiet: bool, shown: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.waiting("Loading much", quiet=quiet):
        time.sleep(0.2)
    assert ("Loading much" in terminal.getvalue()) == shown


def test_what_is_waited_for_is_not_said_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with console.waiting("Loading much"):
        pass
    assert capsys.readouterr().err == ""
