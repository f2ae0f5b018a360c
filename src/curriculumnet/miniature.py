"""A crawl in miniature: a small noisy crawl of digits, made by code, of which everything is known.

The demo, the tests and the documentation run on it. It is made of what scikit-learn ships (1,797 scanned digits of
8 × 8 pixels, two photographs), so that nothing is downloaded, and it has what real crawls have: categories of
different sizes, wrong pictures, copies, odd formats and broken files.

Three parts, in this order: a plan (which file shows what), the drawing (a plan and a generator to pixels and bytes),
and the folder (bytes to files, whole or not at all).
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curriculumnet.errors import UsageError, WorkFolderError
from curriculumnet.work.csv_lines import csv_line
from curriculumnet.work.folder import writing

if TYPE_CHECKING:
    from PIL import Image

CATEGORIES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The ten categories; the place of each is the digit that it is named after."""

OUTSIDE = "outside"
"""The true label of a picture that shows no digit, and its kind."""

KINDS = ("right", "confused", OUTSIDE, "broken")

TRUTH_COLUMNS = ("file_name", "label", "true_label", "kind", "copy", "copy_of")

SOURCE_COLUMNS = ("file_name", "digit")

_SETTINGS = "miniature.json"
_VERSION = 1
"""Goes up when the pictures change, so that a folder of the older kind is made anew."""

_TEST_SHARE = 0.3
"""The share of each category's scanned digits that is set aside for the clean test."""

_COPIES = {"exact": 0.02, "near": 0.04}
"""The kinds of copies, and the share of a category's pictures that copies another one of it."""

_LOOK_ALIKES = {0: 6, 1: 7, 2: 7, 3: 8, 4: 9, 5: 3, 6: 0, 7: 1, 8: 3, 9: 4}
"""What a digit is most often taken for; half of the confused pictures of a category show its look-alike."""

_PNG_SHARE = 0.08

_EXTENSIONS = {"jpeg": ".jpg", "png": ".png"}
"""The usual styles of a file and how it is named."""

_ODD = {
    "jpeg named jpeg": (3, ".jpeg"),
    "jpeg named JPG": (2, ".JPG"),
    "jpeg named ashx": (2, ".ashx"),
    "png named jpg": (2, ".jpg"),
    "webp": (3, ".webp"),
    "gif": (3, ".gif"),
    "bmp": (2, ".bmp"),
    "cmyk": (1, ".jpg"),
    "palette": (1, ".png"),
    "16 bits": (1, ".png"),
    "exif-rotated": (1, ".jpg"),
    "tiny": (1, ".png"),
}
"""The odd styles of a readable file, how many there are of each, and how it is named."""

_BROKEN = {"cut": (4, ".jpg"), "empty": (2, ".jpg"), "html": (3, ".jpg")}
"""The ways in which a file is broken, likewise."""

_FEWEST_RIGHT = 3
"""With fewer right pictures in a category there may be no room for the odd files."""

_STALE_AFTER = 3600.0
"""Seconds after which a temporary folder was certainly left by a call that was killed."""

_HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>Not found</body></html>\n"

_NO_IMAGES = {
    "crawl/zero/._0001.jpg": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ",
    "crawl/one/notes.txt": b"Found by searching for the names of the digits.\n",
}
"""A hidden file and a text file, by name."""

_LUMINANCE = np.array([0.299, 0.587, 0.114])

_ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Miniature:
    """A crawl in miniature that lies in a folder.

    Attributes
    ----------
    crawl : Path
        The crawl: a folder per category.
    test : Path
        The clean test pictures: a folder per category.
    truth : Path
        What each picture of the crawl shows, `truth.csv`.
    sources : Path
        Which scanned digit each picture was drawn from, `sources.csv`.
    sizes : dict of str to int
        Readable pictures per category, right or wrong, copies included.
    counts : dict of str to int
        Files of the crawl by kind (`right`, `confused`, `outside`, `broken`), those of them that are copies (`exact`,
        `near`), and the clean test pictures (`test`).
    """

    crawl: Path
    test: Path
    truth: Path
    sources: Path
    sizes: Mapping[str, int]
    counts: Mapping[str, int]


