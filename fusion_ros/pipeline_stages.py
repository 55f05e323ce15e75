"""Steps of the pipeline that need no state: what is fused, what is shown of one camera, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from .alignment.aligner import Placed
from .imaging import luma, split, to_uint8

__all__ = ["Luminances", "shown", "timed"]


class Luminances(NamedTuple):
    """What is fused, ``(H, W)`` float32 in [0, 1] on the output grid, and the colour where it is kept."""

    thermal: np.ndarray
    visible: np.ndarray
    chroma: np.ndarray | None

    @classmethod
    def of_pair(cls, placed: Placed, *, is_rgb_reference: bool, with_colour: bool) -> Luminances:
        """Split both images; where only the reference camera sees, its image stands for both."""
        thermal, rgb = placed.thermal.pixels, placed.rgb.pixels
        visible, chroma = split(rgb) if with_colour else (luma(rgb), None)
        if placed.valid is not None:
            # To fuse the reference with itself leaves no dark frame around the picture.
            if is_rgb_reference:
                thermal = np.where(placed.valid, thermal, visible)
            else:
                visible = np.where(placed.valid, visible, thermal)
        return cls(thermal, visible, chroma)

    @classmethod
    def of_one(cls, image: np.ndarray) -> Luminances:
        """Let one image, grey or RGB, stand for both."""
        grey = luma(image)
        return cls(grey, grey, None)


def shown(pixels: np.ndarray, *, color: bool = True) -> np.ndarray:
    """Return a camera's picture as uint8: ``(H, W, 3)``, or ``(H, W)`` where no colour is there or wanted."""
    has_color = pixels.ndim == 3 and pixels.shape[2] >= 3
    return to_uint8(pixels[..., :3] if color and has_color else luma(pixels))


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Note the milliseconds that the block takes under ``name``."""
    start = time.perf_counter()
    yield
    stages[name] = (time.perf_counter() - start) * 1e3
