"""What formats of an export can be told; every one takes all and uses those that concern it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Settings of an export.

    Attributes
    ----------
    shard_size : int
        Pictures of a tar at most.
    copy : bool
        Whether pictures are copied where a link would do.
    """

    shard_size: int = 10_000
    copy: bool = False