def make_crawl(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    images_per_category: tuple[int, int] = (60, 220),
    noise: float = 1 / 3,
    test_images: int = 500,
) -> Miniature:
    """Make a small noisy crawl with known truth, or take the one that is there.

    ::

        folder/crawl/<category>/NNNN.<ext>    ten categories, zero … nine, of different sizes
        folder/test/<category>/NNNN.png       clean
        folder/truth.csv                      file_name, label, true_label, kind, copy, copy_of: a row per crawl file
        folder/sources.csv                    file_name, digit: a row per picture of a digit, crawl and test
        folder/miniature.json                 the settings it was made with

    A picture is a scanned digit, enlarged with smooth interpolation, turned, sheared and shifted a little, its stroke
    made thicker or thinner, coloured so that it stands out, on a random piece of one of two photographs. Of the
    scanned digits of each category three in ten are set aside first: the clean test is drawn from these, the crawl
    from the others. A scanned digit may be used for several pictures, each with another look.

    The wrong pictures of a category are half digits of other categories (of these half its look-alike, such as seven
    for one) and half pieces of the photographs without a digit. Among its pictures are exact copies, near copies
    (encoded again, trimmed or reduced; a digit is never mirrored), and pictures that another category has too. There
    are odd files (a PNG called .jpg, .ashx, WebP, GIF, BMP, CMYK, palette, 16 bits, EXIF-rotated, 8 × 8 pixels),
    broken ones (cut, empty, HTML called .jpg), a hidden file and a text file; the last two have no row in truth.csv.

    Everything follows from the settings: the same seed gives the same bytes, given the same versions of Pillow and
    numpy. The folder appears whole or not at all.

    Parameters
    ----------
    folder : path-like
        Folder to make. One that was made here with the same settings is taken as it is, one with other settings or
        with files missing is made anew.
    seed : int, default 0
        Seed of everything random.
    images_per_category : (int, int), default (60, 220)
        Fewest and most pictures in a category. Sizes grow by equal factors between the two, 1,250 in all by default;
        which category is large follows from the seed. They count readable pictures, right or wrong, copies and
        odd files included; the 9 broken files come on top.
    noise : float, default 1/3
        Share of wrong pictures in each category, in [0, 1), rounded to whole pictures.
    test_images : int, default 500
        Clean test pictures, spread evenly over the categories.

    Returns
    -------
    Miniature
        Its paths and counts.

    Raises
    ------
    UsageError
        A setting is out of range.
    WorkFolderError
        The folder holds files that were not made here.
    MachineError
        The disk is full or the folder may not be written.

    Examples
    --------
    >>> from curriculumnet.miniature import make_crawl
    >>> made = make_crawl("digits")                                     # doctest: +SKIP
    >>> made.counts["right"] + made.counts["confused"] + made.counts["outside"]  # doctest: +SKIP
    1250
    """
    _check(seed, images_per_category, noise, test_images)
    folder = Path(folder)
    settings: dict[str, Any] = {
        "version": _VERSION,
        "seed": seed,
        "images_per_category": list(images_per_category),
        "noise": noise,
        "test_images": test_images,
    }
    if (found := _find(folder, settings)) is not None:
        return found
    files, made = _make_files(seed, images_per_category, noise, test_images)
    made |= {"settings": settings, "files": sorted(files)}
    files[_SETTINGS] = (json.dumps(made, indent=1) + "\n").encode("utf-8")
    with writing(folder):
        _write_whole(folder, files)
    return _describe(folder, made)


