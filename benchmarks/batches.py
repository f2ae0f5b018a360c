"""How long the batches of a training take to build and to draw by the number of images, and how much memory.

Given are two arrays, the subset (int8) and the category (int64) of each image: three subsets with 52, 33 and 15 % of
the images, and categories of which the first is the largest by far. Drawn are batches of 256 of the last stage of
model-d, in which all subsets take part, here and there. Each number of images is a process of its own; the memory is
its peak above the two arrays, and what the batches keep. Give numbers of images and categories as arguments, such as
``2000000:10000``. Part of ``make bench``.
"""

from __future__ import annotations

import json
import subprocess
import sys

SIZES = ("20000:100", "2000000:10000", "20000000:100000")
MEASURE = """
import json, resource, statistics, sys, time
import numpy as np
import curriculumnet as cn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)

def drawn(batches, numbers):
    start = time.perf_counter()
    for number in numbers:
        batches[number]
    return len(numbers) / (time.perf_counter() - start)

if __name__ == "__main__":
    n, categories = int(sys.argv[1]), int(sys.argv[2])
    cn.CurriculumBatches.of(np.arange(6) % 3, np.arange(6) % 2)
    subsets, labels = np.empty(n, np.int8), np.empty(n, np.int64)
    rng = np.random.default_rng(0)
    # In parts, so that the peak of memory is not that of making the arrays.
    for first in range(0, n, 100_000):
        part = slice(first, first + 100_000)
        chance = rng.random(len(subsets[part]))
        subsets[part] = np.searchsorted([0.52, 0.85], chance)
        labels[part] = categories * rng.random(len(chance)) ** 2
    before, start = peak(), time.perf_counter()
    batches = cn.CurriculumBatches.of(subsets, labels)
    built = time.perf_counter() - start
    above = peak() - before
    kept = sum(array.nbytes for pool in batches.pools for array in (pool.ids, pool.starts) if array is not None)
    numbers = rng.integers(batches.stages[-1].first, len(batches), 2_000).tolist()
    drawn(batches, numbers[:200])
    rate = statistics.median(drawn(batches, numbers) for _ in range(5))
    print(json.dumps([built, above, kept / 2**20, rate, len(batches)]))
"""


def main() -> None:
    """Measure, and print the table."""
    print(
        "| images | categories | batches in all | built, s | peak above the arrays, MB | kept, MB | batches/s "
        "| µs a batch |",
        "|---|---|---|---|---|---|---|---|",
        sep="\n",
    )
    for size in sys.argv[1:] or SIZES:
        n, categories = (int(number) for number in size.split(":"))
        command = [sys.executable, "-c", MEASURE, str(n), str(categories)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        built, above, kept, rate, steps = json.loads(done.stdout)
        cells = [f"{n:,}", f"{categories:,}", f"{steps:,}", f"{built:.2f}", f"{above:.0f}", f"{kept:.0f}"]
        print("|", " | ".join([*cells, f"{rate:,.0f}", f"{1e6 / rate:,.0f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
