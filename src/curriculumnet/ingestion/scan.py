"""Scan: every file read, decoded to its end and given its digests, in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from curriculumnet.images.decode import TooLarge, Unreadable, decode, needs_extra, probe
from curriculumnet.images.duplicates import byte_digest, perceptual_hashes, pixel_digest
from curriculumnet.images.loader import worker_count
from curriculumnet.images.quality import quality
from curriculumnet.images.sampling import sampled
from curriculumnet.images.stored import Bytes
from curriculumnet.ingestion.pool import LIMITS, OUT_OF_MEMORY, Fallen, Limits, in_processes

MAX_BYTES = 2**31
"""The largest file that is read, in bytes: more than the largest picture that is decoded takes at 16 bits a colour."""

EXAMINED = 3
"""Another number when something else would be found in the same file: what was found before is then not kept."""

_WORTH_WORKERS = 256
"""Files from which starting more than one worker pays, unless a number was asked for."""


class Found(NamedTuple):
    """What was found in one file; the scores in the order of `images.quality.SCORES`."""

    state: str
    reason: str
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    digest: str | None = None
    pixel_digest: str | None = None
    phash: int | None = None
    phash_centre: int | None = None
    dark: float | None = None
    bright: float | None = None
    blurry: float | None = None
    low_information: float | None = None
    odd_aspect_ratio: float | None = None
    greyscale: float | None = None


def examine(data: bytes, min_side: int) -> Found:
    """Look into one file.

    Parameters
    ----------
    data : bytes
        The file.
    min_side : int
        The least length of the short side, in pixels.

    Returns
    -------
    Found
        In state ``used``, ``broken`` or ``refused``.
    """
    digest, size = byte_digest(data), len(data)
    try:
        header = probe(data)
    except TooLarge as error:
        return Found("refused", f"too large: {error}", bytes=size, digest=digest)
    except Unreadable as error:
        return Found("broken", str(error), bytes=size, digest=digest)
    known = header.width, header.height, header.format, size, digest
    try:
        image = decode(data)
    except Unreadable as error:
        return Found("broken", str(error), *known)
    state, reason = "used", ""
    if min(image.shape[:2]) < min_side:
        state, reason = "refused", f"too small: short side under {min_side} px"
    sample = sampled(image)
    hashes, scores = perceptual_hashes(image, sample).tolist(), quality(image, sample).tolist()
    return Found(state, reason, *known, pixel_digest(image), *hashes, *scores)


def examine_file(files: Bytes, name: str, min_side: int) -> Found:
    """Look into one file by its name; one that is gone is ``missing``, one that may not be read ``broken``."""
    try:
        size = files.size(name)
        if size > MAX_BYTES:
            return Found("refused", f"too large: {size:,} bytes, more than {MAX_BYTES:,}", bytes=size)
        data = files.read(name)
    except FileNotFoundError:
        return Found("missing", "not there")
    except OSError as error:
        return Found("broken", f"cannot be read: {(error.strerror or str(error)).lower()}")
    return examine(data, min_side)


def may_be_readable(reason: str) -> bool:
    """Say whether a file that was broken may not be now, though it has not changed: its reason lay outside of it."""
    extra = needs_extra(reason)
    if extra is not None:
        return find_spec(extra) is not None
    return reason.startswith(("cannot be read", OUT_OF_MEMORY))


class Look(Protocol):
    """Looks into one file by its name; picklable."""

    def __call__(self, files: Bytes, name: str, *, min_side: int) -> Found:
        """Return what was found."""
        ...


def scan(
    files: Bytes,
    names: Sequence[str],
    *,
    min_side: int,
    workers: int | None,
    look: Look = examine_file,
    limits: Limits = LIMITS,
) -> Generator[tuple[int, list[Found]], None, None]:
    """Look into many files.

    The work is done in worker processes, and be there a single file: one on which a decoder crashes, hangs or takes
    too much memory is then ``broken`` and the scan goes on, where it would take this process with it.

    Parameters
    ----------
    files : Bytes
        Where they lie.
    names : sequence of str
        Which.
    min_side : int
        The least length of the short side, in pixels.
    workers : int, optional
        Worker processes, started by the platform's own way. 0 scans in this process, which no limit protects. If None,
        as many as there are cores, of fewer than 256 files one.
    look : callable
        What looks into a file.
    limits : Limits
        What a file may take.

    Yields
    ------
    place : int
        Of the first of some names that lie beside each other; each place is given once, in no order.
    found : list of Found
        What was found in them.
    """
    if workers is None:
        workers = worker_count(None) if len(names) >= _WORTH_WORKERS else 1
    one = partial(look, files, min_side=min_side)
    done = in_processes(one, names, processes=workers, limits=limits) if workers else _here(one, names)
    with closing(done):
        for start, part in done:
            yield start, [Found("broken", each.reason) if isinstance(each, Fallen) else each for each in part]


def _here(one: Callable[[str], Found], names: Sequence[str]) -> Generator[tuple[int, list[Found | Fallen]], None, None]:
    for place, name in enumerate(names):
        try:
            yield place, [one(name)]
        except MemoryError:
            yield place, [Fallen(OUT_OF_MEMORY)]
