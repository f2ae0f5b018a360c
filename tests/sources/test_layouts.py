"""One contract for every layout in which a crawl arrives: the same pictures, and all that the layout tells of them.

Each layout is a function that writes it below a folder and returns what to give as the source, registered with the kind
that it must be taken for.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.errors import SourceError, UsageError, WorkFolderError
from curriculumnet.images.duplicates import byte_digest
from curriculumnet.images.loader import Pictures
from curriculumnet.work.folder import WorkFolder


@dataclass(frozen=True)
class Picture:
    """A picture of the crawl that all layouts hold."""

    name: str
    label: str
    data: bytes
    group: str
    query: str
    rank: float
    split: str | None = None

    @property
    def url(self) -> str:
        return f"https://pictures.example/{self.name}"


CATEGORIES = ("cat", "red panda")


def png(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize((24, 20), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()


def bmp(seed: int) -> bytes:
    """Return a picture that takes as many bytes as any other."""
    data = io.BytesIO()
    Image.open(io.BytesIO(png(seed))).save(data, "BMP")
    return data.getvalue()


def pictures(splits: bool = False) -> list[Picture]:
    """Twelve pictures of each category; of those of every sixth, the split is `val`."""
    return [
        Picture(
            name=f"{number:02}.png",
            label=label,
            data=png(100 * place + number),
            group=f"sender {number // 2}",
            query=f"{label} photo",
            rank=float(number + 1),
            split=None if not splits else "val" if number % 6 == 5 else "train",
        )
        for place, label in enumerate(CATEGORIES)
        for number in range(12)
    ]


@dataclass(frozen=True)
class Layout:
    """A layout: how it is written, and what must be known of it afterwards."""

    kind: str
    write: Callable[[Path], Path | str]
    splits: bool = False
    tells: frozenset[str] = frozenset()
    called: dict[str, str] = field(default_factory=dict)


LAYOUTS: dict[str, Layout] = {}
ALL = frozenset({"group", "query", "rank", "url"})


def layout(
    kind: str, *, splits: bool = False, tells: frozenset[str] = frozenset(), called: dict[str, str] | None = None
) -> Callable[[Callable[[Path], Path | str]], Callable[[Path], Path | str]]:
    def register(write: Callable[[Path], Path | str]) -> Callable[[Path], Path | str]:
        LAYOUTS[write.__name__] = Layout(kind, write, splits, tells, called or {})
        return write

    return register


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def pack(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def told(picture: Picture) -> dict[str, object]:
    return {"group": picture.group, "query": picture.query, "rank": picture.rank, "url": picture.url}


def in_folders(splits: bool = False) -> dict[str, bytes]:
    return {f"{f'{each.split}/' if splits else ''}{each.label}/{each.name}": each.data for each in pictures(splits)}


def table(columns: dict[str, list[object]], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=5)
    return path


# -- folders, lists, tables -------------------------------------------------------------------------------------------


@layout("folders")
def class_folders(home: Path) -> Path:
    for name, data in in_folders().items():
        put(home / "crawl" / name, data)
    return home / "crawl"


@layout("folders", splits=True)
def split_folders(home: Path) -> Path:
    for name, data in in_folders(splits=True).items():
        put(home / "crawl" / name, data)
    return home / "crawl"


@layout("list", called={"red panda": "red_panda"})
def a_list(home: Path) -> Path:
    lines = [f"{each.label}/{each.name}\t{each.label.replace(' ', '_')}" for each in pictures()]
    for name, data in in_folders().items():
        put(home / name, data)
    return put(home / "crawl.txt", "\n".join(lines))


@layout("table", splits=True, tells=ALL)
def a_table(home: Path) -> Path:
    for name, data in in_folders().items():
        put(home / name, data)
    rows = [
        {"file_name": f"{each.label}/{each.name}", "label": each.label, "split": each.split, **told(each)}
        for each in pictures(splits=True)
    ]
    return put(home / "crawl.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@layout("table", tells=ALL)
def a_table_of_members_of_tars(home: Path) -> Path:
    pack(home / "pictures" / "all.tar", {f"in/{name}": data for name, data in in_folders().items()})
    rows = [
        {"file_name": f"pictures/all.tar#in/{each.label}/{each.name}", "label": each.label, **told(each)}
        for each in pictures()
    ]
    return put(home / "crawl.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


# -- archives ---------------------------------------------------------------------------------------------------------


@layout("folders")
def a_tar(home: Path) -> Path:
    return pack(home / "crawl.tar", in_folders())


@layout("folders")
def a_zip(home: Path) -> Path:
    with zipfile.ZipFile(home / "crawl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in in_folders().items():
            archive.writestr(name, data)
    return home / "crawl.zip"


@layout("folders")
def a_part_of_a_zip(home: Path) -> str:
    with zipfile.ZipFile(home / "all.zip", "w") as archive:
        for name, data in in_folders().items():
            archive.writestr(f"data/{name}", data)
    return f"{home / 'all.zip'}#data"


@layout("folders", splits=True)
def a_tar_gz(home: Path) -> Path:
    return pack(home / "crawl.tar.gz", in_folders(splits=True), "w:gz")


@layout("folders")
def a_tar_xz(home: Path) -> Path:
    return pack(home / "crawl.txz", in_folders(), "w:xz")


@layout("folders")
def a_tar_bz2(home: Path) -> Path:
    return pack(home / "crawl.tbz2", in_folders(), "w:bz2")


@layout("folders")
def a_tar_zst(home: Path) -> Path:
    plain = pack(home / "plain.tar", in_folders()).read_bytes()
    with pa.CompressedOutputStream(str(home / "crawl.tar.zst"), "zstd") as file:
        file.write(plain)
    (home / "plain.tar").unlink()
    return home / "crawl.tar.zst"


@layout("class-tars")
def a_tar_for_each_category(home: Path) -> Path:
    for label in CATEGORIES:
        pack(home / "crawl" / f"{label}.tar", {each.name: each.data for each in pictures() if each.label == label})
    return home / "crawl"


@layout("class-tars", splits=True)
def class_folders_parted_over_tars(home: Path) -> Path:
    for split in ("train", "val"):
        files = {f"{each.label}/{each.name}": each.data for each in pictures(splits=True) if each.split == split}
        pack(home / "crawl" / f"{split}-000000.tar", files)
    return home / "crawl"


# -- WebDataset, img2dataset ------------------------------------------------------------------------------------------


def samples(chosen: list[Picture]) -> dict[str, bytes]:
    files = {}
    for number, each in enumerate(chosen):
        files |= {
            f"{number:09}.png": each.data,
            f"{number:09}.cls": str(CATEGORIES.index(each.label)).encode(),
            f"{number:09}.json": json.dumps({"label": each.label, **told(each)}).encode(),
        }
    return files


@layout("webdataset", splits=True, tells=ALL)
def shards_of_webdataset(home: Path) -> Path:
    for split in ("train", "val"):
        chosen = [each for each in pictures(splits=True) if each.split == split]
        for shard, start in enumerate(range(0, len(chosen), 7)):
            pack(home / "crawl" / f"{split}-{shard:06}.tar", samples(chosen[start : start + 7]))
    put(home / "crawl" / "categories.txt", "\n".join(CATEGORIES))
    return home / "crawl"


@layout("webdataset", tells=ALL)
def a_shard_of_webdataset(home: Path) -> Path:
    return pack(home / "crawl.tar", samples(pictures()))


@layout("webdataset")
def webdataset_of_numbers(home: Path) -> Path:
    files = {name: data for name, data in samples(pictures()).items() if not name.endswith(".json")}
    pack(home / "crawl" / "000000.tar", files)
    put(home / "crawl" / "categories.txt", "\n".join(CATEGORIES))
    return home / "crawl"


def downloaded(chosen: list[Picture], first: int = 0) -> dict[str, list[object]]:
    """The table of a shard, with one URL that was not downloaded."""
    keys: list[object] = [f"{first + number:09}" for number in range(len(chosen) + 1)]
    lost: dict[str, object] = {"group": None, "query": "", "rank": None, "url": "https://pictures.example/gone.png"}
    rows = [*({"label": each.label, **told(each)} for each in chosen), {"label": CATEGORIES[0], **lost}]
    return {
        "key": keys,
        "status": [*(["success"] * len(chosen)), "failed_to_download"],
        "error_message": [*([None] * len(chosen)), "HTTP Error 404: Not Found"],
        **{title: [row[title] for row in rows] for title in rows[0]},
    }


@layout("img2dataset", tells=ALL)
def img2dataset_files(home: Path) -> Path:
    for shard, chosen in enumerate((pictures()[:10], pictures()[10:])):
        columns = downloaded(chosen, 10000 * shard)
        for key, each in zip(columns["key"], chosen, strict=False):
            put(home / "crawl" / f"{shard:05}" / f"{key}.png", each.data)
            put(home / "crawl" / f"{shard:05}" / f"{key}.json", json.dumps({"key": key}))
            put(home / "crawl" / f"{shard:05}" / f"{key}.txt", each.query)
        table(columns, home / "crawl" / f"{shard:05}.parquet")
        put(home / "crawl" / f"{shard:05}_stats.json", "{}")
    return home / "crawl"


@layout("img2dataset", tells=ALL)
def img2dataset_webdataset(home: Path) -> Path:
    for shard, chosen in enumerate((pictures()[:10], pictures()[10:])):
        columns = downloaded(chosen, 10000 * shard)
        files = {}
        for key, each in zip(columns["key"], chosen, strict=False):
            files |= {f"{key}.png": each.data, f"{key}.json": b"{}", f"{key}.txt": each.query.encode()}
        pack(home / "crawl" / f"{shard:05}.tar", files)
        table(columns, home / "crawl" / f"{shard:05}.parquet")
        put(home / "crawl" / f"{shard:05}_stats.json", "{}")
    return home / "crawl"


@layout("table", tells=ALL)
def img2dataset_parquet(home: Path) -> Path:
    for shard, chosen in enumerate((pictures()[:10], pictures()[10:])):
        columns = downloaded(chosen, 10000 * shard) | {"jpg": [*(each.data for each in chosen), None]}
        table(columns, home / "crawl" / f"{shard:05}.parquet")
        put(home / "crawl" / f"{shard:05}_stats.json", "{}")
    return home / "crawl"


# -- Hugging Face -----------------------------------------------------------------------------------------------------


@layout("huggingface", tells=ALL)
def a_folder_with_metadata(home: Path) -> Path:
    rows = []
    for number, each in enumerate(pictures()):
        put(home / "crawl" / "images" / f"{number}.png", each.data)
        rows.append({"file_name": f"images/{number}.png", "label": each.label, **told(each)})
    titles = list(rows[0])
    lines = [",".join(titles), *(",".join(str(row[title]) for title in titles) for row in rows)]
    put(home / "crawl" / "metadata.csv", "\n".join(lines))
    return home / "crawl"


@layout("huggingface", splits=True, tells=ALL)
def folders_with_metadata_for_each_split(home: Path) -> Path:
    for split, folder in (("train", "train"), ("val", "validation")):
        rows = []
        for number, each in enumerate(one for one in pictures(splits=True) if one.split == split):
            put(home / "crawl" / folder / f"{number}.png", each.data)
            rows.append(json.dumps({"file_name": f"{number}.png", "label": each.label, **told(each)}))
        put(home / "crawl" / folder / "metadata.jsonl", "\n".join(rows))
    return home / "crawl"


def with_cells(chosen: list[Picture]) -> pa.Table:
    """Rows as `datasets` stores them: pictures in cells, labels as numbers of names."""
    columns: dict[str, list[object]] = {title: [told(each)[title] for each in chosen] for title in sorted(ALL)}
    cells = [{"bytes": each.data, "path": each.name} for each in chosen]
    numbers = [CATEGORIES.index(each.label) for each in chosen]
    features = {"image": {"_type": "Image"}, "label": {"names": list(CATEGORIES), "_type": "ClassLabel"}}
    made = pa.table({"image": cells, "label": numbers, **columns})
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@layout("table", tells=ALL)
def a_parquet_of_pictures(home: Path) -> Path:
    pq.write_table(with_cells(pictures()), home / "crawl.parquet", row_group_size=7)
    return home / "crawl.parquet"


@layout("table", tells=ALL)
def a_parquet_of_paths(home: Path) -> Path:
    made = with_cells(pictures())
    for name, data in in_folders().items():
        put(home / name, data)
    # What `datasets` makes of a folder has absolute paths.
    cells = [{"bytes": None, "path": str(home / each.label / each.name)} for each in pictures()]
    kind = made.schema.field("image").type
    made = made.set_column(0, pa.field("image", kind), pa.array(cells, kind))
    pq.write_table(made, home / "crawl.parquet")
    return home / "crawl.parquet"


@layout("table", splits=True, tells=ALL)
def a_data_set_of_the_hub(home: Path) -> Path:
    (home / "crawl" / "data").mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "validation")):
        chosen = [each for each in pictures(splits=True) if each.split == split]
        pq.write_table(with_cells(chosen), home / "crawl" / "data" / f"{name}-00000-of-00001.parquet")
    put(home / "crawl" / "README.md", "---\n---\n")
    return home / "crawl"


@layout("table", splits=True, tells=ALL)
def arrow_on_the_disk(home: Path) -> Path:
    for split in ("train", "validation"):
        folder = home / "crawl" / split
        folder.mkdir(parents=True)
        made = with_cells([each for each in pictures(splits=True) if each.split == split[: len(each.split or "")]])
        with (
            pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
            pa.ipc.new_stream(file, made.schema) as w,
        ):
            w.write_table(made, max_chunksize=5)
        put(folder / "state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
        put(folder / "dataset_info.json", "{}")
    put(home / "crawl" / "dataset_dict.json", json.dumps({"splits": ["train", "validation"]}))
    return home / "crawl"


# -- a curriculum's lists, and the data sets that have a name ---------------------------------------------------------


@layout("curriculum-lists", splits=True)
def lists_of_a_curriculum(home: Path) -> Path:
    for name, data in in_folders().items():
        put(home / "pictures" / name, data)
    lists: dict[str, list[str]] = {}
    for number, each in enumerate(pictures(splits=True)):
        name = "val.txt" if each.split == "val" else f"{number % 3 + 1}.txt"
        line = f"../pictures/{each.label}/{each.name} {CATEGORIES.index(each.label)}"
        lists.setdefault(name, []).append(line)
    for name, found in lists.items():
        put(home / "crawl" / name, "\n".join(found) + "\n")
    put(home / "crawl" / "categories.txt", "\n".join(CATEGORIES) + "\n")
    return home / "crawl"


WEBVISION = {"cat": "n02121808 domestic cat", "red panda": "n02509815 lesser panda"}


def webvision(home: Path, images: str, queries: str) -> Path:
    lists: dict[str, list[str]] = {"google": [], "flickr": [], "val": []}
    meta: dict[str, list[str]] = {"google": [], "flickr": []}
    for each in pictures(splits=True):
        number = CATEGORIES.index(each.label)
        if each.split == "val":
            name = f"val{len(lists['val']) + 1:06}.jpg"
            put(home / "crawl" / "val_images_256" / name, each.data)
            lists["val"].append(f"{name} {number}")
            continue
        engine = "google" if each.rank % 2 else "flickr"
        name = f"{engine}/q{number + 1:04}/{each.name}"
        put(home / "crawl" / images / name, each.data)
        lists[engine].append(f"{name} {number}")
        meta[engine].append(f"{engine}/q{number + 1:04}.json {each.rank:.0f}")
    info = home / "crawl" / "info"
    for engine in ("google", "flickr"):
        put(info / f"train_filelist_{engine}.txt", "\n".join(lists[engine]))
        put(info / f"train_meta_list_{engine}.txt", "\n".join(meta[engine]))
        put(info / queries.format(engine), "1 cat+photo\n2 red+panda+photo\n")
    put(info / "val_filelist.txt", "\n".join(lists["val"]))
    put(info / "queries_synsets_map.txt", "1 1\n2 2\n")
    put(info / "synsets.txt", "n02121808 domestic cat, house cat\nn02509815 lesser panda, red panda, panda\n")
    return home / "crawl"


@layout("webvision", splits=True, tells=frozenset({"query", "rank"}), called=WEBVISION)
def webvision_1(home: Path) -> Path:
    return webvision(home, "", "queries_{}.txt")


@layout("webvision", splits=True, tells=frozenset({"query", "rank"}), called=WEBVISION)
def webvision_2(home: Path) -> Path:
    return webvision(home, "train_images_256", "queries.txt")


@layout("clothing1m", splits=True, called={"cat": "T-Shirt", "red panda": "Down Coat"})
def clothing1m(home: Path) -> Path:
    keys: dict[str, list[str]] = {"train": [], "val": []}
    labels: dict[str, list[str]] = {"train": [], "val": []}
    for each in pictures(splits=True):
        name = f"images/{CATEGORIES.index(each.label)}/1/{each.label[:1]}{each.name}"
        put(home / "crawl" / name, each.data)
        keys[each.split or ""].append(name)
        labels[each.split or ""].append(f"{name} {CATEGORIES.index(each.label)}")
    for name, lines in (
        ("noisy_train_key_list.txt", keys["train"]),
        ("noisy_label_kv.txt", labels["train"]),
        ("clean_val_key_list.txt", keys["val"]),
        ("clean_label_kv.txt", labels["val"]),
        ("category_names_eng.txt", ["T-Shirt", "Down Coat"]),
    ):
        put(home / "crawl" / name, "\n".join(lines))
    return home / "crawl"


@layout("food101n", splits=True, called={"red panda": "red_panda"})
def food101n(home: Path) -> Path:
    names, verified = ["class_name/key"], ["class_name/key\tverification_label"]
    for each in pictures(splits=True):
        name = f"{each.label.replace(' ', '_')}/{each.name}"
        put(home / "crawl" / "images" / name, each.data)
        names.append(name)
        if each.split == "val" or each.rank == 1:
            verified.append(f"{name}\t{int(each.split == 'val')}")
    put(home / "crawl" / "meta" / "imagelist.tsv", "\n".join(names))
    put(home / "crawl" / "meta" / "verified_val.tsv", "\n".join(verified))
    return home / "crawl"


# -- the contract -----------------------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said and warned of."""
    found: list[str] = []
    for name in ("say", "warn"):
        monkeypatch.setattr(f"curriculumnet.ingestion.step.{name}", lambda text, quiet=False: found.append(text))
    return found


