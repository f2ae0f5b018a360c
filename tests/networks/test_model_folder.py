"""Model folders: saved, loaded, and loaded by plain timm."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from curriculumnet.errors import InputError
from curriculumnet.networks.create import Preprocessing, create
from curriculumnet.networks.folder import load, save
from curriculumnet.networks.predictor import Predictor

CPU = torch.device("cpu")
CATEGORIES = ["ant", "b|ee\nhive", "Löwe", "zèbre"]


def _save(
    folder: Path, model: str, size: int, *, small_stem: bool = False, multi_scale: bool = False, seed: int = 0
) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = create(model, len(CATEGORIES), image_size=size, small_stem=small_stem, multi_scale=multi_scale)
    network(torch.rand(4, 3, size, size))  # so that the running means of its batch norms are not the initial ones
    files = save(
        network.to(memory_format=torch.channels_last),
        model=model,
        categories=CATEGORIES,
        preprocessing=Preprocessing(size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic", 0.9),
        small_stem=small_stem,
        multi_scale=multi_scale,
        training={"recipe": "model-d", "epochs": 30, "subset_weights": [1.0, 0.5]},
    )
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return network.eval()


def _batch(size: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("model", "size", "small_stem", "multi_scale"),
    [
        ("test_resnet", 64, False, False),
        ("resnet10t", 64, True, False),
        ("resnet18.a1_in1k", 32, True, False),
        ("resnet18.a1_in1k", 64, False, True),
        ("mobilenetv3_small_050", 64, True, False),
        ("test_efficientnet", 64, True, True),
        ("inception_v2", 64, False, False),
        ("inception_v2", 64, True, False),
        ("inception_v2", 64, True, True),
        ("test_vit", 64, False, False),
    ],
)
def test_a_model_comes_back_as_it_was(
    tmp_path: Path, model: str, size: int, small_stem: bool, multi_scale: bool
) -> None:
    network = _save(tmp_path / "m", model, size, small_stem=small_stem, multi_scale=multi_scale)
    found = load(tmp_path / "m", CPU)
    assert found.categories == tuple(CATEGORIES)
    assert found.preprocessing == Preprocessing(size, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "bicubic", 0.9)
    assert found.name == model.partition(".")[0]
    assert found.training["recipe"] == "model-d"
    assert not found.network.training
    inputs = torch.rand(3, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(found.network(inputs), network(inputs))


def test_the_same_weights_give_the_same_bytes_and_digest(tmp_path: Path) -> None:
    _save(tmp_path / "a", "test_resnet", 32)
    _save(tmp_path / "b", "test_resnet", 32)
    _save(tmp_path / "c", "test_resnet", 32, seed=1)
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    digests = [load(tmp_path / folder, CPU).digest() for folder in "abc"]
    assert digests[0] == digests[1] != digests[2]


PLAIN_TIMM = """
import json, sys
import numpy as np, timm, torch
plain, small, fixed, ours, scales, both, inputs, out = sys.argv[1:]
batch = torch.from_numpy(np.load(inputs))
answers = {}
with torch.no_grad():
    for name, folder in (("plain", plain), ("fixed", fixed)):
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        answers[name] = network(batch).numpy()
    config = timm.data.resolve_data_config(model=network)
    assert config["input_size"] == (3, 64, 64) and config["crop_pct"] == 0.9, config
    assert tuple(config["mean"]) == (0.5, 0.4, 0.3) and config["interpolation"] == "bicubic", config
    assert network.pretrained_cfg["label_names"][0] == "ant", network.pretrained_cfg
    try:
        timm.create_model(f"local-dir:{small}", pretrained=True)
        raise SystemExit("a small stem loaded without our package")
    except RuntimeError as error:
        assert "curriculumnet_small_stem" in str(error), error
    assert not any(name.startswith("curriculumnet") for name in sys.modules)
    import curriculumnet.networks.small_stem
    network = timm.create_model(f"local-dir:{small}", pretrained=True).eval()
    answers["small"] = network(batch).numpy()
    fewer = timm.create_model(f"local-dir:{small}", pretrained=True, num_classes=2).eval()
    assert fewer(batch).shape == (len(batch), 2)
    try:
        timm.create_model(f"local-dir:{ours}", pretrained=True)
        raise SystemExit("inception_v2 was known without our package")
    except RuntimeError as error:
        assert "inception_v2" in str(error), error
    import curriculumnet.networks.inception_v2
    import curriculumnet.networks.multi_scale
    for name, folder in (("ours", ours), ("scales", scales), ("both", both)):
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        answers[name] = network(batch).numpy()
    grey = timm.create_model(f"local-dir:{ours}", pretrained=True, in_chans=1).eval()
    assert grey(batch[:, :1]).shape == (len(batch), 4)
