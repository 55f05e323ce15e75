"""Pinhole cameras with lens distortion, and the rig of two of them.

Convention: an optical frame has x right, y down, z forward. Pixel centres lie at integers, so an
image covers -0.5 to width - 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import CalibrationError

__all__ = ["PinholeCamera", "Rig"]

_COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8}
_NEWTON_STEPS = 12


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera with the ``plumb_bob`` or ``rational_polynomial`` lens model.

    Attributes:
        width: Image width in pixels.
        height: Image height in pixels.
        fx: Focal length along x in pixels.
        fy: Focal length along y in pixels.
        cx: Column of the principal point.
        cy: Row of the principal point.
        distortion: ``(k1, k2, p1, p2, k3)`` for plumb_bob, followed by ``(k4, k5, k6)`` for
            rational_polynomial: the order of ``sensor_msgs/CameraInfo`` and of OpenCV.

    Raises:
        CalibrationError: A size or focal length is not positive, or a value is not finite.

    Source: Brown (1971), in the form of the OpenCV camera model.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(f"expected a positive image size, got {self.width} x {self.height}")
        if not (_is_finite(self.fx, self.fy, self.cx, self.cy) and self.fx > 0 and self.fy > 0):
            raise CalibrationError(
                "expected a finite camera matrix with positive focal lengths, got "
                f"fx={self.fx!r} fy={self.fy!r} cx={self.cx!r} cy={self.cy!r}; is the camera calibrated?"
            )
        if len(self.distortion) not in _COEFFICIENTS.values() or not _is_finite(*self.distortion):
            raise CalibrationError(f"expected 5 or 8 finite distortion coefficients, got {self.distortion!r}")

    @classmethod
    def from_camera_info(cls, info: Any, *, size: tuple[int, int] | None = None) -> PinholeCamera:
        """Read a message with the fields of ``sensor_msgs/CameraInfo`` (ROS 1 spelling too).

        Args:
            info: Anything with width, height, distortion_model, k (or K) and d (or D).
            size: ``(height, width)`` of the images that the camera info goes with; checked if given.

        Raises:
            CalibrationError: K is zero (an uncalibrated camera) or not finite, the lens model is
                not one of ours, the image is binned or cropped, or the size does not match.
        """
        shape = (int(info.height), int(info.width))
        if size is not None and shape != tuple(size):
            raise CalibrationError(
                f"camera info is for {shape[1]} x {shape[0]} pixels but the image has {size[1]} x {size[0]}; "
                "publish the info of this image size or rescale it with PinholeCamera.scaled"
            )
        _refuse_subwindow(info)
        k = np.asarray(info.k if hasattr(info, "k") else info.K, dtype=np.float64).reshape(-1)
        if k.size != 9 or not k.any():
            raise CalibrationError(
                "expected a 3 x 3 camera matrix K, got zeros or a wrong length; is the camera calibrated?"
            )
        distortion = _read_distortion(info)
        return cls(shape[1], shape[0], float(k[0]), float(k[4]), float(k[2]), float(k[5]), distortion)

    def camera_info_fields(self) -> dict[str, Any]:
        """Return the calibration fields of ``sensor_msgs/CameraInfo``, under their ROS 2 names."""
        matrix = self.matrix
        return {
            "width": self.width,
            "height": self.height,
            "distortion_model": "plumb_bob" if len(self.distortion) == 5 else "rational_polynomial",
            "d": [float(value) for value in self.distortion],
            "k": matrix.ravel().tolist(),
            "r": np.eye(3).ravel().tolist(),
            "p": np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist(),
        }

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.height, self.width

    @property
    def matrix(self) -> np.ndarray:
        """The 3 x 3 camera matrix K, float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def scaled(self, size: tuple[int, int]) -> PinholeCamera:
        """Return the camera of the same view resized to ``(height, width)``.

        Convention: a resize maps pixel ``x`` to ``(x + 0.5) * scale - 0.5``.
        """
        height, width = size
        scale_x, scale_y = width / self.width, height / self.height
        return PinholeCamera(
            width,
            height,
            self.fx * scale_x,
            self.fy * scale_y,
            (self.cx + 0.5) * scale_x - 0.5,
            (self.cy + 0.5) * scale_y - 0.5,
            self.distortion,
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project ``(..., 3)`` points of the optical frame to ``(..., 2)`` pixels ``(x, y)``, float64.

        NaN for points behind the camera, and for points so far off axis that the lens polynomial
        folds back (they would seem to lie in the image). Points outside the image are kept.
        """
        points = np.asarray(points, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
            seen = (points[..., 2] > 0) & (x * x + y * y < self._fold_radius**2)
            x, y = np.where(seen, x, np.nan), np.where(seen, y, np.nan)
        x, y = self._distort(x, y)
        return np.stack([x * self.fx + self.cx, y * self.fy + self.cy], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the ray ``(x, y, 1)`` through each of ``(..., 2)`` pixels ``(x, y)``, ``(..., 3)`` float64.

        The exact inverse of :meth:`project` (Newton's method, to rounding).
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        x_seen, y_seen = (pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy
        x, y = x_seen.copy(), y_seen.copy()
        for _ in range(_NEWTON_STEPS if any(self.distortion) else 0):
            x_now, y_now = self._distort(x, y)
            (a, b), (c, d) = self._distortion_jacobian(x, y)
            determinant = a * d - b * c
            error_x, error_y = x_now - x_seen, y_now - y_seen
            x -= (d * error_x - b * error_y) / determinant
            y -= (a * error_y - c * error_x) / determinant
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def pixel_grid(self) -> np.ndarray:
        """Return the centres ``(x, y)`` of all pixels, ``(height, width, 2)`` float64."""
        rows, columns = np.mgrid[: self.height, : self.width]
        return np.stack([columns, rows], axis=-1).astype(np.float64)

    def _radial(self, r2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the radial factor and its derivative with respect to the squared radius."""
        k1, k2, _, _, k3, k4, k5, k6 = (*self.distortion, 0.0, 0.0, 0.0)[:8]
        top, top_slope = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + r2 * 3 * k3)
        bottom, bottom_slope = 1 + r2 * (k4 + r2 * (k5 + r2 * k6)), k4 + r2 * (2 * k5 + r2 * 3 * k6)
        return top / bottom, (top_slope * bottom - top * bottom_slope) / (bottom * bottom)

    def _distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p1, p2 = self.distortion[2:4]
        r2 = x * x + y * y
        factor, _ = self._radial(r2)
        return (
            x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _distortion_jacobian(self, x: np.ndarray, y: np.ndarray) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        p1, p2 = self.distortion[2:4]
        factor, slope = self._radial(x * x + y * y)
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        return (
            (factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed),
            (mixed, factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x),
        )

    @cached_property
    def _fold_radius(self) -> float:
        """Smallest radius at which the distorted radius stops growing (infinite if it never does)."""
        radius = np.linspace(0.0, 10.0, 10001)
        factor, slope = self._radial(radius**2)
        folded = np.flatnonzero(factor + 2 * radius**2 * slope <= 0)
        return float(radius[folded[0]]) if folded.size else math.inf


@dataclass(frozen=True, eq=False)
class Rig:
    """Two cameras that are fixed to each other.

    Attributes:
        rgb: The colour camera.
        thermal: The thermal camera.
        rgb_from_thermal: 4 x 4 rigid transform: points of the thermal optical frame into the RGB
            optical frame, metres.
    """

    rgb: PinholeCamera
    thermal: PinholeCamera
    rgb_from_thermal: np.ndarray

    def __post_init__(self) -> None:
        pose = np.asarray(self.rgb_from_thermal, dtype=np.float64)
        object.__setattr__(self, "rgb_from_thermal", pose)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise CalibrationError(f"expected a finite 4 x 4 transform rgb_from_thermal, got {pose!r}")
        rotation = pose[:3, :3]
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5) and np.linalg.det(rotation) > 0
        if not rigid or not np.allclose(pose[3], (0, 0, 0, 1)):
            raise CalibrationError(f"expected rgb_from_thermal to be a rotation and a translation, got {pose!r}")

    @property
    def thermal_from_rgb(self) -> np.ndarray:
        """4 x 4 rigid transform: points of the RGB optical frame into the thermal optical frame."""
        inverse = np.eye(4)
        inverse[:3, :3] = self.rgb_from_thermal[:3, :3].T
        inverse[:3, 3] = -inverse[:3, :3] @ self.rgb_from_thermal[:3, 3]
        return inverse

    def homography(self, distance_m: float) -> np.ndarray:
        """Return the 3 x 3 matrix that takes thermal pixels to RGB pixels, exact at one distance.

        Exact for points of the plane ``z = distance_m`` of the thermal optical frame, seen without lens
        distortion: ``K_rgb (R + t n^T / d) K_thermal^-1`` with ``n = (0, 0, 1)`` (Hartley and
        Zisserman, eq. 13.2).

        Raises:
            CalibrationError: ``distance_m`` is not positive.
        """
        if not distance_m > 0:
            raise CalibrationError(f"expected a positive distance in metres, got {distance_m!r}")
        plane = np.outer(self.rgb_from_thermal[:3, 3], (0.0, 0.0, 1.0 / distance_m))
        moved = self.rgb_from_thermal[:3, :3] + plane
        matrix = self.rgb.matrix @ moved @ np.linalg.inv(self.thermal.matrix)
        return matrix / matrix[2, 2]


def _is_finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def _refuse_subwindow(info: Any) -> None:
    roi = getattr(info, "roi", None)
    cropped = roi is not None and (roi.x_offset or roi.y_offset)
    if cropped or getattr(info, "binning_x", 0) > 1 or getattr(info, "binning_y", 0) > 1:
        raise CalibrationError(
            "expected the camera info of whole, unbinned images, got a region of interest or binning; "
            "publish K for the image as it is sent"
        )


def _read_distortion(info: Any) -> tuple[float, ...]:
    values = tuple(float(value) for value in (info.d if hasattr(info, "d") else info.D))
    if not any(values):
        return (0.0,) * 5
    expected = _COEFFICIENTS.get(info.distortion_model)
    if expected is None:
        raise CalibrationError(
            f"expected the lens model {' or '.join(_COEFFICIENTS)}, got {info.distortion_model!r}; "
            "rectify the images first"
        )
    if len(values) > expected or len(values) < 4:
        raise CalibrationError(f"expected {expected} {info.distortion_model} coefficients, got {len(values)}")
    return values + (0.0,) * (expected - len(values))
