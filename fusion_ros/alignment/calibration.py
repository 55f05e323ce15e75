"""What calibration knows about a rig, as a YAML file that a person can write too.

    rgb:                                  # as ROS's camera_calibration writes it, or the name of such a file
      image_width: 640
      image_height: 480
      camera_matrix: {rows: 3, cols: 3, data: [520, 0, 322.3, 0, 525, 238.8, 0, 0, 1]}
      distortion_model: plumb_bob         # or rational_polynomial, equidistant
      distortion_coefficients: {rows: 1, cols: 5, data: [-0.28, 0.09, 0.001, -0.0008, 0]}
    thermal:                              # the sizes alone where no lens is known
      image_width: 320
      image_height: 256
    rgb_from_thermal:                     # where the thermal camera is, seen from the RGB camera
      translation_m: [0.06, 0.0, 0.01]
      rotation_xyzw: [0, 0, 0, 1]
    distance_m: 12                        # at which the images are to coincide
    homography: [2, 0, 10, 0, 2, -15, 0, 0, 1]   # thermal pixels to RGB pixels, row by row

Both sizes are required, and so is something to align with: the homography, the rigid transform, or a camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import CalibrationError
from ..files import write_atomically
from ..geometry.cameras import PinholeCamera, Rig
from ..geometry.poses import as_pose, pose_from_quaternion, quaternion_from_pose
from ..geometry.warp import area_scale, as_homography
from .calibration_fields import Fields, camera_fields, read_camera, read_size
from .calibration_plans import size_text

__all__ = ["Calibration", "load_calibration", "load_camera"]

Size = tuple[int, int]
_CAMERAS = ("rgb", "thermal")
_OPTIONAL = ("rgb_from_thermal", "distance_m", "homography", "residual_px", "comment")


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the thermal image lies in the RGB image, as far as it was measured.

    Attributes:
        rgb_size: ``(h, w)`` of the RGB images at calibration.
        thermal_size: ``(h, w)`` of the thermal images at calibration.
        homography: 3 x 3, thermal pixels to RGB pixels, for images of these sizes; float64.
        rgb_camera: Lens of the RGB camera, for images of ``rgb_size``.
        thermal_camera: Lens of the thermal camera, for images of ``thermal_size``.
        rgb_from_thermal: 4 x 4, points of the thermal optical frame into the RGB optical frame, metres; float64.
        distance_m: Distance in front of the thermal camera at which the two images are to coincide.
        residual_px: How far the calibration is off where it was measured, in RGB pixels.
        comment: How and when it was made, for people.

    Raises:
        CalibrationError: A value cannot be: a size that is not positive, a homography that is singular or
            mirrors the image, a transform that is not rigid, a camera of another size, a distance that
            is not positive, or nothing at all to align with.
    """

    rgb_size: Size
    thermal_size: Size
    homography: np.ndarray | None = None
    rgb_camera: PinholeCamera | None = None
    thermal_camera: PinholeCamera | None = None
    rgb_from_thermal: np.ndarray | None = None
    distance_m: float | None = None
    residual_px: float | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        for name, size in (("rgb_size", self.rgb_size), ("thermal_size", self.thermal_size)):
            object.__setattr__(self, name, _as_size(name, size))
        self._check_cameras()
        if self.homography is not None:
            object.__setattr__(self, "homography", self._checked_homography())
        if self.rgb_from_thermal is not None:
            object.__setattr__(self, "rgb_from_thermal", as_pose(self.rgb_from_thermal))
        if self.distance_m is not None and not (math.isfinite(self.distance_m) and self.distance_m > 0):
            raise CalibrationError(f"expected a positive distance_m in metres, got {self.distance_m!r}")
        if self.residual_px is not None and not (math.isfinite(self.residual_px) and self.residual_px >= 0):
            raise CalibrationError(f"expected a residual_px of at least 0 pixels, got {self.residual_px!r}")

    def _check_cameras(self) -> None:
        cameras = {"rgb": (self.rgb_camera, self.rgb_size), "thermal": (self.thermal_camera, self.thermal_size)}
        for name, (camera, size) in cameras.items():
            if camera is not None and camera.size != size:
                raise CalibrationError(
                    f"expected the {name} camera for images of {size_text(size)}, "
                    f"got one for {size_text(camera.size)}; rescale it with PinholeCamera.scaled"
                )
        if self.homography is None and self.rgb_from_thermal is None and not any(c for c, _ in cameras.values()):
            raise CalibrationError(
                "expected a homography, rgb_from_thermal or a camera in the calibration, got sizes only"
            )

    def _checked_homography(self) -> np.ndarray:
        matrix = as_homography(self.homography)
        if area_scale(matrix, self.thermal_size) < 0.0:
            raise CalibrationError(
                f"the homography mirrors the image: {matrix.tolist()}; check the order and signs of its numbers"
            )
        return matrix

    @property
    def rig(self) -> Rig | None:
        """The two cameras and where they are, if all three are known."""
        if self.rgb_camera is None or self.thermal_camera is None or self.rgb_from_thermal is None:
            return None
        return Rig(self.rgb_camera, self.thermal_camera, self.rgb_from_thermal)

    def text(self) -> str:
        """Return the calibration as YAML, as it is stored."""
        content: dict[str, Any] = {"comment": self.comment} if self.comment else {}
        content["rgb"] = camera_fields(self.rgb_camera, self.rgb_size)
        content["thermal"] = camera_fields(self.thermal_camera, self.thermal_size)
        if self.rgb_from_thermal is not None:
            content["rgb_from_thermal"] = {
                "translation_m": self.rgb_from_thermal[:3, 3].tolist(),
                "rotation_xyzw": list(quaternion_from_pose(self.rgb_from_thermal)),
            }
        if self.homography is not None:
            content["homography"] = self.homography.ravel().tolist()
        for name in ("distance_m", "residual_px"):
            if getattr(self, name) is not None:
                content[name] = float(getattr(self, name))
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)

    def save(self, path: str | Path) -> None:
        """Write the YAML file, whole or not at all.

        Raises:
            CalibrationError: The file cannot be written.
        """
        try:
            write_atomically(Path(path), self.text().encode())
        except OSError as error:
            raise CalibrationError(f"cannot write the calibration to {path}: {error.strerror or error}") from error


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration file; see the module for its form.

    Raises:
        CalibrationError: The file is missing, is not YAML, lacks a field, has one that is unknown or of the
            wrong kind, or holds what cannot be; the text begins with the file's name.
    """
    path = Path(path)
    fields = _read(path)
    fields.check(required=_CAMERAS, optional=_OPTIONAL)
    try:
        sizes, cameras = {}, {}
        for name in _CAMERAS:
            sizes[name], cameras[name] = _camera_section(fields, name, path.parent)
        homography = fields.numbers("homography", 9) if "homography" in fields else None
        return Calibration(
            sizes["rgb"],
            sizes["thermal"],
            None if homography is None else np.reshape(homography, (3, 3)),
            cameras["rgb"],
            cameras["thermal"],
            _pose_section(fields),
            fields.number("distance_m") if "distance_m" in fields else None,
            fields.number("residual_px") if "residual_px" in fields else None,
            fields.text("comment") if "comment" in fields else "",
        )
    except CalibrationError as error:
        text = str(error)
        raise CalibrationError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def load_camera(path: str | Path) -> PinholeCamera:
    """Read a camera from a YAML file of the kind that ROS's ``camera_calibration`` writes.

    Raises:
        CalibrationError: The file is missing, is not YAML, or holds no usable calibration.
    """
    fields = _read(Path(path))
    camera = read_camera(fields)
    if camera is None:
        raise CalibrationError(f"{path}: expected a camera_matrix, found sizes only; calibrate the camera")
    return camera


def _read(path: Path) -> Fields:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CalibrationError(
            f"no calibration file at {path}; expected a YAML file such as 'fusion-ros calibrate' writes"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path} is not valid YAML: {error}") from error
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror or error}") from error
    return Fields(str(path), content)


def _camera_section(fields: Fields, name: str, folder: Path) -> tuple[Size, PinholeCamera | None]:
    if fields.is_text(name):
        section = _read(folder / fields.text(name))  # an absolute name replaces the folder
    else:
        section = fields.section(name)
    camera = read_camera(section)
    return read_size(section), camera


def _pose_section(fields: Fields) -> np.ndarray | None:
    if "rgb_from_thermal" not in fields:
        return None
    section = fields.section("rgb_from_thermal")
    section.check(required=("translation_m", "rotation_xyzw"))
    return pose_from_quaternion(section.numbers("translation_m", 3), section.numbers("rotation_xyzw", 4))


def _as_size(name: str, size: Sequence[int]) -> Size:
    values = tuple(size) if isinstance(size, Sequence) else ()
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) and v > 0 for v in values):
        raise CalibrationError(f"{name}: expected a height and a width in pixels, got {size!r}")
    return int(values[0]), int(values[1])