def _check(seed: int, images_per_category: tuple[int, int], noise: float, test_images: int) -> None:
    fewest, most = images_per_category
    if seed < 0:
        raise UsageError(f"seed is {seed}: it must be 0 or more.")
    if fewest > most:
        raise UsageError(f"images_per_category is ({fewest}, {most}): the first number must not exceed the second.")
    if not 0 <= noise < 1:
        raise UsageError(f"noise is {noise}: it must be at least 0 and below 1.")
    if fewest - round(fewest * noise) < _FEWEST_RIGHT:
        raise UsageError(
            f"images_per_category begins at {fewest} and noise is {noise:g}: at least {_FEWEST_RIGHT} right pictures "
            "must be left in each category, so ask for more images or less noise."
        )
    if test_images < len(CATEGORIES):
        raise UsageError(f"test_images is {test_images}: it must be {len(CATEGORIES)} or more, one per category.")


# -- the plan: which file shows what ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One file of the crawl as planned.

    `shows` is the digit that it shows (None: no digit), `digit` the row of the scanned digit that it is drawn from,
    `style` how it is encoded or broken, `original` the place in the plan of what it is a copy of.
    """

    category: int
    kind: str
    shows: int | None
    digit: int | None = None
    style: str = "jpeg"
    copy: str = ""
    original: int | None = None


def _sizes(rng: np.random.Generator, fewest: int, most: int) -> list[int]:
    """Return a size per category, growing by equal factors, in a random order."""
    grown = np.geomspace(fewest, most, len(CATEGORIES)).round().astype(int)
    return [int(n) for n in rng.permutation(grown)]


def _split_digits(rng: np.random.Generator, shown: npt.NDArray[np.int64]) -> tuple[list[list[int]], list[list[int]]]:
    """Return, per category, the rows of the scanned digits for the crawl and for the test, both in random order."""
    crawl, test = [], []
    for category in range(len(CATEGORIES)):
        rows = rng.permutation(np.flatnonzero(shown == category)).tolist()
        cut = round(len(rows) * _TEST_SHARE)
        test.append(rows[:cut])
        crawl.append(rows[cut:])
    return crawl, test


def _plan(rng: np.random.Generator, sizes: Sequence[int], noise: float, digits: Sequence[list[int]]) -> list[_Entry]:
    """Decide what each file of the crawl is, category by category, the broken files last."""
    endless = [itertools.cycle(rows) for rows in digits]
    entries = [entry for c, size in enumerate(sizes) for entry in _category_entries(rng, c, size, noise)]
    entries = [e if e.shows is None else replace(e, digit=next(endless[e.shows])) for e in entries]
    entries = _with_odd_files(rng, entries)
    entries = _with_copies(rng, entries)
    return entries + _broken_files(rng, endless)


def _category_entries(rng: np.random.Generator, category: int, size: int, noise: float) -> list[_Entry]:
    """Return one category's entries, right and wrong, in random order."""
    wrong = round(size * noise)
    # The odd one of an odd number of wrong pictures may go to either side, or one side would win in every category.
    confused = (wrong + int(rng.integers(2))) // 2
    alike = (confused + 1) // 2
    others = [c for c in range(len(CATEGORIES)) if c not in (category, _LOOK_ALIKES[category])]
    shown = [_LOOK_ALIKES[category]] * alike + rng.choice(others, confused - alike).tolist()
    made = [_Entry(category, "right", category)] * (size - wrong)
    made += [_Entry(category, "confused", shows) for shows in shown]
    made += [_Entry(category, OUTSIDE, None)] * (wrong - confused)
    is_png = rng.random(size) < _PNG_SHARE
    return [replace(made[i], style="png" if is_png[i] else "jpeg") for i in rng.permutation(size).tolist()]


