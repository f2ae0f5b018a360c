"""Views: shapes, centring, and nothing but the seed decides."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curriculumnet.images.views import CentreView, TenViews, TrainingView, random_box


def png(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("view", [CentreView(32), TenViews(32), TrainingView(32)])
@pytest.mark.parametrize("size", [(64, 64), (200, 20), (7, 90), (32, 32)])
def test_any_picture_gives_whole_views(view, size):
    shown = view(png(*size), 5)
    assert shown.shape == (10 if isinstance(view, TenViews) else 1, 3, 32, 32)
    assert shown.dtype == np.uint8


def test_the_centre_view_is_the_centre_of_the_resized_picture():
    data = png(80, 60)
    resized = Image.open(io.BytesIO(data)).resize((48, 36), Image.Resampling.BILINEAR)
    by_hand = np.asarray(resized)[2:34, 8:40].transpose(2, 0, 1)
    np.testing.assert_array_equal(CentreView(32)(data, 0)[0], by_hand)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_training_view_is_resized_as_pillow_does_within_a_level(interpolation):
    data = png(80, 60)
    whole = TrainingView(32, interpolation, scale=(1.0, 1.0), ratio=(4 / 3, 4 / 3), mirror=False)
    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    by_pillow = np.asarray(Image.open(io.BytesIO(data)).resize((32, 32), kernel)).transpose(2, 0, 1)
    assert np.abs(whole(data, 0)[0].astype(int) - by_pillow).max() <= 1


def test_ten_views_hold_the_centre_view_and_five_mirror_images():
    data = png(80, 60)
    ten = TenViews(32)(data, 0)
    np.testing.assert_array_equal(ten[4], CentreView(32)(data, 0)[0])
    np.testing.assert_array_equal(ten[5:], ten[:5, :, :, ::-1])
    assert len({view.tobytes() for view in ten}) == 10


def test_the_seed_alone_decides_a_training_view():
    data, view = png(100, 70), TrainingView(32)
    again = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(view(data, 11), again(data, 11))
    assert len({view(data, seed).tobytes() for seed in range(20)}) == 20


def test_half_of_the_training_views_are_mirrored_and_none_if_not_asked():
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 64, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(ramp)).save(buffer, "PNG")

    def mirrored(view, seed):
        pixels = view(buffer.getvalue(), seed)[0, 0].astype(int)
        return pixels[:, 0].mean() > pixels[:, -1].mean()

    share = np.mean([mirrored(TrainingView(16), seed) for seed in range(400)])
    assert 0.4 < share < 0.6
    assert not any(mirrored(TrainingView(16, mirror=False), seed) for seed in range(50))


@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    low=st.floats(0.05, 1),
    seed=st.integers(0, 1000),
)
def test_the_random_box_lies_in_the_picture(width, height, low, seed):
    left, top, right, bottom = random_box(width, height, (low, 1.0), (3 / 4, 4 / 3), np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_the_random_boxes_have_the_area_and_the_shape_that_were_asked():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(1000, 1000, (0.2, 0.5), (3 / 4, 4 / 3), rng) for _ in range(2000)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas = widths * heights / 1e6
    assert 0.198 < areas.min() < 0.21
    assert 0.49 < areas.max() < 0.502
    assert abs(areas.mean() - 0.35) < 0.01
    assert abs(np.log(widths / heights).mean()) < 0.02


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (20_000, 30)])
@pytest.mark.parametrize("view", [CentreView(224), TenViews(224)])
def test_a_picture_that_is_nothing_but_long_takes_little_memory(view, size, monkeypatch):
    buffer = io.BytesIO()
    Image.new("L", size, 200).save(buffer, "PNG")
    resized, resize = [], Image.Image.resize

    def noted(image, wanted, *arguments, **more):
        resized.append(wanted[0] * wanted[1])
        return resize(image, wanted, *arguments, **more)

    monkeypatch.setattr(Image.Image, "resize", noted)
    shown = view(buffer.getvalue(), 0)
    assert shown.shape[1:] == (3, 224, 224)
    assert (shown == 200).all()
    # 1 x 60,000 pixels enlarged whole to a short side of 256 would be 4,000 million.
    assert len(resized) == 1
    assert resized[0] <= 16 * 256**2
