"""Lens models: from a straight ray to where the lens shows it, and back.

Convention: everything is in normalised image coordinates: a ray is ``(x, y, 1)`` of the optical frame, and the
point that the lens makes of it becomes a pixel by the camera matrix. What has no counterpart is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["COEFFICIENTS", "BrownLens", "EquidistantLens", "Lens", "lens_of", "model_name"]

COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
"""How many coefficients each lens model of ``sensor_msgs/CameraInfo`` has; their number tells the model."""
_NEWTON_STEPS = 12
_SOLVED = 1e-6  # normalised: about a thousandth of a pixel
_ROUNDING = 1e-14  # normalised: steps change nothing from here on

Points = tuple[np.ndarray, np.ndarray]


class Lens(Protocol):
    """A lens model."""

    def distort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """Return where rays are seen; NaN where the model folds back and would show them in the image."""

    def undistort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """Return the rays that are seen at these points, to rounding; NaN where the lens shows none."""


def model_name(distortion: Sequence[float]) -> str | None:
    """Return the name of the lens model that has as many coefficients, or None."""
    return {count: name for name, count in COEFFICIENTS.items()}.get(len(distortion))


def lens_of(distortion: Sequence[float]) -> Lens:
    """Return the lens with these coefficients: 4, 5 or 8, as in :data:`COEFFICIENTS`."""
    return EquidistantLens(distortion) if len(distortion) == COEFFICIENTS["equidistant"] else BrownLens(distortion)


class BrownLens:
    """``plumb_bob`` and ``rational_polynomial``: radial factors and a little tangential shift.

    Args:
        distortion: ``(k1, k2, p1, p2, k3)``, or these and ``(k4, k5, k6)``.

    Source: Brown (1971), in the form of the OpenCV camera model.
    """

    def __init__(self, distortion: Sequence[float]) -> None:
        self._k = (*distortion[:2], *distortion[4:], 0.0, 0.0, 0.0)[:6]
        self._p = tuple(distortion[2:4])
        self._is_ideal = not any(distortion)
        self._fold_radius = self._find_fold()

    def distort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """See :class:`Lens`."""
        seen = x * x + y * y < self._fold_radius**2
        return self._shifted(np.where(seen, x, np.nan), np.where(seen, y, np.nan))

    def undistort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """See :class:`Lens`."""
        if self._is_ideal:
            return x, y
        x_seen, y_seen = x, y
        with np.errstate(all="ignore"):  # where there is no ray, the steps run away
            for _ in range(_NEWTON_STEPS):
                x_now, y_now = self._shifted(x, y)
                error_x, error_y = x_now - x_seen, y_now - y_seen
                if not (np.abs(error_x) + np.abs(error_y) > _ROUNDING).any():
                    break
                (a, b), (c, d) = self._jacobian(x, y)
                determinant = a * d - b * c
                x, y = x - (d * error_x - b * error_y) / determinant, y - (a * error_y - c * error_x) / determinant
            x_now, y_now = self.distort(x, y)
            solved = np.hypot(x_now - x_seen, y_now - y_seen) < _SOLVED
        return np.where(solved, x, np.nan), np.where(solved, y, np.nan)

    def _radial(self, r2: np.ndarray) -> Points:
        """Return the radial factor and its derivative with respect to the squared radius."""
        k1, k2, k3, k4, k5, k6 = self._k
        top, top_slope = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + r2 * 3 * k3)
        bottom, bottom_slope = 1 + r2 * (k4 + r2 * (k5 + r2 * k6)), k4 + r2 * (2 * k5 + r2 * 3 * k6)
        return top / bottom, (top_slope * bottom - top * bottom_slope) / (bottom * bottom)

    def _shifted(self, x: np.ndarray, y: np.ndarray) -> Points:
        p1, p2 = self._p
        r2 = x * x + y * y
        factor, _ = self._radial(r2)
        return (
            x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _jacobian(self, x: np.ndarray, y: np.ndarray) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        p1, p2 = self._p
        factor, slope = self._radial(x * x + y * y)
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        return (
            (factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed),
            (mixed, factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x),
        )

    def _find_fold(self) -> float:
        """Return the smallest radius at which the distorted radius stops growing (infinite if it never does)."""
        radius = np.linspace(0.0, 10.0, 10001)
        factor, slope = self._radial(radius**2)
        folded = np.flatnonzero(factor + 2 * radius**2 * slope <= 0)
        return float(radius[folded[0]]) if folded.size else math.inf


class EquidistantLens:
    """``equidistant``: a fisheye, whose image radius is about the angle off the axis.

    Rays of less than 90 degrees off the axis are known here; those beyond have no ``(x, y, 1)``.

    Args:
        distortion: ``(k1, k2, k3, k4)``.

    Source: Kannala and Brandt (2006), eq. 6, in the form of OpenCV's fisheye model.
    """

    def __init__(self, distortion: Sequence[float]) -> None:
        self._k = tuple(distortion)
        angle = np.linspace(0.0, math.pi / 2, 10001)
        folded = np.flatnonzero(self._slope(angle) <= 0)
        self._fold_angle = float(angle[folded[0]]) if folded.size else math.pi / 2

    def distort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """See :class:`Lens`."""
        tangent = np.hypot(x, y)
        angle = np.arctan(tangent)
        angle = np.where(angle < self._fold_angle, angle, np.nan)
        scale = self._radius(angle) / np.where(tangent > 0, tangent, 1.0)
        scale = np.where(tangent > 0, scale, 1.0)
        return x * scale, y * scale

    def undistort(self, x: np.ndarray, y: np.ndarray) -> Points:
        """See :class:`Lens`."""
        radius = np.hypot(x, y)
        angle = np.minimum(radius, self._fold_angle)
        with np.errstate(all="ignore"):  # where there is no ray, the steps run away
            for _ in range(_NEWTON_STEPS):
                angle = angle - (self._radius(angle) - radius) / self._slope(angle)
            solved = (np.abs(self._radius(angle) - radius) < _SOLVED) & (angle < self._fold_angle) & (angle >= 0)
            scale = np.where(solved, np.tan(angle) / np.where(radius > 0, radius, 1.0), np.nan)
        scale = np.where(radius > 0, scale, 1.0)
        return x * scale, y * scale

    def _radius(self, angle: np.ndarray) -> np.ndarray:
        k1, k2, k3, k4 = self._k
        square = angle * angle
        return angle * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))

    def _slope(self, angle: np.ndarray) -> np.ndarray:
        k1, k2, k3, k4 = self._k
        square = angle * angle
        return 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
