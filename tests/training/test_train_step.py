"""The step `train`, through its public door."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

import curriculumnet as cn
from curriculumnet.errors import InputError, MachineError, SourceError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.images import loader
from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder

COLOURS = ("blue", "green", "red")
SMALL = {"model": "test_resnet", "image_size": 32, "batch_size": 16, "workers": 0, "device": "cpu", "quiet": True}


def breaking_off(through):
    """A loader of which a training is stopped before its fifth batch."""

    def load(*arguments, **keywords):
        # The validation and test pictures come first, with no seed.
        for number, batch in enumerate(through(*arguments, **keywords)):
            if number == 4 and "seed" in keywords:
                raise KeyboardInterrupt
            yield batch

    return load


def weights(work, run):
    from safetensors.torch import load_file

    return load_file(work / "runs" / run / "model" / "model.safetensors")


def test_a_network_learns_what_is_there(work):
    done = cn.train(work, recipe="model-a", epochs=12, **SMALL)
    history = done.table()
    errors = history.filter(pc.equal(history["metric"], "test_top1_error"))["value"].to_pylist()
    assert errors[-1] <= 0.2
    assert done.steps == -(-12 * 54 // 16)
    assert set(history["metric"].to_pylist()) >= {
        "train_loss",
        "learning_rate",
        "images_per_second",
        "wait_share",
        "val_loss",
        "val_top1_error",
        "test_loss",
        "test_top1_error",
    }
    assert list((work / "runs/model-a/tensorboard").iterdir())


@pytest.mark.parametrize("recipe", ["model-a-balanced", "model-b", "model-c", "model-d"])
def test_every_recipe_trains_along_its_stages(work, recipe):
    cn.train(work, recipe=recipe, epochs=2, **SMALL)
    settings = json.loads((work / f"runs/{recipe}/settings.json").read_text(encoding="utf-8"))
    assert len(settings["stages"]) == {"model-c": 2, "model-d": 3}.get(recipe, 1)
    stages = tables.read(work / f"runs/{recipe}/history.parquet")["stage"].to_pylist()
    assert sorted(set(stages)) == list(range(1, len(settings["stages"]) + 1))


@pytest.mark.parametrize(
    ("options", "optimizer", "rate"),
    [
        ({"model": "test_resnet"}, "sgd", 0.05),
        ({"model": "test_vit", "image_size": 32}, "adamw", 0.001061),
        ({"model": "test_resnet", "optimizer": "adamw", "batch_size": 256}, "adamw", 0.003),
        ({"model": "tf_efficientnet_lite0", "pretrained": True}, "sgd", 0.001768),
    ],
)
def test_what_is_not_given_follows_from_the_network_and_the_number_of_images(work, options, optimizer, rate):
    cn.train(work, recipe="model-a", epochs=0.5, workers=0, device="cpu", quiet=True, **options)
    settings = json.loads((work / "runs/model-a/settings.json").read_text(encoding="utf-8"))
    found = {name: settings[name] for name in ("batch_size", "optimizer", "learning_rate")}
    assert found == {"batch_size": options.get("batch_size", 32), "optimizer": optimizer, "learning_rate": rate}


def test_weights_from_elsewhere_keep_their_statistics_and_their_classifier_learns_from_nothing(work):
    from curriculumnet.networks.create import create

    size = {"model": "tf_efficientnet_lite0", "image_size": 32}
    before = create(size["model"], 0, pretrained=True, image_size=32).state_dict()
    cn.train(work, recipe="model-a", pretrained=True, epochs=3, ema_decay=0, **SMALL | size)
    after = weights(work, "model-a")
    statistics = [key for key in before if key.endswith(("running_mean", "running_var"))]
    assert len(statistics) > 90
    assert all(torch.equal(before[key], after[key]) for key in statistics)
    assert all(not torch.equal(before[key], after[key]) for key in ("conv_stem.weight", "bn1.weight"))
    cn.train(work, recipe="model-a", name="scratch", epochs=1, **SMALL | size)
    scratch = weights(work, "scratch")
    assert not any(torch.equal(scratch[key], torch.zeros_like(scratch[key])) for key in statistics if "mean" in key)


def test_a_classifier_on_weights_from_elsewhere_is_new_and_learns_ten_times_as_fast(work, monkeypatch):
    from curriculumnet.training import loop

    seen = []

    def fit(state, *_, **__):
        seen.append((state.network, state.optimizer.param_groups))
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fit", fit)
    options = SMALL | {"model": "tf_efficientnet_lite0"}
    for pretrained in (True, False):
        with pytest.raises(KeyboardInterrupt):
            cn.train(work, recipe="model-a", pretrained=pretrained, **options)
    (network, groups), (scratch, others) = seen
    head = {id(weight) for weight in network.classifier.parameters()}
    fast = {id(weight) for group in groups if group.get("lr_scale") == 10 for weight in group["params"]}
    assert fast == head
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    assert not network.classifier.weight.any()
    assert scratch.classifier.weight.any()
    assert not any("lr_scale" in group for group in others)


@pytest.mark.parametrize("name", ["optimizer", "places", "stage_schedule", "precision"])
def test_from_python_too_a_choice_is_one_of_a_few(work, name):
    with pytest.raises(UnknownNameError, match=f"There is no {name.replace('_', ' ')} 'lion'"):
        cn.train(work, recipe="model-a", **SMALL, **{name: "lion"})


def test_each_group_has_its_own_rate(work, monkeypatch):
    monkeypatch.setattr("curriculumnet.training.beginning._CLASSIFIER_RATE", 0.0)
    options = SMALL | {"model": "tf_efficientnet_lite0"}
    cn.train(work, recipe="model-a", pretrained=True, epochs=1, ema_decay=0, **options)
    assert not weights(work, "model-a")["classifier.weight"].any()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(work):
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        cn.train(work, recipe="model-d", name=name, epochs=1, seed=seed, precision="float32", **SMALL)
    one, two, three = (weights(work, name) for name in ("one", "two", "three"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], three[key]) for key in one)


def test_a_training_that_was_stopped_ends_as_one_that_was_not(work, monkeypatch):
    options = SMALL | {"epochs": 3, "precision": "float32", "optimizer": "adamw", "checkpoint_minutes": 0}
    cn.train(work, recipe="model-d", name="whole", **options)

    through = loader.load

    monkeypatch.setattr(loader, "load", breaking_off(through))
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-d", name="stopped", **options)
    monkeypatch.setattr(loader, "load", through)
    kept = sorted(p.name for p in (work / "runs/stopped/checkpoints").glob("*.pt"))
    assert kept == ["step-00000003.pt", "step-00000004.pt"]
    (begun,) = [row for row in cn.status(work).steps if row["state"] == "begun"]
    assert (begun["step"], begun["progress"]) == ("train stopped", "4 of 11 steps")

    cn.train(work, recipe="model-d", name="stopped", **options)
    whole, stopped = weights(work, "whole"), weights(work, "stopped")
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    losses = [
        t.filter(pc.equal(t["metric"], "train_loss"))["value"].to_pylist()
        for t in (tables.read(work / f"runs/{name}/history.parquet") for name in ("whole", "stopped"))
    ]
    assert losses[0] == losses[1]


def test_a_finished_run_is_not_trained_again_unless_its_settings_change(work, capsys):
    first = cn.train(work, recipe="model-a", epochs=1, **SMALL)
    again = cn.train(work, recipe="model-a", epochs=1, **(SMALL | {"quiet": False}))
    assert not first.up_to_date
    assert again.up_to_date
    assert "up to date" in capsys.readouterr().err
    assert not cn.train(work, recipe="model-a", epochs=2, **SMALL).up_to_date


def test_a_run_that_would_be_replaced_is_named_before_with_what_has_changed(work, capsys):
    cn.train(work, recipe="model-a", epochs=1, **SMALL)
    loud = SMALL | {"quiet": False}
    cn.train(work, recipe="model-a", epochs=2, crop_scale=(0.7, 1.0), **loud)
    said = capsys.readouterr().err
    assert "Run model-a was trained with other settings (epochs 1, now 2; crop scale 0.35 1, now 0.7 1): " in said
    assert "`train` another --name" in said
    cn.train(work, recipe="model-a", name="model-a-long", epochs=3, **loud)
    assert "was trained with other settings" not in capsys.readouterr().err


@pytest.mark.parametrize(("clean", "rate"), [(False, 0.4), (True, 0.8)])
def test_the_best_weights_are_kept_where_validation_is_clean_else_the_last(prepared, tmp_path, clean, rate):
    val = {"val": prepared.parent / "test"} if clean else {}
    work = cn.ingest(prepared.parent / "crawl", output=tmp_path / "work", **val, workers=0, quiet=True).work
    # So fast that the error goes up and down.
    options = SMALL | {"optimizer": "sgd", "learning_rate": rate, "ema_decay": 0.0, "precision": "float32"}
    history = cn.train(work, recipe="model-a", epochs=4, **options).table()
    curve = history.filter(pc.equal(history["metric"], "val_top1_error"))["value"].to_pylist()
    measured = cn.evaluate(work, crops=(1,), workers=0, device="cpu", quiet=True).figures
    error = next(row["value"] for row in measured if row["metric"] == "top1_error")
    assert error == pytest.approx(min(curve) if clean else curve[-1])
    assert len(set(curve)) > 1


def test_precision_and_optimizer_are_as_asked(work):
    cn.train(work, recipe="model-a", epochs=1, precision="bfloat16", optimizer="adamw", ema_decay=0.0, **SMALL)
    figures = WorkFolder.open(work).record("train:model-a").figures
    assert figures["precision"] == "bfloat16"
    assert all(torch.isfinite(value).all() for value in weights(work, "model-a").values() if value.is_floating_point())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"recipe": "model-e"}, UnknownNameError, "There is no recipe 'model-e': it must be one of model-a, "),
        ({"recipe": "model-a", "model": "resnet81"}, UnknownNameError, "resnet"),
        ({"recipe": "model-a", "model": "model-d"}, UsageError, "--recipe"),
        ({"recipe": "model-d", "curriculum": "none"}, UnknownNameError, "There is no curriculum 'none'"),
        ({"recipe": "model-a", "epochs": 0}, UsageError, "--epochs is 0"),
        ({"recipe": "model-a", "noisy_share": 2.0}, UsageError, "--noisy-share is 2:"),
        ({"recipe": "model-a", "crop_scale": (0.5, 0.1)}, UsageError, "--crop-scale"),
        ({"recipe": "model-a", "seed": -1}, UsageError, "--seed is -1: it must be at least 0"),
        ({"recipe": "model-a", "label_smoothing": 2.0}, UsageError, "--label-smoothing is 2:"),
        ({"recipe": "model-a", "crop_ratio": (0.0, 1.0)}, UsageError, "--crop-ratio is 0 1:"),
        ({"recipe": "model-a", "epochs": float("nan")}, UsageError, "--epochs is nan"),
        ({"recipe": "model-d", "subset_weights": (0.0, 1.0, 1.0)}, UsageError, "--subset-weights is 0 1 1:"),
        ({"recipe": "model-a", "learning_rate": 0.0}, UsageError, "--learning-rate is 0: it must be above 0"),
        ({"recipe": "model-d", "stage_shares": (1.0,)}, UsageError, "--stage-shares has 1 values"),
        ({"recipe": "model-a", "learning_rate": 1e6, "epochs": 2}, UsageError, "lower --learning-rate"),
    ],
)
def test_wrong_use_is_one_sentence(work, arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        cn.train(work, **(SMALL | arguments))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_a_recipe_with_stages_needs_a_curriculum(prepared, tmp_path):
    work = tmp_path / "bare"
    cn.ingest(prepared.parent / "crawl", output=work, workers=0, quiet=True)
    with pytest.raises(WorkFolderError, match="has no curriculum yet: `curriculumnet design"):
        cn.train(work, recipe="model-d", **SMALL)


def test_the_default_image_size_follows_the_pictures(work):
    options = {key: value for key, value in SMALL.items() if key != "image_size"}
    cn.train(work, recipe="model-a", epochs=0.5, **options)
    settings = json.loads((work / "runs/model-a/settings.json").read_text(encoding="utf-8"))
    assert settings["image_size"] == 32
    assert settings["small_stem"] is True


def test_a_curriculum_of_an_earlier_reading_of_the_crawl_is_refused(work):
    source = WorkFolder.open(work).project["sources"]["crawl"]["source"]
    cn.ingest(source, output=work, seed=1, workers=0, quiet=True)
    with pytest.raises(InputError, match="orders the images of an earlier reading of the crawl") as raised:
        cn.train(work, recipe="model-d", quiet=True)
    assert raised.value.exit_code == 3


def test_a_training_anew_that_was_stopped_leaves_the_finished_one_as_it_was(work, monkeypatch):
    cn.train(work, recipe="model-a", epochs=0.5, **SMALL)
    before = {p: p.read_bytes() for p in (work / "runs/model-a").rglob("*") if p.is_file()}
    assert {".pt", ".safetensors", ".parquet"} <= {p.suffix for p in before}

    def breaks_off(*_arguments, **_keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("curriculumnet.training.updates.weighted_cross_entropy", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-a", epochs=1, **SMALL)
    kept = {p: data for p, data in before.items() if p.name != "settings.json" or "checkpoints" not in p.parts}
    assert {p: p.read_bytes() for p in kept} == kept


def test_validation_pictures_that_the_crawl_sets_apart_are_as_clean_as_the_crawl(tmp_path, draw):
    for split in ("train", "val"):
        draw(tmp_path / "crawl" / split, 6, seed=len(split))
    work = cn.ingest(tmp_path / "crawl", output=tmp_path / "work", workers=0, quiet=True).work
    cn.train(work, recipe="model-a", epochs=1, **SMALL)
    rows = cn.evaluate(work, crops=(1,), workers=0, device="cpu", quiet=True).figures
    assert {(row["split"], row["labels"]) for row in rows} == {("val", "crawl")}
    other = cn.ingest(
        tmp_path / "crawl/train", val=tmp_path / "crawl/val", output=tmp_path / "other", workers=0, quiet=True
    ).work
    cn.train(other, recipe="model-a", epochs=1, **SMALL)
    rows = cn.evaluate(other, crops=(1,), workers=0, device="cpu", quiet=True).figures
    assert {(row["split"], row["labels"]) for row in rows} == {("val", "clean")}


# -- pictures kept decoded ---------------------------------------------------------------------------------------------


def caches(work):
    return sorted((work / "cache").glob("*"))


def test_decoded_pictures_that_need_not_be_reduced_train_the_same_network(work, capsys):
    options = SMALL | {"epochs": 2, "precision": "float32", "quiet": False}
    cn.train(work, recipe="model-d", name="files", **options)
    cn.train(work, recipe="model-d", name="decoded", cache=True, **(options | {"workers": 2}))
    said = capsys.readouterr().err
    assert f"Decoded, the pictures will take 0.261 MB in {work / 'cache' / '55px.safetensors'}; " in said
    assert caches(work) == [work / "cache/55px.safetensors"]
    # 54 of 40 x 40 pixels.
    assert 54 * 4800 < caches(work)[0].stat().st_size < 54 * 4800 + 4000
    files, decoded = weights(work, "files"), weights(work, "decoded")
    assert all(torch.equal(files[key], decoded[key]) for key in files)


def test_later_trainings_use_the_decoded_pictures(work, monkeypatch, capsys):
    cn.train(work, recipe="model-a", epochs=1, cache=True, **SMALL)
    before = caches(work)[0].stat()

    def asked_again(*_arguments):
        raise AssertionError("a picture of the training is decoded again")

    monkeypatch.setattr("curriculumnet.images.cache.decode", asked_again)
    cn.train(work, recipe="model-d", epochs=1, cache=True, **(SMALL | {"quiet": False}))
    assert "The pictures are there decoded: 0.261 MB in " in capsys.readouterr().err
    assert caches(work)[0].stat().st_mtime_ns == before.st_mtime_ns
    # Another size of the input needs others, and leaves these.
    monkeypatch.undo()
    cn.train(work, recipe="model-a", name="smaller", epochs=1, cache=True, **(SMALL | {"image_size": 16}))
    assert [path.name for path in caches(work)] == ["28px.safetensors", "55px.safetensors"]


def test_decoded_pictures_of_an_earlier_reading_of_the_crawl_are_made_anew(prepared, tmp_path):
    from safetensors.numpy import load_file

    crawl, work = shutil.copytree(prepared.parent / "crawl", tmp_path / "crawl"), tmp_path / "work"

    def trained():
        cn.ingest(crawl, output=work, val_share=0, workers=0, quiet=True)
        cn.train(work, recipe="model-a", epochs=1, cache=True, **SMALL)
        (path,) = caches(work)
        return load_file(path)["pixels"].reshape(60, 40, 40, 3)

    before = trained()
    Image.new("RGB", (40, 40), "white").save(crawl / "blue" / "003.png")
    after = trained()
    assert (after[3] == 255).all()
    assert [place for place in range(60) if (before[place] != after[place]).any()] == [3]


def test_whether_pictures_were_kept_decoded_is_a_setting(work, capsys):
    cn.train(work, recipe="model-a", epochs=1, cache=True, **SMALL)
    settings = json.loads((work / "runs/model-a/settings.json").read_text(encoding="utf-8"))
    assert settings["cache"] is True
    assert cn.train(work, recipe="model-a", epochs=1, cache=True, **SMALL).up_to_date
    shutil.rmtree(work / "cache")
    assert cn.train(work, recipe="model-a", epochs=1, cache=True, **SMALL).up_to_date
    capsys.readouterr()
    assert not cn.train(work, recipe="model-a", epochs=1, **(SMALL | {"quiet": False})).up_to_date
    assert "Run model-a was trained with other settings (cache yes, now no)" in capsys.readouterr().err
    # As it was before there were caches.
    assert "cache" not in json.loads((work / "runs/model-a/settings.json").read_text(encoding="utf-8"))


def test_a_disk_without_room_for_the_decoded_pictures_is_one_sentence(work, monkeypatch):
    before = sorted(work.rglob("*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=260_000))
    with pytest.raises(MachineError, match=r"would take 0\.261 MB in .*, and the disk has 0\.26 MB free: ") as raised:
        cn.train(work, recipe="model-a", cache=True, **SMALL)
    assert raised.value.exit_code == 4
    assert str(raised.value).endswith("free some space, or train without --cache.")
    assert "\n" not in str(raised.value)
    assert [path for path in sorted(work.rglob("*")) if path not in before and path.name != ".lock"] == []


def test_half_of_the_decoded_pictures_are_never_used(work, monkeypatch):
    from curriculumnet.images import cache

    options = SMALL | {"epochs": 1, "precision": "float32", "cache": True}
    cn.train(work, recipe="model-a", name="whole", **options)
    (path,) = caches(work)
    whole, through = path.read_bytes(), cache.decoded
    path.unlink()

    def breaks_off(*arguments):
        yield next(through(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decoded", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-a", name="stopped", **options)
    assert caches(work) == []
    monkeypatch.undo()
    # What a killed process leaves, and what copying a work folder may.
    (work / "cache/.writing-1-55px.safetensors").write_bytes(whole[:1000])
    path.write_bytes(whole[:-1000])
    cn.train(work, recipe="model-a", name="stopped", **options)
    assert caches(work) == [path]
    assert path.read_bytes() == whole
    one, other = weights(work, "whole"), weights(work, "stopped")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_training_along_decoded_pictures_goes_on_where_it_was(work, monkeypatch):
    options = SMALL | {"epochs": 3, "precision": "float32", "cache": True, "checkpoint_minutes": 0}
    cn.train(work, recipe="model-d", name="whole", **options)
    through = loader.load

    monkeypatch.setattr(loader, "load", breaking_off(through))
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-d", name="stopped", **options)
    monkeypatch.setattr(loader, "load", through)
    shutil.rmtree(work / "cache")
    cn.train(work, recipe="model-d", name="stopped", **options)
    whole, stopped = weights(work, "whole"), weights(work, "stopped")
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)


def test_a_picture_that_changed_before_it_was_decoded_is_named(work, prepared, tmp_path):
    crawl = shutil.copytree(prepared.parent / "crawl", tmp_path / "crawl")
    cn.ingest(crawl, output=tmp_path / "other", val_share=0, workers=0, quiet=True)
    Image.new("RGB", (50, 40), "white").save(crawl / "blue" / "003.png")
    with pytest.raises(SourceError, match=r"blue/003\.png in .* has changed since it was ingested \(its bytes have"):
        cn.train(tmp_path / "other", recipe="model-a", cache=True, **SMALL)
    assert caches(tmp_path / "other") == []


def test_a_checkpoint_of_another_version_is_passed_over(work, monkeypatch, capsys):
    options = SMALL | {"epochs": 3, "checkpoint_minutes": 0, "quiet": False}
    through = loader.load
    monkeypatch.setattr(loader, "load", breaking_off(through))
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-a", **options)
    monkeypatch.setattr(loader, "load", through)
    for path in (work / "runs/model-a/checkpoints").glob("*.pt"):
        known = torch.load(path, weights_only=True)
        del known["format"], known["state"]["dynamics"]
        torch.save(known, path)
    capsys.readouterr()
    assert cn.train(work, recipe="model-a", **options).steps
    assert "The checkpoint of step 4 is of another version of curriculumnet" in capsys.readouterr().err


def test_handlers_of_signals_are_those_of_before(work):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    cn.train(work, recipe="model-a", epochs=0.3, **SMALL)
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize("damage", ["cut short", "emptied", "overwritten", "one bit of a weight"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(work, monkeypatch, capsys, damage):
    options = SMALL | {"epochs": 3, "precision": "float32", "checkpoint_minutes": 0, "quiet": False}
    cn.train(work, recipe="model-d", name="whole", **options)
    through = loader.load
    monkeypatch.setattr(loader, "load", breaking_off(through))
    with pytest.raises(KeyboardInterrupt):
        cn.train(work, recipe="model-d", name="stopped", **options)
    monkeypatch.setattr(loader, "load", through)
    newest = work / "runs/stopped/checkpoints/step-00000004.pt"
    data = newest.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    harm = {"cut short": data[:-1000], "emptied": b"", "overwritten": b"x" * len(data), "one bit of a weight": flipped}
    newest.write_bytes(harm[damage])
    capsys.readouterr()
    cn.train(work, recipe="model-d", name="stopped", **options)
    said = capsys.readouterr().err
    assert "The checkpoint of step 4 is damaged" in said
    assert "going on from step 3 of" in said
    whole, stopped = weights(work, "whole"), weights(work, "stopped")
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)


def test_a_loss_out_of_bounds_names_the_step_the_images_and_what_to_try(work):
    with pytest.raises(UsageError, match=r"no longer finite at step \d+, of (red|green|blue)/\d+\.png") as raised:
        cn.train(work, recipe="model-a", epochs=9, learning_rate=1e6, precision="float32", **SMALL)
    assert str(raised.value).endswith("start again with a lower --learning-rate than 1e+06, with --clip-norm 1.")


def test_how_each_image_was_learnt_is_recorded(work):
    done = cn.train(work, recipe="model-a", epochs=10, **SMALL)
    rows = tables.read(done.folder / "dynamics.parquet")
    assert sum(rows["seen"].to_pylist()) == done.steps * 16
    assert set(rows["seen"].to_pylist()) <= {9, 10, 11}
    assert all(0 <= value <= 1 for value in rows["agreement"].to_pylist())
    losses, agreements = (np.array(rows[name].to_pylist(), dtype=float) for name in ("losses", "agreements"))
    assert losses.shape == agreements.shape == (54, 5)
    assert np.nanmean(losses[:, 4]) < np.nanmean(losses[:, 0])
    assert np.nanmean(agreements[:, 4]) > np.nanmean(agreements[:, 0])
    history = done.table()
    accuracy = history.filter(pc.equal(history["metric"], "train_accuracy"))["value"].to_pylist()
    assert np.mean(accuracy) == pytest.approx(np.average(rows["agreement"], weights=rows["seen"]), abs=0.02)


def test_a_clean_subset_alone_leaves_the_others_unseen(work):
    rows = tables.read(cn.train(work, recipe="model-b", epochs=1, **SMALL).folder / "dynamics.parquet")
    unseen = np.array(rows["seen"].to_pylist()) == 0
    assert unseen.any()
    assert (np.isnan(rows["loss"].to_numpy()) == unseen).all()


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "rmsprop", "schedule": "step"},
        {"mixup": 0.2, "clip_norm": 1.0, "accumulate": 2},
        {"balance": "sqrt", "places": "equal"},
        {"stage_steps": (3, 2, 4)},
        {"momentum": 0.0},
    ],
)
def test_further_settings_train_and_are_settings(work, options):
    first = cn.train(work, recipe="model-d", epochs=1, **SMALL)
    again = cn.train(work, recipe="model-d", epochs=1, **SMALL, **options)
    assert not again.up_to_date
    assert cn.train(work, recipe="model-d", epochs=1, **SMALL, **options).up_to_date
    assert again.steps == (9 if "stage_steps" in options else first.steps)
    known = json.loads((again.folder / "settings.json").read_text(encoding="utf-8"))
    assert {name: known[name] for name in options} == json.loads(json.dumps(options))


def test_half_precision_of_a_gpu_is_refused_without_one(work):
    with pytest.raises(MachineError, match="float16, which needs a GPU") as raised:
        cn.train(work, recipe="model-a", precision="float16", **SMALL)
    assert raised.value.exit_code == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler gives it, of itself
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"precision": "float16"}, {"compile_": True}])
def test_a_gpu_learns_what_is_there(work, options):
    done = cn.train(work, recipe="model-a", epochs=12, **(SMALL | {"device": "cuda"}), **options)
    history = done.table()
    errors = history.filter(pc.equal(history["metric"], "test_top1_error"))["value"].to_pylist()
    assert errors[-1] <= 0.2


@pytest.mark.slow
def test_without_a_compiler_compiling_is_refused(work):
    words = shlex.split(f"train {work} --recipe model-a --model test_resnet --image-size 32 --device cpu --compile")
    done = subprocess.run(
        [sys.executable, "-m", "curriculumnet", *words],
        env=os.environ | {"CXX": "no-such-compiler", "PATH": os.path.dirname(sys.executable)},  # noqa: PTH120
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert done.stderr.endswith("install a C++ compiler, or leave out --compile.\n")


@pytest.mark.slow
def test_a_compiled_network_is_the_same_network(work):
    options = SMALL | {"epochs": 1, "precision": "float32"}
    for name, compiled in (("plain", False), ("compiled", True)):
        cn.train(work, recipe="model-a", name=name, compile_=compiled, **options)
    plain, compiled = weights(work, "plain"), weights(work, "compiled")
    assert plain.keys() == compiled.keys()
    assert all(torch.allclose(plain[key].float(), compiled[key].float(), atol=1e-2) for key in plain)


def test_a_training_goes_on_from_an_earlier_network_and_may_leave_all_but_its_classifier(work):
    cn.train(work, recipe="model-a", epochs=8, **SMALL)
    options = {**SMALL, "image_size": None, "model": None, "ema_decay": 0.0}
    cn.train(work, recipe="model-d", name="frozen", continue_from="model-a", freeze=True, epochs=1, **options)
    cn.train(work, recipe="model-d", name="free", continue_from="model-a", epochs=1, **options)
    before, frozen, free = (weights(work, name) for name in ("model-a", "frozen", "free"))
    changed = {name for name in before if not torch.equal(before[name], frozen[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert len({name for name in before if not torch.equal(before[name], free[name])}) > len(before) / 2
    known = json.loads((work / "runs/frozen/settings.json").read_text(encoding="utf-8"))
    assert {name: known[name] for name in ("model", "image_size", "continue_from", "freeze", "epochs")} == {
        "model": "test_resnet",
        "image_size": 32,
        "continue_from": "model-a",
        "freeze": True,
        "epochs": 1,
    }


def test_a_network_goes_on_with_further_categories(work, tmp_path, draw):
    cn.train(work, recipe="model-a", epochs=8, **SMALL)
    draw(tmp_path / "crawl", 12, seed=4)
    (tmp_path / "crawl/green").rename(tmp_path / "crawl/amber")
    other = cn.ingest(tmp_path / "crawl", output=tmp_path / "other", workers=0, quiet=True).work
    options = {
        **SMALL,
        "image_size": None,
        "model": None,
        "ema_decay": 0.0,
        "quiet": False,
        "learning_rate": 1e-9,
    }
    model = str(work / "runs/model-a/model")
    cn.train(other, recipe="model-a", continue_from=model, freeze=True, epochs=0.2, **options)
    old, new = weights(work, "model-a"), weights(other, "model-a")
    # Sorted: blue, green, red before; amber, blue, red now.
    assert torch.allclose(new["fc.weight"][[1, 2]], old["fc.weight"][[0, 2]], atol=1e-6)
    assert not torch.allclose(new["fc.weight"][0], old["fc.weight"][1], atol=1e-2)
    assert cn.train(other, recipe="model-a", continue_from=Path(model), freeze=True, epochs=0.2, **options).up_to_date
    cn.train(work, recipe="model-a", epochs=9, **SMALL)
    assert not cn.train(other, recipe="model-a", continue_from=model, freeze=True, epochs=0.2, **options).up_to_date


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"freeze": True}, UsageError, "--freeze keeps weights as they are, which are random"),
        ({"continue_from": "model-a"}, UsageError, "which this training would replace: give it another --name"),
        ({"continue_from": "model-x", "name": "b"}, UnknownNameError, "There is no run 'model-x'"),
        ({"continue_from": "model-a", "name": "b", "pretrained": True}, UsageError, "give one of them"),
        ({"continue_from": "model-a", "name": "b", "model": "resnet10t"}, UsageError, "leave --model out"),
        ({"continue_from": "model-a", "name": "b", "model": "resnet18"}, UsageError, "leave --model out"),
        ({"dropout": 1.5}, UsageError, "--dropout is 1.5: it must be at least 0 and below 1"),
        ({"pretrained": True, "multi_scale": True}, UsageError, "leave one of them out"),
    ],
)
def test_beginnings_that_do_not_fit_are_one_sentence(trained, options, error, says):
    given = {**SMALL, "recipe": "model-a", "epochs": 1, "small_stem": False, **options}
    with pytest.raises(error, match=says):
        cn.train(trained, **given)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """A work folder with a run; not to be changed."""
    work = shutil.copytree(prepared, tmp_path_factory.mktemp("trained") / "work")
    cn.train(work, recipe="model-a", epochs=0.5, small_stem=False, **SMALL)
    return work


def test_a_first_layer_of_several_scales_and_dropout_are_settings_of_a_run(work):
    options = SMALL | {"model": "resnet18", "epochs": 0.3, "small_stem": False}
    done = cn.train(work, recipe="model-a", multi_scale=True, dropout=0.3, **options)
    assert any(".scales." in name for name in weights(work, "model-a"))
    assert cn.evaluate(work, workers=0, device="cpu", quiet=True).figures
    config = json.loads((done.model / "config.json").read_text(encoding="utf-8"))
    assert config["curriculumnet"]["training"]["dropout"] == 0.3
    again = cn.train(work, recipe="model-a", name="again", continue_from="model-a", **(SMALL | {"model": None}))
    assert any(".scales." in name for name in weights(work, again.run))
    cn.train(work, recipe="model-a", name="plain", **options)
    with pytest.raises(UsageError, match="leave out --model"):
        cn.train(work, recipe="model-a", name="b", continue_from="plain", multi_scale=True, **options)


def test_a_begun_training_that_another_would_replace_is_named_before(work, monkeypatch, capsys):
    options = SMALL | {"epochs": 3, "checkpoint_minutes": 0, "quiet": False}
    through = loader.load
    monkeypatch.setattr(loader, "load", breaking_off(through))
    for rate in (0.1, 0.2):
        capsys.readouterr()
        with pytest.raises(KeyboardInterrupt):
            cn.train(work, recipe="model-a", learning_rate=rate, **options)
    said = capsys.readouterr().err
    assert (
        "A training of model-a with other settings (learning rate 0.1, now 0.2) had been begun: its checkpoints" in said
    )
    monkeypatch.setattr(loader, "load", through)
    capsys.readouterr()
    cn.train(work, recipe="model-a", learning_rate=0.2, **options)
    said = capsys.readouterr().err
    assert "going on from step 4" in said
    assert "had been begun" not in said
    cn.train(work, recipe="model-a", learning_rate=0.3, **options)
    said = capsys.readouterr().err
    assert "it is replaced when this training ends" in said
    assert "had been begun" not in said


def test_a_curriculum_may_follow_how_a_network_learnt(trained, tmp_path):
    work = shutil.copytree(trained, tmp_path / "work")
    made = cn.design(work, method="dynamics", name="learnt", quiet=True)
    losses = {row["image_id"]: row["loss"] for row in tables.read(work / "runs/model-a/dynamics.parquet").to_pylist()}
    labels = tables.read(work / "images.parquet")["label"].to_pylist()
    rows = made.table().to_pylist()
    for category in COLOURS:
        mine = [row for row in rows if labels[row["image_id"]] == category]
        seen = sorted(
            (row for row in mine if losses[row["image_id"]] == losses[row["image_id"]]),
            key=lambda row: -row["cleanliness"],
        )
        ordered = [losses[row["image_id"]] for row in seen]
        assert ordered == sorted(ordered)
        unseen = [row["cleanliness"] for row in mine if losses[row["image_id"]] != losses[row["image_id"]]]
        assert not unseen or max(unseen) < seen[-1]["cleanliness"]
    assert cn.train(work, recipe="model-b", curriculum="learnt", epochs=0.5, **SMALL).steps
    cn.train(work, recipe="model-a", epochs=1, **SMALL)
    assert "design learnt" in [row["step"] for row in cn.status(work).steps if row["state"] == "outdated"]


def test_how_a_network_learnt_must_be_known(trained, prepared, tmp_path):
    with pytest.raises(WorkFolderError, match="has no run yet"):
        cn.design(shutil.copytree(prepared, tmp_path / "work"), method="dynamics", quiet=True)
    with pytest.raises(UnknownNameError, match="There is no run 'b'"):
        cn.design(trained, method="dynamics", run="b", name="c", quiet=True)
    work = shutil.copytree(trained, tmp_path / "other")
    (work / "runs/model-a/dynamics.parquet").unlink()
    with pytest.raises(UsageError, match="has no record of how it learnt each image"):
        cn.design(work, method="dynamics", name="c", quiet=True)


@pytest.mark.parametrize("weight_norm", [False, True])
def test_the_loss_that_is_recorded_is_the_one_that_is_trained_on(work, weight_norm):
    done = cn.train(work, recipe="model-d", epochs=2, weight_norm=weight_norm, **SMALL)
    rows = {(row["step"], row["metric"]): row["value"] for row in done.table().to_pylist()}
    stage = json.loads((done.folder / "settings.json").read_text(encoding="utf-8"))["stages"][-1]
    means = [rows[done.steps, f"train_loss_subset_{subset}"] for subset in stage["subsets"]]
    weighted = np.multiply(stage["places"], stage["weights"])
    divisor = weighted.sum() if weight_norm else sum(stage["places"])
    assert rows[done.steps, "train_loss"] == pytest.approx(np.dot(weighted, means) / divisor, rel=1e-5)
