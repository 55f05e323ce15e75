"""What a thermal and a colour image of one scene have in common: where their edges run, not how bright they are.

Channel features of oriented gradients: the strength of the gradient along a few directions, whichever side is
the brighter one, smoothed in space and over the directions, and normalised at every pixel. Their product over the
channels is high where edges of both images run alike.

Source: Ye et al., "Fast and robust matching for multimodal remote sensing image registration" (CFOG), IEEE
TGRS 2019, section III.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.warp import flow_positions

__all__ = [
    "FINEST_SIDE",
    "Agreement",
    "View",
    "agreement",
    "confidence_of",
    "product",
    "reduced",
    "shares_enough",
    "structural_features",
]

FINEST_SIDE = 320
"""Pixels of the longer side of the largest images by which an estimator judges what it found."""
ORIENTATIONS = 9
_SIGMA = 1.0  # px of the smoothing in space
_FLOOR = 0.2  # of the median strength: weaker structure is faded out, it is noise
_FAINT = 4e-3  # in units of the image's range per pixel: below it there is nothing but noise
_RING = (5, 8)  # px at the working size: displacements at which unrelated structure is compared
_DIRECTIONS = 8
_DISPLACEMENTS = tuple(
    (round(radius * math.cos(angle)), round(radius * math.sin(angle)))
    for radius in _RING
    for angle in np.arange(_DIRECTIONS) * (2 * math.pi / _DIRECTIONS)
)
_BORDER = 1 / 40  # of the longer side
_CELL = 16  # px: larger than the features' smoothing and the ring, so that cells are nearly independent
_VIEW_SIDE = 160  # px of the longer side
_UNSURE = 1.5  # standard errors; unrelated images stay below it
_MARGIN = 4.0  # standard errors from no confidence to full
_ALIKE = 9  # neighbouring displacements that say the same, for the smoothness of the features
_FEWEST = 12  # cells that a mean needs


def structural_features(image: np.ndarray) -> np.ndarray:
    """Return the channel features of oriented gradients of one image.

    Args:
        image: ``(H, W)`` float32 in [0, 1].

    Returns:
        ``(9, H, W)`` float32, at least 0; at each pixel of length below 1, near 1 on clear structure and 0
        where the image is flat.
    """
    # Sobel's kernels weigh by 8 in all.
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    channels = np.empty((ORIENTATIONS, *image.shape), np.float32)
    for channel, angle in zip(channels, np.arange(ORIENTATIONS) * (math.pi / ORIENTATIONS), strict=True):
        along = cv2.addWeighted(across, math.cos(angle), down, math.sin(angle), 0.0)
        cv2.GaussianBlur(cv2.absdiff(along, 0.0), (0, 0), _SIGMA, dst=channel)
    # Directions are a circle: the last is the first one's neighbour.
    features = (np.roll(channels, 1, axis=0) + 2 * channels + np.roll(channels, -1, axis=0)) / 4
    strength = np.zeros(image.shape, np.float32)
    for channel in features:
        cv2.accumulateSquare(channel, strength)
    strength = cv2.sqrt(strength)
    floor = max(_FLOOR * float(np.median(strength[::2, ::2])), _FAINT)
    features /= strength + floor
    return features


def reduced(image: np.ndarray, factor: float) -> np.ndarray:
    """Return an image resized by ``factor``, at most 1, each pixel the average of those that it covers."""
    if factor >= 1.0:
        return image
    height, width = image.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


class Agreement(NamedTuple):
    """By how much two images' structure coincides better as it lies than beside it, in small areas.

    In each area the mean product of the features as they lie is compared with their mean product at 16
    displacements of 5 and 8 pixels all around, over what both images show there too.

    Attributes:
        gains: ``(h, w)`` float32, of the areas of a coarse grid.
        seen: ``(h, w)`` bool: those that can be judged.
    """

    gains: np.ndarray
    seen: np.ndarray

    @property
    def gain(self) -> float:
        """The mean over what can be judged; 0 where that is too little."""
        return float(self.gains[self.seen].mean()) if _is_enough(self.seen) else 0.0

    @property
    def significance(self) -> float:
        """The gain in standard errors; about 0 for unrelated images, whatever they show."""
        return _significance(self.gains, self.seen)

    def above(self, other: Agreement) -> float:
        """Return by how many standard errors the same images agree better than otherwise aligned.

        Compared area by area, so that what an area shows, which both have in common, does not count.
        """
        return _significance(self.gains - other.gains, self.seen & other.seen)


def agreement(moved: np.ndarray, fixed: np.ndarray, mask: np.ndarray) -> Agreement:
    """Tell how well a moved image lies on the fixed one.

    Args:
        moved: ``(9, H, W)`` features, warped onto the fixed image's grid.
        fixed: ``(9, H, W)`` features.
        mask: ``(H, W)`` float32, 1 where both images are seen, 0 elsewhere.
    """
    weight, seen = _cells(mask)
    cells = seen.shape
    here = _averaged(product(moved, fixed, (0, 0)) * mask, cells)
    around, partners = np.zeros(cells, np.float32), np.zeros(cells, np.float32)
    for displacement in _DISPLACEMENTS:
        # Where nothing is seen the products are zero, as if the images contradicted one another there.
        both = product(mask[None], mask[None], displacement)
        around += _averaged(product(moved, fixed, displacement) * both, cells)
        partners += _averaged(both, cells)
    return Agreement(here / np.maximum(weight, 1e-6) - around / np.maximum(partners, 1e-6), seen)


def _significance(values: np.ndarray, seen: np.ndarray) -> float:
    """Return a mean over areas in its standard errors; 0 where nothing can be told."""
    if not _is_enough(seen):
        return 0.0
    samples = values[seen]
    error = float(samples.std()) / math.sqrt(samples.size)
    return float(samples.mean()) / error if error > 0.0 else 0.0


def _is_enough(seen: np.ndarray) -> bool:
    return np.count_nonzero(seen) >= _FEWEST


def _cells(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which part of each cell of the coarse grid is seen, and which cells can be judged."""
    cells = tuple(max(1, side // _CELL) for side in mask.shape)
    weight = _averaged(mask, cells)
    seen = np.zeros(cells, bool)
    seen[1:-1, 1:-1] = weight[1:-1, 1:-1] > 0.5  # the outer cells have no partner at every displacement
    return weight, seen


def product(moved: np.ndarray, fixed: np.ndarray, displacement: tuple[int, int]) -> np.ndarray:
    """Return the sum over channels of ``moved(p + displacement) * fixed(p)``, ``(H, W)``; 0 beyond the border."""
    x, y = displacement
    height, width = fixed.shape[1:]
    top, bottom, left, right = max(0, -y), min(height, height - y), max(0, -x), min(width, width - x)
    total = np.zeros((height, width), np.float32)
    inner = np.zeros((max(0, bottom - top), max(0, right - left)), np.float32)
    if inner.size:
        for one, other in zip(moved, fixed, strict=True):
            cv2.accumulateProduct(
                one[top + y : bottom + y, left + x : right + x], other[top:bottom, left:right], inner
            )
        total[top:bottom, left:right] = inner
    return total


def _averaged(values: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, cells[::-1], interpolation=cv2.INTER_AREA)


def confidence_of(significance: float, searched: float = 1.0) -> float:
    """Return how sure it is, 0 to 1, that two images show one scene and lie on one another.

    Of 80 images of RoadScene, MSRS and TNO held against another scene's as they lie, none came above 0; of those
    held against their own, half came above 1, the others between.

    Args:
        significance: Of their agreement.
        searched: Among how many displacements, in small pixels, this was the best: the best of many is good by
            chance, by ``sqrt(2 ln n)`` standard errors for n independent ones.
    """
    independent = max(1.0, searched / _ALIKE)
    unsure = max(_UNSURE, math.sqrt(2.0 * math.log(independent)))
    return float(np.clip((significance - unsure) / _MARGIN, 0.0, 1.0))


def shares_enough(valid: np.ndarray, side: int, border_px: float) -> bool:
    """Tell whether two cameras share enough of an image for an agreement to be told, whatever they show.

    Args:
        valid: ``(H, W)`` bool, False where the moving camera sees nothing.
        side: As of :class:`View`.
        border_px: Likewise.
    """
    factor = min(1.0, side / max(valid.shape))
    seen = _wholly_seen(valid, factor)
    return _is_enough(_cells(seen * _inside(seen.shape, factor * border_px))[1])


def _wholly_seen(valid: np.ndarray, factor: float) -> np.ndarray:
    return (reduced(valid.astype(np.float32), factor) > 0.99).astype(np.float32)


def _inside(size: tuple[int, ...], border: float) -> np.ndarray:
    """Return ``(h, w)`` float32, 0 along the border, which takes at most a quarter of the shorter side."""
    width = max(1, min(math.ceil(border), min(size) // 4))
    inner = np.zeros(size, np.float32)
    inner[width:-width, width:-width] = 1.0
    return inner


class View:
    """A pair at a small size, to hold several fields against.

    Args:
        moving: ``(H, W)`` float32 in [0, 1].
        fixed: Likewise.
        valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
        side: Longer side of the small images, in pixels.
        border_px: What is left out along the border, in pixels of the whole images, so that what enters or leaves
            the image when it is moved does not matter; None is a fortieth of the longer side. At most a quarter of
            the shorter side, so that something is left to look at.
    """

    def __init__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        valid: np.ndarray | None = None,
        side: int = _VIEW_SIDE,
        border_px: float | None = None,
    ) -> None:
        self._factor = factor = min(1.0, side / max(fixed.shape))
        self.fixed = structural_features(reduced(fixed, factor))
        self.size: tuple[int, int] = self.fixed.shape[1:]
        """``(h, w)`` of the small images."""
        self._show(moving, valid)
        self._inner = _inside(self.size, _BORDER * max(self.size) if border_px is None else factor * border_px)

    def of(self, moving: np.ndarray, valid: np.ndarray | None = None) -> View:
        """Return a view of another moving image beside the same fixed one; arguments as of the class."""
        other = copy.copy(self)
        other._show(moving, valid)
        return other

    def _show(self, moving: np.ndarray, valid: np.ndarray | None) -> None:
        self.moving = structural_features(reduced(moving, self._factor))
        self._seen = np.ones(self.size, np.float32) if valid is None else _wholly_seen(valid, self._factor)

    def moved(self, flow: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the moving image's features where a flow puts them, and a mask.

        Args:
            flow: ``(h, w, 2)`` in pixels of the small images; None moves nothing.

        Returns:
            ``(9, h, w)``; ``(h, w)`` float32, 1 where both images are seen.
        """
        if flow is None:
            return self.moving, self._seen * self._inner
        x, y = flow_positions(flow)
        features = np.empty_like(self.moving)
        for source, target in zip(self.moving, features, strict=True):
            cv2.remap(source, x, y, cv2.INTER_LINEAR, dst=target, borderMode=cv2.BORDER_CONSTANT)
        return features, cv2.remap(self._seen, x, y, cv2.INTER_NEAREST) * self._inner

    def agreement(self, flow: np.ndarray | None = None) -> Agreement:
        """Return how well the images agree, the moving one moved by ``(h, w, 2)`` in small pixels."""
        moved, mask = self.moved(flow)
        return agreement(moved, self.fixed, mask)

    def shrunk(self, flow: np.ndarray) -> np.ndarray:
        """Return the flow ``(H, W, 2)`` of the whole images for the small ones."""
        height, width = flow.shape[:2]
        factors = (self.size[1] / width, self.size[0] / height)
        return cv2.resize(flow, self.size[::-1], interpolation=cv2.INTER_AREA) * np.float32(factors)

    def confidence(self, flow: np.ndarray | None, search_px: float = 0.0) -> float:
        """Return how sure a flow ``(H, W, 2)`` of the whole images is.

        Args:
            flow: None moves nothing.
            search_px: How far it was searched for along each axis, in pixels of the whole images.
        """
        agreed = self.agreement(None if flow is None else self.shrunk(flow))
        return confidence_of(agreed.significance, (2 * search_px * self._factor + 1) ** 2)
