"""Thumbnails stay within their bytes and show the centre of the picture."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from curriculumnet.images.decode import Unreadable
from curriculumnet.reporting.thumbnails import SIDES, side_for, thumbnail


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def pixels(uri: str) -> Image.Image:
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")


@pytest.mark.parametrize("limit", [1500, 3000, 6000, 60000])
def test_noise_stays_within_the_limit(limit: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
    assert len(thumbnail(encoded(noise), side_for(limit), limit)) <= limit


@pytest.mark.parametrize(("limit", "side"), [(10**6, 160), (4000, 128), (2500, 96), (100, 48)])
def test_side_follows_the_limit(limit: int, side: int) -> None:
    assert side_for(limit) == side


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (20, 20), (9, 900)])
def test_centre_square_of_any_shape(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "blue")
    middle = min(size) // 4
    x, y = size[0] // 2, size[1] // 2
    image.paste("red", (x - middle, y - middle, x + middle + 1, y + middle + 1))
    found = pixels(thumbnail(encoded(image), SIDES[0], 10**6))
    assert found.size == (160, 160)
    red, _, blue = found.getpixel((80, 80))
    assert red > 180 > 60 > blue


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(Unreadable):
        thumbnail(b"<html>", 160, 6000)
