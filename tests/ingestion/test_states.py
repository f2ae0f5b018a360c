from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curriculumnet.ingestion.findings import STATES, Findings
from curriculumnet.ingestion.scan import Found
from curriculumnet.ingestion.states import KEYS, judge


def found(picture: str, data: str = "") -> Found:
    digest = (data or f"bytes of {picture}").encode().hex().ljust(32, "0")
    return Found("used", "", 20, 20, "PNG", 100, digest, picture.encode().hex().rjust(32, "0"))


BROKEN = Found("broken", "empty file", bytes=0, digest="0" * 32)


@dataclass
class Judged:
    states: list[str]
    reasons: list[str]
    copy_of: list[int]
    label_conflict: list[bool]
    near_group: list[int]


def judged(
    rows: list[tuple[str, str, Found]],
    exclude: Collection[str] = (),
    min_images: int = 1,
    features: NDArray[np.float32] | None = None,
) -> Judged:
    sources, labels, each = zip(*rows, strict=True)
    findings = Findings(len(rows))
    findings.put(np.arange(len(rows)), each)
    known = sorted(set(labels))
    states = judge(
        np.array([KEYS.index(source) for source in sources], dtype=np.int8),
        np.array([known.index(label) for label in labels]),
        findings,
        exclude={known.index(label) for label in exclude},
        min_images=min_images,
        features=features,
    )
    return Judged(
        [STATES[code] for code in states.state],
        [findings.reasons.known[code] for code in states.reason],
        states.copy_of.tolist(),
        states.label_conflict.tolist(),
        states.near_group.tolist(),
    )


def test_copies_conflicts_and_leaks_are_told_apart() -> None:
    rows = [
        ("crawl", "cat", found("a")),  # 0
        ("crawl", "cat", found("a")),  # 1 the same bytes
        ("crawl", "cat", found("a", "other bytes")),  # 2 the same pixels
        ("crawl", "dog", found("a")),  # 3 in another category
        ("crawl", "dog", found("b")),  # 4 also a test picture
        ("crawl", "dog", found("b")),  # 5 a leak before it is a copy
        ("crawl", "dog", found("c")),  # 6 also a val picture, of another category there
        ("crawl", "dog", BROKEN),  # 7
        ("crawl", "dog", found("d")),  # 8
        ("val", "cat", found("c", "val bytes")),  # 9
        ("test", "dog", found("b")),  # 10
        ("test", "dog", found("b")),  # 11 a copy within the test pictures
        ("test", "cat", found("b")),  # 12
    ]
    states = judged(rows)
    assert list(zip(states.states, states.copy_of, states.reasons, strict=True)) == [
        ("used", -1, ""),
        ("copy", 0, "same bytes as an earlier image of its category"),
        ("copy", 0, "same pixels as an earlier image of its category"),
        ("used", -1, ""),
        ("leak", 10, "same bytes as a test image"),
        ("leak", 10, "same bytes as a test image"),
        ("leak", 9, "same pixels as a val image"),
        ("broken", -1, "empty file"),
        ("used", -1, ""),
        ("used", -1, ""),
        ("used", -1, ""),
        ("copy", 10, "same bytes as an earlier image of its category"),
        ("used", -1, ""),
    ]
    assert [row for row, conflict in enumerate(states.label_conflict) if conflict] == [0, 1, 2, 3, 10, 11, 12]


def test_categories_are_left_out_by_name_and_by_size_in_every_source() -> None:
    rows = [
        ("crawl", "cat", found("a")),
        ("crawl", "cat", found("b")),
        ("crawl", "dog", found("c")),
        ("crawl", "dog", found("d")),
        ("crawl", "one", found("e")),
        ("crawl", "one", found("e")),
        ("crawl", "one", BROKEN),
        ("test", "one", found("f")),
        ("test", "dog", found("g")),
        ("test", "cat", found("h")),
    ]
    states = judged(rows, exclude=["dog"], min_images=2)
    assert states.states == [
        *("used", "used", "excluded", "excluded", "excluded", "copy", "broken", "excluded", "excluded", "used")
    ]
    assert states.reasons[2] == "category left out"
    assert states.reasons[4] == "category of too few images"


