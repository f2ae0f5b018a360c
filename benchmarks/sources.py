"""The same pictures in several layouts: how long `ingest` takes, first and again, and reading them in any order.

    .venv/bin/python benchmarks/sources.py [--images N]

All is made in a temporary folder from pictures drawn by code. Ratios are to class folders, in the same run.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import curriculumnet as cn
from curriculumnet.images.loader import Pictures
from curriculumnet.work.folder import WorkFolder

CATEGORIES = 20
SHARD = 10_000


def pictures(count: int) -> list[tuple[str, str, bytes]]:
    """Return category, name and bytes of JPEG pictures of 64 x 64 pixels, all different."""
    chance = np.random.default_rng(0)
    made = []
    for number in range(count):
        data = io.BytesIO()
        noise = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64), Image.Resampling.BILINEAR).save(data, "JPEG", quality=85)
        made.append((f"category {number % CATEGORIES}", f"{number:09}.jpg", data.getvalue()))
    return made


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), 1_700_000_000
    tar.addfile(member, io.BytesIO(data))


def folders(home: Path, made: list[tuple[str, str, bytes]]) -> Path:
    for category, name, data in made:
        path = home / "folders" / category / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return home / "folders"


def one_tar(home: Path, made: list[tuple[str, str, bytes]]) -> Path:
    with tarfile.open(home / "one.tar", "w") as tar:
        for category, name, data in made:
            add(tar, f"{category}/{name}", data)
    return home / "one.tar"


def shards(home: Path, made: list[tuple[str, str, bytes]]) -> Path:
    (home / "shards").mkdir()
    for start in range(0, len(made), SHARD):
        with tarfile.open(home / "shards" / f"{start // SHARD:06}.tar", "w") as tar:
            for category, name, data in made[start : start + SHARD]:
                add(tar, name, data)
                add(tar, name.replace(".jpg", ".json"), json.dumps({"label": category}).encode())
    return home / "shards"


def zipped(home: Path, made: list[tuple[str, str, bytes]]) -> Path:
    with zipfile.ZipFile(home / "zipped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for category, name, data in made:
            archive.writestr(f"{category}/{name}", data)
    return home / "zipped.zip"


def parquet(home: Path, made: list[tuple[str, str, bytes]]) -> Path:
    cells = [{"bytes": data, "path": name} for _, name, data in made]
    table = pa.table({"image": cells, "label": [category for category, _, _ in made]})
    pq.write_table(table, home / "parquet.parquet", row_group_size=1000)
    return home / "parquet.parquet"


LAYOUTS: dict[str, Callable[[Path, list[tuple[str, str, bytes]]], Path]] = {
    "class folders": folders,
    "a tar of them": one_tar,
    "WebDataset shards": shards,
    "a zip": zipped,
    "Parquet with pictures": parquet,
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reading(work: Path) -> float:
    """Return the microseconds that reading a picture takes, in random order, its digest verified."""
    folder = WorkFolder.open(work)
    images = pq.read_table(folder.file("images.parquet"))
    read = Pictures(images, {key: each["root"] for key, each in folder.project["sources"].items()})
    order = np.random.default_rng(1).permutation(images.num_rows)[:5000].tolist()
    return 1e6 * min(seconds(lambda: [read.read(image) for image in order]) for _ in range(3)) / len(order)


def measured(
    write: Callable[[Path, list[tuple[str, str, bytes]]], Path], made: list[tuple[str, str, bytes]]
) -> tuple[float, float, float]:
    """Return the seconds of a first and a second `ingest`, and the microseconds of reading a picture."""
    with tempfile.TemporaryDirectory() as home:
        source, work = write(Path(home), made), Path(home, "work")

        def ingest() -> None:
            cn.ingest(source, output=work, quiet=True)

        return seconds(ingest), seconds(ingest), reading(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    count = parser.parse_args().images
    made = pictures(count)
    # What is loaded once is no part of any layout.
    measured(folders, made[:200])
    print(f"{count:,} pictures of {sum(len(data) for *_, data in made) / count:,.0f} bytes, {os.cpu_count()} cores")
    print("| layout | ingest, s | again, s | reading one, µs | ratios |")
    print("|---|---|---|---|---|")
    base: tuple[float, float, float] | None = None
    for layout, write in LAYOUTS.items():
        found = measured(write, made)
        base = base or found
        ratios = ", ".join(f"{value / other:.2f}" for value, other in zip(found, base, strict=True))
        print(f"| {layout} | {found[0]:.1f} | {found[1]:.2f} | {found[2]:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
