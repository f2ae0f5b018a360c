"""A matrix of features, written a block at a time."""

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curriculumnet.embedding.matrix import given_rows, write_rows

LARGE = 20_000
"""More rows than are held at a time."""


def written(n, blocks):
    file = io.BytesIO()
    write_rows(file, n, iter(blocks))
    file.seek(0)
    matrix = np.load(file)
    assert file.read() == b""
    return matrix


def values(places, columns):
    """Rows that tell where they belong."""
    places = np.asarray(places, np.int64)
    return (places[:, None] * 10 + np.arange(columns)).astype(np.float32)


@st.composite
def blocks_of_rows(draw):
    """A number of rows, the places of those that are known, where their blocks end, and the number of columns."""
    known = draw(st.lists(st.booleans(), min_size=1, max_size=60).filter(any))
    places = np.flatnonzero(known)
    cuts = draw(st.sets(st.integers(1, len(places) - 1))) if len(places) > 1 else set()
    return len(known), places, sorted(cuts), draw(st.integers(1, 4))


@given(blocks_of_rows())
@example((1, np.array([0]), [], 1))
@example((4, np.array([1, 2]), [1], 3))
def test_rows_are_read_back_at_their_places_and_nan_elsewhere(asked):
    n, places, cuts, columns = asked
    matrix = written(n, ((part, values(part, columns)) for part in np.split(places, cuts)))
    expected = np.full((n, columns), np.nan, np.float32)
    expected[places] = values(places, columns)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, expected)


def test_what_is_not_finite_is_kept():
    rows = np.array([[np.nan, 1], [np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(written(3, [(np.array([0, 2]), rows)])[[0, 2]], rows)


@pytest.mark.parametrize("place", [0, 1, 9_000, LARGE - 1])
def test_gaps_of_any_length_are_filled(place):
    matrix = written(LARGE, [(np.array([place]), values([place], 2))])
    assert matrix.shape == (LARGE, 2)
    np.testing.assert_array_equal(matrix[place], [place * 10, place * 10 + 1])
    assert np.flatnonzero(~np.isnan(matrix).any(axis=1)).tolist() == [place]


def test_rows_that_do_not_lie_together_in_memory_are_written_in_order():
    rows = values([0, 1, 2], 4)
    np.testing.assert_array_equal(written(3, [(np.arange(3), np.asfortranarray(rows))]), rows)
    np.testing.assert_array_equal(written(3, [(np.arange(3), rows.repeat(2, axis=1)[:, ::2])]), rows)


def test_a_large_matrix_is_given_in_order_and_in_parts(tmp_path):
    matrix = values(np.arange(LARGE), 2).astype(np.float64)
    np.save(tmp_path / "large.npy", matrix)
    blocks = list(given_rows(np.load(tmp_path / "large.npy", mmap_mode="r")))
    assert max(len(rows) for _, rows in blocks) < LARGE / 2
    assert {rows.dtype for _, rows in blocks} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate([places for places, _ in blocks]), np.arange(LARGE))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), matrix)
    np.testing.assert_array_equal(written(LARGE, blocks), matrix)


def test_numbers_beyond_float32_become_infinite():
    (_, rows), *others = given_rows(np.array([[1e300, -1e300], [1.5, np.nan]]))
    assert others == []
    np.testing.assert_array_equal(rows, [[np.inf, -np.inf], [1.5, np.nan]])
