"""How fast views come from the cache: beside an in-memory uint8 loader, and beside decoding in each epoch.

The in-memory loader is torchvision's: a Dataset that holds the same pixels as uint8 tensors, RandomResizedCrop and
RandomHorizontalFlip (v2), torch's DataLoader with as many workers. It is measured with tensors whose channels come
first, as is usual, and last, which torch resizes faster; what counts is the faster one.

The pictures are those of benchmarks/images.py, or of a folder or tar that is named as an argument. Each figure is a
median of `REPEATS`; what is compared is measured in turn, so that other work on the machine hits all alike. Run by
``make bench``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from images import encoded, photographs
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from curriculumnet.images.cache import CachedPictures, Layout, decoded, kept_side, write
from curriculumnet.images.loader import Pictures, even_batches, load, worker_count
from curriculumnet.images.views import TrainingView

CASES = (((500, 375), 224), ((1600, 1200), 224), ((64, 64), 64))
"""Size of the pictures, and the input's height and width."""
SCALE = (0.35, 1.0)
COPIES = 4
"""How often each picture lies there: all together they are to be larger than the processor's caches."""
PASSES = 8
"""How often each copy is shown in one measurement: starting the workers is to take a small part of it."""
REPEATS = 7
BATCH = 32


class InMemory(Dataset[torch.Tensor]):
    """Pictures as uint8 tensors in memory."""

    def __init__(self, pictures: list[torch.Tensor], ids: np.ndarray, view: Callable[[torch.Tensor], torch.Tensor]):
        self._pictures, self._ids, self._view = pictures, ids.tolist(), view

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, number: int) -> torch.Tensor:
        return self._view(self._pictures[self._ids[number]])


class Taken(NamedTuple):
    """Milliseconds a picture by the clock, and of the processor: this process and its workers together."""

    clock: float
    processor: float


def milliseconds(works: dict[str, Callable[[], Iterable[object]]], n: int) -> dict[str, Taken]:
    """Return the medians of what each piece of work on `n` pictures takes."""
    taken: dict[str, list[Taken]] = {name: [] for name in works}
    for _ in range(REPEATS):
        for name, work in works.items():
            start = Taken(time.perf_counter(), sum(os.times()[:4]))
            for _ in work():
                pass
            end = Taken(time.perf_counter(), sum(os.times()[:4]))
            taken[name].append(Taken(*((last - first) / n * 1e3 for first, last in zip(start, end, strict=True))))
    return {name: Taken(*map(statistics.median, zip(*each, strict=True))) for name, each in taken.items()}


def measure(data: list[bytes], size: tuple[int, int], side: int, workers: int) -> None:
    """Print the rows of one case."""
    with tempfile.TemporaryDirectory() as home:
        names = [f"{number:04d}.jpg" for number in range(len(data))]
        for name, each in zip(names, data, strict=True):
            Path(home, name).write_bytes(each)
        pictures = Pictures(pa.table({"source": ["crawl"] * len(names), "file_name": names}), {"crawl": home})
        width, height = (np.full(len(data), length) for length in size)
        layout = Layout.plan(width, height, kept_side(side, SCALE[0]))
        path = Path(home, "cache")

        def made() -> Iterable[object]:
            with path.open("wb") as file:
                write(file, layout, {}, (pixels for _, pixels in decoded(pictures, layout, workers)))
            yield path

        once = milliseconds({"made": made}, len(data))["made"]
        shape = (-1, *layout.sizes[0, :2], 3)
        kept = torch.from_numpy(np.concatenate([found for _, found in decoded(pictures, layout, 0)]).reshape(shape))
        last = list(kept.permute(0, 3, 1, 2))
        first = [picture.contiguous() for picture in last]

        ids = np.concatenate([np.random.default_rng(number).permutation(len(data)) for number in range(PASSES)])
        view = TrainingView(side, scale=SCALE)
        theirs = v2.Compose([v2.RandomResizedCrop(side, scale=SCALE, antialias=True), v2.RandomHorizontalFlip()])

        def ours(source: Pictures | CachedPictures) -> Iterable[object]:
            return load(source, even_batches(ids, BATCH), view, workers=workers)

        def in_memory(tensors: list[torch.Tensor]) -> Iterable[object]:
            return DataLoader(InMemory(tensors, ids, theirs), batch_size=BATCH, num_workers=workers)

        took = milliseconds(
            {
                "first": lambda: in_memory(first),
                "last": lambda: in_memory(last),
                "cache": lambda: ours(CachedPictures(path)),
            },
            len(ids),
        )
        ids = ids[: len(data)]
        files = milliseconds({"files": lambda: ours(pictures)}, len(ids))["files"]
        ratios = [min(first, last) / cache for first, last, cache in zip(*took.values(), strict=True)]
        kilobytes = [layout.bytes / len(data) / 1e3, sum(map(len, data)) / len(data) / 1e3]
        times = [f"{each.clock:.2f}, {each.processor:.2f}" for each in (once, files, *took.values())]
        cells = [f"{size[0]} × {size[1]}, {side}", *(f"{each:.0f}" for each in kilobytes), *times]
        print("|", " | ".join([*cells, ", ".join(f"{ratio:.2f}" for ratio in ratios)]), "|", flush=True)


def main() -> None:
    """Measure, and print the table as it grows."""
    torch.set_num_threads(1)
    workers = min(2, worker_count(None))
    photos = list(photographs(sys.argv[1] if len(sys.argv) > 1 else None))
    print(
        f"Milliseconds a picture by the clock, and of the processor; workers: {workers}. The last column is the faster",
        "of the two in memory divided by the cache.",
        "",
        "| pictures, input | kB kept | kB the file | made, once | decoding, each epoch | in memory, channels first "
        "| channels last | cache | in memory / cache |",
        "|---|---|---|---|---|---|---|---|---|",
        sep="\n",
    )
    for size, side in CASES:
        measure(COPIES * list(encoded(photos, size)), size, side, workers)


if __name__ == "__main__":
    main()
