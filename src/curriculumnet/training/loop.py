"""The training loop, in the order in which things happen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from curriculumnet.errors import UsageError
from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.losses import weighted_cross_entropy

if TYPE_CHECKING:
    import torch
    from timm.utils import ModelEmaV3

Row = tuple[int, int, str, float]
"""A row of the history: step, stage, metric, value."""


@dataclass
class State:
    """What must survive a restart.

    `average` is the exponential moving average of the weights, which is what is measured and kept, or None. `best` is
    the lowest validation error so far with the weights that reached it, if a choice is made at all.
    """

    network: torch.nn.Module
    average: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: list[Row] = field(default_factory=list)
    best: tuple[float, dict[str, torch.Tensor]] | None = None

    def dump(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        import torch

        device = next(self.network.parameters()).device
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
            "best": self.best,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take over a state that was dumped."""
        import torch

        self.network.load_state_dict(dumped["network"])
        if self.average:
            self.average.load_state_dict(dumped["average"])
        self.optimizer.load_state_dict(dumped["optimizer"])
        self.step, self.history, self.best = dumped["step"], [tuple(r) for r in dumped["history"]], dumped["best"]
        torch.set_rng_state(dumped["random"])
        device = next(self.network.parameters()).device
        if dumped["random_cuda"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(dumped["random_cuda"], device)

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
        Called after every step, with the rate measured so far in steps per second (None at first).
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
    batches: CurriculumBatches,
    loaded: Iterator[tuple[np.ndarray, torch.Tensor]],
    targets: np.ndarray,
    to_input: Callable[[torch.Tensor], torch.Tensor],
    rate: Callable[[int], float],
    measures: Measures,
    *,
    precision: torch.dtype,
    weight_norm: bool,
    label_smoothing: float,
    still: Sequence[torch.nn.Module] = (),
) -> None:
    """Train a network along its stages, from the state's step to the last batch.

    Parameters
    ----------
    state : State
        Changed in place.
    batches : CurriculumBatches
        The stages, their places and weights.
    loaded : iterator of (ids, views)
        The batches from the state's step on, decoded.
    targets : ndarray of int64, shape (n,)
        The category's index of each image id.
    to_input : callable
        uint8 views to normalised floats on the device.
    rate : callable
        Step to learning rate.
    measures : Measures
        What is recorded and when.
    precision : torch.dtype
        float32, or bfloat16 for the forward and backward passes.
    weight_norm, label_smoothing
        See `losses.weighted_cross_entropy`.
    still : sequence of torch.nn.Module
        Layers that behave as in evaluation.

    Raises
    ------
    UsageError
        The loss is no longer finite.
    """
    import torch

    total, saved, window = len(batches), time.monotonic(), _Window()
    for ids, views in loaded:
        window.waited()
        index, stage = batches.stage(state.step)
        inputs = to_input(views)
        wanted = torch.from_numpy(targets[ids]).to(inputs.device)
        weights = torch.from_numpy(stage.place_weights()).to(inputs.device)
        for group in state.optimizer.param_groups:
            group["lr"] = rate(state.step) * group.get("lr_scale", 1.0)

        state.network.train()
        for layer in still:
            layer.eval()
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = state.network(inputs)
        loss, losses = weighted_cross_entropy(
            logits, wanted, weights, weight_norm=weight_norm, label_smoothing=label_smoothing
        )
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average:
            state.average.update(state.network, step=state.step)
        state.step += 1
        window.add(float(loss.detach()), losses.float().cpu().numpy(), stage.place_subsets())
        if not math.isfinite(window.last):
            raise UsageError(
                f"The loss is no longer finite at step {state.step}: start again with a lower --learning-rate."
            )

        rows: dict[str, float] = {}
        last = state.step == total
        if state.step % measures.every == 0 or last:
            rows |= window.figures() | {"learning_rate": rate(state.step - 1)}
        if state.step % measures.curves_every == 0 or last:
            rows |= measures.curves(state.measured())
            if measures.choose_by and (state.best is None or rows[measures.choose_by] < state.best[0]):
                weights_now = {k: v.detach().clone() for k, v in state.measured().state_dict().items()}
                state.best = (rows[measures.choose_by], weights_now)
        for metric, value in rows.items():
            state.history.append((state.step, index + 1, metric, value))
            measures.told(state.history[-1])
        if last or time.monotonic() - saved > measures.save_seconds:
            measures.save(state)
            saved = time.monotonic()
        measures.advance()
        window.resume()


class _Window:
    """Figures over the steps since they were last read."""

    def __init__(self) -> None:
        self.last = 0.0
        self._clear()
        self.resume()

    def _clear(self) -> None:
        self._losses: list[float] = []
        self._by_subset: dict[int, list[float]] = {}
        self._images, self._wait, self._busy = 0, 0.0, 0.0

    def resume(self) -> None:
        """The loop begins to wait for a batch."""
        self._mark = time.perf_counter()

    def waited(self) -> None:
        """The batch is there."""
        now = time.perf_counter()
        self._wait += now - self._mark
        self._mark = now

    def add(self, loss: float, losses: np.ndarray, subsets: np.ndarray) -> None:
        """Add a step's loss, and each image's own with its subset."""
        self.last = loss
        self._losses.append(loss)
        for subset in np.unique(subsets):
            self._by_subset.setdefault(int(subset), []).append(float(losses[subsets == subset].mean()))
        self._images += len(losses)
        self._busy += time.perf_counter() - self._mark

    def figures(self) -> dict[str, float]:
        """Return the means since the last call."""
        seconds = self._wait + self._busy
        found = {
            "train_loss": float(np.mean(self._losses)),
            "images_per_second": self._images / seconds,
            "wait_share": self._wait / seconds,
        }
        if len(self._by_subset) > 1:
            found |= {f"train_loss_subset_{s}": float(np.mean(v)) for s, v in sorted(self._by_subset.items())}
        self._clear()
        return found
