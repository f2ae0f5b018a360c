"""How fast a category is ordered, beside a plain reading of the procedure, the limit, and cleanlab's Datalab.

Features are synthetic: in each category most rows lie around a few places of its own and the others anywhere, as those
of a crawl do. Ratios are measured in one run and in turn; each figure is a median of five. The plain reading is what
one writes down after the paper: the whole matrix of distances in numpy, all of them sorted, a pass for each image, and
scikit-learn's k-means; before it, PCA to 256 columns where there are more, as the authors' code does. Without PCA its
results are compared with ours. The limit is half of the product of the features with themselves, which every exact way
takes. ``--datalab`` needs the extra `compare` and takes long, ``--gpu`` a GPU. Part of ``make bench``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculumnet.curriculum.density import density_peaks
from curriculumnet.curriculum.estimator import CurriculumClustering
from curriculumnet.curriculum.landmarks import landmark_peaks
from curriculumnet.curriculum.methods import CategoryDesign, Options, design_category
from curriculumnet.curriculum.subsets import split
from curriculumnet.curriculum.threads import thread_count

SIZES = ((2440, 256), (2440, 512), (2440, 1024), (8000, 1024))
REPEATS = 5
PERCENT, SUBSETS = 60, 3
LIMIT = 900
"""Seconds that Datalab is waited for."""


def features(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """Return one category's features."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(5, d))
    own = places[rng.integers(0, 5, n)] * (rng.random(n) < 0.7)[:, None]
    return np.asarray(np.maximum(0.7 * own + rng.normal(0.3, 0.7, (n, d)), 0), dtype=np.float32)


def plain(rows: NDArray[np.float32], pca: bool) -> dict[str, Any]:
    """Order a category as the paper is read."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if pca and rows.shape[1] > 256:
        rows = PCA(256).fit_transform(rows)
    n = len(rows)
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distances, 0)
    cutoff = np.sort(distances.ravel())[n * n * PERCENT // 100]
    density = np.array([np.count_nonzero(distances[i] < cutoff) - 1 for i in range(n)])
    delta = np.empty(n)
    for i in range(n):
        denser = distances[i][density > density[i]]
        delta[i] = denser.min() if len(denser) else distances[i].max()
    centre = int(density.argmax())
    clusters = KMeans(SUBSETS, n_init=10, random_state=0).fit(distances[centre][:, None])
    return {
        "cutoff": cutoff,
        "density": density,
        "delta": delta,
        "centre": centre,
        "distance": distances[centre],
        "inertia": clusters.inertia_,
    }


def ours(rows: NDArray[np.float32]) -> CategoryDesign:
    """Order a category by the package."""
    return design_category(rows, None, "density", Options(n_subsets=SUBSETS, cutoff_percent=PERCENT))


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def differences(rows: NDArray[np.float32]) -> str:
    """Say how far our results are from those of the plain reading in float64."""
    theirs, found = plain(rows.astype(np.float64), pca=False), ours(rows).ordering
    density = np.abs(found.columns["density"] - theirs["density"])
    doubt = theirs["distance"]
    subset = split(doubt, SUBSETS)
    inertia = sum(((doubt[subset == k] - doubt[subset == k].mean()) ** 2).sum() for k in range(SUBSETS))
    short = theirs["density"].max() - theirs["density"][found.centre]
    return (
        f"d_c by {abs(found.cutoff / theirs['cutoff'] - 1):.0e}, density of {(density > 0).mean():.2%} of images by at "
        f"most {density.max():.0f}, the centre's density {short} from the best, inertia on the same distances "
        f"{inertia / theirs['inertia']:.6f} of scikit-learn's"
    )


def beside_the_plain_reading() -> None:
    """Print the table."""
    print("| images | columns | ours, ms | plain, ms | times as fast | limit, ms | ours / limit |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for n, d in SIZES:
        rows = features(n, d)
        other = rows.copy()
        ours(rows)
        taken: dict[str, list[float]] = {"ours": [], "plain": [], "limit": []}
        for _ in range(REPEATS):
            for name, work in (
                ("ours", lambda rows=rows: ours(rows)),
                ("plain", lambda rows=rows: plain(rows, pca=True)),
                ("limit", lambda rows=rows, other=other: rows @ other.T),
            ):
                taken[name].append(seconds(work))
                # Threads of the products library turn in circles for a while after their work.
                time.sleep(0.5)
        ms = {name: statistics.median(each) * 1e3 for name, each in taken.items()}
        limit = ms["limit"] / 2
        print(
            f"| {n:,} | {d:,} | {ms['ours']:.1f} | {ms['plain']:.0f} | {ms['plain'] / ms['ours']:.1f} | {limit:.1f} | "
            f"{ms['ours'] / limit:.2f} |",
            flush=True,
        )
        notes.append(f"{n:,} x {d:,}: {differences(rows)}.")
    print("\nFrom a reading in float64, without PCA, differ:", *notes, sep="\n")


DATALAB = """
import sys, time
import numpy as np
from cleanlab import Datalab

