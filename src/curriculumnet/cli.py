"""The command line: a table of commands, each of which is a function of the package.

The flags are the function's arguments, read from its signature; what they mean is read from its docstring. What is
raised becomes one sentence on stderr and an exit code, here and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import inspect
import io
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import typer
import typer.core

import curriculumnet
from curriculumnet import console
from curriculumnet.errors import CurriculumNetError, MachineError, UsageError
from curriculumnet.flags import Flag, first_sentence, flags
from curriculumnet.version import __version__


@dataclass(frozen=True)
class Command:
    """A command: the package's function of its name, a line for the list of commands, and an example."""

    name: str
    line: str
    example: str


COMMANDS = (
    Command("demo", "Try the whole path on a small crawl made on the spot.", "curriculumnet demo"),
    Command("run", "Go the whole path, from a crawl to a model and a page.", "curriculumnet run crawl/ --test clean/"),
    Command("collect", "Fetch the pictures of a list of URLs.", "curriculumnet collect urls.csv -o shards"),
    Command("ingest", "Read a crawl, check every file, split it.", "curriculumnet ingest crawl/ -o crawl-work"),
    Command("embed", "Compute a vector of features for each image.", "curriculumnet embed crawl-work --from model-a"),
    Command("design", "Order each category's images from clean to doubtful.", "curriculumnet design crawl-work"),
    Command("train", "Train a network along the curriculum.", "curriculumnet train crawl-work --recipe model-d"),
    Command("evaluate", "Measure the errors of the trained networks.", "curriculumnet evaluate crawl-work --crops 10"),
    Command("report", "Make the page that shows what was found.", "curriculumnet report crawl-work"),
    Command(
        "export",
        "Write images and curriculum for other tools.",
        "curriculumnet export crawl-work --format webdataset --output shards",
    ),
    Command("predict", "Name what is on pictures.", "curriculumnet predict crawl-work photo.jpg"),
    Command(
        "inject",
        "Make a noisy copy of a clean set, for experiments.",
        "curriculumnet inject clean/ --output noisy --closed 0.2 --confuse cat:dog=0.3",
    ),
    Command("status", "Say what is done in a work folder and what is next.", "curriculumnet status crawl-work"),
)
"""The commands in the order of the path."""


ADDED = (
    Flag("json", ("--json",), "", bool, False, "Print the result to stdout as one JSON object."),
    Flag("debug", ("--debug",), "", bool, False, "Show where in the code an error arose."),
)
"""The flags that every command has without its function having such an argument."""


# -- from flags to commands -------------------------------------------------------------------------------------------