np.savez(out, **answers)
"""


def test_plain_timm_loads_the_folders(tmp_path: Path) -> None:
    networks = {
        "plain": _save(tmp_path / "plain", "resnet10t", 64),
        "small": _save(tmp_path / "small", "resnet10t", 64, small_stem=True),
        "fixed": _save(tmp_path / "fixed", "test_vit", 64),
        "ours": _save(tmp_path / "ours", "inception_v2", 64),
        "scales": _save(tmp_path / "scales", "resnet18", 64, multi_scale=True),
        "both": _save(tmp_path / "both", "inception_v2", 64, small_stem=True, multi_scale=True),
    }
    inputs = torch.rand(3, 3, 64, 64)
    np.save(tmp_path / "inputs.npy", inputs.numpy())
    paths = [*(tmp_path / name for name in networks), tmp_path / "inputs.npy", tmp_path / "out.npz"]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_TIMM, *map(str, paths)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "loading a model folder needs no comment"
    with np.load(tmp_path / "out.npz") as answers, torch.no_grad():
        for name, network in networks.items():
            np.testing.assert_allclose(answers[name], network(inputs).numpy(), atol=1e-5)


def test_the_readme_says_what_is_needed_and_what_it_answers(tmp_path: Path) -> None:
    _save(tmp_path / "plain", "test_resnet", 64)
    _save(tmp_path / "small", "test_resnet", 64, small_stem=True)
    plain, small = ((tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("plain", "small"))
    assert "Nothing but timm is needed." in plain
    assert "import curriculumnet.networks.small_stem" in small
    assert "import curriculumnet" not in plain
    for text in (plain, small):
        assert r"| 1 | b\|ee hive |" in text
        assert "| recipe | model-d |" in text
        assert "resized to 71 px (bicubic)" in text


@pytest.mark.parametrize(
    ("model", "first_layers", "described", "modules"),
    [
        ("inception_v2", {}, "inception_v2", ["inception_v2"]),
        (
            "inception_v2",
            {"small_stem": True},
            "inception_v2 with a first layer for small pictures",
            ["inception_v2", "small_stem"],
        ),
        (
            "resnet18",
            {"multi_scale": True, "small_stem": True},
            "resnet18 with a first layer of several kernel sizes",
            ["multi_scale"],
        ),
    ],
)
def test_the_readme_says_what_makes_timm_know_the_network(
    tmp_path: Path, model: str, first_layers: dict[str, bool], described: str, modules: list[str]
) -> None:
    _save(tmp_path / "m", model, 64, **first_layers)
    text = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert f"It is {described}, which timm does not have" in text
    assert re.findall(r"^import curriculumnet\.networks\.(\w+)$", text, re.MULTILINE) == modules
    assert "Nothing but timm" not in text


def test_config_is_in_timms_layout(tmp_path: Path) -> None:
    _save(tmp_path / "m", "test_vit", 64)
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    assert config["architecture"] == "test_vit"
    assert (config["num_classes"], config["label_names"]) == (4, CATEGORIES)
    assert config["num_features"] == create("test_vit", 4, image_size=64).num_features
    assert config["model_args"] == {"img_size": 64}
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 64]
    assert config["pretrained_cfg"]["fixed_input_size"] is True


def test_a_folder_of_timms_own_loads(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf

    network = timm.create_model("test_resnet", num_classes=3)
    save_for_hf(network, str(tmp_path / "theirs"), safe_serialization=True)
    found = load(tmp_path / "theirs", CPU)
    assert found.categories == ("0", "1", "2")
    assert found.preprocessing.image_size == network.pretrained_cfg["input_size"][-1]


def _config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_folders_that_are_none_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model folder: it has no config.json") as caught:
        load(tmp_path / "nowhere", CPU)
    assert caught.value.exit_code == 3
    good = tmp_path / "m"
    _save(good, "test_resnet", 32)
    weights = (good / "model.safetensors").read_bytes()

    (good / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(InputError, match=r"model.safetensors cannot be read"):
        load(good, CPU)
    (good / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        load(good, CPU)
    (good / "model.safetensors").write_bytes(weights)

    tensors = load_file(good / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "fc.bias"}, good / "model.safetensors")
    with pytest.raises(InputError, match=r"does not fit the network that config.json describes \(fc.bias, 1 in all\)"):
        load(good, CPU)
    (good / "model.safetensors").write_bytes(weights)

    _config(good, num_classes=9)
    with pytest.raises(InputError, match="does not fit the network"):
        load(good, CPU)
    _config(good, architecture="nonet")
    with pytest.raises(InputError, match=r"'nonet', which this version of timm does not have"):
        load(good, CPU)
    _config(good, architecture="test_resnet", pretrained_cfg={})
    with pytest.raises(InputError, match=r"config.json is not as timm writes it \(KeyError"):
        load(good, CPU)
    for text in ("{", "[]"):
        (good / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"config.json (cannot be read|is not as timm writes it)"):
            load(good, CPU)


def test_a_predictor_answers_and_gives_features(tmp_path: Path) -> None:
    _save(tmp_path / "m", "test_resnet", 64)
    model = load(tmp_path / "m", CPU)
    predictor = Predictor(model, CPU)
    batch = _batch(64)
    shares, features = predictor.probabilities(batch), predictor.features(batch)
    assert shares.shape == (3, 4)
    assert shares.dtype == features.dtype == torch.float32
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    with torch.no_grad():
        again = model.network.fc(features).softmax(1)
    torch.testing.assert_close(again, shares)
    assert (predictor.view().image_size, predictor.view().crop_pct) == (64, 0.9)
    assert predictor.view(10)(_png(), 0).shape == (10, 3, 64, 64)


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "test_vit", "densenet121"])
def test_features_of_other_kinds_are_vectors(model: str) -> None:
    from curriculumnet.networks.folder import Model

    for n in (0, 3):
        network = create(model, n, image_size=64)
        features = Predictor(Model(network, model, (), Preprocessing(64), {}), CPU).features(_batch(64))
        assert features.ndim == 2
        assert len(features) == 3
        assert features.std(0).max() > 0


def _png() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()
