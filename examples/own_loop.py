"""Train along a curriculum in a loop of one's own, with torch's DataLoader.

    python examples/own_loop.py WORK

WORK is a work folder with images and a curriculum, as `curriculumnet ingest`, `embed` and `design` leave it. A data set
that never was in a work folder needs two arrays only: the subset and the category of each of its items.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import timm
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import curriculumnet as cn
from curriculumnet.images.decode import decode
from curriculumnet.images.loader import Pictures

MODEL, SIZE, BATCH, STAGE_STEPS, SEED = "test_resnet", 32, 32, (20, 20, 20), 0


class Crawl(Dataset[tuple[torch.Tensor, int]]):
    """The pictures of a work folder by image id, with the index of each one's category."""

    def __init__(self, work: Path) -> None:
        project = json.loads((work / "project.json").read_text(encoding="utf-8"))
        images = pq.read_table(work / "images.parquet")
        self.categories = project["categories"]
        labels = pc.index_in(images["label"], pa.array(self.categories))
        self.labels = pc.fill_null(labels, -1).to_numpy().astype(np.int64)
        self.pictures = Pictures(images, {name: source["root"] for name, source in project["sources"].items()})
        crop = v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0))
        self.view = v2.Compose(
            [crop, v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.25])]
        )

    def __getitem__(self, image_id: int) -> tuple[torch.Tensor, int]:
        pixels = self.pictures.decoded(int(image_id), decode)
        return self.view(torch.tensor(pixels).permute(2, 0, 1)), self.labels[image_id]


def batches_of(work: Path, labels: np.ndarray) -> cn.CurriculumBatches:
    """Return the batches of model-d along the newest curriculum: image ids, half of each batch clean."""
    found = [path for path in (work / "curricula").glob("*.parquet") if not path.name.startswith("categories-")]
    curriculum = pq.read_table(max(found, key=lambda path: path.stat().st_mtime))
    subsets = np.full(len(labels), -1)
    subsets[curriculum["image_id"]] = curriculum["subset"]
    return cn.CurriculumBatches.of(
        subsets, labels, recipe="model-d", batch_size=BATCH, stage_steps=STAGE_STEPS, seed=SEED
    )


def main() -> None:
    """Train, and print the loss of the clean places, which are there in every stage."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "images.parquet").is_file():
        sys.exit("Usage: python examples/own_loop.py WORK, a work folder with a curriculum")
    work = Path(sys.argv[1])
    crawl = Crawl(work)
    batches = batches_of(work, crawl.labels)
    torch.manual_seed(SEED)
    network = timm.create_model(MODEL, num_classes=len(crawl.categories))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    # Of several processes, as torchrun starts them, each has every world-th place, and so some of every subset. (Then
    # the network goes into DistributedDataParallel, which takes the mean of their gradients.)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    loader = DataLoader(crawl, batch_sampler=(batch[rank::world] for batch in batches), num_workers=1)
    recent: list[float] = []
    for step, (views, targets) in enumerate(loader):
        index, stage = batches.stage(step)
        weights = torch.from_numpy(stage.place_weights())[rank::world]
        losses = torch.nn.functional.cross_entropy(network(views), targets, reduction="none")
        # The weights are the paper's r: divided by B, not by their sum, so that noisy images pull half as much.
        loss = (weights * losses).sum() * world / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent.append(losses[torch.from_numpy(stage.place_subsets())[rank::world] == 0].mean().item())
        if (step + 1) % 10 == 0:
            print(f"step {step + 1} of {len(batches)}, stage {index + 1}: loss {np.mean(recent[-10:]):.3f}")


if __name__ == "__main__":
    main()
