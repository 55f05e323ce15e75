"""Coarse alignment: what calibration knows, applied from precomputed maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import CalibrationError, SettingsError
from ..frame import Sensor
from ..geometry.cameras import Rig
from ..geometry.warp import (
    WarpMaps,
    area_scale,
    as_homography,
    homography_maps,
    remap,
    resize,
    resize_homography,
    scaled_homography,
)
from ..settings import Settings, setting

__all__ = ["Aligned", "CoarseAligner", "CoarseSettings"]

Size = tuple[int, int]
_TYPICAL_DISTANCE_M = 12.0  # of people and cars on a street


@dataclass(frozen=True)
class CoarseSettings(Settings):
    """How the moving image reaches the reference grid before any fine alignment."""

    mode: str = setting(
        "resize",
        "none: the images are aligned already and of one size; resize: they show the same field of view; "
        "homography: as calibrated.",
        choices=("none", "resize", "homography"),
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

    @classmethod
    def for_rig(cls, rig: Rig, distance_m: float = _TYPICAL_DISTANCE_M) -> CoarseSettings:
        """Return the homography of a calibrated rig, for images of its cameras' sizes.

        It is exact at one distance; nearer and farther things keep their parallax.

        Raises:
            CalibrationError: ``distance_m`` is not positive.
        """
        return cls(mode="homography", homography=tuple(rig.homography(distance_m).ravel().tolist()))

    def check(self) -> None:
        """Check that a homography is there when it is needed, and that sizes are given in pairs."""
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
                    f"got {width} and {height}"
                )

    def _measured(self, sensor: Sensor) -> tuple[int, int]:
        if sensor is Sensor.RGB:
            return self.rgb_width, self.rgb_height
        return self.thermal_width, self.thermal_height

    def measured_size(self, sensor: Sensor) -> Size | None:
        """Return the ``(h, w)`` at which the homography was measured, or None: the size of the stream."""
        width, height = self._measured(sensor)
        return (height, width) if width else None


@dataclass(frozen=True, eq=False)
class Aligned:
    """An image on the reference grid.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)`` in the type of the input; 0 where nothing was seen.
        valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
    """

    pixels: np.ndarray
    valid: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is precomputed for one combination of sizes."""

    reduced_size: Size
    maps: WarpMaps
    valid: np.ndarray | None


class CoarseAligner:
    """Brings the raw pixels of the moving camera onto the grid of the reference camera.

    The moving camera is the thermal one, unless that is the reference: then RGB moves, by the inverse homography.

    Args:
        settings: The mode, and the homography where there is one.
        reference: The camera whose grid the output has.

    Raises:
        CalibrationError: The homography is singular, not finite or mirrors the image, or it maps
            no thermal pixel into the RGB image. What needs the image sizes to be known is
            checked here where the settings give them, else on the first image.
    """

    def __init__(self, settings: CoarseSettings | None = None, reference: Sensor = Sensor.RGB) -> None:
        self.settings = settings or CoarseSettings()
        self._reference = reference
        self._sizes: tuple[Size, Size, Size] | None = None
        self._plan: _Plan | None = None
        if self.settings.mode != "homography":
            return
        rgb_from_thermal = as_homography(self.settings.homography)
        self._output_from_moving = rgb_from_thermal
        if reference is Sensor.THERMAL:
            self._output_from_moving = np.linalg.inv(rgb_from_thermal)
        moving_size = self.settings.measured_size(reference.other)
        reference_size = self.settings.measured_size(reference)
        if moving_size and reference_size:
            self._planned(moving_size, reference_size, reference_size)

    def __call__(self, pixels: np.ndarray, output_size: Size, reference_size: Size | None = None) -> Aligned:
        """Align one image.

        Args:
            pixels: Image of the moving camera, ``(h, w)`` or ``(h, w, C)``; uint8, uint16 or float32.
            output_size: ``(H, W)`` of the result.
            reference_size: ``(h, w)`` of the reference camera's own image, where the result is wanted on a
                resized version of it; by default ``output_size``.

        Raises:
            CalibrationError: The settings do not fit these sizes.
            ImageError: The pixels are of an unsupported type.
        """
        moving_size = (pixels.shape[0], pixels.shape[1])
        reference_size = reference_size or output_size
        if self.settings.mode == "homography":
            plan = self._planned(moving_size, output_size, reference_size)
            return Aligned(remap(resize(pixels, plan.reduced_size), plan.maps), plan.valid)
        if self.settings.mode == "none" and moving_size != reference_size:
            raise CalibrationError(
                f"alignment mode none expects images of one size, got {_text(moving_size)} for "
                f"{self._reference.other.value} and {_text(reference_size)} for {self._reference.value}; "
                "set the mode to resize or homography"
            )
        return Aligned(resize(pixels, output_size), None)

    def _planned(self, moving_size: Size, output_size: Size, reference_size: Size) -> _Plan:
        sizes = (moving_size, output_size, reference_size)
        if self._plan is None or sizes != self._sizes:
            self._plan = self._make_plan(*sizes)
            self._sizes = sizes
        return self._plan

    def _make_plan(self, moving_size: Size, output_size: Size, reference_size: Size) -> _Plan:
        output_from_moving = scaled_homography(
            self._output_from_moving,
            measured_source=self.settings.measured_size(self._reference.other) or moving_size,
            source=moving_size,
            measured_output=self.settings.measured_size(self._reference) or reference_size,
            output=output_size,
        )
        reduced_size = _reduced_size(output_from_moving, moving_size)
        output_from_reduced = output_from_moving @ resize_homography(reduced_size, moving_size)
        maps = homography_maps(output_from_reduced, reduced_size, output_size)
        if not maps.valid.any():
            raise CalibrationError(
                f"the homography brings no pixel of the {self._reference.other.value} image "
                f"({_text(moving_size)}) into the {self._reference.value} image ({_text(reference_size)}): "
                "expected the matrix that takes thermal pixels to RGB pixels, and the image sizes at which "
                "it was measured"
            )
        return _Plan(reduced_size, maps, None if maps.valid.all() else maps.valid)


def _reduced_size(output_from_moving: np.ndarray, moving_size: Size) -> Size:
    """Return the size to average an image down to before it is warped.

    Bilinear interpolation looks at four pixels only; where the image shrinks to less than a half, the
    ones between them would be skipped and fine structure would alias.
    """
    scale = abs(area_scale(output_from_moving, moving_size))
    factor = max(1, math.floor(1.0 / math.sqrt(scale)))
    return max(1, round(moving_size[0] / factor)), max(1, round(moving_size[1] / factor))


def _text(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