def ingested(source: Path | str, work: Path, **settings: Any) -> list[dict[str, Any]]:
    result = cn.ingest(source, output=work, val_share=0, workers=0, quiet=True, **settings)
    return result.table().to_pylist()


def check(rows: list[dict[str, Any]], layout: Layout, work: Path) -> None:
    """All pictures are there, with what the layout tells, and can be read from where the work folder says."""
    used = [row for row in rows if row["state"] == "used"]
    expected = {byte_digest(each.data): each for each in pictures(layout.splits)}
    assert {row["digest"] for row in used} == expected.keys()
    assert len(used) == len(expected)
    for row in used:
        picture = expected[row["digest"]]
        assert row["label"] == layout.called.get(picture.label, picture.label)
        assert row["split"] == (picture.split or "train")
        # Nobody searched for the pictures that WebVision validates on.
        tells = frozenset() if layout.kind == "webvision" and picture.split == "val" else layout.tells
        assert {name: row[name] for name in tells} == {name: told(picture)[name] for name in tells}
        assert all(row[name] is None for name in ALL - tells)
    project = WorkFolder.open(work).project
    assert {each["kind"] for each in project["sources"].values()} == {layout.kind}
    images = cn.ingest(project["sources"]["crawl"]["source"], output=work, val_share=0, quiet=True).table()
    read = pickle.loads(pickle.dumps(Pictures(images, {k: v["root"] for k, v in project["sources"].items()})))
    for row in used:
        assert byte_digest(read.read(row["image_id"])) == row["digest"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_pictures(name: str, tmp_path: Path, said: list[str]) -> None:
    source = LAYOUTS[name].write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    rows = ingested(source, tmp_path / "work")
    assert any(text.startswith(f"{source}: taken for ") for text in said)
    said.clear()
    check(rows, LAYOUTS[name], tmp_path / "work")
    assert any("nothing to do" in text for text in said)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_path_in_a_cell_that_leads_nowhere_is_missing(tmp_path: Path) -> None:
    source = a_parquet_of_paths(tmp_path)
    (tmp_path / "cat" / "03.png").unlink()
    rows = ingested(source, tmp_path / "work")
    lost = [row for row in rows if row["state"] != "used"]
    assert [(row["state"], row["reason"]) for row in lost] == [("missing", "not there")]
    assert lost[0]["file_name"].endswith("cat/03.png")


@pytest.mark.parametrize("name", ["img2dataset_files", "img2dataset_webdataset", "img2dataset_parquet"])
def test_what_img2dataset_could_not_download_is_missing(name: str, tmp_path: Path) -> None:
    rows = ingested(LAYOUTS[name].write(tmp_path), tmp_path / "work")
    lost = [row for row in rows if row["state"] != "used"]
    assert [(row["state"], row["reason"]) for row in lost] == [
        ("missing", "not downloaded: HTTP Error 404: Not Found")
    ] * 2
    assert {row["url"] for row in lost} == {"https://pictures.example/gone.png"}


def test_a_shard_that_was_not_finished_is_left_out_and_named(tmp_path: Path, said: list[str]) -> None:
    source = img2dataset_webdataset(tmp_path)
    (source / "00000_stats.json").unlink()
    rows = ingested(source, tmp_path / "work")
    assert {row["file_name"].split("#")[0] for row in rows} == {"00001.tar"}
    assert f"The shard 00000 of {source} was not finished, and is left out." in said


@pytest.mark.parametrize("name", ["shards_of_webdataset", "img2dataset_webdataset", "a_tar_for_each_category", "a_tar"])
def test_a_bit_that_flips_in_a_shard_is_found_by_its_digest_and_named(name: str, tmp_path: Path) -> None:
    source = Path(LAYOUTS[name].write(tmp_path))
    rows = ingested(source, tmp_path / "work")
    row = next(each for each in rows if each["label"] == "red panda" and each["state"] == "used")
    tar = source if source.is_file() else source / row["file_name"].split("#")[0]
    data = bytearray(tar.read_bytes())
    data[row["offset"] + row["bytes"] // 2] ^= 1
    tar.write_bytes(data)
    project = WorkFolder.open(tmp_path / "work").project
    images = WorkFolder.open(tmp_path / "work").file("images.parquet")
    read = Pictures(pq.read_table(images), {key: each["root"] for key, each in project["sources"].items()})
    for each in rows:
        if each["state"] == "used" and each["image_id"] != row["image_id"]:
            assert byte_digest(read.read(each["image_id"])) == each["digest"]
    with pytest.raises(SourceError, match=f"{row['file_name']} in .* has changed since .*, not {row['digest']}"):
        read.read(row["image_id"])
    # Looked into again, it is another file.
    again = {each["file_name"]: each for each in ingested(source, tmp_path / "work", reread=True)}
    assert again[row["file_name"]]["digest"] != row["digest"]


def test_networks_learn_from_shards_without_reading_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shards_of_webdataset(tmp_path)
    work = tmp_path / "work"
    ingested(source, work)
    monkeypatch.setattr("curriculumnet.images.tar._index", lambda *_: pytest.fail("the headers were read"))
    settings: dict[str, Any] = {"image_size": 32, "epochs": 1, "device": "cpu", "workers": 0, "quiet": True}
    cn.train(work, recipe="model-a", model="test_resnet", **settings)
    cn.embed(work, from_="model-a", device="cpu", workers=0, quiet=True)
    cn.design(work, quiet=True)
    cn.evaluate(work, device="cpu", workers=0, quiet=True)
    assert cn.report(work, quiet=True).path.stat().st_size > 10_000


def test_a_group_that_the_source_names_is_never_parted(tmp_path: Path) -> None:
    for number, name in enumerate(("shards_of_webdataset", "a_folder_with_metadata", "a_parquet_of_pictures")):
        home = tmp_path / str(number)
        home.mkdir()
        source = LAYOUTS[name].write(home)
        if name == "shards_of_webdataset":
            for shard in Path(source).glob("val-*"):
                shard.unlink()
        result = cn.ingest(source, output=home / "work", val_share=0.3, workers=0, quiet=True)
        sides: dict[str, set[str]] = {}
        for row in result.table().to_pylist():
            sides.setdefault(row["group"], set()).add(row["split"])
        assert {"train"} in sides.values()
        assert {"val"} in sides.values()
        assert all(len(each) == 1 for each in sides.values())


def test_the_labels_that_people_checked_count_as_clean(tmp_path: Path) -> None:
    for name in ("webvision_1", "clothing1m", "food101n", "split_folders"):
        source = LAYOUTS[name].write(tmp_path / name)
        ingested(source, tmp_path / name / "work")
        labels = {
            key: each["labels"] for key, each in WorkFolder.open(tmp_path / name / "work").project["sources"].items()
        }
        assert labels == {"crawl": "crawl", "val": "crawl" if name == "split_folders" else "clean"}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("clothing1m", "2 categories, not 14; 20 train, not 1,000,000; 4 val, not 14,313; 0 test, not 10,526"),
        ("food101n", "2 categories, not 101; 24 pictures, not 310,009; 6 verified validation pictures, not 4,741"),
    ],
)
def test_what_differs_from_the_published_counts_is_listed(
    name: str, published: str, tmp_path: Path, said: list[str]
) -> None:
    ingested(LAYOUTS[name].write(tmp_path), tmp_path / "work")
    assert any(text.endswith(f"is not as it was published: it has {published}.") for text in said)


