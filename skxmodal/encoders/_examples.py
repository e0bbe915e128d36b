"""Batches to run a network on once: to see what it does, to export and compare it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

WIDE, TALL = (96, 64), (64, 96)


def noise(size: tuple[int, int] = WIDE) -> Image:
    """A picture that no two regions of are alike, always the same.

    Parameters
    ----------
    size : tuple of int, default=(96, 64)
        Its width and height.

    Returns
    -------
    picture : PIL.Image.Image
        An RGB image.
    """
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def picture_batches(
    prepare: Callable[[Image], NDArray[np.float32]],
) -> list[dict[str, NDArray[Any]]]:
    """Batches of different sizes, of pictures of different proportions."""
    wide, tall = noise(WIDE), noise(TALL)
    pictures = ([wide, wide.rotate(180)], [wide], [tall] * 3)
    return [
        {"pixel_values": np.stack([prepare(picture) for picture in each])}
        for each in pictures
    ]


def free_axes_of(batches: list[dict[str, NDArray[Any]]]) -> dict[str, tuple[int, ...]]:
    """Axes of pixel values that are of any length."""
    first, last = (batches[i]["pixel_values"].shape for i in (0, -1))
    # Some processors keep a picture's proportions.
    return {"pixel_values": (0,) if first[1:] == last[1:] else (0, 2, 3)}
