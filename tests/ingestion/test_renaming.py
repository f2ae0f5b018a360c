"""Categories renamed, merged and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from PIL import Image

import curriculumnet as cn
from curriculumnet.errors import SourceError, UnknownNameError, UsageError
from curriculumnet.work.folder import WorkFolder

Write = Callable[[str, bytes], Path]


@pytest.fixture
def animals(crawl: Path, tmp_path: Path) -> Path:
    """Categories `cat`, `dog` and, with pictures of their own, `kitten`, `wolf`."""
    for place, (name, like) in enumerate((("kitten", "cat"), ("wolf", "dog"))):
        copytree(crawl / like, crawl / name)
        for number, path in enumerate(sorted((crawl / name).iterdir())):
            Image.open(path).rotate(180 if number % 2 else 90, expand=True).point(
                lambda value, place=place: (value + 60 + 40 * place) % 256
            ).save(path)
    return crawl


def labels(source: Path, work: Path, **settings: Any) -> Counter[tuple[str, str]]:
    table = cn.ingest(source, output=work, workers=0, quiet=True, **settings).table()
    return Counter(zip(table["label"].to_pylist(), table["state"].to_pylist(), strict=True))


def test_categories_are_renamed_merged_and_left_out(animals: Path, write: Write, tmp_path: Path) -> None:
    table = write("names.csv", b"label,category\nkitten,cat\ndog,Canis familiaris\nwolf,\n")
    found = labels(animals, tmp_path / "work", rename=table)
    assert found == {("cat", "used"): 24, ("Canis familiaris", "used"): 12, ("wolf", "excluded"): 12}
    assert WorkFolder.open(tmp_path / "work").categories == ["Canis familiaris", "cat"]


def test_the_same_names_are_given_to_what_was_given_to_measure_on(animals: Path, write: Write, tmp_path: Path) -> None:
    table = write("names.jsonl", b'{"label": "kitten", "category": "cat"}\n{"label": "wolf", "category": "dog"}\n')
    (tmp_path / "test" / "kitten").mkdir(parents=True)
    (animals / "kitten" / "00.png").rename(tmp_path / "test" / "kitten" / "00.png")
    result = cn.ingest(animals, test=tmp_path / "test", output=tmp_path / "work", rename=table, workers=0, quiet=True)
    assert result.used["test"] == 1
    assert sorted(result.categories) == ["cat", "dog"]


def test_status_names_the_table_when_the_images_have_to_be_read_again(
    animals: Path, write: Write, tmp_path: Path
) -> None:
    table = write("names.csv", b"label,category\nkitten,cat\n")
    labels(animals, tmp_path / "work", rename=table)
    (tmp_path / "work" / "images.parquet").unlink()
    assert f"--rename {table}" in cn.status(tmp_path / "work").next


def test_another_table_is_another_reading_and_the_same_is_not(animals: Path, write: Write, tmp_path: Path) -> None:
    table = write("names.csv", b"label,category\nkitten,cat\n")
    work = tmp_path / "work"
    labels(animals, work, rename=table)
    finished = WorkFolder.open(work).record("ingest")
    labels(animals, work, rename=table)
    assert WorkFolder.open(work).record("ingest") == finished
    table.write_bytes(b"label,category\nkitten,dog\n")
    assert labels(animals, work, rename=table)[("dog", "used")] == 24


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (b"label,category\nkitty,cat\n", UnknownNameError, "no category 'kitty'.*cat, dog.* in the table of --rename"),
        (b"label,category\n,cat\n", SourceError, "Row 1 of .*names.csv names no label: write one"),
        (b"label,category\ncat,a\ncat,b\n", SourceError, "has the label 'cat' twice, with two names"),
        (b'label,category\ncat,dog\n"dog ",\n', SourceError, "leaves 'dog' out and calls another category so"),
        (b"label,category\ncat,dog\ndog,\n", SourceError, "leaves 'dog' out and calls another category so"),
        (b"label,category\ncat,a\ncat ,b\n", SourceError, "has the label 'cat' twice, with two names"),
        (b"from,to\ncat,a\n", SourceError, "has the columns 'from', 'to', but --rename needs 'label' and 'category'"),
        (b"label,category\ncat,\n", SourceError, "All but 1 of the categories are left out"),
    ],
)
def test_a_table_that_does_not_fit_is_told_why(
    crawl: Path, write: Write, tmp_path: Path, data: bytes, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        labels(crawl, tmp_path / "work", rename=write("names.csv", data))


def test_what_is_no_table_is_told_so(crawl: Path, write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--rename needs a table \(.csv, .*names.txt is none"):
        labels(crawl, tmp_path / "work", rename=write("names.txt", b"cat a"))
    with pytest.raises(SourceError, match=r"gone.csv of --rename is not there"):
        labels(crawl, tmp_path / "work", rename=tmp_path / "gone.csv")


@pytest.mark.parametrize("own_split", [False, True])
def test_an_accent_that_is_a_character_of_its_own_makes_no_other_category(
    crawl: Path, tmp_path: Path, own_split: bool
) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    train, test = (tmp_path / "data" / split for split in ("train", "test"))
    for folder in (train, test / decomposed):
        folder.mkdir(parents=True)
    (crawl / "cat").rename(train / composed)
    (crawl / "dog").rename(train / "dog")
    (train / composed / "00.png").rename(test / decomposed / "00.png")
    table = tmp_path / "names.csv"
    table.write_text(f"label,category\n{composed},coffee\n", encoding="utf-8")
    given: tuple[Path, dict[str, Any]] = (tmp_path / "data", {}) if own_split else (train, {"test": test})
    for name, options in ((composed, {}), ("coffee", {"rename": table})):
        result = cn.ingest(given[0], output=tmp_path / name, workers=0, quiet=True, **given[1], **options)
        assert sorted(result.categories) == sorted([name, "dog"])
        assert result.used["test"] == 1
    # Two categories of the crawl stay two.
    (train / decomposed).mkdir()
    for path in sorted((train / composed).iterdir())[:6]:
        path.rename(train / decomposed / path.name)
    assert len(cn.ingest(train, output=tmp_path / "both", workers=0, quiet=True).categories) == 3
