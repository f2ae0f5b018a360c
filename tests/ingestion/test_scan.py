from __future__ import annotations

import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculumnet.images.decode import decode
from curriculumnet.images.duplicates import perceptual_hashes
from curriculumnet.images.folder import Folder
from curriculumnet.images.quality import SCORES, quality
from curriculumnet.ingestion.scan import Found, examine, scan

BASE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str, **settings: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **settings)
    return data.getvalue()


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16))


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(BASE, "JPEG", exif=exif)


def frames() -> list[Image.Image]:
    return [BASE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]


PNG, JPEG = encoded(BASE, "PNG"), encoded(BASE, "JPEG")
SMALL = encoded(BASE.resize((40, 15)), "PNG")


def huge() -> bytes:
    """A PNG of one colour whose header says 20,000 × 10,000 pixels."""
    data = bytearray(PNG)
    data[16:24] = (20_000).to_bytes(4, "big") + (10_000).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


GOOD = {
    "RGB PNG": (PNG, "PNG", (30, 20)),
    "RGB JPEG": (JPEG, "JPEG", (30, 20)),
    "CMYK JPEG": (encoded(BASE.convert("CMYK"), "JPEG"), "JPEG", (30, 20)),
    "palette PNG": (encoded(BASE.convert("P"), "PNG"), "PNG", (30, 20)),
    "palette with transparency": (encoded(BASE.convert("P"), "PNG", transparency=0), "PNG", (30, 20)),
    "alpha": (encoded(BASE.convert("RGBA"), "PNG"), "PNG", (30, 20)),
    "grey with alpha": (encoded(BASE.convert("LA"), "PNG"), "PNG", (30, 20)),
    "bilevel": (encoded(BASE.convert("1"), "PNG"), "PNG", (30, 20)),
    "16 bits": (encoded(sixteen_bits(), "PNG"), "PNG", (30, 20)),
    "16-bit TIFF": (encoded(sixteen_bits(), "TIFF"), "TIFF", (30, 20)),
    "animated GIF": (encoded(BASE, "GIF", save_all=True, append_images=frames()), "GIF", (30, 20)),
    "animated PNG": (encoded(BASE, "PNG", save_all=True, append_images=frames()), "PNG", (30, 20)),
    "animated WebP": (encoded(BASE, "WEBP", save_all=True, append_images=frames()), "WEBP", (30, 20)),
    "BMP": (encoded(BASE, "BMP"), "BMP", (30, 20)),
    "rotated by EXIF": (rotated(), "JPEG", (20, 30)),
}