class _Commands(typer.core.TyperGroup):
    """The commands; the flags of one are made, and its step is imported, when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        command = next((command for command in COMMANDS if command.name == name), None)
        if command is None:
            return name, listed, rest
        with _errors_shown(debug="--debug" in rest):
            return name, _command(command), rest


_PHRASES = {"valid integer": "a whole number", "valid number": "a number"}


class _Screen(typer.core.TyperCommand):
    """A command whose help fits one screen: a line per flag, and an example at the end."""

    sentence: str
    flags: tuple[Flag, ...]
    example: str

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            # What reads the words is a library of typer's, and speaks of its own types.
            for phrase, kind in _PHRASES.items():
                if phrase in error.message:
                    error.message = f"it must be {kind}."
            error.message = error.message.removeprefix("Value error, ")
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        return [*(flag.typed for flag in self.flags if flag.required or not flag.spellings), "[FLAGS]"]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        formatter.write(f"{self.sentence}\n\n")
        formatter.write_dl([(flag.typed, _with_default(flag)) for flag in self.flags], col_max=34)
        formatter.write("\n")
        if any(flag.values.endswith("…") and flag.spellings for flag in self.flags):
            formatter.write("…: give the flag once for each value.\n")
        formatter.write(f"Example: {self.example}\n")


def _with_default(flag: Flag) -> str:
    return f"{flag.help} [{flag.shown_default}]" if flag.shown_default else flag.help


def _command(command: Command) -> Any:
    """Return a command as typer has it."""
    function = getattr(curriculumnet, command.name)
    found = (*flags(function), *ADDED)
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    one.command(command.name, cls=_Screen, context_settings=_CONTEXT)(_callback(function, found))
    made = cast(_Screen, typer.main.get_command(one))
    made.sentence, made.flags, made.example = first_sentence(function.__doc__ or ""), found, command.example
    return made


def _callback(function: Callable[..., Any], found: tuple[Flag, ...]) -> Callable[..., None]:
    """Return a function with the signature that typer wants, which calls `function` and shows its result."""

    def call(**given: Any) -> None:
        as_json, debug = given.pop("json"), given.pop("debug")
        arguments = {flag.name: _given(flag, given[flag.name]) for flag in found if flag.name in given}
        with _errors_shown(debug):
            if as_json and arguments.get("jsonl"):
                raise UsageError("--json and --jsonl are two forms of the same answers: give one of them.")
            # With --json nothing else may reach stdout, not even what a library prints.
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                result = function(**arguments)
            _print(console.show_json if as_json else console.show, result)

    parameters = [_parameter(flag) for flag in found]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parameter(flag: Flag) -> inspect.Parameter:
    default = ... if flag.required else flag.default
    if flag.spellings:
        made = typer.Option(default, *flag.spellings)
    else:
        made = typer.Argument(default, metavar=flag.name.rstrip("_").upper())
    return inspect.Parameter(flag.name, inspect.Parameter.KEYWORD_ONLY, default=made, annotation=flag.type)


def _given(flag: Flag, value: Any) -> Any:
    """Return a value as the function takes it: a row as a tuple, and the default where nothing was given."""
    if isinstance(value, list | tuple):
        return tuple(value) if value else flag.default
    return value


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"curriculumnet {__version__}\n")
        raise typer.Exit


_CONTEXT = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="curriculumnet",
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_CONTEXT,
)


@app.callback(
    help="From a crawl of images with wrong labels to a trained classifier, along a curriculum that nobody labelled.",
    epilog="Exit codes: 0 done, 1 a bug, 2 wrong use, 3 the input is at fault, 4 the machine is, 130 Ctrl-C, "
    "143 SIGTERM. Example: curriculumnet run crawl/",
)
def _top(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    del version


def _listed() -> None:
    """Stand for a command in the list until it is called."""


for _each in COMMANDS:
    app.command(_each.name, help=_each.line)(_listed)


# -- from errors to messages and exit codes ---------------------------------------------------------------------------

_REPORT = "This is a bug in curriculumnet: please report it, with the command and what it shows with --debug."
_AGAIN = "Nothing that had finished is lost: start the same command again to go on."


_REPEATED = 1.0
"""Seconds in which a signal that comes again is the same wish: `timeout` sends one to the process and to its group."""


class _Terminated(BaseException):
    """SIGTERM came."""


@contextlib.contextmanager
def _errors_shown(debug: bool) -> Iterator[None]:
    """Turn what is raised into one sentence on stderr and an exit code."""
    with _signals() as came:
        try:
            yield
            if came:
                raise came[0]
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt, _Terminated) as error:
            _stop(came[0] if came else error, debug)


def _stop(cause: BaseException, debug: bool) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        # What is said now is said whole; the handlers of before come back after it.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _unheeded)
    if debug:
        traceback.print_exc()
    if isinstance(cause, KeyboardInterrupt):
        console.say(f"Stopped. {_AGAIN}")
        raise typer.Exit(130)
    if isinstance(cause, _Terminated):
        console.say(f"Stopped by SIGTERM. {_AGAIN}")
        raise typer.Exit(143)
    if isinstance(cause, CurriculumNetError):
        console.fail(str(cause))
        raise typer.Exit(cause.exit_code)
    if isinstance(cause, Exception) and (reason := _machine(cause)) is not None:
        console.fail(f"{reason} {_AGAIN}")
        raise typer.Exit(MachineError.exit_code)
    console.fail(f"{type(cause).__name__}: {cause}\n{_REPORT}")
    raise typer.Exit(1)


def _machine(error: Exception) -> str | None:
    """Return what the machine ran out of, if that is what the error says."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        return "The GPU's memory is full: ask for a smaller batch size or image size."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "The memory is full: ask for fewer workers, or a smaller batch size or image size."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error.filename or 'a file'} could not be written. Free some space."
    if re.search(r"worker .*(killed by signal|exited unexpectedly)|terminated abruptly", str(error)):
        return f"A worker process was killed, most likely because the memory is full ({error}): ask for fewer workers."
    return None


@contextlib.contextmanager
def _signals() -> Iterator[list[BaseException]]:
    """Let Ctrl-C and SIGTERM end the block like an error, so that locks and temporary files are cleared away.

    Yields
    ------
    list of BaseException
        What was raised for those that came: a library may swallow that, or raise an error of its own because the
        signal ended its worker processes as well.
    """
    mine = os.getpid()
    came: list[BaseException] = []
    first: list[float] = []

    def end(number: int, _: object) -> None:
        if os.getpid() != mine:
            # A forked worker has no locks to clear; it ends as if there were no handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if came and time.monotonic() - first[0] < _REPEATED:
            return
        first.append(time.monotonic())
        if hasattr(signal, "SIGCHLD"):
            # The signal may have ended the workers too: torch is not to raise an error for that amid the clearing away.
            signal.signal(signal.SIGCHLD, _unheeded)
        came.append(KeyboardInterrupt() if number == signal.SIGINT else _Terminated())
        raise came[-1]

    # A shell that starts a command behind its back has it ignore Ctrl-C.
    heeded = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unheeded(number: int, frame: object) -> None:
    """Take a signal and do nothing; to set SIG_IGN with one on its way makes Python complain."""


def _print(show: Callable[[console.Result], None], result: console.Result) -> None:
    """Show a result; a reader that has gone, such as `head`, is no error."""
    try:
        show(result)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # rich raises SystemExit there. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Show why a thread ended, unless the machine is at fault: what the thread worked for says so in a sentence."""
    if not isinstance(failed.exc_value, Exception) or _machine(failed.exc_value) is None:
        threading.__excepthook__(failed)


def main() -> None:
    """Run the command that was typed."""
    threading.excepthook = _thread_failed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            stream.reconfigure(errors="replace")
        elif isinstance(stream, io.TextIOWrapper):
            # Windows writes to files and pipes in an encoding that lacks most categories' letters.
            stream.reconfigure(encoding="utf-8")
    try:
        app(prog_name="curriculumnet")
    finally:
        # What is loaded ends with the process: to look through all of torch for garbage first takes a second.
        gc.freeze()
