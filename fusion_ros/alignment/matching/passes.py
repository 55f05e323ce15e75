"""One pass over a rig's images: where blocks of the thermal images lie in the RGB images, and what fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...errors import CalibrationError
from ...geometry.warp import area_scale, homography_maps, remap, resize, resize_homography
from .blocks import BlockStack, block_centres, frame_blocks
from .features import centred_features
from .fitting import Fit, apply_homography, fit_transform
from .views import RigView

__all__ = ["DISTINCT", "FEWEST_BLOCKS", "MatchedBlocks", "match_blocks"]

BLOCK, _STEP = 48, 24  # px of the grid
FEWEST_BLOCKS = 12
_TOLERANCE = 1.5  # px of the grid
DISTINCT = 0.02  # fall of the correlation around a peak; less is an edge along which the block can slide
_RESAMPLES = 30


@dataclass(frozen=True, eq=False)
class MatchedBlocks:
    """What one pass of block matching at one resolution gave.

    Convention: the grid is that of the thermal image, resized; the RGB images were warped onto it.
    """

    stack: BlockStack
    centres: np.ndarray
    valid: np.ndarray
    thermal_from_grid: np.ndarray
    rgb_from_grid: np.ndarray

    def fitted(
        self,
        model: str,
        frames: np.ndarray | None = None,
        blocks: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> tuple[Fit | None, np.ndarray]:
        """Fit to the blocks that could only be in one place; return the fit and which blocks those are.

        Args:
            frames: ``(F,)`` how often each frame counts; once if None.
            blocks: ``(N,)`` how often each block counts; once if None.
            start: Transform to begin with, else random samples of the blocks are tried.
        """
        peaks = self.stack.peaks(frames)
        times = np.ones(len(self.centres)) if blocks is None else blocks
        used = (peaks.distinct > DISTINCT) & (times > 0)
        thermal = apply_homography(self.thermal_from_grid, self.centres[used])
        rgb = apply_homography(self.rgb_from_grid, self.centres[used] + peaks.displacement[used])
        weights = (times * peaks.distinct)[used]
        return fit_transform(thermal, rgb, model, _TOLERANCE * self.rgb_scale, weights, start), used

    @property
    def rgb_scale(self) -> float:
        """RGB pixels in a pixel of the grid."""
        return float(np.sqrt(abs(area_scale(self.rgb_from_grid, self.valid.shape))))

    def spread_px(self, fit: Fit, model: str) -> float:
        """Fit to frames and blocks drawn anew; return how far the image moves in half of the fits, RGB px."""
        random = np.random.default_rng(0)
        height, width = self.valid.shape
        grid = np.stack(np.meshgrid(np.linspace(0, width - 1, 5), np.linspace(0, height - 1, 5)), axis=-1)
        points = apply_homography(self.thermal_from_grid, grid.reshape(-1, 2))
        here = apply_homography(fit.matrix, points)
        moves = np.full(_RESAMPLES, np.inf)
        for index in range(_RESAMPLES):
            draws = (random.integers(0, n, n) for n in (self.stack.frames, len(self.centres)))
            frames, blocks = (np.bincount(drawn, minlength=len(drawn)) for drawn in draws)
            again, _ = self.fitted(model, frames, blocks, fit.matrix)
            if again is not None:
                moved = apply_homography(again.matrix, points) - here
                moves[index] = np.sqrt((moved**2).sum(axis=1).mean())
        return float(np.median(moves))

    def score(self, used: np.ndarray) -> float:
        """Return the mean correlation of the blocks ``used``, indices, each where it was found."""
        return float(self.stack.peaks().score[used].mean())

    def covered(self, used: np.ndarray) -> float:
        """Return the share of the overlap inside the outline of the blocks ``used``, indices."""
        half = BLOCK / 2
        corners = [self.centres[used] + np.array([dx, dy]) for dx in (-half, half) for dy in (-half, half)]
        outline = cv2.convexHull(np.concatenate(corners).astype(np.float32))
        return min(1.0, float(cv2.contourArea(outline)) / max(1.0, float(self.valid.sum())))


def match_blocks(
    views: Sequence[RigView], rgb_from_thermal: np.ndarray, width: int, reach: int
) -> MatchedBlocks | None:
    """Look for blocks of the thermal images in the RGB images, brought onto the thermal grid as far as is known.

    Args:
        rgb_from_thermal: 3 x 3, roughly right.
        width: Of the thermal image on the grid.
        reach: Displacements up to this are found, px of the grid.

    Returns:
        None where the images hardly overlap, or ``rgb_from_thermal`` is no view of a plane.
    """
    thermal_size, rgb_size = views[0].thermal.shape, views[0].rgb.shape
    size = (max(2, round(thermal_size[0] * width / thermal_size[1])), width)
    grid_from_rgb = resize_homography(thermal_size, size) @ np.linalg.inv(rgb_from_thermal)
    try:
        reduced = _averaged_size(rgb_size, grid_from_rgb)
        maps = homography_maps(grid_from_rgb @ resize_homography(reduced, rgb_size), reduced, size)
    except CalibrationError:  # what was fitted before folds the image: nothing agreed
        return None
    valid = cv2.erode(maps.valid.astype(np.uint8), np.ones((7, 7)), borderValue=1) > 0
    centres = block_centres(valid, BLOCK, _STEP)
    if len(centres) < FEWEST_BLOCKS:
        return None
    frames = []
    for view in views:
        fixed = centred_features(resize(view.thermal, size), valid)
        moving = centred_features(remap(resize(view.rgb, reduced), maps), valid)
        frames.append(frame_blocks(fixed, moving, centres, BLOCK, reach))
    return MatchedBlocks(
        BlockStack(frames), centres, valid, resize_homography(size, thermal_size), np.linalg.inv(grid_from_rgb)
    )


def _averaged_size(size: tuple[int, int], output_from_image: np.ndarray) -> tuple[int, int]:
    """Return the size to average an RGB image down to before it is warped, so that it does not alias."""
    scale = min(1.0, np.sqrt(abs(area_scale(output_from_image, size))))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
