"""Every kind of source, and what is said of those that are none."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curriculumnet.errors import SourceError, UsageError
from curriculumnet.sources.folders import IN_NO_CATEGORY
from curriculumnet.sources.kinds import Source, read_source, source_name
from curriculumnet.sources.layout import Columns

Write = Callable[[str, bytes], Path]

FILES = [
    ("cat/1.jpg", "cat"),
    ("cat/deeper down/2.png", "cat"),
    ("dog/3", "dog"),
    ("dog/4.aspx", "dog"),
]


@pytest.fixture
def files(write: Write, tmp_path: Path) -> Path:
    for name, _ in FILES:
        write(f"data/{name}", name.encode())
    return tmp_path / "data"


def as_rows(source: Source) -> list[tuple[str, str, str | None]]:
    columns = (source.listing.file_names, source.listing.labels, source.listing.splits)
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def fingerprint(given: Path) -> str:
    source = read_source(given)
    return source.fingerprint(source.stamps())


def as_list(path: Path) -> Path:
    path.write_text("\n".join(f"{name} \t {label}" for name, label in FILES) + "\n\n", encoding="utf-8")
    return path


def as_table(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def named(rows: list[tuple[str, str]] = FILES) -> list[dict[str, object]]:
    return [{"file_name": name, "label": label} for name, label in rows]


def packed(folder: Path, path: Path, prefix: str = "") -> Path:
    with tarfile.open(path, "w") as tar:
        for each in sorted(folder.rglob("*")):
            tar.add(each, prefix + each.relative_to(folder).as_posix(), recursive=False)
    return path


KINDS = ["folders", "list.txt", "list.list", "t.csv", "t.tsv", "t.jsonl", "t.parquet"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_tar", ["", "whole", "part"])
def test_every_kind_names_the_same_files(files: Path, tmp_path: Path, kind: str, in_tar: str) -> None:
    given = files
    if kind.startswith("list"):
        given = as_list(files / kind)
    elif kind != "folders":
        given = as_table(files / kind, named())
    text = str(given)
    inner = "" if kind == "folders" else kind
    if in_tar == "whole":
        text = str(packed(files, tmp_path / "x.tar")) + (f"#{inner}" if inner else "")
    elif in_tar == "part":
        text = str(packed(files, tmp_path / "x.tar", "a/b/")) + "#a/b" + (f"/{inner}" if inner else "")
    source = read_source(text)
    assert as_rows(source) == [(name, label, None) for name, label in FILES]
    assert [source.files.read(name) for name, _ in FILES] == [name.encode() for name, _ in FILES]
    assert not source.listing.set_aside
    assert source.given == text
    kinds = {"folders": "folders", "list": "list"}
    assert source.kind == kinds.get(kind.split(".")[0], "table")


@pytest.mark.parametrize("in_tar", [False, True])
def test_folders_of_splits_are_seen_as_such(write: Write, tmp_path: Path, in_tar: bool) -> None:
    for name in ("train/cat/1.jpg", "train/dog/2.jpg", "validation/cat/3.jpg", "test/dog/x/4.jpg", "train/5.jpg"):
        write(f"data/{name}", b"")
    given = packed(tmp_path / "data", tmp_path / "x.tar") if in_tar else tmp_path / "data"
    source = read_source(given)
    assert sorted(as_rows(source)) == [
        ("test/dog/x/4.jpg", "dog", "test"),
        ("train/5.jpg", "", "train"),
        ("train/cat/1.jpg", "cat", "train"),
        ("train/dog/2.jpg", "dog", "train"),
        ("validation/cat/3.jpg", "cat", "val"),
    ]
    assert list(source.listing.set_aside.values()) == [("refused", IN_NO_CATEGORY)]


@pytest.mark.parametrize("tops", [("train", "bus"), ("val", "test")])
def test_categories_that_are_called_like_splits_stay_categories(
    write: Write, tmp_path: Path, tops: tuple[str, str]
) -> None:
    for top in tops:
        write(f"data/{top}/1.jpg", b"")
    assert as_rows(read_source(tmp_path / "data")) == [(f"{top}/1.jpg", top, None) for top in sorted(tops)]


def test_names_that_are_no_images_are_one_number(write: Write, tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/.hidden.jpg", ".git/2.jpg", "cat/.cache/3.jpg", "cat/notes.TXT", "labels.csv"):
        write(f"data/{name}", b"")
    write("data/lonely.jpg", b"")
    listing = read_source(tmp_path / "data").listing
    assert listing.file_names.to_pylist() == ["cat/1.jpg", "lonely.jpg"]
    assert listing.not_images == 5
    assert listing.set_aside == {1: ("refused", IN_NO_CATEGORY)}


def test_names_that_are_not_utf8_are_refused_in_printable_letters(write: Write, tmp_path: Path) -> None:
    import os

    odd = os.fsdecode(b"caf\xe9.jpg")
    write("data/cat/1.jpg", b"")
    try:
        write(f"data/cat/{odd}", b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (tmp_path / "list.txt").write_bytes(b"data/cat/1.jpg cat\ndata/cat/caf\xe9.jpg cat\n")
    for given, prefix in ((tmp_path / "data", ""), (tmp_path / "list.txt", "data/")):
        listing = read_source(given).listing
        assert listing.file_names.to_pylist() == [f"{prefix}cat/1.jpg", f"{prefix}cat/caf\\xe9.jpg"]
        assert listing.set_aside == {1: ("refused", "its name is not valid UTF-8")}


def test_what_else_is_a_space_or_ends_a_line_in_unicode_belongs_to_the_name(files: Path) -> None:
    names, labels = ["a\u2028b.jpg", "c\x0cd e.jpg", "f\u0085g.jpg", "h.jpg"], ["red\u00a0panda", "cat", "cat", "dog"]
    lines = [f"{name} \t{label} " for name, label in zip(names, labels, strict=True)]
    for ending in ("\n", "\r\n", "\r"):
        (files / "t.txt").write_bytes(ending.join(lines).encode())
        listing = read_source(files / "t.txt").listing
        assert listing.file_names.to_pylist() == names
        assert listing.labels.to_pylist() == labels


def test_a_table_tells_groups_links_licences_and_splits(files: Path) -> None:
    rows = named()
    for number, row in enumerate(rows):
        row |= {
            "sender": number // 2,
            "url": f"https://x/{number}",
            "license": "",
            "split": ("Train", "dev", "", "test")[number],
        }
    rows[3]["sender"] = ""
    for kind in ("t.csv", "t.jsonl"):
        listing = read_source(as_table(files / kind, rows), columns=Columns(group="sender")).listing
        assert listing.groups.to_pylist() == ["0", "0", "1", None]
        assert listing.urls.to_pylist() == [f"https://x/{number}" for number in range(4)]
        assert listing.licences.to_pylist() == [None] * 4
        assert listing.splits.to_pylist() == ["train", "val", None, "test"]


def test_a_table_tells_its_own_order(files: Path) -> None:
    for kind, values in (
        ("t.csv", [" 3", "-0.5", "1e3", ""]),
        ("t.tsv", [3, -0.5, 1000, None]),
        ("t.jsonl", [3, -0.5, "1e3", None]),
        ("t.parquet", [3.0, -0.5, 1000.0, float("nan")]),
    ):
        rows = [row | {"place": value} for row, value in zip(named(), values, strict=True)]
        listing = read_source(as_table(files / kind, rows), columns=Columns(rank="place")).listing
        assert listing.ranks is not None
        assert listing.ranks.to_pylist() == [3.0, -0.5, 1000.0, None]
    assert read_source(files / "t.csv").listing.ranks is None
    # All digits of a number count.
    exact = [0.1 + 0.2, 0.3, 1 / 3, 2**53]
    rows = [row | {"place": value} for row, value in zip(named(), exact, strict=True)]
    for kind in ("t.csv", "t.jsonl"):
        listing = read_source(as_table(files / kind, rows), columns=Columns(rank="place")).listing
        assert listing.ranks is not None
        assert listing.ranks.to_pylist() == exact


@pytest.mark.parametrize("value", ["first", "1,5", "inf", "nan", "1e999", True])
def test_what_is_no_finite_number_is_no_rank(files: Path, value: object) -> None:
    rows = [row | {"place": place} for row, place in zip(named(), (1, 2, value, 4), strict=True)]
    for kind in ("t.csv", "t.jsonl"):
        with pytest.raises(SourceError, match=rf"'place' of .* has the value '{value}' in row 3, but must hold finite"):
            read_source(as_table(files / kind, rows), columns=Columns(rank="place"))


def test_labels_that_are_numbers_become_text(files: Path) -> None:
    for values, expected in (
        ([7, 7, 10, 10], ["7", "7", "10", "10"]),
        ([7.0, 10.0, None, 0.5], ["7", "10", "", "0.5"]),
    ):
        rows = [{"file_name": name, "label": value} for (name, _), value in zip(FILES, values, strict=True)]
        for kind in ("t.parquet", "t.jsonl"):
            listing = read_source(as_table(files / kind, rows)).listing
            assert listing.labels.to_pylist() == expected
            assert set(listing.set_aside.values()) <= {("refused", "no label")}


def test_labels_in_a_csv_stay_as_they_are_written(files: Path) -> None:
    (files / "t.csv").write_bytes(
        b'\xef\xbb\xbffile_name, label\r\n"cat/1.jpg", 007\r\n\r\n"a, b.jpg"," sand dune "\r\n,x\r\n'
    )
    listing = read_source(files / "t.csv").listing
    assert list(zip(listing.names, listing.labels.to_pylist(), strict=True)) == [
        ("cat/1.jpg", "007"),
        ("a, b.jpg", "sand dune"),
        ("", "x"),
    ]
    assert listing.set_aside == {2: ("missing", "no file name")}


def test_names_written_on_windows_or_with_a_dot_are_found(files: Path) -> None:
    (files / "t.txt").write_text(".\\cat\\1.jpg cat\n./dog/3 dog\n", encoding="utf-8")
    assert read_source(files / "t.txt").listing.file_names.to_pylist() == ["cat/1.jpg", "dog/3"]


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("t.txt", b"cat/1.jpg cat\n\njust-a-path.jpg\n", r"Line 3 of .*t\.txt has no label \('just-a-path.jpg'\)"),
        ("t.txt", b"cat/1.jpg caf\xe9\n", r"label in line 1 of .* is not UTF-8"),
        ("t.txt", "cat/1.jpg cat".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        ("t.csv", b"path,class\n1.jpg,cat\n", r"no column 'label'; its columns are 'path', 'class': .* --label-column"),
        ("t.csv", b"path,label\n1.jpg,cat\n", r"no column 'file_name'; .* by --file-column"),
        ("t.csv", b"url,label\nhttp://a/1.jpg,cat\n", r"URLs: `.* collect .*t\.csv --category-column label -o SHARDS`"),
        ("t.csv", b"url,category\nhttp://a/1.jpg,cat\n", r"URLs: `.* collect .*t\.csv -o SHARDS` fetches them;"),
        ("t.csv", b"file_name,label\nhttp://a/1.jpg,cat\n", r"names URLs, not files: .* --category-column label"),
        ("t.csv", b"", r"no column 'label'; its columns are none"),
        ("t.csv", b"file_name,label\n1.jpg,cat,or dog\n", "Line 2 of .* has 3 values, but the header has 2"),
        ("t.csv", b'file_name,label\n1.jpg,"cat\n', r"Line 2 of .* cannot be read \(unexpected end of data\)"),
        ("t.csv", b"file_name,label\n1.jpg,caf\xe9\n", "The label in row 1 of .* is not UTF-8"),
        ("t.csv", b"file_name,label,split\n1.jpg,cat,fold3\n", "has the value 'fold3', but must hold train, val or"),
        ("t.jsonl", b'{"file_name": "1.jpg", "label": "cat"}\nnothing\n', "Line 2 of .* is not JSON"),
        ("t.jsonl", b'["1.jpg", "cat"]\n', "Line 1 of .* is no JSON object"),
        (
            "t.jsonl",
            b'{"file_name": "1.jpg", "label": ["cat", "dog"]}',
            "'label' of .* holds bytes, or more than one value a row",
        ),
        ("t.parquet", b"PAR1 no more", "is no Parquet table, or is damaged"),
        ("t.tar.gz", b"\x1f\x8b\x08", r"compressed \(gzip\).*: unpack it and give the folder"),
        ("t.zip", b"PK\x03\x04", r"compressed \(zip\)"),
        ("t.jpg", b"\xff\xd8\xff", "is no source of pictures: give a folder, a tar or another archive, a list"),
    ],
)
def test_what_is_no_source_gets_a_sentence(write: Write, name: str, data: bytes, match: str) -> None:
    with pytest.raises(SourceError, match=match) as raised:
        read_source(write(name, data))
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("spoilt", [b"cat/1.jpg", b"file_name"])
def test_text_in_a_parquet_table_that_is_none_gets_a_sentence(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "t.parquet"
    table = pa.Table.from_pylist(named())
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False, store_schema=False)
    path.write_bytes(path.read_bytes().replace(spoilt, b"\xff" + spoilt[1:]))
    with pytest.raises(SourceError, match=r"t\.parquet is no Parquet table, or is damaged \('utf-8' codec can't"):
        read_source(path)


@pytest.mark.parametrize(("name", "part"), [("x.tar", ""), ("x.tar", "#part"), ("x.zip", ""), ("x.parquet", "")])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str, part: str) -> None:
    (tmp_path / "crawl").mkdir()
    os.mkfifo(tmp_path / "crawl" / name)
    with pytest.raises(SourceError, match="not a file"):
        read_source(f"{tmp_path}/crawl/{name}{part}")
    if name.endswith(".tar"):
        packed(tmp_path / "crawl", tmp_path / "crawl" / "y.tar")
        with pytest.raises(SourceError, match=r"crawl/x\.tar is not there, or is no file"):
            read_source(tmp_path / "crawl")


@pytest.mark.parametrize("in_tar", [False, True])
def test_a_category_called_as_a_table_or_list_is_a_category(write: Write, tmp_path: Path, in_tar: bool) -> None:
    for label in ("metadata.csv", "categories.txt", "dog"):
        write(f"data/{label}/1.jpg", b"")
    os.mkfifo(tmp_path / "data" / "metadata.jsonl")
    given = tmp_path / "data"
    source = read_source(packed(given, tmp_path / "data.tar", "data/") if in_tar else given)
    assert set(source.listing.labels.to_pylist()) - {""} == {"metadata.csv", "categories.txt", "dog"}


def test_two_columns_of_one_name_get_a_sentence(tmp_path: Path) -> None:
    columns = [pa.array([name for name, _ in FILES]), *[pa.array([label for _, label in FILES])] * 2]
    pq.write_table(pa.Table.from_arrays(columns, names=["file_name", "label", "label"]), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=r"t\.parquet has two columns 'label': rename one of them"):
        read_source(tmp_path / "t.parquet")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_list_is_called_by_where_it_lies(write: Write, tmp_path: Path, packed: bool, whole: bool) -> None:
    write("set/1.txt", b"a.png 0\n")
    write("set/categories.txt", "cat\ndog\n".encode("utf-16"))
    given, called = tmp_path / "set", f"{tmp_path}/set/categories.txt"
    if packed:
        given, called = tmp_path / "set.tar", f"{tmp_path}/set.tar#categories.txt"
        with tarfile.open(given, "w") as tar:
            tar.add(tmp_path / "set", ".")
    with pytest.raises(SourceError) as raised:
        read_source(given if whole else f"{given}{'#' if packed else '/'}1.txt")
    assert str(raised.value).startswith(f"{called} is UTF-16")


def test_a_column_that_a_person_named_is_asked_of_a_table_of_metadata(write: Write) -> None:
    source = write("set/metadata.jsonl", b'{"file_name": "1.jpg", "text": "cat"}\n').parent
    assert read_source(source).kind == "folders"
    assert read_source(source, columns=Columns(label="text")).kind == "huggingface"
    with pytest.raises(SourceError, match=r"no column 'word'; its columns are 'file_name', 'text': .* --label-column"):
        read_source(source, columns=Columns(label="word"))


def test_pictures_in_cells_are_for_the_one_who_unpacks(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": b"1", "path": "1.jpg"}, "label": 1}]
    with pytest.raises(SourceError, match=r"is a table that holds its pictures, and .* cannot be read in place"):
        read_source(as_table(tmp_path / "t.parquet", rows))
    rows = [{"image": {"number": 1}, "label": 1}]
    with pytest.raises(SourceError, match=r"The column 'image' of .* holds bytes, or more than one value a row"):
        read_source(as_table(tmp_path / "t.parquet", rows), columns=Columns(file="image"))


def test_groups_are_asked_of_tables_only(files: Path) -> None:
    with pytest.raises(UsageError, match=r"--group-column names a column of a table, but .* is no table"):
        read_source(files, columns=Columns(group="sender"))
    with pytest.raises(SourceError, match=r"has no column 'sender'; .* by --group-column"):
        read_source(as_table(files / "t.csv", named()), columns=Columns(group="sender"))


def test_an_order_is_asked_of_tables_only(files: Path) -> None:
    for given in (files, as_list(files / "t.txt")):
        with pytest.raises(UsageError, match=r"--rank-column names a column of a table, but .* is no table"):
            read_source(given, columns=Columns(rank="place"))
    with pytest.raises(SourceError, match=r"has no column 'place'; its columns are 'file_name', .* by --rank-column"):
        read_source(as_table(files / "t.csv", named()), columns=Columns(rank="place"))


def test_a_picture_inside_a_tar_is_no_source(files: Path, tmp_path: Path) -> None:
    path = packed(files, tmp_path / "x.tar")
    with pytest.raises(SourceError, match="is a file, but no list or table"):
        read_source(f"{path}#cat/1.jpg")
    with pytest.raises(SourceError, match="has no folder or table 'cats'; at its top are cat, dog"):
        read_source(f"{path}#cats")


@pytest.mark.parametrize("given", ["gone", "gone.csv", "gone.tar#part", "no\0such"])
def test_a_source_that_is_not_there(tmp_path: Path, given: str) -> None:
    with pytest.raises(SourceError, match="is not there, or may not be read"):
        read_source(str(tmp_path / given))


def test_the_name_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("pets", "my.pets"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    names = {
        ".": "pets",
        "../pets/": "pets",
        "../my.pets": "my.pets",
        "/data/pets.tar": "pets",
        "pets.tar#pets/crawl": "crawl",
        "pets.tar#pets/cats.csv": "cats",
        "lists/train.txt": "train",
    }
    assert {given: source_name(given) for given in names} == names


def test_the_fingerprint_is_of_the_files_and_of_what_is_said_of_them(files: Path) -> None:
    table = as_table(files / "t.csv", named())
    before = fingerprint(table)
    assert fingerprint(table) == before
    # Rewritten with the same content, the table says the same.
    assert fingerprint(as_table(table, named())) == before
    (files / "other.jpg").write_bytes(b"not listed")
    assert fingerprint(table) == before
    changed = fingerprint(as_table(table, named([*FILES[:3], (FILES[3][0], "cat")])))
    assert changed != before
    as_table(table, named())
    (files / FILES[0][0]).write_bytes(b"other bytes")
    assert fingerprint(table) != before


def test_the_fingerprint_is_of_the_order_where_that_is_asked_for(files: Path) -> None:
    def of(places: tuple[int, ...], column: str | None) -> str:
        rows = [row | {"place": place} for row, place in zip(named(), places, strict=True)]
        source = read_source(as_table(files / "t.csv", rows), columns=Columns(rank=column))
        return source.fingerprint(source.stamps())

    first = of((1, 2, 3, 4), "place")
    assert of((1, 2, 3, 4), "place") == first
    assert of((1, 2, 4, 3), "place") != first
    # Else it is what it was before there were ranks.
    assert of((1, 2, 4, 3), None) == of((1, 2, 3, 4), None) == fingerprint(as_table(files / "t.csv", named()))
