"""Which pair speaks for the curriculum, and in which figure."""

from __future__ import annotations

from typing import Any

import pytest

from curriculumnet.reporting.contents import Run
from curriculumnet.reporting.verdict import choose_pair, importance


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
