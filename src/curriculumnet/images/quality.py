"""How good a picture is as a picture: scores in 0 … 1, lower is worse, from pixels that were decoded anyway.

What is measured follows CleanVision (Cleanlab, 2022): brightness percentiles, the variance of the Laplacian, entropy,
the aspect ratio, colour. A score judges nothing by itself: no picture is left out because of one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from curriculumnet.images.sampling import SAMPLES, sampled

SCORES = ("dark", "bright", "blurry", "low_information", "odd_aspect_ratio", "greyscale")
"""What `quality` returns, in this order."""

_LUMINANCE = np.array([77, 150, 29], dtype=np.float32) / 256
"""Weights of red, green and blue (ITU-R BT.601), such that float32 holds the sums exactly."""

_COUNT = SAMPLES**2
_INFORMATION = np.arange(_COUNT + 1) * np.log2(np.maximum(1, np.arange(_COUNT + 1)))
"""n · log2(n)."""

_SIDE = 96
"""Pixels along a side of the middle, where sharpness is looked at."""

_SHARP = 0.02
"""The share of the greatest possible deviation of the Laplacian at which a picture scores 0.63 of the best."""

_COLOURFUL = 4
"""Difference of the channels, of 255, from which a pixel counts as coloured: compression tints grey ones a little."""


def quality(pixels: NDArray[np.uint8], sample: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return a picture's scores.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Red, green, blue; at least one pixel.
    sample : ndarray of float32, shape (3, 96, 96), optional
        What `sampled` returns for these pixels, where that is at hand.

    Returns
    -------
    ndarray of float32, shape (6,)
        In the order of `SCORES`, each in 0 … 1, lower is worse. `dark`: luminance that 1 % of the pixels exceed.
        `bright`: 1 minus the luminance that 5 % of the pixels stay below. `blurry`: grows with the deviation of the
        Laplacian in the middle of the picture, at its own resolution. `low_information`: entropy of the luminances, of
        8 bits. `odd_aspect_ratio`: short side by long side. `greyscale`: 0 where fewer than 1 % of the pixels have a
        colour, else 1.
    """
    height, width = pixels.shape[:2]
    colours = (sampled(pixels) if sample is None else sample).reshape(3, -1)
    counts = np.bincount((_LUMINANCE @ colours).astype(np.intp), minlength=256)
    bright, dark = counts.cumsum().searchsorted((0.05 * _COUNT, 0.99 * _COUNT))
    coloured = np.count_nonzero(colours.max(axis=0) - colours.min(axis=0) > _COLOURFUL)
    return np.array(
        [
            dark / 255,
            1 - bright / 255,
            1 - math.exp(-_roughness(pixels) / _SHARP),
            max(0.0, math.log2(_COUNT) - _INFORMATION.take(counts).sum() / _COUNT) / 8,
            min(height, width) / max(height, width),
            coloured >= 0.01 * _COUNT,
        ],
        dtype=np.float32,
    )


def odd_size(width: NDArray[np.int64], height: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how usual each picture's size is among the others, in 0 … 1, lower is odder.

    Parameters
    ----------
    width, height : ndarray of int64, shape (n,)
        In pixels.

    Returns
    -------
    ndarray of float32, shape (n,)
        1 within the middle half of all sizes (the root of width · height, on a logarithmic scale), then falling; 0.5
        where a size lies beyond the quartiles by as much as 1.5 interquartile ranges (Tukey's fences), at least by a
        factor of 2.
    """
    if not len(width):
        return np.zeros(0, np.float32)
    size = 0.5 * np.log2(width.astype(np.float64) * height)
    low, high = np.quantile(size, (0.25, 0.75))
    fence = max(1.0, 1.5 * (high - low))
    beyond = np.maximum(0, np.maximum(low - size, size - high)) / fence
    return np.asarray(0.5**beyond, dtype=np.float32)


def _roughness(pixels: NDArray[np.uint8]) -> float:
    """Return the deviation of the Laplacian of green in the middle, as a share of the greatest possible; 0 if flat."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - _SIDE) // 2, max(0, width - _SIDE) // 2
    middle = pixels[top : top + _SIDE, left : left + _SIDE, 1].astype(np.int16)
    rows, columns = middle.shape
    if min(rows, columns) < 3:
        return 0.0
    # As one line, in which the neighbours above and below are a row away: five times as fast as in two dimensions.
    line = middle.ravel()
    laplacian = 4 * line[columns:-columns]
    for neighbours in (line[: -2 * columns], line[2 * columns :], line[columns - 1 : -columns - 1]):
        laplacian -= neighbours
    laplacian -= line[columns + 1 : line.size - columns + 1]
    # At the sides, the neighbours in the line are none in the picture.
    inner = laplacian.reshape(rows - 2, columns)[:, 1:-1].astype(np.float64).ravel()
    variance = inner @ inner / inner.size - (inner.sum() / inner.size) ** 2
    return math.sqrt(max(0.0, variance)) / 1020