BAD = {
    "empty": (b"", "broken", "empty file"),
    "web page": (b"<!DOCTYPE html><html>not found</html>", "broken", "a web page, not an image"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n", "broken", "PostScript, not a"),
    "noise": (b"\x00\x01\x02\x03" * 50, "broken", "no known image format"),
    "cut PNG": (PNG[:-200], "broken", "cannot be decoded"),
    "cut JPEG": (JPEG[: len(JPEG) // 2], "broken", "cannot be decoded"),
    "cut in its header": (PNG[:20], "broken", "cannot be decoded|no known image format"),
    "tiny": (SMALL, "refused", "too small: short side under 16 px"),
    "huge": (huge(), "refused", "too large: "),
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_picture_is_measured_as_it_is_shown(kind: str) -> None:
    data, format, size = GOOD[kind]
    found = examine(data, 16)
    assert (found.state, found.reason) == ("used", "")
    assert (found.format, (found.width, found.height), found.bytes) == (format, size, len(data))
    assert found.digest
    assert found.pixel_digest


@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_bad_file_gets_its_state_and_a_reason(kind: str) -> None:
    data, state, reason = BAD[kind]
    found = examine(data, 16)
    assert found.state == state
    assert re.match(reason, found.reason), found.reason
    assert found.bytes == len(data)
    assert found.digest


def test_what_is_measured_stands_in_its_place() -> None:
    assert Found._fields[-len(SCORES) :] == SCORES
    pixels = decode(JPEG)
    found = examine(JPEG, 16)
    assert list(found[-len(SCORES) :]) == quality(pixels).tolist()
    assert [found.phash, found.phash_centre] == perceptual_hashes(pixels).tolist()


def test_the_least_side_is_still_used_and_one_pixel_less_is_not() -> None:
    assert examine(SMALL, 15).state == "used"
    assert examine(SMALL, 16).state == "refused"


def test_other_bytes_of_the_same_pixels_share_the_pixel_digest() -> None:
    again = encoded(BASE, "PNG", compress_level=0)
    first, second, lossy = examine(PNG, 1), examine(again, 1), examine(JPEG, 1)
    assert first.digest != second.digest
    assert first.pixel_digest == second.pixel_digest != lossy.pixel_digest
    assert examine(encoded(BASE, "BMP"), 1).pixel_digest == first.pixel_digest


@pytest.fixture
def some(tmp_path: Path) -> tuple[Folder, list[str], list[Found]]:
    """Every kind of file in a folder, several times, with what is to be found in each."""
    kinds = {**{k: v[0] for k, v in GOOD.items()}, **{k: v[0] for k, v in BAD.items()}}
    names, expected = [], []
    for copy in range(3):
        for kind, data in kinds.items():
            name = f"{copy} {kind}.jpg"
            (tmp_path / name).write_bytes(data)
            names.append(name)
            expected.append(examine(data, 16))
    names.append("gone.jpg")
    expected.append(Found("missing", "not there"))
    return Folder(str(tmp_path)), names, expected


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_finds_the_same_in_the_same_order(
    some: tuple[Folder, list[str], list[Found]], workers: int
) -> None:
    files, names, expected = some
    parts = sorted(scan(files, names, min_side=16, workers=workers))
    assert [place for place, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts)])[:-1].tolist()
    assert [each for _, part in parts for each in part] == expected
    assert not multiprocessing.active_children()


def test_an_interruption_ends_the_workers_at_once(some: tuple[Folder, list[str], list[Found]]) -> None:
    files, names, _ = some
    with closing(scan(files, names * 20, min_side=16, workers=2)) as parts:
        next(parts)
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()


AS_NOBODY = """
import os, sys
from PIL import Image
import curriculumnet.images.decode
from curriculumnet.images.folder import Folder
from curriculumnet.ingestion.scan import examine_file

if os.getuid() == 0:  # who may read everything
    os.setgid(65534)
    os.setuid(65534)
print(examine_file(Folder(sys.argv[1]), "secret.png", 16)[:2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are another matter there")
def test_a_file_that_may_not_be_read_is_broken_and_says_so() -> None:
    # pytest's own temporary folders let nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret.png")
        secret.write_bytes(PNG)
        secret.chmod(0)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "('broken', 'cannot be read: permission denied')", done.stderr


SPAWNED = """
import multiprocessing, sys
from pathlib import Path
from curriculumnet.images.archives import open_bytes
from curriculumnet.ingestion.scan import scan

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    files = open_bytes(sys.argv[1])
    names = files.names() * int(sys.argv[2])
    print(len(names), flush=True)
    spawned, here = (
        [each for _, part in sorted(scan(files, names, min_side=16, workers=n)) for each in part] for n in (2, 0)
    )
    print(sorted(set(each.state for each in spawned)))
    assert spawned == here
"""


def test_workers_may_be_spawned(some: tuple[Folder, list[str], list[Found]], tmp_path: Path) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), some[0].root, "2"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "['broken', 'refused', 'used']", done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command(tmp_path: Path, how: signal.Signals, write: Callable[..., Path]) -> None:
    # Small files that take long to decode.
    data = encoded(BASE.resize((1500, 1500), Image.Resampling.NEAREST), "PNG")
    for number in range(700):
        write(f"crawl/{number % 2}/{number}.png", data)
    program = "from curriculumnet.cli import main; main()"
    command = [sys.executable, "-c", program, "ingest", "crawl", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True, text=True)
    deadline = time.monotonic() + 30
    while len(_session(process.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = _session(process.pid)
    assert len(workers) >= 3, "the scan had ended before it could be stopped"
    if how == signal.SIGINT:
        # A terminal sends it to the whole group.
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    try:
        _, said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == (130 if how == signal.SIGINT else -9), said
    deadline = time.monotonic() + 10
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _session(process.pid)
    assert "Traceback" not in said
    work = tmp_path / "crawl-work"
    assert {path.name for path in work.iterdir()} <= {".lock", "lock.json"}


def _session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
