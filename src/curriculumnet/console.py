"""What a person sees on a terminal: messages and progress on stderr, results on stdout.

On a terminal there is one progress display with rate and time left; elsewhere a line after ten seconds, then one a
minute.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import rich.console
    import rich.progress

_FIRST_LINE = 10.0
"""Seconds to the first line of progress where there is no terminal."""

_WIDEST = 4096
"""Characters of a line where there is no terminal."""

_LINE_EVERY = 60.0
"""Seconds between two such lines."""


@dataclass(frozen=True)
class Grid:
    """A small table for a terminal: a title, the columns' names, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Result(Protocol):
    """What a step returns: a frozen dataclass that can say what it found."""

    def summary(self) -> Sequence[str | Grid]:
        """Return lines and tables for a terminal."""
        ...


def say(message: str, *, quiet: bool = False) -> None:
    """Write a message to stderr, unless quiet."""
    if not quiet:
        _stderr().print(message, markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Write a warning to stderr, even when quiet."""
    _stderr().print(f"Warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def fail(message: str) -> None:
    """Write the message of an error to stderr."""
    _stderr().print(f"Error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


def show(result: Result) -> None:
    """Write a result to stdout: its lines as they are, its tables drawn."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if _is_said_by_another():
        return
    # What reads a pipe wants each row on a line of its own.
    out = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDEST)
    for part in result.summary():
        if isinstance(part, str):
            out.print(_in_letters_of(out, part), markup=False, highlight=False, soft_wrap=True)
            continue
        if part.title:
            out.print(_in_letters_of(out, part.title), markup=False, highlight=False, soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(part.columns):
            figures = all(row[index][:1] in "+-–0123456789" for row in part.rows)
            table.add_column(name, justify="right" if index and figures else "left", overflow="fold")
        for row in part.rows:
            table.add_row(*(_plain_text(cell) for cell in row))
        out.print(table)


def _in_letters_of(out: rich.console.Console, text: str) -> str:
    """Return a text in letters that the terminal has: the page's narrow spaces and long minus are rare ones."""
    return text if out.encoding.startswith("utf") else text.translate({0x202F: " ", 0x2212: "-", 0x2013: "-"})


def show_json(result: Result) -> None:
    """Write a result to stdout as one JSON object: the fields of its dataclass."""
    if _is_said_by_another():
        return
    sys.stdout.write(json.dumps(as_json(result), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _is_said_by_another() -> bool:
    """Say whether this is one of the processes of torchrun, which all have the same result, and not the first."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def as_json(value: Any) -> Any:
    """Return a dataclass, path, tuple or dict as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def duration(seconds: float) -> str:
    """Return a length of time as a person says it: ``under 1 s``, ``8 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def storage(size: int) -> str:
    """Return bytes as a person says them: ``0.09 MB``, ``640 MB``, ``5.2 GB``."""
    return f"{size / 1e6:.3g} MB" if size < 999.5e6 else f"{size / 1e9:,.1f} GB"


class Progress:
    """The progress of one piece of work.

    Parameters
    ----------
    title : str
        What is being done: ``training model-a``.
    total : int
        How many units there are.
    unit : str
        What a unit is, in the plural: ``images``, ``steps``.
    done : int
        How many were done before, when work goes on after an interruption.
    quiet : bool
        Show nothing.
    aside : bool
        The work is in no plan of the whole path: its share stays as it is, and the time this takes does not count.

    Examples
    --------
    >>> with Progress("reading", 3, "files", quiet=True) as progress:
    ...     for _ in range(3):
    ...         progress.advance()
    """

    def __init__(
        self, title: str, total: int, unit: str, *, done: int = 0, quiet: bool = False, aside: bool = False
    ) -> None:
        self._title, self._total, self._unit, self._quiet, self._aside = title, total, unit, quiet, aside
        self._done = self._before = done
        self._start = self._next_line = 0.0
        self._live: rich.progress.Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        self._next_line = self._start + _FIRST_LINE
        if _path is not None and not self._aside:
            _path.skip(self._done / max(1, self._total))
        if self._quiet or not _stderr().is_terminal:
            return self
        if _path is not None:
            self._live = _path.live
        else:
            self._live = _display()
            self._live.start()
        self._task = self._live.add_task(self._title, total=self._total, completed=self._done, unit=self._unit)
        return self

    def __exit__(self, *_: object) -> None:
        if _path is not None and self._aside:
            _path.pass_over(time.monotonic() - self._start)
        if self._live is None:
            return
        if _path is not None:
            self._live.remove_task(self._task)
        else:
            self._live.stop()

    def advance(self, units: int = 1) -> None:
        """Say that `units` more are done; with 0, that there is still none, so that a line is due nevertheless."""
        self._done += units
        if _path is not None and not self._aside:
            _path.within(self._done / max(1, self._total))
        if self._live is not None:
            self._live.update(self._task, completed=self._done)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY
            whole = f"; whole path: {_path.left()}" if _path is not None else ""
            say(f"{self._title}: {self._done:,} of {self._total:,} {self._unit}, {self._speed()}{whole}")

    def _speed(self) -> str:
        seconds, done = time.monotonic() - self._start, self._done - self._before
        if not done:
            return f"none in {duration(seconds)}"
        rate = done / max(1e-9, seconds)
        return f"{_rate(rate)}, {duration((self._total - self._done) / rate)} left"


class _Path:
    """The progress over a row of steps: finished weights, and the share of the present one."""

    def __init__(self, title: str, live: rich.progress.Progress) -> None:
        self.live = live
        self._weights: dict[str, float] = {}
        self._done = 0.0
        self._now = ""
        self._start = time.monotonic()
        self._share = 0.0
        self._before = 0.0
        self._began = False
        self._task = live.add_task(title, total=1.0, unit="")

    def plan(self, weights: dict[str, float]) -> None:
        """Set the weights of the steps to come; what is behind no longer counts towards the time left."""
        self._weights, self._done, self._share, self._before = dict(weights), 0.0, 0.0, 0.0
        self._start = time.monotonic()

    def enter(self, name: str) -> None:
        if self._now and not self._began:
            # It had nothing to do, so that how quickly it ended tells nothing.
            self.skip(1.0)
        self._done += self._weights.get(self._now, 0.0)
        self._now, self._share, self._began = name, 0.0, False
        self.within(0.0)

    def skip(self, share: float) -> None:
        """Say that this share of the present step was done before, and tells nothing of how long the rest takes."""
        self._began = True
        self._before += self._weights.get(self._now, 0.0) * share / max(1e-9, sum(self._weights.values()))

    def pass_over(self, seconds: float) -> None:
        """Say that these seconds went to what is in no plan, and tell nothing of how long the rest takes."""
        self._start += seconds

    def within(self, share: float) -> None:
        self._share = (self._done + self._weights.get(self._now, 0.0) * share) / max(1e-9, sum(self._weights.values()))
        self.live.update(self._task, completed=self._share, whole_left=self.left())

    def left(self) -> str:
        """Return how long the whole path still takes, going by what has been done of it."""
        done = self._share - self._before
        if done < 0.005:
            return "measuring"
        seconds = (time.monotonic() - self._start) * (1 - self._share) / done
        return f"{duration(seconds)} left"


_path: _Path | None = None


class PathProgress:
    """The handle that `whole_path` gives: plan the steps' weights, then enter them one by one."""

    def __init__(self, path: _Path) -> None:
        self._inner = path

    def plan(self, weights: dict[str, float]) -> None:
        """Set the expected cost of each step to come, in any one unit."""
        self._inner.plan(weights)

    def enter(self, name: str) -> None:
        """Say that a step of the plan begins; the one before it is done."""
        self._inner.enter(name)


@contextmanager
def whole_path(title: str, *, quiet: bool = False) -> Iterator[PathProgress]:
    """Show one progress display over a row of steps, in which each step's own progress is a line."""
    global _path
    live = _display()
    _path = _Path(title, live)
    try:
        if _stderr().is_terminal and not quiet:
            with live:
                yield PathProgress(_path)
        else:
            yield PathProgress(_path)
    finally:
        _path = None


@contextmanager
def waiting(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say on a terminal, for as long as it lasts, what is waited for."""
    if quiet or _path is not None or not _stderr().is_terminal:
        yield
        return
    with _stderr().status(f"{what} …", spinner="line"):
        yield


def _rate(speed: float) -> str:
    return f"{speed:,.0f}/s" if speed >= 100 else f"{speed:.3g}/s"


def _display() -> rich.progress.Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            if "whole_left" in task.fields:
                return Text(str(task.fields["whole_left"]), style="dim")
            speed = task.finished_speed or task.speed
            if not speed or task.total is None:
                return Text("")
            left = duration((task.total - task.completed) / speed)
            unit = task.fields["unit"]
            return Text(f"{int(task.completed):,}/{int(task.total):,} {unit}  {_rate(speed)}  {left} left", style="dim")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        Rate(),
        console=_stderr(),
        transient=True,
        speed_estimate_period=60,
    )


_console: rich.console.Console | None = None


def _stderr() -> rich.console.Console:
    """Return the console of stderr; made anew when stderr was replaced, as tests do."""
    global _console
    if _console is None or _console.file is not sys.stderr:
        from rich.console import Console

        _console = Console(file=sys.stderr, no_color=True if os.environ.get("NO_COLOR") else None)
    return _console


def _plain_text(cell: str) -> Any:
    """Return a cell as text without markup: names of categories may hold brackets."""
    from rich.text import Text

    return Text(cell)
