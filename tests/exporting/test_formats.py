"""What every format of an export keeps to, over the dict of formats."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

import curriculumnet as cn
from curriculumnet.errors import InputError, SourceError, UsageError
from curriculumnet.exporting.formats import FORMATS
from curriculumnet.images.loader import Pictures
from curriculumnet.work import tables
from curriculumnet.work.folder import WorkFolder, file_digest

EVERY = ("label", "split", "digest", "group", "url", "licence", "rank", "query")

ROUND_TRIPS: dict[str, tuple[str, tuple[str, ...]]] = {
    # What to ingest of an export, and what comes back.
    "webdataset": ("", EVERY),
    "huggingface": ("", EVERY),
    "folders": ("curriculum.csv", EVERY),
    "cleanlab": ("labels.csv", EVERY),
    "lists": ("", EVERY[:3]),
}

QUIET: dict[str, Any] = {"workers": 0, "quiet": True}
EACH = pytest.mark.parametrize("name", FORMATS)


def rows(table: Any, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The used images of a table of images, as sorted rows."""
    used = table.filter(pc.equal(table["state"], "used")).select(columns).to_pylist()
    return sorted((tuple(row.values()) for row in used), key=str)


def standing(folder: Path) -> dict[str, Any]:
    """What lies below a folder: names, and times and bytes or where a link leads."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(folder).as_posix()] = path.readlink()
        elif path.is_file():
            found[path.relative_to(folder).as_posix()] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def contents(out: Path) -> dict[str, Any]:
    """What an export holds: names with bytes, or where a link leads; without its list, which has times."""
    found = {name: value if isinstance(value, Path) else value[1] for name, value in standing(out).items()}
    del found["export.json"]
    return found


@pytest.mark.parametrize("work", ["work", "tar-work", "shards-work"])
@EACH
def test_what_was_exported_can_be_ingested(prepared: Path, tmp_path: Path, name: str, work: str) -> None:
    out = cn.export(prepared / work, output=tmp_path / "out", format_=name, **QUIET).output
    source, kept = ROUND_TRIPS[name]
    again = cn.ingest(out / source, output=tmp_path / "again", **QUIET)
    assert rows(again.table(), kept) == rows(tables.read(prepared / "work/images.parquet"), kept)


@pytest.mark.parametrize("work", ["work", "tar-work", "shards-work"])
def test_class_folders_can_be_ingested_without_their_table(prepared: Path, tmp_path: Path, work: str) -> None:
    out = cn.export(prepared / work, output=tmp_path / "out", format_="folders", **QUIET).output
    again = cn.ingest(out, output=tmp_path / "again", **QUIET)
    kept = ("label", "split", "digest")
    assert rows(again.table(), kept) == rows(tables.read(prepared / work / "images.parquet"), kept)


@EACH
def test_it_says_what_it_wrote(prepared: Path, tmp_path: Path, name: str) -> None:
    done = cn.export(prepared / "work", output=tmp_path / "out", format_=name, **QUIET)
    assert done.images == {"train": 27, "val": 6, "test": 6}
    assert (sum(done.subset_sizes.values()), list(done.subset_sizes)) == (27, ["0", "1", "2"])
    assert (done.format, done.curriculum, done.subsets, done.categories) == (name, "own", (), 3)
    assert not done.up_to_date
    assert done.files == len(contents(done.output))
    assert done.table()["split"].to_pylist() == ["train"] * 27 + ["val"] * 6 + ["test"] * 6
    assert str(done.summary()[0]).startswith(f"Exported as {name}: 27 train, 6 val, 6 test images of 3 categories")


@EACH
def test_its_list_names_all_files_with_their_digests(prepared: Path, tmp_path: Path, name: str) -> None:
    out = cn.export(prepared / "work", output=tmp_path / "out", format_=name, **QUIET).output
    listed = json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert set(listed["files"]) == set(contents(out))
    for file, about in listed["files"].items():
        assert about["digest"] == file_digest(out / file)
    assert listed["settings"]["format"] == name
    assert listed["inputs"]["images.parquet"] == file_digest(prepared / "work/images.parquet")
    # An export is given to others, who need not know where it was made.
    assert str(prepared) not in (out / "export.json").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob(".writing*"))


@EACH
def test_the_same_again_is_there_already(prepared: Path, tmp_path: Path, name: str, capsys: Any) -> None:
    ask = {"output": tmp_path / "out", "format_": name, "workers": 0}
    first = cn.export(prepared / "work", **ask)
    before = standing(tmp_path)
    capsys.readouterr()
    again = cn.export(prepared / "work", **ask)
    assert (again.up_to_date, again.files, again.images) == (True, first.files, first.images)
    assert "the export is there already; nothing to do" in capsys.readouterr().err
    assert standing(tmp_path) == before


@EACH
def test_the_same_pictures_give_the_same_bytes_whatever_reads_them(prepared: Path, tmp_path: Path, name: str) -> None:
    found = [
        contents(cn.export(prepared / "work", output=tmp_path / str(n), format_=name, workers=n, quiet=True).output)
        for n in (0, 1, 4)
    ]
    assert found[0] == found[1] == found[2]


@EACH
def test_nothing_is_written_but_the_output(home: Path, name: str) -> None:
    (home / "work/lock.json").write_text('{"pid": 1, "host": "elsewhere.example", "since": ""}', encoding="utf-8")
    before = standing(home)
    cn.export(home / "work", output=home / "out", format_=name, **QUIET)
    now = standing(home)
    assert {file: value for file, value in now.items() if not file.startswith("out/")} == before


@EACH
def test_a_copy_that_was_taken_elsewhere_is_still_the_same(prepared: Path, tmp_path: Path, name: str) -> None:
    # Where links lead is decided by where they lie, and so they are made anew.
    ask = {"format_": name, "copy": True} if name == "folders" else {"format_": name}
    (tmp_path / "a").mkdir()
    cn.export(prepared / "work", output=tmp_path / "a/out", **ask, **QUIET)
    shutil.copytree(tmp_path / "a/out", tmp_path / "b/out", copy_function=shutil.copyfile)
    assert cn.export(prepared / "work", output=tmp_path / "b/out", **ask, **QUIET).up_to_date


@EACH
def test_a_picture_that_has_changed_is_named_and_nothing_is_left(home: Path, name: str) -> None:
    changed = next((home / "crawl/ash").glob("val 1.*"))
    data = changed.read_bytes()
    changed.write_bytes(data + b"\0")
    for workers in (0, 2):
        with pytest.raises(
            InputError, match=r"crawl/ash/val 1\.\w+ in .* has changed since it was ingested \("
        ) as raised:
            cn.export(home / "work", output=home / "out", format_=name, workers=workers, quiet=True)
        assert raised.value.exit_code == 3
        assert not (home / "out").exists()
    changed.write_bytes(data)
    cn.export(home / "work", output=home / "out", format_=name, **QUIET)
    whole = contents(home / "out")
    changed.unlink()
    with pytest.raises(SourceError, match=r"crawl/ash/val 1\.\w+ in .* can no longer be read"):
        cn.export(home / "work", output=home / "out", format_=name, subset=(0,), **QUIET)
    assert contents(home / "out") == whole
    assert not (home / "out/.writing").exists()


@EACH
def test_without_a_curriculum_it_says_so(home: Path, name: str, capsys: Any) -> None:
    WorkFolder(home / "work").update_project(steps={})
    done = cn.export(home / "work", output=home / "out", format_=name, workers=0)
    assert "has no curriculum: the images are exported without subsets" in capsys.readouterr().err
    assert (done.curriculum, done.subset_sizes, done.images["train"]) == (None, {}, 27)
    assert "without a curriculum" in str(done.summary()[0])
    listed = json.loads((home / "out/export.json").read_text(encoding="utf-8"))
    assert next(iter(listed["inputs"])) == "images.parquet"
    assert not any("curricula" in each for each in listed["inputs"])
    with pytest.raises(UsageError, match="--subset needs a curriculum"):
        cn.export(home / "work", output=home / "out", format_=name, subset=(0,), **QUIET)


@EACH
def test_training_images_can_be_limited_to_subsets(prepared: Path, tmp_path: Path, name: str) -> None:
    sizes = cn.export(prepared / "work", output=tmp_path / "all", format_=name, **QUIET).subset_sizes
    done = cn.export(prepared / "work", output=tmp_path / "out", format_=name, subset=(2, 0, 2), **QUIET)
    assert done.subsets == (0, 2)
    assert done.subset_sizes == {key: n for key, n in sizes.items() if key != "1"}
    assert done.images == {"train": 27 - sizes["1"], "val": 6, "test": 6}
    with pytest.raises(UsageError, match="--subset is 3: the curriculum own has the subsets 0 to 2"):
        cn.export(prepared / "work", output=tmp_path / "out", format_=name, subset=(0, 3), **QUIET)


@EACH
def test_another_export_replaces_ours_and_nothing_else(prepared: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    expected = contents(cn.export(prepared / "work", output=tmp_path / "other", format_=name, **QUIET).output)
    for before in FORMATS:
        cn.export(prepared / "work", output=out, format_=before, subset=(1,), **QUIET)
        (out / ".DS_Store").write_bytes(b"a desktop's")
        assert not cn.export(prepared / "work", output=out, format_=name, **QUIET).up_to_date
        (out / ".DS_Store").unlink()
        assert contents(out) == expected
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds other files \(mine\.txt, …\)"):
        cn.export(prepared / "work", output=out, format_=name, subset=(1,), **QUIET)
    (out / "mine.txt").unlink()
    table = next(path for path in out.rglob("*") if path.suffix in (".txt", ".csv", ".md") and path.is_file())
    table.write_text("changed by hand", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{table.name} was changed since it was exported"):
        cn.export(prepared / "work", output=out, format_=name, subset=(1,), **QUIET)
    assert table.read_text(encoding="utf-8") == "changed by hand"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something as soon as the next export has read a picture."""
    real = Pictures.read

    def arrange(happens: Callable[[], None]) -> None:
        def read(pictures: Pictures, image_id: int) -> bytes:
            monkeypatch.undo()
            happens()
            return real(pictures, image_id)

        monkeypatch.setattr(Pictures, "read", read)

    return arrange


