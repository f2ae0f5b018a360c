"""How fast this machine is at each step, on the crawl in miniature: a table of rates, as Markdown.

Run by ``make bench``; takes a few minutes on two cores. A row of a results page is one run of this, with its heading.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import curriculumnet as cn
from curriculumnet.miniature import make_crawl
from curriculumnet.work.folder import Stopwatch, versions

NETWORK, SIDE, EPOCHS = "resnet18", 64, 1.0
DESIGNED = (500, 2000, 5000)
"""Images in one category, each with `WIDTH` features."""
WIDTH = 512


def steps(folder: Path) -> Iterator[tuple[str, int, str, float]]:
    """Yield each step's name, how many units it worked on, the unit, and its seconds."""
    watch = Stopwatch()
    made = make_crawl(folder / "miniature")
    files = sum(made.counts[kind] for kind in ("right", "confused", "outside", "broken", "test"))
    yield "draw the crawl in miniature", files, "images", watch.seconds

    watch = Stopwatch()
    work = cn.ingest(made.crawl, output=folder / "work", test=made.test, quiet=True).work
    yield "ingest", files, "files", watch.seconds

    watch = Stopwatch()
    trained = cn.train(work, recipe="model-a", model=NETWORK, image_size=SIDE, epochs=EPOCHS, batch_size=64, quiet=True)
    yield f"train {NETWORK} at {SIDE} px", trained.steps * 64, "images", watch.seconds

    watch = Stopwatch()
    cn.embed(work, from_="model-a", quiet=True)
    yield f"embed with {NETWORK} at {SIDE} px", files, "images", watch.seconds

    watch = Stopwatch()
    cn.evaluate(work, quiet=True)
    yield "evaluate, one crop and ten", made.counts["test"], "test images", watch.seconds

    watch = Stopwatch()
    cn.design(work, quiet=True)
    cn.report(work, quiet=True)
    yield "design and report", files, "images", watch.seconds


def designs() -> Iterator[tuple[str, int, str, float]]:
    """Yield the same for the design of one category, by its size."""
    # The first call imports torch.
    cn.CurriculumClustering().fit(np.eye(4, dtype=np.float32))
    for size in DESIGNED:
        features = np.random.default_rng(size).normal(size=(size, WIDTH)).astype(np.float32)
        watch = Stopwatch()
        cn.CurriculumClustering().fit(features)
        yield f"design one category, {WIDTH} features", size, "images", watch.seconds


def heading() -> str:
    """Return what the figures depend on: commit, machine, versions."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "no commit"
    names = ("python", "torch", "timm", "numpy")
    known = ", ".join(f"{name} {versions()[name]}" for name in names)
    return f"{commit} · {platform.machine()}, {os.cpu_count()} cores, {platform.system()} · {known}"


def main() -> None:
    """Measure, and print the table as it grows."""
    print(heading(), "| what | how many | seconds | per second |", "|---|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for rows in (designs(), steps(Path(folder))):
            for what, units, unit, seconds in rows:
                print(f"| {what} | {units:,} {unit} | {seconds:.2f} | {units / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
