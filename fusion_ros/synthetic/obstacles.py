"""Things that stand in the street and hide what passes behind them, from both cameras alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lighting import Lighting
from .street import shadow_of
from .surfaces import Surface, Texture, fractal_noise, rectangle

__all__ = ["OBSTACLES", "Obstacle"]

OBSTACLES = {"column": (0.9, 2.7), "van": (2.0, 2.4)}
"""Width and height of each kind, metres: an advertising column, and a van from behind."""

_TEXEL_M = 0.02
_POSTERS = ((188, 52, 48), (38, 84, 150), (226, 196, 72), (70, 128, 82), (232, 228, 218), (58, 56, 66))
_SUNNY_KELVIN, _DULL_KELVIN = 3.0, 1.0  # above the air


@dataclass(frozen=True)
class Obstacle:
    """One of :data:`OBSTACLES`, across the street.

    Attributes:
        kind: A name in :data:`OBSTACLES`.
        x: World position of its middle, to the right, metres.
        z: The same along the street.
    """

    kind: str
    x: float
    z: float

    def surfaces(self, lighting: Lighting) -> list[Surface]:
        """Return its front, and by day its shadow."""
        width, height = OBSTACLES[self.kind]
        rng = np.random.default_rng([round(100 * self.z), 31])
        size = (round(height / _TEXEL_M), round(width / _TEXEL_M))
        albedo = _posters(rng, size) if self.kind == "column" else _van(size)
        grain = fractal_noise(rng, size, 0.8)
        albedo += 4 * grain[..., None]
        corner, along, down = (self.x - width / 2, -height, self.z), (width, 0.0, 0.0), (0.0, height, 0.0)
        lit = lighting.bake(albedo, np.array(corner), np.array(along), np.array(down), (0.0, 0.0, -1.0))
        warmer = _DULL_KELVIN if lighting.sun is None else _SUNNY_KELVIN
        kelvin = lighting.air_kelvin + warmer + 0.1 * grain
        front = rectangle(Texture.opaque(lit, kelvin), corner, along, down)
        return [front] if lighting.sun is None else [shadow_of(front, lighting.sun), front]


def _posters(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A round column with posters, darker towards its sides."""
    height, width = size
    albedo = np.full((height, width, 3), 120.0, np.float32)
    for top in range(height // 8, height - height // 8, height // 4):
        for left in range(0, width, width // 2):
            paper, ink = rng.permutation(len(_POSTERS))[:2]
            box = np.s_[top + 2 : top + height // 4 - 2, left + 2 : left + width // 2 - 2]
            albedo[box] = _POSTERS[paper]
            albedo[top + height // 16 : top + height // 10, left + 6 : left + width // 2 - 6] = _POSTERS[ink]
    across = np.linspace(-1, 1, width, dtype=np.float32)
    return albedo * (0.2 + 0.8 * np.sqrt(1 - 0.95 * across**2))[:, None]


def _van(size: tuple[int, int]) -> np.ndarray:
    """Two pale doors with dark panes between tail lights, above the bumper."""
    height, width = size
    albedo = np.full((height, width, 3), (208.0, 210.0, 206.0), np.float32)
    for left in (0.12, 0.54):
        pane = np.s_[int(0.12 * height) : int(0.42 * height), int(left * width) : int((left + 0.34) * width)]
        albedo[pane] = (46, 56, 66)
    albedo[: int(0.85 * height), width // 2 - 1 : width // 2 + 1] = 70
    albedo[int(0.85 * height) :] = (48, 48, 52)
    for side in (np.s_[: int(0.07 * width)], np.s_[-int(0.07 * width) :]):
        albedo[int(0.55 * height) : int(0.75 * height), side] = (168, 30, 28)
    return albedo
