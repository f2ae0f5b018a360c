"""Hostile files, made from real ones: what a crawl, or somebody who means ill, can put into a folder of pictures."""

from __future__ import annotations

import io
import os
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, and the steps between them."""


def corpus(seed: int = 0) -> dict[str, bytes]:
    """Return hostile files by a name that tells what was done to them; all names end in ``.jpg``."""
    files: dict[str, bytes] = {}
    made = originals()
    for kind, data in made.items():
        for tenth in range(1, 10):
            files[f"{kind} cut at {tenth}0 percent"] = data[: len(data) * tenth // 10]
    rng = np.random.default_rng(seed)
    for kind, data in made.items():
        for where, most in (("header", 64), ("anywhere", len(data))):
            for bits in (1, 8, 64):
                files[f"{kind} {bits} bits flipped {where}"] = flipped(data, bits, most, rng)
    for kind in ("jpeg", "png", "gif", "webp", "tiff", "bmp"):
        for other in ("jpeg", "png", "gif", "webp", "tiff", "bmp"):
            if kind != other:
                files[f"{kind} under the header of {other}"] = made[other][:32] + made[kind][32:]
    files |= claims(made) | bombs(made) | no_pictures(made)
    return {f"{name}.jpg": data for name, data in files.items()}


def photographs() -> list[bytes]:
    """Return the two photographs that come with scikit-learn, as they lie there."""
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [(folder / name).read_bytes() for name in ("china.jpg", "flower.jpg")]


def originals() -> dict[str, bytes]:
    """Return good pictures in many encodings."""
    china, flower = photographs()
    image = Image.open(io.BytesIO(china)).resize((96, 64))
    grey, alpha = image.convert("L"), image.convert("RGBA")
    pixels = np.asarray(image)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    made = {
        "photograph": china,
        "other photograph": flower,
        "jpeg": encoded(image, "JPEG"),
        "progressive jpeg": encoded(image, "JPEG", progressive=True),
        "cmyk jpeg": encoded(image.convert("CMYK"), "JPEG"),
        "grey jpeg": encoded(grey, "JPEG"),
        "jpeg with exif and icc": encoded(image, "JPEG", exif=exif, icc_profile=profile),
        "png": encoded(image, "PNG", icc_profile=profile),
        "16-bit png": png(pixels.astype(np.uint16) * 257),
        "palette png": encoded(image.convert("P"), "PNG", transparency=3),
        "interlaced png": png(pixels, interlaced=True),
        "animated png": encoded(image, "PNG", save_all=True, append_images=[grey.convert("RGB")]),
        "gif": encoded(image.convert("P"), "GIF", save_all=True, append_images=[grey.convert("P")]),
        "webp": encoded(image, "WEBP"),
        "webp with alpha and exif": encoded(alpha, "WEBP", lossless=True, exif=exif),
        "tiff": encoded(image, "TIFF"),
        "tiff by lzw": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff by jpeg": encoded(image, "TIFF", compression="jpeg"),
        "bmp": encoded(image, "BMP"),
        "ppm": encoded(image, "PPM"),
        "ico": encoded(image, "ICO"),
        "tga": encoded(image, "TGA", compression="tga_rle"),
    }
    if features.check("avif"):
        made["avif"] = encoded(image, "AVIF", speed=10)
    if features.check("jpg_2000"):
        made["jpeg 2000"] = encoded(image, "JPEG2000")
    return made


def encoded(image: Image.Image, format: str, **settings: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **settings)
    return data.getvalue()


def flipped(data: bytes, bits: int, most: int, rng: np.random.Generator) -> bytes:
    """Return the bytes with so many bits among the first `most` bytes the other way round."""
    changed = bytearray(data)
    for place in rng.integers(0, 8 * min(most, len(data)), bits).tolist():
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


# -- sizes that are claimed -------------------------------------------------------------------------------------------


def claims(made: dict[str, bytes]) -> dict[str, bytes]:
    """Return pictures whose headers claim other sizes than they have."""
    sizes = ((2**31 - 1, 2**31 - 1), (65535, 65535), (30_000, 30_000), (5_000, 4_000), (2**24, 1), (0, 0))
    claiming: dict[str, Callable[[bytes, int, int], bytes]] = {
        "jpeg": claim_jpeg,
        "progressive jpeg": claim_jpeg,
        "png": claim_png,
        "interlaced png": claim_png,
        "gif": claim_gif,
        "bmp": claim_bmp,
        "tiff": claim_tiff,
        "tiff by lzw": claim_tiff,
        "webp with alpha and exif": claim_webp,
        "avif": claim_avif,
    }
    files = {
        f"{kind} that claims {width} x {height}": claim(made[kind], width, height)
        for kind, claim in claiming.items()
        if kind in made
        for width, height in sizes
    }
    files["bmp of negative height"] = claim_bmp(made["bmp"], 96, -(2**31))
    return files


def claim_png(data: bytes, width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def claim_jpeg(data: bytes, width: int, height: int) -> bytes:
    place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: place + 5] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[place + 9 :]


def claim_gif(data: bytes, width: int, height: int) -> bytes:
    return data[:6] + struct.pack("<HH", width & 0xFFFF, height & 0xFFFF) + data[10:]


def claim_bmp(data: bytes, width: int, height: int) -> bytes:
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def claim_tiff(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)
    for place in tiff_entries(data):
        tag = struct.unpack_from("<H", data, place)[0]
        if tag in (256, 257):
            struct.pack_into("<HIL", changed, place + 2, 4, 1, width if tag == 256 else height)
    return bytes(changed)


def tiff_entries(data: bytes) -> Iterator[int]:
    """Give the places of the entries of a TIFF's first directory."""
    first = struct.unpack_from("<I", data, 4)[0]
    for number in range(struct.unpack_from("<H", data, first)[0]):
        yield first + 2 + 12 * number


