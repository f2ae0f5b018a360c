"""The step `export`, through its public door: what is asked, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import curriculumnet as cn
from curriculumnet import cli
from curriculumnet.errors import InputError, MachineError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.exporting.delivery import Delivery
from curriculumnet.exporting.formats import FORMATS
from curriculumnet.images.loader import Pictures

QUIET: dict[str, Any] = {"workers": 0, "quiet": True}


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.app([str(word) for word in words], prog_name="curriculumnet")
    return int(ended.value.code or 0)


def test_on_the_command_line(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    words = ("export", prepared / "work", "-o", tmp_path / "out", "--format", "lists", "--subset", "0", "--subset", "2")
    assert run(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["subsets"], told["curriculum"]) == ("lists", [0, 2], "own")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "1.txt",
        "3.txt",
        "categories.txt",
        "export.json",
        "test.txt",
        "val.txt",
    ]
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert "nothing to do" in shown.err
    assert "Exported as lists: " in shown.out
    assert "along the curriculum own." in shown.out


def test_an_unknown_format_lists_the_known_ones(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(UnknownNameError, match="There is no format 'tfrecord': it must be one of cleanlab, folders, "):
        cn.export(prepared / "work", output=tmp_path / "out", format_="tfrecord")
    assert run("export", prepared / "work", "-o", tmp_path / "out", "--format", "tfrecord") == 2
    assert not (tmp_path / "out").exists()


def test_settings_are_checked_before_anything_is_written(prepared: Path, tmp_path: Path) -> None:
    for wrong, message in (
        ({"shard_size": 0}, "--shard-size is 0"),
        ({"workers": -1}, "--workers is -1"),
        ({"subset": (-1,)}, "--subset is -1"),
        ({"output": ""}, "-o names no folder"),
        ({"curriculum": "none"}, "There is no curriculum 'none'"),
    ):
        with pytest.raises(UsageError, match=message):
            cn.export(prepared / "work", **({"output": tmp_path / "out", "format_": "lists"} | wrong))  # type: ignore[arg-type]
    with pytest.raises(WorkFolderError, match="is no work folder"):
        cn.export(tmp_path, output=tmp_path / "out", format_="lists")
    assert list(tmp_path.iterdir()) == []


def test_flags_that_a_format_does_not_use_are_told(prepared: Path, tmp_path: Path, capsys: Any) -> None:
    cn.export(prepared / "work", output=tmp_path / "out", format_="lists", shard_size=3, copy=True, **QUIET)
    told = capsys.readouterr().err
    assert "The format lists does not use --copy: it changes nothing." in told
    assert "The format lists does not use --shard-size: it changes nothing." in told


@pytest.mark.parametrize("name", FORMATS)
def test_names_on_the_network_are_warned_of_where_they_stand_for_the_pictures(
    home: Path, tmp_path: Path, name: str, capsys: Any
) -> None:
    work = cn.ingest((home / "crawl").as_uri(), output=home / "url-work", **QUIET).work
    capsys.readouterr()
    out = cn.export(work, output=tmp_path / "out", format_=name, **QUIET).output
    told = capsys.readouterr().err
    if name not in ("lists", "cleanlab"):
        assert told == ""
        return
    assert told.count("The pictures lie on the network (file://") == 1
    assert f"what {name} names can be read by tools that know such URLs, but not by `ingest`" in told
    listed = out / ("train.txt" if name == "lists" else "labels.csv")
    assert "file://" in listed.read_text(encoding="utf-8")


def test_the_output_may_lie_in_nothing_that_is_read(prepared: Path, tmp_path: Path, home: Path) -> None:
    with pytest.raises(UsageError, match="would lie inside the work folder"):
        cn.export(home / "work", output=home / "work/out", format_="lists")
    work = cn.ingest(home / "crawl", output=home / "folders-work", **QUIET).work
    with pytest.raises(UsageError, match="would lie inside the pictures' folder"):
        cn.export(work, output=home / "crawl/deep/out", format_="lists")
    (home / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file: give the name of a folder"):
        cn.export(work, output=home / "file", format_="lists")
    (home / "strange").mkdir()
    (home / "strange/export.json").write_text('{"name": "of another program"}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds other files \(export\.json, …\)"):
        cn.export(work, output=home / "strange", format_="lists")
    # The folder of a table holds more than its pictures; an empty folder is as good as none.
    (home / "out").mkdir()
    assert cn.export(home / "work", output=home / "out", format_="lists", **QUIET).files == 6


@pytest.mark.parametrize("name", ["../mine.txt", "{}/mine.txt", "a/../../mine.txt", "..\\mine.txt"])
def test_a_list_of_another_hand_names_no_file_elsewhere_as_ours(prepared: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    noted = {"digest": blake2b(b"precious", digest_size=16).hexdigest(), "bytes": 8, "mtime_ns": 0}
    told = {"settings": {}, "files": {name.format(tmp_path): noted}}
    (tmp_path / "out" / "export.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(UsageError, match=r"out holds other files \(export.json, …\)"):
        cn.export(prepared / "work", output=tmp_path / "out", format_="lists", **QUIET)
    assert mine.read_bytes() == b"precious"


@pytest.mark.skipif(os.name == "nt", reason="links to folders need a privilege")
def test_a_link_in_an_export_of_another_hand_leads_nowhere(prepared: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "known.txt"
    mine.parent.mkdir()
    mine.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "train").symlink_to("../mine")
    digest = blake2b(b"precious", digest_size=16).hexdigest()
    files = {"train": {"digest": digest, "link": "../mine"}, "train/known.txt": {"digest": digest, "bytes": 8}}
    (out / "export.json").write_text(json.dumps({"settings": {}, "files": dict(reversed(files.items()))}))
    with pytest.raises(UsageError, match="leads out of"):
        cn.export(prepared / "work", output=out, format_="lists", **QUIET)
    assert mine.read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "dangling"])
def test_an_output_that_cannot_be_made_is_the_machines_fault(prepared: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(MachineError, match="cannot be made"):
        cn.export(prepared / "work", output=tmp_path / name, format_="lists", **QUIET)


def test_a_folder_in_place_of_the_list_is_said_at_once(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "export.json").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"export\.json is a folder: give the name of a new folder"):
        cn.export(prepared / "work", output=tmp_path / "out", format_="lists", **QUIET)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["export.json"]


def test_two_exports_to_one_folder_do_not_mix(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Delivery(out).alone(), pytest.raises(UsageError, match="Another process is exporting to"):
        cn.export(prepared / "work", output=out, format_="lists", **QUIET)
    assert not out.exists()


def test_the_next_export_may_begin_as_soon_as_the_lock_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    following = Delivery(out).alone()
    real = FileLock.release

    def release(guard: FileLock, *words: Any, **more: Any) -> None:
        real(guard, *words, **more)
        monkeypatch.undo()
        following.__enter__()

    with Delivery(out).alone():
        monkeypatch.setattr(FileLock, "release", release)
    assert (out / ".writing").is_dir()
    with pytest.raises(UsageError, match="Another process is exporting to"), Delivery(out).alone():
        pass
    following.__exit__(None, None, None)
    assert not out.exists()


@pytest.mark.skipif(os.name == "nt", reason="there an open file cannot be taken away")
def test_a_lock_whose_file_went_with_the_one_before_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    before, following = Delivery(out).alone(), Delivery(out).alone()
    before.__enter__()
    real = FileLock.acquire

    def acquire(guard: FileLock, *words: Any, **more: Any) -> Any:
        monkeypatch.undo()
        before.__exit__(None, None, None)
        return real(guard, *words, **more)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with following:
        assert (out / ".writing/lock").is_file()
        with pytest.raises(UsageError, match="Another process is exporting to"), Delivery(out).alone():
            pass
    assert not out.exists()


def test_a_curriculum_of_an_earlier_reading_is_refused(home: Path) -> None:
    shutil.copy(next((home / "crawl/ash").glob("train 1.*")), home / "crawl/ash/more.png")
    with (home / "table.csv").open("a", encoding="utf-8") as file:
        file.write("crawl/ash/more.png,ash,train,,,,,\n")
    cn.ingest(home / "table.csv", output=home / "work", group_column="who", rank_column="place", **QUIET)
    with pytest.raises(InputError, match="orders the images of an earlier reading of the crawl"):
        cn.export(home / "work", output=home / "out", format_="lists", **QUIET)


def test_the_newest_curriculum_is_taken_unless_one_is_named(home: Path) -> None:
    np.save(home / "new.npy", np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32))
    cn.embed(home / "work", from_=home / "new.npy", quiet=True)
    cn.design(home / "work", quiet=True)
    ask: dict[str, Any] = {"output": home / "out", "format_": "lists", **QUIET}
    assert cn.export(home / "work", **ask).curriculum == "new"
    assert cn.export(home / "work", **ask, curriculum="own").curriculum == "own"


def test_an_empty_subset_leaves_nothing_to_export(home: Path) -> None:
    np.save(home / "equal.npy", np.ones((40, 2), np.float32))
    cn.embed(home / "work", from_=home / "equal.npy", quiet=True)
    cn.design(home / "work", quiet=True)
    with pytest.raises(InputError, match="no training image that is in the subsets 2: there is nothing to export"):
        cn.export(home / "work", output=home / "out", format_="lists", subset=(2,), **QUIET)


@pytest.mark.parametrize("name", ["cleanlab", "lists", "folders"])
def test_pictures_of_several_sources_are_found_where_each_lies(home: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(home / "crawl", home / "far/away/clean")
    for path in (home / "far/away/clean").rglob("*.*"):
        if path.name.startswith("train"):
            path.unlink()
        else:
            (home / "crawl" / path.relative_to(home / "far/away/clean")).unlink()
    work = cn.ingest(home / "crawl", test=home / "far/away/clean", output=home / "both", **QUIET).work
    out = cn.export(work, output=tmp_path / "deep/er/out", format_=name, **QUIET).output
    files = {"cleanlab": ["labels.csv"], "folders": ["curriculum.csv"], "lists": ["train.txt", "val.txt", "test.txt"]}
    lines = [line for each in files[name] for line in (out / each).read_text(encoding="utf-8").splitlines()]
    paths = [line.rpartition(" ")[0] if name == "lists" else line.split(",")[0] for line in lines]
    found = [(out / path).resolve() for path in paths if path != "file_name"]
    assert len(found) == len(set(found)) == 39
    assert all(path.is_file() for path in found)
    assert sum(path.is_relative_to((home / "far").resolve()) for path in found) == 12


def test_where_no_way_leads_from_here_paths_are_absolute(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", fail)
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="lists", **QUIET).output
    line = (out / "1.txt").read_text(encoding="utf-8").splitlines()[0]
    assert line.startswith(f"{prepared.resolve().as_posix()}/crawl/")


def test_what_was_finished_before_an_interruption_is_not_read_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Pictures.read

    def read(pictures: Pictures, image_id: int) -> bytes:
        if len(asked) == 25:
            raise KeyboardInterrupt
        asked.append(image_id)
        return real(pictures, image_id)

    monkeypatch.setattr(Pictures, "read", read)
    for name, size in (("huggingface", 1), ("folders", 1), ("webdataset", 5)):
        out = tmp_path / name
        asked.clear()
        with pytest.raises(KeyboardInterrupt):
            cn.export(prepared / "work", output=out, format_=name, shard_size=size, **QUIET)
        assert list(out.iterdir()) == [out / ".writing"]
        first = list(asked)
        asked.clear()
        asked.append(-1)
        cn.export(prepared / "work", output=out, format_=name, shard_size=size, **QUIET)
        assert 39 - 25 <= len(asked) - 1 <= 39 - 25 + size
        assert len(set(first) | set(asked)) == 1 + 39


def test_a_disk_that_is_full_is_the_machines_fault(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match=r"The disk is full: .*out could not be written"):
        cn.export(prepared / "work", output=tmp_path / "out", format_="huggingface", **QUIET)
    monkeypatch.undo()
    assert cn.export(prepared / "work", output=tmp_path / "out", format_="huggingface", **QUIET).files == 43
