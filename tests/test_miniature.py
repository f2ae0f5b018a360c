"""The crawl in miniature: what truth.csv says is what lies in the folder."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from curriculumnet import miniature
from curriculumnet.errors import MachineError, UsageError, WorkFolderError
from curriculumnet.miniature import CATEGORIES, Miniature, make_crawl

SMALL: dict[str, Any] = {"images_per_category": (8, 12), "test_images": 20}

Row = dict[str, str]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The crawl of the demo."""
    return make_crawl(tmp_path_factory.mktemp("whole") / "miniature")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small crawl; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("small") / "miniature"
    make_crawl(folder, **SMALL)
    return folder


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "miniature"))


def rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, str]:
    """Every file's digest by its name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def image_files(folder: Path) -> set[str]:
    """The names of a crawl's files, without the hidden one and the text file."""
    files = (path for path in (folder / "crawl").rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix() for p in files if p.suffix != ".txt" and not p.name.startswith(".")}


def grey(path: Path, side: int = 32, turn: bool = True) -> np.ndarray:
    """A picture's grey pixels, resized to a square; as it is shown, or as it is stored."""
    with Image.open(path) as image:
        shown = ImageOps.exif_transpose(image) if turn else image
        return np.asarray(shown.convert("L").resize((side, side), Image.Resampling.BOX), float)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def edges(path: Path) -> np.ndarray:
    """How strong the edges of six directions are in each of 8 × 8 cells; length 1."""
    down, across = np.gradient(grey(path))
    strength, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    away = np.abs((angle[None] - np.arange(6)[:, None, None] * np.pi / 6 + np.pi / 2) % np.pi - np.pi / 2)
    parts = (strength * (1 - away / (np.pi / 6)).clip(0)).reshape(6, 8, 4, 8, 4).mean((2, 4)).ravel()
    return np.asarray(parts / np.linalg.norm(parts))


# -- truth ----------------------------------------------------------------------------------------------------------


def test_truth_has_a_row_per_file(whole: Miniature) -> None:
    folder = whole.truth.parent
    found = rows(whole.truth)
    assert list(found[0]) == ["file_name", "label", "true_label", "kind", "copy", "copy_of"]
    names = [row["file_name"] for row in found]
    assert len(names) == len(set(names))
    assert set(names) == image_files(folder)
    assert all(row["file_name"].split("/")[1] == row["label"] for row in found)
    assert sorted(path.name for path in whole.crawl.iterdir()) == sorted(CATEGORIES)


def test_kinds_are_what_the_labels_say(whole: Miniature) -> None:
    for row in rows(whole.truth):
        expected = {
            "right": {row["label"]},
            "confused": set(CATEGORIES) - {row["label"]},
            "outside": {"outside"},
            "broken": {row["label"], "outside"},
        }
        assert row["true_label"] in expected[row["kind"]]


def test_counts_are_those_of_truth(whole: Miniature) -> None:
    found = rows(whole.truth)
    expected = Counter(row["kind"] for row in found) + Counter(row["copy"] for row in found if row["copy"])
    expected["test"] = 500
    assert dict(whole.counts) == dict(expected)
    readable = Counter(row["label"] for row in found if row["kind"] != "broken")
    assert dict(whole.sizes) == dict(readable)


def test_sizes_spread_between_the_two_given(whole: Miniature) -> None:
    sizes = sorted(whole.sizes.values())
    assert (sizes[0], sizes[-1]) == (60, 220)
    assert len(set(sizes)) == len(CATEGORIES)
    assert sum(sizes) == 1250
    assert sorted(path.name for path in whole.test.iterdir()) == sorted(CATEGORIES)
    assert {len(list(folder.iterdir())) for folder in whole.test.iterdir()} == {50}


def test_a_third_of_each_category_is_wrong(whole: Miniature) -> None:
    found = rows(whole.truth)
    for category, size in whole.sizes.items():
        kinds = Counter(row["kind"] for row in found if row["label"] == category)
        assert kinds["confused"] + kinds["outside"] == round(size / 3)
        assert abs(kinds["confused"] - kinds["outside"]) <= 1