def claim_webp(data: bytes, width: int, height: int) -> bytes:
    size = b"".join(max(0, side - 1).to_bytes(4, "little")[:3] for side in (width, height))
    return data[:24] + size + data[30:]


def claim_avif(data: bytes, width: int, height: int) -> bytes:
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


# -- small files that become large ------------------------------------------------------------------------------------


def bombs(made: dict[str, bytes]) -> dict[str, bytes]:
    """Return small files that want much memory or time."""
    small, tiff = made["png"], made["tiff"]
    nothing = zlib.compress(bytes(2**25), 1)
    next_directory = 2 + struct.unpack_from("<I", tiff, 4)[0] + 12 * len(list(tiff_entries(tiff)))
    gif = encoded(Image.new("P", (16, 16)), "GIF")
    frame = gif[gif.index(b"\x2c") : -1]
    return {
        "bomb of 30,000 x 30,000": one_colour(30_000),
        "bomb of 12,000 x 12,000 cut": one_colour(12_000)[:-1000],
        "bomb of 4,000 x 4,000": one_colour(4_000),
        "bomb of a gif": encoded(Image.new("P", (4_000, 3_000)), "GIF"),
        "bomb of a tiff": encoded(Image.new("1", (16_000, 12_000)), "TIFF", compression="group4"),
        "bomb in a text": with_chunk(small, b"zTXt", b"Comment\0\0" + nothing),
        "bomb in an international text": with_chunk(small, b"iTXt", b"Comment\0\1\0\0\0" + nothing),
        "bomb in a profile": with_chunk(small, b"iCCP", b"ICC\0\0" + nothing),
        "chunk that claims four gigabytes": small[:33] + b"\xff\xff\xff\xfftEXt" + small[33:],
        "many empty chunks": small[:33] + 20_000 * chunk(b"tEXt", b"a\0b") + small[33:],
        "tiff whose directory follows itself": (tiff[:next_directory] + tiff[4:8] + tiff[next_directory + 4 :]),
        "gif of 20,000 frames": gif[:-1] + 20_000 * frame + b";",
        "jpeg of 10,000 comments": made["jpeg"][:2] + 10_000 * b"\xff\xfe\x00\x03x" + made["jpeg"][2:],
        "jpeg of 500 empty scans": empty_scans(made["progressive jpeg"], 500),
        "exif that lies": encoded(Image.open(io.BytesIO(made["jpeg"])), "JPEG", exif=lying_exif()),
    }


