"""Fusion of Laplacian pyramids."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..arrays import check_pair
from ..settings import Settings, setting
from .weighted import average

__all__ = ["LaplacianSettings", "laplacian"]


@dataclass(frozen=True)
class LaplacianSettings(Settings):
    """How deep the pyramid is."""

    levels: int = setting(
        5,
        "Levels of detail above the averaged base; fewer where the longer side has shrunk to about a pixel.",
        bounds=(0, 16),
    )


def laplacian(infrared: np.ndarray, visible: np.ndarray, settings: LaplacianSettings | None = None) -> np.ndarray:
    """Fuse by the Laplacian pyramid: of each detail the stronger one, of the base the average.

    With ``G_0`` an image and ``G_k+1 = reduce(G_k)`` (blur by (1 4 6 4 1)/16, take every second pixel), its
    details are ``L_k = G_k - expand(G_k+1)``. At each level and pixel the fused detail is the one of greater
    magnitude (the infrared one where they are equal); the last ``G`` is averaged; and the image is built up
    again, ``G_k = L_k + expand(G_k+1)``. Borders are reflected, sides of any length are halved upwards.
    A side of one pixel stays one pixel: a row of pixels is fused along its length.

    Source: Burt and Adelson, "The Laplacian pyramid as a compact image code", IEEE Transactions on
    Communications 31(4), 1983; the choice of details: the same, "Merging images through pattern
    decomposition", SPIE 575, 1985.

    Args:
        infrared: ``(H, W)`` float32 in [0, 1].
        visible: Likewise, on the same pixel grid.
        settings: How deep the pyramid is.

    Returns:
        ``(H, W)`` float32, about [0, 1]: overshoots at edges are not clamped.

    Raises:
        ImageError: The images are not such arrays.
    """
    check_pair(infrared, visible)
    settings = settings or LaplacianSettings()
    halvings = max(infrared.shape).bit_length() - 1
    details = []
    for _ in range(min(settings.levels, halvings)):
        infrared, infrared_detail = _reduce(infrared)
        visible, visible_detail = _reduce(visible)
        is_infrared = np.abs(infrared_detail) >= np.abs(visible_detail)
        details.append(np.where(is_infrared, infrared_detail, visible_detail))
    fused = average(infrared, visible)
    for detail in reversed(details):
        fused = _expand(fused, detail.shape)
        fused += detail
    return fused


def _reduce(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the next level, of half the size rounded up, and the detail that it lacks."""
    smaller = cv2.pyrDown(image)
    return smaller, image - _expand(smaller, image.shape)


def _expand(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.pyrUp(image, dstsize=(shape[1], shape[0]))