def test_a_table_of_metadata_that_names_no_files_is_no_source(tmp_path: Path) -> None:
    source = class_folders(tmp_path)
    put(source / "metadata.csv", "title,year\nA crawl,2026\n")
    check(ingested(source, tmp_path / "work"), LAYOUTS["class_folders"], tmp_path / "work")


@pytest.mark.parametrize(
    ("file", "text", "match"),
    [
        (
            "info/train_filelist_google.txt",
            "google/q0001/a.jpg 2\n",
            "Line 1 of .* has the category '2', but synsets.txt has 2",
        ),
        (
            "info/train_meta_list_google.txt",
            "google/q0001.json 1\n",
            "has 1 lines, but the list of files 12: fetch both",
        ),
    ],
)
def test_lists_of_webvision_that_do_not_fit_are_named(tmp_path: Path, file: str, text: str, match: str) -> None:
    source = webvision_1(tmp_path)
    put(source / file, text)
    with pytest.raises(SourceError, match=match):
        ingested(source, tmp_path / "work")


def test_lists_that_name_no_category_are_named(tmp_path: Path) -> None:
    source = lists_of_a_curriculum(tmp_path)
    put(source / "2.txt", "../pictures/cat/00.png 2\n")
    with pytest.raises(SourceError, match=r"Line 1 of .*2\.txt has the category '2', but categories.txt has 2, num"):
        ingested(source, tmp_path / "work")
    source = clothing1m(tmp_path / "clothes")
    put(source / "noisy_label_kv.txt", "images/other.jpg 1\n")
    with pytest.raises(SourceError, match=r"named in .*noisy_train_key_list.txt, has no label in noisy_label"):
        ingested(source, tmp_path / "work")
    source = food101n(tmp_path / "food")
    put(source / "meta" / "verified_val.tsv", "class_name/key\tverification_label\ncat/00.png\tyes\n")
    with pytest.raises(SourceError, match="must end with 0 or 1 after a tab"):
        ingested(source, tmp_path / "work")


