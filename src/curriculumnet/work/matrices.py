"""Matrices of features as .npy files, opened without reading their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.errors import FeaturesError


def open_matrix(path: Path, rows: int, *, mend: str) -> NDArray[Any]:
    """Open a matrix of numbers that has a row for each image.

    Parameters
    ----------
    path : Path
        The .npy file.
    rows : int
        How many rows it must have.
    mend : str
        What to do where it cannot be used, as the end of a sentence.

    Returns
    -------
    ndarray, shape (rows, d)
        Memory-mapped; whole numbers or floats, d ≥ 1.

    Raises
    ------
    FeaturesError
        It is missing, no matrix of numbers, or of another length.
    """
    try:
        # In its own right: an archive of arrays (.npz) would otherwise be taken for one.
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
        matrix: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FeaturesError(f"{path} is not there: {mend}.") from None
    except (ValueError, EOFError, OSError) as error:
        raise FeaturesError(f"{path} cannot be read as a .npy matrix ({error}): {mend}.") from error
    if matrix.ndim != 2 or matrix.shape[1] == 0 or matrix.dtype.kind not in "fiu":
        raise FeaturesError(
            f"{path} holds {matrix.dtype} of the shape {matrix.shape}, but features are a matrix of numbers with a "
            f"row per image: {mend}."
        )
    if len(matrix) != rows:
        raise FeaturesError(
            f"{path} has {len(matrix):,} rows, but there are {rows:,} images: row i must be the image with image_id i, "
            f"whatever its state; rows of images that are not used may be NaN: {mend}."
        )
    return matrix
