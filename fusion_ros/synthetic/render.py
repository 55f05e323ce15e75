"""Paint textured planes into a camera, lens included, with an exact depth and identity per pixel.

Every pixel's ray is intersected with every plane, so distortion and parallax are those of the
camera model itself: the image is never resampled. For a plane ``origin + u axis_u + v axis_v`` in
camera coordinates and ``M = [axis_u, axis_v, origin]``, the ray r meets it at
``(u, v, 1) / z = M^-1 r``: texture coordinates and inverse depth from one 3 x 3 product.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from ..geometry.cameras import PinholeCamera
from .surfaces import Surface

__all__ = ["Band", "Picture", "View"]

Bounds = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in pixels; right and bottom excluded."""

_NEAR_M = 0.25
_MARGIN_PX = 3


class Band(Enum):
    """What is painted: colour or temperature."""

    COLOUR = "colour"
    HEAT = "heat"


@dataclass(frozen=True, eq=False)
class Picture:
    """A painted view.

    Attributes:
        values: ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` float32 kelvin.
        inverse_depth: ``(H, W)`` float32, 1 / metres along the optical axis; 0 where nothing is.
        targets: ``(H, W)`` int16, identity of the person or car in front; 0 for the street.
    """

    values: np.ndarray
    inverse_depth: np.ndarray
    targets: np.ndarray