def _with_copies(rng: np.random.Generator, entries: list[_Entry]) -> list[_Entry]:
    """Turn some entries into copies of others.

    A copy shows what the entry showed, so that no category's share of wrong pictures changes. An original is never
    itself a copy, and odd files are neither. In a very small crawl there may be fewer copies than wanted.
    """
    made = list(entries)
    originals: set[int] = set()

    def add(copy: str, candidates: Sequence[int], from_other_category: bool) -> None:
        """Turn the first of the candidates, in random order, for which there is an original."""
        for place in rng.permutation(candidates).tolist():
            if not _can_be_copied(made[place]) or place in originals:
                continue
            fitting = [i for i, e in enumerate(made) if i != place and _fits(e, made[place], from_other_category)]
            if fitting:
                original = int(rng.choice(fitting))
                originals.add(original)
                made[place] = _copied(made[place], made[original], original, copy)
                return

    for category in range(len(CATEGORIES)):
        own = [i for i, e in enumerate(made) if e.category == category]
        for copy, share in _COPIES.items():
            for _ in range(max(1, round(len(own) * share))):
                add(copy, own, from_other_category=False)
        for kind in ("confused", OUTSIDE):
            add("exact", [i for i in own if made[i].kind == kind], from_other_category=True)
    return made


def _can_be_copied(entry: _Entry) -> bool:
    return entry.style in _EXTENSIONS and not entry.copy


def _fits(original: _Entry, entry: _Entry, from_other_category: bool) -> bool:
    """Whether the one can be the original of the other; in its own category it is right, or no digit at all."""
    if (original.category != entry.category) != from_other_category:
        return False
    if from_other_category and original.kind == "confused":
        return False
    return original.shows == entry.shows and _can_be_copied(original)


def _copied(entry: _Entry, original: _Entry, place: int, copy: str) -> _Entry:
    style = original.style if copy == "exact" else "jpeg"
    return replace(entry, copy=copy, original=place, digit=original.digit, style=style)


def _with_odd_files(rng: np.random.Generator, entries: list[_Entry]) -> list[_Entry]:
    """Give odd styles to some right pictures."""
    made = list(entries)
    right = [i for i, e in enumerate(made) if e.kind == "right"]
    styles = [style for style, (count, _) in _ODD.items() for _ in range(count)]
    for place, style in zip(rng.choice(right, len(styles), replace=False).tolist(), styles, strict=True):
        made[place] = replace(made[place], style=style)
    return made


def _broken_files(rng: np.random.Generator, endless: Sequence[Iterator[int]]) -> list[_Entry]:
    """Return the broken files, each in another category; only a cut one was once a digit."""
    styles = [style for style, (count, _) in _BROKEN.items() for _ in range(count)]
    made = []
    for category, style in zip(rng.choice(len(CATEGORIES), len(styles), replace=False).tolist(), styles, strict=True):
        if style == "cut":
            made.append(_Entry(category, "broken", category, next(endless[category]), style))
        else:
            made.append(_Entry(category, "broken", None, None, style))
    return made


def _crawl_names(rng: np.random.Generator, entries: Sequence[_Entry]) -> list[str]:
    """Return each entry's name in the folder; a category's numbers are dealt out at random, like ranks of a search."""
    odd = {style: extension for style, (_, extension) in (_ODD | _BROKEN).items()}
    extensions = _EXTENSIONS | odd
    names = [""] * len(entries)
    for c, category in enumerate(CATEGORIES):
        places = [i for i, e in enumerate(entries) if e.category == c]
        for number, place in enumerate(rng.permutation(places).tolist(), start=1):
            names[place] = f"crawl/{category}/{number:04d}{extensions[entries[place].style]}"
    return names


def _test_names(digits: Sequence[list[int]], test_images: int) -> Iterator[tuple[str, int]]:
    """Yield the name and the scanned digit of each clean test picture."""
    for c, (category, rows) in enumerate(zip(CATEGORIES, digits, strict=True)):
        share = test_images // len(CATEGORIES) + (c < test_images % len(CATEGORIES))
        for number, digit in enumerate(itertools.islice(itertools.cycle(rows), share), start=1):
            yield f"test/{category}/{number:04d}.png", digit


