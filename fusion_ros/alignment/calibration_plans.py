"""From a calibration to the maps that bring one camera's images onto the other's grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import CalibrationError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera, Rig
from ..geometry.projection import Plane, lens_positions, mean_area_scale, position_maps, rig_positions
from ..geometry.warp import (
    WarpMaps,
    area_scale,
    homography_maps,
    remap,
    resize,
    resize_homography,
    scaled_homography,
)

__all__ = ["Geometry", "HomographyGeometry", "Plan", "RigGeometry", "size_text"]

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is precomputed for one combination of image sizes.

    Attributes:
        reduced_size: ``(h, w)`` that an image is averaged down to before it is warped.
        maps: Where each output pixel lies in the reduced image.
        valid: ``(H, W)`` bool on the output grid; None where the image reaches everywhere.
    """

    reduced_size: Size
    maps: WarpMaps
    valid: np.ndarray | None

    @classmethod
    def of(cls, maps: WarpMaps) -> Plan:
        """Return the plan of maps that are made for the reduced size."""
        return cls(maps.source_size, maps, None if maps.valid.all() else maps.valid)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Bring an image onto the output grid, in its own type."""
        return remap(resize(pixels, self.reduced_size), self.maps)


class Geometry(Protocol):
    """How the moving image lies in the reference image.

    Attributes:
        measured: ``(h, w)`` of the moving and of the reference image at calibration, where that is known.
    """

    measured: tuple[Size, Size] | None

    def plan(self, moving_size: Size, output_size: Size, reference_size: Size) -> Plan:
        """Return the plan for images of these sizes ``(h, w)``.

        Args:
            moving_size: Of the moving camera's image.
            output_size: Of the result, which shows what the reference image shows.
            reference_size: Of the reference camera's own image.

        Raises:
            CalibrationError: The calibration does not fit the sizes, or the cameras have nothing in common.
        """


@dataclass(frozen=True, eq=False)
class HomographyGeometry:
    """One plane-to-plane map.

    Attributes:
        output_from_moving: 3 x 3, for images of the measured sizes.
        reference: The camera whose grid the output has.
        measured_moving: ``(h, w)`` of the moving image at calibration; None: as it comes.
        measured_reference: The same of the reference image.
        keeps_shape: Refuse images of another aspect ratio than the measured ones, which must be cropped.
    """

    output_from_moving: np.ndarray
    reference: Sensor
    measured_moving: Size | None
    measured_reference: Size | None
    keeps_shape: bool = False

    @property
    def measured(self) -> tuple[Size, Size] | None:
        """See :class:`Geometry`."""
        if self.measured_moving is None or self.measured_reference is None:
            return None
        return self.measured_moving, self.measured_reference

    def plan(self, moving_size: Size, output_size: Size, reference_size: Size) -> Plan:
        """See :class:`Geometry`."""
        if self.keeps_shape:
            _check_shape(self.reference.other, self.measured_moving or moving_size, moving_size)
            _check_shape(self.reference, self.measured_reference or reference_size, reference_size)
        output_from_moving = scaled_homography(
            self.output_from_moving,
            measured_source=self.measured_moving or moving_size,
            source=moving_size,
            measured_output=self.measured_reference or reference_size,
            output=output_size,
        )
        reduced_size = _reduced_size(area_scale(output_from_moving, moving_size), moving_size)
        output_from_reduced = output_from_moving @ resize_homography(reduced_size, moving_size)
        maps = homography_maps(output_from_reduced, reduced_size, output_size)
        if not maps.valid.any():
            raise CalibrationError(
                f"the homography brings no pixel of the {self.reference.other.value} image "
                f"({size_text(moving_size)}) into the {self.reference.value} image ({size_text(reference_size)}): "
                "expected the matrix that takes thermal pixels to RGB pixels, and the image sizes at which "
                "it was measured"
            )
        return Plan.of(maps)


@dataclass(frozen=True, eq=False)
class RigGeometry:
    """Two cameras with their lenses, and the surfaces that they look at.

    Attributes:
        rig: The two cameras.
        reference: The camera whose grid the output has.
        surfaces: What is seen, in the RGB optical frame; a ray ends on the nearest.
        undistort: The output shows the reference camera's image without its lens distortion.
    """

    rig: Rig
    reference: Sensor
    surfaces: Sequence[Plane]
    undistort: bool = False

    @property
    def measured(self) -> tuple[Size, Size]:
        """See :class:`Geometry`."""
        return self._camera(self.reference.other).size, self._camera(self.reference).size

    def plan(self, moving_size: Size, output_size: Size, reference_size: Size) -> Plan:
        """See :class:`Geometry`."""
        moving = self._fitted(self.reference.other, moving_size)
        changed = {self.reference.other.value: moving}
        rig = replace(self.rig, **changed)
        grid = self.output_camera(output_size, reference_size)
        positions = rig_positions(rig, self.reference, grid, self.surfaces)
        maps = _reduced_maps(positions, moving_size)
        if maps is None:
            raise CalibrationError(
                f"no pixel of the {self.reference.other.value} camera ({size_text(moving_size)}) is seen by the "
                f"{self.reference.value} camera ({size_text(reference_size)}): expected rgb_from_thermal to take "
                "points of the thermal optical frame (x right, y down, z forward) into that of the RGB camera"
            )
        return Plan.of(maps)

    def reference_plan(self, output_size: Size, reference_size: Size) -> Plan:
        """Return the plan that takes the lens distortion out of the reference image.

        Raises:
            CalibrationError: The reference camera does not fit its images.
        """
        camera = self._fitted(self.reference, reference_size)
        maps = _reduced_maps(lens_positions(camera, output_size), reference_size)
        if maps is None:
            raise CalibrationError(f"the lens of the {self.reference.value} camera leaves nothing of its image")
        return Plan.of(maps)

    def output_camera(self, output_size: Size, reference_size: Size) -> PinholeCamera:
        """Return the camera that the output is seen by.

        Raises:
            CalibrationError: The reference camera does not fit its images.
        """
        camera = self._fitted(self.reference, reference_size)
        return (camera.undistorted() if self.undistort else camera).scaled(output_size)

    def _camera(self, sensor: Sensor) -> PinholeCamera:
        return self.rig.rgb if sensor is Sensor.RGB else self.rig.thermal

    def _fitted(self, sensor: Sensor, size: Size) -> PinholeCamera:
        camera = self._camera(sensor)
        _check_shape(sensor, camera.size, size)
        return camera if camera.size == size else camera.scaled(size)


def _check_shape(sensor: Sensor, calibrated: Size, size: Size) -> None:
    """Check that images of ``size`` can be the calibrated ones, resized: that one side is right to a pixel."""
    height = calibrated[0] * size[1] / calibrated[1]
    width = calibrated[1] * size[0] / calibrated[0]
    if abs(height - size[0]) >= 1.0 and abs(width - size[1]) >= 1.0:
        raise CalibrationError(
            f"the {sensor.value} camera is calibrated for images of {size_text(calibrated)}, but they come with "
            f"{size_text(size)}, another aspect ratio, so they are cropped and not just resized; use the "
            "calibration (the camera_info) of the images as they are sent"
        )


def _reduced_maps(positions: np.ndarray, source_size: Size) -> WarpMaps | None:
    """Return the maps of positions in an image that is averaged down as far as needed; None if none is in it."""
    maps = position_maps(positions, source_size)
    if not maps.valid.any():
        return None
    reduced_size = _reduced_size(mean_area_scale(positions, source_size), source_size)
    return maps if reduced_size == source_size else position_maps(positions, source_size, reduced_size)


def _reduced_size(scale: float, size: Size) -> Size:
    """Return the size to average an image down to before it is warped.

    Bilinear interpolation looks at four pixels only; where the image shrinks to less than a half, the
    ones between them would be skipped and fine structure would alias.

    Args:
        scale: How many output pixels one pixel of the image covers.
        size: ``(h, w)`` of the image.
    """
    factor = max(1, math.floor(1.0 / math.sqrt(abs(scale))))
    return max(1, round(size[0] / factor)), max(1, round(size[1] / factor))


def size_text(size: Size) -> str:
    """Return ``(h, w)`` as people write it: ``640 x 480``."""
    return f"{size[1]} x {size[0]}"
