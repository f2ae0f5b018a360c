"""The step `inject`, through its public door."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import curriculumnet as cn
from curriculumnet import console
from curriculumnet.console import Grid
from curriculumnet.errors import InputError, MachineError, SourceError, UnknownNameError, UsageError
from curriculumnet.miniature import TRUTH_COLUMNS, make_crawl

SIZES = {"cat": 80, "dog": 57, "emu": 40, "fox": 23}
Write = Callable[[str, bytes], Path]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def origins(copy: Path, rows: list[dict[str, str]]) -> list[str]:
    """What each picture of the copy was: the files hold their own names."""
    return [(copy / row["file_name"]).read_bytes().decode() for row in rows]


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is made -----------------------------------------------------------------------------------------------------


def test_a_copy_is_folders_of_links_and_the_truth(home: Path, tmp_path: Path) -> None:
    made = cn.inject(
        home / "clean",
        output=tmp_path / "noisy",
        closed=0.2,
        confuse=["cat:dog=0.3"],
        outside=home / "web",
        outside_share=0.1,
        quiet=True,
    )
    rows = rows_of(made.truth)
    assert tuple(rows[0]) == TRUTH_COLUMNS
    assert [row["file_name"] for row in rows] == sorted(row["file_name"] for row in rows)
    assert made.counts == {"right": 116, "confused": 24, "uniform": 40, "outside": 20}
    assert made.counts == Counter(row["kind"] for row in rows)
    lying = {path.relative_to(made.output).as_posix() for path in made.crawl.rglob("*") if not path.is_dir()}
    assert lying == {row["file_name"] for row in rows}
    assert all((made.output / name).is_symlink() for name in lying)
    for row, origin in zip(rows, origins(made.output, rows), strict=True):
        assert row["file_name"].split("/")[1] == row["label"]
        first, true = origin.split("/")[:2]
        assert row["true_label"] == (f"outside:{true}" if first == "web" else true)
        assert (row["kind"] == "outside") == (first == "web")
        assert (row["kind"] == "right") == (row["label"] == row["true_label"])
        if row["kind"] == "confused":
            assert (row["label"], row["true_label"]) == ("dog", "cat")
    assert made.table().to_pylist() == rows


def test_the_result_counts_by_the_labels_that_are_given(home: Path, tmp_path: Path) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "noisy", confuse=["cat:dog=0.25", "dog:cat=0"], quiet=True)
    assert made.categories["cat"] == {"size": 60, "right": 60, "confused": 0, "uniform": 0, "outside": 0}
    assert made.categories["dog"] == {"size": 77, "right": 57, "confused": 20, "uniform": 0, "outside": 0}
    lines = made.summary()
    assert lines[0] == (
        "200 pictures in 4 categories; the label of 20 is wrong (10.0%): 20 confused, 0 uniform, 0 outside."
    )
    grid = next(line for line in lines if isinstance(line, Grid))
    assert grid.rows[0] == ("dog", "77", "57", "20", "0", "0", "26.0%")
    assert lines[-1] == f"Next: curriculumnet ingest {made.crawl}"
    assert json.loads(json.dumps(console.as_json(made)))["counts"]["confused"] == 20


def test_no_noise_is_a_clean_copy(home: Path, tmp_path: Path) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "noisy", outside=home / "web", outside_share=0, quiet=True)
    assert made.counts == {"right": 200, "confused": 0, "uniform": 0, "outside": 0}
    assert {name: counts["size"] for name, counts in made.categories.items()} == SIZES


@settings(max_examples=25)
@given(st.integers(0, 50), st.integers(0, 25), st.integers(0, 25), st.integers(0, 9))
def test_numbers_are_exact_and_the_total_stays(home: Path, closed: int, confused: int, outside: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        made = cn.inject(
            home / "clean",
            output=Path(folder) / "noisy",
            closed=closed / 100,
            confuse=[f"fox:emu={confused / 100}"],
            outside=home / "web",
            outside_share=outside / 100,
            seed=seed,
            quiet=True,
        )
        rows = made.table().to_pylist()
    assert len(rows) == 200
    kinds = Counter(row["kind"] for row in rows)
    assert (kinds["uniform"], kinds["outside"]) == (2 * closed, 2 * outside)
    right = Counter(row["true_label"] for row in rows if row["kind"] == "right")
    replaced = Counter(row["label"] for row in rows if row["kind"] == "outside")
    for name, size in SIZES.items():
        wrong = (closed + outside + confused * (name == "fox")) * size / 100
        assert abs(size - right[name] - wrong) < 3
        assert math.floor(outside * size / 100) <= replaced[name] <= math.ceil(outside * size / 100)


def test_the_same_seed_gives_the_same_copy_of_a_folder_a_tar_and_a_table_in_any_order(
    home: Path, tmp_path: Path
) -> None:
    names = sorted(path.relative_to(home / "clean").as_posix() for path in (home / "clean").rglob("*.jpg"))
    with tarfile.open(tmp_path / "clean.tar", "w") as tar:
        for name in reversed(names):
            tar.add(home / "clean" / name, name)
    set_ = shutil.copytree(home / "clean", tmp_path / "set")
    lines = "".join(f"{name},{name.split('/')[0]}\n" for name in reversed(names))
    (set_ / "table.csv").write_text(f"picture,word\n{lines}", encoding="utf-8")
    options = {"closed": 0.3, "outside": home / "web", "outside_share": 0.2, "seed": 5, "quiet": True}
    folder = cn.inject(home / "clean", output=tmp_path / "a", **options)
    columns = {"file_column": "picture", "label_column": "word"}
    table = cn.inject(set_ / "table.csv", output=tmp_path / "b", **options | {"outside": home / "web"}, **columns)
    tar = cn.inject(tmp_path / "clean.tar", output=tmp_path / "c", **options)
    assert folder.truth.read_bytes() == table.truth.read_bytes() == tar.truth.read_bytes()
    assert everything(folder.crawl) == everything(table.crawl) == everything(tar.crawl)
    rows = rows_of(tar.truth)
    assert {(tar.output / row["file_name"]).is_symlink() for row in rows if row["kind"] != "outside"} == {False}


def test_names_tell_nothing_and_stay_the_same_whatever_the_noise(home: Path, tmp_path: Path) -> None:
    """Every category has a 000.jpg; a picture is called the same in every copy."""
    names = []
    for seed, closed in enumerate((0.0, 0.5)):
        made = cn.inject(home / "clean", output=tmp_path / str(seed), closed=closed, seed=seed, quiet=True)
        rows = rows_of(made.truth)
        pairs = zip(origins(made.output, rows), rows, strict=True)
        names.append({origin: row["file_name"].split("/")[2] for origin, row in pairs})
        assert not any(word in name for name in names[-1].values() for word in SIZES)
    assert names[0] == names[1]
    assert len(set(names[0].values())) == 200


def test_a_name_of_its_own_is_kept_but_for_what_some_system_cannot_have(write: Write, tmp_path: Path) -> None:
    for name in (
        "cat/tom.JPG",
        "cat/deep/er.ashx",
        "cat/same.png",
        "cat/s.tar#1.png",
        "dog/Same.PNG",
        f"dog/{'n' * 220}.png",
    ):
        write(f"set/{name}", b"")
    if os.name != "nt":
        write("set/dog/what?.png", b"")
    made = cn.inject(tmp_path / "set", output=tmp_path / "noisy", quiet=True)
    names = sorted(row["file_name"] for row in made.table().to_pylist())
    assert {"crawl/cat/1.png", "crawl/cat/tom.JPG", "crawl/cat/er.ashx"} < set(names)
    assert re.fullmatch(r"crawl/cat/same-[0-9a-f]{16}\.png", names[2])
    assert re.fullmatch(r"crawl/dog/Same-[0-9a-f]{16}\.PNG", names[4])
    assert re.fullmatch(r"crawl/dog/n{40}-[0-9a-f]{16}\.png", names[5])
    if os.name != "nt":
        assert re.fullmatch(r"crawl/dog/what_-[0-9a-f]{16}\.png", names[6])


def test_what_is_set_apart_stays_clean(write: Write, tmp_path: Path) -> None:
    for split, size in (("train", 10), ("val", 3), ("test", 4)):
        for name in ("cat", "dog"):
            for place in range(size):
                write(f"set/{split}/{name}/{place}.png", f"{split}/{name}".encode())
    made = cn.inject(tmp_path / "set", output=tmp_path / "noisy", closed=0.5, quiet=True)
    assert made.counts == {"right": 10, "confused": 0, "uniform": 10, "outside": 0}
    assert {row["file_name"].split("/")[0] for row in made.table().to_pylist()} == {"crawl"}
    for split, size in (("val", 3), ("test", 4)):
        held = [path for path in made.clean[split].rglob("*") if path.is_file()]
        assert len(held) == 2 * size
        assert all(path.read_bytes().decode() == f"{split}/{path.parent.name}" for path in held)
    assert made.summary()[-1] == (
        f"Next: curriculumnet ingest {made.crawl} --val {made.output / 'val'} --test {made.output / 'test'}"
    )


def test_files_that_are_no_images_are_left_out_and_broken_ones_stay(write: Write, tmp_path: Path) -> None:
    files = {"cat/1.jpg": b"", "cat/2.jpg": b"<html>", "cat/notes.txt": b"", "dog/1.png": b"\x89PNG", "top.png": b""}
    for name, data in files.items():
        write(f"set/{name}", data)
    write("set/list.txt", b"cat/1.jpg cat\ncat/2.jpg cat\ndog/1.png dog\ndog/gone.png dog\ncat/notes.txt cat\n")
    for number, source in enumerate(("set", "set/list.txt")):
        made = cn.inject(tmp_path / source, output=tmp_path / f"noisy{number}", quiet=True)
        assert [row["true_label"] for row in made.table().to_pylist()] == ["cat", "cat", "dog"]
        assert made.left_out == (2 if number else 1)
        assert "left out" in str(made.summary()[-3])


def test_pictures_from_outside_may_have_no_label(home: Path, tmp_path: Path) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "n", outside=home / "loose", outside_share=0.25, quiet=True)
    assert {row["true_label"] for row in made.table().to_pylist() if row["kind"] == "outside"} == {"outside:loose"}
    assert made.counts["outside"] == 50
    assert made.left_out == 0
    assert {name: counts["size"] for name, counts in made.categories.items()} == SIZES


def test_pairs_are_given_singly_or_in_a_table(home: Path, tmp_path: Path, write: Write) -> None:
    table = write("pairs.csv", b"\xef\xbb\xbflabel, confused_with, share\ncat, dog, 0.3\nfox, emu, 0.1\n")
    one = cn.inject(home / "clean", output=tmp_path / "a", confuse=[str(table)], quiet=True)
    other = cn.inject(home / "clean", output=tmp_path / "b", confuse=["cat:dog=0.3", "fox:emu=0.1"], quiet=True)
    assert one.truth.read_bytes() == other.truth.read_bytes()
    assert one.counts["confused"] == 26


def test_names_of_categories_may_hold_colons_and_equals_signs(write: Write, tmp_path: Path) -> None:
    lines = "".join(f"{place}.png,{'a=1' if place % 2 else 'b:c:d'}\n" for place in range(20))
    write("set/table.csv", f"file_name,label\n{lines}".encode())
    for place in range(20):
        write(f"set/{place}.png", b"")
    options = {"output": tmp_path / "noisy", "confuse": ["b:c:d:a=1=0.5"], "quiet": True}
    if os.name == "nt":
        with pytest.raises(SourceError, match="cannot name a folder"):
            cn.inject(tmp_path / "set" / "table.csv", **options)
    else:
        assert cn.inject(tmp_path / "set" / "table.csv", **options).categories["a=1"]["confused"] == 5


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_with_ends_of_lines_in_them_come_back_from_the_truth(write: Write, tmp_path: Path) -> None:
    for place in range(20):
        write(f"set/{'cat' if place % 2 else 'a' + chr(13) + 'b' + chr(10) + 'c'}/{place}.png", b"")
    rows = rows_of(cn.inject(tmp_path / "set", output=tmp_path / "noisy", closed=0.5, quiet=True).truth)
    assert Counter(row["true_label"] for row in rows) == {"cat": 10, "a\rb\nc": 10}
    assert all((tmp_path / "noisy" / row["file_name"]).is_symlink() for row in rows)


# -- links and copies -------------------------------------------------------------------------------------------------


def test_copies_are_made_when_asked_or_where_links_are_not_possible(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = cn.inject(home / "clean", output=tmp_path / "a", closed=0.1, quiet=True)
    asked = cn.inject(home / "clean", output=tmp_path / "b", closed=0.1, copy=True, quiet=True)
    assert capsys.readouterr().err == ""

    def refuse(*_: object) -> None:
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    forced = cn.inject(home / "clean", output=tmp_path / "c", closed=0.1, quiet=True)
    assert capsys.readouterr().err.count("Links cannot be made") == 1
    assert everything(linked.crawl) == everything(asked.crawl) == everything(forced.crawl)
    for made in (asked, forced):
        assert not any(path.is_symlink() for path in made.crawl.rglob("*"))


def test_links_lead_to_the_source_wherever_the_copy_is_moved(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    cn.inject("clean", output=tmp_path / "a", quiet=True)
    moved = shutil.move(tmp_path / "a", tmp_path / "far" / "off")
    assert len(everything(Path(moved) / "crawl")) == 200


# -- stopped, and again -----------------------------------------------------------------------------------------------


def test_the_same_command_again_says_that_it_is_done(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"output": tmp_path / "noisy", "closed": 0.3}
    first = cn.inject(home / "clean", **options)
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "noisy").rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    assert cn.inject(home / "clean", **options) == first
    assert "the copy is made and up to date; nothing to do." in capsys.readouterr().err
    assert before == {path: path.lstat().st_mtime_ns for path in before}


@pytest.mark.parametrize("copy", [False, True])
def test_a_copy_that_was_stopped_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], copy: bool
) -> None:
    options = {"closed": 0.3, "outside": home / "web", "outside_share": 0.1, "copy": copy}
    whole = cn.inject(home / "clean", output=tmp_path / "whole", **options, quiet=True)
    advance = console.Progress.advance
    calls = iter(range(1_000))

    def stop(self: console.Progress, units: int = 1) -> None:
        if next(calls) == 70:
            raise KeyboardInterrupt
        advance(self, units)

    monkeypatch.setattr(console.Progress, "advance", stop)
    with pytest.raises(KeyboardInterrupt):
        cn.inject(home / "clean", output=tmp_path / "stopped", **options, quiet=True)
    assert not (tmp_path / "stopped" / "truth.csv").exists()
    capsys.readouterr()
    again = cn.inject(home / "clean", output=tmp_path / "stopped", **options)
    said = re.search(r"(\d+) pictures are there; (\d+) are to come\.", capsys.readouterr().err)
    assert said
    assert int(said[1]) >= 71
    assert int(said[1]) + int(said[2]) == 200
    assert everything(again.crawl) == everything(whole.crawl)
    assert again.truth.read_bytes() == whole.truth.read_bytes()


def test_a_copy_without_noise_is_made_with_a_warning(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "noisy", quiet=True)
    assert "No noise was asked for, and every label stays" in capsys.readouterr().err
    assert all(row["label"] == row["true_label"] for row in rows_of(made.truth))


def test_a_category_that_keeps_no_picture_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cn.inject(home / "clean", output=tmp_path / "noisy", closed=0, confuse=["cat:dog=1"], quiet=True)
    assert "The category cat keeps no picture" in capsys.readouterr().err


def test_an_output_that_cannot_be_made_is_the_machines_fault(home: Path, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be made"):
        cn.inject(home / "clean", output=tmp_path / ("x" * 300), closed=0.1, quiet=True)


def test_what_was_deleted_from_a_copy_comes_back(home: Path, tmp_path: Path) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "noisy", quiet=True)
    before = everything(made.crawl)
    next(made.crawl.rglob("*.jpg")).unlink()
    made.truth.write_text("half", encoding="utf-8")
    again = cn.inject(home / "clean", output=tmp_path / "noisy", quiet=True)
    assert everything(again.crawl) == before
    assert len(rows_of(again.truth)) == 200


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"closed": 0.4}, r"otherwise \(--closed was 0\.2, now 0\.4\)"),
        ({"seed": 1}, r"otherwise \(--seed was 0, now 1\)"),
        ({"copy": True}, r"otherwise \(--copy was not given, now given\)"),
        (
            {"closed": 0, "confuse": ["cat:dog=0.1"]},
            r"otherwise \(--closed was 0\.2, now 0; --confuse was none, now cat:dog=0\.1\)",
        ),
    ],
)
def test_a_folder_with_another_copy_is_left_alone(
    home: Path, tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    made = cn.inject(home / "clean", output=tmp_path / "noisy", closed=0.2, quiet=True)
    before = everything(made.output)
    with pytest.raises(UsageError, match=said):
        cn.inject(home / "clean", output=tmp_path / "noisy", **{"closed": 0.2, **changed}, quiet=True)
    assert everything(made.output) == before


def test_a_source_that_changed_is_said(home: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(home / "clean", tmp_path / "mine")
    cn.inject(mine, output=tmp_path / "noisy", quiet=True)
    (mine / "cat" / "new.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"before a source, or a table of --confuse, changed: give another folder"):
        cn.inject(mine, output=tmp_path / "noisy", quiet=True)


@pytest.mark.parametrize("how", ["linked", "asked", "links cannot be made", "in a tar"])
def test_a_picture_that_changed_is_said_where_it_was_copied(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a privilege is not held")

    def pack() -> None:
        with tarfile.open(tmp_path / "mine.tar", "w") as tar:
            tar.add(mine, "")

    mine = shutil.copytree(home / "clean", tmp_path / "mine")
    pack()
    if how == "links cannot be made":
        monkeypatch.setattr(Path, "symlink_to", refuse)
    source = tmp_path / "mine.tar" if how == "in a tar" else mine
    options = {"output": tmp_path / "noisy", "copy": how == "asked"}
    made = cn.inject(source, **options)
    cn.inject(source, **options)
    assert "the copy is made and up to date" in capsys.readouterr().err
    (mine / "cat" / "000.jpg").write_bytes(b"another")
    pack()
    if how == "linked":
        cn.inject(source, **options)
        assert "the copy is made and up to date" in capsys.readouterr().err
        assert b"another" in everything(made.crawl).values()
        return
    before = everything(made.output)
    with pytest.raises(
        UsageError, match=r"made before a source, or a table of --confuse, changed: give another folder"
    ):
        cn.inject(source, **options)
    assert everything(made.output) == before


# -- what cannot be done ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"closed": -0.1}, UsageError, r"--closed is -0\.1: it must be a number from 0 to 1"),
        ({"closed": 1.5}, UsageError, r"--closed is 1\.5"),
        ({"closed": math.nan}, UsageError, r"--closed is nan"),
        ({"outside_share": math.inf}, UsageError, r"--outside-share is inf"),
        ({"seed": -1}, UsageError, r"--seed is -1: it must be 0 or more"),
        ({"outside": "web"}, UsageError, r"not how many: say so with --outside-share"),
        ({"outside_share": 0.1}, UsageError, r"no pictures were given: name some with --outside"),
        (
            {"outside": "web", "outside_share": 0.7},
            SourceError,
            r"needs 140 from outside, but .* has 120: .* most 0\.6\.",
        ),
        ({"outside": "cats", "outside_share": 0.1}, UsageError, r"has categories of clean \(cat, …\)"),
        ({"outside": "clean/cat", "outside_share": 0.1}, UsageError, r"holds pictures of .* itself \(000\.jpg, …\)"),
        ({"outside": "gone", "outside_share": 0.1}, SourceError, r"gone is not there"),
        ({"confuse": ["cat"]}, UsageError, r'--confuse cat is no pair and no table: write "cat:dog=0\.3"'),
        ({"confuse": ["cat:dog"]}, UsageError, r"is no pair and no table"),
        ({"confuse": ["cat:dog=x"]}, UsageError, r"--confuse cat:dog=x has the share 'x': it must be a number"),
        ({"confuse": ["cat:dog=nan"]}, UsageError, r"has the share 'nan'"),
        ({"confuse": ["cat:cat=0.1"]}, UsageError, r"takes cat for itself"),
        ({"confuse": ["cat:dog=0.1", "cat:dog=0.2"]}, UsageError, r"names cat taken for dog once more"),
        ({"confuse": ["cat:dgo=0.1"]}, UnknownNameError, r"dgo.*cat, dog, emu, fox"),
        ({"confuse": ["gone.csv"]}, InputError, r"The table gone\.csv of --confuse cannot be read"),
        ({"closed": 0.6, "confuse": ["cat:dog=0.3", "cat:emu=0.2"]}, UsageError, r"shares of cat add up to 1\.1 "),
        ({"output": ""}, UsageError, r"-o names no folder"),
        ({"output": "clean/noisy"}, UsageError, r"would lie inside the pictures' folder"),
        ({"output": "clean"}, UsageError, r"would lie inside the pictures' folder"),
        ({"output": "web"}, UsageError, r"holds other files \(gnu, …\): give the name of a new or empty folder"),
        ({"output": "loose/1.png"}, UsageError, r"is a file: give the name of a folder"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], error: type, said: str
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(error, match=said):
        cn.inject("clean", **{"output": tmp_path / "noisy", "quiet": True, **options})
    assert not (tmp_path / "noisy").exists()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"label,confused_with\ncat,dog\n", r"has no column 'share'"),
        (b"label,confused_with,share\ncat,dog,2\n", r"Line 2 of .*pairs\.csv has the share '2'"),
        (b"label,confused_with,share\ncat\n", r"category"),
        (b"\xff\xfe", r"cannot be read \(not UTF-8\)"),
    ],
)
def test_a_table_of_pairs_that_is_none_is_one_sentence(
    home: Path, tmp_path: Path, write: Write, table: bytes, said: str
) -> None:
    with pytest.raises((UsageError, InputError), match=said):
        cn.inject(
            home / "clean", output=tmp_path / "noisy", confuse=[str(write("pairs.csv", table))], closed=0, quiet=True
        )


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a/b", "c"], r"The category 'a/b' of .* cannot name a folder, since its name has a / or"),
        ([".a", "c"], r"The category '\.a'"),
        (["a" * 300, "c"], r"cannot name a folder, since its name is longer"),
        (["con", "c"], r"cannot name a folder, since its name is kept by Windows"),
        (["train", "test"], r"as folders they would be read as splits"),
        (["a", "a"], r"has one category only \(a\), but a wrong label needs two"),
        (["", ""], r"has no pictures in categories"),
    ],
)
def test_categories_that_cannot_be_folders_are_one_sentence(
    write: Write, tmp_path: Path, labels: list[str], said: str
) -> None:
    lines = "".join(f"{place}.png,{label}\n" for place, label in enumerate(labels))
    source = write("set/table.csv", f"file_name,label\n{lines}".encode())
    for place in range(len(labels)):
        write(f"set/{place}.png", b"")
    with pytest.raises(SourceError, match=said):
        cn.inject(source, output=tmp_path / "noisy", closed=0.5, quiet=True)


@pytest.mark.skipif(os.name == "nt", reason="links to folders need a privilege")
def test_categories_that_are_one_folder_on_this_disk_are_one_sentence(write: Write, tmp_path: Path) -> None:
    """As on a disk that does not tell Polish from polish, for which a link stands here."""
    for name in ("Polish", "polish"):
        write(f"set/{name}/1.png", b"")
    made = cn.inject(tmp_path / "set", output=tmp_path / "noisy", quiet=True)
    shutil.rmtree(made.crawl / "polish")
    (made.crawl / "polish").symlink_to(made.crawl / "Polish")
    with pytest.raises(SourceError, match="The categories 'Polish' and 'polish' are the same folder on this disk"):
        cn.inject(tmp_path / "set", output=tmp_path / "noisy", quiet=True)


@pytest.mark.parametrize(
    ("name", "part", "what"),
    [
        ("set.zip", "", r"compressed \(zip\)"),
        ("deep.zip#in", "#in", r"compressed \(zip\)"),
        ("set.parquet", "#table.parquet", "a table that holds its pictures"),
        ("tables", "#table.parquet", "a folder of tables that hold their pictures"),
    ],
)
def test_what_ingest_unpacks_is_taken_from_its_work_folder(tmp_path: Path, name: str, part: str, what: str) -> None:
    rows = []
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed, zipfile.ZipFile(tmp_path / "deep.zip", "w") as deep:
        for place, label in enumerate(("cat", "dog")):
            for number in range(4):
                noise = np.random.default_rng(10 * place + number).integers(0, 256, (30, 30, 3), dtype=np.uint8)
                Image.fromarray(noise).save(picture := io.BytesIO(), "PNG")
                packed.writestr(f"{label}/{number}.png", picture.getvalue())
                deep.writestr(f"in/{label}/{number}.png", picture.getvalue())
                rows.append({"image": {"bytes": picture.getvalue(), "path": None}, "label": label})
    (tmp_path / "tables").mkdir()
    for table in ("set.parquet", "tables/train-00000.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / table)
    options = {"output": tmp_path / "noisy", "closed": 0.5, "quiet": True}
    behind = rf", with {part} behind its name" if part else ""
    told = rf"{name} is {what}.*: `curriculumnet ingest` unpacks it.*; give the tar in WORK/unpacked{behind}\.$"
    with pytest.raises(SourceError, match=told):
        cn.inject(tmp_path / name, **options)
    work = cn.ingest(tmp_path / name, output=tmp_path / "work", workers=0, quiet=True).work
    (tar,) = (work / "unpacked").iterdir()
    made = cn.inject(f"{tar}{part}", **options)
    assert made.counts == {"right": 4, "confused": 0, "uniform": 4, "outside": 0}
    assert {category: each["size"] for category, each in made.categories.items()} == {"cat": 4, "dog": 4}


def test_a_source_is_never_changed(home: Path, tmp_path: Path) -> None:
    before = everything(home)
    cn.inject(home / "clean", output=tmp_path / "a", closed=0.5, quiet=True)
    with pytest.raises(UsageError):
        cn.inject(home / "clean", output=home / "clean" / "b", quiet=True)
    assert everything(home) == before


# -- the command, and what comes next ---------------------------------------------------------------------------------


def test_the_command_prints_the_real_shares_and_says_what_is_wrong(home: Path, tmp_path: Path) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "curriculumnet", "inject", str(home / "clean"), "-o", str(tmp_path / "n")]
        return subprocess.run([*command, *words], capture_output=True, text=True, encoding="utf-8", check=False)

    done = call("--closed", "0.2", "--confuse", "cat:dog=0.3", "--confuse", "dog:cat=0.1")
    assert done.returncode == 0, done.stderr
    assert "200 pictures in 4 categories; the label of 70 is wrong (35.0%)" in done.stdout
    wrong = call("--closed", "0.9", "--confuse", "cat:dog=0.3")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Error: The shares of cat add up to 1.2" in wrong.stderr


@pytest.mark.slow
@pytest.mark.short
def test_ingest_sees_what_was_made(home: Path, tmp_path: Path) -> None:
    clean = make_crawl(tmp_path / "miniature", images_per_category=(12, 20), test_images=200).test
    made = cn.inject(
        clean,
        output=tmp_path / "noisy",
        closed=0.2,
        confuse=["one:seven=0.1"],
        outside=home / "loose",
        outside_share=0.1,
        quiet=True,
    )
    images = cn.ingest(made.crawl, output=tmp_path / "work", workers=0, quiet=True).table().to_pylist()
    truth = {row["file_name"]: row for row in made.table().to_pylist()}
    found = {f"crawl/{row['file_name']}": row for row in images}
    assert found.keys() == truth.keys()
    assert all(found[name]["label"] == row["label"] for name, row in truth.items())
    assert Counter(row["label"] for row in images) == {name: each["size"] for name, each in made.categories.items()}
    states = {(row["kind"] == "outside", found[name]["state"]) for name, row in truth.items()}
    assert states == {(False, "used"), (True, "broken")}
