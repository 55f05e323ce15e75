"""The light of the street: sun and sky by day, lamps by night, an even grey in smoke."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Lighting"]

_LAMP_HEIGHT_M = 5.2
_LAMPS = ((6.4, 25.0), (-5.9, 34.0), (6.4, 48.0), (-5.9, 60.0), (6.4, 76.0), (-5.9, 90.0))
_EAVES = (9.0, 6.5)
_HOT_KELVIN = 302.0


@dataclass(frozen=True)
class Lighting:
    """How brightly a point of the street is lit.

    Attributes:
        condition: ``day``, ``night`` or ``smoke``.
        is_hot: The air is so warm that street, walls and clothes have about one temperature, close to that of
            skin: thermal crossover.
    """

    condition: str
    is_hot: bool = False

    @property
    def lamps(self) -> tuple[tuple[float, float, float], ...]:
        """World positions of the street lamps' heads, metres."""
        return tuple((x, -_LAMP_HEIGHT_M, z) for x, z in _LAMPS)

    @property
    def sun(self) -> tuple[float, float, float] | None:
        """World direction towards the sun, or None where there are no shadows."""
        return (0.42, -0.84, -0.34) if self.condition == "day" else None

    @property
    def air_kelvin(self) -> float:
        """Temperature of the air."""
        if self.is_hot:
            return _HOT_KELVIN
        return {"day": 291.0, "night": 279.0, "smoke": 289.0}[self.condition]

    def gain(self, points: np.ndarray, normal: tuple[float, float, float] | None = None) -> np.ndarray:
        """Return the RGB gain ``(..., 3)`` on the albedo at world ``points`` ``(..., 3)``.

        ``normal`` is the surface's outward normal; None for something that light reaches from
        all sides, such as a person.
        """
        if self.condition == "day":
            return self._daylight(points, normal)
        if self.condition == "smoke":
            return np.full(points.shape, 0.85)
        return self._lamplight(points)

    def at(self, position: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the gain at one point that is lit from all sides."""
        red, green, blue = self.gain(np.asarray(position, float))
        return float(red), float(green), float(blue)

    def bake(
        self,
        albedo: np.ndarray,
        corner: np.ndarray,
        along: np.ndarray,
        down: np.ndarray,
        normal: tuple[float, float, float],
    ) -> np.ndarray:
        """Light the ``(H, W, 3)`` albedo of a fixed rectangle; returns float32 in [0, 255]."""
        height, width = albedo.shape[:2]
        u, v = np.linspace(0, 1, max(2, width // 16)), np.linspace(0, 1, max(2, height // 16))
        points = corner + v[:, None, None] * np.asarray(down) + u[None, :, None] * np.asarray(along)
        gain = cv2.resize(self.gain(points, normal).astype(np.float32), (width, height))
        return albedo * gain

    def _daylight(self, points: np.ndarray, normal: tuple[float, float, float] | None) -> np.ndarray:
        sun = np.asarray(self.sun)
        facing = 0.8 if normal is None else max(0.0, float(np.dot(normal, sun)))
        eaves_x, eaves_height = _EAVES
        edge = eaves_x + (eaves_height + points[..., 1]) * sun[0] / sun[1]  # of the right-hand houses' shade
        sunlit = np.clip((edge - points[..., 0]) / 0.4 + 0.5, 0, 1)
        if normal is not None and normal[0] < -0.5:
            sunlit = np.zeros_like(sunlit)
        sky, sunshine = np.array([0.58, 0.62, 0.70]), np.array([0.62, 0.58, 0.48])
        return sky + sunshine * (facing * sunlit)[..., None]

    def _lamplight(self, points: np.ndarray) -> np.ndarray:
        light = np.zeros(points.shape[:-1])
        for lamp in self.lamps:
            distance = np.sum((points - np.asarray(lamp)) ** 2, axis=-1)
            light += 1.0 / (1.0 + distance / 22.0) ** 1.7
        return np.array([0.045, 0.052, 0.075]) + np.array([1.7, 1.3, 0.78]) * light[..., None]
