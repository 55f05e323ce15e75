"""Cameras with lens distortion, and the rig of two of them.

Convention: an optical frame has x right, y down, z forward. Pixel centres lie at integers, so an
image covers -0.5 to width - 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import CalibrationError
from .lenses import COEFFICIENTS, Lens, lens_of, model_name
from .poses import as_pose, inverse_pose

__all__ = ["PinholeCamera", "Rig"]

_NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class PinholeCamera:
    """A camera with the ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (fisheye) lens model.

    Attributes:
        width: Image width in pixels.
        height: Image height in pixels.
        fx: Focal length along x in pixels.
        fy: Focal length along y in pixels.
        cx: Column of the principal point.
        cy: Row of the principal point.
        distortion: ``(k1, k2, p1, p2, k3)`` for plumb_bob, followed by ``(k4, k5, k6)`` for
            rational_polynomial; ``(k1, k2, k3, k4)`` for equidistant: the order of
            ``sensor_msgs/CameraInfo`` and of OpenCV. Their number tells the model.

    Raises:
        CalibrationError: A size or focal length is not positive, or a value is not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = _NO_DISTORTION

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(f"expected a positive image size, got {self.width} x {self.height}")
        if not (_is_finite(self.fx, self.fy, self.cx, self.cy) and self.fx > 0 and self.fy > 0):
            raise CalibrationError(
                "expected a finite camera matrix with positive focal lengths, got "
                f"fx={self.fx!r} fy={self.fy!r} cx={self.cx!r} cy={self.cy!r}; is the camera calibrated?"
            )
        if model_name(self.distortion) is None or not _is_finite(*self.distortion):
            raise CalibrationError(f"expected 4, 5 or 8 finite distortion coefficients, got {self.distortion!r}")

    @classmethod
    def from_camera_info(
        cls, info: Any, *, size: tuple[int, int] | None = None, rectified: bool = False
    ) -> PinholeCamera:
        """Read a message with the fields of ``sensor_msgs/CameraInfo`` (ROS 1 spelling too).

        Args:
            info: Anything with width, height, distortion_model, k (or K) and d (or D); for rectified images
                also r (or R) and p (or P).
            size: ``(height, width)`` of the images that the camera info goes with; checked if given.
            rectified: The images are rectified, as by ``image_proc``: P describes them, without distortion.

        Raises:
            CalibrationError: The camera matrix is zero (an uncalibrated camera) or not finite, the lens model
                is not one of ours, the image is binned or cropped, the size does not match, or the
                images are rectified for a stereo pair, which turns the camera.
        """
        shape = (int(info.height), int(info.width))
        if size is not None and shape != tuple(size):
            raise CalibrationError(
                f"camera info is for {shape[1]} x {shape[0]} pixels but the image has {size[1]} x {size[0]}; "
                "publish the info of this image size or rescale it with PinholeCamera.scaled"
            )
        _refuse_subwindow(info)
        k = _read_rectified_matrix(info) if rectified else _read_matrix(info, "k")
        distortion = _NO_DISTORTION if rectified else _read_distortion(info)
        return cls(shape[1], shape[0], float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), distortion)

    def camera_info_fields(self) -> dict[str, Any]:
        """Return the calibration fields of ``sensor_msgs/CameraInfo``, under their ROS 2 names."""
        matrix = self.matrix
        return {
            "width": self.width,
            "height": self.height,
            "distortion_model": model_name(self.distortion),
            "d": [float(value) for value in self.distortion],
            "k": matrix.ravel().tolist(),
            "r": np.eye(3).ravel().tolist(),
            "p": np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist(),
        }

    def undistorted(self) -> PinholeCamera:
        """Return the camera of the same camera matrix without distortion, as ``cv2.undistort`` makes it."""
        return replace(self, distortion=_NO_DISTORTION)

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

        NaN for points behind the camera, and for points so far off axis that the lens model
        folds back (they would seem to lie in the image). Points outside the image are kept.
        """
        points = np.asarray(points, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            in_front = points[..., 2] > 0
            x = np.where(in_front, points[..., 0] / points[..., 2], np.nan)
            y = np.where(in_front, points[..., 1] / points[..., 2], np.nan)
            x, y = self._lens.distort(x, y)
        return np.stack([x * self.fx + self.cx, y * self.fy + self.cy], axis=-1)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the ray ``(x, y, 1)`` through each of ``(..., 2)`` pixels ``(x, y)``, ``(..., 3)`` float64.

        The exact inverse of :meth:`project` (Newton's method, to rounding); NaN for pixels that the lens
        model gives no ray, far outside the part of the image where it was measured.
        """
        pixels = np.asarray(pixels, dtype=np.float64)
        x_seen, y_seen = (pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy
        x, y = self._lens.undistort(x_seen, y_seen)
        return np.stack([x, y, np.where(np.isnan(x), np.nan, 1.0)], axis=-1)

    def pixel_grid(self) -> np.ndarray:
        """Return the centres ``(x, y)`` of all pixels, ``(height, width, 2)`` float64."""
        rows, columns = np.mgrid[: self.height, : self.width]
        return np.stack([columns, rows], axis=-1).astype(np.float64)

    @cached_property
    def _lens(self) -> Lens:
        return lens_of(self.distortion)


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
        object.__setattr__(self, "rgb_from_thermal", as_pose(self.rgb_from_thermal))

    @property
    def thermal_from_rgb(self) -> np.ndarray:
        """4 x 4 rigid transform: points of the RGB optical frame into the thermal optical frame."""
        return inverse_pose(self.rgb_from_thermal)

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


def _read_matrix(info: Any, name: str, columns: int = 3) -> np.ndarray:
    values = np.asarray(getattr(info, name) if hasattr(info, name) else getattr(info, name.upper()), np.float64)
    if values.size != 3 * columns or not values.any():
        raise CalibrationError(
            f"expected a 3 x {columns} camera matrix {name.upper()}, got zeros or a wrong length; "
            "is the camera calibrated?"
        )
    return values.reshape(3, columns)


def _read_rectified_matrix(info: Any) -> np.ndarray:
    rotation = np.asarray(info.r if hasattr(info, "r") else info.R, np.float64).reshape(-1)
    if rotation.any() and not np.allclose(rotation, np.eye(3).ravel(), atol=1e-6):
        raise CalibrationError(
            "expected images that are rectified for their own lens, but R turns the camera, as for a stereo pair; "
            "subscribe to the images that are not rectified"
        )
    return _read_matrix(info, "p", 4)


def _read_distortion(info: Any) -> tuple[float, ...]:
    values = tuple(float(value) for value in (info.d if hasattr(info, "d") else info.D))
    model = getattr(info, "distortion_model", "")
    if not any(values) and model != "equidistant":  # a fisheye bends light with zeros too
        return _NO_DISTORTION
    expected = COEFFICIENTS.get(model)
    if expected is None:
        raise CalibrationError(
            f"expected the lens model {' or '.join(COEFFICIENTS)}, got {model!r}; rectify the images first"
        )
    # Some drivers fill up with the coefficients of OpenCV's larger models, which are zero.
    if len(values) < 4 or any(values[expected:]):
        raise CalibrationError(f"expected {expected} {model} coefficients, got {len(values)}")
    return (values + (0.0,) * expected)[:expected]
