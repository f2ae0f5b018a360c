"""Real pictures in folders, for every test of ingest."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A picture that no other seed gives."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)


def encoded(image: Image.Image, format: str = "PNG", **settings: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **settings)
    return data.getvalue()


@pytest.fixture
def crawl(tmp_path: Path, write: Callable[[str, bytes], Path]) -> Path:
    """Two categories of twelve PNG pictures each."""
    for place, category in enumerate(("cat", "dog")):
        for number in range(12):
            write(f"crawl/{category}/{number:02}.png", encoded(picture(100 * place + number)))
    return tmp_path / "crawl"
