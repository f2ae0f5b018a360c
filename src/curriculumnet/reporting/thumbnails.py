"""Small pictures inside the page.

Every thumbnail is encoded anew from its pixels alone, so nothing else of the file (where it was taken, by whom, with
what) reaches the page.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from curriculumnet.images.decode import decode, probe

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = (160, 128, 96, 64, 48)
"""Height and width in pixels; the page shows them at about half of that, so that they are sharp on fine screens."""

_QUALITIES = (75, 45, 15)
_TYPICAL = {160: 4900, 128: 3600, 96: 2400, 64: 1300, 48: 0}
"""Characters of a typical photograph's data URI at the best quality (measured on 150 pictures of a crawl)."""

_HEAD = "data:image/webp;base64,"


def side_for(limit: int) -> int:
    """Return the largest side at which a typical photograph stays within `limit` characters."""
    return next(side for side in SIDES if _TYPICAL[side] <= limit)


def thumbnail(data: bytes, side: int, limit: int) -> str:
    """Return a picture's centre square as a data URI.

    Parameters
    ----------
    data : bytes
        The file's bytes.
    side : int
        Height and width in pixels; fewer where that is needed to stay within the limit.
    limit : int
        The most characters. Some 1,500 are enough for any picture in its smallest form, which is returned in any case.

    Raises
    ------
    curriculumnet.images.decode.Unreadable
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    text = ""
    whole = probe(data)
    pixels = decode(data, reduction=min(whole.width, whole.height) / side)
    square = ImageOps.fit(Pillow.fromarray(pixels), (side, side), Pillow.Resampling.LANCZOS)
    for smaller in (found for found in SIDES if found <= side):
        small = square.resize((smaller, smaller), Pillow.Resampling.LANCZOS) if smaller < side else square
        for quality in _QUALITIES:
            text = _HEAD + base64.b64encode(_webp(small, quality)).decode("ascii")
            if len(text) <= limit:
                return text
    return text


def _webp(pixels: Image, quality: int) -> bytes:
    from PIL import Image as Pillow

    # A new image: older Pillows carry profiles over from the old one.
    bare = Pillow.frombytes("RGB", pixels.size, pixels.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()
