"""Matrices of features are opened without being read, and refused in one sentence."""

import re

import numpy as np
import pytest

from curriculumnet.errors import FeaturesError
from curriculumnet.work.matrices import open_matrix

MEND = "make it again"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16"])
def test_a_matrix_is_opened_without_being_read(tmp_path, dtype):
    matrix = np.arange(6).reshape(3, 2).astype(dtype)
    np.save(tmp_path / "own.npy", matrix)
    opened = open_matrix(tmp_path / "own.npy", 3, mend=MEND)
    assert isinstance(opened, np.memmap)
    np.testing.assert_array_equal(opened, matrix)


def test_the_rows_that_are_missing_are_counted(tmp_path):
    np.save(tmp_path / "own.npy", np.zeros((1_000, 2)))
    with pytest.raises(
        FeaturesError, match=r"own\.npy has 1,000 rows, but there are 12,345 images: .*: make it again\.$"
    ):
        open_matrix(tmp_path / "own.npy", 12_345, mend=MEND)


def test_what_is_no_matrix_is_one_sentence(tmp_path):
    path = tmp_path / "own.npy"
    with pytest.raises(FeaturesError, match=rf"{re.escape(str(path))} is not there: make it again\.$"):
        open_matrix(path, 3, mend=MEND)
    np.savez(tmp_path / "several.npz", first=np.zeros((3, 2)))
    for wrong in (b"", b"junk", (tmp_path / "several.npz").read_bytes()):
        path.write_bytes(wrong)
        with pytest.raises(FeaturesError, match=r"own\.npy cannot be read as a \.npy matrix \(.*\): make it again\.$"):
            open_matrix(path, 3, mend=MEND)
    for shape in ((3,), (3, 0), (3, 2, 1)):
        np.save(path, np.zeros(shape))
        with pytest.raises(FeaturesError, match="but features are a matrix of numbers with a row per image"):
            open_matrix(path, 3, mend=MEND)
