import hashlib
import io
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from curriculumnet.images import duplicates
from curriculumnet.images.decode import decode
from curriculumnet.images.duplicates import (
    NEAR_RADIUS,
    TooManyPairs,
    byte_digest,
    first_match,
    first_of_each,
    in_several_categories,
    mirrored,
    near_groups,
    near_pairs,
    perceptual_hash,
    perceptual_hashes,
    pixel_digest,
    same_hashes,
)
from curriculumnet.images.sampling import sampled

rows = st.lists(st.tuples(st.integers(-3, 4), st.integers(0, 2)), max_size=30)


def test_digests_are_of_sixteen_bytes_and_tell_pictures_apart() -> None:
    assert byte_digest(b"abc") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    wide, high = np.full((2, 6, 3), 7, np.uint8), np.full((6, 2, 3), 7, np.uint8)
    assert pixel_digest(wide) == pixel_digest(wide.copy())
    # The same bytes of pixels in another shape are another picture.
    assert wide.tobytes() == high.tobytes()
    assert pixel_digest(wide) != pixel_digest(high)
    assert len(pixel_digest(wide)) == 32


@given(rows)
def test_first_of_each_is_what_a_loop_finds(pairs: list[tuple[int, int]]) -> None:
    picture, category = (np.array([pair[place] for pair in pairs], dtype=np.int64) for place in (0, 1))
    assert first_of_each(picture, category).tolist() == [pairs.index(pair) for pair in pairs]


@given(rows)
def test_conflicts_are_what_a_loop_finds(pairs: list[tuple[int, int]]) -> None:
    picture, category = (np.array([pair[place] for pair in pairs], dtype=np.int64) for place in (0, 1))
    expected = [any(p == q and c != d for q, d in pairs) for p, c in pairs]
    assert in_several_categories(picture, category).tolist() == expected


@given(st.lists(st.integers(-3, 4), max_size=20), st.lists(st.integers(-3, 4), max_size=20))
def test_first_match_is_what_a_loop_finds(pictures: list[int], among: list[int]) -> None:
    expected = [among.index(p) if p in among else -1 for p in pictures]
    assert first_match(np.array(pictures, dtype=np.int64), np.array(among, dtype=np.int64)).tolist() == expected


def photographs() -> list[NDArray[np.uint8]]:
    """Two photographs and their quarters: ten different pictures of odd and even sizes."""
    pictures = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    return [
        part
        for whole in pictures
        for part in (whole, whole[:213, :319], whole[:213, 321:], whole[214:, :320], whole[214:, 320:])
    ]


def encoded(pixels: NDArray[np.uint8], *, scale: float = 1.0, quality: int = 75) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return decode(data.getvalue())


def cropped(pixels: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    top, left = round(height * share / 2), round(width * share / 2)
    return pixels[top : height - top, left : width - left]


@pytest.mark.parametrize(
    ("least", "change"),
    [
        pytest.param(10, lambda pixels: encoded(pixels, quality=40), id="encoded again"),
        pytest.param(10, lambda pixels: encoded(pixels, scale=0.4), id="smaller"),
        pytest.param(10, lambda pixels: encoded(pixels, scale=1.7), id="larger"),
        pytest.param(10, lambda pixels: encoded((255 * (pixels / 255) ** 1.3).astype(np.uint8)), id="darker"),
        pytest.param(10, lambda pixels: encoded(pixels[:, ::-1], scale=0.7), id="mirrored"),
        pytest.param(9, lambda pixels: encoded(cropped(pixels, 0.05), scale=0.7), id="cropped by 5 %"),
        pytest.param(9, lambda pixels: encoded(cropped(pixels[:, ::-1], 0.09)), id="mirrored and cropped by 9 %"),
        pytest.param(9, lambda pixels: encoded(np.pad(pixels, ((6, 6), (9, 9), (0, 0)))), id="framed"),
    ],
)
def test_changed_photographs_are_found_and_different_ones_are_not(
    least: int, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    originals = photographs()
    hashes = np.array([perceptual_hashes(pixels) for pixels in [*originals, *map(change, originals)]])
    n = len(originals)
    group = near_groups(2 * n, near_pairs(hashes, NEAR_RADIUS, mirrored=True), same=same_hashes(hashes))
    assert all(group[row] in (-1, row % n) for row in range(2 * n))
    assert (group[n:] >= 0).sum() >= least


def test_hash_of_the_mirrored_photograph_is_the_mirrored_hash() -> None:
    for pixels in photographs():
        for size in ((64, 64), (211, 333), (96, 97), (192, 384), (11, 500)):
            part = pixels[: size[0], : size[1]]
            hashes = perceptual_hashes(part)
            assert hashes.dtype == np.uint64
            assert hashes.shape == (2,)
            assert hashes.all()
            assert perceptual_hashes(part[:, ::-1]).tolist() == mirrored(hashes).tolist()
            assert mirrored(mirrored(hashes)).tolist() == hashes.tolist()
            assert perceptual_hash(part) == hashes[0]


def test_hash_of_the_centre_is_the_hash_of_a_picture_that_shows_only_this() -> None:
    for pixels in photographs():
        whole, centre = perceptual_hashes(pixels), perceptual_hash(cropped(pixels, 8 / 96))
        assert np.bitwise_count(whole[1] ^ centre) <= 4


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 255))
def test_flat_pictures_have_no_hash(height: int, width: int, grey: int) -> None:
    assert perceptual_hashes(np.full((height, width, 3), grey, np.uint8)).tolist() == [0, 0]
    assert perceptual_hashes(encoded(np.full((height, width, 3), grey, np.uint8))).tolist() == [0, 0]