def test_a_sample_without_a_label_is_told_what_it_has(tmp_path: Path) -> None:
    files = {"0.png": png(1), "0.json": b'{"caption": "a cat"}', "1.png": png(2), "1.json": b'{"caption": "a dog"}'}
    source = pack(tmp_path / "x.tar", files)
    with pytest.raises(SourceError, match=r"x\.tar#0\.png has no label: .* its .json has 'caption': .* --label-column"):
        ingested(source, tmp_path / "work")
    rows = ingested(source, tmp_path / "work", label_column="caption", min_images=1)
    assert [row["label"] for row in rows] == ["a cat", "a dog"]


def test_a_sample_whose_label_is_not_there_stops_none_of_the_others(tmp_path: Path) -> None:
    files = {f"{n}.png": png(n) for n in range(6)} | {f"{n}.cls": b"cat" if n % 2 else b"dog" for n in range(4)}
    more = {"1.json": b"{", "4.json": b"{", "5.json": b'{"label": null}'}
    rows = ingested(pack(tmp_path / "x.tar", files | more), tmp_path / "work", min_images=1)
    assert [(row["label"], row["state"], row["reason"]) for row in rows] == [
        ("dog", "used", ""),
        ("cat", "broken", "its .json cannot be read"),
        ("dog", "used", ""),
        ("cat", "used", ""),
        ("", "broken", "its .json cannot be read"),
        ("", "refused", "no label"),
    ]


