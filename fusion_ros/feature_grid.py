"""A feature map that knows which pixels its cells stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import ImageError

__all__ = ["FeatureGrid"]


@dataclass(frozen=True, eq=False)
class FeatureGrid:
    """Features of an image on a coarser grid.

    Cell ``(x, y)`` stands for the ``stride * stride`` pixels from ``(stride * x, stride * y)`` on: its centre is
    at pixel ``stride * x + (stride - 1) / 2``, where pixel centres are integers.

    Attributes:
        values: ``(h, w, C)`` float32.
        stride: Pixel pitch of the cells.
        size: ``(H, W)`` of the image; pixels beyond the last whole cell belong to no cell.
    """

    values: np.ndarray
    stride: int
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.dtype != np.float32:
            raise ImageError(
                f"features: expected (h, w, channels) float32, got {self.values.shape} {self.values.dtype}"
            )

    @property
    def channels(self) -> int:
        """Number of features of a cell."""
        return self.values.shape[2]

    def cells(self, pixels: float | np.ndarray) -> float | np.ndarray:
        """Return the cell coordinate of a pixel coordinate; both may lie between two."""
        return (pixels - 0.5 * (self.stride - 1)) / self.stride

    def pixels(self, cells: float | np.ndarray) -> float | np.ndarray:
        """Return the pixel coordinate of a cell coordinate; both may lie between two."""
        return self.stride * cells + 0.5 * (self.stride - 1)
