"""Windows, sizes, flips and greys: what both images of a pair undergo alike, so that they stay registered.

What is random is drawn from the generator that is given, so a sample is a function of its seed alone.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from .pairs import PairImages

__all__ = [
    "Sample",
    "Window",
    "centre_window",
    "crop",
    "grey_table",
    "grown",
    "mirrored",
    "random_window",
    "resized",
]

Size = tuple[int, int]
Window = tuple[slice, slice]
"""Rows and columns."""

_GAMMA_OCTAVES = 1.0  # at full strength the exponent is drawn from 1/2 to 2
_CONTRAST = 0.5
_BRIGHTNESS = 0.25


class Sample(NamedTuple):
    """One crop of one pair, as :class:`training.batch.Batch` has it, but 8-bit and with a single channel.

    Attributes:
        infrared: ``(h, w)`` uint8.
        visible: ``(h, w)`` uint8; its grid is the reference.
        registered: ``(h, w)`` uint8, the infrared image on the visible grid.
        flow: ``(h, w, 2)`` float32, x first, in pixels: ``registered(p) = infrared(p + flow(p))``.
        inside: ``(h, w)`` bool, where ``flow`` points between the outermost pixel centres of ``infrared``.
    """

    infrared: np.ndarray
    visible: np.ndarray
    registered: np.ndarray
    flow: np.ndarray
    inside: np.ndarray


def random_window(size: Size, side: int, rng: np.random.Generator) -> Window:
    """Return a square window of ``side`` pixels, anywhere in an image of ``(h, w)`` that is at least as large."""
    top, left = (int(rng.integers(length - side + 1)) for length in size)
    return slice(top, top + side), slice(left, left + side)


def centre_window(size: Size, side: int) -> Window:
    """Return the square window of ``side`` pixels in the middle of an image of ``(h, w)``, rounded up and left."""
    top, left = ((length - side) // 2 for length in size)
    return slice(top, top + side), slice(left, left + side)


def grown(window: Window, margin: int, size: Size) -> tuple[Window, Window]:
    """Return a window with ``margin`` pixels more on every side where the image has them, and where the old one
    lies in the new one."""
    wide = tuple(
        slice(max(0, part.start - margin), min(length, part.stop + margin))
        for part, length in zip(window, size, strict=True)
    )
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(window, wide, strict=True))
    return (wide[0], wide[1]), (inner[0], inner[1])


def crop(images: PairImages, window: Window) -> PairImages:
    """Return a window of a pair, as views; a flow stays as it is, since both images lose the same margin."""
    flow = None if images.flow is None else images.flow[window]
    return PairImages(images.infrared[window], images.visible[window], flow)


def resized(images: PairImages, side: int, *, nearest: bool) -> PairImages:
    """Return a whole pair as a square, whatever its shape was.

    Convention: pixels keep their place in the scene, as in :func:`fusion_ros.geometry.warp.resize_homography`.
    Without ``nearest`` the images are interpolated bilinearly between the nearest four pixels, also where they
    shrink. A flow is interpolated either way, and counts new pixels.
    """
    height, width = images.visible.shape
    method = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
    infrared, visible = (
        cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=method) for image in images[:2]
    )
    if images.flow is None:
        return PairImages(infrared, visible)
    flow = cv2.resize(np.ascontiguousarray(images.flow), (side, side), interpolation=cv2.INTER_LINEAR)
    return PairImages(infrared, visible, flow * np.float32([side / width, side / height]))


def mirrored(sample: Sample) -> Sample:
    """Return a sample with left and right exchanged; what pointed right points left."""
    infrared, visible, registered, flow, inside = (image[:, ::-1] for image in sample)
    return Sample(infrared, visible, registered, flow * np.float32([-1.0, 1.0]), inside)


def grey_table(strength: float, rng: np.random.Generator) -> np.ndarray:
    """Return what each of the 256 grey levels becomes: a random gamma, contrast and brightness.

    At strength 1 gamma is 1/2 to 2 (uniform in its logarithm), contrast 0.5 to 1.5 times about mid-grey, and
    brightness up to 0.25 more or less; at 0 each level becomes itself. What leaves [0, 1] saturates.

    Args:
        strength: 0 to 1.
        rng: Three numbers are drawn, whatever the strength.

    Returns:
        ``(256,)`` float32 in [0, 1], never falling.
    """
    octaves, contrast, brightness = strength * rng.uniform(-1.0, 1.0, 3)
    grey = np.linspace(0.0, 1.0, 256) ** (2.0 ** (_GAMMA_OCTAVES * octaves))
    grey = (grey - 0.5) * (1.0 + _CONTRAST * contrast) + 0.5 + _BRIGHTNESS * brightness
    return np.clip(grey, 0.0, 1.0).astype(np.float32)
