"""Rigid transforms between camera frames, and the quaternions that people write them with.

Convention: a transform is a 4 x 4 matrix named for what it takes and gives, in metres; a quaternion is
``(x, y, z, w)``, the order of ``geometry_msgs/Quaternion``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import CalibrationError

__all__ = ["as_pose", "inverse_pose", "pose_from_quaternion", "quaternion_from_pose"]

_ROUNDING = 1e-3  # of a quaternion written with three digits; a larger error is a mistake


def as_pose(values: np.ndarray, name: str = "rgb_from_thermal") -> np.ndarray:
    """Return a 4 x 4 rigid transform as float64, checked.

    Raises:
        CalibrationError: Not 4 x 4, not finite, or not a rotation with a translation.
    """
    pose = np.asarray(values, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise CalibrationError(f"expected a finite 4 x 4 transform {name}, got {pose!r}")
    rotation = pose[:3, :3]
    rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) and np.linalg.det(rotation) > 0
    if not rigid or not np.allclose(pose[3], (0, 0, 0, 1)):
        raise CalibrationError(f"expected {name} to be a rotation and a translation, got {pose!r}")
    return pose


def inverse_pose(pose: np.ndarray) -> np.ndarray:
    """Return the inverse of a rigid transform: ``b_from_a`` of ``a_from_b``."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -inverse[:3, :3] @ pose[:3, 3]
    return inverse


def pose_from_quaternion(translation_m: Sequence[float], rotation_xyzw: Sequence[float]) -> np.ndarray:
    """Return the 4 x 4 transform of a translation and a unit quaternion.

    Raises:
        CalibrationError: Not three and four finite numbers, or the quaternion's length is not 1.
    """
    shift = np.asarray(translation_m, dtype=np.float64)
    quaternion = np.asarray(rotation_xyzw, dtype=np.float64)
    if shift.shape != (3,) or not np.isfinite(shift).all():
        raise CalibrationError(f"expected a translation of 3 finite numbers in metres, got {translation_m!r}")
    length = float(np.linalg.norm(quaternion)) if quaternion.shape == (4,) else math.nan
    if not abs(length - 1.0) <= _ROUNDING:
        raise CalibrationError(
            "expected a unit quaternion x, y, z, w (0, 0, 0, 1 is no rotation), "
            f"got {list(rotation_xyzw)!r}" + (f" of length {length:.4g}" if math.isfinite(length) else "")
        )
    x, y, z, w = quaternion / length
    pose = np.eye(4)
    pose[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    pose[:3, 3] = shift
    return pose


def quaternion_from_pose(pose: np.ndarray) -> tuple[float, float, float, float]:
    """Return the rotation of a rigid transform as a unit quaternion ``(x, y, z, w)`` with ``w >= 0``.

    Source: Bar-Itzhack (2000): the eigenvector of the largest eigenvalue, which no rotation makes ill-conditioned.
    """
    r = pose[:3, :3]
    symmetric = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    vector = np.linalg.eigh(symmetric)[1][:, -1]
    x, y, z, w = (vector if vector[3] >= 0 else -vector).tolist()
    return x, y, z, w
