"""How good a picture is as a picture: scores in 0 … 1, lower is worse, from pixels that were decoded anyway.

What is measured follows CleanVision (Cleanlab, 2022): brightness percentiles, the variance of the Laplacian, entropy,
the aspect ratio, colour. A score judges nothing by itself: no picture is left out because of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCORES = ("dark", "bright", "blurry", "low_information", "odd_aspect_ratio", "greyscale")
"""What `quality` returns, in this order."""

_SIDE = 96
"""Pixels along the short side that are looked at: every k-th, so that large pictures cost no more than small ones."""

_SHARP = 0.02
"""The share of the greatest possible deviation of the Laplacian at which a picture scores 0.63 of the best."""

_COLOURFUL = 4
"""Difference of the channels, of 255, from which a pixel counts as coloured: compression tints grey ones a little."""


def quality(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a picture's scores.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        Red, green, blue; at least one pixel.

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
    step = max(1, min(height, width) // _SIDE)
    red, green, blue = (np.ascontiguousarray(pixels[::step, ::step, channel]) for channel in range(3))
    counts = np.bincount(_luminance(red, green, blue).ravel(), minlength=256)
    cumulated = np.cumsum(counts) / red.size
    shares = counts[counts > 0] / red.size
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return np.array(
        [
            np.searchsorted(cumulated, 0.99) / 255,
            1 - np.searchsorted(cumulated, 0.05) / 255,
            1 - np.exp(-_roughness(pixels) / _SHARP),
            -float(shares @ np.log2(shares)) / 8,
            min(height, width) / max(height, width),
            float((spread > _COLOURFUL).mean() >= 0.01),
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


def _luminance(red: NDArray[np.uint8], green: NDArray[np.uint8], blue: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return luminance 0 … 255 from weights of 77, 150 and 29 in 256 (ITU-R BT.601)."""
    return (np.uint16(77) * red + np.uint16(150) * green + np.uint16(29) * blue) >> np.uint16(8)


def _roughness(pixels: NDArray[np.uint8]) -> float:
    """Return the deviation of the Laplacian of green in the middle, as a share of the greatest possible; 0 if flat."""
    height, width = pixels.shape[:2]
    top, left = max(0, height - _SIDE) // 2, max(0, width - _SIDE) // 2
    middle = pixels[top : top + _SIDE, left : left + _SIDE, 1].astype(np.int16)
    if min(middle.shape) < 3:
        return 0.0
    laplacian = 4 * middle[1:-1, 1:-1] - middle[:-2, 1:-1] - middle[2:, 1:-1] - middle[1:-1, :-2] - middle[1:-1, 2:]
    return float(laplacian.std()) / 1020
