"""Which pair speaks for the curriculum, and in which figure."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from curriculumnet.reporting.contents import Contents, Run
from curriculumnet.reporting.verdict import Verdict, choose_pair, importance, judge


def run(name: str, recipe: str | None = None) -> Run:
    recipe = recipe or name
    along = "features" if recipe in ("model-b", "model-c", "model-d") else None
    return Run(name, {"recipe": recipe, "curriculum": along}, [], None)


def row(first: str, second: str, **more: Any) -> dict[str, Any]:
    figure = {"split": "test", "labels": "clean", "crops": 1, "metric": "top1_error"}
    ends = {"value": 0.02, "low": -0.01, "high": 0.05, "n": 100, "improved": 3, "fell": 2, "unchanged": 1}
    return {"run": first, "baseline": second} | figure | ends | more


@pytest.mark.parametrize(
    ("names", "pairs", "chosen"),
    [
        (["model-a", "model-d"], [("model-d", "model-a")], ("model-d", "model-a")),
        (["model-a", "model-d"], [("model-a", "model-d"), ("model-d", "model-a")], ("model-d", "model-a")),
        (["model-a", "model-b", "model-d"], [("model-b", "model-a"), ("model-d", "model-a")], ("model-d", "model-a")),
        (
            ["model-a", "model-a-balanced", "model-d"],
            [("model-d", "model-a-balanced"), ("model-a-balanced", "model-a"), ("model-d", "model-a")],
            ("model-d", "model-a"),
        ),
        (["model-a-balanced", "model-d"], [("model-d", "model-a-balanced")], ("model-d", "model-a-balanced")),
        (["model-a", "model-a-balanced"], [("model-a-balanced", "model-a")], ("model-a-balanced", "model-a")),
        (["model-a", "model-d"], [], None),
        (["model-a"], [("gone", "model-a")], None),
    ],
)
def test_a_curriculum_run_is_set_against_model_a(
    names: list[str], pairs: list[tuple[str, str]], chosen: tuple[str, str] | None
) -> None:
    assert choose_pair([run(name) for name in names], [row(*pair) for pair in pairs]) == chosen


def test_the_newest_of_equal_runs_speaks() -> None:
    runs = [run("model-a"), run("first", "model-d"), run("second", "model-d")]
    assert choose_pair(runs, [row("first", "model-a"), row("second", "model-a")]) == ("second", "model-a")


def test_clean_test_labels_and_one_crop_come_first() -> None:
    figures = [
        {"split": "val", "labels": "crawl", "crops": 1, "metric": "top1_error"},
        {"split": "test", "labels": "clean", "crops": 10, "metric": "top1_error"},
        {"split": "val", "labels": "clean", "crops": 1, "metric": "top1_error"},
        {"split": "test", "labels": "clean", "crops": 1, "metric": "top5_error"},
        {"split": "test", "labels": "clean", "crops": 1, "metric": "top1_error"},
    ]
    assert sorted(figures, key=importance) == [figures[place] for place in (4, 3, 1, 2, 0)]


def measured(name: str, errors: dict[str, tuple[float, int]]) -> Run:
    """A run with its error and number of test images in each category."""
    n = sum(images for _, images in errors.values())
    about = {"split": "test", "labels": "clean", "crops": 1, "metric": "top1_error", "low": 0.0, "high": 1.0}
    metrics = [about | {"category": key, "value": value, "n": images} for key, (value, images) in errors.items()]
    whole = sum(value * images for value, images in errors.values()) / n
    return Run(name, run(name).settings, [*metrics, about | {"category": None, "value": whole, "n": n}], None)


def verdict(baseline: dict[str, tuple[float, int]], along: dict[str, tuple[float, int]]) -> Verdict:
    """What is said of two runs whose difference has an interval of ±2 points."""
    runs = measured("model-a", baseline), measured("model-d", along)
    value = runs[0].metrics[-1]["value"] - runs[1].metrics[-1]["value"]
    found = row("model-d", "model-a", value=value, low=value - 0.02, high=value + 0.02, n=runs[0].metrics[-1]["n"])
    contents = Contents({}, pa.table({}), None, runs, 0, [found])
    return judge(contents, ("model-d", "model-a"))


def test_a_gain_that_one_large_category_carries_is_no_plain_gain() -> None:
    found = verdict(
        {"apple": (0.30, 600), "fig": (0.50, 100), "lime": (0.60, 100)},
        {"apple": (0.10, 600), "fig": (0.66, 100), "lime": (0.70, 100)},
    )
    assert found.finding == "mixed"
    assert "of model-d is 11.8 points lower than that of model-a" in found.sentence
    assert "(95\N{NARROW NO-BREAK SPACE}% interval of the gain +9.7 to +13.7)" in found.sentence
    assert found.sentence.endswith("but 2.0 points higher where every category does.")
    told = " ".join(found.details).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "Where every category of at least 10 images counts the same, the errors are 48.7 % and 46.7 %." in told
    assert "model-a errs at least as often as always answering “apple” would (25.0 %)." in told


def test_harm_in_one_large_category_is_no_plain_harm() -> None:
    found = verdict(
        {"apple": (0.10, 600), "fig": (0.66, 100), "lime": (0.70, 100)},
        {"apple": (0.30, 600), "fig": (0.50, 100), "lime": (0.60, 100)},
    )
    assert found.finding == "mixed"
    assert found.sentence.endswith("but 2.0 points lower where every category does.")


def test_a_gain_that_the_categories_share_is_one_and_their_mean_stands_below() -> None:
    found = verdict({"apple": (0.30, 600), "fig": (0.50, 100)}, {"apple": (0.10, 600), "fig": (0.40, 100)})
    assert found.finding == "gain"
    told = " ".join(found.details).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "Where every category of at least 10 images counts the same, the errors are 25.0 % and 40.0 %." in told
    assert "model-a errs at least as often as always answering “apple” would (14.3 %)." in told


def test_nothing_is_said_of_categories_where_they_are_of_one_size() -> None:
    found = verdict({"apple": (0.30, 100), "fig": (0.60, 100)}, {"apple": (0.10, 100), "fig": (0.40, 100)})
    assert found.finding == "gain"
    assert not any("categor" in sentence or "answering" in sentence for sentence in found.details)


@pytest.mark.parametrize(
    ("lime", "n", "finding"), [(0.6, 1, "gain"), (0.6, 9, "gain"), (0.6, 10, "mixed"), (0.4004, 10, "gain")]
)
def test_neither_a_handful_of_images_nor_a_hundredth_of_a_point_makes_a_gain_doubtful(
    lime: float, n: int, finding: str
) -> None:
    assert (
        verdict({"apple": (0.3, 1000), "lime": (0.2, n)}, {"apple": (0.1, 1000), "lime": (lime, n)}).finding == finding
    )


@pytest.mark.parametrize(("d", "claim"), [(0.86, "did harm"), (0.70, "helped"), (0.79, "Nothing was gained")])
def test_two_networks_that_know_less_than_one_answer_are_called_that(d: float, claim: str) -> None:
    found = verdict({"apple": (0.79, 300), "fig": (0.79, 300)}, {"apple": (d, 300), "fig": (d, 300)})
    assert claim in found.sentence
    end = "; but both err at least as often as always answering “apple” would (50.0\N{NARROW NO-BREAK SPACE}%)."
    assert found.sentence.endswith(end)


def test_of_equal_runs_one_of_the_baselines_settings_speaks() -> None:
    runs = [run("model-a"), run("first", "model-d"), run("second", "model-d")]
    runs[0].settings["epochs"], runs[1].settings["epochs"], runs[2].settings["epochs"] = 30, 30, 3
    assert choose_pair(runs, [row("first", "model-a"), row("second", "model-a")]) == ("first", "model-a")


@pytest.mark.parametrize(
    ("settings", "listed"),
    [
        ({"epochs": 3}, "epochs"),
        ({"epochs": 3, "mixup": 0.2, "optimizer": "adamw"}, "epochs, mixup and optimizer"),
        ({"places": "equal", "stages": [1, 2], "seed": 3, "cache": True}, ""),
    ],
)
def test_the_curriculum_is_neither_praised_nor_blamed_where_more_than_it_differs(
    settings: dict[str, Any], listed: str
) -> None:
    errors = [{"apple": (error, 100), "fig": (error, 100)} for error in (0.2, 0.4)]
    runs = measured("model-a", errors[0]), measured("model-d", errors[1])
    runs[0].settings.update({"epochs": 30, "optimizer": "sgd", "seed": 0})
    runs[1].settings.update({"epochs": 30, "optimizer": "sgd"} | settings)
    found = row("model-d", "model-a", value=-0.2, low=-0.22, high=-0.18)
    sentence = judge(Contents({}, pa.table({}), None, runs, 0, [found]), ("model-d", "model-a")).sentence
    assert sentence.startswith("model-d is worse" if listed else "The curriculum did harm")
    assert (f"but they also differ in {listed}, so that this tells nothing of the curriculum." in sentence) == bool(
        listed
    )