# -- archives that are unpacked ---------------------------------------------------------------------------------------


def test_an_archive_is_unpacked_once_and_again_when_it_has_changed(tmp_path: Path, said: list[str]) -> None:
    source, work = Path(a_zip(tmp_path)), tmp_path / "work"
    first = ingested(source, work)
    assert any("is compressed (zip): its pictures are unpacked into" in text for text in said)
    said.clear()
    assert ingested(source, work) == first
    assert not any("are unpacked" in text for text in said)
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("cat/more.png", png(999))
    assert len(ingested(source, work)) == len(first) + 1
    assert any("unpacked" in text for text in said)


@pytest.mark.parametrize("name", ["crawl.tar", "crawl.zip", "shards"])
def test_what_is_packed_anew_with_one_time_for_all_is_read_anew(name: str, tmp_path: Path) -> None:
    source, work = tmp_path / name, tmp_path / "work"

    def write(first: int) -> list[bytes]:
        files = {f"{label}/{n}.bmp": bmp(first + 10 * n + len(label)) for label in ("cat", "horse") for n in range(4)}
        if name == "crawl.zip":
            with zipfile.ZipFile(source, "w") as archive:
                for each, data in files.items():
                    archive.writestr(zipfile.ZipInfo(each), data)
        else:
            path = source / "0.tar" if name == "shards" else source
            path.parent.mkdir(exist_ok=True)
            with tarfile.open(path, "w") as tar:
                for each, data in files.items():
                    member = tarfile.TarInfo(each)
                    member.size, member.mtime = len(data), 1_700_000_000
                    tar.addfile(member, io.BytesIO(data))
        return list(files.values())

    for first in (0, 500):
        files = write(first)
        assert {row["digest"] for row in ingested(source, work)} == {byte_digest(data) for data in files}


@pytest.mark.parametrize("name", ["a_tar", "a_zip", "a_parquet_of_pictures"])
def test_pictures_of_an_archive_without_times_are_not_read_again_for_other_settings(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, work = Path(LAYOUTS[name].write(tmp_path)), tmp_path / "work"
    if name == "a_zip":
        with zipfile.ZipFile(source, "w") as archive:
            for each, data in in_folders().items():
                archive.writestr(zipfile.ZipInfo(each), data)
    rows = ingested(source, work)
    capsys.readouterr()
    cn.ingest(source, output=work, val_share=0.2)
    assert f"{len(rows)} files are as they were; 0 are read." in capsys.readouterr().err


def test_unpacking_that_was_cut_off_leaves_no_half_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, work = Path(a_tar_gz(tmp_path)), tmp_path / "work"
    taken = 0

    def stop(*_: object) -> None:
        nonlocal taken
        taken += 1
        raise KeyboardInterrupt

    monkeypatch.setattr("curriculumnet.console.Progress.advance", stop)
    with pytest.raises(KeyboardInterrupt):
        ingested(source, work)
    assert taken == 1
    assert not list(work.rglob("*.tar"))
    monkeypatch.undo()
    check(ingested(source, work), LAYOUTS["a_tar_gz"], work)


def test_a_damaged_file_in_a_zip_is_broken_and_no_other(tmp_path: Path) -> None:
    source = tmp_path / "crawl.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_STORED) as archive:
        for name, data in in_folders().items():
            archive.writestr(name, data)
    data = bytearray(source.read_bytes())
    place = data.index(pictures()[3].data)
    data[place + 60] ^= 255
    source.write_bytes(data)
    rows = ingested(source, tmp_path / "work")
    assert [row["file_name"] for row in rows if row["state"] == "broken"] == ["cat/03.png"]
    assert sum(row["state"] == "used" for row in rows) == 23


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_one_damaged_name_or_stream_in_a_zip_spoils_no_other_file(method: int, tmp_path: Path) -> None:
    source = tmp_path / "crawl.zip"
    with zipfile.ZipFile(source, "w", method) as archive:
        for name, data in in_folders().items():
            archive.writestr(name.replace("cat", "kätzchen"), data)
    data = bytearray(source.read_bytes())
    place = data.index("kätzchen/03".encode())
    if method == zipfile.ZIP_STORED:
        data[place + 1] = 255
    else:
        place = data.index(b"BZh9", place)
        data[place + 30 : place + 40] = bytes(10)
    source.write_bytes(data)
    rows = ingested(source, tmp_path / "work")
    assert [row["file_name"] for row in rows if row["state"] == "broken"] == ["kätzchen/03.png"]
    assert sum(row["state"] == "used" for row in rows) == 23


@pytest.mark.parametrize(
    ("mark", "place", "value", "match"),
    [
        (b"PK\x01\x02", 6, b"\xff", r"zip file version 25\.5"),
        (b"PK\x01\x02", 47, b"\xff", "'utf-8' codec can't decode"),
        (b"PK\x01\x02", 46, b"\0", "a file has no name"),
        (b"PK\x05\x06", 18, b"\xff", ""),
    ],
)
def test_a_damaged_table_of_contents_of_a_zip_gets_a_sentence(
    mark: bytes, place: int, value: bytes, match: str, tmp_path: Path
) -> None:
    source = tmp_path / "crawl.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in in_folders().items():
            archive.writestr(f"aé{name}", data)
    data = bytearray(source.read_bytes())
    data[data.index(mark) + place] = value[0]
    source.write_bytes(data)
    with pytest.raises(SourceError, match=rf"crawl\.zip is damaged, or cut off \(.*{match}.*: make or fetch it anew"):
        ingested(source, tmp_path / "work")


@pytest.mark.parametrize("spoilt", [b"03.png", b"label", b"path"])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_text_in_a_table_of_pictures_that_is_none_gets_a_sentence(ending: str, spoilt: bytes, tmp_path: Path) -> None:
    table, source = with_cells(pictures()), tmp_path / f"crawl.{ending}"
    if ending == "parquet":
        pq.write_table(table, source, compression="none", use_dictionary=False, store_schema=False)
    else:
        with pa.ipc.new_file(source, table.schema) as file:
            file.write_table(table)
    data = source.read_bytes()
    assert spoilt in data
    source.write_bytes(data.replace(spoilt, b"\xff" + spoilt[1:]))
    kind = ending.capitalize()
    with pytest.raises(SourceError, match=rf"is no {kind} table, or is damaged \(.*(?i:utf-?8).*: make it anew"):
        ingested(source, tmp_path / "work")


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.97])
@pytest.mark.parametrize("name", ["a_tar_gz", "a_tar_xz", "a_tar_bz2", "a_tar_zst", "a_zip", "a_parquet_of_pictures"])
def test_an_archive_that_was_cut_off_gets_a_sentence(name: str, keep: float, tmp_path: Path) -> None:
    source = Path(LAYOUTS[name].write(tmp_path))
    data = source.read_bytes()
    source.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(SourceError, match=r"is damaged, or cut off|is no Parquet table, or is damaged"):
        ingested(source, tmp_path / "work")