class View:
    """The pixels of one camera, ready to be painted.

    Args:
        camera: The camera.
        region: ``(left, top, right, bottom)`` in pixels, right and bottom excluded; may reach
            beyond the image. The whole image by default.

    Attributes:
        rays: ``(H, W, 3)`` float32, the ray ``(x, y, 1)`` through each pixel centre.
    """

    def __init__(self, camera: PinholeCamera, region: Bounds | None = None) -> None:
        self.camera = camera
        self.region = region or (0, 0, camera.width, camera.height)
        left, top, right, bottom = self.region
        rows, columns = np.mgrid[top:bottom, left:right]
        self.rays = camera.rays(np.stack([columns, rows], axis=-1)).astype(np.float32)

    def paint(self, surfaces: Sequence[Surface], camera_from_world: np.ndarray, band: Band) -> Picture:
        """Paint ``surfaces``, the far ones first, as seen from the 4 x 4 pose ``camera_from_world``."""
        height, width = self.rays.shape[:2]
        values = (
            np.zeros((height, width, 3), np.uint8)
            if band is Band.COLOUR
            else np.zeros((height, width), np.float32)
        )
        picture = Picture(values, np.zeros((height, width), np.float32), np.zeros((height, width), np.int16))
        if band is Band.HEAT:
            surfaces = [surface for surface in surfaces if not surface.is_decal]
        boxes = self.boxes(surfaces, camera_from_world)
        planes = _inverse_planes(surfaces, camera_from_world)
        for surface, box, plane in zip(surfaces, boxes, planes, strict=True):
            if box is not None:
                self._paint_surface(picture, surface, box, plane, band)
        return picture

    def boxes(self, surfaces: Sequence[Surface], camera_from_world: np.ndarray) -> list[Bounds | None]:
        """Bound each surface: ``(left, top, right, bottom)`` within this view's pixels, None if outside."""
        if not surfaces:
            return []
        outlines = np.stack([surface.outline() for surface in surfaces])
        points = outlines @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        pixels = self.camera.project(points) - self.region[:2]
        is_near = (points[..., 2] < _NEAR_M).any(axis=1) | np.isnan(pixels).any(axis=(1, 2))
        is_behind = (points[..., 2] < _NEAR_M).all(axis=1)
        low = np.floor(np.nan_to_num(pixels.min(axis=1), nan=0.0)) - _MARGIN_PX
        high = np.ceil(np.nan_to_num(pixels.max(axis=1), nan=0.0)) + _MARGIN_PX
        height, width = self.rays.shape[:2]
        low = np.where(is_near[:, None], 0, np.clip(low, 0, (width, height))).astype(int)
        high = np.where(is_near[:, None], (width, height), np.clip(high, 0, (width, height))).astype(int)
        is_empty = is_behind | (high <= low).any(axis=1)
        return [
            None if empty else (int(a[0]), int(a[1]), int(b[0]), int(b[1]))
            for a, b, empty in zip(low, high, is_empty, strict=True)
        ]

    def _paint_surface(
        self, picture: Picture, surface: Surface, box: Bounds, plane: np.ndarray, band: Band
    ) -> None:
        levels = surface.texture.colour if band is Band.COLOUR else surface.texture.heat
        for (left, top, right, bottom), level in self._strips(box, plane, surface.texture.size, levels):
            window = np.s_[top:bottom, left:right]
            u, v, inverse_depth = cv2.split(
                cv2.transform(self.rays[window], _plane_of_level(plane, surface, levels[level]))
            )
            visible = inverse_depth > (0 if surface.is_decal else picture.inverse_depth[window])
            if not visible.any():
                continue
            u, v = cv2.divide(u, inverse_depth), cv2.divide(v, inverse_depth)
            image = levels[level]
            if surface.texture.is_opaque:
                visible &= (u > -0.5) & (u < image.shape[1] - 0.5) & (v > -0.5) & (v < image.shape[0] - 0.5)
                shown = visible.view(np.uint8)
                u, v = (cv2.bitwise_and(map_, map_, mask=shown) for map_ in (u, v))  # far outside, remap is slow
                texels = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                values = cv2.cvtColor(texels, cv2.COLOR_RGBA2RGB) if band is Band.COLOUR else texels
                cv2.copyTo(values, shown, picture.values[window])
            else:
                texels = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
                visible = _blend(picture.values[window], texels, visible, surface.gain)
            if not surface.is_decal:
                cv2.copyTo(inverse_depth, visible.view(np.uint8), picture.inverse_depth[window])
                np.copyto(picture.targets[window], surface.target, where=visible)

    def _strips(
        self,
        box: Bounds,
        plane: np.ndarray,
        size: tuple[int, int],
        levels: tuple[np.ndarray, ...],
    ) -> list[tuple[Bounds, int]]:
        """Cut a box into strips of like distance, each with the pyramid level that fits its pixels.

        A pixel covers ``|det M^-1| z^3 / (fx fy)`` texels: the Jacobian of the plane's homography.
        """
        left, top, right, bottom = box
        by_rows = abs(plane[2, 1]) * self.camera.height >= abs(plane[2, 0]) * self.camera.width
        middle = (left + right) // 2 if by_rows else (top + bottom) // 2
        line = self.rays[top:bottom, middle] if by_rows else self.rays[middle, left:right]
        inverse_depth = np.maximum(line @ plane[2].astype(np.float32), 1e-4)
        pixel_texels = abs(np.linalg.det(plane)) / (inverse_depth**3 * self.camera.fx * self.camera.fy)
        finest = (size[0] * size[1]) / (levels[0].shape[0] * levels[0].shape[1])
        level = np.round(0.5 * np.log2(np.maximum(pixel_texels / finest, 1.0)) - 0.1)
        level = np.clip(level, 0, len(levels) - 1).astype(int)
        if max(right - left, bottom - top) < 48:
            return [(box, int(level[len(level) // 2]))]
        cuts = [0, *(np.flatnonzero(np.diff(level)) + 1).tolist(), len(level)]
        return [
            ((left, top + a, right, top + b) if by_rows else (left + a, top, left + b, bottom), int(level[a]))
            for a, b in itertools.pairwise(cuts)
        ]


def _inverse_planes(surfaces: Sequence[Surface], camera_from_world: np.ndarray) -> np.ndarray:
    """``M^-1`` of each surface, ``(N, 3, 3)`` float64; zero (never visible) for a plane seen edge on."""
    if not surfaces:
        return np.zeros((0, 3, 3))
    rotation, translation = camera_from_world[:3, :3], camera_from_world[:3, 3]
    columns = np.array([(surface.axis_u, surface.axis_v, surface.origin) for surface in surfaces]) @ rotation.T
    columns[:, 2] += translation
    matrices = columns.transpose(0, 2, 1)
    scale = np.linalg.norm(columns[:, 0], axis=1) * np.linalg.norm(columns[:, 1], axis=1)
    is_edge_on = np.abs(np.linalg.det(matrices)) < 1e-6 * scale
    planes = np.linalg.inv(np.where(is_edge_on[:, None, None], np.eye(3), matrices))
    return np.where(is_edge_on[:, None, None], 0.0, planes)


def _plane_of_level(plane: np.ndarray, surface: Surface, image: np.ndarray) -> np.ndarray:
    """Let ``M^-1`` give texel coordinates of a pyramid level: ``(u + 0.5) / scale - 0.5``."""
    height, width = surface.texture.size
    scale_u, scale_v = image.shape[1] / width, image.shape[0] / height
    level_from_finest = np.array([[scale_u, 0, (scale_u - 1) / 2], [0, scale_v, (scale_v - 1) / 2], [0, 0, 1]])
    return (level_from_finest @ plane).astype(np.float32)


def _blend(
    values: np.ndarray, texels: np.ndarray, visible: np.ndarray, gain: tuple[float, float, float]
) -> np.ndarray:
    """Lay premultiplied ``texels`` over ``values`` in place; returns where they cover the larger part."""
    if texels.dtype == np.uint8:
        coverage = cv2.extractChannel(texels, 3)
        colour = cv2.cvtColor(texels, cv2.COLOR_RGBA2RGB)
        if gain != (1.0, 1.0, 1.0):
            colour = cv2.multiply(colour, (*gain, 0.0))
        beyond = cv2.cvtColor(255 - coverage, cv2.COLOR_GRAY2RGB)
        mixed = cv2.add(cv2.multiply(values, beyond, scale=1 / 255), colour)
        cv2.copyTo(mixed, visible.view(np.uint8), values)
        return visible & (coverage > 127)
    kelvin, coverage = cv2.split(texels)
    cv2.copyTo(values * (1 - coverage) + kelvin, visible.view(np.uint8), values)
    return visible & (coverage > 0.5)
