"""A small work folder with several runs, made by the real steps, and model folders of more categories."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import curriculumnet as cn
from curriculumnet.networks import create as networks
from curriculumnet.networks import folder as model_folder

SIZE = 32
TREES = ("ash", "birch", "cedar", "elm", "fir", "Ölweide", "yew")


def draw(path, seed, size=(40, 40)):
    """Draw a picture that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Ingested, with the runs `first` and `last`, which follow no curriculum, and between them `model-b`, which does.

    Shared, so copy it before writing.
    """
    home = tmp_path_factory.mktemp("prediction")
    for place, category in enumerate(("ash", "elm", "oak")):
        for number in range(12):
            draw(home / "crawl" / category / f"{number:02}.png", 100 * place + number)
    plain = {"workers": 0, "device": "cpu", "quiet": True}
    work = cn.ingest(home / "crawl", output=home / "work", workers=0, quiet=True).work
    np.save(home / "own.npy", np.random.default_rng(0).normal(size=(36, 3)))
    cn.embed(work, from_=home / "own.npy", **plain)
    cn.design(work, quiet=True)
    options = {"model": "test_resnet", "image_size": SIZE, "small_stem": False, "batch_size": 16, "epochs": 0.5}
    for name, recipe in (("first", "model-a"), ("model-b", "model-b"), ("last", "model-a")):
        cn.train(work, recipe=recipe, name=name, seed=len(name), **options, **plain)
    return work


@pytest.fixture
def work(prepared, tmp_path):
    """A work folder of one's own."""
    return shutil.copytree(prepared, tmp_path / "work")


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """A model folder of a random network that is sure of what it says about seven trees; only read it."""
    torch.manual_seed(0)
    network = networks.create("test_resnet", len(TREES), image_size=SIZE)
    with torch.no_grad():
        network.get_classifier().weight.mul_(20)
    return save(tmp_path_factory.mktemp("model"), network, TREES)


def save(path, network, categories):
    files = model_folder.save(
        network,
        model="test_resnet",
        categories=list(categories),
        preprocessing=networks.preprocessing("test_resnet", SIZE, False),
        small_stem=False,
        training={},
    )
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def one_category(tmp_path):
    """A model folder that knows a single category."""
    return save(tmp_path / "single", networks.create("test_resnet", 1, image_size=SIZE), ["ash"])


@pytest.fixture
def pictures(tmp_path):
    """Seven pictures of several shapes and formats, in no order of names."""
    shapes = {"g.png": (40, 40), "a.jpg": (61, 40), "f.png": (40, 57), "b.webp": (40, 40)}
    shapes |= {"e.gif": (36, 36), "c.bmp": (90, 90), "d": (40, 40)}
    paths = []
    for seed, (name, size) in enumerate(shapes.items()):
        drawn = draw(tmp_path / "pictures" / (name if "." in name else f"{name}.png"), seed, size)
        paths.append(drawn if "." in name else drawn.rename(drawn.with_suffix("")))
    return paths
