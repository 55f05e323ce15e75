"""Coarse alignment: what calibration knows, applied from precomputed maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CalibrationError, SettingsError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera, Rig
from ..geometry.poses import pose_from_quaternion
from ..geometry.warp import as_homography, resize
from ..settings import Settings, setting
from .calibration import load_calibration
from .calibration_plans import HomographyGeometry, Plan, RigGeometry, size_text
from .calibration_rig import TYPICAL_DISTANCE_M, GroundSettings, KnownRig, homography_geometry

__all__ = ["Aligned", "CoarseAligner", "CoarseSettings"]

Size = tuple[int, int]
_AT_ONCE = "set them in one go: in the parameters file, or while running by the service set_parameters_atomically"
_WARPED = ("homography", "calibration")  # modes that take maps; the others resize at most


@dataclass(frozen=True)
class CoarseSettings(Settings):
    """How the moving image reaches the reference grid before any fine alignment."""

    mode: str = setting(
        "resize",
        "none: the images are aligned already and of one size; resize: they show the same field of view; "
        "homography: as the matrix below says; calibration: as calibration_file says, or as two cameras see that "
        "are calibrated by their camera_info, translation and rotation.",
        choices=("none", "resize", "homography", "calibration"),
    )
    homography: tuple[float, ...] = setting(
        (),
        "Nine numbers in row-major order of the matrix that takes thermal pixels to RGB pixels.",
        bounds=(-1e6, 1e6),
        element=float,
    )
    thermal_width: int = setting(
        0, "Thermal image width at which the homography was measured; 0: as it comes.", unit="px", bounds=(0, None)
    )
    thermal_height: int = setting(
        0,
        "Thermal image height at which the homography was measured; 0: as it comes.",
        unit="px",
        bounds=(0, None),
    )
    rgb_width: int = setting(
        0, "RGB image width at which the homography was measured; 0: as it comes.", unit="px", bounds=(0, None)
    )
    rgb_height: int = setting(
        0, "RGB image height at which the homography was measured; 0: as it comes.", unit="px", bounds=(0, None)
    )
    calibration_file: str = setting(
        "", "YAML file of the calibrated rig, as 'fusion-ros calibrate' writes it, for mode calibration."
    )
    translation: tuple[float, ...] = setting(
        (),
        "Where the thermal camera is in the RGB camera's optical frame: x to the right, y down, z forward; "
        "empty: as the calibration file says.",
        unit="m",
        bounds=(-100, 100),
        element=float,
    )
    rotation: tuple[float, ...] = setting(
        (),
        "How the thermal camera is turned in the RGB camera's optical frame, as a unit quaternion x, y, z, w; "
        "given with translation.",
        bounds=(-1, 1),
        element=float,
    )
    distance_m: float = setting(
        0.0,
        "Distance in front of the thermal camera at which the images coincide in mode calibration; 0: the "
        f"calibration file's, or {TYPICAL_DISTANCE_M:g} where that names none.",
        unit="m",
        bounds=(0, 1e5),
    )
    ground: GroundSettings = setting(GroundSettings(), "The ground that the cameras stand over.")
    rectified: str = setting(
        "none",
        "Cameras whose images come rectified (image_rect): P of their camera_info holds, without distortion.",
        choices=("none", "rgb", "thermal", "both"),
    )
    undistort: bool = setting(
        False, "In mode calibration, take the lens distortion out of the reference image and of the output too."
    )

    @classmethod
    def for_rig(cls, rig: Rig, distance_m: float = TYPICAL_DISTANCE_M) -> CoarseSettings:
        """Return the homography of a calibrated rig, for images of its cameras' sizes.

        It is exact at one distance; nearer and farther things keep their parallax.

        Raises:
            CalibrationError: ``distance_m`` is not positive.
        """
        return cls(mode="homography", homography=tuple(rig.homography(distance_m).ravel().tolist()))

    def check(self) -> None:
        """Check that each mode has what it needs, and that what belongs together is given together."""
        if self.mode == "homography" and len(self.homography) != 9:
            raise SettingsError(
                "homography: expected 9 numbers (row-major, thermal pixels to RGB pixels) as mode is homography, "
                f"got {len(self.homography)}; calibrate the rig or set mode to resize"
            )
        for sensor in Sensor:
            width, height = self._measured(sensor)
            if (width == 0) != (height == 0):
                raise SettingsError(
                    f"{sensor.value}_width and {sensor.value}_height: expected both or neither, "
                    f"got {width} and {height}; {_AT_ONCE}"
                )

        self._check_calibration()

    def _check_calibration(self) -> None:
        if (len(self.translation), len(self.rotation)) not in {(0, 0), (3, 4)}:
            raise SettingsError(
                "translation and rotation: expected 3 numbers (x, y, z) and 4 numbers (x, y, z, w), or neither, "
                f"got {len(self.translation)} and {len(self.rotation)}; {_AT_ONCE}"
            )
        if self.mode == "calibration" and not (self.calibration_file or self.translation):
            raise SettingsError(
                "calibration_file: expected the name of a file, or else translation and rotation, as mode is "
                "calibration; 'fusion-ros calibrate' makes the file"
            )
        if self.undistort and self.mode != "calibration":
            raise SettingsError(f"undistort: expected mode calibration, which knows the lenses, got {self.mode!r}")

    def _measured(self, sensor: Sensor) -> tuple[int, int]:
        if sensor is Sensor.RGB:
            return self.rgb_width, self.rgb_height
        return self.thermal_width, self.thermal_height

    def measured_size(self, sensor: Sensor) -> Size | None:
        """Return the ``(h, w)`` at which the homography was measured, or None: the size of the stream."""
        width, height = self._measured(sensor)
        return (height, width) if width else None

    def camera(self, sensor: Sensor, info: Any) -> PinholeCamera:
        """Return the camera that a ``sensor_msgs/CameraInfo`` describes, for images as ``rectified`` says.

        Raises:
            CalibrationError: It is no usable calibration.
        """
        return PinholeCamera.from_camera_info(info, rectified=self.rectified in ("both", sensor.value))

    def known_rig(self) -> KnownRig:
        """Return what mode calibration knows before a camera info comes.

        Raises:
            CalibrationError: The file cannot be used, or the rotation is no unit quaternion.
        """
        file = load_calibration(Path(self.calibration_file).expanduser()) if self.calibration_file else None
        pose = pose_from_quaternion(self.translation, self.rotation) if self.translation else None
        return KnownRig(file, pose)


@dataclass(frozen=True, eq=False)
class Aligned:
    """An image on the reference grid.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)`` in the type of the input; 0 where nothing was seen.
        valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
    """

    pixels: np.ndarray
    valid: np.ndarray | None


class _LatestPlan:
    """Keeps a plan while the sizes stay."""

    def __init__(self) -> None:
        self._sizes: tuple[Size, ...] | None = None
        self._plan: Plan | None = None

    def get(self, make: Callable[..., Plan], *sizes: Size) -> Plan:
        """Return the plan for these sizes; ``make`` makes it where they are new."""
        if self._plan is None or sizes != self._sizes:
            self._plan = make(*sizes)
            self._sizes = sizes
        return self._plan


class CoarseAligner:
    """Brings the raw pixels of the moving camera onto the grid of the reference camera.

    The moving camera is the thermal one, unless that is the reference: then RGB moves, by the inverse.

    Args:
        settings: The mode, and what it needs.
        reference: The camera whose grid the output has.
        known_rig: What is known in mode calibration; by default what the settings say.

    Raises:
        CalibrationError: The homography is singular, not finite or mirrors the image, it maps no thermal pixel
            into the RGB image, or the calibration file cannot be used. What needs the image sizes to be
            known is checked here where the settings or the file give them, else on the first image.
    """

    def __init__(
        self,
        settings: CoarseSettings | None = None,
        reference: Sensor = Sensor.RGB,
        *,
        known_rig: KnownRig | None = None,
    ) -> None:
        self.settings = settings or CoarseSettings()
        self._reference = reference
        self._known_rig = known_rig
        if self.settings.mode == "calibration" and known_rig is None:
            self._known_rig = self.settings.known_rig()
        self._plan, self._reference_plan = _LatestPlan(), _LatestPlan()
        if self.awaited or self.settings.mode not in _WARPED:
            return
        if self._geometry.measured is not None:
            moving_size, reference_size = self._geometry.measured
            self._plan.get(self._geometry.plan, moving_size, reference_size, reference_size)

    @cached_property
    def _geometry(self) -> HomographyGeometry | RigGeometry:
        settings = self.settings
        if settings.mode == "homography":
            sizes = {sensor: settings.measured_size(sensor) for sensor in Sensor}
            return homography_geometry(as_homography(settings.homography), self._reference, sizes)
        return self._known_rig.geometry(self._reference, settings.distance_m, settings.ground, settings.undistort)

    @property
    def awaited(self) -> tuple[Sensor, ...]:
        """The cameras whose camera info is needed before an image can be aligned; see :meth:`with_cameras`."""
        return self._known_rig.awaited if self._known_rig is not None else ()

    def with_cameras(
        self, rgb: PinholeCamera | None = None, thermal: PinholeCamera | None = None
    ) -> CoarseAligner:
        """Return an aligner that knows these cameras: this one itself where that changes nothing.

        In mode calibration they fill in what the calibration file leaves open; the other modes need none.
        Making the maps of large images can take seconds.

        Args:
            rgb: The RGB camera, from its camera info by :meth:`CoarseSettings.camera`; None: as it was.
            thermal: The thermal camera, likewise.

        Raises:
            CalibrationError: The two cameras do not see anything in common.
        """
        if self._known_rig is None:
            return self
        known = self._known_rig.with_cameras(rgb, thermal)
        if known is self._known_rig:
            return self
        return CoarseAligner(self.settings, self._reference, known_rig=known)

    def __call__(self, pixels: np.ndarray, output_size: Size, reference_size: Size | None = None) -> Aligned:
        """Align one image.

        Args:
            pixels: Image of the moving camera, ``(h, w)`` or ``(h, w, C)``; uint8, uint16 or float32.
            output_size: ``(H, W)`` of the result.
            reference_size: ``(h, w)`` of the reference camera's own image, where the result is wanted on a
                resized version of it; by default ``output_size``.

        Raises:
            CalibrationError: The settings do not fit these sizes, or a camera info is awaited.
            ImageError: The pixels are of an unsupported type.
        """
        moving_size = (pixels.shape[0], pixels.shape[1])
        reference_size = reference_size or output_size
        if self.settings.mode in _WARPED:
            plan = self._plan.get(self._geometry.plan, moving_size, output_size, reference_size)
            return Aligned(plan.apply(pixels), plan.valid)
        if self.settings.mode == "none" and moving_size != reference_size:
            raise CalibrationError(
                f"alignment mode none expects images of one size, got {size_text(moving_size)} for "
                f"{self._reference.other.value} and {size_text(reference_size)} for {self._reference.value}; "
                "set the mode to resize or homography"
            )
        return Aligned(resize(pixels, output_size), None)

    def place_reference(self, pixels: np.ndarray, output_size: Size) -> Aligned:
        """Bring an image of the reference camera onto the output grid: resized, and undistorted if asked for.

        Args:
            pixels: Its own image, ``(h, w)`` or ``(h, w, C)``; uint8, uint16 or float32.
            output_size: ``(H, W)`` of the result.

        Raises:
            CalibrationError: The camera does not fit this size, or a camera info is awaited.
            ImageError: The pixels are of an unsupported type.
        """
        if not self.settings.undistort:
            return Aligned(resize(pixels, output_size), None)
        plan = self._reference_plan.get(
            self._geometry.reference_plan, output_size, (pixels.shape[0], pixels.shape[1])
        )
        return Aligned(plan.apply(pixels), plan.valid)

    def output_camera(self, output_size: Size, reference_size: Size | None = None) -> PinholeCamera | None:
        """Return the camera that the output is seen by; None where it is the reference camera itself, resized.

        Args:
            output_size: ``(H, W)`` of the output.
            reference_size: ``(h, w)`` of the reference camera's own image; by default ``output_size``.

        Raises:
            CalibrationError: The camera does not fit these sizes, or a camera info is awaited.
        """
        if not self.settings.undistort:
            return None
        return self._geometry.output_camera(output_size, reference_size or output_size)
