"""Textured planes in the world, and the textures on them.

Convention: the world has x right, y down (the ground is ``y = 0``), z forward along the street,
metres. A texture carries what each camera sees of one and the same surface: colour and temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Surface", "Texture", "fractal_noise", "rectangle"]

_SMALLEST_LEVEL = 6
_DAY_GAIN = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Texture:
    """Image pyramids of one surface, premultiplied by coverage so that they filter correctly.

    Attributes:
        colour: ``(H, W, 4)`` uint8 levels: RGB times coverage, coverage. Colour without coverage is
            light that adds to what lies behind (a glow).
        heat: ``(H, W, 2)`` float32 levels: kelvin times coverage, coverage in [0, 1].
        is_opaque: Covers its whole rectangle and is lit already. Its heat is plain kelvin,
            ``(H, W)``, and it is copied, not blended.
    """

    colour: tuple[np.ndarray, ...]
    heat: tuple[np.ndarray, ...]
    is_opaque: bool = False

    @classmethod
    def build(cls, colour: np.ndarray, coverage: np.ndarray, kelvin: np.ndarray) -> Texture:
        """Build from ``(H, W, 3)`` colour in [0, 255], ``(H, W)`` coverage in [0, 1] and ``(H, W)`` kelvin."""
        opaque = coverage[..., None].astype(np.float32)
        rgba = np.concatenate([np.clip(colour, 0, 255) * opaque, opaque * 255], axis=-1)
        heat = np.stack([kelvin * coverage, coverage], axis=-1).astype(np.float32)
        return cls(_pyramid((rgba + 0.5).astype(np.uint8)), _pyramid(heat))

    @classmethod
    def opaque(cls, colour: np.ndarray, kelvin: np.ndarray) -> Texture:
        """Build a wall or the ground from lit ``(H, W, 3)`` colour; ``(h, w)`` kelvin may be coarser."""
        rgba = cv2.cvtColor(np.clip(colour + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_RGB2RGBA)
        return cls(_pyramid(rgba), _pyramid(kelvin.astype(np.float32)), is_opaque=True)

    @classmethod
    def glow(cls, light: np.ndarray) -> Texture:
        """Build light without a body from ``(H, W, 3)`` in [0, 255]; a thermal camera does not see it."""
        rgba = np.dstack([np.clip(light, 0, 255), np.zeros(light.shape[:2])]).astype(np.uint8)
        return cls(_pyramid(rgba), (np.zeros((2, 2, 2), np.float32),))

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the finest colour level in texels."""
        return self.colour[0].shape[:2]


@dataclass(frozen=True, eq=False)
class Surface:
    """A textured rectangle in the world.

    Attributes:
        texture: What it looks like.
        origin: World position of the centre of texel (0, 0), metres.
        axis_u: World step from one texel to the next along a row, metres.
        axis_v: World step from one texel to the next along a column, metres.
        target: Identity of the person or car that it belongs to; 0 for the street.
        gain: How brightly it is lit, per colour channel.
        is_decal: Lies in another surface (a shadow, a pool of light): it is painted without a depth
            test and changes neither depth nor identity, and a thermal camera does not see it.
    """

    texture: Texture
    origin: np.ndarray
    axis_u: np.ndarray
    axis_v: np.ndarray
    target: int = 0
    gain: tuple[float, float, float] = _DAY_GAIN
    is_decal: bool = False

    def points(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """World points ``(..., 3)`` of texel coordinates ``u``, ``v``."""
        return self.origin + np.multiply.outer(u, self.axis_u) + np.multiply.outer(v, self.axis_v)

    def outline(self) -> np.ndarray:
        """World points ``(8, 3)`` of the corners and the edges' middles."""
        height, width = self.texture.size
        left, top, right, bottom = -0.5, -0.5, width - 0.5, height - 0.5
        u = np.array([left, (left + right) / 2, right, right, right, (left + right) / 2, left, left])
        v = np.array([top, top, top, (top + bottom) / 2, bottom, bottom, bottom, (top + bottom) / 2])
        return self.points(u, v)


def rectangle(
    texture: Texture,
    top_left: tuple[float, float, float],
    along: tuple[float, float, float],
    down: tuple[float, float, float],
    *,
    target: int = 0,
    gain: tuple[float, float, float] = _DAY_GAIN,
    is_decal: bool = False,
) -> Surface:
    """Hang ``texture`` into the world rectangle with corner ``top_left`` and edges ``along`` and ``down``."""
    height, width = texture.size
    axis_u, axis_v = np.asarray(along, float) / width, np.asarray(down, float) / height
    origin = np.asarray(top_left, float) + (axis_u + axis_v) / 2
    return Surface(texture, origin, axis_u, axis_v, target, gain, is_decal)


def fractal_noise(rng: np.random.Generator, size: tuple[int, int], slope: float = 1.0) -> np.ndarray:
    """Return ``(H, W)`` float32 noise of zero mean and unit deviation that tiles without a seam.

    Args:
        rng: Source of randomness.
        size: ``(height, width)``.
        slope: Amplitude falls with frequency to this power: 0 is white, 2 is like clouds.
    """
    spectrum = np.fft.rfft2(rng.standard_normal(size, dtype=np.float32))
    rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency**slope, s=size)
    return (noise / noise.std()).astype(np.float32)


def _pyramid(image: np.ndarray) -> tuple[np.ndarray, ...]:
    levels = [np.ascontiguousarray(image)]
    while min(levels[-1].shape[:2]) >= 2 * _SMALLEST_LEVEL:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)
