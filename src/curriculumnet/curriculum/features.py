"""What every method asks of a category's features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def checked(features: NDArray[Any]) -> NDArray[Any]:
    """Return features as float32 or float64, whichever holds them.

    Raises
    ------
    ValueError
        They are not a matrix of at least one row and column, or not finite.
    """
    rows = floats(np.asarray(features))
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"features must have at least one row and one column, not the shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("features must be finite, but some are NaN or infinite")
    return rows


def floats(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows of numbers of any type as float32 or float64, whichever holds them."""
    if rows.dtype in (np.float32, np.float64):
        return rows
    return rows.astype(np.float32 if rows.dtype == np.float16 else np.float64)
