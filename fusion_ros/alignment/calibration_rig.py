"""What is known of a rig: from a calibration file, from settings, and from camera infos that come later."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CalibrationError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera, Rig
from ..geometry.projection import Plane, facing_plane, ground_plane
from ..settings import Settings, setting
from .calibration import Calibration
from .calibration_plans import HomographyGeometry, RigGeometry

__all__ = ["TYPICAL_DISTANCE_M", "GroundSettings", "KnownRig", "homography_geometry"]

Size = tuple[int, int]
TYPICAL_DISTANCE_M = 12.0  # of people and cars on a street


@dataclass(frozen=True)
class GroundSettings(Settings):
    """The ground that the cameras stand over."""

    height_m: float = setting(
        0.0,
        "Height of the RGB camera above flat ground: in mode calibration, what is seen below the horizon and "
        "nearer than distance_m is taken to lie on it; 0: no ground.",
        unit="m",
        bounds=(0, 1000),
    )
    pitch_deg: float = setting(
        0.0, "How far the RGB camera looks down from the horizon.", unit="deg", bounds=(-90, 90)
    )
    roll_deg: float = setting(
        0.0, "How far the RGB camera is turned clockwise, its right side lower.", unit="deg", bounds=(-180, 180)
    )

    def plane(self) -> Plane | None:
        """Return the ground in the RGB optical frame, or None where there is none."""
        if self.height_m == 0:
            return None
        return ground_plane(self.height_m, math.radians(self.pitch_deg), math.radians(self.roll_deg))


@dataclass(frozen=True, eq=False)
class KnownRig:
    """What is known of a rig so far.

    What the calibration file says about a camera holds; camera infos fill in what it leaves open.

    Attributes:
        calibration: What the file says, or None.
        pose: ``rgb_from_thermal``, 4 x 4, as the settings say it; None: the file's.
        rgb: The RGB camera from its camera info, or None.
        thermal: The thermal camera from its camera info, or None.

    Raises:
        CalibrationError: There is neither a homography nor a transform between the cameras.
    """

    calibration: Calibration | None = None
    pose: np.ndarray | None = None
    rgb: PinholeCamera | None = None
    thermal: PinholeCamera | None = None

    def __post_init__(self) -> None:
        if self.rgb_from_thermal is None and (self.calibration is None or self.calibration.homography is None):
            raise CalibrationError(
                "expected a homography or rgb_from_thermal in the calibration file, got cameras only: add "
                "rgb_from_thermal to it, or set alignment.translation and alignment.rotation"
            )

    @property
    def rgb_from_thermal(self) -> np.ndarray | None:
        """Where the thermal camera is; None where that is not known."""
        return (
            self.pose if self.pose is not None or self.calibration is None else self.calibration.rgb_from_thermal
        )

    @property
    def uses_homography(self) -> bool:
        """Whether the file's homography holds: it has one, and nothing gives a whole rig without camera infos."""
        file = self.calibration
        return file is not None and file.homography is not None and self.pose is None and file.rig is None

    @property
    def awaited(self) -> tuple[Sensor, ...]:
        """The cameras whose camera info is needed and has not come."""
        if self.uses_homography:
            return ()
        return tuple(sensor for sensor in Sensor if self._camera(sensor) is None)

    def with_cameras(self, rgb: PinholeCamera | None, thermal: PinholeCamera | None) -> KnownRig:
        """Return what is known with camera infos: this itself if nothing changes; None leaves one as it is."""
        other = replace(self, rgb=rgb or self.rgb, thermal=thermal or self.thermal)
        changes = not self.uses_homography and any(self._camera(s) != other._camera(s) for s in Sensor)
        return other if changes else self

    def geometry(
        self, reference: Sensor, distance_m: float, ground: GroundSettings, undistort: bool
    ) -> HomographyGeometry | RigGeometry:
        """Return how the moving image lies in the reference image.

        Args:
            reference: The camera whose grid the output has.
            distance_m: In front of the thermal camera; 0: the file's, else a typical one.
            ground: The ground below the RGB camera.
            undistort: The output has no lens distortion.

        Raises:
            CalibrationError: A camera is missing (:attr:`awaited`), or ``undistort`` is to work without any.
        """
        if self.uses_homography:
            return self._homography_geometry(reference, undistort)
        rgb, thermal = self._camera(Sensor.RGB), self._camera(Sensor.THERMAL)
        if rgb is None or thermal is None:
            raise CalibrationError(_awaiting(self.awaited))
        rig = Rig(rgb, thermal, self.rgb_from_thermal)
        distance_m = distance_m or (self.calibration and self.calibration.distance_m) or TYPICAL_DISTANCE_M
        surfaces = [facing_plane(rig, distance_m), ground.plane()]
        return RigGeometry(rig, reference, [plane for plane in surfaces if plane is not None], undistort)

    def _homography_geometry(self, reference: Sensor, undistort: bool) -> HomographyGeometry:
        if undistort:
            raise CalibrationError(
                "undistort needs the lenses of both cameras and rgb_from_thermal, but the calibration file has a "
                "homography only; add them to it or set undistort to false"
            )
        file = self.calibration
        return homography_geometry(
            file.homography, reference, {Sensor.RGB: file.rgb_size, Sensor.THERMAL: file.thermal_size}, True
        )

    def _camera(self, sensor: Sensor) -> PinholeCamera | None:
        is_rgb = sensor is Sensor.RGB
        file = self.calibration
        told = (file.rgb_camera if is_rgb else file.thermal_camera) if file is not None else None
        return told or (self.rgb if is_rgb else self.thermal)


def _awaiting(awaited: tuple[Sensor, ...]) -> str:
    """Say which camera infos are missing, and what to do."""
    names = " and ".join(sensor.value for sensor in awaited)
    topics = " and ".join(f"{sensor.value}/camera_info" for sensor in awaited)
    return (
        f"alignment mode calibration awaits the camera_info of the {names} camera, on {topics}; publish it, "
        "or put the camera into the file that alignment.calibration_file names"
    )


def homography_geometry(
    rgb_from_thermal: np.ndarray, reference: Sensor, sizes: dict[Sensor, Size | None], keeps_shape: bool = False
) -> HomographyGeometry:
    """Return the geometry of a homography from thermal to RGB pixels, measured at sizes ``(h, w)``."""
    is_rgb = reference is Sensor.RGB
    output_from_moving = rgb_from_thermal if is_rgb else np.linalg.inv(rgb_from_thermal)
    return HomographyGeometry(output_from_moving, reference, sizes[reference.other], sizes[reference], keeps_shape)
