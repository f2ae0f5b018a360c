"""WebDataset: tars of samples, each of which is the files of one name: `000.jpg`, `000.cls`, `000.json`."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import may_be_image
from curriculumnet.images.tar import Tar
from curriculumnet.sources.folders import archives_beside, strangers
from curriculumnet.sources.layout import SPLITS, Columns, Place
from curriculumnet.sources.listing import Listing, is_valid
from curriculumnet.sources.tables import Cells, listing_of
from curriculumnet.sources.text import lines

_CATEGORIES = "categories.txt"
_LABEL, _MORE = "cls", "json"
_ENOUGH = 256
"""Names by which a tar is known to hold samples."""

_TRIED = 3
"""Tars of a folder that are looked into."""

_KEPT = ("split", "group", "rank", "query", "url", "licence", "license")
"""What is kept of a sample's JSON, beside the columns that a person named."""

_FIRST_WORD = re.compile(r"[a-z]+")
_SHARD = re.compile(r"([a-z0-9]*[a-z][-_.])*\d+", re.IGNORECASE)
"""How shards are called: a number, perhaps after words."""


def recognise(place: Place, columns: Columns) -> bool:
    """Take tars, or a tar, in which pictures have labels beside them: a `.cls`, or a `.json` with the label column.

    JSON alone, as programs that download leave it, is enough where the tars are called like shards and hold no folders.
    """
    if place.name:
        return False
    tars = tars_of(place.files.top())
    if not tars and not isinstance(place.files, Tar):
        return False
    return any(_holds_samples(place.files.tar(name), tars, columns) for name in tars[:_TRIED] or [""])


def _holds_samples(tar: Tar, tars: list[str], columns: Columns) -> bool:
    """Say whether the pictures in a tar have labels beside them."""
    names = tar.in_order()[:_ENOUGH]
    described: dict[str, dict[str, str]] = {}
    for name in names:
        key, ending = parted(name)
        described.setdefault(key, {})[ending] = name
    samples = [described[key] for key, _ in map(parted, filter(_may_be_picture, names))]
    if 2 * sum(_LABEL in sample for sample in samples) > len(samples):
        return True
    more = next((sample[_MORE] for sample in samples if _MORE in sample), None)
    if more is None:
        return False
    called = all(map(is_called_like_a_shard, tars))
    return columns.label in (_json(tar.read(more)) or {}) or (called and not any("/" in name for name in names))


def read(place: Place, columns: Columns) -> Listing:
    """List the pictures of all samples, a row for each.

    The label is what the `.json` has under the label column, or else the `.cls`: a name, or the number of one in a
    `categories.txt` beside the tars. What else the `.json` has are columns. Splits are those that the `.json` tells, or
    with which the names of all tars begin. Of several pictures of a sample, those with a further word in their ending,
    as the mask `000.seg.png` beside `000.jpg`, are set aside.

    Raises
    ------
    SourceError
        No sample has a label.
    """
    categories = lines(place, _CATEGORIES) if place.has(_CATEGORIES) else []
    titles = [columns.label, *_KEPT, *(title for title in (columns.group, columns.rank) if title)]
    cells: Cells = {title: [] for title in dict.fromkeys([columns.file, *titles])}
    strange: dict[int, tuple[str, str]] = {}
    first: tuple[str, dict[str, object]] | None = None
    for before, tar in _tars(place):
        regular, others = tar.contents()
        texts = _texts(tar)
        pictures, further = _pictures(tar.in_order())
        for name in pictures:
            key, _ = parted(name)
            more = _json(texts.get((key, _MORE), b"{}"))
            if more is None:
                strange[len(cells[columns.file])] = ("broken", f"its .{_MORE} cannot be read")
            row = _row(place, before, name, more or {}, texts.get((key, _LABEL)), columns, categories)
            label = row.get(columns.label)
            if isinstance(label, list | dict) or not is_valid(str(label)):
                strange[len(cells[columns.file])] = ("refused", "its label is no text")
                row[columns.label] = None
            first = first or (before + name, row)
            for title, values in cells.items():
                values.append(row.get(title))
        for name, why in (further | strangers(regular, others)).items():
            strange[len(cells[columns.file])] = ("refused", why)
            for title, values in cells.items():
                values.append(before + name if title == columns.file else None)
    if first and all(label is None for label in cells[columns.label]):
        name, row = first
        told = ", ".join(repr(title) for title in row if title != columns.file) or "nothing"
        raise SourceError(
            f"{place.called(name)} has no label: there is no .cls beside it, and its .json has {told}: name the right "
            "one by --label-column."
        )
    known = {title: values for title, values in cells.items() if any(value is not None for value in values)}
    return listing_of(
        {columns.file: cells[columns.file], columns.label: cells[columns.label]} | known,
        columns,
        root=place.files.root,
        given=place.given,
        splits=splits_of(str(name) for name in cells[columns.file]),
        set_aside=strange,
        not_images=beside(place),
        notes=archives_beside(place, "the tars", tars_of(place.files.top())),
    )


