"""How much memory `ingest` takes by the number of files: the peak of the process, and of its largest worker.

The pictures are small and all different, so that nothing is saved by copies. Give numbers of files as arguments; a
million take about ten minutes and 4 GB of disk. With ``tar`` as the first argument they lie in a tar.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg

CATEGORIES = 100
SIDE = 32
INGEST = """
import json, resource, sys
import curriculumnet as cn
done = cn.ingest(sys.argv[1], output=sys.argv[2], quiet=True, workers=1)
most = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([done.seen, done.states, done.seconds, *most]))
"""


def pictures(n: int) -> Iterator[tuple[str, bytes]]:
    """Give names and JPEGs of random patterns."""
    rng = np.random.default_rng(0)
    for number in range(n):
        coarse = rng.integers(0, 256, (SIDE // 2, SIDE // 2, 3), dtype=np.uint8)
        pixels = np.ascontiguousarray(coarse.repeat(2, axis=0).repeat(2, axis=1))
        yield f"category {number % CATEGORIES:03}/picture {number:08}.jpg", simplejpeg.encode_jpeg(pixels)


def write(home: Path, n: int, as_tar: bool) -> Path:
    """Write the pictures; return the source."""
    if as_tar:
        with tarfile.open(home / "crawl.tar", "w") as tar:
            for name, data in pictures(n):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                tar.members = []
        return home / "crawl.tar"
    for name, data in pictures(n):
        path = home / "crawl" / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return home / "crawl"


def main() -> None:
    """Measure, and print the table as it grows."""
    as_tar = "tar" in sys.argv[1:]
    sizes = [int(number) for number in sys.argv[1:] if number != "tar"] or [10_000, 100_000]
    print(
        "| files | in | seconds | MB | bytes a file above the first | MB of the worker |",
        "|---|---|---|---|---|---|",
        sep="\n",
    )
    first = None
    for n in sizes:
        with tempfile.TemporaryDirectory() as home:
            source = write(Path(home), n, as_tar)
            command = [sys.executable, "-c", INGEST, str(source), str(Path(home, "work"))]
            start = time.perf_counter()
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            seconds = time.perf_counter() - start
            seen, _, _, most, worker = json.loads(out)
        first = first or (seen, most)
        each = f"{(most - first[1]) * 2**20 / (seen - first[0]):.0f}" if seen > first[0] else ""
        kind = "a tar" if as_tar else "a folder"
        print(f"| {seen:,} | {kind} | {seconds:.0f} | {most:.0f} | {each} | {worker:.0f} |", flush=True)


if __name__ == "__main__":
    main()
