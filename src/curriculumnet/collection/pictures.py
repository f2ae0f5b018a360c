"""What has come, looked at: which picture it is, or why it is none."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from dataclasses import dataclass

from curriculumnet.images.decode import Unreadable, kind_of_reason, probe

SUCCESS, NOT_FETCHED, NO_PICTURE = "success", "failed_to_download", "failed_to_resize"
"""The values of `status`, as img2dataset names them."""

NO_URL, NO_CATEGORY = "no URL", "no category"
"""Why a row cannot be asked for."""

REFUSED = "refused: the address of the host is not public"

_LONGEST_REASON = 200

# fmt: off
_ENDINGS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif",
    "HEIF": "heic", "AVIF": "avif", "JPEG2000": "jp2", "DICOM": "dcm", "ICO": "ico",
}
# fmt: on
"""Endings by Pillow's names of formats; of others it is the name in small letters."""

_EXIF = {"JPEG": b"Exif", "PNG": b"eXIf", "WEBP": b"EXIF"}
"""How formats announce EXIF. Opening a picture to look for it takes longer than all else."""
_PARTS = {"EXIF": 0x8769, "GPS": 0x8825}
_LONGEST_VALUE = 200
"""Characters of an EXIF value that are kept: makers of cameras put kilobytes of their own there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a URL.

    Attributes
    ----------
    status : str
        `SUCCESS`, `NOT_FETCHED` or `NO_PICTURE`.
    error_message : str or None
        Why there is no picture.
    reason : str
        The same without what differs from file to file, for counting.
    ending : str
        How the picture's file is called, by what was found in its bytes.
    width, height : int or None
        As shown (after EXIF rotation), in pixels.
    exif, sha256 : str or None
        EXIF as a JSON object of texts; the digest of the bytes, in hex.
    """

    status: str
    error_message: str | None = None
    reason: str = SUCCESS
    ending: str = ""
    width: int | None = None
    height: int | None = None
    exif: str | None = None
    sha256: str | None = None


def failed(status: str, reason: str) -> Outcome:
    """Return the outcome of a URL that gave no picture; why is one line, and no long one."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
    if len(line) > _LONGEST_REASON:
        line = f"{line[: _LONGEST_REASON - 1]}…"
    return Outcome(status, line, kind_of_reason(line))


def examined(data: bytes) -> Outcome:
    """Look at bytes that have come whole; only a picture's header is read."""
    try:
        found = probe(data)
    except Unreadable as error:
        return failed(NO_PICTURE, str(error))
    ending = _ENDINGS.get(found.format, found.format.lower())
    sha256 = hashlib.sha256(data).hexdigest()
    return Outcome(SUCCESS, None, SUCCESS, ending, found.width, found.height, _exif(data, found.format), sha256)


def _exif(data: bytes, form: str) -> str | None:
    """Return a picture's EXIF as a JSON object of texts, such as ``{"Image Make": "…"}``; None where it is damaged.

    The names begin with the part that they are in, ``Image``, ``EXIF`` or ``GPS``, as img2dataset writes them.
    """
    if form in _EXIF and _EXIF[form] not in data:
        return "{}"
    from PIL import ExifTags, Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                exif = image.getexif()
                found = {f"Image {ExifTags.TAGS.get(tag, tag)}": value for tag, value in exif.items()}
                for part, place in _PARTS.items():
                    names = ExifTags.GPSTAGS if part == "GPS" else ExifTags.TAGS
                    found |= {f"{part} {names.get(tag, tag)}": value for tag, value in exif.get_ifd(place).items()}
        return json.dumps({name: _text(value) for name, value in found.items()})
    except MemoryError:
        raise
    except Exception:  # a decoder may raise anything over bad bytes; the picture itself may be whole
        return None


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "").strip()[:_LONGEST_VALUE]
