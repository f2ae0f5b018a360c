"""Every kind of picture has one defined treatment."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curriculumnet.images import decode as decoding
from curriculumnet.images.decode import Broken, NotAnImage, TooLarge, Unreadable, decode, probe


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def plain(width=40, height=30, mode="RGB"):
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    return Image.fromarray(ramp).convert(mode)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_formats_are_found_in_the_bytes(format):
    found = probe(encoded(plain(), format))
    assert (found.format, found.width, found.height) == (format, 40, 30)
    shown = decode(encoded(plain(), format))
    assert (shown.mode, shown.size) == ("RGB", (40, 30))


def test_pixels_of_a_lossless_picture_are_kept():
    np.testing.assert_array_equal(np.asarray(decode(encoded(plain()))), np.asarray(plain()))


def test_exif_rotation_is_applied_to_size_and_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(plain(), "PNG", exif=exif)
    assert (probe(data).width, probe(data).height) == (30, 40)
    np.testing.assert_array_equal(np.asarray(decode(data)), np.rot90(np.asarray(plain()), -1))


def test_of_an_animation_the_first_frame_is_taken():
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    for format in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(red, format, save_all=True, append_images=[blue], **options)
        assert decode(data).getpixel((5, 5)) == (255, 0, 0)


def test_cmyk_becomes_rgb():
    cmyk = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    red, green, blue = decode(encoded(cmyk, "JPEG", quality=100)).getpixel((10, 10))
    assert red > 240
    assert max(green, blue) < 15


def test_sixteen_bits_are_scaled_not_cut_off():
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    shown = np.asarray(decode(encoded(Image.fromarray(values))))
    np.testing.assert_array_equal(shown[..., 0], values // 257)
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    assert decode(encoded(clear)).getpixel((3, 3)) == (255, 255, 255)
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert decode(encoded(palette)).getpixel((3, 3)) == (200, 100, 50)
    assert decode(encoded(palette, transparency=1)).getpixel((3, 3)) == (255, 255, 255)


def test_grey_becomes_three_equal_channels():
    shown = np.asarray(decode(encoded(plain(mode="L"))))
    assert shown.shape == (30, 40, 3)
    assert (shown == shown[..., :1]).all()


def test_a_large_jpeg_may_be_decoded_smaller_but_not_below_the_short_side():
    data = encoded(plain(1600, 1200), "JPEG")
    assert decode(data).size == (1600, 1200)
    assert decode(data, short_side=300).size == (400, 300)
    assert decode(data, short_side=301).size == (800, 600)
    whole = decode(data).resize((400, 300), Image.Resampling.BOX)
    assert np.abs(np.asarray(whole, int) - np.asarray(decode(data, short_side=300), int)).mean() < 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"  <html><body>404</body></html>", "a web page"),
        (b"<svg xmlns='x'></svg>", "SVG"),
        (b'{"error": 1}', "JSON"),
        (b"PK\x03\x04....", "zip"),
        (b"\x00" * 100, "no known image format"),
    ],
)
def test_what_is_no_image_says_what_it_is(data, reason):
    for door in (probe, decode):
        with pytest.raises(NotAnImage, match=reason):
            door(data)


def test_a_cut_file_is_broken():
    data = encoded(plain(300, 300), "JPEG")
    assert probe(data[: len(data) // 2]).width == 300
    with pytest.raises(Broken, match="truncated"):
        decode(data[: len(data) // 2])


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    with pytest.raises(TooLarge, match="40 x 30 pixels"):
        decode(encoded(plain()))


@given(
    format=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=20),
    cut=st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_there_is_a_picture_or_a_reason(format, flips, cut):
    data = bytearray(encoded(plain(), format))
    for place, value in flips:
        data[place % len(data)] = value
    try:
        assert decode(bytes(data[: max(1, int(cut * len(data)))])).mode == "RGB"
    except Unreadable as error:
        assert str(error)
