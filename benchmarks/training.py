"""How fast a training is: beside a bare loop, beside a loop over timm's loader, in two processes; and its memory.

Pictures are pieces of photographs, as in images.py, in class folders. A bare loop is what one writes first: the same
network, batch, optimiser and arithmetic, and one batch of tensors in memory, which is shown again and again. The loop
over timm's loader reads the same folder by `create_loader`, with random-resized crops and mirroring as ours and as many
workers. Ours is `curriculumnet.train` with model-a, read from disk, with its moving average and its records; its pace
is the difference between a long and a short training. What is compared is measured in turn; each figure is a median of
`REPEATS`. ``--device cuda`` for a GPU, ``--only`` for some of the parts. Part of ``make bench``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from images import encoded, photographs
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2

import curriculumnet as cn
from curriculumnet.images.loader import worker_count
from curriculumnet.networks.create import create
from curriculumnet.networks.device import native_precision, resolve_device

REPEATS = 3
SECONDS = 8.0
"""About how long one measurement takes."""
SHORT = 4
"""Steps of the short training."""
STEPS = 10_000
"""Steps over which memory is watched."""
CASES = (
    # size of the pictures, input, network, first layer for small pictures, how many pictures, batch on a CPU, and what
    # is asked of the ratio to the bare loop and to timm's loader
    ((500, 375), 224, "resnet18", False, 600, 16, "0.97", "1.0"),
    ((64, 64), 64, "test_resnet", True, 2000, 64, "0.90", "1.0"),
    ((1600, 1200), 64, "test_resnet", True, 300, 16, "", "1.3"),
)
PARTS = ("loops", "processes", "memory")


def crawl(home: Path, size: tuple[int, int], n: int) -> tuple[Path, Path, int]:
    """Write n pictures in two categories; return their folder, a work folder, and how many of them are used."""
    found = home / f"{size[0]}x{size[1]}"
    for number, data in enumerate(encoded(photographs(None, n), size)):
        folder = found / f"category {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.jpg").write_bytes(data)
    work = found.with_name(f"{found.name}-work")
    return found, work, cn.ingest(found, output=work, val_share=0, quiet=True).states["used"]


def seconds(work: Callable[[], object], device: str) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class Loop:
    """The same network, optimiser and arithmetic as those of a training, and a step."""

    def __init__(self, model: str, image_size: int, small_stem: bool, device: str) -> None:
        self.device = resolve_device(device)
        self.network = create(model, 2, image_size=image_size, small_stem=small_stem).to(
            self.device, memory_format=torch.channels_last
        )
        self.optimizer = create_optimizer_v2(self.network, opt="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.precision = native_precision(self.device)

    def step(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Forward, backward, step."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            logits = self.network(inputs)
        torch.nn.functional.cross_entropy(logits.float(), targets).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def bare(loop: Loop, batch: int, image_size: int, steps: int) -> None:
    """Step along one batch in memory."""
    inputs = torch.randn(batch, 3, image_size, image_size, device=loop.device).to(memory_format=torch.channels_last)
    targets = torch.zeros(batch, dtype=torch.int64, device=loop.device)
    for _ in range(steps):
        loop.step(inputs, targets)


def over_timm(loop: Loop, folder: Path, batch: int, image_size: int, steps: int) -> float:
    """Step along timm's loader; return the seconds of all steps but the first few."""
    loader = create_loader(
        create_dataset("", str(folder), is_training=True),
        (3, image_size, image_size),
        batch,
        is_training=True,
        scale=(0.35, 1.0),
        hflip=0.5,
        color_jitter=None,
        interpolation="bilinear",
        num_workers=worker_count(None),
        device=loop.device,
        use_prefetcher=loop.device.type == "cuda",
        persistent_workers=True,
    )
    done, start = 0, 0.0
    while True:
        for views, wanted in loader:
            loop.step(views.to(loop.device, memory_format=torch.channels_last), wanted.to(loop.device))
            done += 1
            if done == SHORT:
                start = time.perf_counter()
            if done == SHORT + steps:
                if loop.device.type == "cuda":
                    torch.cuda.synchronize()
                return time.perf_counter() - start


def ours(work: Path, n: int, steps: int, batch: int, **settings: Any) -> tuple[float, float]:
    """Return the seconds of some steps of a training, and the share of the time in which it waited for pictures."""
    taken = []
    for name, length in (("short", SHORT), ("long", SHORT + steps)):
        start = time.perf_counter()
        done = cn.train(
            work,
            recipe="model-a",
            name=name,
            epochs=(length - 0.5) * batch / n,
            batch_size=batch,
            seed=time.time_ns() % 2**32,
            checkpoint_minutes=1e6,
            quiet=True,
            **settings,
        )
        taken.append(time.perf_counter() - start)
    rows = done.table().to_pylist()
    return taken[1] - taken[0], statistics.median(row["value"] for row in rows if row["metric"] == "wait_share")


