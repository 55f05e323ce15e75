"""Aligners that everybody has: what OpenCV offers, as estimators to compare others with.

Each finds one matrix ``moving_from_fixed`` for the whole image. Where it finds none, or one that moves the image
farther than any rig is misaligned, it has failed: the flow is zero (or the start) and the confidence 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import cv2
import numpy as np

from ...alignment.estimate import Estimate
from ...arrays import check_pair
from ...geometry.warp import resize, resize_homography
from ...metrics.registration import corner_error

__all__ = ["EnhancedCorrelation", "FeatureMatching", "NoAlignment", "PhaseCorrelation", "homography_flow"]

Size = tuple[int, int]
_Matrix = tuple[np.ndarray, float]

_LARGEST_SHARE = 4  # of the shorter side: corners that move farther are a failure
_BLANK = 1e-4  # standard deviation of an image in [0, 1] in which there is nothing to find
_MOTIONS = {"translation": cv2.MOTION_TRANSLATION, "affine": cv2.MOTION_AFFINE}
_HALVINGS = (2, 1, 0)
_SMALLEST_SIDE = 48  # px, of an image that is still worth halving to
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)
_GAUSS = 5  # px, OpenCV's own default
_RATIO = 0.8
_REPROJECTION_PX = 3.0
_LEAST_INLIERS = 8


class NoAlignment:
    """Leaves the image where it is: what every aligner has to beat."""

    name = "none"

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> Estimate:
        """See :class:`~fusion_ros.alignment.estimate.Estimator`; it is always sure, and never looks."""
        return Estimate(np.zeros((*fixed.shape, 2), np.float32), 1.0)


class _OfMatrix(ABC):
    """An aligner that finds one matrix for the whole image; a failure falls back on the start."""

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> Estimate:
        """See :class:`~fusion_ros.alignment.estimate.Estimator`."""
        check_pair(moving, fixed, names=("moving", "fixed"))
        found = self._matrix(moving, fixed, valid, start)
        if found is None:
            return _failure(fixed.shape, start)
        moving_from_fixed, confidence = found
        return _answer(moving_from_fixed, fixed.shape, confidence, start)

    @abstractmethod
    def _matrix(
        self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, start: np.ndarray | None
    ) -> _Matrix | None:
        """Return ``moving_from_fixed`` and how sure it is, or None where there is nothing to find it by."""


class PhaseCorrelation(_OfMatrix):
    """One shift, from the phases of both spectra; on luma under a Hann window.

    Source: Kuglin, Hines, "The phase correlation image alignment method", 1975; cv2.phaseCorrelate.
    """

    name = "phase_correlation"

    def _matrix(
        self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, start: np.ndarray | None
    ) -> _Matrix | None:
        # Copies: OpenCV multiplies what it is given by the window, in place, where the size suits its transform.
        images = [_filled(image, valid) for image in (fixed, moving)]
        if min(float(image.std()) for image in images) < _BLANK:
            return None
        window = cv2.createHanningWindow(fixed.shape[::-1], cv2.CV_32F)
        (x, y), response = cv2.phaseCorrelate(*images, window)
        moving_from_fixed = np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
        return moving_from_fixed, response


class EnhancedCorrelation(_OfMatrix):
    """One shift or affine map with the largest correlation of gradient magnitudes, from coarse to fine.

    Source: Evangelidis, Psarakis, "Parametric image alignment using enhanced correlation coefficient
    maximization", PAMI 30, 2008; cv2.findTransformECC. Of a start the mean shift is taken.

    Args:
        model: ``translation`` or ``affine``.
    """

    def __init__(self, model: str) -> None:
        self.name = f"ecc_{model}"
        self._motion = _MOTIONS[model]

    def _matrix(
        self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, start: np.ndarray | None
    ) -> _Matrix | None:
        images = [_gradient_magnitude(image, valid) for image in (fixed, moving)]
        if min(float(image.std()) for image in images) < _BLANK:
            return None
        mask = np.full(fixed.shape, 255, np.uint8) if valid is None else valid.astype(np.uint8) * 255
        moving_from_fixed = np.eye(3)
        if start is not None:
            moving_from_fixed[:2, 2] = start.reshape(-1, 2).mean(axis=0)
        correlation = 0.0
        for size in _pyramid(fixed.shape):
            level_from_full = resize_homography(fixed.shape, size)
            guess = level_from_full @ moving_from_fixed @ np.linalg.inv(level_from_full)
            small = [resize(image, size) for image in images]
            try:
                correlation, found = cv2.findTransformECC(
                    *small, guess[:2].astype(np.float32), self._motion, _STEPS, _shrunk(mask, size), _GAUSS
                )
            except cv2.error:  # it does not converge, or the images no longer overlap
                return None
            guess = np.vstack([found, [0.0, 0.0, 1.0]])
            moving_from_fixed = np.linalg.inv(level_from_full) @ guess @ level_from_full
        return moving_from_fixed, correlation


class FeatureMatching(_OfMatrix):
    """One homography from SIFT features of the gradient magnitudes: ratio test, then RANSAC.

    Source: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004.
    """

    name = "features"

    def _matrix(
        self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, start: np.ndarray | None
    ) -> _Matrix | None:
        detector = cv2.SIFT_create()
        seen = [detector.detectAndCompute(_as_bytes(_gradient_magnitude(i, valid)), None) for i in (fixed, moving)]
        (points, own), (others, theirs) = seen
        if own is None or theirs is None or len(theirs) < 2:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(own, theirs, k=2)
        good = [first for first, second in pairs if first.distance < _RATIO * second.distance]
        if len(good) < _LEAST_INLIERS:
            return None
        fixed_points = np.array([points[match.queryIdx].pt for match in good])
        moving_points = np.array([others[match.trainIdx].pt for match in good])
        moving_from_fixed, inliers = cv2.findHomography(fixed_points, moving_points, cv2.RANSAC, _REPROJECTION_PX)
        if moving_from_fixed is None or inliers.sum() < _LEAST_INLIERS:
            return None
        return moving_from_fixed, float(inliers.mean())


def homography_flow(moving_from_fixed: np.ndarray, size: Size) -> np.ndarray:
    """Return the flow of a matrix: how far each fixed pixel's place in the moving image is from its own.

    Args:
        moving_from_fixed: 3x3, acting on ``(x, y, 1)``; the horizon must not cross the image.
        size: ``(h, w)`` of both images.

    Returns:
        ``(H, W, 2)`` float32, x first, in pixels.
    """
    x, y = np.meshgrid(np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64))
    to_x, to_y, depth = (row[0] * x + row[1] * y + row[2] for row in moving_from_fixed)
    return np.dstack([to_x / depth - x, to_y / depth - y]).astype(np.float32)


def _answer(moving_from_fixed: np.ndarray, size: Size, confidence: float, start: np.ndarray | None) -> Estimate:
    """Return the flow, or the failure where the matrix moves the corners farther than a rig is misaligned."""
    is_sure = np.isfinite(confidence) and confidence > 0.0
    # The comparison is false for NaN, and for the infinity of a horizon inside the image.
    is_near = corner_error(moving_from_fixed, np.eye(3), size) <= min(size) / _LARGEST_SHARE
    if not (is_sure and is_near):
        return _failure(size, start)
    return Estimate(homography_flow(moving_from_fixed, size), min(1.0, float(confidence)))


def _failure(size: Size, start: np.ndarray | None) -> Estimate:
    return Estimate(np.zeros((*size, 2), np.float32) if start is None else start, 0.0)


def _filled(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return a copy of an image with its own mean where nothing is seen: no edge where the black begins."""
    if valid is None or not valid.any():
        return image.copy()
    return np.where(valid, image, image[valid].mean()).astype(np.float32)


def _gradient_magnitude(image: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return how steep an image is: where both cameras see an edge, whichever side is the brighter one."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    steepness = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    if valid is not None:
        inner = cv2.erode(valid.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1)
        steepness[inner == 0] = 0.0
    return steepness


def _as_bytes(steepness: np.ndarray) -> np.ndarray:
    white = max(float(np.percentile(steepness, 99.5)), 1e-6)
    return np.rint(np.clip(steepness / white, 0.0, 1.0) * 255.0).astype(np.uint8)


def _pyramid(size: Size) -> Iterator[Size]:
    for halvings in _HALVINGS:
        smaller = size[0] >> halvings, size[1] >> halvings
        if halvings == 0 or min(smaller) >= _SMALLEST_SIDE:
            yield smaller


def _shrunk(mask: np.ndarray, size: Size) -> np.ndarray:
    """Return a mask that is set only where all that was averaged is."""
    return np.where(resize(mask, size) == 255, np.uint8(255), np.uint8(0))
