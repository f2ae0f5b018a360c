"""Chance that follows from a seed and a name alone, whatever the order and the number of the others."""

from __future__ import annotations

import hashlib


def digest(seed: int, *what: str) -> bytes:
    """Return eight bytes that follow from a seed and words.

    >>> digest(0, "order", "a.png").hex()
    'febbf09590750780'
    """
    return hashlib.blake2b("\0".join([str(seed), *what]).encode("utf-8"), digest_size=8).digest()
