"""The cache: where each picture lies, what its views are worth, and which file is one."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curriculumnet.errors import SourceError
from curriculumnet.images.cache import CachedPictures, Layout, decoded, kept_side, key_of, write
from curriculumnet.images.loader import Pictures, even_batches, load
from curriculumnet.images.views import TrainingView

KEY = {"version": "1", "images": "abc"}
SIZES = [(40, 40), (64, 48), (30, 200), (300, 225), (17, 16), (500, 375)]


def photograph(width, height, seed=0):
    """Return a picture as smooth as a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def ramp(width, height):
    """Return a picture whose red says how far right a pixel lies, and whose green how far down."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.rint((np.arange(width) + 0.5) / width * 255)[None, :]
    pixels[..., 1] = np.rint((np.arange(height) + 0.5) / height * 255)[:, None]
    return Image.fromarray(pixels)


def saved(folder, pictures, ending="png"):
    """Save pictures; return them as the loader knows them, and their sizes."""
    names = [f"{number}.{ending}" for number in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        picture.save(folder / name)
    table = pa.table({"source": ["crawl"] * len(names), "file_name": names})
    return Pictures(table, {"crawl": str(folder)}), np.array([picture.size for picture in pictures])


def cached(pictures, sizes, side, path, workers=0):
    layout = Layout.plan(sizes[:, 0], sizes[:, 1], side)
    with path.open("wb") as file:
        write(file, layout, KEY, (pixels for _, pixels in decoded(pictures, layout, workers)))
    return CachedPictures(path)


@given(
    sizes=st.lists(st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 5000), st.integers(1, 5000)))),
    side=st.integers(1, 800),
)
def test_pictures_lie_one_after_another_and_none_is_larger_than_it_was(sizes, side):
    widths, heights = np.array(sizes, np.int32).reshape(-1, 2).T
    layout = Layout.plan(widths, heights, side)
    kept, whole = layout.sizes[:, :2].astype(int), layout.sizes[:, 2:].astype(int)
    np.testing.assert_array_equal(whole, np.stack([heights, widths], axis=1))
    np.testing.assert_array_equal(layout.ids, np.flatnonzero(widths))
    np.testing.assert_array_equal(np.diff(layout.offsets), 3 * kept.prod(axis=1))
    np.testing.assert_array_equal(kept.min(axis=1), np.minimum(whole.min(axis=1), side))
    assert (kept <= whole).all()
    short, long = whole.min(axis=1), whole.max(axis=1)
    reduced = short > side
    assert (np.abs(kept.max(axis=1) - long * side / np.maximum(1, short))[reduced] <= 0.5).all()
    assert (kept == whole)[~reduced].all()


@given(image_size=st.integers(16, 1000), least=st.floats(0.01, 1))
def test_the_smallest_crop_of_what_is_kept_is_as_large_as_the_input(image_size, least):
    assert (kept_side(image_size, least) * least**0.5) >= image_size * (1 - 1e-12)
    assert ((kept_side(image_size, least) - 1) * least**0.5) <= image_size


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_what_is_not_reduced_gives_the_same_views_to_the_bit(tmp_path, ending):
    pictures, sizes = saved(tmp_path, [photograph(*size) for size in SIZES], ending)
    view = TrainingView(300, scale=(0.35, 1.0))
    kept = cached(pictures, sizes, kept_side(300, 0.35), tmp_path / "cache")
    for image in range(len(SIZES)):
        for seed in range(5):
            np.testing.assert_array_equal(kept.view(image, view, seed), pictures.view(image, view, seed))


@given(width=st.integers(20, 400), height=st.integers(20, 400), seed=st.integers(0, 2**32), side=st.integers(16, 60))
@settings(max_examples=60)
def test_the_same_seed_gives_the_same_crop_to_within_a_kept_pixel(tmp_path_factory, width, height, seed, side):
    home = tmp_path_factory.mktemp("ramp")
    pictures, sizes = saved(home, [ramp(width, height)])
    view = TrainingView(32, scale=(0.35, 1.0))
    kept = cached(pictures, sizes, side, home / "cache")
    there, here = (source.view(0, view, seed)[0].astype(int) for source in (pictures, kept))
    kept_height, kept_width = Layout.plan(sizes[:, 0], sizes[:, 1], side).sizes[0, :2]
    # A pixel of the ramp, and three levels for rounding thrice.
    for channel, pixels in ((0, kept_width), (1, kept_height)):
        assert np.abs(there[channel] - here[channel]).max() <= 255 / pixels + 3


def test_views_of_reduced_photographs_are_nearly_those_of_the_files(tmp_path):
    pictures, sizes = saved(tmp_path, [photograph(800, 600, seed) for seed in range(4)], "jpg")
    view = TrainingView(64, scale=(0.35, 1.0))
    kept = cached(pictures, sizes, kept_side(64, 0.35), tmp_path / "cache")
    same, other = [], []
    for image in range(4):
        for seed in range(20):
            there = pictures.view(image, view, seed).astype(int)
            same.append(np.abs(there - kept.view(image, view, seed)).mean())
            other.append(np.abs(there - kept.view(image, view, seed + 100)).mean())
    assert np.mean(same) < 3
    assert max(same) < 6
    assert np.mean(other) > 20


def test_worker_processes_change_nothing(tmp_path):
    pictures, sizes = saved(tmp_path, [photograph(60 + number, 50, number) for number in range(40)])
    alone = cached(pictures, sizes, 45, tmp_path / "alone")
    helped = cached(pictures, sizes, 45, tmp_path / "helped", workers=2)
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "helped").read_bytes()
    batches, view = even_batches(np.arange(40), 16), TrainingView(32)
    ours = list(load(alone, batches, view, workers=0, seed=3))
    theirs = list(load(helped, batches, view, workers=2, seed=3))
    for (ids, views), (other_ids, other_views) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_array_equal(views.numpy(), other_views.numpy())


def test_a_cache_that_is_open_can_be_handed_to_another_process(tmp_path):
    kept = cached(*saved(tmp_path, [photograph(60, 50)]), 45, tmp_path / "cache")
    here = kept.view(0, TrainingView(32), 7)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kept)).view(0, TrainingView(32), 7), here)


def test_other_programs_read_it(tmp_path):
    from safetensors import safe_open

    pictures = [photograph(40, 30), photograph(60, 50)]
    cached(*saved(tmp_path, pictures), 50, tmp_path / "cache")
    with safe_open(tmp_path / "cache", "np") as file:
        assert file.metadata() == KEY
        offsets, sizes, pixels = (file.get_tensor(name) for name in ("offsets", "sizes", "pixels"))
    assert offsets.tolist() == [0, 3600, 12600]
    assert sizes.tolist() == [[30, 40, 30, 40], [50, 60, 50, 60]]
    for image, picture in enumerate(pictures):
        found = pixels[offsets[image] : offsets[image + 1]].reshape(*sizes[image, :2], 3)
        np.testing.assert_array_equal(found, np.asarray(picture))


def test_images_that_are_not_asked_for_take_no_room_and_are_not_read(tmp_path):
    pictures, sizes = saved(tmp_path, [photograph(40, 30, seed) for seed in range(3)])
    sizes[1] = 0
    (tmp_path / "1.png").unlink()
    kept = cached(pictures, sizes, 50, tmp_path / "cache")
    assert Layout.plan(*sizes.T, 50).bytes < (tmp_path / "cache").stat().st_size < 2 * 3600 + 1000
    view = TrainingView(32)
    np.testing.assert_array_equal(kept.view(2, view, 0), pictures.view(2, view, 0))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"1\.png in .* can no longer be read"),
        (b"<html>", r"1\.png in .* has changed since it was ingested \(a web page, not an image\)"),
        (60, r"1\.png in .* has changed since it was ingested \(it has 60 x 30 pixels, not 40 x 30\)"),
    ],
)
def test_a_file_that_is_gone_or_changed_is_named(tmp_path, workers, data, message):
    pictures, sizes = saved(tmp_path, [photograph(40, 30, seed) for seed in range(3)])
    if data is None:
        (tmp_path / "1.png").unlink()
    elif isinstance(data, bytes):
        (tmp_path / "1.png").write_bytes(data)
    else:
        photograph(data, 30).save(tmp_path / "1.png")
    with pytest.raises(SourceError, match=message):
        cached(pictures, sizes, 50, tmp_path / "cache", workers)


def test_a_cache_knows_what_it_was_made_of(tmp_path):
    cached(*saved(tmp_path, [photograph(40, 30)]), 50, tmp_path / "cache")
    assert key_of(tmp_path / "cache") == KEY


@pytest.mark.parametrize("cut", [0, 5, 8, 100, 400, -1])
def test_half_a_cache_is_none(tmp_path, cut):
    cached(*saved(tmp_path, [photograph(40, 30)]), 50, tmp_path / "cache")
    (tmp_path / "half").write_bytes((tmp_path / "cache").read_bytes()[:cut])
    assert key_of(tmp_path / "half") is None


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x02" + bytes(7) + b"{}", b"\x02" + bytes(7) + b"[]", None])
def test_another_file_is_none_nor_is_an_absent_one(tmp_path, data):
    if data is not None:
        (tmp_path / "other").write_bytes(data)
    assert key_of(tmp_path / "other") is None


def test_what_is_written_goes_to_any_file(tmp_path):
    pictures, sizes = saved(tmp_path, [photograph(40, 30)])
    layout, buffer = Layout.plan(*sizes.T, 50), io.BytesIO()
    write(buffer, layout, KEY, (pixels for _, pixels in decoded(pictures, layout, 0)))
    cached(pictures, sizes, 50, tmp_path / "cache")
    assert buffer.getvalue() == (tmp_path / "cache").read_bytes()
