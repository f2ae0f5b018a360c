"""Every kind of picture has one defined treatment."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from curriculumnet.images import decode as decoding
from curriculumnet.images.decode import Broken, NotAnImage, TooLarge, Unreadable, decode, probe


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def plain(width=40, height=30, mode="RGB"):
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    return Image.fromarray(ramp).convert(mode)


JPEG = encoded(plain(), "JPEG")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_formats_are_found_in_the_bytes(format):
    found = probe(encoded(plain(), format))
    assert (found.format, found.width, found.height) == (format, 40, 30)
    shown = decode(encoded(plain(), format))
    assert (shown.dtype, shown.shape) == (np.uint8, (30, 40, 3))
    assert shown.flags.c_contiguous


def test_pixels_of_a_lossless_picture_are_kept():
    np.testing.assert_array_equal(decode(encoded(plain())), np.asarray(plain()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_exif_rotation_is_applied_to_size_and_pixels(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(plain(), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert (probe(data).width, probe(data).height) == (expected.shape[1], expected.shape[0])
    assert {expected.shape[:2]} == {(40, 30) if orientation >= 5 else (30, 40)}
    np.testing.assert_array_equal(decode(data), expected)


def test_of_an_animation_the_first_frame_is_taken():
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    for format in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(red, format, save_all=True, append_images=[blue], **options)
        assert decode(data)[5, 5].tolist() == [255, 0, 0]


def test_cmyk_becomes_rgb():
    cmyk = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    red, green, blue = decode(encoded(cmyk, "JPEG", quality=100))[10, 10]
    assert red > 240
    assert max(green, blue) < 15


def test_ycck_is_cmyk_in_other_words():
    cyan, magenta, yellow, black = 30, 140, 60, 40
    luminance = np.asarray(Image.new("RGB", (16, 16), (cyan, magenta, yellow)).convert("YCbCr"))[0, 0]
    # Pillow stores 255 less each value, and of a YCCK file the colours are 255 less what their luminance says.
    stored = Image.new("CMYK", (16, 16), (*(255 - int(value) for value in luminance), black))
    data = bytearray(encoded(stored, "JPEG", quality=100, subsampling=0))
    adobe = data.index(b"Adobe")
    assert data[adobe + 11] == 0
    data[adobe + 11] = 2
    expected = decode(encoded(Image.new("CMYK", (16, 16), (cyan, magenta, yellow, black)), "JPEG", quality=100))
    assert np.abs(decode(bytes(data)).astype(int) - expected).max() <= 4


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 1000.0])
def test_floats_are_shown_from_the_least_to_the_greatest(scale):
    values = np.linspace(-1, 254, 40 * 30, dtype=np.float32).reshape(30, 40)
    shown = decode(encoded(Image.fromarray(values * np.float32(scale)), "TIFF"))
    assert np.abs(shown[..., 0] - (values + 1)).max() <= 0.51
    assert decode(encoded(Image.fromarray(np.full((9, 9), 0.5, np.float32)), "TIFF")).max() == 0


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_of_either_format_are_the_same(format):
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(values), format))[..., 1], values // 257)


def test_whole_numbers_of_more_bits_are_not_cut_off():
    values = np.linspace(0, 10_000_000, 40 * 30).reshape(30, 40).astype(np.int32)
    shown = decode(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert (shown.min(), shown.max()) == (0, 255)
    assert abs(shown.mean() - 127.5) < 1


def test_sixteen_bits_are_scaled_not_cut_off():
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    shown = decode(encoded(Image.fromarray(values)))
    np.testing.assert_array_equal(shown[..., 0], values // 257)
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    assert decode(encoded(clear))[3, 3].tolist() == [255, 255, 255]
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert decode(encoded(palette))[3, 3].tolist() == [200, 100, 50]
    assert decode(encoded(palette, transparency=1))[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_grey_becomes_three_equal_channels(format):
    shown = decode(encoded(plain(mode="L"), format))
    assert shown.shape == (30, 40, 3)
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_large_jpeg_may_be_decoded_smaller_but_not_below_what_is_wanted(mode):
    data = encoded(plain(1600, 1203, mode), "JPEG")
    shapes = {1: (1203, 1600), 1.9: (1203, 1600), 2: (602, 800), 7.9: (301, 400), 90: (151, 200)}
    for reduction, shape in shapes.items():
        assert decode(data, reduction=reduction).shape == (*shape, 3)


# -- libjpeg-turbo and Pillow -----------------------------------------------------------------------------------------


def photos():
    """Real photographs, as JPEGs of several qualities and ways of halving the colours, whole and cut to odd sizes."""
    found = {}
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name))
        for quality in (30, 75, 95):
            for subsampling in (0, 1, 2):
                for progressive in (False, True):
                    cut = photo.crop((quality, 3, 601, 403 - quality))
                    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
                    found[f"{name}, {options}"] = encoded(cut, "JPEG", **options)
        found[f"{name}, grey"] = encoded(photo.convert("L"), "JPEG")
    return found


def test_both_decoders_see_the_same_at_full_size():
    for name, data in photos().items():
        by_pillow = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert np.abs(decode(data) - by_pillow).mean() <= 2, name


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_decoding_at_a_part_of_the_size_is_like_taking_the_mean_of_the_whole(scale):
    for name, data in photos().items():
        small = decode(data, reduction=scale).astype(int)
        whole = Image.fromarray(decode(data)).reduce(scale)
        # Blocks at the edge are completed in two ways.
        inside = (slice(1, small.shape[0] - 1), slice(1, small.shape[1] - 1))
        assert np.abs(small[inside] - np.asarray(whole).astype(int)[inside]).mean() <= 4, name


def test_the_first_of_several_pictures_in_a_jpeg_is_decoded_as_fast(monkeypatch):
    photo = Image.fromarray(load_sample_image("china.jpg"))
    data = encoded(photo, "MPO", save_all=True, append_images=[plain()])
    assert probe(data).format == "MPO"
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded by Pillow"))
    assert decode(data, reduction=4).shape == (107, 160, 3)


def test_what_the_fast_decoder_does_not_like_is_left_to_the_other(monkeypatch):
    data = next(iter(photos().values()))
    # Bytes between the picture and its end mark: harmless, and an error to a strict reader.
    odd = data[:-2] + b"\x00\x00\x00" + data[-2:]
    np.testing.assert_array_equal(decode(odd), decode(data))


def test_a_jpeg_that_claims_more_pixels_than_its_bytes_can_hold_is_broken():
    data = bytearray(encoded(plain(64, 48), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (4000).to_bytes(2, "big") + (5000).to_bytes(2, "big")
    with pytest.raises(Broken, match="too few bytes for 5000 x 4000 pixels"):
        decode(bytes(data))
    flat = Image.new("RGB", (3000, 2000), "white")
    assert decode(encoded(flat, "JPEG", quality=10)).shape == (2000, 3000, 3)
    assert decode(encoded(flat, "JPEG", quality=10, progressive=True)).shape == (2000, 3000, 3)


def with_segment(data, marker, content):
    """A JPEG with a segment more, after the first mark."""
    return data[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


XMP = b'http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def test_a_plain_jpeg_is_decoded_without_pillow_and_any_other_is_not(monkeypatch):
    def opened(data):
        raise AssertionError("opened by Pillow")

    plains = [*photos().values(), with_segment(JPEG, 0xFE, b"a comment"), with_segment(JPEG, 0xED, b"Photoshop 3.0")]
    exif = Image.Exif()
    exif[0x0112] = 6
    others = [
        encoded(plain(), "JPEG", exif=exif),
        encoded(plain(), "JPEG", icc_profile=b"a profile"),
        encoded(plain(mode="CMYK"), "JPEG"),
        with_segment(JPEG, 0xE1, XMP),
        encoded(plain(), "MPO", save_all=True, append_images=[plain()]),
        JPEG[:200],
        JPEG[:2] + b"\x00" + JPEG[2:],
    ]
    expected = [(probe(data), decode(data)) for data in plains]
    sizes = [Image.open(io.BytesIO(data)).size for data in plains]
    assert [(found.width, found.height) for found, _ in expected] == sizes
    monkeypatch.setattr(decoding, "_opened", opened)
    for data, (header, pixels) in zip(plains, expected, strict=True):
        assert probe(data) == header
        np.testing.assert_array_equal(decode(data), pixels)
    for data in others:
        with pytest.raises(AssertionError, match="opened by Pillow"):
            probe(data)
        with pytest.raises(AssertionError, match="opened by Pillow"):
            decode(data)


def test_orientation_in_xmp_is_seen():
    assert (probe(with_segment(JPEG, 0xE1, XMP)).width, decode(with_segment(JPEG, 0xE1, XMP)).shape) == (
        30,
        (40, 30, 3),
    )


# -- colours ----------------------------------------------------------------------------------------------------------


def test_colours_of_another_profile_become_srgb():
    from PIL import ImageCms

    red = Image.new("RGB", (20, 20), (200, 30, 30))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("JPEG", "PNG"):
        plainly = decode(encoded(red, format))
        np.testing.assert_array_equal(decode(encoded(red, format, icc_profile=srgb)), plainly)
        np.testing.assert_array_equal(decode(encoded(red, format, icc_profile=b"no profile")), plainly)
        wide = decode(encoded(red, format, icc_profile=swapped_profile(srgb)))
        assert wide[3, 3, 2] > 150
        assert wide[3, 3, 0] < 100


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_counts_for_transparent_pictures_and_palettes_too(mode):
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red = Image.new("RGB", (20, 20), (200, 30, 30)).convert(mode)
    wide = decode(encoded(red, "PNG", icc_profile=swapped_profile(srgb)))
    assert wide[3, 3, 2] > 150
    assert wide[3, 3, 0] < 100


def test_a_profile_of_other_colours_than_the_pictures_is_passed_over():
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode in ("CMYK", "L"):
        picture = Image.new("RGB", (20, 20), (200, 30, 30)).convert(mode)
        plainly = decode(encoded(picture, "JPEG"))
        np.testing.assert_array_equal(decode(encoded(picture, "JPEG", icc_profile=swapped_profile(srgb))), plainly)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_greys_of_another_profile_become_those_of_srgb(format, mode):
    if (format, mode) == ("JPEG", "LA"):
        pytest.skip("there is no such JPEG")
    grey = Image.new(mode, (20, 20), (128, 255)[: len(mode)])
    linear = decode(encoded(grey, format, icc_profile=linear_grey_profile()))
    assert len(np.unique(linear)) == 1
    assert abs(int(linear[3, 3, 0]) - 188) <= 2


def linear_grey_profile():
    """A profile of greys whose light grows with their number (ICC.1:2010, 8.4)."""
    white = b"XYZ \0\0\0\0" + b"".join(round(value * 65536).to_bytes(4, "big") for value in (0.9642, 1.0, 0.8249))
    curve = b"curv\0\0\0\0\0\0\0\0"
    name = b"desc\0\0\0\0" + (7).to_bytes(4, "big") + b"linear\0" + bytes(79)
    tags = {b"wtpt": white, b"kTRC": curve, b"desc": name}
    at = 128 + 4 + 12 * len(tags)
    table, body = len(tags).to_bytes(4, "big"), b""
    for tag, data in tags.items():
        table += tag + (at + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data + bytes(-len(data) % 4)
    head = bytearray(128)
    head[8:12], head[12:16], head[16:20], head[20:24] = b"\x02\x10\0\0", b"mntr", b"GRAY", b"XYZ "
    head[36:40] = b"acsp"
    head[68:80] = white[8:]
    head[0:4] = (at + len(body)).to_bytes(4, "big")
    return bytes(head) + table + body


def swapped_profile(srgb):
    """An sRGB profile in which red and blue have changed places, and that does not call itself sRGB."""
    data = bytearray(srgb)
    count = int.from_bytes(data[128:132], "big")
    entries = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "ABCD".encode("utf-16-be")).replace(b"sRGB", b"ABCD")


# -- formats that an extra reads --------------------------------------------------------------------------------------


def dicom(values, **tags):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    about = FileMetaDataset()
    about.TransferSyntaxUID = ExplicitVRLittleEndian
    about.MediaStorageSOPClassUID = about.MediaStorageSOPInstanceUID = "1.2.3"
    found = FileDataset("x", {}, file_meta=about, preamble=b"\0" * 128)
    found.Rows, found.Columns = values.shape
    found.SamplesPerPixel, found.BitsAllocated, found.BitsStored, found.HighBit = 1, 16, 16, 15
    found.PixelRepresentation, found.PhotometricInterpretation = 0, "MONOCHROME2"
    for tag, value in tags.items():
        setattr(found, tag, value)
    found.PixelData = values.astype("<u2").tobytes()
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_dicom_file_is_shown_through_its_window():
    values = np.linspace(0, 4000, 30 * 40).reshape(30, 40)
    data = dicom(values, WindowCenter=2000, WindowWidth=1000)
    assert (probe(data).format, probe(data).width, probe(data).height) == ("DICOM", 40, 30)
    shown = decode(data)[..., 0].ravel().astype(int)
    assert set(shown[values.ravel() < 1400]) == {0}
    assert set(shown[values.ravel() > 2600]) == {255}
    assert abs(shown[np.abs(values.ravel() - 2000) < 20].mean() - 128) < 5
    inverted = decode(dicom(values, WindowCenter=2000, WindowWidth=1000, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, 255 - decode(data))
    with pytest.raises(Broken):
        decode(data[: len(data) // 2])


def test_the_values_of_a_dicom_file_are_first_what_they_measure():
    measured = np.array([[-500, 0, 40], [80, 200, 240]])
    data = dicom(measured + 1024, RescaleIntercept=-1024, RescaleSlope=1, WindowCenter=40, WindowWidth=400)
    assert np.abs(decode(data)[..., 0] - np.array([[0, 102, 128], [153, 229, 255]])).max() <= 1


def test_a_heic_picture_is_read_or_says_what_reads_it(monkeypatch):
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(plain(64, 48)).save(buffer, quality=90)
    data = buffer.getvalue()
    if data[8:12] != b"heic":
        pytest.skip("this pillow_heif has no encoder for HEIC")
    monkeypatch.setattr(decoding, "_heic_is_read", lambda: False)
    if ".heic" not in Image.registered_extensions():
        with pytest.raises(NotAnImage, match="the extra `formats` reads it"):
            decode(data)
    monkeypatch.undo()
    assert decode(data).shape == (48, 64, 3)
    # Once it is read, what only begins like one is no endless search for who reads it.
    with pytest.raises(Unreadable) as raised:
        decode(data[:40])
    assert "recursion" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"  <html><body>404</body></html>", "a web page"),
        (b"\xef\xbb\xbf<!doctype html>", "a web page"),
        (b"<!-- of a shop --><html>", "a web page"),
        (b"<?xml version='1.0'?><!DOCTYPE html><html/>", "a web page"),
        ("<html>gone</html>".encode("utf-16"), "a web page"),
        (b"<svg xmlns='x'></svg>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (encoded(plain())[:12], "the beginning of an image, cut off"),
        (encoded(plain(), "WEBP")[:12], "the beginning of an image, cut off"),
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
@settings(max_examples=150)
def test_whatever_the_bytes_there_is_a_picture_or_a_reason(format, flips, cut):
    data = bytearray(encoded(plain(), format))
    for place, value in flips:
        data[place % len(data)] = value
    try:
        assert decode(bytes(data[: max(1, int(cut * len(data)))])).dtype == np.uint8
    except Unreadable as error:
        assert str(error)