def one_colour(side: int) -> bytes:
    """Return a black PNG, of one bit a pixel."""
    rows = zlib.compress(bytes((1 + -(-side // 8)) * side), 1)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a PNG with one chunk more behind its header."""
    return data[:33] + chunk(kind, content) + data[33:]


def empty_scans(data: bytes, scans: int) -> bytes:
    """Return a progressive JPEG whose last scan is there many times."""
    start = data.rindex(b"\xff\xda")
    return data[:start] + scans * data[start:-2] + data[-2:]


def lying_exif() -> bytes:
    """Return EXIF whose directory of details is itself, with an orientation that there is not."""
    entries = [(0x0112, 3, 1, 99), (0x8769, 4, 1, 8), (0x8825, 4, 1, 2**32 - 1), (0x010F, 2, 2**31, 0)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + directory + struct.pack("<I", 8)


def png(pixels: NDArray[np.generic], interlaced: bool = False) -> bytes:
    """Write a PNG of 8 or 16 bits a colour, which Pillow does not do interlaced, nor with 16 bits in colour."""
    height, width, _ = pixels.shape
    big = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    passes = [big[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [big]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    head = struct.pack(">IIBBBBB", width, height, 8 * big.dtype.itemsize, 2, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# -- what is no picture -----------------------------------------------------------------------------------------------


def no_pictures(made: dict[str, bytes]) -> dict[str, bytes]:
    """Return files that are no pictures, and some that are something else as well."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("1.jpg", made["jpeg"])
    page = b"<!DOCTYPE html><html><head><title>404</title></head><body>not found</body></html>"
    starts = {kind: made[kind][:4] for kind in ("jpeg", "png", "gif", "webp", "tiff", "bmp", "ico", "ppm")}
    return {
        "empty": b"",
        "one byte": b"\xff",
        "only zeros": bytes(10_000),
        "noise": np.random.default_rng(1).bytes(10_000),
        "page": page,
        "page of megabytes": page + 3_000_000 * b" ",
        "drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>',
        "drawing that laughs": b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "&b;&b;"><!ENTITY b "ha">]><l>&a;</l>',
        "answer of a server": b'{"error": {"code": 403, "message": "forbidden"}}',
        "zip": archive.getvalue(),
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n",
        "program of postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n{} loop\n",
        "metafile": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<hhhhH", 0, 0, 100, 100, 72) + bytes(40),
        "dicom of nothing": bytes(128) + b"DICM" + bytes(200),
        "picture with an archive behind it": made["jpeg"] + archive.getvalue(),
        "text": b"this is not a picture\n" * 100,
        **{f"only the first bytes of {kind}": start for kind, start in starts.items()},
    }


# -- names, links, rights, archives -----------------------------------------------------------------------------------


def odd_names() -> list[bytes]:
    """Return names that a file may have, each ending as a picture's."""
    names = [
        b"new\nline.jpg", b"carriage\rreturn.jpg", b"tab\tab.jpg", b'quote".jpg', b"back\\slash.jpg",
        b"'$(reboot)'.jpg", "\N{FOX FACE}.jpg".encode(), "\N{RIGHT-TO-LEFT OVERRIDE}gpj.jpg".encode(),
        "e\u0301.jpg".encode(), "\u00e9.jpg".encode(), b" leading.jpg", b"trailing .jpg", b"-rf.jpg",
        b"x" * 251 + b".jpg", b"100%s%n.jpg", b"#.jpg", b"a..jpg", b"nul.jpg", b"\x1b[31m.jpg",
    ]  # fmt: skip
    # macOS and Windows hold names as text.
    return [*names, b"caf\xe9.jpg", b"\xff\xfe.jpg"] if sys.platform == "linux" else names


def write_odd(folder: Path, make: Callable[[int], bytes]) -> int:
    """Write a picture under each odd name; return how many the file system took."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = 0
    for number, name in enumerate(odd_names()):
        try:
            with open(os.path.join(os.fsencode(folder), name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(make(number))
        except (OSError, ValueError):
            continue
        taken += 1
    return taken


def write_tar(path: Path, good: dict[str, bytes], prefix: str = "") -> list[str]:
    """Write a tar of good files, and of members that lead outside or are no files; return the names of those.

    The names of what lies inside begin with `prefix`.
    """
    types = {
        "cat/link.jpg": (tarfile.SYMTYPE, "../../etc/passwd"),
        "cat/hard.jpg": (tarfile.LNKTYPE, "/etc/passwd"),
        "cat/pipe.jpg": (tarfile.FIFOTYPE, ""),
        "dog/device.jpg": (tarfile.CHRTYPE, ""),
        "dog/disk.jpg": (tarfile.BLKTYPE, ""),
        "../up.jpg": (tarfile.REGTYPE, ""),
        "/absolute.jpg": (tarfile.REGTYPE, ""),
        "cat/../../../up.jpg": (tarfile.REGTYPE, ""),
        "..": (tarfile.REGTYPE, ""),
    }
    with tarfile.open(path, "w") as tar:
        for name, data in good.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, (kind, leads) in types.items():
            member = tarfile.TarInfo(name if ".." in name or name[0] == "/" else prefix + name)
            member.type, member.linkname = kind, leads
            tar.addfile(member)
    return list(types)
