"""Scores of picture quality: what they fall with, and that they stay between 0 and 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from curriculumnet.images.quality import SCORES, odd_size, quality
from curriculumnet.images.sampling import sampled


def scores(image):
    return dict(zip(SCORES, quality(np.asarray(image)).tolist(), strict=True))


@pytest.fixture(scope="module", params=["china.jpg", "flower.jpg"])
def photo(request):
    return Image.fromarray(load_sample_image(request.param))


def test_a_good_photograph_scores_well(photo):
    found = scores(photo)
    assert min(found["dark"], found["bright"], found["low_information"]) > 0.5
    assert found["blurry"] > 0.3
    assert found["greyscale"] == 1
    assert found["odd_aspect_ratio"] == pytest.approx(427 / 640)


@pytest.mark.parametrize("score", ["dark", "bright", "blurry", "low_information"])
def test_a_score_falls_as_the_picture_gets_worse(photo, score):
    worse = {
        "dark": lambda part: photo.point(lambda value: round(value * (1 - part))),
        "bright": lambda part: photo.point(lambda value: round(255 - (255 - value) * (1 - part))),
        "blurry": lambda part: photo.filter(ImageFilter.GaussianBlur(8 * part)),
        "low_information": lambda part: photo.quantize(max(1, round(64 ** (1 - part)))).convert("RGB"),
    }[score]
    found = [scores(worse(part))[score] for part in (0, 0.3, 0.6, 0.98)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.2
    assert found[0] > found[-1] + 0.2


def test_grey_pictures_have_no_colour_even_when_compressed(photo, tmp_path):
    photo.convert("L").convert("RGB").save(tmp_path / "grey.jpg", quality=40)
    assert scores(Image.open(tmp_path / "grey.jpg"))["greyscale"] == 0


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_scores_of_anything_lie_between_0_and_1(pixels):
    found = quality(pixels)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_a_sample_at_hand_gives_the_same_scores_and_blurry_is_the_deviation_of_the_laplacian(photo):
    pixels = np.asarray(photo)
    assert quality(pixels, sampled(pixels)).tolist() == quality(pixels).tolist()
    middle = pixels[165:261, 272:368, 1].astype(float)
    laplacian = 4 * middle[1:-1, 1:-1] - middle[:-2, 1:-1] - middle[2:, 1:-1] - middle[1:-1, :-2] - middle[1:-1, 2:]
    assert scores(photo)["blurry"] == pytest.approx(1 - np.exp(-laplacian.std() / 1020 / 0.02), rel=1e-5)


def test_scores_by_the_sample_are_those_of_all_pixels_within_a_few_levels(photo):
    luminance = np.asarray(photo) @ [77, 150, 29] >> 8
    shares = np.bincount(luminance.ravel()) / luminance.size
    entropy = -(shares[shares > 0] @ np.log2(shares[shares > 0]))
    found = scores(photo)
    assert found["dark"] == pytest.approx(np.quantile(luminance, 0.99) / 255, abs=0.02)
    assert found["bright"] == pytest.approx(1 - np.quantile(luminance, 0.05) / 255, abs=0.02)
    assert found["low_information"] == pytest.approx(entropy / 8, abs=0.01)


def test_a_size_is_odd_beside_others():
    width, height = np.full(100, 500), np.full(100, 375)
    width[:3], height[:3] = (16, 5000, 700), (16, 4000, 500)
    found = odd_size(width, height)
    assert found.dtype == np.float32
    assert (found[3:] == 1).all()
    assert found[0] < found[1] < found[2]
    assert found[1] < 0.15 < found[2] < 1
    assert odd_size(width[:0], height[:0]).tolist() == []


@given(st.lists(st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)), min_size=1, max_size=30), st.integers(2, 9))
def test_oddness_does_not_depend_on_the_unit(sizes, times):
    width, height = np.array(sizes, dtype=np.int64).T
    found = odd_size(width, height)
    assert ((found > 0) & (found <= 1)).all()
    assert odd_size(times * width, times * height) == pytest.approx(found, abs=1e-6)