if __name__ == "__main__":
    X, y = np.load(sys.argv[1]), np.load(sys.argv[2])
    start = time.perf_counter()
    Datalab({"label": y}, label_name="label", verbosity=0).find_issues(features=X)
    print(time.perf_counter() - start)
"""


def beside_datalab(asked: list[int]) -> None:
    """Print the table: the same features and labels, each ranked by both."""
    try:
        version = metadata.version("cleanlab")
    except metadata.PackageNotFoundError:
        print("The comparison with Datalab needs the extra `compare`: pip install 'curriculumnet[compare]'")
        return
    print(f"| images | categories | ours, s | Datalab of cleanlab {version}, s | times as fast |")
    print("|---|---|---|---|---|")
    for n in asked:
        rows = np.concatenate([features(n // 100, 256, seed) for seed in range(100)])
        labels = np.repeat(np.arange(100), n // 100)
        CurriculumClustering().fit(rows[:1000], labels[:1000])
        mine = statistics.median(
            seconds(lambda X=rows, y=labels: CurriculumClustering().fit(X, y)) for _ in range(REPEATS)
        )
        with tempfile.TemporaryDirectory() as home:
            paths = [str(Path(home, name)) for name in ("features.npy", "labels.npy")]
            np.save(paths[0], rows)
            np.save(paths[1], labels)
            try:
                done = subprocess.run(
                    [sys.executable, "-c", DATALAB, *paths], check=True, capture_output=True, text=True, timeout=LIMIT
                )
            except subprocess.TimeoutExpired:
                print(f"| {n:,} | 100 | {mine:.2f} | not done in {LIMIT} | more than {LIMIT / mine:.0f} |", flush=True)
                continue
        theirs = float(done.stdout.split()[-1])
        print(f"| {n:,} | 100 | {mine:.2f} | {theirs:.1f} | {theirs / mine:.0f} |", flush=True)


ON_GPU = ((2440, 1024, True), (8000, 1024, True), (30_000, 512, True), (100_000, 512, True), (1_000_000, 256, False))
"""Images, columns, and whether the processor is measured exactly, too."""


def on_gpu() -> None:
    """Print the table: the same category by the processor and by a GPU, and the limit there."""
    import torch

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {thread_count()} cores\n")
    print("| images | columns | way | processor, s | GPU, s | limit of the GPU, s | memory of the GPU, MB |")
    print("|---|---|---|---|---|---|---|")
    density_peaks(features(2000, 64), device="cuda")
    for n, d, on_processor in ON_GPU:
        rows = features(n, d)
        repeats = REPEATS if n <= 10_000 else 1
        for way, work in (("exact", density_peaks), ("landmarks", landmark_peaks)):
            if way == "landmarks" and n <= 50_000:
                continue
            alone = on_processor or way == "landmarks"
            here = [seconds(lambda work=work, rows=rows: work(rows)) for _ in range(repeats)] if alone else []
            torch.cuda.reset_peak_memory_stats()
            there = [seconds(lambda work=work, rows=rows: work(rows, device="cuda")) for _ in range(repeats)]
            memory = torch.cuda.max_memory_allocated() / 1e6
            processor = f"{statistics.median(here):.2f}" if here else "not run"
            limit = f"{_product(torch.from_numpy(rows).cuda()) / 2:.3f}" if way == "exact" else ""
            print(f"| {n:,} | {d:,} | {way} | {processor} | {statistics.median(there):.3f} | {limit} | {memory:,.0f} |")


def _product(rows: Any) -> float:
    """Return the seconds that a product of a tensor's rows with themselves takes, a strip at a time."""
    import torch

    height = max(1, 2**28 // len(rows))

    def work() -> None:
        for start in range(0, len(rows), height):
            rows[start : start + height] @ rows.T
        torch.cuda.synchronize()

    rows[:64] @ rows.T
    torch.cuda.synchronize()
    return seconds(work)


def main() -> None:
    """Measure, and print the tables as they grow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datalab", type=int, nargs="*", metavar="IMAGES", help="beside cleanlab's Datalab instead")
    parser.add_argument("--gpu", action="store_true", help="on a GPU instead")
    asked = parser.parse_args()
    if asked.gpu:
        on_gpu()
    elif asked.datalab is None:
        beside_the_plain_reading()
    else:
        beside_datalab(asked.datalab or [20_000, 50_000, 200_000])


if __name__ == "__main__":
    main()