def test_without_noise_nothing_is_wrong(tmp_path: Path) -> None:
    made = make_crawl(tmp_path / "clean", noise=0, **SMALL)
    assert made.counts["right"] == sum(made.sizes.values())
    assert made.counts["confused"] == made.counts["outside"] == 0


def test_confused_pictures_show_look_alikes_more_often(whole: Miniature) -> None:
    shown = Counter((r["label"], r["true_label"]) for r in rows(whole.truth) if r["kind"] == "confused")
    sevens = [shown["one", other] for other in CATEGORIES if other not in ("one", "seven")]
    assert shown["one", "seven"] > 2 * max(sevens)


def test_copies_are_copies(whole: Miniature) -> None:
    folder = whole.truth.parent
    by_name = {row["file_name"]: row for row in rows(whole.truth)}
    across = 0
    for name, row in by_name.items():
        assert bool(row["copy"]) == bool(row["copy_of"])
        if not row["copy"]:
            continue
        original = by_name[row["copy_of"]]
        assert not original["copy"]
        assert row["true_label"] == original["true_label"]
        same_bytes = (folder / name).read_bytes() == (folder / row["copy_of"]).read_bytes()
        assert same_bytes == (row["copy"] == "exact")
        across += row["label"] != original["label"]
    assert across >= 10
    assert whole.counts["exact"] - across >= 10
    assert whole.counts["near"] >= 30


def test_only_what_is_called_a_copy_has_the_bytes_of_another(whole: Miniature) -> None:
    folder = whole.truth.parent
    listed = [row for row in rows(whole.truth) if row["kind"] != "broken"]
    contents = Counter((folder / row["file_name"]).read_bytes() for row in listed)
    assert sum(contents.values()) - len(contents) == whole.counts["exact"]


def test_near_copies_look_like_their_originals_and_are_not_mirrored(whole: Miniature) -> None:
    folder = whole.truth.parent
    upright, mirrored = [], []
    for row in rows(whole.truth):
        if row["copy"] == "near" and row["true_label"] != "outside":
            copy, original = grey(folder / row["file_name"]), grey(folder / row["copy_of"])
            upright.append(likeness(copy, original))
            mirrored.append(likeness(copy[:, ::-1], original))
    assert min(upright) > 0.7
    assert np.mean(upright) > np.mean(mirrored) + 0.2


# -- sources ----------------------------------------------------------------------------------------------------------


def test_no_scanned_digit_is_in_crawl_and_test(whole: Miniature) -> None:
    found = rows(whole.sources)
    parts: dict[str, set[str]] = {"crawl": set(), "test": set()}
    for row in found:
        parts[row["file_name"].split("/")[0]].add(row["digit"])
    assert not parts["crawl"] & parts["test"]
    assert len(parts["test"]) == 500


def test_sources_show_what_truth_says(whole: Miniature) -> None:
    from sklearn.datasets import load_digits

    shown = load_digits().target
    truth = {row["file_name"]: row["true_label"] for row in rows(whole.truth) if row["true_label"] != "outside"}
    tests = {f"test/{p.parent.name}/{p.name}": p.parent.name for p in whole.test.rglob("*.png")}
    drawn = {row["file_name"]: CATEGORIES[shown[int(row["digit"])]] for row in rows(whole.sources)}
    assert drawn == truth | tests


def test_pictures_of_one_source_differ_in_look(whole: Miniature) -> None:
    folder = whole.truth.parent
    copies = {row["file_name"] for row in rows(whole.truth) if row["copy"]}
    drawn: dict[str, list[str]] = {}
    for row in rows(whole.sources):
        if row["file_name"] not in copies:
            drawn.setdefault(row["digit"], []).append(row["file_name"])
    several = [names for names in drawn.values() if len(names) > 1]
    assert several
    for names in several:
        assert len({(folder / name).read_bytes() for name in names}) == len(names)