def beside(place: Place) -> int:
    """Return how many files lie beside the tars of a folder."""
    tars = tars_of(place.files.top())
    return len(place.files.names()) - len(tars) if tars else 0


def tars_of(names: list[str]) -> list[str]:
    """Return the tars among the names at a folder's top; none where there are folders as well."""
    shown = [name for name in names if not name.startswith(".")]
    if any(name.endswith("/") or may_be_image(name) for name in shown):
        return []
    return [name for name in shown if name.lower().endswith(".tar")]


def splits_of(names: Iterator[str]) -> list[str | None]:
    """Return the split of each file by the first word of its tar's name; None for all unless some are for training.

    Where there is another split, tars of other names tell none.
    """
    words = (_FIRST_WORD.match(name.lower()) for name in names)
    found = [SPLITS.get(word[0]) if word else None for word in words]
    told = set(found)
    return found if "train" in told and (None not in told or len(told) > 2) else [None] * len(found)


def is_called_like_a_shard(tar: str) -> bool:
    """Say whether a tar's name is a number, perhaps after words."""
    return _SHARD.fullmatch(posixpath.splitext(tar)[0]) is not None


def parted(name: str) -> tuple[str, str]:
    """Return a member's key and what follows it, as WebDataset has them: parted at the first dot of its last part.

    >>> parted("a.b/000.left.jpg")
    ('a.b/000', 'left.jpg')
    """
    folder, _, last = name.rpartition("/")
    key, _, ending = last.partition(".")
    return posixpath.join(folder, key), ending.lower()


def _tars(place: Place) -> Iterator[tuple[str, Tar]]:
    """Give the tars, each after what its members' names begin with; of a single tar that is nothing."""
    tars = tars_of(place.files.top())
    if not tars:
        yield "", place.files.tar("")
    for name in tars:
        yield f"{name}#", place.files.tar(name)


def _texts(tar: Tar) -> dict[tuple[str, str], bytes]:
    """Return the labels and the JSON of all samples of a tar, by key and ending."""
    wanted = [name for name in tar.in_order() if parted(name)[1] in (_LABEL, _MORE)]
    return {parted(name): data for name, data in tar.read_some(wanted)}


def _pictures(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the pictures of the samples, and those that are set aside, with the reason.

    Of several of a sample those with a plain ending count, if there are such.
    """
    found = [(name, *parted(name)) for name in names if _may_be_picture(name)]
    plain = {key for _, key, ending in found if "." not in ending}
    further = {name: "a further picture of its sample" for name, key, ending in found if key in plain and "." in ending}
    return [name for name, _, _ in found if name not in further], further


def _may_be_picture(name: str) -> bool:
    return may_be_image(name) and parted(name)[1] != _LABEL


def _row(
    place: Place,
    before: str,
    name: str,
    more: dict[str, object],
    label: bytes | None,
    columns: Columns,
    categories: list[str],
) -> dict[str, object]:
    """Return what its `.json` and its `.cls` tell of a picture; of its label perhaps nothing."""
    row = dict(more)
    if row.get(columns.label) is None and label is not None:
        row[columns.label] = _class(place, f"{before}{parted(name)[0]}.{_LABEL}", label, categories)
    return row | {columns.file: before + name}


def _json(data: bytes) -> dict[str, object] | None:
    """Return what a `.json` tells; None where it is damaged."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else {}


def _class(place: Place, name: str, data: bytes, categories: list[str]) -> str:
    text = data.decode("utf-8", "replace").strip()
    if not categories or not text.isdecimal():
        return text
    if int(text) >= len(categories):
        raise SourceError(
            f"{place.called(name)} has the category {text}, but {_CATEGORIES} has {len(categories):,}, from 0 on: add "
            "it."
        )
    return categories[int(text)]