def _truth(names: Sequence[str], entries: Sequence[_Entry]) -> list[tuple[str, ...]]:
    """Return the rows of truth.csv, in the order of the names."""
    rows = []
    for name, entry in zip(names, entries, strict=True):
        true_label = OUTSIDE if entry.shows is None else CATEGORIES[entry.shows]
        copy_of = "" if entry.original is None else names[entry.original]
        rows.append((name, CATEGORIES[entry.category], true_label, entry.kind, entry.copy, copy_of))
    return sorted(rows)


# -- the drawing: from a plan to pixels and bytes ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Material:
    """What pictures are made of: `digits` (n, 8, 8) in 0 … 255, the digit that each shows, and the photographs."""

    digits: npt.NDArray[np.uint8]
    shown: npt.NDArray[np.int64]
    photographs: tuple[Image.Image, ...]


def _load_material() -> _Material:
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_images

    scanned = load_digits()
    photographs = tuple(Image.fromarray(picture) for picture in load_sample_images().images)
    digits = (scanned.images * (255 / 16)).round().astype(np.uint8)
    return _Material(digits, scanned.target.astype(np.int64), photographs)


def _make_files(
    seed: int, images_per_category: tuple[int, int], noise: float, test_images: int
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return every file's bytes by its name in the folder, and the sizes and counts."""
    material = _load_material()
    planning, drawing, testing = np.random.default_rng(seed).spawn(3)
    sizes = _sizes(planning, *images_per_category)
    for_crawl, for_test = _split_digits(planning, material.shown)
    entries = _plan(planning, sizes, noise, for_crawl)
    names = _crawl_names(planning, entries)
    files = dict(zip(names, _draw_crawl(drawing, entries, material), strict=True))
    tests = list(_test_names(for_test, test_images))
    for (name, digit), rng in zip(tests, testing.spawn(len(tests)), strict=True):
        files[name] = _encode(_draw(rng, material, digit), "png", rng)
    drawn_from = [(name, e.digit) for name, e in zip(names, entries, strict=True) if e.digit is not None] + tests
    files |= _NO_IMAGES
    files["truth.csv"] = _csv(TRUTH_COLUMNS, _truth(names, entries))
    files["sources.csv"] = _csv(SOURCE_COLUMNS, sorted(drawn_from))
    kinds, copies = Counter(e.kind for e in entries), Counter(e.copy for e in entries)
    counts = {kind: kinds[kind] for kind in KINDS} | {copy: copies[copy] for copy in _COPIES}
    made = {"sizes": dict(zip(CATEGORIES, sizes, strict=True)), "counts": counts | {"test": test_images}}
    return files, made


def _draw_crawl(rng: np.random.Generator, entries: Sequence[_Entry], material: _Material) -> list[bytes]:
    """Return the bytes of each entry's file."""
    generators = rng.spawn(len(entries))
    drawn = [b""] * len(entries)
    for place in sorted(range(len(entries)), key=lambda i: entries[i].original is not None):
        entry, own = entries[place], generators[place]
        if entry.original is None:
            drawn[place] = _draw_file(own, entry, material)
        elif entry.copy == "exact":
            drawn[place] = drawn[entry.original]
        else:
            drawn[place] = _near_copy(own, drawn[entry.original])
    return drawn


def _draw_file(rng: np.random.Generator, entry: _Entry, material: _Material) -> bytes:
    """Return the bytes of a file that is no copy."""
    from PIL import Image

    if entry.style == "empty":
        return b""
    if entry.style == "html":
        return _HTML
    if entry.style == "tiny":
        return _encode(Image.fromarray(material.digits[entry.digit]).convert("RGB"), "png", rng)
    return _encode(_draw(rng, material, entry.digit), entry.style, rng)


def _draw(rng: np.random.Generator, material: _Material, digit: int | None) -> Image.Image:
    """Return a picture of the scanned digit in that row, or of no digit."""
    from PIL import Image

    width, height = _picture_size(rng)
    pixels = _ground(rng, material.photographs, width, height)
    if digit is not None:
        stroke = _stroke(rng, material.digits[digit], width, height)
        covered = (rng.uniform(0.85, 1.0) * stroke)[..., None]
        pixels = pixels * (1 - covered) + _ink(rng, pixels, stroke) * covered
    pixels = pixels + rng.normal(0.0, rng.uniform(0.0, 6.0), pixels.shape)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _picture_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return width and height in pixels, each in 56 … 96; two in five pictures are square."""
    width = int(rng.integers(56, 97))
    height = width if rng.random() < 0.4 else round(width * float(np.exp(rng.uniform(-0.25, 0.25))))
    return width, min(max(height, 56), 96)


def _ground(rng: np.random.Generator, photographs: Sequence[Image.Image], width: int, height: int) -> Floats:
    """Return a random piece of a photograph, its contrast limited so that a digit can be read on it."""
    from PIL import Image

    photograph = photographs[int(rng.integers(len(photographs)))]
    reduced = min(rng.uniform(0.8, 3.0), photograph.width / width, photograph.height / height)
    left = rng.uniform(0, photograph.width - width * reduced)
    top = rng.uniform(0, photograph.height - height * reduced)
    box = (left, top, left + width * reduced, top + height * reduced)
    pixels = np.asarray(photograph.resize((width, height), Image.Resampling.BICUBIC, box), np.float64)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    mean: Floats = pixels.mean((0, 1))
    spread = float((pixels @ _LUMINANCE).std())
    return mean + (pixels - mean) * min(1.0, rng.uniform(8, 22) / max(spread, 1.0))


def _stroke(rng: np.random.Generator, digit: npt.NDArray[np.uint8], width: int, height: int) -> Floats:
    """Return how much of each pixel the digit's stroke covers, (height, width) in [0, 1]."""
    from PIL import Image

    margin = 2
    scan = Image.fromarray(np.pad(_sharpened(digit), margin).astype(np.float32))
    turned, sheared = math.radians(rng.uniform(-8, 8)), rng.uniform(-0.1, 0.1)
    side = min(width, height)
    cell = side * rng.uniform(0.75, 0.9) / digit.shape[0]
    stretched = math.exp(rng.uniform(-0.06, 0.06))
    turn = np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]])
    shape = np.array([[cell * stretched, cell * sheared], [0.0, cell / stretched]])
    back = np.linalg.inv(turn @ shape)
    centre = np.array([width, height]) / 2 + rng.uniform(-0.04, 0.04, 2) * side
    start = np.full(2, digit.shape[0] / 2 + margin) - back @ centre
    coefficients = (back[0, 0], back[0, 1], start[0], back[1, 0], back[1, 1], start[1])
    smooth = scan.transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    grown = np.asarray(smooth, np.float64) / 255
    threshold, softness = rng.uniform(0.34, 0.54), rng.uniform(0.15, 0.3)
    return ((grown - threshold) / softness + 0.5).clip(0, 1)


