"""How near the image path is to the bare decoder, and how it compares with torchvision: ratios measured in one run.

The pictures are real photographs (scikit-learn's two, cut and scaled, or any folder or tar of JPEGs that is named as an
argument), encoded as JPEGs of about 500 × 375 and 1,600 × 1,200. Each figure is a median of `REPEATS`; what is compared
is measured in turn, so that other work on the machine hits both alike; what has one thread, by the processor's time, in
which waiting for the processor does not count. Run by ``make bench``.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
import torchvision
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from curriculumnet.images.archives import open_bytes
from curriculumnet.images.decode import Unreadable, decode
from curriculumnet.images.loader import Pictures, even_batches, load
from curriculumnet.images.views import TrainingView
from curriculumnet.ingestion.scan import examine_file

SIZES = ((500, 375), (1600, 1200))
SIDE = 224
SCALE = (0.5, 1.0)
COUNT = 64
REPEATS = 7
BATCH = 32


def photographs(source: str | None, count: int = COUNT) -> Iterator[Image.Image]:
    """Yield real photographs: those of a source and then their mirror images, or pieces of scikit-learn's two."""
    if source is not None:
        files = open_bytes(source)
        wanted = count
        for mirrored in (False, True):
            for name in files.names():
                try:
                    photo = Image.fromarray(decode(files.read(name)))
                except Unreadable:
                    continue
                yield ImageOps.mirror(photo) if mirrored else photo
                wanted -= 1
                if not wanted:
                    return
        raise SystemExit(f"{source} holds fewer than {count // 2:,} photographs.")
    wholes = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    for number in range(count):
        whole = wholes[number % 2]
        left, top = int(rng.integers(0, whole.width - 320)), int(rng.integers(0, whole.height - 240))
        yield whole.crop((left, top, left + 320, top + 240))


def encoded(photos: Iterable[Image.Image], size: tuple[int, int]) -> Iterator[bytes]:
    """Yield them as JPEGs of one size, of quality 85."""
    for photo in photos:
        buffer = io.BytesIO()
        photo.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def in_turn(count: int, works: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Return the median milliseconds a picture that each piece of work takes, which is told the picture's number."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            start = time.thread_time()
            for number in range(count):
                work(number)
            taken[name].append((time.thread_time() - start) / count * 1e3)
    return {name: statistics.median(each) for name, each in taken.items()}


def one_thread(data: list[bytes], size: tuple[int, int]) -> None:
    """Print what a view and a scan cost beside the bare decoder, in one thread."""
    seeds = iter(range(10**9))
    view = TrainingView(SIDE, scale=SCALE)
    width, height = size
    # The scale at which most crops of these sizes are decoded.
    part = max(scale for scale in (1, 2, 4, 8) if min(size) * (sum(SCALE) / 2) ** 0.5 / scale >= SIDE)
    with tempfile.TemporaryDirectory() as home:
        paths = [Path(home, f"{number:04}.jpg") for number in range(len(data))]
        for path, each in zip(paths, data, strict=True):
            path.write_bytes(each)
        files = open_bytes(home)
        took = in_turn(
            len(data),
            {
                "view": lambda number: view(data[number], next(seeds)),
                "bare": lambda number: simplejpeg.decode_jpeg(
                    data[number], min_width=-(-width // part), min_height=-(-height // part)
                ),
                "read": lambda number: simplejpeg.decode_jpeg(paths[number].read_bytes()),
                "scan": lambda number: examine_file(files, paths[number].name, 16),
            },
        )
    row("decode + random-resized crop", size, f"bare decoder at 1/{part}", took["view"], took["bare"])
    row("scan (read, digests, probe, hashes, scores)", size, "reading + bare decoder", took["scan"], took["read"])


def loaders(data: list[bytes], size: tuple[int, int], workers: int) -> None:
    """Print the time a picture takes through our loader and through torchvision's ImageFolder."""
    with tempfile.TemporaryDirectory() as home:
        for number, each in enumerate(data):
            path = Path(home, "crawl", str(number % 2), f"{number:04d}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each)
        names = sorted(path.relative_to(Path(home, "crawl")).as_posix() for path in Path(home, "crawl").rglob("*.jpg"))
        table = pa.table({"source": ["crawl"] * len(names), "file_name": names})
        pictures = Pictures(table, {"crawl": str(Path(home, "crawl"))})
        ids = np.resize(np.arange(len(names)), 4 * len(names))
        usual = v2.Compose(
            [
                v2.RandomResizedCrop(SIDE, scale=SCALE, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
            ]
        )
        folder = torchvision.datasets.ImageFolder(str(Path(home, "crawl")), usual)
        repeated = torch.utils.data.Subset(folder, ids.tolist())

        def ours() -> None:
            for _ in load(pictures, even_batches(ids, BATCH), TrainingView(SIDE, scale=SCALE), workers=workers):
                pass

        def theirs() -> None:
            for _ in DataLoader(repeated, batch_size=BATCH, num_workers=workers):
                pass

        taken: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(REPEATS):
            for name, work in (("ours", ours), ("theirs", theirs)):
                start = time.perf_counter()
                work()
                taken[name].append((time.perf_counter() - start) / len(ids) * 1e3)
        ours_ms, theirs_ms = (statistics.median(taken[name]) for name in ("ours", "theirs"))
        row(f"loader, {workers} workers", size, "torchvision ImageFolder + DataLoader", ours_ms, theirs_ms)


def row(what: str, size: tuple[int, int], beside: str, ours: float, other: float) -> None:
    """Print a row of the table."""
    print(f"| {what} | {size[0]} × {size[1]} | {ours:.2f} | {beside} | {other:.2f} | {other / ours:.2f} |", flush=True)


def main() -> None:
    """Measure, and print the table as it grows."""
    torch.set_num_threads(1)
    photos = list(photographs(sys.argv[1] if len(sys.argv) > 1 else None))
    print(
        "| ours | size | ms a picture | beside | ms a picture | times as fast |", "|---|---|---|---|---|---|", sep="\n"
    )
    for size in SIZES:
        data = list(encoded(photos, size))
        one_thread(data, size)
        loaders(data, size, min(2, os.cpu_count() or 1))


if __name__ == "__main__":
    main()
