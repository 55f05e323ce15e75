"""A calibration to look at: the thermal image on the RGB image, without it and with it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..alignment.matching import RigView
from ..errors import CalibrationError
from ..geometry.warp import homography_maps, remap, resize, resize_homography
from ..imaging import to_uint8
from .pictures import contact_sheet

__all__ = ["before_and_after"]

_WIDTH = 640  # px of one picture
_SQUARES = 8  # across
_STRONGEST = 0.12  # share of the pixels whose gradients are drawn as edges
_CAPTIONS = (
    "before: thermal (colour) against RGB (grey)",
    "after",
    "before: edges of thermal (red), RGB (cyan)",
    "after",
)


def before_and_after(views: Sequence[RigView], rgb_from_thermal: np.ndarray) -> np.ndarray:
    """Return one row of pictures for each view: a chequerboard of both images, and the edges of both.

    Args:
        rgb_from_thermal: 3 x 3, thermal pixels to RGB pixels, of the views.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    rows = [_row(view, rgb_from_thermal) for view in views]
    height, width = rows[0][0].shape[:2]
    return contact_sheet(rows, captions=_CAPTIONS, tile=(height, width))


def _row(view: RigView, rgb_from_thermal: np.ndarray) -> list[np.ndarray]:
    size = (max(2, round(view.rgb.shape[0] * _WIDTH / view.rgb.shape[1])), _WIDTH)
    rgb = resize(view.rgb, size)
    maps = homography_maps(resize_homography(view.rgb.shape, size) @ rgb_from_thermal, view.thermal.shape, size)
    pairs = [(resize(view.thermal, size), np.ones(size, bool)), (remap(view.thermal, maps), maps.valid)]
    boards = [_chequerboard(thermal, rgb, seen) for thermal, seen in pairs]
    edges = [_edges(thermal, rgb, seen) for thermal, seen in pairs]
    return [*boards, *edges]


def _chequerboard(thermal: np.ndarray, rgb: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return squares of the thermal image, in false colour, in turn with squares of the RGB image, in grey."""
    heat = cv2.cvtColor(cv2.applyColorMap(to_uint8(thermal), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(to_uint8(rgb), cv2.COLOR_GRAY2RGB)
    rows, columns = np.indices(rgb.shape) // (_WIDTH // _SQUARES)
    return np.where(((rows + columns) % 2 == 0)[..., None] & valid[..., None], heat, grey)


def _edges(thermal: np.ndarray, rgb: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the strongest gradients: of the thermal image in red, of the RGB image in green and blue."""
    inner = cv2.erode(valid.astype(np.uint8), np.ones((5, 5)), borderValue=1) > 0
    red, cyan = _strongest(thermal, inner), _strongest(rgb, inner)
    return np.dstack([red, cyan, cyan])


def _strongest(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    strength = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) * valid
    if not valid.any():
        raise CalibrationError("expected the thermal and the RGB image to overlap, but they do not")
    limit = max(float(np.quantile(strength[valid], 1.0 - _STRONGEST)), 1e-6)
    return np.clip(strength / limit * 128.0, 0, 255).astype(np.uint8)
