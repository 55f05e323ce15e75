"""What a calibration came to: the file's content, what is said about it, and what it is shown on."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .. import __version__
from ..alignment.calibration import Calibration
from ..alignment.matching import RigView
from ..errors import CalibrationError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera, Rig
from ..geometry.projection import lens_positions, position_maps
from ..geometry.warp import WarpMaps, remap, resize, resize_homography

__all__ = [
    "TYPICAL_DISTANCE_M",
    "Outcome",
    "Rectifier",
    "coverage_warning",
    "made_by",
    "placed_text",
    "rig_outcome",
]

Size = tuple[int, int]
TYPICAL_DISTANCE_M = 12.0  # of people and cars on a street
_WIDEST = 1280  # px of an RGB image: matching and pictures need no more
_POOR_COVERAGE = 0.3


@dataclass(frozen=True, eq=False)
class Outcome:
    """A calibration and what to say about it.

    Attributes:
        lines: How good it is, for people.
        views: To show it on.
        views_rgb_from_thermal: 3 x 3, for the pixels of the views.
    """

    calibration: Calibration
    lines: Sequence[str]
    views: Sequence[RigView]
    views_rgb_from_thermal: np.ndarray


@dataclass(frozen=True, eq=False)
class Rectifier:
    """Makes views for matching and pictures: without distortion where the lenses are known, RGB not too large.

    Attributes:
        cameras: Both, or none.
    """

    cameras: dict[Sensor, PinholeCamera]
    _maps: dict[Sensor, WarpMaps] = field(default_factory=dict)

    def __call__(self, view: RigView) -> RigView:
        """Return the view rectified.

        Raises:
            CalibrationError: A camera's calibration is for images of another size.
        """
        rgb, thermal = self._straight(view.rgb, Sensor.RGB), self._straight(view.thermal, Sensor.THERMAL)
        scale = min(1.0, _WIDEST / rgb.shape[1])
        return replace(
            view, rgb=resize(rgb, (round(rgb.shape[0] * scale), round(rgb.shape[1] * scale))), thermal=thermal
        )

    def _straight(self, image: np.ndarray, sensor: Sensor) -> np.ndarray:
        camera = self.cameras.get(sensor)
        if camera is None:
            return image
        if camera.size != image.shape:
            raise CalibrationError(
                f"the {sensor.value} camera's calibration is for images of {camera.width} x {camera.height}, got "
                f"{image.shape[1]} x {image.shape[0]}; give the one for these images"
            )
        if not any(camera.distortion):
            return image
        if sensor not in self._maps:
            self._maps[sensor] = position_maps(lens_positions(camera, camera.size), camera.size)
        return remap(image, self._maps[sensor])


def rig_outcome(
    calibration: Calibration, lines: Sequence[str], views: Sequence[RigView], shown_distance_m: float
) -> Outcome:
    """Return the outcome for two calibrated cameras, shown as at one distance.

    Args:
        views: Rectified.
    """
    pose = calibration.rgb_from_thermal
    rig = Rig(calibration.rgb_camera.undistorted(), calibration.thermal_camera.undistorted(), pose)
    down = resize_homography(calibration.rgb_size, views[0].rgb.shape)
    x, y, z = np.degrees(_angles(pose)).tolist()
    text = f"the thermal camera is turned by {x:.2f}, {y:.2f}, {z:.2f} deg about x (right), y (down), z (forward)"
    shift = ", ".join(f"{1e3 * value:.1f}" for value in pose[:3, 3])
    lines = [*lines, f"{text} and {shift} mm from the RGB camera; {calibration.residual_px:.2f} px off"]
    return Outcome(calibration, lines, views, down @ rig.homography(shown_distance_m))


def placed_text(rgb_from_thermal: np.ndarray, thermal_size: Size, rgb_size: Size) -> str:
    """Say in words where a homography puts the thermal image."""
    height, width = thermal_size
    middle = [
        (-0.5, (height - 1) / 2, 1.0),
        (width - 0.5, (height - 1) / 2, 1.0),
        ((width - 1) / 2, (height - 1) / 2, 1),
    ]
    left, right, centre = (
        (rgb_from_thermal @ point)[:2] / (rgb_from_thermal @ point)[2] for point in np.array(middle)
    )
    along = right - left
    return (
        f"the thermal image is {np.linalg.norm(along) / rgb_size[1]:.0%} of the RGB image wide, turned by "
        f"{math.degrees(math.atan2(along[1], along[0])):.1f} deg, its centre at ({centre[0]:.0f}, {centre[1]:.0f})"
    )


def coverage_warning(coverage: float) -> list[str]:
    """Return a line where much of the image was not measured."""
    if coverage >= _POOR_COVERAGE:
        return []
    return [
        f"careful: only {coverage:.0%} of the thermal image could be measured; it may be off elsewhere: record "
        "frames with structure, or the board, all over the image"
    ]


def made_by(what: str) -> str:
    """Return the comment of the file."""
    today = datetime.datetime.now().astimezone().date().isoformat()
    return f"fusion-ros calibrate {__version__}, {today}: {what}"


def _angles(pose: np.ndarray) -> np.ndarray:
    """Return the rotation vector, rad."""
    return cv2.Rodrigues(pose[:3, :3])[0].ravel()