def test_hash_does_not_depend_on_the_layout_in_memory() -> None:
    pixels = photographs()[1]
    assert perceptual_hash(np.asfortranarray(pixels)) == perceptual_hash(pixels.copy())


def test_a_sample_at_hand_gives_the_same_hashes() -> None:
    for pixels in photographs():
        assert perceptual_hashes(pixels, sampled(pixels)).tolist() == perceptual_hashes(pixels).tolist()


def near_by_brute_force(hashes: NDArray[np.uint64], radius: int, *, mirror: bool) -> list[list[int]]:
    """All pairs, of rows that are the first with their hashes, one hash of which is near one of the other."""
    columns = hashes.reshape(len(hashes), -1)
    kept = np.flatnonzero(same_hashes(hashes) == np.arange(len(hashes)))
    near = np.zeros((len(kept), len(kept)), dtype=np.bool_)
    for mine in columns[kept].T:
        for other in columns[kept].T:
            for seen in (other, mirrored(other))[: 1 + mirror]:
                within = np.bitwise_count(mine[:, None] ^ seen[None, :]) <= radius
                near |= within & (mine != 0)[:, None] & (other != 0)[None, :]
    return [[int(kept[i]), int(kept[j])] for i, j in np.argwhere(np.triu(near, 1))]


bits = st.integers(0, 63).map(lambda bit: 1 << bit)


