"""The command line: flags from signatures, results on stdout, errors as sentences and exit codes."""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

import curriculumnet
from curriculumnet import cli, console
from curriculumnet.errors import InputError, MachineError, UnknownNameError, UsageError
from curriculumnet.version import __version__


@dataclass(frozen=True)
class Done:
    """The result of the functions below: what they were called with."""

    given: dict[str, Any]

    def summary(self) -> list[str | console.Grid]:
        return ["done", console.Grid("Given", ("name", "value"), tuple((k, repr(v)) for k, v in self.given.items()))]


def everything(
    work: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]] = (),
    *,
    from_: str,
    size: int = 224,
    epochs: float | None = None,
    pretrained: bool = False,
    mirror: bool = True,
    small_stem: bool | None = None,
    recipe: Literal["model-a", "model-d"] = "model-a",
    crops: Literal[1, 10] | None = None,
    scale: tuple[float, float] = (0.25, 1.0),
    compare: tuple[str, str] | None = None,
    exclude_category: tuple[str, ...] = (),
    weights: list[float] | None = None,
    output: Path | None = None,
    quiet: bool = False,
) -> Done:
    """Do everything that a command can do. This sentence is not shown.

    Parameters
    ----------
    work : path-like
        The work folder.
    files : sequence of path-like
        Pictures, e.g. photographs.
    from_ : str
        Where the features come from. A run's name,
        or a network.
    size : int, default 224
        Side of the picture in [32, 512] pixels.
    epochs : float, optional
        Passes over the images.
    pretrained : bool
        Begin with weights trained elsewhere.
    mirror, small_stem : bool
        Two switches described at once.
    recipe : {"model-a", "model-d"}
        How it is trained.
    crops : {1, 10}
        Crops per image.
    scale : (float, float)
        Least and greatest scale.
    compare : (str, str), optional
        Two runs to compare.
    exclude_category : tuple of str
        A category to leave out.
    weights : list of float
        Weight of each subset.
    output : Path
        Where it goes.
    quiet : bool
        Say less.

    Returns
    -------
    Done
        This size : int is no parameter.
    """
    return Done(dict(locals()))


DEFAULTS = {
    "work": "w", "files": (), "from_": "resnet18", "size": 224, "epochs": None, "pretrained": False, "mirror": True,
    "small_stem": None, "recipe": "model-a", "crops": None, "scale": (0.25, 1.0), "compare": None,
    "exclude_category": (), "weights": None, "output": None, "quiet": False,
}  # fmt: skip


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put a function in the place of `curriculumnet.train`."""
    return lambda function: monkeypatch.setattr(curriculumnet, "train", function, raising=False)


def run(*words: str) -> int:
    """Type a command; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.app(list(words), prog_name="curriculumnet")
    return int(ended.value.code or 0)


def train(work: str, *, error: str = "") -> Done:
    """Train nothing.

    Parameters
    ----------
    work : str
        The work folder.
    error : str
        An error to raise.
    """
    raise ERRORS[error]


# -- flags ------------------------------------------------------------------------------------------------------------


def test_each_argument_is_a_flag() -> None:
    typed = [flag.typed for flag in cli.flags(everything)]
    assert typed == [
        "WORK",
        "[FILES …]",
        "--from TEXT",
        "--size INT",
        "--epochs FLOAT",
        "--pretrained",
        "--[no-]mirror",
        "--[no-]small-stem",
        "--recipe model-a|model-d",
        "--crops 1|10",
        "--scale FLOAT FLOAT",
        "--compare TEXT TEXT",
        "--exclude-category TEXT …",
        "--weights FLOAT …",
        "-o, --output PATH",
        "--quiet",
    ]


