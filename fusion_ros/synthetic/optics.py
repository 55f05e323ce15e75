"""Light as a camera gets it: linear light and its 8-bit code, veils of fog, glare."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..imaging.colour import packed

__all__ = ["FogLayer", "decode", "encode", "glare_light", "saturated", "veil"]

Size = tuple[int, int]

_STEPS = 65535  # of linear light: the darkest of the 256 codes are 20 of them wide


def _srgb_decoded(code: np.ndarray) -> np.ndarray:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _nearest_codes() -> np.ndarray:
    """The code whose light is nearest to each step: the border lies at the middle between two codes."""
    borders = _srgb_decoded(np.arange(0.5, 255.0) / 255.0) * _STEPS
    return np.searchsorted(borders, np.arange(_STEPS + 1)).astype(np.uint8)


_LINEAR = _srgb_decoded(np.arange(256) / 255.0).astype(np.float32)
_CODES = _nearest_codes()


def decode(image: np.ndarray) -> np.ndarray:
    """Return the linear light of a uint8 image: float32 of the same shape, 1 for white.

    Source: IEC 61966-2-1 (sRGB).
    """
    return cv2.LUT(packed(image), _LINEAR).reshape(image.shape)


def encode(linear: np.ndarray) -> np.ndarray:
    """Return the uint8 image for linear light; what is brighter than white saturates. Overwrites ``linear``."""
    np.clip(linear, 0.0, 1.0, out=linear)
    linear *= _STEPS
    linear += 0.5
    return np.take(_CODES, linear.astype(np.uint16))


def saturated(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return floating-point values in an image's type: integers are rounded and saturate."""
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype, copy=False)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def veil(values: np.ndarray, passed: np.ndarray, airlight: float) -> np.ndarray:
    """Return what is seen through a medium: ``values * passed + airlight * (1 - passed)``.

    Args:
        values: ``(H, W)`` or ``(H, W, C)``, linear in radiance.
        passed: ``(H, W)`` or ``(H, 1)``, the share that comes through.
        airlight: Radiance of the medium itself, where it hides everything.

    Returns:
        float32 of the shape of ``values``.

    Source: H. Koschmieder, "Theorie der horizontalen Sichtweite", 1924; CIE S 017:2020, 17-31-020.
    """
    result = values.astype(np.float32)
    result -= np.float32(airlight)
    result *= passed.astype(np.float32)[(..., None) if values.ndim == 3 else ...]
    result += np.float32(airlight)
    return result


@dataclass(frozen=True)
class FogLayer:
    """A layer of fog over flat ground, and a camera in it that looks level.

    Attributes:
        horizon: Row of the horizon, as a share of the image's height.
        focal_length: As a share of the image's width; 0.8 is a horizontal view of 64 degrees.
        below_m: Height of the camera above the ground: a small robot's, or a car's.
        above_m: Height of the fog's top above the camera.
        farthest_m: How far one looks towards the horizon before something stands in the way.
    """

    horizon: float = 0.45
    focal_length: float = 0.8
    below_m: float = 1.5
    above_m: float = 8.5
    farthest_m: float = 50.0

    def distance(self, size: Size) -> np.ndarray:
        """Return how far one looks through fog, in metres: ``(H, 1)``, the same across a row.

        Along the optical axis: below the horizon to the ground, above it to the top of the fog, both
        ``D = focal length * height / rows from the horizon``. Since things stand in the way it is
        ``1 / (1 / D + 1 / farthest)``. A thing that stands up into the horizon is veiled there as a far one.
        """
        rows = np.arange(size[0]) - self.horizon * size[0]
        height_m = np.where(rows > 0, self.below_m, self.above_m)
        per_m = np.abs(rows) / (self.focal_length * size[1] * height_m) + 1.0 / self.farthest_m
        return (1.0 / per_m)[:, None]


def glare_light(size: Size, centre: tuple[float, float], core: float, spread: float) -> np.ndarray:
    """Return light that a lens scatters from a source, ``(H, W)`` float32 with a mean of 1 over the image.

    A part falls with the square of the distance from the source, outside of its core; the rest is even.

    Args:
        size: ``(h, w)``.
        centre: ``(x, y)`` of the source in pixels; it may lie outside the image.
        core: Radius of the core in pixels.
        spread: The part that falls, 0 to 1.

    Source: Stiles and Holladay's law of disability glare, ``10 E / angle ** 2`` (CIE 146:2002), for the part that
    falls; the even part is a camera's veiling glare (ISO 9358).
    """
    x = (np.arange(size[1], dtype=np.float32) - centre[0]) / core
    y = (np.arange(size[0], dtype=np.float32) - centre[1]) / core
    light = 1.0 / (1.0 + x**2 + (y**2)[:, None])
    light *= np.float32(spread / light.mean(dtype=np.float64))
    light += np.float32(1.0 - spread)
    return light.astype(np.float32, copy=False)
