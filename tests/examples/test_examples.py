"""The examples: each runs on a work folder made by the real steps, learns, and sees the batches that `train` sees."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.images import loader

EXAMPLES = Path(__file__).parents[2] / "examples"
COLOURS = {"blue": (30, 40, 200), "green": (30, 200, 40), "red": (200, 40, 30)}

NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))

each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """Thirty pictures of each of three colours, with a curriculum by their mean colours."""
    home = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    for category, colour in COLOURS.items():
        (home / "crawl" / category).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(rng.normal(colour, 40, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / "crawl" / category / f"{number:03}.png")
    found = cn.ingest(home / "crawl", output=home / "work", workers=0, quiet=True)
    pictures = [np.asarray(Image.open(home / "crawl" / name)) for name in found.table()["file_name"].to_pylist()]
    np.save(home / "colours.npy", np.stack([pixels.mean((0, 1)) for pixels in pictures]).astype(np.float32))
    cn.embed(found.work, from_=str(home / "colours.npy"), quiet=True)
    cn.design(found.work, quiet=True)
    return found.work


@pytest.fixture(scope="session")
def trained(work):
    """The settings of the first example, and the ids that `train` loads with these, batch after batch."""
    settings = settings_of(runpy.run_path(str(EXAMPLES / NAMES[0])))
    seen, load = [], loader.load

    def listening(pictures, batches, view, **how):
        # Before the first step, train loads the held-out images.
        seen.clear()
        for ids, views in load(pictures, batches, view, **how):
            seen.append(ids.tolist())
            yield ids, views

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "load", listening)
        cn.train(work, recipe="model-d", image_size=32, workers=0, device="cpu", quiet=True, **settings)
    return settings, seen


def settings_of(example):
    return {
        name: example[name.upper().removesuffix("_SIZE")] for name in ("model", "batch_size", "stage_steps", "seed")
    }


@each
def test_an_example_prints_losses_that_fall(name, work):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(work)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    stages, losses = zip(*re.findall(r"^step \d+ of 60, stage (\d): loss (\d+\.\d+)$", done.stdout, re.M), strict=True)
    assert stages == tuple("112233")
    assert float(losses[-1]) < 0.5 * float(losses[0])


@each
def test_an_example_sees_the_batches_that_train_sees(name, work, trained):
    example = runpy.run_path(str(EXAMPLES / name))
    opened = next(example[part](work) for part in ("Crawl", "Reader") if part in example)
    settings, seen = trained
    assert settings_of(example) == settings
    assert [ids.tolist() for ids in example["batches_of"](work, opened.labels)] == seen
    assert len(seen) == 60
    names = pq.read_table(work / "images.parquet")["label"].to_pylist()
    assert all(opened.categories[opened.labels[image]] == names[image] for image in seen[-1])
