"""Where a thermal image lies in an RGB image when next to nothing is known: all scales, rotations and places.

The frames of a recording have one answer, so their correlations are added before the best is looked for: what
one frame leaves open another decides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...geometry.warp import resize, resize_homography
from .features import centred_features
from .views import RigView

__all__ = ["Candidate", "search"]

Size = tuple[int, int]
_COARSE_WIDTH, _FINE_WIDTH = 112, 224  # px of the RGB image
_COARSE_FRAMES, _FINE_FRAMES = 8, 4
_SCALE_STEP, _ANGLE_STEP = 0.08, 4.0  # what a correlation at the coarse width tolerates
_EVERY = 2  # directions: where nothing is known yet, half of them tell enough
_KEPT = 3
_DISTINCT = 0.08  # of the RGB width, between the corners of two candidates
_PADDING = 24  # px: templates of nearly one size share the spectra of the RGB images
_SMALLEST_OVERLAP = 0.5  # of the thermal image


@dataclass(frozen=True, eq=False)
class Candidate:
    """One answer.

    Attributes:
        rgb_from_thermal: 3 x 3 similarity for the images' own sizes.
        score: Correlation of the features, times the fourth root of the share of the RGB image that is covered:
            on small areas chance correlates better.
        view: Width of the thermal image in the RGB image, as a share of the RGB width.
        angle_deg: Rotation, positive from x to y (clockwise as one sees it).
    """

    rgb_from_thermal: np.ndarray
    score: float
    view: float
    angle_deg: float


def search(
    views: Sequence[RigView],
    view_range: tuple[float, float],
    largest_angle_deg: float,
    on_step: Callable[[float], None] = lambda share: None,
) -> list[Candidate]:
    """Return the best few answers that differ, best first.

    Args:
        views: Of one rig; all RGB images of one size, all thermal images of one size.
        view_range: Smallest and largest width of the thermal image in the RGB image, as a share of its width.
        largest_angle_deg: Rotations up to this are tried, either way.
        on_step: Called with the share of the work that another step was.
    """
    shares = _steps(math.log(view_range[0]), math.log(view_range[1]), _SCALE_STEP)
    angles = _steps(-largest_angle_deg, largest_angle_deg, _ANGLE_STEP)
    hypotheses = [(math.exp(share), angle) for share, angle in itertools.product(shares, angles)]
    work = 1.0 / (len(hypotheses) + 9 * _KEPT * 2)  # a fine step counts for two
    coarse = _Matcher(_spread(views, _COARSE_FRAMES), _COARSE_WIDTH)
    found = []
    for share, angle in hypotheses:
        found.append(coarse(share, angle))
        on_step(work)
    fine = _Matcher(_spread(views, _FINE_FRAMES), _FINE_WIDTH)
    refined = []
    for candidate in _distinct(found, views[0]):
        around = []
        for scale, turn in itertools.product((-1, 0, 1), (-1, 0, 1)):
            share = candidate.view * math.exp(scale * _SCALE_STEP / 2)
            around.append(fine(share, candidate.angle_deg + turn * _ANGLE_STEP / 2))
            on_step(2 * work)
        refined.append(max(around, key=lambda item: item.score))
    return _distinct(refined, views[0])


class _Matcher:
    """Correlates thermal images of any scale and rotation with the RGB images, at all translations."""

    def __init__(self, views: Sequence[RigView], width: int) -> None:
        self._thermal = [view.thermal for view in views]
        self._rgb_size = views[0].rgb.shape
        height = max(8, round(self._rgb_size[0] * width / self._rgb_size[1]))
        self._size = (height, width)
        self._kept: tuple[Size, tuple[np.ndarray, ...]] | None = None
        small = [resize(view.rgb, self._size) for view in views]
        self._rgb = np.stack([centred_features(image, every=_EVERY) for image in small])

    def __call__(self, share: float, angle_deg: float) -> Candidate:
        size, placed_from_thermal = self._placed(share, angle_deg)
        templates, mask = self._templates(size, placed_from_thermal)
        score, (x, y) = self._correlate(templates, mask)
        moved = np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]]) @ placed_from_thermal
        return Candidate(resize_homography(self._size, self._rgb_size) @ moved, score, share, angle_deg)

    def _placed(self, share: float, angle_deg: float) -> tuple[Size, np.ndarray]:
        """Return the size of the box around the scaled and rotated image, and where its pixels go there."""
        height, width = self._thermal[0].shape
        scale, angle = share * self._size[1] / width, math.radians(angle_deg)
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        corners = (
            turn
            @ np.array([(-0.5, -0.5), (width - 0.5, -0.5), (-0.5, height - 0.5), (width - 0.5, height - 0.5)]).T
        )
        low = corners.min(axis=1)
        box = np.ceil(corners.max(axis=1) - low).astype(int)
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = turn, -low - 0.5
        return (int(box[1]), int(box[0])), matrix

    def _templates(self, size: Size, placed_from_thermal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features ``(F, C, h, w)`` of the thermal images in the box, and where there are any."""
        height, width = self._thermal[0].shape
        scale = math.hypot(*placed_from_thermal[:2, 0])
        reduced = tuple(max(1, round(length * min(1.0, scale))) for length in (height, width))
        matrix = (placed_from_thermal @ resize_homography(reduced, (height, width)))[:2]
        full = np.ones(reduced, np.uint8)
        seen = cv2.erode(cv2.warpAffine(full, matrix, size[::-1]), np.ones((3, 3)), borderValue=0) > 0
        found = [
            centred_features(
                cv2.warpAffine(resize(image, reduced), matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE),
                seen,
                every=_EVERY,
            )
            for image in self._thermal
        ]
        return np.stack(found), seen

    def _correlate(self, template: np.ndarray, mask: np.ndarray) -> tuple[float, tuple[int, int]]:
        """Return the best score over all translations, and the translation ``(x, y)`` of the template's origin.

        Normalised by the energies of both inside the overlap, frames and channels taken together.

        Args:
            template: ``(F, C, h, w)`` features, zero outside ``mask``.
            mask: ``(h, w)`` bool.
        """
        height, width = self._size
        full = tuple(_padded(a + b) for a, b in zip(self._size, mask.shape, strict=True))
        rgb, energy, everywhere = self._spectra(full)

        def over_translations(image: np.ndarray, other: np.ndarray) -> np.ndarray:
            return np.fft.irfft2(image * np.fft.rfft2(other, full).conj(), full)

        products = (
            (spectrum * np.fft.rfft2(one, full).conj()).sum(axis=0)
            for spectrum, one in zip(rgb, template, strict=True)
        )
        shared = np.fft.irfft2(sum(products), full)
        seen = mask.astype(np.float32)
        norm = over_translations(energy, seen) * over_translations(everywhere, (template**2).sum(axis=(0, 1)))
        overlap = over_translations(everywhere, seen)
        allowed = overlap > _SMALLEST_OVERLAP * seen.sum()
        score = np.where(allowed, shared / np.sqrt(np.maximum(norm, 1e-6)), 0.0)
        score *= (np.maximum(overlap, 0.0) / (height * width)) ** 0.25
        row, column = (int(i) for i in np.unravel_index(score.argmax(), score.shape))
        best = float(score[row, column])
        return best, (column - full[1] * (column >= width), row - full[0] * (row >= height))

    def _spectra(self, full: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the spectra of the RGB features, of their energy and of the image's area; the last are kept."""
        if self._kept is None or self._kept[0] != full:
            area = np.ones(self._size, np.float32)
            images = (self._rgb, (self._rgb**2).sum(axis=(0, 1)), area)
            self._kept = full, tuple(np.fft.rfft2(image, full) for image in images)
        return self._kept[1]


def _padded(length: int) -> int:
    """Return a length at least as large, one of few, that is fast to transform."""
    return cv2.getOptimalDFTSize(-(-length // _PADDING) * _PADDING)


def _steps(low: float, high: float, step: float) -> list[float]:
    """Return values from low to high, both included, at most ``step`` apart."""
    return np.linspace(low, high, max(1, math.ceil((high - low) / step) + 1) if high > low else 1).tolist()


def _spread(views: Sequence[RigView], limit: int) -> list[RigView]:
    chosen = np.linspace(0, len(views) - 1, min(limit, len(views))).round().astype(int)
    return [views[index] for index in chosen]


def _distinct(candidates: Sequence[Candidate], view: RigView) -> list[Candidate]:
    """Return the best candidates, leaving out those that lie close to a better one."""
    height, width = view.thermal.shape
    corners = np.array([(0, 0, 1), (width - 1, 0, 1), (0, height - 1, 1), (width - 1, height - 1, 1)], float).T
    kept: list[Candidate] = []
    places: list[np.ndarray] = []
    for candidate in sorted(candidates, key=lambda item: -item.score):
        place = (candidate.rgb_from_thermal @ corners)[:2]
        if all(np.abs(place - other).max() > _DISTINCT * view.rgb.shape[1] for other in places):
            kept.append(candidate)
            places.append(place)
        if len(kept) == _KEPT:
            break
    return kept
