"""Small work folders with pictures and networks whose answers are known, without any training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curriculumnet.networks import create as networks
from curriculumnet.networks import folder as model_folder
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, TRAINING_IMAGES, WorkFolder

SIZE = 32

CATEGORIES = ("ash", "birch", "cedar", "elm", "fir", "oak", "yew")


class Work:
    """A work folder in which `ingest` has finished, and runs can be added as `train` would leave them."""

    def __init__(self, home: Path, categories=CATEGORIES, *, test=(6, 5, 4, 3, 3, 3, 3), val=2, clean_val=False):
        self.home, self.categories = home, categories
        self.folder = WorkFolder.create(home / "work")
        self.rng = np.random.default_rng(0)
        self.rows = []
        for label in categories:
            self.draw("crawl", "train", label, 1)
        for label in categories:
            self.draw("val" if clean_val else "crawl", "val", label, val)
        for label, n in zip(categories, test, strict=True):
            self.draw("test", "test", label, n)
        self.ingest()

    @property
    def path(self):
        return self.folder.path

    def draw(self, source, split, label, n):
        for _ in range(n):
            name = f"{label}/{len(self.rows):03}.png"
            path = self.home / source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = self.rng.integers(36, 60, 2)
            Image.fromarray(self.rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
            self.rows.append({"source": source, "split": split, "label": label, "file_name": name, "state": "used"})

    def ingest(self):
        """Write the table of images as it is now, and its record."""
        columns = {name: [row[name] for row in self.rows] for name in self.rows[0]}
        n = len(self.rows)
        columns |= {"image_id": list(range(n)), "reason": [""] * n, "label_conflict": [False] * n}
        self.folder.write_table(IMAGES, tables.build(tables.IMAGES, columns))
        sources = {
            key: {
                "source": key,
                "root": str(self.home / key),
                "kind": "folders",
                "labels": "crawl" if key == "crawl" else "clean",
            }
            for key in dict.fromkeys(columns["source"])
        }
        self.folder.stamp("ingest", {}, {}, [IMAGES], 1.0, sources=sources, categories=list(self.categories))

    def train(self, name, *, first=None, seed=0, categories=None):
        """A run of a random network, or of one that finds `first` the most probable, then the others in order."""
        categories = list(categories or self.categories)
        torch.manual_seed(seed)
        network = networks.create("test_resnet", len(categories), image_size=SIZE)
        with torch.no_grad():
            if first is None:
                network.get_classifier().weight.mul_(20)
            else:
                network.get_classifier().weight.zero_()
                bias = -torch.arange(len(categories), dtype=torch.float32)
                bias[categories.index(first)] = 1
                network.get_classifier().bias.copy_(bias)
        files = model_folder.save(
            network,
            model="test_resnet",
            categories=categories,
            preprocessing=networks.preprocessing("test_resnet", SIZE, False),
            small_stem=False,
            training={"recipe": name},
        )
        written = [f"runs/{name}/model/{file}" for file in files]
        for path, data in zip(written, files.values(), strict=True):
            self.folder.write_bytes(path, data)
        self.folder.stamp(f"train:{name}", self.folder.digests(TRAINING_IMAGES), {}, written, 1.0)
        return self

    def labels(self, split):
        return [row["label"] for row in self.rows if row["split"] == split and row["state"] == "used"]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Pictures of seven categories, not evaluated yet; shared, so that it is only read."""
    work = Work(tmp_path_factory.mktemp("evaluation"))
    return work.train("model-a", first="ash").train("model-d", first="birch").train("random")


@pytest.fixture
def work(drawn, tmp_path):
    """A work folder of one's own, with three runs: always ash, always birch, and a random network."""
    mine = Work.__new__(Work)
    mine.home, mine.categories = tmp_path, drawn.categories
    mine.rng, mine.rows = np.random.default_rng(1), [dict(row) for row in drawn.rows]
    for part in ("crawl", "test", "work"):
        shutil.copytree(drawn.home / part, tmp_path / part)
    mine.folder = WorkFolder.open(tmp_path / "work")
    roots = {key: source | {"root": str(tmp_path / key)} for key, source in mine.folder.project["sources"].items()}
    mine.folder.update_project(sources=roots)
    return mine


@pytest.fixture
def make_work(tmp_path):
    """Make a work folder of other pictures."""

    def make(*arguments, **options):
        return Work(tmp_path, *arguments, **options)

    return make
