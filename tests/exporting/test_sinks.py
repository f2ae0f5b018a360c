"""What each format writes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.errors import InputError
from curriculumnet.exporting.formats import FORMATS
from curriculumnet.work import tables
from curriculumnet.work.folder import file_digest

from .conftest import draw

QUIET: dict[str, Any] = {"workers": 0, "quiet": True}
CATEGORIES = ["ash", "weeping willow", "Ölweide"]
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp"}


@pytest.fixture(scope="session")
def truth(prepared: Path) -> dict[int, dict[str, Any]]:
    """What the work folder says of each used image, by its id."""
    images = tables.read(prepared / "work/images.parquet").to_pylist()
    found = {row["image_id"]: row for row in images if row["state"] == "used"}
    for row in tables.read(prepared / "work/curricula/own.parquet").to_pylist():
        found[row["image_id"]] |= {
            "subset": row["subset"],
            "cleanliness": row["cleanliness"],
            "right_probability": row["right_probability"],
        }
    return found


def in_order(truth: dict[int, dict[str, Any]], split: str) -> list[int]:
    """The ids of a split's images in the curriculum's order."""
    some = [row for row in truth.values() if row["split"] == split]
    some.sort(key=lambda row: (row.get("subset", 0), -row.get("cleanliness", 0), row["image_id"]))
    return [row["image_id"] for row in some]


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# -- webdataset -------------------------------------------------------------------------------------------------------


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:") as tar:
        found = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in found} == {(0, 0, 0, "", "", 0o644)}
        return {m.name: tar.extractfile(m).read() for m in found}  # type: ignore[union-attr]


def test_shards_hold_the_pictures_in_the_curriculums_order(
    prepared: Path, tmp_path: Path, truth: dict[int, dict[str, Any]]
) -> None:
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="webdataset", shard_size=4, **QUIET).output
    assert (out / "categories.txt").read_text(encoding="utf-8").splitlines() == CATEGORIES
    shards = {path.name: members(path) for path in sorted(out.glob("*.tar"))}
    sizes = Counter(row["subset"] for row in truth.values() if row["split"] == "train")
    expected = [f"train-{k}-{n:06d}.tar" for k in range(3) for n in range(-(-sizes[k] // 4))]
    assert list(shards) == sorted([*expected, *(f"{split}-{n:06d}.tar" for split in ("val", "test") for n in (0, 1))])
    assert all(len(shard) <= 3 * 4 for shard in shards.values())

    for split in ("train", "val", "test"):
        samples = [name for shard in shards if shard.startswith(split) for name in shards[shard]]
        assert [int(name[:9]) for name in samples[::3]] == in_order(truth, split)
    for shard in shards.values():
        names = list(shard)
        for picture, cls, about in zip(names[::3], names[1::3], names[2::3], strict=True):
            row = truth[int(picture[:9])]
            assert picture == f"{row['image_id']:09d}{ENDINGS[row['format']]}"
            assert (cls, about) == (f"{picture[:9]}.cls", f"{picture[:9]}.json")
            assert shard[picture] == (prepared / row["file_name"]).read_bytes()
            assert int(shard[cls]) == CATEGORIES.index(row["label"])
            said = json.loads(shard[about])
            kept = ("file_name", "label", "split", "subset", "group", "rank", "query", "url", "licence", "digest")
            known = {name: row[name] for name in kept if row.get(name) is not None}
            assert {name: said[name] for name in kept if name in said} == known
            assert said.get("cleanliness", 0) == pytest.approx(row.get("cleanliness", 0), abs=1e-7)
            assert None not in said.values()


def test_a_category_of_two_lines_is_refused_where_names_stand_in_lines(home: Path, tmp_path: Path) -> None:
    work = renamed(home, "ash", "two\nlines")
    for name in ("webdataset", "lists"):
        with pytest.raises(InputError, match=r"'two\\nlines' has a line break in its name.* --rename TABLE`"):
            cn.export(work, output=tmp_path / "out", format_=name, **QUIET)
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
@pytest.mark.parametrize("name", FORMATS)
def test_a_category_with_spaces_around_its_name_is_refused_until_it_has_another(
    home: Path, tmp_path: Path, name: str
) -> None:
    categories = ("cat", "cat ", " ", "\u00a0dog")
    for place, category in enumerate(categories):
        for number in range(3):
            draw(home / f"other/{category}/{number}.png", 10 * place + number, "PNG")
    work = cn.ingest(home / "other", output=home / "other-work", val_share=0, **QUIET).work
    with pytest.raises(InputError, match=r"The category ' ' begins or ends with a space.* --rename TABLE`") as raised:
        cn.export(work, output=tmp_path / "out", format_=name, **QUIET)
    assert raised.value.exit_code == 3
    assert not (tmp_path / "out").exists()
    table = home / "names.csv"
    table.write_text('label,category\ncat ,cats\n" ",blank\n\u00a0dog,dog\n', encoding="utf-8")
    work = cn.ingest(home / "other", output=work, val_share=0, rename=table, **QUIET).work
    out = cn.export(work, output=tmp_path / "out", format_=name, **QUIET).output
    tables_ = {"folders": "curriculum.csv", "cleanlab": "labels.csv"}
    again = cn.ingest(out / tables_.get(name, ""), output=tmp_path / "again", val_share=0, **QUIET)
    assert again.categories == dict.fromkeys(("blank", "cat", "cats", "dog"), 3)


def renamed(home: Path, before: str, after: str) -> Path:
    """Ingest the crawl with a category of another name, and return the work folder."""
    rows = table_of(home / "table.csv")
    with (home / "renamed.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"label": after if row["label"] == before else row["label"]} for row in rows)
    return cn.ingest(home / "renamed.csv", output=home / f"renamed-{len(list(home.iterdir()))}", **QUIET).work


# -- huggingface ------------------------------------------------------------------------------------------------------


def test_metadata_names_each_picture_and_has_the_same_columns_in_each_split(
    prepared: Path, tmp_path: Path, truth: dict[int, dict[str, Any]]
) -> None:
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="huggingface", **QUIET).output
    for split, folder in (("train", "train"), ("val", "validation"), ("test", "test")):
        lines = [json.loads(line) for line in (out / folder / "metadata.jsonl").read_text("utf-8").splitlines()]
        assert [line["image_id"] for line in lines] == in_order(truth, split)
        files = {path.name for path in (out / folder).iterdir()}
        assert files == {"metadata.jsonl", *(line["file_name"] for line in lines)}
        for line in lines:
            row = truth[line["image_id"]]
            assert file_digest(out / folder / line["file_name"]) == line["digest"] == row["digest"]
            assert line["file_name"] == f"{row['image_id']:09d}{ENDINGS[row['format']]}"
            assert (line["label"], line["original"], line["split"]) == (row["label"], row["file_name"], split)
            assert line["subset"] == row.get("subset", -1)
            assert line["url"] == (row["url"] or "")
            assert line["rank"] == row["rank"] or (math.isnan(line["rank"]) and row["rank"] is None)
            assert list(line) == list(lines[0])
            assert {type(value) for value in line.values()} <= {str, int, float}
            # The library takes a column whose name ends so for pictures.
            assert [name for name in line if name.endswith("file_name")] == ["file_name"]
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "  - split: validation\n    path: validation/**\n" in readme
    assert "          '1': \"weeping willow\"\n          '2': \"Ölweide\"\n" in readme


def test_the_readme_has_the_categories_whatever_is_in_their_names(home: Path, tmp_path: Path) -> None:
    import yaml

    strange = 'a: "b" \\ #c\u2028d\x85 \U0001f333 [e]'
    work = renamed(home, "ash", strange)
    out = cn.export(work, output=tmp_path / "out", format_="huggingface", **QUIET).output
    head = yaml.safe_load((out / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    features = {each["name"]: each["dtype"] for each in head["configs"][0]["features"]}
    assert list(features["label"]["class_label"]["names"].values()) == sorted([strange, *CATEGORIES[1:]])
    lines = [json.loads(line) for line in (out / "train/metadata.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert strange in {line["label"] for line in lines}
    assert list(features) == ["image", *list(lines[0])[1:]]


# -- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_folders_hold_relative_links_to_the_pictures(
    prepared: Path, tmp_path: Path, truth: dict[int, dict[str, Any]]
) -> None:
    out = cn.export(prepared / "work", output=tmp_path / "out", format_="folders", **QUIET).output
    rows = table_of(out / "curriculum.csv")
    order = [image for split in ("train", "val", "test") for image in in_order(truth, split)]
    assert [int(row["image_id"]) for row in rows] == order
    found = {path.relative_to(out).as_posix() for path in out.rglob("*/*/*")}
    assert found == {row["file_name"] for row in rows}
    for row in rows:
        known = truth[int(row["image_id"])]
        path = out / row["file_name"]
        assert row["file_name"].startswith(
            f"{known['split']}/{known['label']}/{known['image_id']:09d}-{known['split']} "
        )
        assert path.is_symlink()
        assert not path.readlink().is_absolute()
        assert path.resolve() == (prepared / known["file_name"]).resolve()
        # Tools that read class folders go by the ending.
        assert path.suffix in ENDINGS.values()
        assert row["original"] == known["file_name"]
        assert (row["group"], row["url"]) == (known["group"] or "", known["url"] or "")


@pytest.mark.parametrize("how", ["asked", "from a tar", "links cannot be made"])
def test_pictures_are_copied_where_asked_or_needed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(1, "a required privilege is not held")

    if how == "links cannot be made":
        monkeypatch.setattr(Path, "symlink_to", fail)
    work = prepared / ("tar-work" if how == "from a tar" else "work")
    out = cn.export(work, output=tmp_path / "out", format_="folders", copy=how == "asked", **QUIET).output
    rows = table_of(out / "curriculum.csv")
    assert len(rows) == 39
    for row in rows:
        assert not (out / row["file_name"]).is_symlink()
        assert file_digest(out / row["file_name"]) == row["digest"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "has a / or"),
        ("a\\b", "has a / or"),
        ("..", "begins with a dot"),
        (".net", "begins with a dot"),
        ("etc.", "ends with a dot or"),
        ("con", "is kept by Windows"),
        ("Lpt1.txt", "is kept by Windows"),
        ("é" * 128, "is longer than 255 bytes"),
    ],
)
def test_a_category_that_can_name_no_folder_is_one_sentence(home: Path, tmp_path: Path, name: str, why: str) -> None:
    work = renamed(home, "ash", name)
    with pytest.raises(
        InputError, match=rf"cannot name a folder, since its name {why}.*: give it another name by .* --rename"
    ) as raised:
        cn.export(work, output=tmp_path / "out", format_="folders", **QUIET)
    assert raised.value.exit_code == 3
    assert repr(name) in str(raised.value)
    assert not (tmp_path / "out").exists()
    # A layout without folders takes it.
    assert cn.export(work, output=tmp_path / "out", format_="webdataset", **QUIET).categories == 3


def test_two_categories_that_a_disk_takes_for_one_are_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = renamed(home, "Ölweide", "Ash")
    mkdir = Path.mkdir

    def as_on_a_mac(path: Path, *words: Any, **more: Any) -> None:
        if path.parent.exists() and path.name.lower() in (each.name.lower() for each in path.parent.iterdir()):
            if more.get("exist_ok"):
                return
            raise FileExistsError(17, "there already", str(path))
        mkdir(path, *words, **more)

    monkeypatch.setattr(Path, "mkdir", as_on_a_mac)
    with pytest.raises(
        InputError, match=r"'(ash|Ash)' cannot have a folder of its own, since this disk takes its name"
    ):
        cn.export(work, output=tmp_path / "out", format_="folders", **QUIET)
    assert not (tmp_path / "out").exists()


def test_long_and_strange_names_of_files_are_cut_to_what_every_system_takes(home: Path, tmp_path: Path) -> None:
    picture = next((home / "crawl/ash").glob("train 1.*"))
    strange = [f"{'é' * 120}.png", 'a:b?"c|d*.jpg', "trailing.", "x.php"]
    rows = table_of(home / "table.csv")[:20]
    for number, name in enumerate(strange):
        Image.new("RGB", (30, 30), (40 * number, 0, 0)).save(home / "crawl/ash" / name, "PNG")
        rows.append(rows[0] | {"file_name": f"crawl/ash/{name}", "label": "ash", "split": "train"})
    assert picture.exists()
    with (home / "strange.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    work = cn.ingest(home / "strange.csv", output=home / "strange-work", **QUIET).work
    out = cn.export(work, output=tmp_path / "out", format_="folders", **QUIET).output
    names = {
        row["original"].removeprefix("crawl/ash/"): Path(row["file_name"]).name[10:]
        for row in table_of(out / "curriculum.csv")
    }
    assert [names[name] for name in strange] == [f"{'é' * 90}.png", "a_b__c_d_.jpg", "trailing..png", "x.php.png"]


# -- cleanlab ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["work", "tar-work"])
def test_the_table_says_where_each_picture_lies_and_what_is_doubtful(
    prepared: Path, tmp_path: Path, truth: dict[int, dict[str, Any]], work: str
) -> None:
    out = cn.export(prepared / work, output=tmp_path / "out", format_="cleanlab", **QUIET).output
    assert {path.name for path in out.iterdir()} == {"labels.csv", "export.json"}
    rows = table_of(out / "labels.csv")
    assert list(rows[0])[:5] == ["file_name", "label", "split", "is_label_issue", "label_score"]
    assert len(rows) == 39
    for row in rows:
        known = truth[int(row["image_id"])]
        if work == "work":
            assert not Path(row["file_name"]).is_absolute()
            assert file_digest(out / row["file_name"]) == row["digest"]
        else:
            tar, _, name = row["file_name"].partition("#")
            assert (out / tar).resolve() == (prepared / "all.tar").resolve()
            assert name == f"in/{known['file_name']}"
        if known["split"] != "train":
            assert (row["is_label_issue"], row["label_score"], row["subset"]) == ("", "", "")
            continue
        assert row["is_label_issue"] == str(known["subset"] == 2)
        score = known["cleanliness"] if known["right_probability"] is None else known["right_probability"]
        assert float(row["label_score"]) == pytest.approx(score, abs=1e-7)


def test_with_a_single_subset_no_label_is_an_issue(home: Path, tmp_path: Path) -> None:
    cn.embed(home / "work", from_=own(home), quiet=True)
    cn.design(home / "work", n_subsets=1, name="one", quiet=True)
    out = cn.export(home / "work", output=tmp_path / "out", format_="cleanlab", **QUIET).output
    assert Counter(row["is_label_issue"] for row in table_of(out / "labels.csv")) == {"False": 27, "": 12}


def own(home: Path) -> Path:
    import numpy as np

    np.save(home / "more.npy", np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32))
    return home / "more.npy"


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
@pytest.mark.parametrize(("name", "table"), [("cleanlab", "labels.csv"), ("folders", "curriculum.csv")])
def test_names_with_ends_of_lines_in_them_come_back_from_tables(
    home: Path, tmp_path: Path, name: str, table: str
) -> None:
    for place, category in enumerate(("a", "b\rc\nd\r\ne")):
        for number, end in enumerate(("\r", "\n", "\r\n")):
            draw(home / f"other/{category}/{number}{end}{number}.png", 10 * place + number, "PNG")
    first = cn.ingest(home / "other", output=home / "other-work", val_share=0, **QUIET).table().to_pylist()
    out = cn.export(home / "other-work", output=tmp_path / "out", format_=name, **QUIET).output
    again = cn.ingest(out / table, output=tmp_path / "again", val_share=0, **QUIET).table().to_pylist()
    found = [sorted((row["label"], row["state"], row["digest"]) for row in rows) for rows in (first, again)]
    assert found[0] == found[1]
    assert [state for _, state, _ in found[0]] == ["used"] * 6


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", ["work", "tar-work"])
def test_there_is_a_list_for_each_subset(
    prepared: Path, tmp_path: Path, truth: dict[int, dict[str, Any]], work: str
) -> None:
    out = cn.export(prepared / work, output=tmp_path / "out", format_="lists", **QUIET).output
    assert (out / "categories.txt").read_text(encoding="utf-8").splitlines() == CATEGORIES
    names = {"1": 0, "2": 1, "3": 2, "val": None, "test": None}
    assert {path.stem for path in out.glob("*.txt")} == {*names, "categories"}
    ids = {row["file_name"]: image_id for image_id, row in truth.items()}
    for name, subset in names.items():
        found = []
        for line in (out / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            path, _, index = line.rpartition(" ")
            image_id = ids["crawl/" + path.partition("crawl/")[2]]
            found.append(image_id)
            assert CATEGORIES[int(index)] == truth[image_id]["label"]
            assert path.startswith("../")
        split = name if subset is None else "train"
        expected = [each for each in in_order(truth, split) if truth[each].get("subset") == subset]
        assert found == expected


def test_without_a_curriculum_training_images_are_one_list(home: Path, tmp_path: Path) -> None:
    work = cn.ingest(home / "table.csv", output=home / "plain", **QUIET).work
    out = cn.export(work, output=tmp_path / "out", format_="lists", **QUIET).output
    assert {path.name for path in out.glob("*.txt")} == {"train.txt", "val.txt", "test.txt", "categories.txt"}
    shards = cn.export(work, output=tmp_path / "shards", format_="webdataset", **QUIET).output
    assert {path.name for path in shards.glob("*.tar")} == {f"{name}-000000.tar" for name in ("train", "val", "test")}


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_name_that_fits_in_no_line_is_one_sentence(home: Path, tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (30, 30)).save(data, "PNG")
    for category in ("a", "b"):
        for number in range(3):
            path = home / f"other/{category}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 30), (90 * number, 200 * (category == "a"), 0)).save(path)
    (home / "other/a/0.png").rename(home / "other/a/two\nlines.png")
    work = cn.ingest(home / "other", output=home / "other-work", val_share=0, **QUIET).work
    with pytest.raises(InputError, match=r"two\\nlines\.png' has a line break in it"):
        cn.export(work, output=tmp_path / "out", format_="lists", **QUIET)
    assert not (tmp_path / "out").exists()
    assert cn.export(work, output=tmp_path / "out", format_="cleanlab", **QUIET).images == {"train": 6}
