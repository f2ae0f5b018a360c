"""The categories: sizes, subsets, estimated noise, and the errors of the two compared runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curriculumnet.reporting.contents import Contents, Row


@dataclass(frozen=True)
class Noise:
    """The estimated share of wrong labels, with its bounds where they are known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Category:
    """One category.

    Attributes
    ----------
    index : int
        Its place in the order of the categories.
    name : str
    train, val, test : int
        Used images.
    unused : int
        Files that do not take part.
    subset_sizes : tuple of int
        Training images per subset, cleanest first; empty without a curriculum.
    noise : Noise or None
    error, baseline_error : float or None
        Top-1 errors of the compared runs.
    """

    index: int
    name: str
    train: int
    val: int
    test: int
    unused: int
    subset_sizes: tuple[int, ...]
    noise: Noise | None
    error: float | None
    baseline_error: float | None

    @property
    def clean_share(self) -> float | None:
        """Share of the training images in the clean subset."""
        total = sum(self.subset_sizes)
        return self.subset_sizes[0] / total if total else None

    @property
    def difference(self) -> float | None:
        """The baseline's error minus the run's: positive where the run is better."""
        if self.error is None or self.baseline_error is None:
            return None
        return self.baseline_error - self.error

    @property
    def doubt(self) -> float:
        """How noisy the category looks: its estimated noise, or else the share outside the clean subset."""
        if self.noise is not None:
            return self.noise.value
        return 0.0 if self.clean_share is None else 1 - self.clean_share


def categories(contents: Contents, row: Row | None) -> list[Category]:
    """Return all categories in their order.

    Parameters
    ----------
    contents : Contents
    row : dict or None
        The comparison whose two runs, images, labels and crops the errors belong to.
    """
    used = _used_images(contents)
    designed = _designed(contents)
    errors = category_errors(contents.run(row["run"]).metrics, row) if row else {}
    baseline = category_errors(contents.run(row["baseline"]).metrics, row) if row else {}
    found = []
    for index, name in enumerate(contents.categories):
        sizes, noise = designed.get(name, ((), None))
        counts = {key: used.get((name, key), 0) for key in ("train", "val", "test", "unused")}
        found.append(
            Category(
                index,
                name,
                **counts,
                subset_sizes=sizes,
                noise=noise,
                error=errors.get(name, (None,))[0],
                baseline_error=baseline.get(name, (None,))[0],
            )
        )
    return found


def category_errors(metrics: Sequence[Row], like: Row) -> dict[str, tuple[float, int]]:
    """Return each category's top-1 error and the images it rests on, on the images, labels and crops of a row."""
    keys = ("split", "labels", "crops")
    return {
        row["category"]: (row["value"], row["n"])
        for row in metrics
        if row["category"] is not None and row["metric"] == "top1_error" and all(row[key] == like[key] for key in keys)
    }


def noisiest(found: Sequence[Category], limit: int) -> list[Category]:
    """Return all categories in their order if there are few; else the `limit` noisiest, noisiest first."""
    if len(found) <= limit:
        return list(found)
    return sorted(found, key=lambda category: (-category.doubt, category.index))[:limit]


def _used_images(contents: Contents) -> dict[tuple[str, str], int]:
    """Return the number of images per category and split; those that are not used count as ``unused``."""
    counts: dict[tuple[str, str], int] = {}
    grouped = contents.images.group_by(["label", "split", "state"]).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        key = row["label"], row["split"] if row["state"] == "used" else "unused"
        counts[key] = counts.get(key, 0) + row["count_all"]
    return counts


def _designed(contents: Contents) -> dict[str, tuple[tuple[int, ...], Noise | None]]:
    if contents.curriculum is None:
        return {}
    rows: list[dict[str, Any]] = contents.curriculum.categories.to_pylist()
    return {
        row["category"]: (
            tuple(row["subset_sizes"]),
            None if row["noise_rate"] is None else Noise(row["noise_rate"], row["noise_low"], row["noise_high"]),
        )
        for row in rows
    }
