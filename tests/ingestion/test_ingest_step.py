"""Ingest through its public door, on real files."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import curriculumnet as cn
from curriculumnet import console
from curriculumnet.errors import (
    CurriculumNetError,
    MachineError,
    SourceError,
    UnknownNameError,
    UsageError,
    WorkFolderError,
)
from curriculumnet.images import tar as tar_module
from curriculumnet.images.folder import Folder
from curriculumnet.images.loader import Pictures
from curriculumnet.ingestion.step import Ingestion
from curriculumnet.miniature import make_crawl
from curriculumnet.work.folder import WorkFolder

Write = Callable[[str, bytes], Path]


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def png(seed: int) -> bytes:
    return encoded(picture(seed))


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., Ingestion]:
    def run(source: Path | str, **options: Any) -> Ingestion:
        return cn.ingest(source, **{"output": tmp_path / "work", "workers": 0, "quiet": True} | options)

    return run


def rows(result: Ingestion) -> dict[str, dict[str, Any]]:
    """The table of images by source and file name."""
    return {f"{row['source']}:{row['file_name']}": row for row in result.table().to_pylist()}


def states(result: Ingestion) -> dict[str, str]:
    return {row["file_name"]: row["state"] for row in result.table().to_pylist()}


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All below a folder: rights, time, bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }


# -- the table --------------------------------------------------------------------------------------------------------


def test_every_file_has_a_row_and_the_account_adds_up(crawl: Path, write: Write, ingest: Callable[..., Any]) -> None:
    write("crawl/cat/copy.jpg", png(0))
    write("crawl/cat/same pixels.bmp", encoded(picture(1), "BMP"))
    write("crawl/dog/also a cat.png", png(2))
    write("crawl/dog/empty.jpg", b"")
    write("crawl/dog/page.jpg", b"<html>gone</html>")
    write("crawl/dog/cut.png", png(3)[:-30])
    write("crawl/dog/tiny.png", encoded(picture(4, (40, 12))))
    write("crawl/dog/really.png", encoded(picture(5), "JPEG"))
    write("crawl/rare/one.png", png(6000))
    write("crawl/beside.png", png(7000))
    write("crawl/cat/.hidden.png", png(0))
    write("crawl/notes.txt", b"")
    before = snapshot(crawl)
    result = ingest(crawl)
    assert snapshot(crawl) == before
    found = rows(result)
    assert [row["image_id"] for row in found.values()] == list(range(len(found)))
    assert {name: (row["state"], row["reason"]) for name, row in found.items() if row["state"] != "used"} == {
        "crawl:cat/copy.jpg": ("copy", "same bytes as an earlier image of its category"),
        "crawl:cat/same pixels.bmp": ("copy", "same pixels as an earlier image of its category"),
        "crawl:dog/empty.jpg": ("broken", "empty file"),
        "crawl:dog/page.jpg": ("broken", "a web page, not an image"),
        "crawl:dog/cut.png": ("broken", found["crawl:dog/cut.png"]["reason"]),
        "crawl:dog/tiny.png": ("refused", "too small: short side under 16 px"),
        "crawl:rare/one.png": ("excluded", "category of too few images"),
        "crawl:beside.png": ("refused", "in no category's folder"),
    }
    assert found["crawl:dog/cut.png"]["reason"].startswith("cannot be decoded")
    assert found["crawl:cat/copy.jpg"]["copy_of"] == found["crawl:cat/00.png"]["image_id"]
    conflicts = [name for name, row in found.items() if row["label_conflict"]]
    assert conflicts == ["crawl:cat/02.png", "crawl:dog/also a cat.png"]
    assert found["crawl:dog/really.png"]["format"] == "JPEG"
    assert (found["crawl:cat/00.png"]["width"], found["crawl:cat/00.png"]["height"]) == (24, 20)
    assert result.seen == len(found) == 34
    assert result.not_images == 2
    assert sum(result.states.values()) == result.seen
    assert sum(result.reasons.values()) == result.seen - result.states["used"] == 8
    assert sum(result.used.values()) == result.states["used"]
    assert result.label_conflicts == 2
    assert result.excluded_categories == ("rare",)
    project = WorkFolder.open(result.work).project
    assert project["categories"] == ["cat", "dog"]
    assert project["account"]["states"] == result.states == dict(Counter(row["state"] for row in found.values()))
    assert {each["file_name"] for each in project["account"]["examples"]} == {
        *("dog/empty.jpg", "dog/page.jpg", "dog/cut.png", "dog/tiny.png", "beside.png")
    }
    assert Pictures(result.table(), {"crawl": project["sources"]["crawl"]["root"]}).read(0) == png(7000)


def test_what_is_shown_says_what_was_found(crawl: Path, write: Write, ingest: Callable[..., Any]) -> None:
    write("crawl/cat/empty.jpg", b"")
    write("crawl/dog/also a cat.png", png(2))
    write("crawl/rare/one.png", png(6000))
    parts = ingest(crawl).summary()
    text = "\n".join(part if isinstance(part, str) else str((part.title, part.rows)) for part in parts)
    for said in ("27 files seen in", "('broken', '1')", "('empty file', '1')", "in 2 categories of", "left out: rare"):
        assert said in text
    assert "2 of them show a picture that lies in several categories" in text
    assert json.loads(json.dumps(console.as_json(ingest(crawl))))["seen"] == 27


def test_files_are_counted_per_source(crawl: Path, write: Write, ingest: Callable[..., Any]) -> None:
    for category in ("cat", "dog"):
        write(f"clean/{category}/1.png", png(9000 + len(category)))
    clean = write("clean/cat/2.png", png(9100)).parent.parent
    result = ingest(crawl, test=clean)
    assert result.seen_in == {"crawl": 24, "test": 3}
    assert result.summary()[0] == f"27 files seen: 24 in {crawl}, 3 in {clean}."


def test_a_tar_gives_the_same_table_as_its_folder(crawl: Path, ingest: Callable[..., Any], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(crawl, "in/crawl")
    lines = [f"crawl/{p.relative_to(crawl).as_posix()},{p.parent.name}" for p in sorted(crawl.rglob("*.png"))]
    (tmp_path / "t.csv").write_text("file_name,label\n" + "\n".join(lines), encoding="utf-8")
    (tmp_path / "t.txt").write_text("\n".join(line.replace(",", " ") for line in lines), encoding="utf-8")
    first = rows(ingest(crawl))
    for number, source in enumerate((f"{tmp_path / 'x.tar'}#in/crawl", tmp_path / "t.csv", tmp_path / "t.txt")):
        other = rows(ingest(source, output=tmp_path / str(number)))
        where = {"file_name": "", "offset": None}
        assert [row | where for row in other.values()] == [row | where for row in first.values()]
        assert all((row["offset"] is not None) == (number == 0) for row in other.values())


def test_workers_make_no_difference(crawl: Path, ingest: Callable[..., Any], tmp_path: Path) -> None:
    here = ingest(crawl).table()
    assert ingest(crawl, output=tmp_path / "other", workers=2).table().equals(here)
    assert ingest(crawl, output=tmp_path / "default", workers=None).table().equals(here)


# -- splits -----------------------------------------------------------------------------------------------------------


def test_a_tenth_is_held_out_and_copies_follow(crawl: Path, write: Write, ingest: Callable[..., Any]) -> None:
    for number in range(12):
        write(f"crawl/dog/copy of cat {number}.png", png(number))
        write(f"crawl/cat/z copy {number}.bmp", encoded(picture(number), "BMP"))
    result = ingest(crawl, val_share=0.25)
    sides: dict[str, set[str]] = {}
    for row in result.table().to_pylist():
        sides.setdefault(row["pixel_digest"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert result.used["val"] == 9
    assert result.used["test"] == 0


def test_the_split_does_not_depend_on_names_and_follows_the_seed(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path
) -> None:
    def held(result: Ingestion) -> set[str]:
        return {row["digest"] for row in result.table().to_pylist() if row["split"] == "val"}

    first = held(ingest(crawl))
    assert held(ingest(crawl, seed=3)) != first
    for number, path in enumerate(sorted(crawl.rglob("*.png"))):
        path.rename(path.with_name(f"{997 * number % 1000}.jpg"))
    assert held(ingest(crawl, output=tmp_path / "renamed")) == first


def test_small_categories_and_a_share_of_zero_hold_out_nothing(
    crawl: Path, write: Write, ingest: Callable[..., Any]
) -> None:
    for number in range(4):
        write(f"crawl/few/{number}.png", png(900 + number))
    result = ingest(crawl)
    assert {row["label"] for row in result.table().to_pylist() if row["split"] == "val"} == {"cat", "dog"}
    assert ingest(crawl, val_share=0).used["val"] == 0


def test_groups_stay_whole(crawl: Path, ingest: Callable[..., Any], tmp_path: Path) -> None:
    paths = sorted(crawl.rglob("*.png"))
    lines = [f"{p.relative_to(crawl).as_posix()},{p.parent.name},g{n % 8}" for n, p in enumerate(paths)]
    (crawl / "t.csv").write_text("file_name,label,sender\n" + "\n".join(lines), encoding="utf-8")
    result = ingest(crawl / "t.csv", group_column="sender", val_share=0.25)
    sides: dict[str, set[str]] = {}
    for row in result.table().to_pylist():
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 8
    assert all(len(side) == 1 for side in sides.values())
    assert result.used["val"] == 6


def test_it_is_said_where_large_groups_hold_out_more_than_was_asked_for(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(crawl.rglob("*.png"))
    for size, said in ((2, False), (4, True)):
        groups = {path: f"{path.parent.name}{n // size}" for n, path in enumerate(sorted(crawl.glob("cat/*.png")))}
        lines = [f"{p.relative_to(crawl).as_posix()},{p.parent.name},{groups.get(p, '')}" for p in paths]
        (crawl / "t.csv").write_text("file_name,label,group\n" + "\n".join(lines), encoding="utf-8")
        capsys.readouterr()
        ingest(crawl / "t.csv", val_share=0.1)
        assert ("Of cat more than twice --val-share is held out" in capsys.readouterr().err) == said


def test_the_order_of_a_table_is_kept_and_asked_of_the_crawl_only(
    crawl: Path, ingest: Callable[..., Any], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(crawl.rglob("*.png"))
    lines = [f"{p.relative_to(crawl).as_posix()},{p.parent.name},{n / 2 if n % 5 else ''}" for n, p in enumerate(paths)]
    table = write("crawl/t.csv", ("file_name,label,place\n" + "\n".join(lines)).encode())
    write("clean/cat/1.png", png(500))
    options = {"test": crawl.parent / "clean", "output": crawl.parent / "work"}
    before = ingest(table, **options)
    assert before.table()["rank"].null_count == len(paths) + 1
    assert "rank_column" not in WorkFolder.open(before.work).record("ingest").settings
    made = ingest(table, rank_column="place", **options)
    expected = {f"crawl:{p.relative_to(crawl).as_posix()}": n / 2 if n % 5 else None for n, p in enumerate(paths)}
    assert {name: row["rank"] for name, row in rows(made).items()} == expected | {"test:cat/1.png": None}
    capsys.readouterr()
    ingest(table, rank_column="place", quiet=False, **options)
    assert "nothing to do" in capsys.readouterr().err
    assert ingest(table, **options).table()["rank"].null_count == len(paths) + 1


def test_given_pictures_are_the_validation_and_test_and_never_trained_on(
    crawl: Path, write: Write, ingest: Callable[..., Any]
) -> None:
    for number in range(3):
        write(f"v/cat/{number}.png", png(500 + number))
        write(f"t/dog/{number}.png", png(600 + number))
    write("v/dog/leak.bmp", encoded(picture(0), "BMP"))
    write("t/dog/leak.png", png(101))
    result = ingest(crawl, val=crawl.parent / "v", test=crawl.parent / "t")
    found = rows(result)
    assert result.used == {"train": 22, "val": 4, "test": 4}
    assert found["crawl:cat/00.png"]["reason"] == "same pixels as a val image"
    assert found["crawl:dog/01.png"]["reason"] == "same bytes as a test image"
    assert found["crawl:dog/01.png"]["copy_of"] == found["test:dog/leak.png"]["image_id"]
    assert {row["split"] for name, row in found.items() if name.startswith("crawl:")} == {"train"}
    project = WorkFolder.open(result.work).project
    assert {key: each["root"] for key, each in project["sources"].items()} == {
        "crawl": str(crawl),
        "val": str(crawl.parent / "v"),
        "test": str(crawl.parent / "t"),
    }


def test_folders_called_train_val_and_test_are_what_they_say(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    crawl.rename(data / "train")
    for split, seed in (("val", 700), ("test", 800)):
        (data / split / "cat").mkdir(parents=True)
        (data / split / "cat" / "1.png").write_bytes(png(seed))
    result = ingest(data)
    assert result.used == {"train": 24, "val": 1, "test": 1}
    assert rows(result)["test:test/cat/1.png"]["label"] == "cat"
    roots = {key: each["root"] for key, each in WorkFolder.open(result.work).project["sources"].items()}
    assert Pictures(result.table(), roots).read(25) == png(800)
    with pytest.raises(UsageError, match="has its own test pictures: leave out --test"):
        ingest(data, output=tmp_path / "other", test=data / "test")
    with pytest.raises(CurriculumNetError, match="given for --test, has pictures for 'train' as well"):
        ingest(data / "train", output=tmp_path / "other", test=data)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.sampled_from(["cat", "dog", "bird"]), st.integers(0, 12), st.sampled_from(["png", "bmp", "bad"])),
        min_size=1,
        max_size=40,
    )
)
def test_counts_add_up_whatever_the_crawl_holds(
    crawl: Path, tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    # Two categories that always can be used.
    for path in crawl.rglob("*.png"):
        target = folder / "crawl" / f"sure {path.parent.name}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for number, (category, seed, kind) in enumerate(files):
        data = png(seed + 5000)[:-40] if kind == "bad" else encoded(picture(seed + 5000), kind.upper())
        target = folder / "crawl" / category / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    result = cn.ingest(folder / "crawl", output=folder / "work", workers=0, quiet=True)
    assert result.seen == 24 + len(files) == sum(result.states.values())
    table = result.table().to_pylist()
    assert sum(row["state"] == "broken" for row in table) == sum(kind == "bad" for *_, kind in files)
    used = [(row["label"], row["pixel_digest"]) for row in table if row["state"] == "used"]
    assert len(used) == len(set(used)) == sum(result.used.values())
    for row in table:
        assert (row["copy_of"] is not None) == (row["state"] in ("copy", "leak"))
        assert bool(row["reason"]) == (row["state"] != "used")


# -- again ------------------------------------------------------------------------------------------------------------


def test_the_same_again_does_nothing_and_says_so(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = ingest(crawl)
    before = snapshot(first.work)
    again = ingest(crawl, quiet=False)
    assert "up to date; nothing to do" in capsys.readouterr().err
    assert snapshot(first.work)["images.parquet"] == before["images.parquet"]
    assert snapshot(first.work)["project.json"] == before["project.json"]
    assert (again.states, again.categories) == (first.states, first.categories)


@pytest.mark.parametrize(
    "options",
    [{"seed": 1}, {"min_side": 21}, {"min_images": 13}, {"val_share": 0.4}, {"exclude_category": ["bird"]}],
)
def test_other_settings_do_the_work_again(
    crawl: Path, write: Write, ingest: Callable[..., Any], options: dict[str, Any]
) -> None:
    for number in range(13):
        write(f"crawl/bird/{number}.png", encoded(picture(2000 + number, (24, 24))))
        write(f"crawl/fish/{number}.png", encoded(picture(3000 + number, (24, 24))))
    first = ingest(crawl).table()
    assert not ingest(crawl, **options).table().equals(first)
    assert ingest(crawl).table().equals(first)


def test_a_changed_source_is_read_anew_and_told(
    crawl: Path, write: Write, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(crawl)
    write("crawl/cat/new.png", png(4000))
    write("crawl/cat/newer.png", png(4001))
    write("crawl/cat/05.png", png(4002))
    (crawl / "dog" / "03.png").unlink()
    result = ingest(crawl, quiet=False)
    assert "of the source 'crawl' have changed since they were ingested: 2 added, 1 removed, 1 changed." in (
        " ".join(capsys.readouterr().err.split())
    )
    assert result.seen == 25


def test_a_work_folder_of_another_source_is_left_alone(
    crawl: Path, write: Write, ingest: Callable[..., Any], tmp_path: Path
) -> None:
    work = ingest(crawl).work
    before = snapshot(work)
    for category in "ab":
        write(f"other/{category}/1.png", png(1))
    with pytest.raises(WorkFolderError, match=f"is the work folder of another source, {crawl}: give") as raised:
        ingest(tmp_path / "other")
    assert raised.value.exit_code == 2
    after = snapshot(work)
    # The lock came and went, which leaves a trace in the folder's own time alone.
    assert {name for name in after if after[name] != before.get(name)} <= {"."}
    assert after.keys() == before.keys()


def test_a_source_that_was_moved_is_still_the_same(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(crawl)
    moved = crawl.rename(crawl.with_name("moved"))
    result = ingest(moved, quiet=False)
    assert "up to date" in capsys.readouterr().err
    root = WorkFolder.open(result.work).project["sources"]["crawl"]["root"]
    assert Pictures(result.table(), {"crawl": root}).read(0) == png(0)


def test_a_file_that_goes_between_listing_and_reading_is_missing(crawl: Path, ingest: Callable[..., Any]) -> None:
    (crawl / "cat" / "gone.png").symlink_to(crawl / "nowhere.png")
    assert states(ingest(crawl))["cat/gone.png"] == "missing"


def test_the_work_folder_is_named_after_the_source(crawl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(crawl.parent)
    assert cn.ingest("crawl/", workers=0, quiet=True).work == Path("crawl-work")
    assert (crawl.parent / "crawl-work" / "images.parquet").is_file()


# -- bad input --------------------------------------------------------------------------------------------------------


def two(write: Write, data: bytes = b"", top: str = "two") -> Path:
    for category in "ab":
        path = write(f"{top}/{category}/1.png", data)
    return path.parents[1]


def test_folders_that_hold_nothing(ingest: Callable[..., Any], tmp_path: Path, write: Write) -> None:
    with pytest.raises(CurriculumNetError, match="missing is not there") as raised:
        ingest(tmp_path / "missing")
    assert raised.value.exit_code == 3
    for output in (tmp_path / "work", None):
        with pytest.raises(SourceError, match="xxx is not there, or may not be read: check the name"):
            ingest("x" * 5000, output=output)
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(CurriculumNetError, match="empty holds no pictures: give another source"):
        ingest(tmp_path / "empty")
    write("texts/cat/notes.txt", b"")
    with pytest.raises(CurriculumNetError, match=r"holds no pictures \(1 files are no images by their names\)"):
        ingest(tmp_path / "texts")
    assert not (tmp_path / "work").exists()


def test_what_is_not_in_a_zip_is_looked_for_in_the_zip_as_it_was_given(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(crawl.rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    for _ in range(2):
        match = rf"^{re.escape(str(tmp_path / 'in.zip'))} has no folder or table 'nope'; at its top are crawl\.$"
        with pytest.raises(SourceError, match=match):
            ingest(f"{tmp_path / 'in.zip'}#nope")
    with pytest.raises(SourceError, match=r"^/.*/in\.zip#crawl/cat/00\.png is a file, but no list or table"):
        ingest(f"{tmp_path / 'in.zip'}#crawl/cat/00.png")


def test_folders_without_categories(ingest: Callable[..., Any], tmp_path: Path, write: Write) -> None:
    write("bare/1.png", png(1))
    with pytest.raises(CurriculumNetError, match="bare has pictures but no folders of categories: put") as raised:
        ingest(tmp_path / "bare")
    assert raised.value.exit_code == 3
    write("bare/labels.csv", b"")
    with pytest.raises(CurriculumNetError, match=r"or give its table, .*bare/labels\.csv\."):
        ingest(tmp_path / "bare")
    write("half/train/1.png", png(1))
    with pytest.raises(CurriculumNetError, match="half has pictures but no folders of categories"):
        ingest(tmp_path / "half")


def test_a_crawl_that_only_repeats_the_test_pictures_is_told_so(
    ingest: Callable[..., Any], tmp_path: Path, crawl: Path
) -> None:
    with pytest.raises(
        CurriculumNetError,
        match=r"^None of the categories of .*\(same bytes as a test image: \d+\): take the .* from elsewhere",
    ):
        ingest(crawl, test=crawl)


def test_one_category_only(ingest: Callable[..., Any], tmp_path: Path, write: Write, crawl: Path) -> None:
    write("one/cat/1.png", png(1))
    with pytest.raises(CurriculumNetError, match=r"one has one category only \(cat\), but a classifier needs two\."):
        ingest(tmp_path / "one")
    (tmp_path / "above").mkdir()
    crawl.rename(tmp_path / "above" / "crawl")
    (tmp_path / "higher").mkdir()
    (tmp_path / "above").rename(tmp_path / "higher" / "above")
    with pytest.raises(CurriculumNetError, match=r"\(above\), .*: perhaps .*/higher/above/crawl is meant") as raised:
        ingest(tmp_path / "higher")
    assert raised.value.exit_code == 3
    (tmp_path / "higher" / "above").rename(tmp_path / "above")
    with pytest.raises(CurriculumNetError, match="All but 1 of the categories are left out"):
        ingest(tmp_path / "above" / "crawl", exclude_category=["cat"])
    with pytest.raises(UnknownNameError, match="There is no category 'cats': it must be one of cat, dog"):
        ingest(tmp_path / "above" / "crawl", exclude_category=["cats"])
    with pytest.raises(CurriculumNetError, match=r"^None of the categories of .*.*lower --min-images"):
        ingest(tmp_path / "above" / "crawl", min_images=50)


def test_a_single_folder_around_the_categories_is_seen_through(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "above").mkdir()
    crawl.rename(tmp_path / "above" / "crawl")
    with tarfile.open(tmp_path / "above.tar", "w") as tar:
        tar.add(tmp_path / "above", "")
    for number, source in enumerate((tmp_path / "above", tmp_path / "above.tar")):
        result = cn.ingest(source, output=tmp_path / str(number), workers=0)
        assert sorted(result.categories) == ["cat", "dog"]
        assert f"{source}: taken for class folders in its only folder, 'crawl'." in capsys.readouterr().err
        roots = {key: each["root"] for key, each in WorkFolder.open(result.work).project["sources"].items()}
        assert Pictures(result.table(), roots).read(0) == png(0)


def test_groups_that_the_source_parts_itself_are_warned_of(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["file_name,label,group,split"]
    for number, path in enumerate(sorted(crawl.rglob("*.png"))):
        split = "val" if number % 12 == 0 else "train"
        lines.append(f"{path.relative_to(crawl).as_posix()},{path.parent.name},sender {number // 2},{split}")
    (crawl / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    ingest(crawl / "t.csv")
    assert "Warning: 2 groups lie in several of the splits that" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["label_column", "file_column"])
def test_columns_are_named_of_tables_only(crawl: Path, ingest: Callable[..., Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} names a column of a table, but .* is no table"):
        ingest(crawl, **{flag: "nonsense"})


def test_what_was_read_is_kept_when_what_comes_after_fails(
    crawl: Path, ingest: Callable[..., Any], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("clean/cat/1.png", b"<html>no picture</html>")
    with pytest.raises(SourceError, match="None of the 1 files of"):
        ingest(crawl, test=crawl.parent / "clean")
    write("clean/cat/1.png", png(500))
    capsys.readouterr()
    result = ingest(crawl, test=crawl.parent / "clean", quiet=False)
    assert f"{result.seen_in['crawl']:,} files are as they were; 1 are read." in capsys.readouterr().err


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_a_crawl_whose_labels_are_hidden_is_left_out(
    crawl: Path, ingest: Callable[..., Any], write: Write, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    crawl.rename(crawl.parent / "train")
    crawl.mkdir()
    (crawl.parent / "train").rename(crawl / "train")
    for number in range(3):
        write(f"crawl/{split}/{number}.png", png(700 + number))
    result = ingest(crawl)
    assert f"No {split} picture of {crawl} has a label: they are left out." in capsys.readouterr().err
    assert result.states["refused"] == 3
    # Then the crawl gives the pictures to validate on.
    assert result.used["val"] > 0
    assert result.used["test"] == 0


def test_a_source_without_a_name_is_wrong_use(crawl: Path, ingest: Callable[..., Any]) -> None:
    for source, options in (("", {}), ("", {"output": None}), (crawl, {"val": ""}), (crawl, {"test": ""})):
        with pytest.raises(UsageError, match="No source is named"):
            ingest(source, **options)


def test_a_table_of_urls_is_for_collect(ingest: Callable[..., Any], tmp_path: Path) -> None:
    for header in ("url,label", "url,category", "file_name,label"):
        (tmp_path / "urls.csv").write_text(f"{header}\nhttps://x/1.jpg,cat\nhttps://x/2.jpg,dog\n", encoding="utf-8")
        with pytest.raises(SourceError, match=r"URLs.*`curriculumnet collect .*urls.csv.* -o SHARDS` fetches them"):
            ingest(tmp_path / "urls.csv")
    (tmp_path / "excel.csv").write_text("file_name;label\n1.jpg;cat\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"has one column, 'file_name;label': save it with commas"):
        ingest(tmp_path / "excel.csv")


def test_archives_beside_class_folders_are_told_of(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (crawl / "bird.tar").write_bytes(b"")
    ingest(crawl)
    assert "Warning: bird.tar in" in (said := capsys.readouterr().err)
    assert "beside the folders: what is in archives there is not read" in said


def test_categories_that_lie_deeper_are_warned_of(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl.rename(tmp_path / "pictures")
    (tmp_path / "all").mkdir()
    (tmp_path / "pictures").rename(tmp_path / "all" / "pictures")
    for number in range(5):
        write(f"all/shop/cat/{number}.png", png(300 + number))
    ingest(tmp_path / "all")
    assert "The categories are pictures, shop, and all pictures lie in folders below" in capsys.readouterr().err


def test_no_readable_image(ingest: Callable[..., Any], tmp_path: Path, write: Write) -> None:
    match = (
        r"None of the 2 files of .*two is a picture that can be used \(a web page, not an image: 2; the first is a/1"
    )
    with pytest.raises(CurriculumNetError, match=match) as raised:
        ingest(two(write, b"<html>"))
    assert raised.value.exit_code == 3
    (tmp_path / "list.txt").write_text("x/1.jpg cat\nx/2.jpg dog\n", encoding="utf-8")
    match = rf"None of the 2 files of .*list.txt .*\(not there: 2; the first is x/1.jpg, looked for in {tmp_path}\)"
    with pytest.raises(CurriculumNetError, match=match):
        ingest(tmp_path / "list.txt")
    # The folder that was begun can be used.
    assert ingest(two(write, png(1), "good"), min_images=1).seen == 2


def test_some_unknown_paths_in_a_list_are_rows(crawl: Path, ingest: Callable[..., Any]) -> None:
    lines = [f"{p.relative_to(crawl).as_posix()} {p.parent.name}" for p in sorted(crawl.rglob("*.png"))]
    odd = ["gone.png cat", "cat dog", "/nowhere/at/all.png dog"]
    (crawl / "list.txt").write_text("\n".join([*lines, *odd]), encoding="utf-8")
    result = ingest(crawl / "list.txt")
    assert result.states == {"used": 24, "missing": 3}
    assert result.reasons == {"not there": 3}


def test_pictures_to_measure_on_that_cannot_be_used(crawl: Path, ingest: Callable[..., Any], write: Write) -> None:
    write("t/cat/1.png", png(900))
    write("t/wolf/1.png", png(901))
    match = r"The test pictures in .*/t have labels that the crawl does not have: wolf\. Use the crawl's labels"
    with pytest.raises(CurriculumNetError, match=match) as raised:
        ingest(crawl, test=crawl.parent / "t")
    assert raised.value.exit_code == 3
    # What is known beforehand is said before any picture is read.
    write("u/1.png", png(902))
    match = r"None of the 1 files of .*/u is a picture that can be used \(in no category's folder: 1; the first is 1"
    with pytest.raises(CurriculumNetError, match=match):
        ingest(crawl, test=crawl.parent / "u")
    assert not (crawl.parent / "work").exists()
    write("v/cat/1.png", b"")
    with pytest.raises(CurriculumNetError, match=r"None of the 1 files of .*/v is a picture"):
        ingest(crawl, val=crawl.parent / "v")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"val_share": 1.0}, "--val-share is 1, but must be at least 0 and less than 1"),
        ({"val_share": float("nan")}, "--val-share is nan"),
        ({"min_side": 0}, "--min-side is 0, but must be at least 1"),
        ({"min_images": 0}, "--min-images is 0, but must be at least 1"),
        ({"seed": -1}, "--seed is -1, but must be at least 0"),
        ({"workers": -1}, "--workers is -1, but must be at least 0"),
        ({"group_column": "sender"}, r"--group-column names a column of a table"),
        ({"rank_column": "place"}, r"--rank-column names a column of a table"),
    ],
)
def test_settings_that_cannot_be(crawl: Path, ingest: Callable[..., Any], options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match) as raised:
        ingest(crawl, **options)
    assert raised.value.exit_code == 2


def test_nothing_is_written_into_the_source(crawl: Path, ingest: Callable[..., Any], write: Write) -> None:
    before = snapshot(crawl)
    for output in (crawl, crawl / "work", crawl / "cat" / "deeper"):
        with pytest.raises(UsageError, match="would lie inside the pictures' folder"):
            ingest(crawl, output=output)
    assert snapshot(crawl) == before


def test_a_folder_of_other_files_is_no_work_folder(crawl: Path, ingest: Callable[..., Any], write: Write) -> None:
    path = write("other/letter.txt", b"dear")
    with pytest.raises(WorkFolderError, match=r"holds other files \(letter.txt"):
        ingest(crawl, output=path.parent)
    assert [left.name for left in path.parent.iterdir()] == ["letter.txt"]


def test_a_full_disk_leaves_what_was_there(
    crawl: Path, ingest: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest(crawl)
    before = snapshot(first.work)

    def full(self: WorkFolder, name: str, parts: object) -> Path:
        raise MachineError("The disk is full")

    monkeypatch.setattr(WorkFolder, "write_parts", full)
    with pytest.raises(MachineError, match="The disk is full"):
        ingest(crawl, seed=5)
    monkeypatch.undo()
    after = snapshot(first.work)
    assert {name: after[name] for name in ("images.parquet", "project.json")} == {
        name: before[name] for name in ("images.parquet", "project.json")
    }
    assert ingest(crawl).states == first.states


@pytest.mark.slow
def test_the_miniature_is_accounted_for_to_the_file(tmp_path: Path, ingest: Callable[..., Any]) -> None:
    made = make_crawl(tmp_path / "miniature")
    result = ingest(made.crawl, test=made.test)
    assert result.not_images == 2
    assert result.states["broken"] == made.counts["broken"]
    assert result.states["refused"] == 1
    assert result.seen - result.states["broken"] == sum(made.sizes.values()) + made.counts["test"]
    assert result.used["test"] == made.counts["test"]
    assert list(result.categories) == sorted(made.sizes)


@pytest.mark.parametrize("left", ["images.parquet", ".writing-1-images.parquet", ".DS_Store"])
def test_what_a_killed_start_left_is_no_stranger(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path, left: str
) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / left).write_bytes(b"half")
    assert ingest(crawl, output=tmp_path / "begun").states["used"] == 24


# -- picture quality --------------------------------------------------------------------------------------------------


def test_pictures_of_low_quality_are_counted_and_used(crawl: Path, write: Write, ingest: Callable[..., Any]) -> None:
    write("crawl/cat/black.png", encoded(Image.new("RGB", (40, 40), (9, 3, 5))))
    write("crawl/cat/white.png", encoded(Image.new("RGB", (40, 40), (255, 253, 250))))
    write("crawl/dog/long.png", encoded(picture(7, (400, 20))))
    write("crawl/dog/grey.png", encoded(picture(8).convert("L")))
    write("crawl/dog/broken.png", b"<html>")
    found = ingest(crawl)
    assert found.states == {"used": 28, "broken": 1}
    assert (found.quality["dark"], found.quality["bright"], found.quality["odd_aspect_ratio"]) == (1, 1, 1)
    assert found.quality["greyscale"] == 1
    assert found.quality["low_information"] == 2
    shown = " ".join(part for part in found.summary() if isinstance(part, str))
    assert "1 nearly black" in shown
    by_name = {row["file_name"]: row for row in found.table().to_pylist()}
    assert by_name["dog/broken.png"]["dark"] is None
    assert by_name["dog/grey.png"]["greyscale"] == 0
    assert by_name["dog/long.png"]["odd_aspect_ratio"] == pytest.approx(0.05)


def test_features_that_do_not_fit_are_refused_in_one_sentence(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "features.npy"
    with pytest.raises(CurriculumNetError, match=r"are not there: give the path of a \.npy file\.$"):
        ingest(crawl, near_features=path)
    for wrong, said in (
        (np.zeros((3, 2)), "has 3 rows, but there are 24 images: .*: take what `embed` wrote for these files"),
        (np.zeros(24), "features are a matrix of numbers"),
        (np.array([["a"]] * 24), "features are a matrix of numbers"),
    ):
        np.save(path, wrong)
        with pytest.raises(CurriculumNetError, match=said):
            ingest(crawl, near_features=path)
    path.write_bytes(b"no matrix")
    with pytest.raises(CurriculumNetError, match=r"cannot be read as a \.npy matrix"):
        ingest(crawl, near_features=path)
    path.write_bytes(b"PK\x03\x04junk")
    with pytest.raises(CurriculumNetError, match=r"cannot be read as a \.npy matrix"):
        ingest(crawl, near_features=path)


def test_features_part_near_copies_until_they_are_left_out(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(crawl / "cat/00.png") as image:
        image.convert("RGB").save(crawl / "cat/00.jpg", quality=95)
    first = ingest(crawl)
    names = first.table()["file_name"].to_pylist()
    alike = [names.index("cat/00.jpg"), names.index("cat/00.png")]
    assert first.near_copies == 2
    features = np.ones((25, 2), dtype=np.float32)
    features[alike] = [[1, 0], [0, 1]]
    np.save(tmp_path / "features.npy", features)
    assert ingest(crawl, near_features=tmp_path / "features.npy").near_copies == 0
    assert ingest(crawl, near_features=tmp_path / "features.npy").near_copies == 0
    features[alike] = 1
    np.save(tmp_path / "features.npy", features)
    assert ingest(crawl, near_features=tmp_path / "features.npy").near_copies == 2
    capsys.readouterr()
    assert ingest(crawl).near_copies == 2
    assert "Near copies had been confirmed by features, and are not any more" in capsys.readouterr().err


# -- looked at again --------------------------------------------------------------------------------------------------


def test_what_was_in_the_way_of_a_file_may_be_gone(
    crawl: Path, ingest: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Folder.read

    def refused(self: Folder, name: str) -> bytes:
        if name == "cat/00.png":
            raise PermissionError(13, "Permission denied", name)
        return read(self, name)

    monkeypatch.setattr(Folder, "read", refused)
    first = ingest(crawl)
    assert states(first)["cat/00.png"] == "broken"
    table = first.images_path.read_bytes()
    assert ingest(crawl).images_path.read_bytes() == table
    monkeypatch.undo()
    assert states(ingest(crawl))["cat/00.png"] == "used"


def test_a_reading_by_another_version_is_not_up_to_date(
    crawl: Path, ingest: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = ingest(crawl)
    path = first.work / "project.json"
    project = json.loads(path.read_text(encoding="utf-8"))
    assert project["steps"]["ingest"]["figures"].pop("examined")
    path.write_text(json.dumps(project), encoding="utf-8")
    ingest(crawl, quiet=False)
    assert "up to date" not in capsys.readouterr().err
    ingest(crawl, quiet=False)
    assert "up to date" in capsys.readouterr().err


def test_what_is_added_to_a_tar_is_all_that_is_read(
    crawl: Path, ingest: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crawl.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(crawl, ".")
    ingest(path)
    added = tmp_path / "new.png"
    added.write_bytes(png(99))
    with tarfile.open(path, "a") as tar:
        tar.add(added, "cat/new.png")
    again = ingest(path, quiet=False)
    assert "24 files are as they were; 1 are read." in capsys.readouterr().err
    assert states(again)["cat/new.png"] == "used"


def test_many_tars_that_a_table_names_in_a_mixed_order_are_gone_through_tar_by_tar(
    ingest: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tars = tar_module._INDEXES + 6
    places = []
    for number in range(tars):
        with tarfile.open(tmp_path / f"{number:03}.tar", "w") as tar:
            for member in range(3):
                data = png(3 * number + member)
                about = tarfile.TarInfo(f"{member}.png")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
                places.append((f"{number:03}.tar#{member}.png", ("cat", "dog")[number % 2]))
    found = {}
    for order, mixed in (("sorted", places), ("mixed", [each for start in range(3) for each in places[start::3]])):
        lines = [",".join(each) for each in mixed]
        (tmp_path / f"{order}.csv").write_text("\n".join(["file_name,label", *lines]), encoding="utf-8")
        read: list[str] = []
        headers = tar_module._read_headers

        def noted(holder: Any, name: str, headers: Any = headers, read: list[str] = read) -> Any:
            read.append(name)
            return headers(holder, name)

        tar_module._index.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(tar_module, "_read_headers", noted)
            table = ingest(tmp_path / f"{order}.csv", output=tmp_path / order, val_share=0).table()
        assert table["file_name"].to_pylist() == [name for name, _ in mixed]
        # Once for what is known of the files, and once for the files.
        assert len(read) <= 2 * tars
        found[order] = table.select(["file_name", "label", "state", "offset", "digest"]).sort_by("file_name")
    assert found["mixed"].equals(found["sorted"])


def test_near_copies_of_different_senders_are_on_one_side(ingest: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    lines = ["file_name,label,sender"]
    for number in range(60):
        photo = picture(1000 + number, (48, 40))
        for quality in (95, 60):
            name = f"{number:02}-{quality}.jpg"
            (tmp_path / "t" / name).write_bytes(encoded(photo, "JPEG", quality=quality))
            lines.append(f"{name},{('cat', 'dog')[number % 2]},{name}")
    (tmp_path / "t" / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    result = ingest(tmp_path / "t" / "t.csv", group_column="sender", val_share=0.2)
    sides: dict[int, set[str]] = {}
    for row in result.table().to_pylist():
        if row["near_group"] is not None:
            sides.setdefault(row["near_group"], set()).add(row["split"])
    assert len(sides) >= 50
    assert all(len(side) == 1 for side in sides.values())
    assert result.used["val"] >= 10


def test_where_too_many_are_near_fewer_bits_may_differ(
    crawl: Path,
    write: Write,
    ingest: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = np.asarray(picture(2000, (96, 96))).copy()
    for number in range(30):
        photo[3 * number : 3 * number + 3] //= 2
        write(f"crawl/cat/frame {number:02}.png", encoded(Image.fromarray(photo)))
    assert ingest(crawl).near_copies > 20
    assert "look alike" not in capsys.readouterr().err
    monkeypatch.setattr("curriculumnet.ingestion.states.MOST_PAIRS", 40)
    again = ingest(crawl, output=crawl.parent / "again")
    assert again.near_copies <= 30
    assert re.search(r"near copies are only those whose hashes differ in at most [0-5] of 64", capsys.readouterr().err)
