"""The authors' networks go the whole path: trained, stopped and gone on with, measured, asked, loaded by timm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

import curriculumnet as cn
from curriculumnet.images import loader
from curriculumnet.miniature import Miniature, make_crawl
from curriculumnet.networks.folder import load

pytestmark = pytest.mark.slow

SMALLEST = {"inception_v2": 32, "inception_v3": 75, "inception_v4": 75, "inception_resnet_v2": 75}
"""The least height and width that a network takes, in pixels."""


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return make_crawl(tmp_path_factory.mktemp("crawl") / "m", images_per_category=(4, 6), test_images=10)


@pytest.mark.parametrize("model", SMALLEST)
def test_it_goes_the_whole_path(crawl: Miniature, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    cn.ingest(crawl.crawl, output=work, test=crawl.test, workers=0, quiet=True)
    few = {"model": model, "image_size": SMALLEST[model], "small_stem": False, "batch_size": 8, "epochs": 0.7}
    few |= {"precision": "float32", "checkpoint_minutes": 0, "device": "cpu", "workers": 0, "quiet": True}
    whole = cn.train(work, recipe="model-a", name="whole", **few)
    assert whole.steps == 4

    through = loader.load

    def breaks_off(*arguments: object, **keywords: object) -> Iterator[object]:
        for number, batch in enumerate(through(*arguments, **keywords)):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(loader, "load", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            cn.train(work, recipe="model-a", name="stopped", **few)
    assert [path.name for path in (work / "runs/stopped/checkpoints").glob("*2.pt")] == ["step-00000002.pt"]
    stopped = cn.train(work, recipe="model-a", name="stopped", **few)
    before, after = (load_file(run.model / "model.safetensors") for run in (whole, stopped))
    assert all(torch.equal(before[name], after[name]) for name in before)

    cn.evaluate(work, run="whole", device="cpu", workers=0, quiet=True)
    assert (work / "runs/whole/metrics.json").is_file()
    assert cn.predict(whole.folder, [crawl.test], device="cpu", workers=0, quiet=True).answered == 10
    cn.embed(work, from_="whole", device="cpu", workers=0, quiet=True)

    network = timm.create_model(f"local-dir:{whole.model}", pretrained=True).eval()
    assert np.load(work / "features/whole.npy").shape[1] == network.num_features
    x = torch.rand(2, 3, SMALLEST[model], SMALLEST[model])
    with torch.no_grad():
        expected = network(x)
        for answers in (
            load(whole.model, torch.device("cpu")).network(x),
            torch.export.export(network, (x,)).module()(x),
        ):
            # After four steps the means of batch norms are hardly known, and numbers are large.
            assert (answers - expected).norm() < 1e-4 * expected.norm()
