"""Training pictures decoded once: their pixels in one memory-mapped file, from which views are cut without decoding.

The file is a safetensors file, so that other programs read it too:

========== ====== ============== =====================================================================================
tensor     dtype  shape
========== ====== ============== =====================================================================================
`offsets`  int64  (n + 1,)       where in `pixels` each image of the table of images begins; n is their number
`sizes`    int32  (n, 4)         height and width as kept, height and width of the whole picture; 0 for what is not kept
`pixels`   uint8  (offsets[n],)  each picture as (height, width, 3), one after another
========== ====== ============== =====================================================================================
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.errors import SourceError
from curriculumnet.images.decode import Broken, decode, probe
from curriculumnet.images.loader import Pictures, even_batches, in_workers
from curriculumnet.images.views import TrainingView, resize

VERSION = "1"
"""Another one when the same pictures would be kept otherwise."""

_BLOCK, _BLOCK_BYTES = 16, 1 << 24
"""Pictures that a worker decodes at a time, and the bytes that they may take: at 224 px 16 take about 9 MB."""

_LENGTH = struct.Struct("<Q")


def kept_side(image_size: int, least_area: float) -> int:
    """Return the short side to which larger pictures are reduced, in pixels.

    It is the one at which the smallest crop of a square picture still has the height and width of the input, so that
    no crop is enlarged that would not be enlarged from the file.

    Parameters
    ----------
    image_size : int
        Height and width of the input in pixels.
    least_area : float
        The least share of a picture's area that a crop takes.
    """
    return math.ceil(image_size / math.sqrt(least_area))


@dataclass(frozen=True)
class Layout:
    """Where each picture lies in a cache: known before one is decoded.

    Attributes
    ----------
    offsets : ndarray of int64, shape (n + 1,)
        Where each picture's pixels begin, in bytes.
    sizes : ndarray of int32, shape (n, 4)
        Height and width as kept, height and width of the whole picture; 0 for images that are not kept.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]

    @classmethod
    def plan(cls, widths: np.ndarray, heights: np.ndarray, side: int) -> Layout:
        """Lay out pictures whose short side is reduced to `side` where it is longer.

        Parameters
        ----------
        widths, heights : ndarray of int, shape (n,)
            Of the whole pictures, in pixels; 0 for images that are not to be kept.
        side : int
            In pixels.
        """
        whole = np.stack([heights, widths], axis=1).astype(np.int64)
        short = whole.min(axis=1, keepdims=True)
        # Rounded to the nearest, in whole numbers: what is planned is what is made, on every machine.
        reduced = (2 * whole * side + short) // np.maximum(1, 2 * short)
        kept = np.where(short > side, reduced, whole)
        offsets = np.zeros(len(whole) + 1, np.int64)
        np.cumsum(3 * kept[:, 0] * kept[:, 1], out=offsets[1:])
        return cls(offsets, np.concatenate([kept, whole], axis=1).astype(np.int32))

    @property
    def ids(self) -> NDArray[np.int64]:
        """The images that are kept, rising."""
        return np.flatnonzero(self.sizes[:, 0])

    @property
    def bytes(self) -> int:
        """What the cache takes on the disk, but for a header of some hundred bytes."""
        return int(self.offsets[-1]) + self.offsets.nbytes + self.sizes.nbytes


