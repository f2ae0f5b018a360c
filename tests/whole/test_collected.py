"""From a list of URLs to another tool's shards and back: collect, ingest, design, export, ingest."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import curriculumnet as cn


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a site with twelve pictures of each of two categories, and a page that is called like one."""
    home = tmp_path / "site"
    for place, category in enumerate(("cat", "dog")):
        (home / category).mkdir(parents=True)
        for number in range(12):
            noise = np.random.default_rng(100 * place + number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
            data = io.BytesIO()
            Image.fromarray(noise).resize((24, 20), Image.Resampling.NEAREST).save(data, "PNG")
            (home / category / f"{number}.png").write_bytes(data.getvalue())
    (home / "page.jpg").write_text("<!doctype html><title>Gone</title>", encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(home)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_list_of_urls_goes_the_whole_way_and_back(site: str, tmp_path: Path) -> None:
    with (tmp_path / "urls.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "category", "query", "rank", "licence"])
        for category in ("cat", "dog"):
            for number in range(12):
                writer.writerow([f"{site}/{category}/{number}.png", category, f"{category} photo", number + 1, "CC0"])
        writer.writerow([f"{site}/gone.png", "cat", "cat photo", 13, ""])
        writer.writerow([f"{site}/page.jpg", "dog", "dog photo", 13, ""])
    collected = cn.collect(
        tmp_path / "urls.csv", output=tmp_path / "shards", shard_size=10, allow_private=True, retries=0, quiet=True
    )
    assert collected.statuses["success"] == 24
    read = cn.ingest(tmp_path / "shards", output=tmp_path / "work", val_share=0.2, workers=0, quiet=True)
    rows = read.table().to_pylist()
    assert Counter((row["label"], row["state"]) for row in rows) == {
        ("cat", "used"): 12,
        ("dog", "used"): 12,
        ("cat", "missing"): 1,
        ("dog", "missing"): 1,
    }
    for row in rows:
        assert row["url"].startswith(site)
        assert row["query"] == f"{row['label']} photo"
        if row["state"] == "used":
            assert row["url"].endswith(f"/{row['label']}/{row['rank'] - 1:.0f}.png")
            assert row["licence"] == "CC0"
        else:
            assert row["reason"].startswith("not downloaded: ")
    np.save(tmp_path / "f.npy", np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32))
    cn.embed(tmp_path / "work", from_=tmp_path / "f.npy", quiet=True)
    cn.design(tmp_path / "work", method="given", quiet=True)
    cn.export(tmp_path / "work", output=tmp_path / "out", format_="webdataset", quiet=True)
    back = cn.ingest(tmp_path / "out", output=tmp_path / "again", workers=0, quiet=True).table().to_pylist()
    kept = ("label", "split", "digest", "query", "rank", "url", "licence")
    of = [{tuple(row[name] for name in kept) for row in each if row["state"] == "used"} for each in (rows, back)]
    assert of[0] == of[1]
