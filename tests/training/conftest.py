"""A small work folder with a curriculum, made by the real steps."""

import shutil

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn

COLOURS = {"blue": (30, 40, 200), "green": (30, 200, 40), "red": (200, 40, 30)}


def draw(folder, per_category, seed):
    """Draw pictures of one colour each, with noise."""
    rng = np.random.default_rng(seed)
    for category, colour in COLOURS.items():
        (folder / category).mkdir(parents=True)
        for number in range(per_category):
            pixels = np.clip(rng.normal(colour, 40, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / category / f"{number:03}.png")


@pytest.fixture(name="draw")
def _draw():
    return draw


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Ingested, with features and a curriculum; shared, so copy it before writing."""
    home = tmp_path_factory.mktemp("training")
    draw(home / "crawl", 20, seed=0)
    draw(home / "test", 6, seed=1)
    work = cn.ingest(home / "crawl", output=home / "work", test=home / "test", workers=0, quiet=True).work
    images = cn.ingest(home / "crawl", output=work, test=home / "test", workers=0, quiet=True).table()
    np.save(home / "colours.npy", np.random.default_rng(0).normal(size=(images.num_rows, 5)).astype(np.float32))
    cn.embed(work, from_=str(home / "colours.npy"), quiet=True)
    cn.design(work, quiet=True)
    return work


@pytest.fixture
def work(prepared, tmp_path):
    """A work folder of one's own."""
    return shutil.copytree(prepared, tmp_path / "work")
