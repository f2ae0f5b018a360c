"""Start the processes of a training on this machine, and wait for them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

from curriculumnet.errors import CurriculumNetError, InputError, MachineError, UsageError
from curriculumnet.flags import words
from curriculumnet.training.interruption import Stop
from curriculumnet.training.ranks import STARTED_BY

_STOPPED = {130: signal.SIGINT, 143: signal.SIGTERM}
"""Exit codes of processes that were told to stop, and how."""

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
"""How long processes may take to write down where they are when they are to stop."""


def start_processes(train: Callable[..., Any], given: Mapping[str, Any], count: int) -> None:
    """Train in several processes, which share each batch.

    Parameters
    ----------
    train : callable
        The command's function.
    given : mapping
        Its arguments.
    count : int
        How many processes, each with a GPU of its own or all on the CPU.

    Raises
    ------
    UsageError, InputError, MachineError
        One of them did not end well; it has said why.
    """
    # Only here: help is to need no numpy.
    from curriculumnet.images.loader import core_count

    cores = core_count()
    shared = os.environ | {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        STARTED_BY: str(os.getpid()),
    }
    if "OMP_NUM_THREADS" not in os.environ:
        shared["OMP_NUM_THREADS"] = str(max(1, cores // count))
    _check_machine(given["device"], count, cores)
    command = [sys.executable, "-m", "curriculumnet", *words(train, given)]
    with Stop() as stop, ExitStack() as files:
        # What goes wrong in all of them is said once.
        said = [None, *(files.enter_context(tempfile.TemporaryFile()) for _ in range(1, count))]
        started = [
            subprocess.Popen(
                command,
                env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
            for rank, file in enumerate(said)
        ]
        try:
            code = _wait(started, stop)
            if code and started[0].poll() in (None, 0):
                sys.stderr.write(_last_words(started, said))
        finally:
            for process in started:
                process.kill()
            for process in started:
                process.wait()
        if stop.asked:
            stop.heed()
    if code in _STOPPED:
        signal.raise_signal(_STOPPED[code])
    if code < 0:
        raise MachineError(
            f"One of the {count} processes of the training was killed by signal {-code}, most likely because the "
            "memory is full: take fewer --devices, fewer workers, or smaller batches."
        )
    if code:
        kind = {1: CurriculumNetError, 2: UsageError, 3: InputError}.get(code, MachineError)
        raise kind(f"One of the {count} processes of the training has ended with exit code {code}; it says above why.")


def _check_machine(device: str, count: int, cores: int) -> None:
    """Refuse more processes than there are GPUs or cores.

    Raises
    ------
    UsageError, MachineError
    """
    import torch

    from curriculumnet.networks.device import resolve_device

    if device.startswith("cuda:"):
        raise UsageError(f"--device is {device}, one GPU, but --devices is {count}: take --device cuda.")
    on_gpus = resolve_device(device).type == "cuda"
    most, what = (torch.cuda.device_count(), "GPU") if on_gpus else (cores, "core")
    if count > most:
        raise MachineError(
            f"--devices is {count}, but this machine has {most} {what}{'s' * (most != 1)}: take at most as many."
        )


def _wait(started: list[subprocess.Popen[bytes]], stop: Stop) -> int:
    """Wait for processes; return the exit code of the first that did not end well, or 0."""
    told = 0.0
    while True:
        codes = [process.poll() for process in started]
        failed = [code for code in codes if code]
        if all(code == 0 for code in codes):
            return 0
        if stop.asked and not told:
            told = time.monotonic()
            for process in started:
                process.send_signal(signal.SIGTERM)
        if stop.asked and (None not in codes or time.monotonic() - told > _PATIENCE_SECONDS):
            return 0
        if failed and not stop.asked:
            return failed[0]
        time.sleep(_LOOK_SECONDS)


def _last_words(started: list[subprocess.Popen[bytes]], said: Sequence[IO[bytes] | None]) -> str:
    """Return what the first process that did not end well has said, of those whose words were kept."""
    for process, file in zip(started, said, strict=True):
        if process.poll() and file is not None:
            file.seek(0)
            return file.read().decode(errors="replace")
    return ""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