def test_the_digits_can_be_learnt(whole: Miniature) -> None:
    """Five nearest neighbours among the right pictures, by their edges; chance is one in ten."""
    folder = whole.truth.parent

    right = [row for row in rows(whole.truth) if row["kind"] == "right" and row["file_name"].endswith(".jpg")]
    known = np.stack([edges(folder / row["file_name"]) for row in right])
    labels = np.array([CATEGORIES.index(row["label"]) for row in right])
    tests = sorted(whole.test.rglob("*.png"))
    nearest = (np.stack([edges(path) for path in tests]) @ known.T).argsort(1)[:, -5:]
    answers = [np.bincount(labels[row], minlength=10).argmax() for row in nearest]
    assert np.mean([CATEGORIES[a] == path.parent.name for a, path in zip(answers, tests, strict=True)]) > 0.75


# -- files -----------------------------------------------------------------------------------------------------------


def looks(folder: Path) -> Counter[str]:
    """What Pillow finds in the crawl's readable files, with what is odd about each."""
    found: Counter[str] = Counter()
    for row in rows(folder / "truth.csv"):
        if row["kind"] == "broken":
            continue
        path = folder / row["file_name"]
        with Image.open(path) as image:
            image.load()
            found[f"{image.format} {path.suffix}"] += 1
            found[f"{image.format} {image.mode}"] += 1
            found["turned"] += image.getexif().get(0x0112, 1) == 6
            found["tiny"] += image.size == (8, 8)
            found["several frames"] += getattr(image, "n_frames", 1) > 1
            if image.size != (8, 8):
                found["usual size"] += min(image.size) >= 45 and max(image.size) <= 96
    return found


def test_odd_files_are_what_they_should_be(whole: Miniature) -> None:
    found = looks(whole.truth.parent)
    odd = {
        "JPEG .jpeg": 3,
        "JPEG .JPG": 2,
        "JPEG .ashx": 2,
        "PNG .jpg": 2,
        "WEBP .webp": 3,
        "GIF .gif": 3,
        "BMP .bmp": 2,
        "JPEG CMYK": 1,
        "PNG P": 1,
        "PNG I;16": 1,
        "turned": 1,
        "tiny": 1,
        "several frames": 0,
        "usual size": sum(whole.sizes.values()) - 1,
    }
    assert {key: found[key] for key in odd} == odd
    assert found["JPEG .jpg"] > 0.8 * sum(whole.sizes.values())


def test_a_turned_picture_is_upright_when_shown(whole: Miniature) -> None:
    """Its digit has the strokes of its scan after the turn, not before."""
    from sklearn.datasets import load_digits

    turned = []
    for row in rows(whole.truth):
        if row["kind"] == "right":
            with Image.open(whole.truth.parent / row["file_name"]) as image:
                turned += [row["file_name"]] if image.getexif().get(0x0112) == 6 else []
    (name,) = turned
    digit = {row["file_name"]: row["digit"] for row in rows(whole.sources)}[name]
    scan = load_digits().images[int(digit)]
    shown, stored = (grey(whole.truth.parent / name, 10, turn)[1:-1, 1:-1] for turn in (True, False))
    assert abs(likeness(shown, scan)) > abs(likeness(stored, scan)) + 0.2


def test_broken_files_cannot_be_read(whole: Miniature) -> None:
    folder = whole.truth.parent
    ways: Counter[str] = Counter()
    for row in rows(whole.truth):
        if row["kind"] != "broken":
            continue
        path = folder / row["file_name"]
        data = path.read_bytes()
        way = "empty" if not data else "html" if data.startswith(b"<!DOCTYPE html") else "cut"
        ways[way] += 1
        assert row["true_label"] == (row["label"] if way == "cut" else "outside")
        error: type[Exception] = OSError if way == "cut" else UnidentifiedImageError
        with pytest.raises(error, match="truncated" if way == "cut" else "cannot identify"), Image.open(path) as image:
            image.load()
    assert ways == {"cut": 4, "empty": 2, "html": 3}


def test_there_are_a_hidden_file_and_a_text_file(whole: Miniature) -> None:
    listed = {row["file_name"] for row in rows(whole.truth)}
    others = {path.relative_to(whole.truth.parent).as_posix() for path in whole.crawl.rglob("*") if path.is_file()}
    assert sorted(Path(name).name for name in others - listed) == ["._0001.jpg", "notes.txt"]