def test_nothing_readable_is_no_error_here() -> None:
    states = judged([("crawl", "cat", BROKEN), ("test", "cat", Found("missing", "not there"))])
    assert states.states == ["broken", "missing"]


def near(phash: int, picture: str, side: int = 20) -> Found:
    return found(picture)._replace(phash=phash, phash_centre=phash, width=side)


def test_near_copies_form_groups() -> None:
    far = 0xFFFF_0000_FFFF_0000
    rows = [
        ("crawl", "cat", near(0b0111, "a")),  # 0
        ("crawl", "dog", near(0b0110, "b", side=40)),  # 1 near 0, and larger
        ("crawl", "dog", near(0b0110, "c")),  # 2 the same hash as 1
        ("crawl", "cat", near(far, "d")),  # 3 near two test pictures
        ("crawl", "cat", near(far ^ 0xFFFF_FFFF, "e")),  # 4 like nothing
        ("crawl", "dog", near(0, "f")),  # 5 flat
        ("crawl", "dog", near(0, "g")),  # 6 flat
        ("crawl", "fox", near(0b0101, "h")),  # 7 near 0 to 2, but its category is left out
        ("test", "dog", near(far ^ 1, "i")),  # 8
        ("test", "dog", near(far ^ 3, "j")),  # 9 near 8
    ]
    states = judged(rows, exclude=["fox"])
    assert states.states == ["used"] * 7 + ["excluded", "used", "used"]
    assert states.near_group == [1, 1, 1, 3, -1, -1, -1, -1, 3, 3]


def test_a_group_of_which_one_is_left_is_none() -> None:
    rows = [
        ("crawl", "cat", near(7, "a")),
        ("crawl", "fox", near(6, "b", side=40)),
        ("crawl", "cat", near(0xFFFF << 40, "c")),
    ]
    assert judged(rows).near_group == [1, 1, -1]
    assert judged(rows, exclude=["fox"]).near_group == [-1, -1, -1]


def test_features_part_what_only_looks_alike_to_a_hash_and_join_what_is_further_off() -> None:
    rows = [
        ("crawl", "cat", near(0b0111, "a")),  # 0
        ("crawl", "dog", near(0b0110, "b")),  # 1 near 0 by both
        ("crawl", "dog", near(0b0111, "c")),  # 2 the hash of 0, another thing
        ("crawl", "cat", near(0b0101, "d")),  # 3 near 0, but without features
        ("crawl", "cat", near(0xFF << 40, "e")),  # 4
        ("crawl", "cat", near(0xFF << 48, "f")),  # 5 16 bits from 4: too far in any case
        ("crawl", "dog", near(0x0F << 40, "g")),  # 6 4 bits from 4, another thing
        ("crawl", "dog", near((0xFF << 40) | 0xFF, "h")),  # 7 8 bits from 4, the same thing
    ]
    one, other = [1.0, 0.0], [0.0, 1.0]
    features = np.array([one, [0.9, 0.1], other, [np.nan] * 2, one, one, other, one], dtype=np.float32)
    assert judged(rows, features=features).near_group == [0, 0, -1, -1, 4, -1, -1, 4]
    assert judged(rows).near_group == [0, 0, 0, 0, 4, -1, 4, -1]


def test_of_equal_hashes_those_that_the_first_does_not_confirm_may_confirm_each_other() -> None:
    rows = [("crawl", "cat", near(7, picture)) for picture in "abcdef"]
    features = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    assert judged(rows, features=features).near_group == [0, 1, 0, 1, -1, 1]
    assert judged(rows).near_group == [0] * 6
