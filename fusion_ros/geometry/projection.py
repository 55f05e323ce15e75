"""Where one camera of a rig sees what the other one sees, on surfaces that are assumed.

Convention: surfaces and points are in the RGB optical frame (x right, y down, z forward), in metres, whichever
camera looks; so what takes one image to the other is undone by what takes it back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CalibrationError
from ..frame import Sensor
from .cameras import PinholeCamera, Rig
from .warp import WarpMaps, resize_homography, valid_mask

__all__ = [
    "Plane",
    "facing_plane",
    "ground_plane",
    "lens_positions",
    "mean_area_scale",
    "position_maps",
    "rig_positions",
]

Size = tuple[int, int]
_OUTSIDE = -2.0  # a position none of whose four neighbours is in the image


@dataclass(frozen=True)
class Plane:
    """The points ``p`` of the RGB optical frame with ``normal . p = offset``.

    Attributes:
        normal: Unit vector ``(x, y, z)``.
        offset: Distance from the RGB camera along the normal, metres.
    """

    normal: tuple[float, float, float]
    offset: float

    def reached(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Return how many times its length ``(...)`` each ray ``(..., 3)`` goes to the plane; inf: it does not."""
        towards = rays @ np.array(self.normal)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = (self.offset - origin @ np.array(self.normal)) / towards
        return np.where(factor > 0, factor, np.inf)


def facing_plane(rig: Rig, distance_m: float) -> Plane:
    """Return the plane ``z = distance_m`` of the thermal optical frame, as in :meth:`Rig.homography`.

    Raises:
        CalibrationError: ``distance_m`` is not positive.
    """
    if not distance_m > 0:
        raise CalibrationError(f"expected a positive distance in metres, got {distance_m!r}")
    axis = rig.rgb_from_thermal[:3, 2]
    x, y, z = axis.tolist()
    return Plane((x, y, z), distance_m + float(axis @ rig.rgb_from_thermal[:3, 3]))


def ground_plane(height_m: float, pitch_rad: float = 0.0, roll_rad: float = 0.0) -> Plane:
    """Return the ground under the RGB camera.

    Args:
        height_m: The camera is this far above the ground.
        pitch_rad: Positive: it looks down.
        roll_rad: Positive: it is turned clockwise about its line of sight, its right side lower.

    Raises:
        CalibrationError: ``height_m`` is not positive.
    """
    if not height_m > 0:
        raise CalibrationError(f"expected a positive height above the ground in metres, got {height_m!r}")
    level = math.cos(pitch_rad)
    return Plane((level * math.sin(roll_rad), level * math.cos(roll_rad), math.sin(pitch_rad)), height_m)


def rig_positions(rig: Rig, reference: Sensor, grid: PinholeCamera, surfaces: Sequence[Plane]) -> np.ndarray:
    """Return where the moving camera sees what each pixel of the reference camera's grid shows.

    A ray of the reference camera ends on the nearest of the surfaces that it meets.

    Args:
        rig: The two cameras; the moving one with the size of its images.
        reference: The camera that the grid belongs to.
        grid: That camera, with the size and the lens of the output, which may be another one's.
        surfaces: In the RGB optical frame; at least one.

    Returns:
        ``(H, W, 2)`` float64: pixels ``(x, y)`` of the moving image; NaN where that cannot see it.
    """
    rays = grid.rays(grid.pixel_grid())  # (H, W, 3)
    origin = np.zeros(3)
    if reference is Sensor.THERMAL:
        rays, origin = rays @ rig.rgb_from_thermal[:3, :3].T, rig.rgb_from_thermal[:3, 3]
    factor = np.minimum.reduce([surface.reached(origin, rays) for surface in surfaces])
    with np.errstate(invalid="ignore"):  # a ray that meets nothing has an infinite factor
        points = origin + rays * factor[..., None]
    points[~np.isfinite(factor)] = np.nan
    if reference is Sensor.THERMAL:
        return rig.rgb.project(points)
    pose = rig.thermal_from_rgb
    return rig.thermal.project(points @ pose[:3, :3].T + pose[:3, 3])


def lens_positions(camera: PinholeCamera, size: Size) -> np.ndarray:
    """Return where a camera sees each pixel of its undistorted image of ``size`` ``(h, w)``.

    Returns:
        ``(H, W, 2)`` float64: pixels ``(x, y)`` of the camera's own image; NaN where it sees nothing.
    """
    grid = camera.undistorted().scaled(size)
    return camera.project(grid.rays(grid.pixel_grid()))


def mean_area_scale(positions: np.ndarray, source_size: Size) -> float:
    """Return how many output pixels one source pixel covers, at the median over the output; negative if mirrored.

    Args:
        positions: ``(H, W, 2)``, source pixels ``(x, y)``; NaN where there is none.
        source_size: ``(h, w)`` of the source image; what lies outside does not count.

    Raises:
        CalibrationError: No two neighbouring positions lie in the source image.
    """
    inside = valid_mask(positions[..., 0], positions[..., 1], source_size)
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:]
    if not whole.any():
        raise CalibrationError("expected the two cameras to see a part of the same scene, but no pixel is common")
    corner = positions[:-1, :-1][whole]
    along_x, along_y = positions[:-1, 1:][whole] - corner, positions[1:, :-1][whole] - corner
    area = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
    return 1.0 / float(np.median(area))


def position_maps(positions: np.ndarray, source_size: Size, reduced_size: Size | None = None) -> WarpMaps:
    """Return the maps of positions in a source image.

    Within the outer half pixel of the source, where there is no second neighbour to interpolate with, its
    outermost pixels are taken as they are.

    Args:
        positions: ``(H, W, 2)``, source pixels ``(x, y)``; NaN where there is none.
        source_size: ``(h, w)`` of the source image that the positions are in.
        reduced_size: ``(h, w)`` of the resized source image that the maps are for, by default its own.
    """
    valid = valid_mask(positions[..., 0], positions[..., 1], source_size)
    size = reduced_size or source_size
    scale = resize_homography(source_size, size)
    maps = []
    for axis, pixels in ((0, size[1]), (1, size[0])):
        reduced = np.clip(positions[..., axis] * scale[axis, axis] + scale[axis, 2], 0.0, pixels - 1.0)
        maps.append(np.where(valid, reduced, _OUTSIDE).astype(np.float32))
    return WarpMaps(maps[0], maps[1], valid, size)
