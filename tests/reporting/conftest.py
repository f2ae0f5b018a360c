"""Work folders as the steps leave them, made by code: drawn pictures, plausible tables, figures as asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from curriculumnet.work import tables
from curriculumnet.work.folder import COMPARISONS, IMAGES, WorkFolder

RECIPES = ("model-a", "model-a-balanced", "model-d")


def draw(path: Path, category: int, seed: int, size: int = 120) -> None:
    """A picture whose colour tells its category, with a pattern of its own."""
    rng = np.random.default_rng((category, seed))
    ground = tuple(int(v) for v in np.random.default_rng(category).integers(40, 215, 3))
    image = Image.new("RGB", (size, size * 3 // 4), ground)
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = rng.integers(0, size, 3)
        pen.ellipse(
            (x - r // 4, y - r // 4, x + r // 4, y + r // 4), fill=tuple(int(v) for v in rng.integers(0, 255, 3))
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=88)


class Crawl:
    """A work folder over drawn pictures, filled step by step.

    Parameters
    ----------
    home : Path
    categories : sequence of str
        Their names, which need not be fit for a folder.
    per_category : int
        Used training images of each.
    picture : str or None
        One file that stands for every picture; unless given, each is drawn.
    """

    def __init__(
        self,
        home: Path,
        categories: Sequence[str],
        per_category: int = 12,
        *,
        picture: str | None = None,
        seed: int = 0,
    ) -> None:
        self.root = home / "crawl"
        self.categories = sorted(categories)
        self.rng = np.random.default_rng(seed)
        self.folder = WorkFolder.create(home / "work")
        self.path = self.folder.path
        self.picture = picture
        self._ingest(per_category)

    def _ingest(self, per_category: int) -> None:
        rows: list[dict[str, Any]] = []

        def add(label: str, split: str, state: str, reason: str = "", conflict: bool = False, **more: Any) -> None:
            number = self.categories.index(label)
            rows.append(
                {
                    "image_id": len(rows),
                    "source": "test" if split == "test" else "crawl",
                    "file_name": self.picture or f"{number:04d}/{len(rows):06d}.jpg",
                    "label": label,
                    "split": split,
                    "state": state,
                    "reason": reason,
                    "label_conflict": conflict,
                    "format": "JPEG" if len(rows) % 9 else "PNG",
                }
                | more
            )

        for number, label in enumerate(self.categories):
            for image in range(per_category):
                add(label, "train", "used", conflict=image == 0 and number == 1)
            for _ in range(3):
                add(label, "val", "used")
            for _ in range(5):
                add(label, "test", "used")
        cut_off = "cannot be decoded: image file is truncated ({} bytes not processed)"
        broken = ("a web page, not an image", cut_off.format(5), cut_off.format(62))
        for label, reason in zip(self.categories, broken, strict=False):
            add(label, "train", "broken", reason, format=None)
            add(label, "train", "copy", f"the same pixels as {rows[0]['file_name']}")
        if self.picture is None:
            for row in rows:
                if row["split"] == "train" and row["state"] == "used":
                    draw(self.root / row["file_name"], self.categories.index(row["label"]), row["image_id"])
        self.rows = rows
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        self.folder.write_table(IMAGES, tables.build(tables.IMAGES, columns))
        source = {"source": str(self.root.name), "root": str(self.root), "kind": "folders"}
        self.folder.stamp(
            "ingest",
            {},
            {},
            [IMAGES],
            2.5,
            sources={"crawl": source, "test": source | {"source": "clean-test"}},
            categories=self.categories,
            account={"seen": len(rows), "not_images": 4, "states": {}, "reasons": {}},
        )

    def design(self, name: str = "model-a", n_subsets: int = 3, noise: bool = False, graph: bool = True) -> Crawl:
        """Order the training images at random, with densities that look like some."""
        ids, subset, cleanliness, centre, density, delta = [], [], [], [], [], []
        sizes: list[list[int]] = []
        for label in self.categories:
            own = [
                r["image_id"]
                for r in self.rows
                if r["label"] == label and r["split"] == "train" and r["state"] == "used"
            ]
            n = len(own)
            order = self.rng.permutation(n)
            shares = self.rng.dirichlet(np.full(n_subsets, 6.0))
            borders = np.cumsum(np.round(shares * n)).astype(int)[:-1]
            cut = np.searchsorted(borders, order, side="right")
            sizes.append(np.bincount(cut, minlength=n_subsets).tolist())
            ids += own
            subset += cut.tolist()
            cleanliness += (1 - (order + 0.5) / n).tolist()
            centre += (order == 0).tolist()
            density += np.round((1 - order / n) * 0.8 * n).tolist()
            delta += np.where(order == 0, 1.6, self.rng.gamma(2.0, 0.12, n)).tolist()
        settings = {"method": "density", "n_subsets": n_subsets, "by": "distance", "cutoff_percent": 60.0}
        columns: dict[str, Any] = {"image_id": ids, "subset": subset, "cleanliness": cleanliness, "is_centre": centre}
        if graph:
            columns |= {"density": density, "delta": delta}
        metadata = {"method": "density", "settings": json.dumps(settings), "features": name, "cleanliness": "rank"}
        files = [f"curricula/{name}.parquet", f"curricula/categories-{name}.parquet"]
        self.folder.write_table(files[0], tables.build(tables.CURRICULUM, columns, metadata))
        rate = self.rng.uniform(0.05, 0.6, len(self.categories))
        per_category: dict[str, Any] = {
            "category": self.categories,
            "n": [sum(found) for found in sizes],
            "subset_sizes": sizes,
        }
        if noise:
            per_category |= {"noise_rate": rate, "noise_low": rate * 0.8, "noise_high": rate * 1.2}
        self.folder.write_table(files[1], tables.build(tables.CATEGORIES, per_category))
        self.folder.stamp(f"design:{name}", self.folder.digests(IMAGES), settings, files, 1.0)
        return self

    def train(self, name: str, recipe: str | None = None, steps: int = 600) -> Crawl:
        """A run whose curves fall; of model-d with three stages."""
        recipe = recipe or name
        along = recipe in ("model-b", "model-c", "model-d")
        settings = {
            "recipe": recipe,
            "model": "resnet18",
            "image_size": 64,
            "epochs": 30,
            "curriculum": self.folder.names("design")[-1] if along else None,
            "stages": [],
        }
        self.folder.write_json(f"runs/{name}/settings.json", settings)
        step, stage, metric, value = [], [], [], []

        def add(at: int, what: str, found: float) -> None:
            step.append(at)
            stage.append(1 + (at > 0.3 * steps) + (at > 0.6 * steps) if recipe == "model-d" else 1)
            metric.append(what)
            value.append(found)

        for at in range(2, steps + 1, 2):
            add(at, "train_loss", 0.8 + 2.6 * np.exp(-at / 150) + self.rng.normal(0, 0.08))
        for at in range(20, steps + 1, 20):
            add(at, "test_loss", 1.6 + 1.9 * np.exp(-at / 130) + self.rng.normal(0, 0.02))
            add(at, "test_top1_error", 0.62 + 0.3 * np.exp(-at / 140) + self.rng.normal(0, 0.004))
        columns = {"step": step, "stage": stage, "metric": metric, "value": value}
        self.folder.write_table(f"runs/{name}/history.parquet", tables.build(tables.HISTORY, columns))
        weights = f"runs/{name}/model/model.safetensors"
        self.folder.write_with(weights, lambda file: file.write(self.rng.bytes(20)) and None)
        files = [f"runs/{name}/settings.json", f"runs/{name}/history.parquet", weights]
        self.folder.stamp(f"train:{name}", {}, settings, files, 640.0)
        return self

    def evaluate(
        self,
        name: str,
        error: float,
        *,
        sets: Sequence[tuple[str, str]] = (("test", "clean"), ("val", "crawl")),
        crops: Sequence[int] = (1, 10),
    ) -> Crawl:
        """Figures of a run around an error; per category some above, some below."""
        rows = []
        for split, labels in sets:
            for crop in crops:
                base = error - 0.01 * (crop == 10) + 0.1 * (labels == "crawl")
                for metric, own in (("top1_error", base), ("top5_error", base * 0.55)):
                    shown = {"split": split, "labels": labels, "crops": crop, "metric": metric}
                    ends = {"value": own, "low": own - 0.02, "high": own + 0.02}
                    rows.append(shown | {"category": None} | ends | {"n": 2000})
                    for label in self.categories:
                        here = float(np.round(np.clip(own + self.rng.normal(0, 0.08), 0, 1) * 50) / 50)
                        ends = {"value": here, "low": max(0.0, here - 0.1), "high": min(1.0, here + 0.1)}
                        rows.append(shown | {"category": label} | ends | {"n": 50})
        tables.check_rows(tables.METRICS, rows)
        self.folder.write_json(f"runs/{name}/metrics.json", rows)
        read = self.folder.digests(IMAGES, f"runs/{name}/model/model.safetensors")
        self.folder.stamp(f"evaluate:{name}", read, {"crops": list(crops)}, [f"runs/{name}/metrics.json"], 3.0)
        return self

    def compare(
        self,
        run: str,
        baseline: str,
        value: float,
        low: float,
        high: float,
        *,
        sets: Sequence[tuple[str, str]] = (("test", "clean"), ("val", "crawl")),
        crops: Sequence[int] = (1, 10),
    ) -> Crawl:
        """Paired differences of two runs in both directions, the same in every figure but for a little."""
        path = self.folder.file(COMPARISONS)
        rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        for split, labels in sets:
            for crop in crops:
                for metric in ("top1_error", "top5_error"):
                    less = 0.001 * (crop == 10) + 0.002 * (metric == "top5_error") + 0.003 * (labels == "crawl")
                    about = {"split": split, "labels": labels, "crops": crop, "metric": metric}
                    ends = {"value": value - less, "low": low - less, "high": high - less}
                    turned = {"value": less - value, "low": less - high, "high": less - low}
                    there = {"n": 2000, "improved": 20, "fell": 12, "unchanged": 8}
                    back = {"n": 2000, "improved": 12, "fell": 20, "unchanged": 8}
                    rows.append({"run": run, "baseline": baseline} | about | ends | there)
                    rows.append({"run": baseline, "baseline": run} | about | turned | back)
        tables.check_rows(tables.COMPARISONS, rows)
        self.folder.write_json(COMPARISONS, rows)
        return self

    def whole(
        self,
        value: float = 0.032,
        low: float = 0.011,
        high: float = 0.053,
        *,
        sets: Sequence[tuple[str, str]] = (("test", "clean"), ("val", "crawl")),
        **design: Any,
    ) -> Crawl:
        """All steps: three runs and their differences."""
        self.design(**design)
        for name, error in zip(RECIPES, (0.67, 0.65, 0.67 - value), strict=True):
            self.train(name).evaluate(name, error, sets=sets)
        self.compare("model-a-balanced", "model-a", 0.02, 0.001, 0.04, sets=sets)
        self.compare("model-d", "model-a", value, low, high, sets=sets)
        self.compare("model-d", "model-a-balanced", 0.012, -0.008, 0.03, sets=sets)
        return self


@pytest.fixture(scope="session")
def crawl_in() -> type[Crawl]:
    """Make a crawl in a folder of one's own."""
    return Crawl


@pytest.fixture
def crawl(tmp_path: Path) -> Callable[..., Crawl]:
    """Make a crawl that is read but not yet designed."""

    def make(categories: int | Sequence[str] = 3, per_category: int = 12, **more: Any) -> Crawl:
        names = [f"category {n:04d}" for n in range(categories)] if isinstance(categories, int) else categories
        return Crawl(tmp_path, names, per_category, **more)

    return make


class Page(HTMLParser):
    """A page, parsed: its elements in order as (tag, attributes), and all text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "img", "br", "path"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    @property
    def text(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]

    @property
    def sections(self) -> list[str]:
        return [str(attributes["id"]) for attributes in self.all("section")]

    def text_of(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]


@pytest.fixture
def read() -> Callable[[Path], Page]:
    """Parse a page."""
    return Page
