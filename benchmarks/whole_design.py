"""How long `design` takes for whole data sets, and how much memory: from features on disk to the tables.

The sizes of the categories are spread as WebVision's, from 11 to 11,000 images; features are synthetic, 256 columns of
float16. Give numbers of categories as arguments; 10, 100 and 1,000 by default, the last of which is 2.4 million images
and takes 1.3 GB of disk. Each is a process of its own, which measures its peak of memory; the exponent is that of time
over the number of categories. Part of ``make bench``.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, WorkFolder

LEAST, MOST, MEAN, COLUMNS = 11, 11_000, 2_400, 256
DESIGN = """
import json, resource, sys, time
import curriculumnet as cn

if __name__ == "__main__":
    start = time.perf_counter()
    done = cn.design(sys.argv[1], quiet=True)
    taken = time.perf_counter() - start
    print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, done.images]))
"""


def sizes(categories: int) -> NDArray[np.int64]:
    """Return how many images each category has: a log-normal spread, cut off at both ends, of a mean of 2,400."""
    quantiles = (np.arange(categories) + 0.5) / categories
    normal = np.sqrt(2) * np.array([_erfinv(2 * q - 1) for q in quantiles])
    found = np.clip(1_700 * np.exp(0.85 * normal), LEAST, MOST)
    return np.maximum(LEAST, found * MEAN / found.mean()).clip(max=MOST).astype(np.int64)


def _erfinv(y: float) -> float:
    low, high = -6.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return low


def write(home: Path, categories: int) -> int:
    """Write a work folder with images and features; return how many images there are."""
    folder = WorkFolder.create(home)
    count = sizes(categories)
    names = [f"category {number:04}" for number in range(categories)]
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(np.arange(categories), count))
    n = len(label)
    texts = pa.array(names).take(pa.array(label))
    constant = {
        key: pa.array([value]).take(pa.array(np.zeros(n, np.int64)))
        for key, value in (("source", "crawl"), ("split", "train"), ("state", "used"), ("reason", ""))
    }
    columns = {
        "image_id": np.arange(n),
        "file_name": pa.array([f"{number:08}.jpg" for number in range(n)]),
        "label": texts,
        "label_conflict": np.zeros(n, np.bool_),
        **constant,
    }
    folder.write_table(IMAGES, tables.build(tables.IMAGES, columns))
    folder.stamp("ingest", {}, {}, [IMAGES], 0.0, categories=names)
    places = rng.normal(size=(categories, COLUMNS)).astype(np.float32)

    def features(file: object) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, COLUMNS)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, 100_000):
            own = label[start : start + 100_000]
            right = (rng.random(len(own)) < 0.7)[:, None]
            rows = 0.7 * places[own] * right + rng.standard_normal((len(own), COLUMNS), np.float32)
            file.write(rows.astype("<f2").tobytes())  # type: ignore[attr-defined]

    folder.write_with("features/net.npy", features)
    folder.stamp("embed:net", folder.digests(IMAGES), {"from": "net"}, ["features/net.npy"], 0.0)
    return n


def picture(points: list[tuple[int, float]]) -> str:
    """Draw seconds over images, both on logarithmic scales, with a line of time that grows with the images."""
    width, height, left, bottom, right, top = 640, 400, 70, 50, 45, 20
    low, high = (math.log10(10 ** math.floor(math.log10(points[0][0]))), math.ceil(math.log10(points[-1][0])))
    least, most = 0, math.ceil(math.log10(max(seconds for _, seconds in points)))

    def x(images: float) -> float:
        return left + (math.log10(images) - low) / (high - low) * (width - left - right)

    def y(seconds: float) -> float:
        return height - bottom - (math.log10(seconds) - least) / (most - least) * (height - bottom - top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for power in range(round(low), high + 1):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} {top}V{height - bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - bottom + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(least, most + 1):
        at = y(10**power)
        parts.append(f'<path d="M{left} {at:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{10**power:,} s</text>')
    rate = points[-1][1] / points[-1][0]
    ends = [(images, images * rate) for images in (max(10**low, 10**least / rate), min(10**high, 10**most / rate))]
    line = " ".join(f"{x(images):.1f},{y(seconds):.1f}" for images, seconds in ends)
    parts.append(f'<polyline points="{line}" stroke="#999" stroke-dasharray="5 4" fill="none"/>')
    line = " ".join(f"{x(images):.1f},{y(seconds):.1f}" for images, seconds in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="2"/>')
    for images, seconds in points:
        parts.append(f'<circle cx="{x(images):.1f}" cy="{y(seconds):.1f}" r="4" fill="#1f5fa8"/>')
        parts.append(f'<text x="{x(images) - 8:.1f}" y="{y(seconds) - 8:.1f}" text-anchor="end">{seconds:.1f} s</text>')
    parts.append(
        f'<text x="{(left + width) / 2}" y="{height - 8}" text-anchor="middle">images, 2,400 a category</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measure, and print the table; with ``--picture FILE`` draw it."""
    words = sys.argv[1:]
    drawn = Path(words.pop(words.index("--picture") + 1)) if "--picture" in words else None
    asked = [int(word) for word in words if word != "--picture"] or [10, 100, 1_000]
    print("| categories | images | largest | seconds | images/s | peak, MB |", "|---|---|---|---|---|---|", sep="\n")
    taken, points = [], []
    for categories in asked:
        with tempfile.TemporaryDirectory() as home:
            n = write(Path(home, "work"), categories)
            command = [sys.executable, "-c", DESIGN, str(Path(home, "work"))]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, memory, images = json.loads(done.stdout)
        if images != n:
            raise SystemExit(f"{images:,} of {n:,} images were ordered.")
        taken.append(seconds)
        points.append((n, seconds))
        largest = sizes(categories).max()
        print(
            f"| {categories:,} | {n:,} | {largest:,} | {seconds:.1f} | {n / seconds:,.0f} | {memory:.0f} |", flush=True
        )
    if drawn is not None:
        drawn.write_text(picture(points), encoding="utf-8")
    if len(asked) > 1:
        slope, _ = np.polyfit(np.log(asked), np.log(taken), 1)
        print(f"\nTime grows with the number of categories to the power of {slope:.2f}.")


if __name__ == "__main__":
    main()
