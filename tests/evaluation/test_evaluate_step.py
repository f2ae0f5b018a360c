"""The step `evaluate`, through its public door."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import curriculumnet as cn
from curriculumnet.console import Grid, as_json
from curriculumnet.errors import InputError, SourceError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.networks.folder import load
from curriculumnet.networks.predictor import Predictor
from curriculumnet.work import tables

PLAIN = {"device": "cpu", "workers": 0, "quiet": True}


def metrics_of(work, run):
    return json.loads(work.folder.file(f"runs/{run}/metrics.json").read_text(encoding="utf-8"))


def figure(rows, **wanted):
    """The one row that fits."""
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def comparisons_of(work):
    return json.loads(work.folder.file("comparisons.json").read_text(encoding="utf-8"))


def predictions_of(work, run, name):
    table = tables.read(work.folder.file(f"runs/{run}/predictions-{name}.parquet"))
    flat = table["probabilities"].combine_chunks().flatten().to_numpy()
    return table, flat.reshape(table.num_rows, -1)


@pytest.fixture
def asked(monkeypatch):
    """How many views each run's network was shown."""
    counted = Counter()
    through = Predictor.probabilities

    def count(self, batch):
        counted[self.model.training["recipe"]] += len(batch)
        return through(self, batch)

    monkeypatch.setattr(Predictor, "probabilities", count)
    return counted


# -- the figures ------------------------------------------------------------------------------------------------------


def test_networks_that_always_say_the_same_have_the_errors_that_follow(work):
    cn.evaluate(work.path, **PLAIN)
    labels = work.labels("test")
    rows = metrics_of(work, "model-d")
    for crops in (1, 10):
        about = {"split": "test", "labels": "clean", "crops": crops}
        top1 = figure(rows, metric="top1_error", category=None, **about)
        assert top1["value"] == pytest.approx(1 - labels.count("birch") / len(labels))
        assert top1["n"] == len(labels)
        assert top1["low"] < top1["value"] < top1["high"]
        for category in work.categories:
            found = figure(rows, metric="top1_error", category=category, **about)
            assert found["value"] == (category != "birch")
            assert found["n"] == labels.count(category)
            # Of fir, oak and yew, only the first is among the five.
            found = figure(rows, metric="top5_error", category=category, **about)
            assert found["value"] == (category in ("oak", "yew"))
    tables.check_rows(tables.METRICS, rows)


