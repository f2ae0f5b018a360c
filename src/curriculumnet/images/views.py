"""Views of a picture: what a network is shown of it, as uint8 arrays of shape (views, 3, size, size).

A view is a picklable callable of a file's bytes and a seed, so that it can be handed to a worker process. The same seed
gives the same view, in whichever process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curriculumnet.images.decode import decode, probe

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
        image, size = _resized(data, self), self.image_size
        top, left = (_centred(side, size) for side in image.shape[1:])
        return _crop(image, left, top, size)[None]


@dataclass(frozen=True)
class TenViews:
    """The corners and the centre of the picture resized as for `CentreView`, and their mirror images: ten views."""

    image_size: int
    interpolation: str = "bilinear"
    crop_pct: float = 0.875

    def __call__(self, data: bytes, seed: int) -> np.ndarray:
        """Return the ten views; `seed` makes no difference."""
        del seed
        image, size = _resized(data, self), self.image_size
        _, height, width = image.shape
        right, bottom = width - size, height - size
        centre = (_centred(width, size), _centred(height, size))
        corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), centre]
        five = np.stack([_crop(image, x, y, size) for x, y in corners])
        return np.concatenate([five, _mirrored(five)])


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
        whole = probe(data)
        return self.of(whole.width, whole.height, lambda reduction: decode(data, reduction=reduction), seed)

    def of(self, width: int, height: int, pixels: Callable[[float], NDArray[np.uint8]], seed: int) -> np.ndarray:
        """Return the view that belongs to `seed`, of a picture that may be at hand in a smaller size only.

        Parameters
        ----------
        width, height : int
            The whole picture's, in pixels: with the seed, they decide the crop.
        pixels : callable
            Gives the picture, uint8 (height, width, 3), when told down to which part of its size it may be reduced.
        seed : int
            Decides the crop and whether it is mirrored.
        """
        rng = np.random.default_rng(seed)
        left, top, right, bottom = random_box(width, height, self.scale, self.ratio, rng)
        image = pixels(min(right - left, bottom - top) / self.image_size)
        columns = _scaled(left, right, image.shape[1] / width)
        rows = _scaled(top, bottom, image.shape[0] / height)
        view = resize(image[slice(*rows), slice(*columns)], (self.image_size, self.image_size), self.interpolation)
        return (_mirrored(view) if self.mirror and rng.random() < 0.5 else view)[None]


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


def _resized(data: bytes, view: CentreView | TenViews) -> NDArray[np.uint8]:
    """Resize as torchvision's Resize does a Pillow image, to the bit: weights from elsewhere are asked through that."""
    from PIL import Image
    from PIL.Image import Resampling

    short = math.floor(view.image_size / view.crop_pct)
    whole = probe(data)
    pixels = _not_too_long(decode(data, reduction=min(whole.width, whole.height) / short))
    least = min(pixels.shape[:2])
    height, width = (short if side == least else int(short * side / least) for side in pixels.shape[:2])
    kernel = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}[view.interpolation]
    return np.asarray(Image.fromarray(pixels).resize((width, height), kernel)).transpose(2, 0, 1)


def _not_too_long(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle of a picture that is many times longer than wide: enlarged whole it would fill the memory."""
    most = _LONGEST * min(image.shape[:2])
    if max(image.shape[:2]) <= most:
        return image
    height, width = (min(side, most) for side in image.shape[:2])
    top, left = _centred(image.shape[0], height), _centred(image.shape[1], width)
    return image[top : top + height, left : left + width]


def resize(image: NDArray[np.uint8], size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    """Resize (height, width, 3) to (3, *size), with antialiasing: within a level of Pillow, and twice as fast.

    `interpolation` is ``bilinear`` or ``bicubic``.
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize_image

    # Channels last in memory and without gaps is what torch resizes fastest: numpy closes the gaps of a crop in a tenth
    # of the time that torch would take. What cannot be written it does not take.
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    resized = resize_image(pixels, list(size), InterpolationMode(interpolation), antialias=True)
    shown: NDArray[np.uint8] = resized.numpy()
    return shown


def _mirrored(views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirror views left to right: by torch, which takes a hundredth of the time where channels are last in memory."""
    import torch

    mirrored: NDArray[np.uint8] = torch.from_numpy(views).flip(-1).numpy()
    return mirrored


def _scaled(first: int, last: int, scale: float) -> tuple[int, int]:
    """Return where a range lies at another scale, at least a pixel of it."""
    begin = math.floor(first * scale)
    return begin, max(begin + 1, round(last * scale))


def _crop(image: NDArray[np.uint8], left: int, top: int, size: int) -> NDArray[np.uint8]:
    """Cut a square out of (3, height, width); what lies beyond is black."""
    _, height, width = image.shape
    right, bottom = left + size, top + size
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return image[:, top:bottom, left:right]
    cut = np.zeros((3, size, size), np.uint8)
    inside = image[:, max(0, top) : bottom, max(0, left) : right]
    cut[:, max(0, -top) :, max(0, -left) :][:, : inside.shape[1], : inside.shape[2]] = inside
    return cut


def _centred(side: int, size: int) -> int:
    """Return where a centre crop begins, as in torchvision's CenterCrop."""
    return round((side - size) / 2)
