"""The training loop, in the order in which things happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.course import Course
from curriculumnet.training.interruption import Stop
from curriculumnet.training.ranks import Ranks
from curriculumnet.training.records import Dynamics, Records
from curriculumnet.training.updates import Updates

if TYPE_CHECKING:
    import torch
    from timm.utils import ModelEmaV3

Row = tuple[int, int, str, float]
"""A row of the history: step, stage, metric, value."""

_COLLECT_STEPS = 10
"""Steps after which a GPU is waited for, to see what they gave."""


@dataclass
class State:
    """What must survive a restart; what is drawn at random is decided by the seed and the step.

    `average` is the exponential moving average of the weights, which is what is measured and kept, or None. `best` is
    the lowest validation error so far with the weights that reached it, if a choice is made at all. `whole` says that
    no step is under way.
    """

    network: torch.nn.Module
    average: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    dynamics: Dynamics
    course: Course
    step: int = 0
    history: list[Row] = field(default_factory=list)
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    whole: bool = True

    def dump(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        import torch

        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "course": self.course.dump(),
            "step": self.step,
            "history": self.history,
            "best": self.best,
            "dynamics": {name: torch.from_numpy(values) for name, values in vars(self.dynamics).items()},
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over a state that was dumped."""
        self.network.load_state_dict(dumped["network"])
        if self.average:
            self.average.load_state_dict(dumped["average"])
        self.optimizer.load_state_dict(dumped["optimizer"])
        self.scaler.load_state_dict(dumped["scaler"])
        self.course.restore(dumped["course"])
        self.step, self.history, self.best = dumped["step"], [tuple(r) for r in dumped["history"]], dumped["best"]
        self.dynamics = Dynamics(**{name: values.numpy() for name, values in dumped["dynamics"].items()})

    def measured(self) -> torch.nn.Module:
        """Return the network whose figures count: the average where there is one."""
        return self.average.module if self.average else self.network


@dataclass(frozen=True)
class Measures:
    """What the loop does now and then.

    Attributes
    ----------
    every : int
        Steps between two rows of the history.
    curves : callable
        Network to a dict of figures on held-out images; the key `choose_by`, if there, decides the best weights.
    curves_every : int
        Steps between two of those.
    choose_by : str or None
        The figure by which the best weights are chosen, lower is better; None keeps the last weights.
    save : callable
        Writes a checkpoint.
    save_seconds : float
        Seconds between two checkpoints.
    told : callable
        Gets each row of the history as it is made.
    advance : callable
        Called after every step.
    """

    every: int
    curves: Callable[[torch.nn.Module], dict[str, float]]
    curves_every: int
    choose_by: str | None
    save: Callable[[State], None]
    save_seconds: float
    told: Callable[[Row], None]
    advance: Callable[[], None]


def fit(
    state: State,
    update: Updates,
    batches: CurriculumBatches,
    loaded: Iterator[tuple[np.ndarray, torch.Tensor]],
    targets: np.ndarray,
    to_input: Callable[[torch.Tensor], torch.Tensor],
    rate: Callable[[int], float],
    measures: Measures,
    records: Records,
    ranks: Ranks,
    stop: Stop,
    *,
    weight_norm: bool,
) -> None:
    """Train a network along its stages, from the state's step to the last of the batches or until it is to stop.

    Parameters
    ----------
    state : State
        Changed in place.
    update : Updates
        Changes the weights by a batch.
    batches : CurriculumBatches
        The stages, their places and weights; those of the course that are known.
    loaded : iterator of (ids, views)
        This process's share of the batches from the state's step on, decoded.
    targets : ndarray of int64, shape (n,)
        The category's index of each image id.
    to_input : callable
        uint8 views to normalised floats on the device.
    rate : callable
        Step to learning rate.
    measures : Measures
        What is recorded and when.
    records : Records
        Where.
    ranks : Ranks
        This process among those of the training.
    stop : Stop
        Whether to stop before the next step.
    weight_norm : bool
        See `batches.Stage.divisor`.

    Raises
    ------
    NotFiniteError
        A loss is no longer finite.
    """
    import torch

    records.batches = batches
    course, saved = state.course, time.monotonic()
    records.resume()
    for ids, views in loaded:
        records.waited()
        index, stage = batches.stage(state.step)
        weights = stage.place_weights()
        divisor = stage.divisor(weight_norm)
        inputs = to_input(views)
        wanted, mine = (torch.from_numpy(each).to(inputs.device) for each in (targets[ids], ranks.share(weights)))
        state.whole = False
        losses, right = update(inputs, wanted, mine, divisor, state.step, rate(state.step))
        state.step += 1
        state.whole = True
        records.worked(state.step - 1, losses, right, divisor)

        last = state.step == course.total
        recorded, measured = (last or state.step % every == 0 for every in (measures.every, measures.curves_every))
        late = ranks.writes and time.monotonic() - saved > measures.save_seconds
        stopped, saving = ranks.any(stop.asked or ranks.orphaned, late)
        if inputs.device.type == "cpu" or recorded or stopped or saving or state.step % _COLLECT_STEPS == 0:
            records.collect()
        rows = records.figures() | {"learning_rate": rate(state.step - 1)} if recorded and ranks.writes else {}
        if measured and ranks.writes:
            rows |= measures.curves(state.measured())
            if measures.choose_by and (state.best is None or rows[measures.choose_by] < state.best[0]):
                weights_now = {k: v.detach().clone() for k, v in state.measured().state_dict().items()}
                state.best = (rows[measures.choose_by], weights_now)
        for metric, value in rows.items():
            state.history.append((state.step, index + 1 if course.numbered else 1, metric, value))
            measures.told(state.history[-1])
        if ranks.writes and (last or saving or stopped):
            measures.save(state)
            saved = time.monotonic()
        measures.advance()
        if stopped:
            stop.follow()
            return
        records.resume()
