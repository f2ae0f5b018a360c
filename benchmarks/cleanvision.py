"""How long ``curriculumnet ingest`` takes beside CleanVision over the same real JPEGs: ratios measured in one run.

``python benchmarks/cleanvision.py photographs.tar`` takes its 2,000 photographs from any folder or tar (by default they
are pieces of scikit-learn's two), encoded anew at about 500 x 375. Two things are timed with the same number of worker
processes: the whole process that a user waits for, from the start of Python; and in it the call alone after the
imports, the start of the workers included, to which the former comes near for larger crawls. `ingest` does all its work
each time, into a new work folder; CleanVision does all its checks, or finds exact and near duplicates only. Needs the
extra `compare`, and says so without it; run by ``make bench``.
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

INGEST = """
import sys, time
from curriculumnet.ingestion.step import ingest

if __name__ == "__main__":
    start = time.perf_counter()
    ingest(sys.argv[1], output=sys.argv[3], workers=int(sys.argv[2]), quiet=True)
    print(time.perf_counter() - start)
"""
CLEANVISION = """
import sys, time
from cleanvision import Imagelab

if __name__ == "__main__":
    start = time.perf_counter()
    kinds = {name: {} for name in sys.argv[3:]}
    Imagelab(data_path=sys.argv[1]).find_issues(kinds or None, n_jobs=int(sys.argv[2]))
    print(time.perf_counter() - start)
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


def seconds(program: str, *arguments: str) -> tuple[float, float]:
    """Return how long a process takes, and the call in it, which it prints last."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, float(done.stdout.split()[-1])


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
    taken: dict[str, list[tuple[float, float]]] = {"ingest": [], "all its checks": [], "its hashes only": []}
    with tempfile.TemporaryDirectory() as home:
        crawl = Path(home, "crawl")
        size = write_crawl(crawl, arguments.source, arguments.count)
        for number in range(arguments.repeats):
            work = str(Path(home, f"work-{number}"))
            taken["ingest"].append(seconds(INGEST, str(crawl), processes, work))
            taken["all its checks"].append(seconds(CLEANVISION, str(crawl), processes))
            taken["its hashes only"].append(seconds(CLEANVISION, str(crawl), processes, *HASHES))
    print(f"{arguments.count:,} JPEGs of {SIZE[0]} x {SIZE[1]}, {size / 1e6:.0f} MB, worker processes: {processes}\n")
    print(f"| CleanVision {version} | timed | s | ingest, s | times as fast |", "|---|---|---|---|---|", sep="\n")
    ours = taken.pop("ingest")
    for what, theirs in taken.items():
        for place, timed in enumerate(("the process", "the call")):
            mine, other = (statistics.median(each[place] for each in runs) for runs in (ours, theirs))
            print(f"| {what} | {timed} | {other:.1f} | {mine:.1f} | {other / mine:.1f} |")


if __name__ == "__main__":
    main()
