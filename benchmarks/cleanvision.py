"""How long ``curriculumnet ingest`` takes beside CleanVision over the same real JPEGs: ratios measured in one run.

``python benchmarks/cleanvision.py photographs.tar`` takes its 2,000 photographs from any folder or tar (by default they
are pieces of scikit-learn's two), encoded anew at about 500 x 375. What is timed is what a user waits for: a whole
process, from the start of Python over its workers to the result, with the same number of processes. `ingest` does all
its work each time, into a new work folder; CleanVision does all its checks, or finds exact and near duplicates only.
Needs the extra `compare`, and says so without it; run by ``make bench``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from images import encoded, photographs

from curriculumnet.images.loader import worker_count

SIZE = (500, 375)

INGEST = "from curriculumnet.cli import main; main()"
CLEANVISION = """
import sys
from cleanvision import Imagelab

if __name__ == "__main__":
    kinds = {name: {} for name in sys.argv[3:]}
    Imagelab(data_path=sys.argv[1]).find_issues(kinds or None, n_jobs=int(sys.argv[2]))
"""
HASHES = ("exact_duplicates", "near_duplicates")


def write_crawl(home: Path, source: str | None, count: int) -> int:
    """Write the photographs as JPEGs of two categories; return how many bytes they take."""
    total = 0
    for number, data in enumerate(encoded(photographs(source, count), SIZE)):
        path = home / str(number % 2) / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        total += len(data)
    return total


def seconds(program: str, *arguments: str) -> float:
    """Return how long a process takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", help="a folder or tar of photographs")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=worker_count(None))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    try:
        version = metadata.version("cleanvision")
    except metadata.PackageNotFoundError:
        print("The comparison with CleanVision needs the extra `compare`: pip install 'curriculumnet[compare]'")
        return
    processes = str(arguments.processes)
    taken: dict[str, list[float]] = {"ingest": [], "all its checks": [], "its hashes only": []}
    with tempfile.TemporaryDirectory() as home:
        crawl = Path(home, "crawl")
        size = write_crawl(crawl, arguments.source, arguments.count)
        for number in range(arguments.repeats):
            work = str(Path(home, f"work-{number}"))
            flags = ("--workers", processes, "--quiet")
            taken["ingest"].append(seconds(INGEST, "ingest", str(crawl), "-o", work, *flags))
            taken["all its checks"].append(seconds(CLEANVISION, str(crawl), processes))
            taken["its hashes only"].append(seconds(CLEANVISION, str(crawl), processes, *HASHES))
    print(f"{arguments.count:,} JPEGs of {SIZE[0]} x {SIZE[1]}, {size / 1e6:.0f} MB, {processes} processes\n")
    ours = statistics.median(taken.pop("ingest"))
    print("| ours | s | CleanVision", version, "| s | times as fast |", "\n|---|---|---|---|---|")
    for what, each in taken.items():
        other = statistics.median(each)
        print(f"| ingest | {ours:.1f} | {what} | {other:.1f} | {other / ours:.1f} |")


if __name__ == "__main__":
    main()
