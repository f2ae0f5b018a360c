"""A small work folder with a run, made by the real steps, and pictures of every kind of state."""

import shutil

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn

SIZE = 32
CATEGORIES = ("ash", "elm", "oak")
SIZES = ((40, 40), (40, 57), (61, 36))
PAGE = b"<!DOCTYPE html><html><body>404</body></html>"


def draw(path, seed):
    """Draw a picture that no other seed gives; three sizes take turns."""
    width, height = SIZES[seed % 3]
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)


def draw_crawl(home):
    """Draw 12 pictures of each category and 2 to test on; of the former one is a copy, one broken, one too small."""
    for place, category in enumerate(CATEGORIES):
        for number in range(12):
            draw(home / "crawl" / category / f"{number:02}.png", 100 * place + number)
        for number in range(2):
            draw(home / "test" / category / f"{number:02}.png", 1000 + 100 * place + number)
    shutil.copy(home / "crawl/ash/02.png", home / "crawl/ash/03.png")
    (home / "crawl/elm/05.png").write_bytes(PAGE)
    Image.new("RGB", (8, 8)).save(home / "crawl/oak/07.png")
    return home / "crawl"


def ingested(home):
    """Ingest what was drawn, and return the work folder."""
    return cn.ingest(home / "crawl", output=home / "work", test=home / "test", workers=0, quiet=True).work


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Ingested, with a run `model-a` whose network plain timm can load; shared, so copy it before writing."""
    home = tmp_path_factory.mktemp("embedding")
    draw_crawl(home)
    work = ingested(home)
    options = {"model": "test_resnet", "image_size": SIZE, "small_stem": False, "batch_size": 16, "epochs": 1}
    cn.train(work, recipe="model-a", device="cpu", workers=0, quiet=True, **options)
    return work


@pytest.fixture
def work(prepared, tmp_path):
    """A work folder of one's own; its pictures are the shared ones."""
    return shutil.copytree(prepared, tmp_path / "work")


@pytest.fixture
def own(tmp_path):
    """A work folder without a run whose pictures, in `crawl` and `test` beside it, may be changed."""
    draw_crawl(tmp_path)
    return ingested(tmp_path)