def test_the_clean_test_is_plain(whole: Miniature) -> None:
    for path in whole.test.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert 56 <= min(image.size) <= max(image.size) <= 96


# -- seeds, reuse, interruption --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    make_crawl(tmp_path / "again", **SMALL)
    assert content(tmp_path / "again") == content(small)


def test_another_seed_gives_other_bytes(small: Path, tmp_path: Path) -> None:
    make_crawl(tmp_path / "other", seed=1, **SMALL)
    first, second = content(small), content(tmp_path / "other")
    pictures = [name for name in first if name.startswith("test/")]
    assert not any(first[name] == second[name] for name in pictures)
    assert first["truth.csv"] != second["truth.csv"]


def test_a_finished_one_is_taken_as_it_is(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    monkeypatch.setattr(miniature, "_make_files", pytest.fail)
    made = make_crawl(own, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before
    assert sum(made.sizes.values()) == made.counts["right"] + made.counts["confused"] + made.counts["outside"]


def test_one_with_other_settings_is_made_anew(own: Path, small: Path) -> None:
    made = make_crawl(own, **(SMALL | {"test_images": 10}))
    assert made.counts["test"] == len(list(made.test.rglob("*.png"))) == 10
    make_crawl(own, **SMALL)
    assert content(own) == content(small)
    assert [path.name for path in own.parent.iterdir()] == [own.name]


@pytest.mark.parametrize("spoil", ["picture", "settings"])
def test_one_with_files_missing_or_spoilt_is_made_anew(own: Path, small: Path, spoil: str) -> None:
    if spoil == "picture":
        next((own / "test").rglob("*.png")).unlink()
    else:
        (own / "miniature.json").write_text("{", encoding="utf-8")
    make_crawl(own, **SMALL)
    assert content(own) == content(small)


def test_a_strangers_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WorkFolderError, match="holds other files"):
        make_crawl(tmp_path, **SMALL)
    with pytest.raises(WorkFolderError, match="is a file"):
        make_crawl(tmp_path / "mine.txt", **SMALL)
    assert content(tmp_path).keys() == {"mine.txt"}


def test_an_empty_folder_is_taken(tmp_path: Path, small: Path) -> None:
    (tmp_path / "empty").mkdir()
    make_crawl(tmp_path / "empty", **SMALL)
    assert content(tmp_path / "empty") == content(small)


def after(files: int, error: BaseException) -> Callable[[Path, bytes], int]:
    """A `Path.write_bytes` that raises after so many files."""
    written = [0]
    write = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        written[0] += 1
        if written[0] > files:
            raise error
        return write(path, data)

    return write_bytes


def test_an_interrupted_call_leaves_nothing(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", after(30, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            make_crawl(tmp_path / "miniature", **SMALL)
    assert not list(tmp_path.iterdir())
    make_crawl(tmp_path / "miniature", **SMALL)
    assert content(tmp_path / "miniature") == content(small)


def test_a_full_disk_is_one_sentence(own: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", after(30, OSError(28, "No space left on device")))
    with pytest.raises(MachineError, match="The disk is full"):
        make_crawl(own, seed=1, **SMALL)
    assert content(own) == content(small), "the crawl that was there is kept"


def test_what_a_killed_call_left_is_deleted_later(tmp_path: Path) -> None:
    old, new = tmp_path / ".miniature.making-1", tmp_path / ".miniature.making-2"
    for left in (old, new):
        (left / "crawl").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    make_crawl(tmp_path / "miniature", **SMALL)
    assert not old.exists()
    assert new.exists(), "another process may still be at work there"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"images_per_category": (30, 20)}, "the first number must not exceed the second"),
        ({"noise": 1.0}, "noise is 1.0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"images_per_category": (3, 20)}, "at least 3 right pictures"),
        ({"test_images": 9}, "test_images is 9"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_crawl(tmp_path / "miniature", **settings)
    assert not list(tmp_path.iterdir())