def _sharpened(digit: npt.NDArray[np.uint8]) -> Floats:
    """Return the scan, (8, 8), with every cell set off from the mean of its neighbourhood.

    Without that a threshold either fills the holes of eights or breaks the faint side of zeros.
    """
    around = np.pad(digit.astype(np.float64), 1, mode="edge")
    rows = around[:-2] + around[1:-1] + around[2:]
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return digit + 0.8 * (digit - mean)


def _ink(rng: np.random.Generator, pixels: Floats, stroke: Floats) -> Floats:
    """Return a random colour whose luminance stands out against what the stroke covers."""
    behind = float((pixels @ _LUMINANCE * stroke).sum() / max(stroke.sum(), 1.0))
    step = rng.uniform(100, 150)
    lighter = rng.random() < 0.5 if step < behind < 255 - step else behind < 127.5
    wanted = min(max(behind + (step if lighter else -step), 0.0), 255.0)
    colour: Floats = rng.uniform(0, 255, 3)
    for _ in range(8):  # what is clipped in one channel is made up for by the others
        colour = (colour + wanted - colour @ _LUMINANCE).clip(0, 255)
    return colour


def _encode(picture: Image.Image, style: str, rng: np.random.Generator) -> bytes:
    """Return the picture as a file of that style."""
    from PIL import Image

    quality = int(rng.integers(60, 96))
    if style in ("png", "png named jpg"):
        return _saved(picture, "PNG")
    if style == "palette":
        return _saved(picture.quantize(48), "PNG")
    if style == "16 bits":
        grey = np.asarray(picture.convert("L"), np.uint16)
        return _saved(Image.fromarray(grey * 257), "PNG")
    if style == "gif":
        return _saved(picture.quantize(96), "GIF")
    if style == "bmp":
        return _saved(picture, "BMP")
    if style == "webp":
        return _saved(picture, "WEBP", quality=quality)
    if style == "cmyk":
        return _saved(picture.convert("CMYK"), "JPEG", quality=quality)
    if style == "exif-rotated":
        exif = Image.Exif()
        exif[_ORIENTATION] = 6  # shown after a quarter turn to the right, so stored after one to the left
        return _saved(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=quality, exif=exif)
    data = _saved(picture, "JPEG", quality=quality)
    return data[: round(len(data) * rng.uniform(0.55, 0.8))] if style == "cut" else data


