"""A small crawl with everything that a source can tell, ingested and designed, in a folder and in a tar."""

from __future__ import annotations

import csv
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn

CATEGORIES = ("Ölweide", "ash", "weeping willow")
FORMATS = (("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("GIF", ".gif"), ("BMP", ".bmp"), ("JPEG", ".php"))
COLUMNS = ("file_name", "label", "split", "who", "url", "licence", "place", "query")
READ = {"group_column": "who", "rank_column": "place", "workers": 0, "quiet": True}
IN_CATEGORY = {"train": 9, "val": 2, "test": 2}


def draw(path: Path, seed: int, format: str) -> None:
    """Draw a picture that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((36, 30), Image.Resampling.BICUBIC).save(path, format)


def draw_crawl(home: Path) -> Path:
    """Draw 13 pictures of each category in several formats, and the table that names them."""
    rows = []
    for place, category in enumerate(CATEGORIES):
        for split, n in IN_CATEGORY.items():
            for number in range(n):
                seed = 1000 * place + 100 * list(IN_CATEGORY).index(split) + number
                format, ending = FORMATS[(number + place) % len(FORMATS)]
                name = f"crawl/{category}/{split} {number}{ending}"
                draw(home / name, seed, format)
                who = f"{split}-{number % 3}" if number else ""
                rank = number / 8 if split == "train" and number else ""
                url = f"https://example.org/{seed}?a=1&b=2" if number % 2 else ""
                licence = "CC BY 4.0, by “A”" if number % 3 else ""
                query = f"{category} tree" if number % 4 else ""
                rows.append((name, category, split, who, url, licence, rank, query))
    rows.append(("crawl/gone.png", "ash", "train", "", "", "", "", ""))
    with (home / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return home / "table.csv"


def designed(source: str | Path, home: Path, name: str = "work") -> Path:
    """Ingest a source, order it by features that are drawn, and return the work folder."""
    work = cn.ingest(source, output=home / name, **READ).work
    n = cn.ingest(source, output=home / name, **READ).seen
    np.save(home / "own.npy", np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32))
    cn.embed(work, from_=home / "own.npy", quiet=True)
    cn.design(work, quiet=True)
    return work


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `table.csv` and `crawl`, the tar `all.tar` of both, the tars `shards`, and a work folder of each.

    They are `work`, `tar-work` and `shards-work`, which has no curriculum.
    """
    home = tmp_path_factory.mktemp("exporting")
    table = draw_crawl(home)
    with tarfile.open(home / "all.tar", "w") as tar:
        tar.add(table, "in/table.csv")
        tar.add(home / "crawl", "in/crawl")
    designed(table, home)
    designed(f"{home / 'all.tar'}#in/table.csv", home, "tar-work")
    cn.export(home / "work", output=home / "shards", format_="webdataset", shard_size=7, workers=0, quiet=True)
    columns = {"group_column": "group", "rank_column": "rank"}
    cn.ingest(home / "shards", output=home / "shards-work", workers=0, quiet=True, **columns)
    return home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """The same, with the pictures and the work folder `work` of one's own, which knows them where they are now."""
    for name in ("crawl", "work"):
        shutil.copytree(prepared / name, tmp_path / name)
    shutil.copy2(prepared / "table.csv", tmp_path / "table.csv")
    cn.ingest(tmp_path / "table.csv", output=tmp_path / "work", **READ)
    return tmp_path
