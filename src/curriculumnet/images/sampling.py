"""A picture at 96 x 96 places: what its hashes and its scores are made from, so that a scan looks at it once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAMPLES = 96
"""A picture is sampled at 96 x 96 places, whatever its size. Of 400 photographs scaled to a third, 94 % are found by
their hashes within 4 bits; with 64 x 64 it was 84 %, and 20 microseconds less."""


def sampled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a picture's colours at 96 x 96 places, which squeezes it to a square.

    The places lie in the mirror image where they lie in the picture, and the sample of the one is exactly the mirror
    image of the other's. Takes 25 microseconds, whatever the picture's size.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        At least one pixel.

    Returns
    -------
    ndarray of float32, shape (3, columns, rows)
        Whole numbers 0 … 255; the colours first and the columns before the rows, as they come out fastest.
    """
    height, width = pixels.shape[:2]
    rows = pixels.take(_places(height), axis=0).reshape(SAMPLES, -1)
    # Indexing and not `take`, which takes half as long again. The transposed result is what lies in order in memory.
    return rows[:, _colours(width)].T.astype(np.float32, order="C").reshape(3, SAMPLES, SAMPLES)


@lru_cache(maxsize=4096)
def _places(length: int) -> NDArray[np.intp]:
    """Return the places at which a side is sampled; in the mirror they are the same."""
    half = ((np.arange(SAMPLES // 2) + 0.5) * length / SAMPLES).astype(np.intp)
    return np.concatenate([half, (length - 1 - half)[::-1]])


@lru_cache(maxsize=4096)
def _colours(width: int) -> NDArray[np.intp]:
    """Return where the samples of a row lie among its bytes: those of red, then of green, then of blue."""
    return (3 * _places(width) + np.arange(3)[:, None]).ravel()