def centre(pixels, size):
    top, left = (round((side - size) / 2) for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def ten(pixels, size):
    """The corners, the centre, and their mirror images."""
    five = [
        pixels[:size, :size],
        pixels[:size, -size:],
        pixels[-size:, :size],
        pixels[-size:, -size:],
        centre(pixels, size),
    ]
    return [*five, *(crop[:, ::-1] for crop in five)]


@pytest.mark.parametrize("crops", [1, 10])
def test_predictions_are_those_of_the_network_on_the_pictures(work, crops):
    cn.evaluate(work.path, run="random", crops=(crops,), **PLAIN)
    table, found = predictions_of(work, "random", "test" if crops == 1 else "test-10-crops")
    assert table["label"].to_pylist() == work.labels("test")
    assert len({tuple(row) for row in found.tolist()}) == len(found)

    network = load(work.path / "runs/random/model", torch.device("cpu"))
    mean, std = (np.array(values, np.float32) for values in (network.preprocessing.mean, network.preprocessing.std))
    for image_id, row in list(zip(table["image_id"].to_pylist(), found, strict=True))[::5]:
        image = Image.open(work.home / "test" / work.rows[image_id]["file_name"])
        # A crop of 32 is 0.875 of 36 pixels.
        short = min(image.size)
        image = image.resize([36 * side // short for side in image.size], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        shown = np.stack(ten(pixels, 32) if crops == 10 else [centre(pixels, 32)])
        batch = torch.from_numpy(((shown / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            expected = network.network(batch).softmax(dim=1).mean(dim=0).numpy()
        np.testing.assert_allclose(row, expected, atol=2e-3)


def test_how_pictures_are_batched_makes_no_difference(work):
    found = {}
    for batch_size, workers in ((64, 0), (7, 2), (1, 0)):
        work.train("random")
        work.folder.file("runs/random/metrics.json").unlink(missing_ok=True)
        cn.evaluate(work.path, run="random", batch_size=batch_size, **(PLAIN | {"workers": workers}))
        found[batch_size] = [predictions_of(work, "random", name)[1] for name in ("val", "test-10-crops")]
    for size in (7, 1):
        for mine, other in zip(found[size], found[64], strict=True):
            np.testing.assert_allclose(mine, other, atol=2e-3)


def test_only_used_images_count(work):
    for row in [row for row in work.rows if row["split"] == "test"][:4]:
        row["state"] = "copy"
    work.ingest()
    for name in ("model-a", "model-d", "random"):
        work.train(name, first="ash")
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    top1 = figure(metrics_of(work, "model-a"), split="test", metric="top1_error", category=None)
    assert top1["n"] == len(work.labels("test")) == 23
    assert top1["value"] == pytest.approx(21 / 23)


def test_of_few_categories_there_is_no_top5(make_work):
    work = make_work(("ash", "elm", "oak"), test=(3, 3, 3)).train("model-a", first="elm").train("model-d", first="oak")
    done = cn.evaluate(work.path, **PLAIN)
    assert {row["metric"] for row in done.figures + done.comparisons} == {"top1_error"}
    assert next(part.columns for part in done.summary() if isinstance(part, Grid)) == ("run", "top-1")


# -- whose labels -----------------------------------------------------------------------------------------------------


def test_it_says_whose_labels_the_figures_rest_on(work):
    done = cn.evaluate(work.path, **PLAIN)
    assert {(row["split"], row["labels"]) for row in done.figures} == {("test", "clean"), ("val", "crawl")}
    lines = [part for part in done.summary() if isinstance(part, str)]
    assert lines == [
        "27 test images: their labels are clean.",
        "14 validation images: their labels are the crawl's own, so a network is also blamed where the label is wrong.",
    ]


def test_validation_images_that_were_given_are_clean(make_work):
    work = make_work(clean_val=True).train("model-a", first="ash")
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert {row["labels"] for row in done.figures} == {"clean"}


def test_without_images_to_measure_on_it_warns_and_goes_on(make_work, capsys):
    work = make_work(test=(0,) * 7, val=0).train("model-a", first="ash")
    done = cn.evaluate(work.path, **PLAIN)
    assert (done.runs, done.figures, done.summary()) == (("model-a",), [], ["Nothing was measured."])
    assert "no validation or test images" in capsys.readouterr().err
    assert metrics_of(work, "model-a") == comparisons_of(work) == []


# -- comparisons ------------------------------------------------------------------------------------------------------


def test_every_run_is_compared_with_every_other(work):
    done = cn.evaluate(work.path, **PLAIN)
    rows = comparisons_of(work)
    tables.check_rows(tables.COMPARISONS, rows)
    assert len(rows) == 6 * 2 * 2 * 2
    labels = work.labels("test")
    about = {"split": "test", "labels": "clean", "crops": 10, "metric": "top1_error"}
    won = figure(rows, run="model-d", baseline="model-a", **about)
    assert won["value"] == pytest.approx((labels.count("birch") - labels.count("ash")) / len(labels))
    assert won["low"] < won["value"] < won["high"]
    assert (won["improved"], won["fell"], won["unchanged"], won["n"]) == (1, 1, 5, len(labels))
    lost = figure(rows, run="model-a", baseline="model-d", **about)
    assert (lost["value"], lost["low"], lost["high"]) == (-won["value"], -won["high"], -won["low"])
    assert done.baseline == "model-a"
    assert done.comparisons == [row for row in rows if row["baseline"] == "model-a"]


def test_a_difference_is_that_of_the_figures(work):
    done = cn.evaluate(work.path, **PLAIN)
    key = ("split", "labels", "crops", "metric")
    errors = {(row["run"], *(row[name] for name in key)): row["value"] for row in done.figures}
    for row in comparisons_of(work):
        own, other = (errors[(row[which], *(row[name] for name in key))] for which in ("run", "baseline"))
        assert row["value"] == pytest.approx(other - own)


def test_of_many_runs_the_newest_are_compared_and_the_baseline_with_them(work):
    for number in range(8):
        work.train(f"run-{number}", first=work.categories[number % 7])
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    rows = comparisons_of(work)
    names = ["model-a", *(f"run-{number}" for number in range(1, 8))]
    assert list(dict.fromkeys(row["run"] for row in rows)) == names
    assert len(rows) == 8 * 7 * 2 * 2
    assert len(done.runs) == 11


def test_without_a_model_a_the_oldest_run_is_the_baseline(make_work):
    work = make_work().train("first", first="ash").train("second", first="birch")
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert done.baseline == "first"
    assert {(row["run"], row["baseline"]) for row in done.comparisons} == {("second", "first")}


def test_the_seed_decides_the_paired_intervals_alone(work, asked):
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    before = work.folder.record("evaluate"), work.folder.record("evaluate:model-a")
    asked.clear()
    cn.evaluate(work.path, crops=(1,), seed=1, **PLAIN)
    assert work.folder.record("evaluate") != before[0]
    assert work.folder.record("evaluate:model-a") == before[1]
    assert not asked


# -- once, and again --------------------------------------------------------------------------------------------------


def test_what_was_evaluated_is_not_evaluated_again(work, asked, capsys):
    first = cn.evaluate(work.path, **PLAIN)
    n = len(work.labels("test")) + len(work.labels("val"))
    assert asked == dict.fromkeys(("model-a", "model-d", "random"), 11 * n)
    asked.clear()
    steps = work.folder.project["steps"]
    again = cn.evaluate(work.path, **(PLAIN | {"quiet": False}))
    assert not asked
    assert work.folder.project["steps"] == steps
    assert as_json(again) | {"seconds": 0} == as_json(first) | {"seconds": 0}
    assert capsys.readouterr().err.count("up to date; nothing to do") == 3


def test_only_new_and_changed_runs_are_asked(work, asked):
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    asked.clear()
    work.train("model-d", first="cedar").train("new", first="elm")
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert set(asked) == {"model-d", "new"}
    assert figure(done.figures, run="model-d", split="test", metric="top1_error")["value"] == pytest.approx(23 / 27)
    assert {row["run"] for row in comparisons_of(work)} == {"model-a", "model-d", "random", "new"}


def test_a_run_that_has_changed_since_is_not_compared(work):
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    work.train("model-d", first="cedar")
    cn.evaluate(work.path, run="model-a", crops=(1,), **PLAIN)
    assert {row["run"] for row in comparisons_of(work)} == {"model-a", "random"}


def test_figures_of_other_crops_stay(work, asked):
    cn.evaluate(work.path, run="model-a", crops=(1,), **PLAIN)
    n = asked.pop("model-a")
    done = cn.evaluate(work.path, run="model-a", crops=(10,), **PLAIN)
    assert asked == {"model-a": 10 * n}
    assert {row["crops"] for row in metrics_of(work, "model-a")} == {1, 10}
    assert {row["crops"] for row in done.figures} == {1, 10}
    asked.clear()
    cn.evaluate(work.path, run="model-a", **PLAIN)
    assert not asked


def test_answers_of_an_earlier_network_do_not_stay(work):
    cn.evaluate(work.path, run="model-a", **PLAIN)
    work.train("model-a", first="yew")
    cn.evaluate(work.path, run="model-a", crops=(1,), **PLAIN)
    left = sorted(path.name for path in (work.path / "runs/model-a").glob("predictions-*"))
    assert left == ["predictions-test.parquet", "predictions-val.parquet"]
    assert {row["crops"] for row in metrics_of(work, "model-a")} == {1}


def test_an_evaluation_that_was_stopped_ends_as_one_that_was_not(work, monkeypatch):
    through = Predictor.probabilities

    def breaks_off(self, batch):
        if self.model.training["recipe"] == "model-d":
            raise KeyboardInterrupt
        return through(self, batch)

    monkeypatch.setattr(Predictor, "probabilities", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert work.folder.names("evaluate") == ["model-a"]
    finished = work.folder.record("evaluate:model-a")
    monkeypatch.setattr(Predictor, "probabilities", through)
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert work.folder.record("evaluate:model-a") == finished
    assert len(comparisons_of(work)) == 6 * 2 * 2


# -- the result -------------------------------------------------------------------------------------------------------


def test_the_table_has_every_figure_of_every_run(work):
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    rows = done.table().to_pylist()
    expected = [{"run": run} | row for run in ("model-a", "model-d", "random") for row in metrics_of(work, run)]
    assert rows == expected


def test_the_summary_shows_errors_and_differences_with_intervals(work):
    grids = [part for part in cn.evaluate(work.path, **PLAIN).summary() if isinstance(part, Grid)]
    assert [grid.title for grid in grids] == [
        "Error in % on test images, clean labels, 1 crop; 95 % intervals",
        "Error in % on test images, clean labels, 10 crops; 95 % intervals",
        "Error in % on validation images, the crawl's own labels, 1 crop; 95 % intervals",
        "Error in % on validation images, the crawl's own labels, 10 crops; 95 % intervals",
        "Points of error less than model-a (+ is better): test images, 1 crop; 95 % paired intervals",
        "Points of error less than model-a (+ is better): test images, 10 crops; 95 % paired intervals",
        "Points of error less than model-a (+ is better): validation images, 1 crop; 95 % paired intervals",
        "Points of error less than model-a (+ is better): validation images, 10 crops; 95 % paired intervals",
    ]
    assert grids[0].rows[0] == ("model-a", "77.8 (63.0 to 92.6)", "22.2 (7.4 to 37.0)")
    assert [row[0] for row in grids[4].rows] == ["model-d", "random"]
    run, top1, top5, categories = grids[4].rows[0]
    assert (run, top5, categories) == ("model-d", "+0.0 (+0.0 to +0.0)", "+1 -1 =5")
    assert top1.startswith("-3.7 (-")


# -- wrong use and bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": "model-e"}, UnknownNameError, "There is no run 'model-e': it must be one of model-a, model-d, random"),
        ({"crops": (5,)}, UsageError, "--crops is 5: it must be 1 or 10"),
        ({"crops": ()}, UsageError, "--crops is empty"),
        ({"batch_size": 0}, UsageError, "--batch-size is 0"),
        ({"seed": -1}, UsageError, "--seed is -1"),
        ({"device": "tpu"}, UsageError, "There is no device 'tpu'"),
    ],
)
def test_wrong_use_is_one_sentence(work, arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        cn.evaluate(work.path, **(PLAIN | arguments))
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_without_a_run_it_says_how_to_make_one(make_work):
    work = make_work(val=0, test=(1,) * 7)
    with pytest.raises(WorkFolderError, match=r"has no run yet: `curriculumnet train .* --recipe model-a` makes one"):
        cn.evaluate(work.path, **PLAIN)


def test_a_picture_that_is_gone_stops_it_and_is_named(work):
    row = [row for row in work.rows if row["split"] == "test"][3]
    (work.home / "test" / row["file_name"]).unlink()
    with pytest.raises(SourceError, match=row["file_name"]) as raised:
        cn.evaluate(work.path, **PLAIN)
    assert raised.value.exit_code == 3
    assert work.folder.names("evaluate") == []


@pytest.mark.parametrize("spoil", ["gone", "broken", "other categories"])
def test_a_run_whose_network_does_not_fit_is_left_out_or_an_error_when_asked_for(work, capsys, spoil):
    weights = work.path / "runs/model-d/model/model.safetensors"
    if spoil == "gone":
        weights.unlink()
    elif spoil == "broken":
        weights.write_bytes(b"no weights")
    else:
        work.train("model-d", categories=("ash", "elm"))
    done = cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert done.runs == ("model-a", "random")
    warned = capsys.readouterr().err
    assert "model-d" in warned
    assert "left out" in warned
    with pytest.raises(InputError, match="model-d"):
        cn.evaluate(work.path, run="model-d", **PLAIN)


def test_it_warns_when_a_run_was_trained_on_other_images_than_there_are_now(work, capsys):
    work.draw("test", "test", "yew", 1)
    work.ingest()
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    assert capsys.readouterr().err == ""
    work.draw("crawl", "val", "yew", 1)
    work.ingest()
    work.train("new", first="ash")
    cn.evaluate(work.path, crops=(1,), **PLAIN)
    warned = capsys.readouterr().err
    assert "Run model-a was trained before the images were ingested again" in warned
    assert "Run new" not in warned
