"""Bytes to pixels: one treatment for every picture, the same when training, evaluating and answering.

A plain JPEG is decoded by libjpeg-turbo (simplejpeg), at a half, a quarter or an eighth of its size where no more is
wanted; every other picture, and every JPEG with which that has difficulties, by Pillow. What is done, by what is found:
EXIF rotation is applied; colours of a profile other than sRGB are converted to sRGB; of an animation the first frame is
taken; a palette is looked up; CMYK and YCCK become RGB; grey becomes three equal channels; 16-bit values are scaled to
8 bits; transparent pixels are laid over white; of a DICOM file the first frame is shown through the file's window.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970
"""The largest picture that is decoded, in pixels: Pillow's own limit against decompression bombs."""

_SCALES = (8, 4, 2)
"""Parts of a JPEG's size at which decoding costs less than at the whole; others of the N/8 have no fast arithmetic."""

_MOST_PIXELS_PER_BYTE = 512
"""A block of 8 x 8 pixels takes a baseline JPEG two bits at the least; this is half of that."""

_JPEGS = ("JPEG", "MPO")
"""What Pillow calls a JPEG, and one with further pictures in it, of which the first is shown."""

_WIDE = ("F", "I;16", "I;16L", "I;16B", "I;16N", "I")
_ROTATED = (5, 6, 7, 8)
"""The values of EXIF's Orientation tag under which width and height change places."""
_ORIENTATION = 0x0112
_DICOM = slice(128, 132)
"""Where a DICOM file says what it is."""

_HEIC_WITHOUT, _DICOM_WITHOUT = (f"{name}: the extra `formats` reads it" for name in ("HEIC", "DICOM"))

_FRAME = (0xC0, 0xC1, 0xC2)
"""Markers of a JPEG's frame header: baseline, extended, progressive."""
_SIZE = struct.Struct(">BHHB")
"""What a frame header begins with: bits, height, width, colours."""
_SCAN = 0xDA
"""The marker with which the pixels begin."""
_IDLE = frozenset([0xC4, 0xDB, 0xDD, 0xE0, 0xEC, 0xED, 0xEE, 0xFE])
"""Markers of a JPEG's segments that say nothing of how it is to be shown which the decoder would not see to: tables,
JFIF, Photoshop's and Adobe's notes, comments. Not among them: EXIF, XMP, profiles, several pictures in one file."""


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
    plain = _plain_jpeg(data)
    if plain is not None:
        return Probe("JPEG", *plain)
    with _opened(data) as image:
        width, height = image.size
        # Of a TIFF Pillow tells the size as shown.
        if image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _ROTATED:
            width, height = height, width
        return Probe(str(image.format), width, height)


