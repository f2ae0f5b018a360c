"""A random order: the control that a design must beat."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.features import checked


def random_order(features: NDArray[Any], seed: int = 0) -> NDArray[np.float64]:
    """Draw a number for each row that depends on the row's content and the seed alone.

    So identical rows get the same number, and the order of the rows changes nothing.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        One finite row per image; n and d at least 1.
    seed : int
        Another seed, another order.

    Returns
    -------
    ndarray of float64, shape (n,)
        Uniform in [0, 1), in steps of 2⁻⁵³.

    Raises
    ------
    ValueError
        Features are not a matrix of at least one row and column, or not finite.
    """
    rows = checked(features).astype(np.float64)
    rows = np.ascontiguousarray(rows) + 0.0
    key = hashlib.blake2b(str(seed).encode("ascii"), digest_size=32).digest()
    draws = [hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in rows]
    whole = np.frombuffer(b"".join(draws), dtype="<u8")
    return np.asarray((whole >> np.uint64(11)) * 2.0**-53)
