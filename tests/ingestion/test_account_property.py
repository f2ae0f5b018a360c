"""The account of any crawl adds up, in whatever order it was written, and nothing of the crawl is changed."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import curriculumnet as cn
from curriculumnet.ingestion.step import Ingestion


def encoded(seed: int, format: str, size: tuple[int, int] = (24, 20)) -> bytes:
    """The bytes of a picture that no other seed gives; PNG and BMP of a seed show the same pixels."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(data, format)
    return data.getvalue()


class File(NamedTuple):
    """A file of the crawl or of the test pictures."""

    source: str
    category: str
    kind: str
    seed: int

    def content(self) -> bytes:
        return {
            "PNG": lambda: encoded(self.seed, "PNG"),
            "BMP": lambda: encoded(self.seed, "BMP"),
            "tiny": lambda: encoded(self.seed, "PNG", (8, 8)),
            "cut off": lambda: encoded(self.seed, "PNG")[:90],
            "empty": lambda: b"",
            "web page": lambda: b"<html>gone</html>",
            "no image": lambda: b"notes",
        }[self.kind]()


ENDINGS = {"PNG": ".png", "BMP": ".jpg", "no image": ".txt"}
BAD = {"tiny": "refused", "cut off": "broken", "empty": "broken", "web page": "broken"}
# Two categories have two pictures that nothing else is like, so that there always is something to learn.
CERTAIN = [
    File("crawl", category, "PNG", seed) for category, seed in [("cat", 90), ("cat", 91), ("dog", 92), ("dog", 93)]
]

# Few seeds: most pictures have copies, in their category, in another one, or among the test pictures.
kinds, seeds = st.sampled_from(["PNG", "PNG", "BMP", *BAD, "no image"]), st.integers(0, 3)
crawled = st.builds(File, st.just("crawl"), st.sampled_from(["cat", "dog", "eel"]), kinds, seeds)
tested = st.builds(File, st.just("test"), st.sampled_from(["cat", "dog"]), kinds, seeds)
crawls = st.lists(crawled, max_size=14).map(lambda files: CERTAIN + files)
tests = st.lists(tested, max_size=5).map(lambda files: [File("test", "cat", "PNG", 80), *files])


def ingest(files: dict[str, File], order: list[str], min_images: int) -> Ingestion:
    """Write the files in an order, and ingest them; all must be there as it was afterwards."""
    with tempfile.TemporaryDirectory() as home:
        for name in order:
            path = Path(home, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name].content())
        before = snapshot(Path(home))
        with tempfile.TemporaryDirectory() as work:
            result = cn.ingest(
                Path(home, "crawl"),
                test=Path(home, "test"),
                output=Path(work, "work"),
                min_images=min_images,
                workers=0,
                quiet=True,
            )
            assert snapshot(Path(home)) == before
            check(result, files, min_images)
        return result


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Rights, time and digest of everything in a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def check(result: Ingestion, files: dict[str, File], min_images: int) -> None:
    """Every file seen is in the one state that the definitions give it, and every count is the count of the rows."""
    rows = result.table().to_pylist()
    seen = {name: file for name, file in files.items() if file.kind != "no image"}
    assert sorted(f"{row['source']}/{row['file_name']}" for row in rows) == sorted(seen)
    assert (result.seen, result.not_images) == (len(seen), len(files) - len(seen))

    looked_at = [(row, seen[f"{row['source']}/{row['file_name']}"]) for row in rows]
    test_pictures = {file.seed for file in seen.values() if file.source == "test" and file.kind not in BAD}
    expected, earlier, usable = [], set(), Counter[str]()
    for _, file in looked_at:
        picture = file.source, file.category, file.seed
        if file.kind in BAD:
            expected.append(BAD[file.kind])
        elif file.source == "crawl" and file.seed in test_pictures:
            expected.append("leak")
        elif picture in earlier:
            expected.append("copy")
        else:
            earlier.add(picture)
            expected.append("used")
            usable[file.category] += file.source == "crawl"
    expected = [
        "excluded" if state == "used" and usable[file.category] < min_images else state
        for state, (_, file) in zip(expected, looked_at, strict=True)
    ]
    assert [row["state"] for row in rows] == expected

    categories_of = {(file.source, file.seed): set[str]() for _, file in looked_at}
    for (_, file), state in zip(looked_at, expected, strict=True):
        if state in ("used", "copy", "excluded"):
            categories_of[file.source, file.seed].add(file.category)
    assert [row["label_conflict"] for row, _ in looked_at] == [
        state in ("used", "copy", "excluded") and len(categories_of[file.source, file.seed]) > 1
        for (_, file), state in zip(looked_at, expected, strict=True)
    ]

    assert result.states == Counter(expected)
    assert sum(result.states.values()) == result.seen
    assert result.seen_in == Counter(row["source"] for row in rows)
    assert sum(result.seen_in.values()) == result.seen
    assert sum(result.reasons.values()) == result.seen - result.states["used"]
    assert all(bool(row["reason"]) == (row["state"] != "used") for row in rows)
    assert {split: n for split, n in result.used.items() if n} == Counter(
        row["split"] for row in rows if row["state"] == "used"
    )
    assert sum(result.used.values()) == result.states["used"]


@settings(max_examples=10)
@given(crawls, tests, st.integers(1, 2), st.randoms(use_true_random=False))
def test_every_file_is_in_one_state_and_the_order_of_writing_changes_nothing(
    crawl: list[File], test: list[File], min_images: int, random: object
) -> None:
    files = {
        f"{file.source}/{file.category}/{number:02}{ENDINGS.get(file.kind, '.png')}": file
        for number, file in enumerate(crawl + test)
    }
    shuffled = list(files)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, again = (ingest(files, order, min_images) for order in (list(files), shuffled))
    for counts in ("seen", "seen_in", "not_images", "states", "reasons", "formats", "used", "label_conflicts"):
        assert getattr(first, counts) == getattr(again, counts), counts
    assert first.categories == again.categories
    assert first.excluded_categories == again.excluded_categories