def decode(data: bytes, *, reduction: float = 1.0) -> NDArray[np.uint8]:
    """Decode an image.

    Parameters
    ----------
    data : bytes
        The file's bytes; their format is found in them.
    reduction : float
        A JPEG is decoded at a half, a quarter or an eighth of its size where that is no less than size / `reduction`,
        which costs much less for large photographs.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Red, green, blue, as shown (after EXIF rotation). It may not be writable: a copy would double the memory.

    Raises
    ------
    NotAnImage, Broken, TooLarge
    """
    scale = next((part for part in _SCALES if part <= reduction), 1)
    plain = _plain_jpeg(data)
    if plain is not None:
        pixels = _by_turbo(data, scale, plain)
        if pixels is not None:
            return pixels
    with _opened(data) as image:
        if image.format not in _JPEGS:
            scale = 1
        elif image.mode == "RGB" or (image.mode == "L" and _to_srgb(image.info.get("icc_profile"), "L") is None):
            pixels = _by_turbo(data, scale, image.size)
            if pixels is not None:
                return _turned(_in_srgb(pixels, image), image)
            if not image.info.get("progressive") and len(data) * _MOST_PIXELS_PER_BYTE < image.width * image.height:
                # Pillow would show grey where there is nothing.
                raise Broken(f"cannot be decoded: too few bytes for {image.width} x {image.height} pixels")
        if scale > 1:
            image.draft("RGB", (image.width // scale, image.height // scale))
        image.load()
        return _turned(np.asarray(_as_rgb(image)), image)


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG whose pixels need nothing but to be decoded; None of anything else.

    That is most JPEGs of the web. Opening one with Pillow, which finds the same, takes 60 microseconds, this 3.
    """
    if data[:3] != b"\xff\xd8\xff" or data[_DICOM] == b"DICM":
        return None
    size, place, end = None, 2, len(data) - 10
    while place < end and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAME:
            bits, height, width, colours = _SIZE.unpack_from(data, place + 4)
            if bits != 8 or colours not in (1, 3) or not 0 < height * width <= MAX_PIXELS:
                return None
            size = width, height
        elif marker not in _IDLE:
            return size if marker == _SCAN else None
        place += 2 + (data[place + 2] << 8 | data[place + 3])
    return None


def _by_turbo(data: bytes, scale: int, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode a JPEG at a part of its size; None where anything about it is unusual."""
    import simplejpeg

    width, height = (-(-side // scale) for side in size)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", min_width=width, min_height=height)
    except ValueError:
        # Cut off, damaged or unusual: Pillow says what it is, or reads it all the same.
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _turned(pixels: NDArray[np.uint8], image: Image) -> NDArray[np.uint8]:
    """Apply EXIF's orientation."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation in _ROTATED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _in_srgb(pixels: NDArray[np.uint8], image: Image) -> NDArray[np.uint8]:
    """Convert RGB of an embedded profile to sRGB."""
    convert = _to_srgb(image.info.get("icc_profile"), "RGB") if image.mode == "RGB" else None
    if convert is None:
        return pixels
    from PIL import Image as Pillow

    return np.asarray(convert.apply(Pillow.fromarray(pixels)))


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes | None, mode: str) -> Any:
    """Return the conversion from a profile to sRGB; None where there is nothing to do.

    A profile that cannot be used, or is one of other colours than the picture has, is passed over, as browsers do.
    """
    from PIL import ImageCms

    if not profile:
        return None
    colours = "GRAY" if mode == "L" else mode
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != colours or "sRGB" in ImageCms.getProfileDescription(given):
            return None
        return ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _as_rgb(image: Image) -> Image:
    """Return a picture as RGB of sRGB: first of 8 bits, then without transparency or palette, then by its profile."""
    from PIL import Image as Pillow

    pixels = image
    if image.mode in _WIDE:
        pixels = _eight_bits(image)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        shown = image.convert("RGBA")
        over_white = Pillow.alpha_composite(Pillow.new("RGBA", shown.size, "white"), shown)
        pixels = over_white.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    elif image.mode not in ("RGB", "L", "CMYK"):
        pixels = image.convert("RGB")
    convert = _to_srgb(image.info.get("icc_profile"), pixels.mode)
    return pixels.convert("RGB") if convert is None else convert.apply(pixels)


def _eight_bits(image: Image) -> Image:
    """Scale grey values of more bits to 8; Pillow's own conversion would cut them off at 255.

    Whole numbers of up to 65,535 are taken for 16 bits. Of others, and of floats, no range is known: the least one of
    the picture is black and the greatest white.
    """
    from PIL import Image as Pillow

    values = np.asarray(image).astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if image.mode != "F" and low >= 0 and high <= 65535:
        return Pillow.fromarray((values // 257).astype(np.uint8))
    scaled = np.nan_to_num((values - low) * (255 / (high - low) if high > low else 0.0))
    return Pillow.fromarray(scaled.round().astype(np.uint8))


def needs_extra(reason: str) -> str | None:
    """Return the module of the extra `formats` that would read what is unreadable for this reason; None for others.

    >>> needs_extra("HEIC: the extra `formats` reads it")
    'pillow_heif'
    """
    return {_HEIC_WITHOUT: "pillow_heif", _DICOM_WITHOUT: "pydicom"}.get(reason)


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
    if _is_heic(data):
        _heic_is_read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _from_dicom(data) if data[_DICOM] == b"DICM" else Pillow.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise TooLarge(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
                if image.format == "EPS":
                    # A program, which Pillow would have run by Ghostscript, a process that our limits do not reach.
                    raise NotAnImage("PostScript, not a picture of pixels")
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


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


@lru_cache(maxsize=1)
def _heic_is_read() -> bool:
    """Teach Pillow HEIC, once and if what reads it is installed; say whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _from_dicom(data: bytes) -> Image:
    """Return the first frame of a DICOM file, grey values through the file's window.

    Raises
    ------
    NotAnImage, Broken, TooLarge
    """
    from PIL import Image as Pillow

    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
    except ImportError:
        raise NotAnImage(_DICOM_WITHOUT) from None
    about = pydicom.dcmread(io.BytesIO(data))
    if int(about.Rows) * int(about.Columns) > MAX_PIXELS:
        raise TooLarge(f"{about.Columns} x {about.Rows} pixels, more than {MAX_PIXELS:,}")
    values = pixel_array(about, index=0)
    if values.ndim == 2:
        shown = apply_voi_lut(apply_modality_lut(values, about), about).astype(np.float64)
        low, high = float(shown.min()), float(shown.max())
        shown = (shown - low) * (255 / (high - low)) if high > low else np.zeros_like(shown)
        values = (255 - shown if about.PhotometricInterpretation == "MONOCHROME1" else shown).round().astype(np.uint8)
    image = Pillow.fromarray(values)
    image.format = "DICOM"
    return image


def _what_it_is(data: bytes) -> str:
    """Say what bytes without an image hold, as far as their beginning shows it."""
    start = data[:1024]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start.decode("utf-16", "ignore").encode()
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<") and re.search(rb"<(!doctype html|html|head|body|script)\b", start):
        return "a web page, not an image"
    if start.startswith((b"<?xml", b"<svg", b"<!--")):
        return "SVG or XML, not a picture of pixels"
    if start.startswith((b"\x89png", b"riff", b"\xff\xd8\xff")):
        return "the beginning of an image, cut off"
    if start.startswith((b"{", b"[")):
        return "JSON, not an image"
    if start.startswith(b"pk\x03\x04"):
        return "a zip archive, not an image"
    if start.startswith(b"%pdf"):
        return "a PDF, not an image"
    if _is_heic(data):
        return "a damaged HEIC picture" if _heic_is_read() else _HEIC_WITHOUT
    return "no known image format"
