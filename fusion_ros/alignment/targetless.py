"""A rig's rotation from matches between its cameras, where their lenses are known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.cameras import PinholeCamera

__all__ = ["RigRotation", "fit_rotation"]

_STEPS = 30
_NUDGE = 1e-6  # rad
_FEWEST = 3


@dataclass(frozen=True, eq=False)
class RigRotation:
    """How the cameras of a rig are turned against each other.

    Attributes:
        rgb_from_thermal: 4 x 4, with the translation that was assumed.
        residual_px: Median distance of the matches from where the rig takes them, RGB pixels.
    """

    rgb_from_thermal: np.ndarray
    residual_px: float


def fit_rotation(
    thermal_points: np.ndarray,
    rgb_points: np.ndarray,
    thermal: PinholeCamera,
    rgb: PinholeCamera,
    *,
    translation_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    distance_m: float,
) -> RigRotation:
    """Fit the rotation between two cameras whose translation is known or small against the distance.

    The translation is not estimated: at one distance it moves the image just as a small rotation does, and the two
    could not be told apart. What it is wrong by is made up for at ``distance_m``.

    Args:
        thermal_points: ``(N, 2)`` pixels of the thermal image.
        rgb_points: ``(N, 2)`` where the RGB image shows the same.
        translation_m: Of the thermal camera, seen from the RGB camera.
        distance_m: Of what was matched, along the thermal camera's axis.

    Raises:
        CalibrationError: ``distance_m`` is not positive, or there are fewer than 3 matches.
    """
    if not distance_m > 0:
        raise CalibrationError(f"expected a positive distance in metres, got {distance_m!r}")
    if len(thermal_points) < _FEWEST:
        raise CalibrationError(f"expected at least {_FEWEST} matches, got {len(thermal_points)}")
    points = distance_m * thermal.rays(thermal_points)
    shift = np.array(translation_m, np.float64)
    rotation = _turned_onto(points, rgb.rays(rgb_points) * points[:, 2:] - shift)

    def errors(turn: np.ndarray) -> np.ndarray:
        moved = points @ (cv2.Rodrigues(turn)[0] @ rotation).T + shift
        return rgb.project(moved) - rgb_points

    for _ in range(_STEPS):
        now = errors(np.zeros(3))
        lengths = np.linalg.norm(now, axis=1)
        scale = 1.5 * float(np.median(lengths)) + 1e-9
        trust = np.sqrt(1.0 / (1.0 + (lengths / scale) ** 2))[:, None]  # Cauchy's: a wild match hardly counts
        slopes = [((errors(_NUDGE * axis) - now) / _NUDGE * trust).ravel() for axis in np.eye(3)]
        step = -np.linalg.lstsq(np.stack(slopes, axis=1), (now * trust).ravel(), rcond=None)[0]
        rotation = cv2.Rodrigues(step)[0] @ rotation
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, shift
    return RigRotation(pose, float(np.median(np.linalg.norm(errors(np.zeros(3)), axis=1))))


def _turned_onto(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the rotation that brings the directions of points ``(N, 3)`` closest to those of the targets.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors", Acta Cryst. A32, 1976.
    """
    ours, theirs = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (points, targets))
    left, _, right = np.linalg.svd(theirs.T @ ours)
    return left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