def loops(home: Path, device: str) -> None:
    """Print the table of all three loops."""
    print("| pictures | network | GMAC | images/s | bare loop | ratio | asked | timm's loader | ratio | asked |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    notes = []
    for size, image_size, model, small_stem, n, batch_on_cpu, than_bare, than_timm in CASES:
        batch = batch_on_cpu * (8 if device == "cuda" else 1)
        folder, work, used = crawl(home, size, n)
        loop = Loop(model, image_size, small_stem, device)
        in_memory = partial(bare, loop, batch, image_size)
        seconds(partial(in_memory, 3), device)
        pace = seconds(partial(in_memory, 3), device) / 3
        # Where decoding dominates, a training takes many times as long as the bare loop.
        steps = max(10, min(2**28 // (size[0] * size[1] * batch), round(SECONDS / pace)))
        settings = {"model": model, "image_size": image_size, "small_stem": small_stem, "device": device}
        rates: dict[str, list[float]] = {"bare": [], "ours": [], "timm": []}
        waited = []
        for _ in range(REPEATS):
            least = seconds(partial(in_memory, steps), device)
            taken, share = ours(work, used, steps, batch, **settings)
            waited.append(share)
            for name, each in (
                ("bare", least),
                ("ours", taken),
                ("timm", over_timm(loop, folder, batch, image_size, steps)),
            ):
                rates[name].append(steps * batch / each)
        mine, theirs, timms = (statistics.median(rates[name]) for name in ("ours", "bare", "timm"))
        print(
            f"| {size[0]} × {size[1]} | {model}, {image_size} px | {macs(loop.network, image_size) / 1e9:.2f} | "
            f"{mine:,.0f} | {theirs:,.0f} | {mine / theirs:.2f} | {than_bare} | {timms:,.0f} | {mine / timms:.2f} | "
            f"{than_timm} |",
            flush=True,
        )
        notes.append(f"{statistics.median(waited):.1%}")
    print(f"\nWaiting for pictures: {', '.join(notes)} of the time. {str(loop.precision).removeprefix('torch.')}.")


def macs(network: torch.nn.Module, image_size: int) -> int:
    """Return the multiplications of a network's convolutions and linear layers for one picture."""
    found = []

    def count(layer: Any, _given: Any, out: torch.Tensor) -> None:
        found.append(layer.weight.numel() * out.numel() // out.shape[1])

    layers = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [each.register_forward_hook(count) for each in layers]
    weight = next(network.parameters())
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, image_size, image_size, device=weight.device))
    network.train()
    for hook in hooks:
        hook.remove()
    return sum(found)


def processes(home: Path) -> None:
    """Print how much faster two processes of one thread are than one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    _, work, used = crawl(home, (64, 64), 2000)
    settings = {"model": "test_resnet", "image_size": 64, "small_stem": True, "device": "cpu", "workers": 0}
    one, two = [], []
    for _ in range(REPEATS):
        one.append(ours(work, used, 60, 32, **settings)[0])
        two.append(ours(work, used, 60, 32, **settings, devices=2)[0])
    ratio = statistics.median(one) / statistics.median(two)
    print(f"\nTwo processes of one thread: {ratio:.2f} times as fast as one (asked 1.7); test_resnet, 64 px, batch 32.")


TRAINED = """
import sys
import curriculumnet as cn

if __name__ == "__main__":
    n, steps = int(sys.argv[2]), int(sys.argv[3])
    cn.train(sys.argv[1], recipe="model-a", model="test_resnet", image_size=32, small_stem=False, batch_size=8,
             epochs=(steps - 0.5) * 8 / n, device="cpu", workers=0, quiet=True)
"""


def memory(home: Path) -> None:
    """Print how much memory a long training takes at its beginning and at its end."""
    _, work, used = crawl(home, (32, 32), 400)
    command = [sys.executable, "-c", TRAINED, str(work), str(used), str(STEPS)]
    seen = []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            said = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], capture_output=True, text=True)
            if said.stdout.strip():
                seen.append(int(said.stdout) / 1024)
            time.sleep(1)
    tenth = max(1, len(seen) // 10)
    early, late = (statistics.median(part) for part in (seen[tenth : 2 * tenth], seen[-tenth:]))
    print(
        f"\nMemory over {STEPS:,} steps: after a tenth {early:.0f} MB, in the end {late:.0f} ({late / early - 1:+.1%})."
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    asked = parser.parse_args()
    machine = torch.cuda.get_device_name() if asked.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, timm {timm.__version__}, {machine}\n")
    with tempfile.TemporaryDirectory() as home:
        if "loops" in asked.only:
            loops(Path(home, "loops"), asked.device)
        if "processes" in asked.only:
            processes(Path(home, "processes"))
        if "memory" in asked.only:
            memory(Path(home, "memory"))


if __name__ == "__main__":
    main()
