"""Batches of views, decoded in worker processes and handed over as uint8.

What a batch holds is asked of its owner by number, in the worker, so that nothing per image is kept or sent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from curriculumnet.errors import SourceError, UsageError
from curriculumnet.images.archives import Ranges, open_bytes
from curriculumnet.images.decode import Unreadable
from curriculumnet.images.duplicates import byte_digest
from curriculumnet.images.stored import NOWHERE, Bytes
from curriculumnet.images.views import View

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


_LARGE = 2**16
"""Bytes of an array from which handing over shared memory is quicker than copying."""

_AT_ONCE = 65_536
"""Digests that are Python's before they are put away."""

_DIGEST = 16
"""Bytes of a digest."""


class Batches(Protocol):
    """Batches of image ids by number; picklable."""

    def __len__(self) -> int:
        """Return how many batches there are."""
        ...

    def __getitem__(self, number: int) -> np.ndarray:
        """Return the image ids of a batch, int64."""
        ...


V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Viewed(Protocol[V_contra]):
    """Pictures by their ids, of which a kind of views can be made; picklable."""

    def view(self, image_id: int, view: V_contra, seed: int) -> np.ndarray:
        """Return the views of one picture; raises `errors.SourceError`."""
        ...


class Items(Protocol):
    """Things by number; picklable."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, number: int) -> Any:
        """Make one."""
        ...


@dataclass(frozen=True)
class EvenBatches:
    """The given ids in their order, `size` at a time; the last batch may be smaller."""

    ids: np.ndarray
    size: int

    def __len__(self) -> int:
        """Return how many batches there are."""
        return -(-len(self.ids) // self.size)

    def __getitem__(self, number: int) -> np.ndarray:
        """Return the ids of a batch."""
        return self.ids[number * self.size : (number + 1) * self.size]


def even_batches(ids: np.ndarray, size: int) -> EvenBatches:
    """Return batches of `size` over image ids in the given order."""
    return EvenBatches(np.array(ids, dtype=np.int64), size)


def worker_count(workers: int | None) -> int:
    """Return how many worker processes to use: as asked, else as many as cores, at most 8.

    Raises
    ------
    UsageError
        A number below 0 was asked for.
    """
    if workers is not None and workers < 0:
        raise UsageError(f"--workers is {workers}: it must be at least 0; 0 works in this process.")
    return min(8, core_count()) if workers is None else workers


def core_count() -> int:
    """Return how many cores this process may use, which in a container are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pictures:
    """The files behind image ids.

    Parameters
    ----------
    images : pyarrow.Table
        The table of images. Its columns `source` and `file_name` are kept, as Arrow; of `offset`, `bytes` and `digest`,
        where it has them, the first two say where in an archive a file lies, the last what its bytes must be.
    roots : dict of str to str
        Where each source's files lie: a folder, ``x.tar`` or ``x.tar#inner``.
    """

    def __init__(self, images: pa.Table, roots: dict[str, str]) -> None:
        self._files = images.select(["source", "file_name"]).combine_chunks()
        self._offsets = _numbers(images, "offset")
        self._sizes = None if self._offsets is None else _numbers(images, "bytes")
        self._digests = _digests(images)
        self._roots = roots
        self._open: dict[str, Bytes] = {}

    def __getstate__(self) -> dict[str, object]:
        # Open files stay in the process that opened them.
        return self.__dict__ | {"_open": {}}

    def name(self, image_id: int) -> tuple[str, str]:
        """Return an image's source and file name."""
        return self._files["source"][image_id].as_py(), self._files["file_name"][image_id].as_py()

    def read(self, image_id: int) -> bytes:
        """Return a file's bytes.

        Raises
        ------
        SourceError
            The file is gone, or its bytes are not those that were ingested.
        """
        source, name = self.name(image_id)
        try:
            data = self._bytes(source, name, image_id)
        except (OSError, KeyError) as error:
            raise SourceError(
                f"{name} in {self._roots[source]} can no longer be read ({getattr(error, 'strerror', None) or error}): "
                "run `curriculumnet ingest` again, with the same source and work folder."
            ) from error
        if self._digests is not None and self._digests[image_id].any():
            expected = self._digests[image_id].tobytes().hex()
            if byte_digest(data) != expected:
                raise SourceError(
                    f"{name} in {self._roots[source]} has changed since it was ingested (its bytes have the digest "
                    f"{byte_digest(data)}, not {expected}): run `curriculumnet ingest` again, with the same source and "
                    "work folder, and with --reread if the file is as old and as large as it was; or restore it."
                )
        return data

    def _bytes(self, source: str, name: str, image_id: int) -> bytes:
        """Return what lies where the file lay: in an archive by its place, whose headers need not be read for that."""
        root = self._roots[source]
        if self._offsets is not None and self._sizes is not None and self._offsets[image_id] != NOWHERE:
            return Ranges(root).read(name, int(self._offsets[image_id]), int(self._sizes[image_id]))
        if source not in self._open:
            self._open[source] = open_bytes(root)
        return self._open[source].read(name)

    def view(self, image_id: int, view: View, seed: int) -> np.ndarray:
        """Return the views of one picture.

        Raises
        ------
        SourceError
            The file is gone, or is no longer the picture that was ingested.
        """
        return self.decoded(image_id, lambda data: view(data, seed))

    def decoded(self, image_id: int, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
        """Return what `decode` makes of a file's bytes.

        Raises
        ------
        SourceError
            The file is gone, or is no longer the picture that was ingested: `decode` raised `Unreadable`.
        """
        try:
            return decode(self.read(image_id))
        except Unreadable as error:
            source, name = self.name(image_id)
            raise SourceError(
                f"{name} in {self._roots[source]} has changed since it was ingested ({error}): "
                "run `curriculumnet ingest` again, with the same source and work folder."
            ) from error


def _numbers(images: pa.Table, name: str) -> np.ndarray | None:
    """Return a column of numbers, `NOWHERE` where it is empty; None where all of it is, or the table has it not."""
    if name not in images.column_names or images[name].null_count == len(images):
        return None
    return np.asarray(images[name].fill_null(NOWHERE).to_numpy())


def _digests(images: pa.Table) -> np.ndarray | None:
    """Return the digests as bytes, shape (n, 16), zeros where there is none: half of what their digits take."""
    if "digest" not in images.column_names:
        return None
    digests = np.empty((len(images), _DIGEST), dtype=np.uint8)
    for start in range(0, len(images), _AT_ONCE):
        digits = images["digest"][start : start + _AT_ONCE].fill_null("0" * 2 * _DIGEST).to_pylist()
        part = np.frombuffer(bytes.fromhex("".join(digits)), dtype=np.uint8)
        digests[start : start + _AT_ONCE] = part.reshape(-1, _DIGEST)
    return digests


def load(
    pictures: Viewed[V],
    batches: Batches,
    view: V,
    *,
    workers: int,
    seed: int = 0,
    first: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Generator[tuple[np.ndarray, torch.Tensor], None, None]:
    """Load batches in their order.

    Parameters
    ----------
    pictures : Pictures or images.cache.CachedPictures
        Where the pictures come from.
    batches : Batches
        What each batch holds.
    view : View
        What is shown of each picture.
    workers : int
        Worker processes; 0 decodes in this one. They are started by the platform's own way, spawned or forked.
    seed : int
        With the batch's number and the place in it, decides each picture's view.
    first : int
        The batch to begin with.
    share : tuple of int
        Which of how many shares of each batch: ``(1, 4)`` is every fourth image from the second on. The shares of all
        are the views of the whole batch.

    Yields
    ------
    ids : ndarray of int64, shape (b,)
    views : torch.Tensor of uint8, shape (b * views, 3, size, size)

    Raises
    ------
    SourceError
        A file is gone or has changed.
    """
    import torch

    for ids, views, failure in in_workers(_Loading(pictures, batches, view, seed, share), workers, first):
        if failure is not None:
            raise SourceError(failure)
        yield np.asarray(ids), torch.as_tensor(views)


def in_workers(items: Items, workers: int, first: int = 0) -> Iterator[Any]:
    """Make items by number, in their order, in worker processes.

    Parameters
    ----------
    items : Items
        What makes an item, a tuple; picklable.
    workers : int
        Worker processes; 0 makes the items in this one. They are started by the platform's own way, spawned or forked.
    first : int
        The item to begin with.

    Yields
    ------
    item
        As it was made; arrays may have become tensors.
    """
    import torch
    from torch.utils.data import DataLoader

    with without_interruption(), warnings.catch_warnings():
        # torch would tell whoever asks for more workers than there are cores not to.
        warnings.simplefilter("ignore")
        loader: DataLoader[Any] = DataLoader(
            items,  # type: ignore[arg-type]
            batch_size=None,
            sampler=range(first, len(items)),
            num_workers=min(workers, max(0, len(items) - first)),
            collate_fn=_handed_over,
            worker_init_fn=leave_interruption_to_parent,
            # One of its own: from torch's global one it would draw what a network that is trained draws from.
            generator=torch.Generator(),
        )
        made = iter(loader)
    yield from made


def _handed_over(item: Any) -> Any:
    """In a worker: put large arrays into shared memory.

    Where that is full, as the 64 MB that a container has unless told otherwise soon are, they go through the pipe.
    """
    from torch.utils.data import get_worker_info

    if get_worker_info() is None:
        return item
    return tuple(_shared(part) if isinstance(part, np.ndarray) and part.nbytes > _LARGE else part for part in item)


def _shared(array: np.ndarray) -> torch.Tensor | np.ndarray:
    import torch

    try:
        return torch.from_numpy(array).share_memory_()
    except RuntimeError:
        return array


@contextmanager
def without_interruption() -> Generator[None, None, None]:
    """Hold Ctrl-C back while workers are started: half-started ones could not be ended, nor say what they are."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if multiprocessing.get_start_method() != "fork":
        # Started amid the block, this helper of the other methods would lift it.
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_interruption_to_parent(worker: int = 0) -> None:
    """In a worker: ignore Ctrl-C, which reaches every process of a terminal; the one that started it ends it."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


class _Loading:
    """Batches by number, as torch's DataLoader wants them."""

    def __init__(self, pictures: Viewed[Any], batches: Batches, view: Any, seed: int, share: tuple[int, int]) -> None:
        self._pictures, self._batches, self._view, self._seed = pictures, batches, view, seed
        self._mine = slice(share[0], None, share[1])

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray | None, str | None]:
        ids = self._batches[number]
        seeds = np.random.SeedSequence((self._seed, number)).generate_state(len(ids), np.uint64)[self._mine]
        ids = ids[self._mine]
        try:
            shown = [
                self._pictures.view(int(image), self._view, int(seed)) for image, seed in zip(ids, seeds, strict=True)
            ]
        except SourceError as error:
            # A message crosses from the worker, not an exception: torch would wrap that in a traceback.
            return ids, None, str(error)
        return ids, np.concatenate(shown), None