def test_the_first_sentence_of_its_description_is_its_help() -> None:
    helps = {flag.name: flag.help for flag in cli.flags(everything)}
    assert helps["from_"] == "Where the features come from."
    assert helps["size"] == "Side of the picture in [32, 512] pixels."
    assert helps["mirror"] == helps["small_stem"] == "Two switches described at once."
    meanings = {flag.name: flag.meaning for flag in cli.flags(everything)}
    assert meanings["from_"] == "Where the features come from. A run's name, or a network."


def test_defaults_are_shown_as_they_are_typed() -> None:
    shown = {flag.name: flag.shown_default for flag in cli.flags(everything) if flag.shown_default}
    assert shown == {"size": "224", "mirror": "yes", "recipe": "model-a", "scale": "0.25 1"}


def with_callback(*, progress: Callable[[int], None] | None = None) -> None: ...


def with_two_types(*, name: str | int = 0) -> None: ...


@pytest.mark.parametrize("function", [with_callback, with_two_types])
def test_an_argument_that_cannot_be_typed(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="cannot be typed on a command line"):
        cli.flags(function)


def test_nothing_but_what_is_needed_gives_the_functions_defaults(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(everything)
    assert run("train", "w", "--from", "resnet18", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"given": {**DEFAULTS, "files": [], "scale": [0.25, 1.0],
                                                             "exclude_category": []}}  # fmt: skip


def test_the_values_reach_the_function_with_their_types(put: Callable[..., None]) -> None:
    calls: list[dict[str, Any]] = []

    def record(**given: Any) -> Done:
        calls.append(given)
        return Done({})

    record.__signature__ = cli.inspect.signature(everything)  # type: ignore[attr-defined]
    record.__annotations__ = everything.__annotations__
    record.__doc__ = everything.__doc__
    put(record)
    words = (
        "train w a.jpg b.jpg --from x --size 64 --epochs 0.5 --pretrained --no-mirror --no-small-stem --recipe model-d "
        "--crops 10 --scale 0.5 2 --compare model-a model-d --exclude-category cat --exclude-category dog "
        "--weights 1 --weights 0.5 -o there --quiet"
    )
    assert run(*words.split()) == 0
    assert run("train", "w", "--from", "resnet18") == 0
    assert calls == [
        {
            "work": "w", "files": ("a.jpg", "b.jpg"), "from_": "x", "size": 64, "epochs": 0.5, "pretrained": True,
            "mirror": False, "small_stem": False, "recipe": "model-d", "crops": 10, "scale": (0.5, 2.0),
            "compare": ("model-a", "model-d"), "exclude_category": ("cat", "dog"), "weights": (1.0, 0.5),
            "output": "there", "quiet": True,
        },
        DEFAULTS,
    ]  # fmt: skip
    assert type(calls[0]["epochs"]) is float
    assert type(calls[0]["crops"]) is int


# -- help -------------------------------------------------------------------------------------------------------------


def test_the_help_of_a_command_has_a_line_per_flag_and_an_example(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(everything)
    assert run("train", "--help") == 0
    lines = capsys.readouterr().out.rstrip("\n").split("\n")
    assert lines[0] == "Usage: curriculumnet train WORK [FILES …] --from TEXT [FLAGS]"
    assert lines[1] == "Do everything that a command can do."
    assert "--size INT                 Side of the picture in [32, 512] pixels. [224]" in lines
    assert "--json                     Print the result to stdout as one JSON object." in lines
    assert lines[-2:] == [
        "…: give the flag once for each value.",
        "Example: curriculumnet train crawl-work --recipe model-d",
    ]
    assert len(lines) == 3 + 18 + 3


def test_the_commands_are_listed_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    names = [command.name for command in cli.COMMANDS]
    assert [word for word in listed if word in names] == names


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"curriculumnet {__version__}\n"


def test_nothing_typed_is_answered_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    got = capsys.readouterr()
    assert "Usage: curriculumnet" in got.out + got.err


# -- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trian w", "Did you mean 'train'?"),
        ("train w --form x", "--from"),
        ("train w", "--from"),
        ("train --from x", "WORK"),
        ("train w --from x --recipe model-e", "model-a"),
        ("train w --from x --size big", "Invalid value for '--size': it must be a whole number."),
        ("train w --from x --epochs many", "Invalid value for '--epochs': it must be a number."),
        ("train w --from x --scale 0.5 1,0", "Invalid value for '--scale': it must be a number."),
        ("train w --from x --crops 3", "Invalid value for '--crops': '3' is not one of"),
        ("train w --from x --compare model-a", "--compare"),
        ("train w --from x --no-pretrained", "--no-pretrained"),
    ],
)
def test_wrong_use_exits_with_2_and_a_hint(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str], words: str, expected: str
) -> None:
    put(everything)
    assert run(*words.split()) == 2
    got = capsys.readouterr()
    assert expected in got.err
    assert "Traceback" not in got.err
    assert got.out == ""