def decoded(pictures: Pictures, layout: Layout, workers: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decode the pictures of a cache, in its order.

    Parameters
    ----------
    pictures : Pictures
        Where the files lie.
    layout : Layout
        Which of them are kept, and at which size.
    workers : int
        Worker processes; 0 decodes in this one.

    Yields
    ------
    count : int
        How many pictures these are.
    pixels : ndarray of uint8, shape (bytes,)
        Their pixels, one picture after another.

    Raises
    ------
    SourceError
        A file is gone or has changed.
    """
    for count, pixels, failure in in_workers(_Decoding(pictures, layout), workers):
        if failure is not None:
            raise SourceError(failure)
        yield count, np.asarray(pixels)


def write(file: IO[bytes], layout: Layout, key: Mapping[str, str], pixels: Iterator[NDArray[np.uint8]]) -> None:
    """Write a cache, from its beginning to its end.

    Not through a memory map: on a full disk that would end the process, while this is an error.

    Parameters
    ----------
    file : binary file
        Where it goes.
    layout : Layout
        What is where.
    key : mapping of str to str
        What the pixels were made from; see `key_of`.
    pixels : iterator of ndarray of uint8
        All pixels in the layout's order, in pieces of any length.
    """
    first = layout.offsets.nbytes
    second, last = first + layout.sizes.nbytes, layout.bytes
    tensors = {
        "offsets": {"dtype": "I64", "shape": layout.offsets.shape, "data_offsets": (0, first)},
        "sizes": {"dtype": "I32", "shape": layout.sizes.shape, "data_offsets": (first, second)},
        "pixels": {"dtype": "U8", "shape": (last - second,), "data_offsets": (second, last)},
    }
    text = json.dumps({"__metadata__": dict(key)} | tensors).encode()
    text += b" " * (-len(text) % 8)
    file.write(_LENGTH.pack(len(text)) + text)
    file.write(layout.offsets.astype("<i8").tobytes())
    file.write(layout.sizes.astype("<i4").tobytes())
    for piece in pixels:
        file.write(np.ascontiguousarray(piece).data)


def key_of(path: Path) -> dict[str, str] | None:
    """Return the key with which a cache was written; None where there is no whole cache."""
    try:
        with path.open("rb") as file:
            header, begin = _header(file)
        whole = path.stat().st_size == begin + header["pixels"]["data_offsets"][1]
        return dict(header["__metadata__"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError, struct.error):
        return None


class CachedPictures:
    """The pictures of a cache; picklable, and mapped into memory by each process for itself.

    Parameters
    ----------
    path : Path
        The cache.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_mapped": None}

    def view(self, image_id: int, view: TrainingView, seed: int) -> np.ndarray:
        """Return the view of one picture, with the same crop as from its file.

        If the picture was not reduced, it is the same to the bit unless the file would be decoded at a part of its
        size. If it was, the crop's edges lie up to a kept pixel away, and its pixels have been resized twice.
        """
        if self._mapped is None:
            self._mapped = _mapped(self._path)
        offsets, sizes, pixels = self._mapped
        height, width, whole_height, whole_width = sizes[image_id].tolist()
        picture = pixels[offsets[image_id] : offsets[image_id + 1]].reshape(height, width, 3)
        return view.of(whole_width, whole_height, lambda _: picture, seed)


class _Decoding:
    """Blocks of decoded pictures by number, for `in_workers`."""

    def __init__(self, pictures: Pictures, layout: Layout) -> None:
        self._pictures, self._sizes = pictures, layout.sizes
        largest = int(np.diff(layout.offsets).max(initial=1))
        self._batches = even_batches(layout.ids, max(1, min(_BLOCK, _BLOCK_BYTES // largest)))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> tuple[int, np.ndarray | None, str | None]:
        ids = self._batches[number]
        try:
            found = [
                self._pictures.decoded(image, partial(_reduced, sizes=self._sizes[image].tolist()))
                for image in ids.tolist()
            ]
        except SourceError as error:
            # A message crosses from the worker, not an exception: torch would wrap that in a traceback.
            return 0, None, str(error)
        return len(ids), np.concatenate([pixels.ravel() for pixels in found]), None


def _reduced(data: bytes, sizes: list[int]) -> NDArray[np.uint8]:
    """Decode a picture at the size at which it is kept: uint8 (height, width, 3)."""
    height, width, whole_height, whole_width = sizes
    whole = probe(data)
    if (whole.height, whole.width) != (whole_height, whole_width):
        raise Broken(f"it has {whole.width} x {whole.height} pixels, not {whole_width} x {whole_height}")
    pixels = decode(data, reduction=min(whole_height / height, whole_width / width))
    if pixels.shape[:2] == (height, width):
        return pixels
    return resize(pixels, (height, width), "bilinear").transpose(1, 2, 0)


def _header(file: IO[bytes]) -> tuple[dict[str, dict[str, Any]], int]:
    """Return what a safetensors file says of its tensors, and where the first of them begins."""
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    return json.loads(file.read(length)), _LENGTH.size + length


def _mapped(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Map offsets, sizes and pixels into memory, read-only."""
    with path.open("rb") as file:
        header, begin = _header(file)
        # Private pages that may be written would count as memory in use: larger files than the memory were refused.
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def tensor(name: str, dtype: str) -> np.ndarray:
        first, last = header[name]["data_offsets"]
        kind = np.dtype(dtype)
        return np.frombuffer(memory, kind, (last - first) // kind.itemsize, begin + first)

    return tensor("offsets", "<i8"), tensor("sizes", "<i4").reshape(-1, 4), tensor("pixels", "<u1")
