"""Checkpoints: everything that a training needs to go on, in one file that appears whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any
from zipfile import BadZipFile, ZipFile

from curriculumnet.work.folder import WorkFolder

FORMAT = 2
"""What a checkpoint holds; those of another format cannot be gone on with."""

_KEEP = 2
"""So many are kept: the newest may turn out to be damaged."""


def save(folder: WorkFolder, run: str, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint and delete the older ones.

    Parameters
    ----------
    folder : WorkFolder
    run : str
        The run's name.
    step : int
        How many steps have been taken.
    state : dict
        What must survive a restart; tensors and plain values.

    Raises
    ------
    MachineError
        The disk is full.
    """
    import torch

    # Serialised in memory first: torch turns a full disk into an error that no longer says so.
    buffer = io.BytesIO()
    torch.save(state | {"format": FORMAT}, buffer)
    folder.write_with(_name(run, step), lambda file: _copy(buffer, file))
    for _, old in _found(folder, run)[:-_KEEP]:
        folder.file(old).unlink(missing_ok=True)


def load(folder: WorkFolder, run: str, key: dict[str, Any], told: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest checkpoint of a run that is whole and was written with the same `key`, else None.

    Parameters
    ----------
    folder : WorkFolder
    run : str
        The run's name.
    key : dict
        Inputs and settings of the training.
    told : callable
        Gets a sentence for each checkpoint that is damaged, or of another version.
    """
    import torch

    for step, name in reversed(_found(folder, run)):
        try:
            _check_sums(folder.file(name))
            state: dict[str, Any] = torch.load(folder.file(name), map_location="cpu", weights_only=True)
            same, known = state["key"] == key, state.get("format") == FORMAT
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, UnpicklingError, BadZipFile) as error:
            reason = shorten(str(error).splitlines()[0], 80) if str(error) else type(error).__name__
            told(f"The checkpoint of step {step:,} is damaged ({reason}) and is passed over.")
            continue
        if same and known:
            return state
        if same:
            told(f"The checkpoint of step {step:,} is of another version of curriculumnet and is passed over.")
    return None


def _check_sums(path: Path) -> None:
    """Compare the parts of a checkpoint, which is a zip, with their checksums: torch does not.

    Raises
    ------
    OSError, BadZipFile
    """
    with ZipFile(path) as parts:
        damaged = parts.testzip()
    if damaged is not None:
        raise BadZipFile("its bytes are not those that were written")


def delete(folder: WorkFolder, run: str) -> None:
    """Delete a run's checkpoints."""
    for _, name in _found(folder, run):
        folder.file(name).unlink(missing_ok=True)


def _name(run: str, step: int) -> str:
    return f"runs/{run}/checkpoints/step-{step:08d}.pt"


def _found(folder: WorkFolder, run: str) -> list[tuple[int, str]]:
    paths = sorted(folder.file(f"runs/{run}/checkpoints").glob("step-*.pt"))
    steps = [int(path.stem.removeprefix("step-")) for path in paths]
    return [(step, _name(run, step)) for step in steps]


def _copy(buffer: io.BytesIO, file: Any) -> None:
    file.write(buffer.getbuffer())
