"""How far small parts of one image are displaced in another, with the evidence of many frames added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["BlockPeaks", "BlockStack", "FrameBlocks", "block_centres", "frame_blocks"]

_VALID_SHARE = 0.9  # of a block
_APART = 3  # px; what is nearer to the peak belongs to it
_SIDE = 1  # px around the peak to which a parabola is fitted


@dataclass(frozen=True, eq=False)
class FrameBlocks:
    """Correlations of one frame: for N blocks and D x D displacements.

    Attributes:
        shared: ``(N, D, D)`` float32, scalar products of the features.
        fixed_energy: ``(N,)`` float32, of the block's own features.
        moving_energy: ``(N, D, D)`` float32, of the other image's features under the displaced block.
    """

    shared: np.ndarray
    fixed_energy: np.ndarray
    moving_energy: np.ndarray


@dataclass(frozen=True, eq=False)
class BlockPeaks:
    """Where blocks were found.

    Attributes:
        displacement: ``(N, 2)`` float64, ``(x, y)`` px: the block at p is at p + displacement in the other image.
        score: ``(N,)`` correlation there, up to 1.
        distinct: ``(N,)`` by how much the correlation falls, at the least, some pixels away: near 0 on a straight
            edge, along which a block can slide, and where structure repeats. 0 where the peak lies at the
            end of the search.
    """

    displacement: np.ndarray
    score: np.ndarray
    distinct: np.ndarray


class BlockStack:
    """The blocks of several frames of one rig."""

    def __init__(self, frames: Sequence[FrameBlocks]) -> None:
        self._shared = np.stack([frame.shared for frame in frames])
        self._fixed = np.stack([frame.fixed_energy for frame in frames])
        self._moving = np.stack([frame.moving_energy for frame in frames])

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self._fixed)

    def peaks(self, weights: np.ndarray | None = None) -> BlockPeaks:
        """Return where each block is in all frames together; ``weights`` (F,) says how often each frame counts."""
        weights = np.ones(self.frames, np.float32) if weights is None else weights.astype(np.float32)
        shared, fixed, moving = (
            np.tensordot(weights, part, axes=1) for part in (self._shared, self._fixed, self._moving)
        )
        return _find_peaks(_normalised(shared, fixed[:, None, None], moving))

    def frame_shifts(self, used: np.ndarray) -> BlockPeaks:
        """Return by how much each frame is displaced as a whole, of those blocks that are ``used`` (N,) bool."""
        fixed = self._fixed[:, used].sum(axis=1)[:, None, None]
        surfaces = _normalised(self._shared[:, used].sum(axis=1), fixed, self._moving[:, used].sum(axis=1))
        return _find_peaks(surfaces)


def block_centres(valid: np.ndarray, block: int, step: int) -> np.ndarray:
    """Return the centres ``(N, 2)`` int, ``(x, y)``, of blocks inside the image and nearly all ``valid``."""
    height, width = valid.shape
    half = block // 2
    share = cv2.blur(valid.astype(np.float32), (block, block), borderType=cv2.BORDER_CONSTANT)
    rows, columns = range(half, height - half + 1, step), range(half, width - half + 1, step)
    found = [(x, y) for y in rows for x in columns if share[min(y, height - 1), min(x, width - 1)] >= _VALID_SHARE]
    return np.array(found, int).reshape(-1, 2)


def frame_blocks(
    fixed: np.ndarray, moving: np.ndarray, centres: np.ndarray, block: int, reach: int
) -> FrameBlocks:
    """Correlate blocks of ``fixed`` with their surroundings in ``moving``.

    Args:
        fixed: ``(C, H, W)`` features.
        moving: Likewise.
        centres: From :func:`block_centres`.
        block: Side of a block, px, even.
        reach: Displacements from -reach to reach are tried along both axes, px.
    """
    half = block // 2
    padded = np.pad(moving, ((0, 0), (reach, reach), (reach, reach)))
    tops, lefts = centres[:, 1] - half, centres[:, 0] - half
    wide, reached = block + 2 * reach, 2 * reach + 1
    full = (cv2.getOptimalDFTSize(wide),) * 2
    shared = np.zeros((len(centres), reached, reached), np.float32)
    for ours, theirs in zip(fixed, padded, strict=True):  # channel by channel: the memory of one
        own = np.lib.stride_tricks.sliding_window_view(ours, (block, block))[tops, lefts]
        other = np.lib.stride_tricks.sliding_window_view(theirs, (wide, wide))[tops, lefts]
        product = np.fft.rfft2(other, full) * np.fft.rfft2(own, full).conj()
        shared += np.fft.irfft2(product, full)[:, :reached, :reached].astype(np.float32)
    energy = cv2.integral((padded**2).sum(axis=0))
    sums = energy[block:, block:] - energy[:-block, block:] - energy[block:, :-block] + energy[:-block, :-block]
    around = np.lib.stride_tricks.sliding_window_view(sums, (reached, reached))[tops, lefts]
    squared = cv2.integral((fixed**2).sum(axis=0))
    bottoms, rights = tops + block, lefts + block
    own_energy = squared[bottoms, rights] - squared[tops, rights] - squared[bottoms, lefts] + squared[tops, lefts]
    return FrameBlocks(shared, own_energy.astype(np.float32), around.astype(np.float32))


def _normalised(shared: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    return shared / np.sqrt(np.maximum(fixed * moving, 1e-6))


def _find_peaks(surfaces: np.ndarray) -> BlockPeaks:
    """Return the peaks of ``(N, D, D)`` correlations, to a fraction of a pixel."""
    count, side, _ = surfaces.shape
    reach = side // 2
    flat = surfaces.reshape(count, -1)
    rows, columns = np.unravel_index(flat.argmax(axis=1), (side, side))
    score = flat.max(axis=1)
    y, x = np.mgrid[:side, :side]
    near = (np.abs(y - rows[:, None, None]) <= _APART) & (np.abs(x - columns[:, None, None]) <= _APART)
    rest = np.where(near, -np.inf, surfaces).reshape(count, -1).max(axis=1)
    inside = (rows >= _SIDE) & (rows < side - _SIDE) & (columns >= _SIDE) & (columns < side - _SIDE)
    at = np.clip(rows, _SIDE, side - 1 - _SIDE), np.clip(columns, _SIDE, side - 1 - _SIDE)
    offset = _parabola_top(surfaces, *at)
    displacement = np.stack([at[1], at[0]], axis=1) - reach + offset
    return BlockPeaks(displacement, score, np.where(inside, score - rest, 0.0))


def _parabola_top(surfaces: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return ``(N, 2)``, ``(x, y)``: the top of a paraboloid through the 3 x 3 values around each place."""
    index = np.arange(len(surfaces))

    def value(dy: int, dx: int) -> np.ndarray:
        return surfaces[index, rows + dy, columns + dx].astype(np.float64)

    slope_x, slope_y = (value(0, 1) - value(0, -1)) / 2, (value(1, 0) - value(-1, 0)) / 2
    bend_x, bend_y = value(0, 1) + value(0, -1) - 2 * value(0, 0), value(1, 0) + value(-1, 0) - 2 * value(0, 0)
    mixed = (value(1, 1) + value(-1, -1) - value(1, -1) - value(-1, 1)) / 4
    determinant = bend_x * bend_y - mixed**2
    is_top = (determinant > 1e-12) & (bend_x < 0)
    safe = np.where(is_top, determinant, 1.0)
    x = (mixed * slope_y - bend_y * slope_x) / safe
    y = (mixed * slope_x - bend_x * slope_y) / safe
    return np.where(is_top[:, None], np.clip(np.stack([x, y], axis=1), -1.0, 1.0), 0.0)