@st.composite
def clustered(draw: st.DrawFn) -> NDArray[np.uint64]:
    """Hashes around a few others, some mirrored, some flat, with one or two per row."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    columns = draw(st.integers(1, 2))
    flips = draw(st.lists(st.tuples(st.sampled_from(centres), st.lists(bits, max_size=6), st.booleans()), max_size=40))
    values = [np.bitwise_xor.reduce(np.array([centre, *changed], dtype=np.uint64)) for centre, changed, _ in flips]
    values = [mirrored(value) if turned else value for value, (_, _, turned) in zip(values, flips, strict=True)]
    hashes = np.array([*values, 0, 0], dtype=np.uint64)
    hashes = hashes[: len(hashes) // columns * columns]
    return hashes if columns == 1 else hashes.reshape(-1, columns)


@settings(max_examples=150)
@given(clustered(), st.integers(0, 20), st.booleans(), st.booleans())
def test_pairs_are_those_of_brute_force_by_either_search(
    hashes: NDArray[np.uint64], radius: int, mirror: bool, many: bool
) -> None:
    with patch.object(duplicates, "_BRUTE", 0 if many else 1000):
        pairs = near_pairs(hashes, radius, mirrored=mirror)
    assert pairs.dtype == np.int64
    assert pairs.shape[1:] == (2,)
    assert pairs.tolist() == near_by_brute_force(hashes, radius, mirror=mirror)


@pytest.mark.parametrize(("radius", "mirror"), [(0, True), (3, False), (NEAR_RADIUS, True), (9, False)])
def test_pairs_are_those_of_brute_force_among_twenty_thousand(radius: int, mirror: bool) -> None:
    generator = np.random.default_rng(radius)
    hashes = generator.integers(0, 2**64, 20_001, dtype=np.uint64)
    # Clusters of a few dozen, up to ten bits from their centre, some of them mirrored; and many equal ones.
    member = generator.permutation(len(hashes))[:4000]
    value = hashes[generator.integers(0, 100, len(member))]
    for _ in range(10):
        bit = np.uint64(1) << generator.integers(0, 64, len(member), dtype=np.uint64)
        value ^= np.where(generator.random(len(member)) < 0.4, bit, np.uint64(0))
    hashes[member] = np.where(generator.random(len(member)) < 0.3, mirrored(value), value)
    hashes[generator.integers(0, len(hashes), 300)] = hashes[:300]

    first = same_hashes(hashes) == np.arange(len(hashes))
    expected = []
    for row in np.flatnonzero(first):
        different = hashes[row] ^ hashes
        near = np.bitwise_count(different) <= radius
        if mirror:
            near |= np.bitwise_count(mirrored(different)) <= radius
        expected += [(row, other) for other in np.flatnonzero(near & first) if other > row]
    assert near_pairs(hashes, radius, mirrored=mirror).tolist() == [list(pair) for pair in expected]
    assert len(expected) > 100 or radius == 0


def test_equal_and_flat_hashes_make_no_pairs() -> None:
    hashes = np.repeat(np.array([0, 5, 7, 1 << 60], dtype=np.uint64), 30_000)
    pairs = near_pairs(hashes, 3)
    assert pairs.tolist() == [[30_000, 60_000], [30_000, 90_000]]
    same = same_hashes(hashes)
    assert same[:30_000].tolist() == list(range(30_000))
    group = near_groups(len(hashes), pairs, same=same)
    assert set(group[:30_000]) == {-1}
    assert set(group[30_000:90_000]) == {30_000}
    assert set(group[90_000:]) == {90_000}


def test_pairs_of_nothing_and_of_one() -> None:
    for count in (0, 1):
        assert near_pairs(np.ones(count, np.uint64), 5).shape == (0, 2)
        assert near_pairs(np.ones((count, 2), np.uint64), 5).shape == (0, 2)
        assert near_groups(count, np.zeros((0, 2), np.int64)).tolist() == [-1] * count


@pytest.mark.parametrize("radius", [-1, 64])
def test_radius_out_of_range_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=f"radius is {radius}: it must be at least 0 and below 64"):
        near_pairs(np.ones(3, np.uint64), radius)


def alike(n: int, seed: int = 0) -> np.ndarray:
    """Different hashes that are all within 6 bits of each other."""
    rng = np.random.default_rng(seed)
    flipped = np.argsort(rng.random((n, 64)), axis=1)[:, :3].astype(np.uint64)
    found: np.ndarray = np.unique(np.uint64(0x123456789ABCDEF) ^ (np.uint64(1) << flipped).sum(axis=1, dtype=np.uint64))
    return found


@pytest.mark.parametrize("n", [300, 30_000])
def test_too_many_pairs_are_refused_before_they_take_memory(n: int) -> None:
    hashes = alike(n)
    tracemalloc.start()
    try:
        with pytest.raises(TooManyPairs):
            near_pairs(hashes, 6, mirrored=True, most=40_000)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    assert len(near_pairs(alike(200), 6, most=20_000)) == len(alike(200)) * (len(alike(200)) - 1) // 2


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[int], list[int]]:
    """Rows, pairs of them, their sizes, and which are the same."""
    n = draw(st.integers(1, 12))
    row = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(row, row).filter(lambda pair: pair[0] != pair[1]), max_size=40))
    kinds = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    sizes = draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    return n, pairs, sizes, [kinds.index(kind) for kind in kinds]


def arrays(pairs: list[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=300)
@given(graphs(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_every_two_of_a_group_are_near_and_the_largest_stands_for_it(
    graph: tuple[int, list[tuple[int, int]], list[int], list[int]], sized: bool, some_same: bool, random: object
) -> None:
    n, pairs, sizes, same = graph
    same = same if some_same else list(range(n))
    size = sizes if sized else [1] * n
    given_ = {"same": np.array(same), "size": np.array(sizes) if sized else None}
    group = near_groups(n, arrays(pairs), **given_).tolist()

    near = {frozenset((same[i], same[j])) for i, j in pairs} | {frozenset((i,)) for i in same}
    members = {leader: [row for row in range(n) if group[row] == leader] for leader in set(group) - {-1}}
    for leader, rows_ in members.items():
        assert len(rows_) > 1
        assert leader == min(rows_, key=lambda row: (-size[row], row))
        assert all(frozenset((same[i], same[j])) in near for i in rows_ for j in rows_)
    # No two that are alone could have been a group.
    alone = [row for row in range(n) if group[row] == -1]
    assert not any(frozenset((same[i], same[j])) in near for i in alone for j in alone if i != j)

    shuffled = [pair[:: random.choice((1, -1))] for pair in pairs]  # type: ignore[attr-defined]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert near_groups(n, arrays([*shuffled, *pairs]), **given_).tolist() == group


def test_a_chain_is_no_group() -> None:
    assert near_groups(5, arrays([(0, 1), (1, 2), (2, 3), (3, 4)])).tolist() == [0, 0, 2, 2, -1]
    size = np.array([1, 9, 1, 1, 1])
    assert near_groups(5, arrays([(0, 1), (1, 2), (2, 3), (3, 4)]), size=size).tolist() == [1, 1, 2, 2, -1]


def test_importing_does_not_load_the_compiler() -> None:
    code = "import sys, curriculumnet.images.duplicates; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