def _near_copy(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the picture trimmed, reduced or left as it is, and encoded anew; never mirrored."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    way = int(rng.integers(3))
    if way == 0:
        left, top, right, bottom = (int(n) for n in rng.integers(1, 4, 4))
        picture = picture.crop((left, top, picture.width - right, picture.height - bottom))
    elif way == 1:
        scale = rng.uniform(0.85, 0.95)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return _saved(picture, "JPEG", quality=int(rng.integers(45, 80)))


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    return b"".join(map(csv_line, (columns, *rows)))


# -- the folder: whole or not at all ----------------------------------------------------------------------------------


def _find(folder: Path, settings: Mapping[str, Any]) -> Miniature | None:
    """Return the crawl that lies in the folder if it has these settings and no file of it is missing.

    Raises
    ------
    WorkFolderError
        The folder holds something that was not made here.
    """
    marker = folder / _SETTINGS
    if not marker.is_file():
        if folder.is_file():
            raise WorkFolderError(f"{folder} is a file: give the name of a new folder.")
        if folder.is_dir() and any(folder.iterdir()):
            raise WorkFolderError(f"{folder} holds other files: give the name of a new folder.")
        return None
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
        whole = found["settings"] == settings and all((folder / name).is_file() for name in found["files"])
        return _describe(folder, found) if whole else None
    except (ValueError, KeyError, TypeError):
        return None


def _describe(folder: Path, made: Mapping[str, Any]) -> Miniature:
    return Miniature(
        crawl=folder / "crawl",
        test=folder / "test",
        truth=folder / "truth.csv",
        sources=folder / "sources.csv",
        sizes=dict(made["sizes"]),
        counts=dict(made["counts"]),
    )


def _write_whole(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a folder beside the wanted one, which then takes its name."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _delete_stale(folder)
    temporary, replaced = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("making", "replaced"))
    try:
        for name, data in files.items():
            path = temporary.joinpath(*name.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
    finally:
        for left in (temporary, replaced):
            shutil.rmtree(left, ignore_errors=True)


def _delete_stale(folder: Path) -> None:
    """Delete what calls that were killed have left beside the folder."""
    for word in ("making", "replaced"):
        for left in folder.parent.iterdir():
            killed = left.name.startswith(f".{folder.name}.{word}-")
            if killed and time.time() - left.stat().st_mtime > _STALE_AFTER:
                shutil.rmtree(left, ignore_errors=True)
