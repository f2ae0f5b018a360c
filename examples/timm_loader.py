"""Train along a curriculum with timm's data set, transforms and loader.

    python examples/timm_loader.py WORK

WORK is a work folder with images and a curriculum, as `curriculumnet ingest`, `embed` and `design` leave it.

timm's `create_loader` makes its sampler itself, and takes neither another one nor batches. But what it returns is
torch's DataLoader with timm's `fast_collate`, in timm's `PrefetchLoader`; put together here, these take any batches.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import timm
import torch
from timm.data import ImageDataset, create_transform, resolve_model_data_config
from timm.data.loader import PrefetchLoader, fast_collate
from timm.optim import create_optimizer_v2
from torch.utils.data import DataLoader

import curriculumnet as cn
from curriculumnet.images.loader import Pictures

MODEL, SIZE, BATCH, STAGE_STEPS, SEED = "test_resnet", 32, 32, (20, 20, 20), 0


class Reader:
    """The files of a work folder by image id, with the index of each one's category, as timm's data set wants them.

    It opens them by Pillow: not turned as EXIF has it, and one that Pillow cannot open gives way to the next.
    """

    def __init__(self, work: Path) -> None:
        project = json.loads((work / "project.json").read_text(encoding="utf-8"))
        images = pq.read_table(work / "images.parquet")
        self.categories = project["categories"]
        labels = pc.index_in(images["label"], pa.array(self.categories))
        self.labels = pc.fill_null(labels, -1).to_numpy().astype(np.int64)
        self.pictures = Pictures(images, {name: source["root"] for name, source in project["sources"].items()})

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, image_id: int) -> tuple[io.BytesIO, int]:
        return io.BytesIO(self.pictures.read(int(image_id))), int(self.labels[image_id])


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
        sys.exit("Usage: python examples/timm_loader.py WORK, a work folder with a curriculum")
    work = Path(sys.argv[1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reader = Reader(work)
    batches = batches_of(work, reader.labels)
    torch.manual_seed(SEED)
    network = timm.create_model(MODEL, num_classes=len(reader.categories)).to(device)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=0.01, momentum=0.9, weight_decay=5e-4)
    transform = create_transform(SIZE, is_training=True, scale=(0.35, 1.0), use_prefetcher=True)
    dataset = ImageDataset(None, reader=reader, transform=transform)
    loaded = DataLoader(dataset, batch_sampler=batches, collate_fn=fast_collate, num_workers=1)
    about = resolve_model_data_config(network)
    recent: list[float] = []
    for step, (views, targets) in enumerate(PrefetchLoader(loaded, about["mean"], about["std"], device=device)):
        index, stage = batches.stage(step)
        weights = torch.from_numpy(stage.place_weights()).to(device)
        losses = torch.nn.functional.cross_entropy(network(views), targets, reduction="none")
        # The weights are the paper's r: divided by B, not by their sum, so that noisy images pull half as much.
        loss = (weights * losses).sum() / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent.append(losses[: stage.places[0]].mean().item())
        if (step + 1) % 10 == 0:
            print(f"step {step + 1} of {len(batches)}, stage {index + 1}: loss {np.mean(recent[-10:]):.3f}")


if __name__ == "__main__":
    main()