@pytest.mark.parametrize("name", ["folders", "huggingface"])
def test_a_file_that_comes_while_an_export_runs_stays(
    prepared: Path, tmp_path: Path, name: str, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    out = tmp_path / "out"
    expected = contents(cn.export(prepared / "work", output=tmp_path / "other", format_=name, **QUIET).output)
    cn.export(prepared / "work", output=out, format_="folders", subset=(0,), **QUIET)
    (out / "train/ash/Thumbs.db").write_bytes(b"a desktop's")

    def comes() -> None:
        (out / "train/mine.txt").write_text("mine", encoding="utf-8")

    meanwhile(comes)
    cn.export(prepared / "work", output=out, format_=name, **QUIET)
    assert contents(out) == expected | {"train/mine.txt": b"mine"}
    assert not (out / ".writing").exists()
    assert not [path for path in out.rglob("*") if path.is_dir() and not list(path.iterdir())]


@pytest.mark.parametrize("changed", ["curriculum.csv", "train/metadata.jsonl"])
def test_a_file_that_is_changed_while_an_export_runs_is_not_replaced(
    prepared: Path, tmp_path: Path, changed: str, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """One of the export that was there, or one that has the name of a new one."""
    out = tmp_path / "out"
    expected = contents(cn.export(prepared / "work", output=tmp_path / "other", format_="huggingface", **QUIET).output)
    cn.export(prepared / "work", output=out, format_="folders", subset=(0,), **QUIET)
    meanwhile(lambda: (out / changed).write_text("mine", encoding="utf-8") and None)
    for message in (f"{Path(changed).name} (was changed since|came there while) it was exported", "was changed since"):
        with pytest.raises(UsageError, match=message):
            cn.export(prepared / "work", output=out, format_="huggingface", **QUIET)
        assert (out / changed).read_text(encoding="utf-8") == "mine"
    (out / changed).unlink()
    cn.export(prepared / "work", output=out, format_="huggingface", **QUIET)
    assert contents(out) == expected
    assert not (out / ".writing").exists()


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """Stop an export at the n-th change that it makes to the disk, as Ctrl-C or a kill would."""

    def at(n: int) -> Iterator[None]:
        counter = itertools.count()
        for name in ("rename", "unlink", "replace", "mkdir", "symlink_to", "write_bytes", "open"):
            real = getattr(Path, name)

            def counted(path: Path, *words: Any, real: Any = real, **more: Any) -> Any:
                changes = real.__name__ != "open" or "r" not in (*words, "r")[0]
                if "out" in path.parts and changes and next(counter) == n:
                    raise KeyboardInterrupt
                return real(path, *words, **more)

            monkeypatch.setattr(Path, name, counted)
        try:
            yield
        finally:
            monkeypatch.undo()

    return at


@EACH
def test_stopped_anywhere_it_goes_on_to_the_same(
    prepared: Path, tmp_path: Path, name: str, stopped: Callable[[int], Any]
) -> None:
    ask: dict[str, Any] = {"output": tmp_path / "out", "format_": name, **QUIET}
    expected = contents(cn.export(prepared / "work", output=tmp_path / "other", format_=name, **QUIET).output)
    cn.export(prepared / "work", **ask, subset=(0,))
    places = [*range(10), *range(10, 200, 13)]
    for n in places:
        whole = stopped(n)
        next(whole)
        try:
            cn.export(prepared / "work", **ask)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            whole.close()
        if n % 2:
            # Another export in between must find its way, too.
            cn.export(prepared / "work", **ask, subset=(0,))
    cn.export(prepared / "work", **ask)
    assert n > 8
    assert contents(tmp_path / "out") == expected
    assert not (tmp_path / "out/.writing").exists()
