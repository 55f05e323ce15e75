"""A picture of a feature map: its three strongest principal components as colour, steady over time."""

from __future__ import annotations

import cv2
import numpy as np

from ..feature_grid import FeatureGrid

__all__ = ["FeatureColours"]

_SHARE = 0.1  # of a new frame in the running mean and covariance
_SAMPLED = 4096  # cells of a frame that are looked at: enough for a covariance of some hundred channels
_FLAT = 1e-4  # relative to the values: what varies less is grey, not noise
_SPAN = 2.5  # standard deviations of a component that black and white lie from its mean


class FeatureColours:
    """Colours the frames of one layer.

    The components are those of a covariance that follows the stream. A principal axis has no sign of its own,
    and two of nearly one strength exchange their order from frame to frame; either would make the picture
    flash. So each frame takes, in the space that its three strongest axes span, the axes nearest to those of
    the frame before (the orthogonal Procrustes problem; Schonemann, Psychometrika 31, 1966).
    """

    def __init__(self) -> None:
        self._mean: np.ndarray | None = None  # (C,)
        self._covariance: np.ndarray | None = None  # (C, C)
        self._axes: np.ndarray | None = None  # (C, 3), or fewer columns where there are fewer channels

    def __call__(self, grid: FeatureGrid) -> np.ndarray:
        """Return ``(H, W, 3)`` uint8 RGB of the size of the grid's image.

        The first component is red, the second green, the third blue. A single channel is shown in grey; of
        two, blue stays in the middle. Pixels that belong to no cell take the nearest one's colour.
        """
        self._follow(grid.values.reshape(-1, grid.channels))
        spread = np.sqrt(np.einsum("ck,cd,dk->k", self._axes, self._covariance, self._axes))
        gain = 1 / np.maximum(2 * _SPAN * spread, _FLAT * (1 + np.abs(self._mean).max()))
        projection = (self._axes * gain).astype(np.float32)
        offset = (0.5 - self._mean @ projection).astype(np.float32)
        shares = np.clip(grid.values @ projection + offset, 0, 1)
        levels = np.rint(255 * shares).astype(np.uint8)
        return _enlarged(_three(levels), grid)

    def _follow(self, cells: np.ndarray) -> None:
        """Let mean, covariance and axes follow the cells ``(N, C)`` of a new frame."""
        sample = cells[:: max(1, len(cells) // _SAMPLED)].astype(np.float64)
        mean = sample.mean(axis=0)
        centred = sample - mean
        covariance = centred.T @ centred / len(sample)
        if self._mean is None or self._is_another_scene(mean, covariance):
            self._mean, self._covariance = mean, covariance
        else:
            self._mean += _SHARE * (mean - self._mean)
            self._covariance += _SHARE * (covariance - self._covariance)
        strongest = np.linalg.eigh(self._covariance)[1][:, ::-1][:, :3]
        if self._axes is None:
            self._axes = strongest * np.where(strongest.sum(axis=0) < 0, -1.0, 1.0)
        else:
            left, _, right = np.linalg.svd(strongest.T @ self._axes)
            self._axes = strongest @ left @ right

    def _is_another_scene(self, mean: np.ndarray, covariance: np.ndarray) -> bool:
        """Whether the mean leapt further than features vary at all; to follow that would take seconds."""
        variance = max(np.trace(covariance), np.trace(self._covariance))
        return float(np.sum((mean - self._mean) ** 2)) > variance


def _three(levels: np.ndarray) -> np.ndarray:
    """Return ``(h, w, 3)`` of one to three components."""
    if levels.shape[2] == 1:
        return np.repeat(levels, 3, axis=2)
    if levels.shape[2] == 2:
        return np.concatenate([levels, np.full_like(levels[..., :1], 128)], axis=2)
    return levels


def _enlarged(picture: np.ndarray, grid: FeatureGrid) -> np.ndarray:
    """Bring cells onto the pixels of the grid's image, each where it belongs."""
    rows, columns = (count * grid.stride for count in picture.shape[:2])
    # OpenCV takes a cell for a square of pixels around its centre, as the grid does.
    large = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR)
    height, width = grid.size
    missing = max(0, height - rows), max(0, width - columns)
    large = cv2.copyMakeBorder(large, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(large[:height, :width])