# -- results ----------------------------------------------------------------------------------------------------------


def test_a_result_is_shown_on_stdout(put: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    put(everything)
    assert run("train", "w", "--from", "x") == 0
    got = capsys.readouterr()
    assert got.out.startswith("done\n")
    assert got.err == ""


def loud(work: str) -> Done:
    """Print what nobody asked for."""
    print("downloading …")
    return Done({"work": work})


def test_with_json_stdout_is_one_object_whatever_a_library_prints(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(loud)
    assert run("train", "w", "--json") == 0
    got = capsys.readouterr()
    assert got.out == '{"given": {"work": "w"}}\n'
    assert got.err == "downloading …\n"


# -- errors -----------------------------------------------------------------------------------------------------------

ERRORS: dict[str, BaseException] = {
    "usage": UsageError("That is not how."),
    "name": UnknownNameError("run", "x", ["model-a"]),
    "input": InputError("crawl/ is empty: give a folder with pictures."),
    "machine": MachineError("There is no GPU."),
    "memory": MemoryError(),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    "disk": OSError(errno.ENOSPC, "No space left on device", "work/images.parquet"),
    "quota": OSError(errno.EDQUOT, "Quota exceeded"),
    "worker": RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "),
    "pool": concurrent.futures.process.BrokenProcessPool(
        "A process in the process pool was terminated abruptly while the future was running or pending."
    ),
    "bug": KeyError("pear"),
    "file": FileNotFoundError(errno.ENOENT, "No such file", "x"),
    "stop": KeyboardInterrupt(),
}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("usage", 2, "Error: That is not how.\n"),
        ("name", 2, "Error: There is no run 'x': it must be one of model-a.\n"),
        ("input", 3, "Error: crawl/ is empty: give a folder with pictures.\n"),
        ("machine", 4, "Error: There is no GPU.\n"),
        ("memory", 4, "Error: The memory is full: ask for fewer workers"),
        ("cpu", 4, "Error: The memory is full: ask for fewer workers"),
        ("disk", 4, "Error: The disk is full: work/images.parquet could not be written."),
        ("quota", 4, "Error: The disk is full: a file could not be written."),
        ("worker", 4, "Error: A worker process was killed, most likely because the memory is full"),
        ("pool", 4, "Error: A worker process was killed, most likely because the memory is full"),
        ("bug", 1, "Error: KeyError: 'pear'\nThis is a bug in curriculumnet: please report it"),
        ("file", 1, "Error: FileNotFoundError: [Errno 2] No such file: 'x'\nThis is a bug in curriculumnet"),
        ("stop", 130, "Stopped. Nothing that had finished is lost: start the same command again to go on.\n"),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str], error: str, code: int, message: str
) -> None:
    put(train)
    assert run("train", "w", "--error", error) == code
    got = capsys.readouterr()
    assert got.err.startswith(message)
    assert got.out == ""
    assert run("train", "w", "--error", error, "--debug") == code
    got = capsys.readouterr()
    assert got.err.startswith("Traceback")
    assert message in got.err


