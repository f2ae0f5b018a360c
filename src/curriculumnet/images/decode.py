"""Bytes to pixels: one treatment for every picture, the same when training, evaluating and answering.

What is done, by what is found: EXIF rotation is applied; of an animation the first frame is taken; a palette is looked
up; CMYK and YCCK become RGB; grey becomes three equal channels; 16-bit values are scaled to 8 bits; transparent pixels
are laid over white.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970
"""The largest picture that is decoded, in pixels: Pillow's own limit against decompression bombs."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ROTATED = (5, 6, 7, 8)
"""The values of EXIF's Orientation tag under which width and height change places."""
_ORIENTATION = 0x0112


class Unreadable(Exception):  # noqa: N818
    """A picture that cannot be used; its text is the reason."""


class NotAnImage(Unreadable):
    """Bytes in which no image format is recognised."""


class Broken(Unreadable):
    """An image that cannot be decoded to its end."""


class TooLarge(Unreadable):
    """An image of more pixels than are decoded."""


@dataclass(frozen=True)
class Probe:
    """What an image's header tells: its format, and its size as shown (after EXIF rotation) in pixels."""

    format: str
    width: int
    height: int


def probe(data: bytes) -> Probe:
    """Read an image's header.

    Raises
    ------
    NotAnImage, Broken, TooLarge
    """
    with _opened(data) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _ROTATED:
            width, height = height, width
        return Probe(str(image.format), width, height)


def decode(data: bytes, *, short_side: int | None = None) -> Image:
    """Decode an image.

    Parameters
    ----------
    data : bytes
        The file's bytes; their format is found in them.
    short_side : int, optional
        A JPEG may be decoded at a half, a quarter or an eighth of its size as long as its short side keeps this many
        pixels, which costs much less for large photographs.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, as shown (after EXIF rotation).

    Raises
    ------
    NotAnImage, Broken, TooLarge
    """
    with _opened(data) as image:
        if short_side is not None and image.format == "JPEG" and min(image.size) >= 2 * short_side:
            scale = short_side / min(image.size)
            image.draft("RGB", (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
        image.load()
        return _as_rgb(_upright(image))


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image


def _as_rgb(image: Image) -> Image:
    from PIL import Image as Pillow

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BIT:
        return _eight_bits(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        pixels = image.convert("RGBA")
        white = Pillow.new("RGBA", pixels.size, "white")
        return Pillow.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """Scale 16-bit grey values to 8 bits; Pillow's own conversion would cut them off at 255."""
    import numpy as np
    from PIL import Image as Pillow

    values = np.asarray(image).astype(np.int64)
    return Pillow.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))


def kind_of_reason(reason: str) -> str:
    """Return the reason why a picture cannot be used without what differs from file to file, so that like ones are one.

    >>> kind_of_reason("cannot be decoded: image file is truncated (15 bytes not processed)")
    'cannot be decoded: image file is truncated'
    """
    if reason.startswith("too large"):
        return "too large"
    if reason.startswith("cannot be decoded"):
        return re.sub(r" \([^)]*\)$", "", re.sub(r"b'.*'|0x[0-9a-f]+|\d+", "…", reason))
    return reason


@contextmanager
def _opened(data: bytes) -> Iterator[Image]:
    """Open an image; whatever a decoder raises over bad bytes becomes one of our three reasons."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    if not data:
        raise NotAnImage("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise TooLarge(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
                yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise NotAnImage(_what_it_is(data)) from None
    except Pillow.DecompressionBombError:
        raise TooLarge(f"more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything over bad bytes: OSError, SyntaxError, struct.error, …
        raise Broken(f"cannot be decoded: {str(error) or type(error).__name__}") from error


def _what_it_is(data: bytes) -> str:
    """Say what bytes without an image hold, as far as their beginning shows it."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "a web page, not an image"
    if start.startswith((b"<?xml", b"<svg")):
        return "SVG or XML, not a picture of pixels"
    if start.startswith((b"{", b"[")):
        return "JSON, not an image"
    if start.startswith(b"pk\x03\x04"):
        return "a zip archive, not an image"
    if start.startswith(b"%pdf"):
        return "a PDF, not an image"
    return "no known image format"