def test_an_encrypted_zip_gets_a_sentence(tmp_path: Path) -> None:
    source = Path(a_zip(tmp_path))
    data = bytearray(source.read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        place = data.index(start) + (6 if start.endswith(b"\x04") else 8)
        data[place] |= 1
    source.write_bytes(data)
    with pytest.raises(SourceError, match=r"crawl.zip is encrypted \(cat/00.png\): unpack it and give the folder"):
        ingested(source, tmp_path / "work")


def test_names_in_an_archive_that_lead_outside_write_nothing_there(tmp_path: Path) -> None:
    source = tmp_path / "in" / "crawl.zip"
    source.parent.mkdir()
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in (in_folders() | {"../outside.png": png(5), "/tmp/absolute.png": png(6)}).items():
            archive.writestr(name, data)
    rows = ingested(source, tmp_path / "in" / "work")
    assert not (tmp_path / "in" / "outside.png").exists()
    assert not (tmp_path / "outside.png").exists()
    assert sum(row["state"] == "used" for row in rows) == 24
    assert {row["reason"] for row in rows if row["state"] == "refused"} == {"its name leads out of the archive"}


def test_links_in_a_compressed_tar_are_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "crawl.tgz"
    pack(source, in_folders(), "w:gz")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in in_folders().items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    source.write_bytes(gzip.compress(plain.getvalue()))
    rows = ingested(source, tmp_path / "work")
    assert [row["reason"] for row in rows if row["state"] != "used"] == ["no regular file"]


def test_a_bit_that_flipped_in_a_compressed_tar_is_found_by_its_checksum(tmp_path: Path) -> None:
    source = tmp_path / "crawl.tar.gz"
    data = bytearray(gzip.compress(pack(tmp_path / "plain.tar", in_folders()).read_bytes(), compresslevel=0))
    data[data.index(pictures()[5].data) + 70] ^= 1
    source.write_bytes(data)
    with pytest.raises(SourceError, match=r"crawl.tar.gz is damaged, or cut off \(CRC check failed"):
        ingested(source, tmp_path / "work")


def test_a_zip_of_an_unknown_method_gets_a_sentence(tmp_path: Path) -> None:
    source = Path(a_zip(tmp_path))
    data = bytearray(source.read_bytes())
    data[data.index(b"PK\x03\x04") + 8] = data[data.index(b"PK\x01\x02") + 10] = 9
    source.write_bytes(data)
    with pytest.raises(SourceError, match=r"cannot be unpacked here \(cat/00.png: That compression method is not supp"):
        ingested(source, tmp_path / "work")


def test_another_archive_does_not_spoil_a_work_folder(tmp_path: Path) -> None:
    first, work = Path(a_zip(tmp_path)), tmp_path / "work"
    rows = ingested(first, work)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in in_folders().items():
            archive.writestr(name, data[:-1])
    with pytest.raises(WorkFolderError, match=r"is the work folder of another source, .*crawl.zip"):
        ingested(other, work)
    assert ingested(first, work) == rows
    project = WorkFolder.open(work).project
    read = Pictures(
        cn.ingest(first, output=work, val_share=0, quiet=True).table(), {"crawl": project["sources"]["crawl"]["root"]}
    )
    assert byte_digest(read.read(0)) == rows[0]["digest"]
    # Moved, it is the same.
    (tmp_path / "elsewhere").mkdir()
    assert ingested(first.rename(tmp_path / "elsewhere" / "crawl.zip"), work) == rows


def test_nothing_is_unpacked_into_a_folder_of_others_or_into_the_source(tmp_path: Path) -> None:
    source = Path(a_zip(tmp_path))
    put(tmp_path / "mine" / "thesis.doc", b"")
    with pytest.raises(WorkFolderError, match="holds other files"):
        ingested(source, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.doc"]
    tables = a_data_set_of_the_hub(tmp_path)
    for given in (tables, f"file://{tables}"):
        with pytest.raises(UsageError, match="would lie inside the pictures' folder"):
            ingested(given, tables / "work")
    assert not (tables / "work").exists()


def test_what_was_unpacked_is_unpacked_again_when_it_is_gone_or_asked_for_otherwise(tmp_path: Path) -> None:
    source, work = a_parquet_of_pictures(tmp_path), tmp_path / "work"
    rows = ingested(source, work)
    for path in (work / "unpacked").iterdir():
        path.unlink()
    assert ingested(source, work) == rows
    assert ingested(source, work, file_column="path") == rows
    assert len(list((work / "unpacked").iterdir())) == 1


def test_tables_that_do_not_fit_together_are_named_before_anything_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "crawl" / "data").mkdir(parents=True)
    for name, label in (("train-0.parquet", "cat"), ("validation-0.parquet", 1)):
        pq.write_table(pa.table({"image": [png(1)], "label": [label]}), tmp_path / "crawl" / "data" / name)
    with pytest.raises(SourceError, match=r"crawl do not fit together .*: give each column one type"):
        ingested(tmp_path / "crawl", tmp_path / "work")
    empty = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(SourceError, match=r"empty.parquet holds no rows"):
        ingested(tmp_path / "empty.parquet", tmp_path / "work")


def test_unfinished_and_hidden_tables_are_left_out(tmp_path: Path, said: list[str]) -> None:
    source = img2dataset_parquet(tmp_path)
    (source / "00001.parquet").write_bytes(b"PAR1")
    (source / "00001_stats.json").unlink()
    (source / "._00000.parquet").write_bytes(b"")
    with pytest.raises(SourceError, match="has one category only"):
        ingested(source, tmp_path / "work")
    assert f"The shard 00001 of {source} was not finished, and is left out." in said


def test_what_is_no_picture_is_not_taken_along_from_a_path_in_a_cell(tmp_path: Path) -> None:
    secret = put(tmp_path / "home" / "id_rsa", "KEY")
    cells = pa.array([{"bytes": None, "path": str(secret)}] * 2, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pq.write_table(pa.table({"image": cells, "label": ["a", "b"]}), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="None of the 2 files"):
        ingested(tmp_path / "x.parquet", tmp_path / "work")
    assert not any(b"KEY" in path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file())


def test_both_kinds_of_arrow_files_are_read(tmp_path: Path) -> None:
    made = with_cells(pictures())
    with pa.OSFile(str(tmp_path / "crawl.arrow"), "wb") as file, pa.ipc.new_file(file, made.schema) as writer:
        writer.write_table(made)
    rows = ingested(tmp_path / "crawl.arrow", tmp_path / "work")
    check(rows, LAYOUTS["a_parquet_of_pictures"], tmp_path / "work")


# -- class folders beside which something lies ------------------------------------------------------------------------

STRAY = {
    "metadata.csv": b"file_name,url\ncat/00.png,https://x\n",
    "metadata.jsonl": b"{not JSON",
    "state.json": b'{"page": 3}',
    "dataset_info.json": b"{}",
    "urls.parquet": b"",
    "cat/more.parquet": b"PAR1",
    "categories.txt": b"cat\nred panda\n",
    "train.txt": b"cat/00.png cat\n",
    "backup.tar": b"no tar",
    "info/synsets.txt": b"",
    "00000_stats.json": b"{}",
}


@pytest.mark.parametrize("in_tar", [False, True])
@pytest.mark.parametrize("strays", [[each] for each in STRAY] + [["categories.txt", "train.txt"], list(STRAY)])
def test_class_folders_stay_class_folders_whatever_lies_beside_them(
    strays: list[str], in_tar: bool, tmp_path: Path
) -> None:
    files = in_folders() | {each: STRAY[each] for each in strays}
    if in_tar:
        source = pack(tmp_path / "crawl.tar", files)
    else:
        source = tmp_path / "crawl"
        for name, data in files.items():
            put(source / name, data)
    check(ingested(source, tmp_path / "work"), LAYOUTS["class_folders"], tmp_path / "work")


@pytest.mark.parametrize("parted", [False, True])
def test_json_that_a_downloader_left_beside_pictures_makes_no_samples(parted: bool, tmp_path: Path) -> None:
    files = in_folders() | {name.replace(".png", ".json"): b'{"id": 1}' for name in in_folders()}
    if parted:
        for label in CATEGORIES:
            own = {name: data for name, data in files.items() if name.startswith(f"{label}/")}
            pack(tmp_path / "crawl" / f"{label}.tar", own)
        source, kind = tmp_path / "crawl", "a_tar_for_each_category"
    else:
        source, kind = pack(tmp_path / "crawl.tar", files), "a_tar"
    check(ingested(source, tmp_path / "work"), LAYOUTS[kind], tmp_path / "work")


def test_a_mask_beside_a_picture_is_no_picture_of_its_category(tmp_path: Path) -> None:
    files = samples(pictures()) | {f"{number:09}.seg.png": png(900 + number) for number in range(24)}
    check(
        ingested(pack(tmp_path / "crawl.tar", files), tmp_path / "work"),
        LAYOUTS["a_shard_of_webdataset"],
        tmp_path / "work",
    )


@pytest.mark.parametrize("name", ["a_tar_for_each_category", "webdataset_of_numbers"])
def test_links_in_shards_are_in_the_account(name: str, tmp_path: Path) -> None:
    source = Path(LAYOUTS[name].write(tmp_path))
    tar = sorted(source.glob("*.tar"))[0]
    with tarfile.open(tar, "a") as file:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "00.png"
        file.addfile(link)
        outside = tarfile.TarInfo("../evil.png")
        outside.size = 3
        file.addfile(outside, io.BytesIO(b"bad"))
    rows = ingested(source, tmp_path / "work")
    assert sorted((row["state"], row["reason"]) for row in rows if row["state"] != "used") == [
        ("refused", "its name leads out of the archive"),
        ("refused", "no regular file"),
    ]


def test_webvision_is_found_though_its_first_picture_is_missing(tmp_path: Path) -> None:
    source = webvision_2(tmp_path)
    (source / "train_images_256/google/q0001/00.png").unlink()
    rows = ingested(source, tmp_path / "work")
    assert [row["file_name"] for row in rows if row["state"] == "missing"] == ["train_images_256/google/q0001/00.png"]


@pytest.mark.parametrize(
    "strays", [["LICENSE"], ["dataset_infos.json", "README.md"], ["eval.yaml"], ["scripts/make.py"]]
)
def test_a_data_set_of_the_hub_stays_one_whatever_lies_beside_it(strays: list[str], tmp_path: Path) -> None:
    source = a_data_set_of_the_hub(tmp_path)
    for name in strays:
        put(source / name, "text")
    check(ingested(source, tmp_path / "work"), LAYOUTS["a_data_set_of_the_hub"], tmp_path / "work")


def test_tables_of_pictures_beside_what_describes_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "crawl").mkdir()
    a_parquet_of_pictures(tmp_path).rename(tmp_path / "crawl" / "part.parquet")
    put(tmp_path / "crawl" / "dataset_info.json", "{}")
    check(ingested(tmp_path / "crawl", tmp_path / "work"), LAYOUTS["a_parquet_of_pictures"], tmp_path / "work")


def test_a_ragged_table_of_metadata_is_named_and_not_passed_over(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        put(tmp_path / "crawl" / split / "a" / "1.png", png(1))
        put(tmp_path / "crawl" / split / "b" / "2.png", png(2))
    put(tmp_path / "crawl" / "train" / "metadata.csv", "file_name,label\na/1.png,cat\nb/2.png,dog,more\n")
    with pytest.raises(SourceError, match=r"Line 3 of .*metadata.csv has 3 values"):
        ingested(tmp_path / "crawl", tmp_path / "work")


def test_what_was_unpacked_is_unpacked_again_to_read_all_again(tmp_path: Path) -> None:
    source, work = Path(a_zip(tmp_path)), tmp_path / "work"
    rows = ingested(source, work)
    (tar,) = (work / "unpacked").iterdir()
    data = bytearray(tar.read_bytes())
    data[rows[3]["offset"] + 60] ^= 1
    tar.write_bytes(data)
    assert ingested(source, work, reread=True) == rows


def test_archives_of_one_name_size_and_time_are_not_taken_for_each_other(tmp_path: Path) -> None:
    for place, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "pets.zip", "w") as archive:
            for name in in_folders():
                noise = np.random.default_rng(hash((place, name)) % 2**32).integers(0, 256, (20, 24, 3), dtype=np.uint8)
                data = io.BytesIO()
                Image.fromarray(noise).save(data, "BMP")
                archive.writestr(zipfile.ZipInfo(name), data.getvalue())
        os.utime(tmp_path / folder / "pets.zip", ns=(10**18, 10**18))
    one, two = (tmp_path / folder / "pets.zip" for folder in ("one", "two"))
    assert one.stat().st_size == two.stat().st_size
    result = cn.ingest(one, test=two, output=tmp_path / "work", workers=0, quiet=True)
    assert (result.states, result.used["test"]) == ({"used": 48}, 24)


@pytest.mark.parametrize("data", [b"file_name,label\n1.png,cat\n", b""])
def test_what_unpacks_to_no_tar_is_named_and_not_kept(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.csv.gz").write_bytes(gzip.compress(data))
    with pytest.raises(SourceError, match=r"labels.csv.gz is no archive of pictures, or is damaged: what"):
        ingested(tmp_path / "labels.csv.gz", tmp_path / "work")
    assert not list((tmp_path / "work" / "unpacked").iterdir())


def test_json_nested_beyond_measure_is_no_json(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    put(class_folders(tmp_path) / "metadata.jsonl", deep)
    check(ingested(tmp_path / "crawl", tmp_path / "work"), LAYOUTS["class_folders"], tmp_path / "work")
    source = pack(
        tmp_path / "x.tar",
        {
            "0.png": png(1),
            "0.cls": b"a",
            "0.json": deep,
            "1.png": png(2),
            "1.cls": b"b",
            "2.png": png(3),
            "2.cls": b"c",
        },
    )
    rows = ingested(source, tmp_path / "other", min_images=1)
    assert [row["state"] for row in rows] == ["broken", "used", "used"]


def test_what_lies_beside_the_only_folder_is_told(tmp_path: Path, said: list[str]) -> None:
    class_folders(tmp_path).rename(tmp_path / "images")
    (tmp_path / "around").mkdir()
    (tmp_path / "images").rename(tmp_path / "around" / "images")
    put(tmp_path / "around" / "part2.zip", b"PK")
    put(tmp_path / "around" / "labels.csv", "a,b\n")
    result = cn.ingest(tmp_path / "around", output=tmp_path / "work", val_share=0, workers=0)
    assert (result.seen, result.not_images) == (24, 2)
    told = "\n".join(said)
    assert "part2.zip in" in told
    assert "The table labels.csv of" in told


def test_pictures_that_the_metadata_do_not_name_are_told_of(tmp_path: Path, said: list[str]) -> None:
    source = a_folder_with_metadata(tmp_path)
    put(source / "images" / "more.png", png(77))
    rows = ingested(source, tmp_path / "work")
    assert len(rows) == 24
    assert f"Pictures of {source} that its table does not name and that are not read: 1." in said


# -- what lies beside, or is called otherwise -------------------------------------------------------------------------


@pytest.mark.parametrize("stray", ["docs/index.html", "weights/model.h5", "unlabeled/1.png", "index.html"])
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_splits_are_splits_whatever_lies_beside_them(tmp_path: Path, stray: str, packed: bool) -> None:
    files = in_folders(splits=True) | {stray: png(999)}
    source = pack(tmp_path / "x.tar", files) if packed else tmp_path / "x"
    for name, data in () if packed else files.items():
        put(source / name, data)
    rows = ingested(source, tmp_path / "work")
    assert [row["label"] for row in rows if row["file_name"] == stray] in ([], [""])
    check(rows, LAYOUTS["split_folders"], tmp_path / "work")


def test_a_category_that_is_called_like_a_split_stays_one(tmp_path: Path) -> None:
    for number in range(4):
        for name in ("train", "bus", "tram/old"):
            put(tmp_path / "x" / name / f"{number}.png", png(hash(name) % 1000 + number))
    assert {row["label"] for row in ingested(tmp_path / "x", tmp_path / "work")} == {"train", "bus", "tram"}


def test_a_page_beside_the_only_folder_does_not_hide_the_categories(tmp_path: Path) -> None:
    for number in range(4):
        for name in ("cat", "dog"):
            put(tmp_path / "x/images" / name / f"{number}.png", png(ord(name[0]) * 10 + number))
    put(tmp_path / "x/images/index.html", "<html>")
    put(tmp_path / "x/README", "read me")
    rows = ingested(tmp_path / "x", tmp_path / "work")
    assert {row["label"] for row in rows if row["state"] == "used"} == {"cat", "dog"}


def test_a_part_of_a_folder_that_is_called_like_a_tar_is_no_part(tmp_path: Path) -> None:
    class_folders(tmp_path).rename(tmp_path / "my.tar")
    with pytest.raises(SourceError, match=r"my\.tar is a folder, and no tar: write .*my\.tar/cat\."):
        ingested(f"{tmp_path / 'my.tar'}#cat", tmp_path / "work")


def test_tars_that_may_be_shards_without_labels_are_doubted(tmp_path: Path, said: list[str]) -> None:
    for shard in range(2):
        files = {
            f"{n}.{ending}": data for n in range(3) for ending, data in (("png", png(9 * shard + n)), ("txt", b"a"))
        }
        pack(tmp_path / f"x/0000{shard}.tar", files)
    assert {row["label"] for row in ingested(tmp_path / "x", tmp_path / "work")} == {"00000", "00001"}
    assert any("shards of WebDataset need a .cls or a .json with a label for each picture" in text for text in said)


@pytest.mark.parametrize("name", ["a_tar_for_each_category", "shards_of_webdataset"])
def test_archives_beside_tars_are_named(name: str, tmp_path: Path, said: list[str]) -> None:
    source = Path(LAYOUTS[name].write(tmp_path))
    put(source / "fox.tar.gz", b"")
    ingested(source, tmp_path / "work")
    assert f"fox.tar.gz in {source} beside the tars: what is in archives there is not read." in said


def test_tables_that_are_not_read_are_named(tmp_path: Path, said: list[str]) -> None:
    source = a_parquet_of_pictures(tmp_path).rename(put(tmp_path / "x/train-0.parquet", b""))
    put(source.with_name("validation") / "0.parquet", source.read_bytes())
    table({"a": [1]}, source.with_name("a.parquet"))
    check(ingested(source.parent, tmp_path / "work"), LAYOUTS["a_parquet_of_pictures"], tmp_path / "work")
    assert f"validation/0.parquet in {source.parent} lies elsewhere, and is not read." in said
    assert f"a.parquet of {source.parent} holds no pictures, and is not read." in said


def test_a_part_of_a_saved_data_set_that_is_not_whole_is_named(tmp_path: Path, said: list[str]) -> None:
    source = Path(arrow_on_the_disk(tmp_path))
    (next(source.glob("v*/state.json"))).unlink()
    ingested(source, tmp_path / "work", min_images=1)
    assert any("is no whole part of the data set, and is not read." in text for text in said)


def test_a_shard_without_its_table_is_named(tmp_path: Path, said: list[str]) -> None:
    source = img2dataset_webdataset(tmp_path)
    (source / "00000.parquet").unlink()
    ingested(source, tmp_path / "work")
    assert f"The shard 00000 of {source} was not finished, and is left out." in said


def test_a_tar_of_another_name_leaves_the_splits_of_the_others(tmp_path: Path) -> None:
    for place, name in enumerate(("train-0", "val-0", "extra-0")):
        files = {
            f"{n}.{e}": data for n in range(4) for e, data in (("png", png(9 * place + n)), ("cls", b"ab"[n % 2 :][:1]))
        }
        pack(tmp_path / f"x/{name}.tar", files)
    rows = ingested(tmp_path / "x", tmp_path / "work")
    assert {(row["file_name"].split("-")[0], row["split"]) for row in rows} == {
        ("train", "train"),
        ("val", "val"),
        ("extra", "train"),
    }


def test_every_picture_of_a_sample_is_in_the_account(tmp_path: Path) -> None:
    files = {f"{n}{part}.png": png(10 * n + len(part)) for n in range(4) for part in ("", ".1")}
    rows = ingested(
        pack(tmp_path / "x.tar", files | {f"{n}.cls": b"cat" if n % 2 else b"dog" for n in range(4)}), tmp_path / "work"
    )
    assert {(row["file_name"][1:], row["state"], row["reason"]) for row in rows} == {
        (".png", "used", ""),
        (".1.png", "refused", "a further picture of its sample"),
    }


def test_one_odd_value_stops_none_of_the_others(tmp_path: Path) -> None:
    odd = {3: {"label": ["cat"]}, 4: {"label": "\ud800"}, 5: {"label": "cat", "license": ["cc"], "url": ["a", "b"]}}
    files = {f"{n}.png": png(n) for n in range(8)}
    more = {f"{n}.json": json.dumps({"label": "cat" if n % 2 else "dog"} | odd.get(n, {})).encode() for n in range(8)}
    rows = ingested(pack(tmp_path / "x.tar", files | more), tmp_path / "work")
    assert [row["state"] for row in rows] == ["used"] * 3 + ["refused"] * 2 + ["used"] * 3
    assert {row["reason"] for row in rows} == {"", "its label is no text"}


@pytest.mark.parametrize("name", ["webvision_1", "clothing1m", "food101n", "a_folder_with_metadata"])
def test_a_known_layout_is_known_in_the_only_folder_of_a_tar(name: str, tmp_path: Path) -> None:
    source = Path(LAYOUTS[name].write(tmp_path / "home"))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(source, "inside")
    check(ingested(tmp_path / "x.tar", tmp_path / "work"), LAYOUTS[name], tmp_path / "work")