def test_a_gpu_without_memory(
    put: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("OutOfMemoryError", (RuntimeError,), {})
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(OutOfMemoryError=full)))  # type: ignore[arg-type]
    monkeypatch.setitem(ERRORS, "gpu", full("CUDA out of memory."))
    put(train)
    assert run("train", "w", "--error", "gpu") == 4
    assert capsys.readouterr().err.startswith("Error: The GPU's memory is full: ask for a smaller batch size")


def test_a_step_that_cannot_be_imported_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> Any:
        raise ImportError(f"no {name}")

    monkeypatch.delitem(vars(curriculumnet), "train", raising=False)
    monkeypatch.setattr(curriculumnet, "__getattr__", fail)
    assert run("train", "w") == 1
    assert capsys.readouterr().err.startswith("Error: ImportError: no train\nThis is a bug")


# -- signals and pipes, in real processes ------------------------------------------------------------------------------

PROGRAM = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import curriculumnet
from curriculumnet.cli import main
from dataclasses import dataclass

@dataclass
class Done:
    pages: int
    def summary(self):
        return ["line"] * self.pages

def train(work: str, *, method: str = "", pages: int = 1) -> Done:
    "Wait, or print."
    if not method:
        return Done(pages)
    folder = Path(work)
    try:
        if method == "alone":
            (folder / "ready").touch()
            time.sleep(60)
        else:
            with multiprocessing.get_context(method).Pool(2) as pool:
                pids = pool.map(pid, range(2))
                (folder / "ready").write_text(" ".join(map(str, pids)))
                pool.map(time.sleep, [60, 60])
    finally:
        (folder / "cleared").touch()

def pid(_):
    time.sleep(0.2)
    return os.getpid()

if __name__ == "__main__":
    curriculumnet.train = train
    main()
"""


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(path)]


def wait_for(path: Path) -> str:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)
    time.sleep(0.1)
    return path.read_text(encoding="utf-8")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("method", ["alone", *multiprocessing.get_all_start_methods()])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_after_it_has_cleared_up(
    program: list[str], tmp_path: Path, method: str, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [*program, "train", str(tmp_path), "--method", method], stderr=subprocess.PIPE, text=True
    )
    workers = [int(pid) for pid in wait_for(tmp_path / "ready").split()]
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code
    assert said.startswith("Stopped")
    assert said.endswith("Nothing that had finished is lost: start the same command again to go on.\n")
    assert "Traceback" not in said
    assert (tmp_path / "cleared").exists()
    assert not any(is_running(worker) for worker in workers)


@pytest.mark.parametrize(("error", "shown"), [("disk", False), ("quota", False), ("bug", True)])
def test_a_thread_leaves_a_full_disk_to_who_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: str, shown: bool
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "argv", ["curriculumnet", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    thread = threading.Thread(target=lambda: train("w", error=error))
    thread.start()
    thread.join()
    assert ("Traceback" in capsys.readouterr().err) is shown


@pytest.fixture
def heeded() -> Iterator[None]:
    """Leave the handler of ended children as it was."""
    numbers = [signal.SIGCHLD] if hasattr(signal, "SIGCHLD") else []
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("then", [None, RuntimeError("DataLoader worker (pid 12) is killed by signal: Terminated. ")])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_counts_whatever_a_library_makes_of_it(
    put: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
    then: Exception | None,
) -> None:
    def train(work: str) -> Done:
        """Swallow a signal, as what runs while an object is deleted does."""
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        if then is not None:
            raise then
        return Done({})

    put(train)
    handler = signal.getsignal(number)
    assert run("train", "w") == code
    assert signal.getsignal(number) is handler
    got = capsys.readouterr()
    assert got.err.startswith("Stopped")
    assert got.err.count("\n") == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_has_gone_is_no_error(program: list[str], tmp_path: Path, flags: list[str]) -> None:
    process = subprocess.Popen(
        [*program, "train", str(tmp_path), "--pages", "100000", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=120) == 0
