"""The same picture twice: digests of bytes and pixels, and who is a copy of whom, on arrays."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_DIGEST_BYTES = 16


def byte_digest(data: bytes) -> str:
    """Return the BLAKE2b-128 digest of a file's bytes as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def pixel_digest(image: Image) -> str:
    """Return the BLAKE2b-128 digest of a decoded RGB picture's size and pixels as 32 hex digits.

    Files of different bytes have the same one when they show exactly the same picture.
    """
    digest = hashlib.blake2b(f"{image.width} {image.height}\n".encode(), digest_size=_DIGEST_BYTES)
    digest.update(image.tobytes())
    return digest.hexdigest()


def first_of_each(*keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first row that is equal to it in every key.

    Parameters
    ----------
    *keys : ndarray of int64, shape (n,)
        What must be equal: picture, category, …

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers; a row's own number where it is the first of its kind.

    Examples
    --------
    >>> first_of_each(np.array([7, 8, 7, 7]), np.array([0, 0, 0, 1])).tolist()
    [0, 1, 0, 3]
    """
    return _firsts(_joined(keys))


def first_match(picture: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each picture the place of the first equal one in `among`, and -1 where there is none.

    Parameters
    ----------
    picture : ndarray of int64, shape (n,)
    among : ndarray of int64, shape (m,)

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    if not len(among):
        return np.full(len(picture), -1, dtype=np.int64)
    kinds, first = np.unique(among, return_index=True)
    place = np.searchsorted(kinds, picture).clip(max=len(kinds) - 1)
    return np.where(kinds[place] == picture, first[place], -1).astype(np.int64)


def in_several_categories(picture: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each row whether its picture lies in another category too.

    Parameters
    ----------
    picture, category : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not len(picture):
        return np.zeros(0, dtype=np.bool_)
    code = np.unique(picture, return_inverse=True)[1]
    lowest = np.full(code.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(code.max() + 1, np.iinfo(np.int64).min)
    np.minimum.at(lowest, code, category)
    np.maximum.at(highest, code, category)
    return np.asarray(lowest[code] != highest[code])


def _joined(keys: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return one key that is equal where all keys are."""
    joined = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        kinds, code = np.unique(key, return_inverse=True)
        joined = np.unique(joined * len(kinds) + code, return_inverse=True)[1].astype(np.int64)
    return joined


def _firsts(key: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, code = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[code], dtype=np.int64)
