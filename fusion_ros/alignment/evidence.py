"""Where each part of a moving image best matches the fixed one, and how firmly the images say so.

Over the cells of a coarse grid, the products of two images' features at all small displacements are a surface. Its
peak is the local displacement, found to a fraction of a pixel by a parabola through its top. The parabola's
curvature is the weight of that answer: large where edges cross, none along a single edge, none on a wall. What
the single cells say is mostly wrong between thermal and colour; what they say together is not.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from .structure import product

__all__ = ["Evidence", "local_evidence"]

_SPREAD = 1.0  # cells: each speaks for its neighbours too
_SEEN = 0.25  # of the part of the best cell that both images show: a cell that shows less has no say
_LARGEST_STEP = 0.75  # px from the highest sample to the top of the parabola


class Evidence(NamedTuple):
    """What the cells of a grid say.

    Attributes:
        positions: ``(N, 2)`` float64, the cells' centres on the fixed image, x first, in pixels.
        displacements: ``(N, 2)`` float64, from each to its best match in the moving image.
        precisions: ``(N, 2, 2)`` float64, symmetric, not negative: by how much the match falls off around it.
    """

    positions: np.ndarray
    displacements: np.ndarray
    precisions: np.ndarray

    def magnified(self, across: float, down: float) -> Evidence:
        """Return the same in the pixels of an image of so many times the width and the height."""
        factors = np.array([across, down])
        return Evidence(
            (self.positions + 0.5) * factors - 0.5,
            self.displacements * factors,
            self.precisions / np.outer(factors, factors),
        )


def local_evidence(moved: np.ndarray, fixed: np.ndarray, mask: np.ndarray, radius: int, cell: int) -> Evidence:
    """Match the cells of two feature images.

    Args:
        moved: ``(C, H, W)`` features of the moving image, warped to where it is believed to lie.
        fixed: ``(C, H, W)`` features of the fixed image.
        mask: ``(H, W)`` float32, 1 where both are seen.
        radius: Largest displacement in pixels, along each axis.
        cell: Side of a cell in pixels.
    """
    height, width = mask.shape
    rows, columns = max(1, height // cell), max(1, width // cell)
    weight = _over_cells(mask, rows, columns)
    side = 2 * radius + 1
    surface = np.empty((side, side, rows, columns), np.float32)
    for y in range(side):
        for x in range(side):
            here = product(moved, fixed, (x - radius, y - radius))
            surface[y, x] = _over_cells(here * mask, rows, columns)
    surface /= weight + 1e-6
    displacements, precisions = _peaks(surface)
    # Against the best seen cell: a translation's only cell is the whole image, of which little may be seen.
    precisions *= (weight * (weight > _SEEN * weight.max()))[..., None, None]
    x = (np.arange(columns) + 0.5) * (width / columns) - 0.5
    y = (np.arange(rows) + 0.5) * (height / rows) - 0.5
    positions = np.stack(np.meshgrid(x, y), axis=-1)
    return Evidence(positions.reshape(-1, 2), displacements.reshape(-1, 2), precisions.reshape(-1, 2, 2))


def _over_cells(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    means = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(means, (0, 0), _SPREAD, borderType=cv2.BORDER_REPLICATE)


def _peaks(surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the top ``(rows, columns, 2)`` of each surface ``(side, side, rows, columns)``, and its curvature."""
    side, _, rows, columns = surface.shape
    # Only tops with neighbours on all sides: at the edge of the search nothing is known of what is beyond.
    inner = surface[1:-1, 1:-1].reshape(-1, rows, columns).argmax(axis=0)
    top_y, top_x = inner // (side - 2) + 1, inner % (side - 2) + 1
    row, column = np.mgrid[:rows, :columns]

    def at(y: int, x: int) -> np.ndarray:
        return surface[top_y + y, top_x + x, row, column].astype(np.float64)

    top = at(0, 0)
    slope = np.stack([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)], axis=-1) / 2
    along_x, along_y = 2 * top - at(0, 1) - at(0, -1), 2 * top - at(1, 0) - at(-1, 0)
    across = -(at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    determinant = along_x * along_y - across * across
    is_top = (along_x > 0) & (along_y > 0) & (determinant > 1e-3 * along_x * along_y)
    safe = np.where(is_top, determinant, 1.0)
    step_x = (along_y * slope[..., 0] - across * slope[..., 1]) / safe
    step_y = (along_x * slope[..., 1] - across * slope[..., 0]) / safe
    step = np.clip(np.stack([step_x, step_y], axis=-1), -_LARGEST_STEP, _LARGEST_STEP) * is_top[..., None]
    peaks = np.stack([top_x, top_y], axis=-1) - side // 2 + step
    curvature = np.stack([along_x, across, across, along_y], axis=-1).reshape(rows, columns, 2, 2)
    return peaks, curvature * is_top[..., None, None]
