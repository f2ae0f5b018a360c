"""What a server says in `X-Robots-Tag` against the use of its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable

DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
"""What is heeded: the four that img2dataset heeds unless told otherwise, and `none`, which means noindex, nofollow."""

_WITH_VALUES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives that have a colon themselves; before any other colon stands whom the rest is meant for."""

_CRAWLER = re.compile(r"\*|[a-z][a-z0-9_.-]*")
"""How crawlers are called; what stands before the colons of a date is none."""


def opted_out(values: Iterable[str], agent: str) -> bool:
    """Say whether headers `X-Robots-Tag` forbid the use of what came with them.

    Parameters
    ----------
    values : iterable of str
        The headers' values: ``noai, nofollow``, or ``somebot: noindex`` for one crawler only.
    agent : str
        This crawler's name. What is meant for another one does not count.

    >>> opted_out(["nofollow", "NoAI"], "curriculumnet"), opted_out(["otherbot: noai"], "curriculumnet")
    (True, False)
    """
    return any(_forbids(value.lower(), agent.lower()) for value in values)


def _forbids(value: str, agent: str) -> bool:
    meant = True
    for part in value.split(","):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        directive = name
        if colon and name not in _WITH_VALUES and _CRAWLER.fullmatch(name):
            meant, directive = name in ("*", agent), rest.partition(":")[0].strip()
        if meant and directive in DIRECTIVES:
            return True
    return False
