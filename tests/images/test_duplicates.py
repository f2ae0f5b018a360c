import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curriculumnet.images.duplicates import (
    byte_digest,
    first_match,
    first_of_each,
    in_several_categories,
    pixel_digest,
)

rows = st.lists(st.tuples(st.integers(-3, 4), st.integers(0, 2)), max_size=30)


def test_digests_are_of_sixteen_bytes_and_tell_pictures_apart() -> None:
    assert byte_digest(b"abc") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()
    wide, high = Image.new("RGB", (6, 2), "red"), Image.new("RGB", (2, 6), "red")
    assert pixel_digest(wide) == pixel_digest(Image.new("RGB", (6, 2), "red"))
    # The same bytes of pixels in another shape are another picture.
    assert wide.tobytes() == high.tobytes()
    assert pixel_digest(wide) != pixel_digest(high)
    assert len(pixel_digest(wide)) == 32


@settings(deadline=None)
@given(rows)
def test_first_of_each_is_what_a_loop_finds(pairs: list[tuple[int, int]]) -> None:
    picture, category = (np.array([pair[place] for pair in pairs], dtype=np.int64) for place in (0, 1))
    assert first_of_each(picture, category).tolist() == [pairs.index(pair) for pair in pairs]


@settings(deadline=None)
@given(rows)
def test_conflicts_are_what_a_loop_finds(pairs: list[tuple[int, int]]) -> None:
    picture, category = (np.array([pair[place] for pair in pairs], dtype=np.int64) for place in (0, 1))
    expected = [any(p == q and c != d for q, d in pairs) for p, c in pairs]
    assert in_several_categories(picture, category).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(-3, 4), max_size=20), st.lists(st.integers(-3, 4), max_size=20))
def test_first_match_is_what_a_loop_finds(pictures: list[int], among: list[int]) -> None:
    expected = [among.index(p) if p in among else -1 for p in pictures]
    assert first_match(np.array(pictures, dtype=np.int64), np.array(among, dtype=np.int64)).tolist() == expected
