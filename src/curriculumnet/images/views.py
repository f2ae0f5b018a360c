"""Views of a picture: what a network is shown of it, as uint8 arrays of shape (views, 3, size, size).

A view is a picklable callable of a file's bytes and a seed, so that it can be handed to a worker process. The same seed
gives the same view, in whichever process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from curriculumnet.images.decode import decode

if TYPE_CHECKING:
    from PIL.Image import Image

_ATTEMPTS = 10
"""How often a random crop is drawn before the centre is taken, as in torchvision."""


_LONGEST = 16
"""The long side of what is resized for a centre crop, in short sides."""


class View(Protocol):
    """Bytes of a picture and a seed to a uint8 array (views, 3, size, size)."""

    def __call__(self, data: bytes, seed: int) -> np.ndarray:
        """Return the views; raises `images.decode.Unreadable`."""
        ...


@dataclass(frozen=True)
class CentreView:
    """The short side resized to size / `crop_pct`, the centre cropped: one view.

    Parameters
    ----------
    image_size : int
        Height and width of the view in pixels.
    interpolation : str
        ``bilinear`` or ``bicubic``.
    crop_pct : float
        The view's share of the resized picture's short side.
    """

    image_size: int
    interpolation: str = "bilinear"
    crop_pct: float = 0.875

    def __call__(self, data: bytes, seed: int) -> np.ndarray:
        """Return the one view; `seed` makes no difference."""
        del seed
        image = _resized(data, self)
        left, top = _centred(image.width, self.image_size), _centred(image.height, self.image_size)
        return _array(image.crop((left, top, left + self.image_size, top + self.image_size)))[None]


@dataclass(frozen=True)
class TenViews:
    """The corners and the centre of the picture resized as for `CentreView`, and their mirror images: ten views."""

    image_size: int
    interpolation: str = "bilinear"
    crop_pct: float = 0.875

    def __call__(self, data: bytes, seed: int) -> np.ndarray:
        """Return the ten views; `seed` makes no difference."""
        del seed
        image = _resized(data, self)
        size, right, bottom = self.image_size, image.width - self.image_size, image.height - self.image_size
        centre = (_centred(image.width, size), _centred(image.height, size))
        corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), centre]
        five = np.stack([_array(image.crop((x, y, x + size, y + size))) for x, y in corners])
        return np.concatenate([five, five[..., ::-1]])


@dataclass(frozen=True)
class TrainingView:
    """A random part of the picture, resized, mirrored half of the time (Szegedy et al. 2015): one view.

    Parameters
    ----------
    image_size : int
        Height and width of the view in pixels.
    interpolation : str
        ``bilinear`` or ``bicubic``.
    scale : tuple of float
        Least and greatest share of the picture's area.
    ratio : tuple of float
        Least and greatest aspect ratio, width by height, drawn on a logarithmic scale.
    mirror : bool
        Whether half of the views are mirrored.
    """

    image_size: int
    interpolation: str = "bilinear"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: bool = True

    def __call__(self, data: bytes, seed: int) -> np.ndarray:
        """Return the view that belongs to `seed`."""
        rng = np.random.default_rng(seed)
        # The smallest crop is still decoded at the size of the view or larger.
        image = decode(data, short_side=math.ceil(self.image_size / math.sqrt(self.scale[0])))
        box = random_box(image.width, image.height, self.scale, self.ratio, rng)
        size = (self.image_size, self.image_size)
        pixels = _array(image.resize(size, _filter(self.interpolation), box=box))
        return (pixels[..., ::-1] if self.mirror and rng.random() < 0.5 else pixels)[None]


def random_box(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the box (left, top, right, bottom) of a random-resized crop, by torchvision's procedure.

    Written here and not taken from torchvision because that one draws from torch's global generator, while a view
    must depend on nothing but its seed.
    """
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _resized(data: bytes, view: CentreView | TenViews) -> Image:
    """Resize as torchvision's Resize does, rounding included: weights from elsewhere were trained with that."""
    short = math.floor(view.image_size / view.crop_pct)
    image = _not_too_long(decode(data, short_side=short))
    least = min(image.size)
    width, height = (short if side == least else int(short * side / least) for side in image.size)
    return image.resize((width, height), _filter(view.interpolation))


def _not_too_long(image: Image) -> Image:
    """Return the middle of a picture that is many times longer than wide: enlarged whole it would fill the memory."""
    most = _LONGEST * min(image.size)
    if max(image.size) <= most:
        return image
    width, height = (min(side, most) for side in image.size)
    left, top = _centred(image.width, width), _centred(image.height, height)
    return image.crop((left, top, left + width, top + height))


def _centred(side: int, size: int) -> int:
    """Return where a centre crop begins, as in torchvision's CenterCrop."""
    return round((side - size) / 2)


def _filter(interpolation: str) -> Any:
    from PIL.Image import Resampling

    return {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[interpolation]


def _array(image: Image) -> np.ndarray:
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
