"""The sample of a picture: what lies where, in the mirror as well."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.images.sampling import SAMPLES, sampled


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_samples_are_evenly_spread_pixels_and_those_of_the_mirror_image_the_mirrored_ones(height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = sampled(pixels)
    assert found.dtype == np.float32
    assert found.shape == (3, SAMPLES, SAMPLES)
    assert found.flags.c_contiguous
    # Of the first half of each side; the second follows from the mirror images.
    rows, columns = ((2 * np.arange(SAMPLES // 2) + 1) * side // (2 * SAMPLES) for side in (height, width))
    np.testing.assert_array_equal(found[:, : SAMPLES // 2, : SAMPLES // 2], pixels[rows][:, columns].transpose(2, 1, 0))
    np.testing.assert_array_equal(sampled(pixels[:, ::-1]), found[:, ::-1])
    np.testing.assert_array_equal(sampled(pixels[::-1]), found[:, :, ::-1])
