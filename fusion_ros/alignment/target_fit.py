"""A rig's calibration from views of a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import CalibrationError
from ..geometry.cameras import PinholeCamera
from .matching.fitting import apply_homography, fit_transform
from .target import BoardView

__all__ = ["BoardHomography", "BoardPose", "fit_camera", "fit_homography", "fit_pose"]

Size = tuple[int, int]
_FEWEST_VIEWS = 3
_FEWEST_FOR_LENS = 8
_TOLERANCE = 4.0  # px: boards at several distances do not lie in one plane
_LARGEST_LENS_ERROR = 2.0  # px; beyond it the corners were found wrongly
_LARGEST_POSE_ERROR = 5.0  # px; more than a lens's: the cameras' calibration comes from elsewhere


@dataclass(frozen=True, eq=False)
class BoardHomography:
    """Where the board's corners put the thermal image, RGB pixels.

    Attributes:
        rgb_from_thermal: 3 x 3, thermal pixels to RGB pixels.
        residual_px: Median distance of a corner from where it is taken.
        spread_px: Largest distance by which a corner of a view is taken elsewhere if that view is left out.
        coverage: Share of the thermal image inside the outline of all corners.
    """

    rgb_from_thermal: np.ndarray
    residual_px: float
    spread_px: float
    coverage: float


@dataclass(frozen=True, eq=False)
class BoardPose:
    """Where the board's corners put the thermal camera.

    Attributes:
        rgb_from_thermal: 4 x 4, metres.
        residual_px: Root mean square distance of the corners from where the rig takes them, pixels of both images.
        spread_deg: Largest change of the rotation if one view is left out.
        spread_m: Largest change of the translation if one view is left out.
        distance_m: Median distance of the boards along the thermal camera's axis.
        coverage: Share of the thermal image inside the outline of all corners.
    """

    rgb_from_thermal: np.ndarray
    residual_px: float
    spread_deg: float
    spread_m: float
    distance_m: float
    coverage: float


def fit_homography(views: Sequence[BoardView], thermal_size: Size) -> BoardHomography:
    """Fit one homography to all views: exact at the distance at which the boards were held.

    Raises:
        CalibrationError: There is no view, or the corners contradict one another.
    """
    if not views:
        raise CalibrationError(f"expected the board in at least one pair of images, got {len(views)} views")
    matrix, residual = _homography(views)
    spread = 0.0
    for index, view in enumerate(views if len(views) > 1 else ()):
        without, _ = _homography([*views[:index], *views[index + 1 :]])
        moved = apply_homography(without, view.thermal) - apply_homography(matrix, view.thermal)
        spread = max(spread, float(np.linalg.norm(moved, axis=1).max()))
    return BoardHomography(matrix, float(np.median(residual)), spread, _coverage(views, thermal_size))


def _homography(views: Sequence[BoardView]) -> tuple[np.ndarray, np.ndarray]:
    thermal, rgb = (np.concatenate([getattr(view, name) for view in views]) for name in ("thermal", "rgb"))
    fit = fit_transform(thermal, rgb, "homography", _TOLERANCE)
    if fit is None or fit.inliers.mean() < 0.5:
        agreeing = 0 if fit is None else int(fit.inliers.sum())
        raise CalibrationError(
            f"the views of the board disagree: {agreeing} of {len(thermal)} corners fit one homography; expected "
            "boards at about one distance: hold it as far away as the scene, or give both cameras' calibration"
        )
    return fit.matrix, fit.residual


def fit_pose(views: Sequence[BoardView], thermal: PinholeCamera, rgb: PinholeCamera) -> BoardPose:
    """Fit the rigid transform between two calibrated cameras.

    Raises:
        CalibrationError: There are fewer than 3 views, or no pose fits them.
    """
    if len(views) < _FEWEST_VIEWS:
        raise CalibrationError(
            f"expected at least {_FEWEST_VIEWS} views of the board by both cameras, got {len(views)}; show it "
            "turned, and at several places and distances"
        )
    pose, residual = _pose(views, thermal, rgb)
    if not residual <= _LARGEST_POSE_ERROR:
        raise CalibrationError(
            f"the views of the board do not fit one rig: expected corners at most {_LARGEST_POSE_ERROR:g} px off, "
            f"got {residual:.1f} px; check that the calibration of the lenses is that of these cameras, that the "
            "board is as described (of tags: family, side, gap, order), and that it was held still"
        )
    degrees, metres = [0.0], [0.0]
    for index in range(len(views) if len(views) > _FEWEST_VIEWS else 0):
        without, _ = _pose([*views[:index], *views[index + 1 :]], thermal, rgb)
        turn = cv2.Rodrigues(without[:3, :3] @ pose[:3, :3].T)[0]
        degrees.append(float(np.degrees(np.linalg.norm(turn))))
        metres.append(float(np.linalg.norm(without[:3, 3] - pose[:3, 3])))
    distances = [_board_distance(view, thermal) for view in views]
    coverage = _coverage(views, thermal.size)
    return BoardPose(pose, residual, max(degrees), max(metres), float(np.median(distances)), coverage)


def _pose(views: Sequence[BoardView], thermal: PinholeCamera, rgb: PinholeCamera) -> tuple[np.ndarray, float]:
    """Return the 4 x 4 transform and the error, px; lenses of any model are taken out first, by their rays."""
    cameras = ((thermal, "thermal"), (rgb, "rgb"))
    pixels = [[_undistorted(camera, getattr(view, name)) for view in views] for camera, name in cameras]
    matrices = [camera.matrix for camera, _ in cameras]
    lenses = [np.zeros(5), np.zeros(5)]
    points = [view.points.astype(np.float32) for view in views]
    error, _, _, _, _, rotation, translation, _, _ = cv2.stereoCalibrate(
        points,
        pixels[0],
        pixels[1],
        matrices[0],
        lenses[0],
        matrices[1],
        lenses[1],
        (thermal.width, thermal.height),
        flags=cv2.CALIB_FIX_INTRINSIC,
    )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation.ravel()
    return pose, float(error)


def fit_camera(views: Sequence[BoardView], which: str, size: Size) -> tuple[PinholeCamera, float]:
    """Calibrate one camera; return it with the root mean square error, px.

    Args:
        which: ``rgb`` or ``thermal``.
        size: ``(h, w)`` of its images.

    Raises:
        CalibrationError: There are fewer than 8 views, or they do not determine a camera.
    """
    if len(views) < _FEWEST_FOR_LENS:
        raise CalibrationError(
            f"expected at least {_FEWEST_FOR_LENS} views of the board to calibrate the {which} lens, got "
            f"{len(views)}; show it turned about both axes and in all corners of the image"
        )
    points = [view.points.astype(np.float32) for view in views]
    pixels = [getattr(view, which).astype(np.float32) for view in views]
    # The sixth-order term needs corners at the very edge of the image, and runs wild without them.
    error, matrix, lens, _, _ = cv2.calibrateCamera(points, pixels, size[::-1], None, None, flags=cv2.CALIB_FIX_K3)
    if not np.isfinite(matrix).all() or error > _LARGEST_LENS_ERROR:
        raise CalibrationError(
            f"the {which} lens could not be calibrated: {error:.1f} px off; expected sharp images "
            "of a flat board of this size"
        )
    coefficients = tuple(float(value) for value in lens.ravel()[:5])
    focal, centre = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2])
    return PinholeCamera(size[1], size[0], *map(float, (*focal, *centre)), coefficients), float(error)


def _board_distance(view: BoardView, camera: PinholeCamera) -> float:
    pixels = _undistorted(camera, view.thermal)
    _, turn, shift = cv2.solvePnP(view.points.astype(np.float32), pixels, camera.matrix, np.zeros(5))
    return float((view.points @ cv2.Rodrigues(turn)[0].T + shift.ravel())[:, 2].mean())


def _undistorted(camera: PinholeCamera, pixels: np.ndarray) -> np.ndarray:
    """Return where a camera without distortion would see the same, ``(M, 2)`` float32."""
    return (camera.rays(pixels) @ camera.matrix.T)[:, :2].astype(np.float32)


def _coverage(views: Sequence[BoardView], thermal_size: Size) -> float:
    corners = np.concatenate([view.thermal for view in views]).astype(np.float32)
    return float(cv2.contourArea(cv2.convexHull(corners))) / (thermal_size[0] * thermal_size[1])
