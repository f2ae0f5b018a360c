"""What a person sees while a training runs: how long it will take, and its curves in TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path

from curriculumnet import console

_PACE_STEPS = (3, 20)
"""The steps over which the pace is measured; the first ones are slower."""
_PACE_SECONDS = 20.0
"""Where steps take long, the pace is told after so many seconds, and three steps."""


class Pace:
    """Measures the first steps and says how long the training will take."""

    def __init__(self, progress: console.Progress, steps: int, run: str, quiet: bool) -> None:
        self._progress, self._steps, self._run, self._quiet = progress, steps, run, quiet
        self._taken, self._mark, self._told = 0, time.perf_counter(), False

    def step(self) -> None:
        """Take note of a step."""
        self._progress.advance()
        self._taken += 1
        first, last = _PACE_STEPS
        if self._taken == first:
            self._mark = time.perf_counter()
        since = time.perf_counter() - self._mark
        if self._told or self._taken < first + 3 or (self._taken < last and since < _PACE_SECONDS):
            return
        self._told = True
        if self._steps > 2 * self._taken:
            seconds = since / (self._taken - first) * (self._steps - self._taken)
            message = f"Training {self._run} takes about {console.duration(seconds)} more on this machine."
            if seconds > 3600:
                message += (
                    " Shorter: a smaller --image-size (half the size is a quarter of the time), fewer --epochs, "
                    "a smaller --model such as resnet10t, or --device cuda."
                )
            console.say(message, quiet=self._quiet)


class TensorBoard:
    """The history as TensorBoard reads it."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._step = folder, step

    def __enter__(self) -> TensorBoard:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=self._step or None)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, row: tuple[int, int, str, float]) -> None:
        """Take over a row of the history."""
        step, _, metric, value = row
        self._writer.add_scalar(metric, value, step)
