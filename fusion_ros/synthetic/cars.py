"""A saloon car of textured panels: body, glass and lights for colour, engine, tyres and exhaust for heat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .surfaces import Surface, Texture, rectangle

__all__ = ["LENGTH_M", "WIDTH_M", "CarLook", "car_surfaces"]

LENGTH_M, WIDTH_M = 4.3, 1.76
_TEXEL_M = 0.0125
_HEIGHT_M = 1.48
_PAINTS = (
    (168, 32, 34),
    (214, 216, 220),
    (44, 74, 132),
    (52, 54, 60),
    (150, 156, 162),
    (196, 166, 60),
    (38, 92, 76),
)

# Outline from the rear (x = 0) to the front, metres along and above the ground.
_PROFILE = ((0.0, 0.26), (0.0, 0.62), (0.02, 0.93), (0.32, 1.01), (0.93, 1.42), (1.5, 1.46), (2.1, 1.44),
            (2.6, 1.33), (3.3, 0.97), (4.0, 0.84), (4.24, 0.70), (4.3, 0.45), (4.22, 0.26),
            (0.15, 0.26))  # fmt: skip
_GLASS = (
    ((0.62, 0.98), (1.02, 1.31), (1.52, 1.37), (1.56, 0.97)),
    ((1.66, 0.97), (1.62, 1.37), (2.1, 1.36), (2.55, 1.27), (3.02, 0.97)),
)
_WHEELS = ((0.85, 0.32), (3.5, 0.32))


@dataclass(frozen=True)
class CarLook:
    """What one car looks like.

    Attributes:
        paint: RGB albedo in [0, 255].
        is_running: Warm engine, tyres and exhaust, lights on at night; a parked car is cold.
        condition: ``day``, ``night`` or ``smoke``.
        air_kelvin: Temperature of the air.
    """

    paint: tuple[int, int, int]
    is_running: bool
    condition: str
    air_kelvin: float

    @classmethod
    def draw(cls, rng: np.random.Generator, is_running: bool, condition: str, air_kelvin: float) -> CarLook:
        """Draw a car at random."""
        return cls(_PAINTS[rng.integers(len(_PAINTS))], is_running, condition, air_kelvin)

    @property
    def has_lights_on(self) -> bool:
        """Whether head and tail lights burn."""
        return self.is_running and self.condition == "night"


def car_surfaces(
    look: CarLook,
    centre: tuple[float, float],
    heading: int,
    viewer: tuple[float, float],
    gain: tuple[float, float, float],
    target: int,
) -> list[Surface]:
    """Return the panels that ``viewer`` can see, far ones first, with the shadow below.

    Args:
        look: The car's appearance.
        centre: ``(x, z)`` of its middle on the ground, metres.
        heading: 1 when it drives away along z, -1 when it comes.
        viewer: ``(x, z)`` of the camera.
        gain: How brightly it is lit.
        target: Its identity.
    """
    x, z = centre
    rear = z - heading * LENGTH_M / 2
    half = WIDTH_M / 2
    sees_front = (viewer[1] - z) * heading > 0
    panels = _panels(look)

    def across(name: str, lower: tuple[float, float], upper: tuple[float, float]) -> Surface:
        """A panel across the car between two points (along, height) of the profile."""
        turn = 1.0 if viewer[1] < z else -1.0  # left to right as the viewer sees it
        top = (x - turn * half, -upper[1], rear + heading * upper[0])
        down = (0.0, upper[1] - lower[1], heading * (lower[0] - upper[0]))
        return rectangle(panels[name], top, (turn * WIDTH_M, 0.0, 0.0), down, target=target, gain=gain)

    surfaces = [_underbody_shadow(x, z), across("roof", (2.55, 1.37), (0.95, 1.42))]
    if sees_front:
        surfaces += [across("windscreen", (3.3, 0.97), (2.55, 1.38)), across("bonnet", (4.25, 0.76), (3.3, 0.97))]
    else:
        surfaces += [across("rear_window", (0.32, 1.0), (0.95, 1.42)), across("boot", (0.02, 0.92), (0.32, 1.0))]
    if abs(viewer[0] - x) > half:
        side = half if viewer[0] > x else -half
        corner, along = (x + side, -_HEIGHT_M, rear), (0.0, 0.0, heading * LENGTH_M)
        surfaces.append(rectangle(panels["side"], corner, along, (0.0, _HEIGHT_M, 0.0), target=target, gain=gain))
    surfaces.append(
        across("front", (4.28, 0.14), (4.25, 0.78)) if sees_front else across("rear", (0.02, 0.14), (0.02, 0.94))
    )
    if look.has_lights_on:
        surfaces += _lights(x, z, heading, sees_front)
    return surfaces


def _lights(x: float, z: float, heading: int, sees_front: bool) -> list[Surface]:
    reach = 1.9 if sees_front else 0.45
    end = z + heading * (LENGTH_M / 2 + 0.05) * (1 if sees_front else -1)
    glow = _glow((255, 240, 214) if sees_front else (190, 22, 14))
    lamps = [
        rectangle(glow, (x + side - reach, -0.66 - reach, end), (2 * reach, 0, 0), (0, 2 * reach, 0))
        for side in (-0.64, 0.64)
    ]
    start = z + heading * (LENGTH_M / 2 + 0.3)
    beam = rectangle(
        _beam(), (x - 2.6, 0.0, start + heading * 14.0), (5.2, 0, 0), (0, 0, -heading * 14.0), is_decal=True
    )
    return [beam, *lamps]


@lru_cache(maxsize=8)
def _glow(colour: tuple[int, int, int]) -> Texture:
    rows, columns = np.mgrid[-1:1:128j, -1:1:128j]
    radius = np.hypot(rows, columns)
    streak = np.exp(-np.abs(rows) / 0.012) * np.exp(-np.abs(columns) / 0.25) * 0.4
    core = np.exp(-((radius / 0.07) ** 2)) * 2.2 + np.exp(-radius / 0.14) * 0.65 + streak
    return Texture.glow((core * np.clip(1 - radius, 0, 1))[..., None] * np.array(colour, float))


@lru_cache(maxsize=2)
def _beam() -> Texture:
    rows, columns = np.mgrid[0:1:160j, -1:1:80j]
    ahead = 1 - rows
    width = 0.35 + 0.6 * ahead
    light = (
        np.exp(-((columns / width) ** 2) * 2.5)
        * np.exp(-ahead * 2.4)
        * np.clip(ahead * 12, 0, 1)
        * np.clip(rows * 5, 0, 1)
    )
    return Texture.glow(light[..., None] * np.array([92.0, 86, 74]) * (np.abs(columns) < 0.98)[..., None])


def _underbody_shadow(x: float, z: float) -> Surface:
    return rectangle(
        _shadow_texture(),
        (x - 1.2, 0.0, z + LENGTH_M / 2 + 0.35),
        (2.4, 0, 0),
        (0, 0, -LENGTH_M - 0.7),
        is_decal=True,
    )


@lru_cache(maxsize=1)
def _shadow_texture() -> Texture:
    coverage = np.zeros((200, 96), np.float32)
    cv2.rectangle(coverage, (14, 14), (81, 185), 0.85, -1)
    coverage = cv2.GaussianBlur(coverage, (0, 0), 7)
    return Texture.build(np.zeros((200, 96, 3)), coverage, np.zeros((200, 96)))


@lru_cache(maxsize=64)
def _panels(look: CarLook) -> dict[str, Texture]:
    width = round(WIDTH_M / _TEXEL_M)
    return {
        "side": _side(look),
        "front": _front(look),
        "rear": _rear(look),
        "bonnet": _plate(look, (64, width), 1.12, _engine_warmth(look, (64, width))),
        "roof": _plate(look, (96, width), 1.0, _sky_chill(look, (96, width), 4.0)),
        "boot": _plate(look, (24, width), 1.05, _sky_chill(look, (24, width), 2.0)),
        "windscreen": _window(look, 1.0),
        "rear_window": _window(look, 0.8),
    }


def _body_kelvin(look: CarLook) -> float:
    return look.air_kelvin + {"day": 4.0, "night": -1.0, "smoke": 1.0}[look.condition]


def _engine_warmth(look: CarLook, size: tuple[int, int]) -> np.ndarray:
    rows, columns = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    warmth = 15.0 * np.exp(-(rows**2 * 0.8 + columns**2 * 1.6)) if look.is_running else 0.0
    return np.full(size, _body_kelvin(look)) + warmth


def _sky_chill(look: CarLook, size: tuple[int, int], depth: float) -> np.ndarray:
    return np.full(size, _body_kelvin(look) - depth)


def _plate(look: CarLook, size: tuple[int, int], shade: float, kelvin: np.ndarray) -> Texture:
    rows = np.linspace(0, 1, size[0])[:, None, None]
    colour = np.array(look.paint, float) * (shade + 0.15 * rows) + 30 * (1 - rows) ** 3
    colour = np.broadcast_to(colour, (*size, 3)).copy()
    colour[:, :2] *= 0.6
    colour[:, -2:] *= 0.6
    return Texture.build(colour, np.ones(size), kelvin)


def _window(look: CarLook, clearness: float) -> Texture:
    size = (64, round(WIDTH_M / _TEXEL_M))
    rows, columns = np.mgrid[0 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    pane = (np.abs(columns) < 0.74 + 0.19 * rows) & (rows > 0.07) & (rows < 0.95)
    sheen = np.clip(1.2 - np.abs(columns - 0.9 + 1.2 * rows) * 3, 0, 1)
    glass = np.array([38.0, 46, 54]) + (sheen * 70 + (1 - rows) * 30)[..., None] * clearness
    colour = np.where(pane[..., None], glass, np.array(look.paint, float) * 0.8)
    for seat in (-0.38, 0.38):  # head restraints behind the glass
        inside = (np.hypot((columns - seat) * 1.6, (rows - 0.62) * 1.0) < 0.2) & pane
        colour[inside] *= 0.55
    kelvin = np.where(pane, look.air_kelvin - 5.0 + 2.0 * rows, _body_kelvin(look))
    return Texture.build(colour, np.ones(size), kelvin)


def _canvas(length_m: float, height_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = (round(height_m / _TEXEL_M), round(length_m / _TEXEL_M))
    return np.zeros((*size, 3), np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32)


def _side(look: CarLook) -> Texture:
    colour, coverage, kelvin = _canvas(LENGTH_M, _HEIGHT_M)

    def pixels(points: tuple[tuple[float, float], ...]) -> np.ndarray:
        return np.array([[round(x / _TEXEL_M), round((_HEIGHT_M - y) / _TEXEL_M)] for x, y in points])

    outline = pixels(_PROFILE)
    cv2.fillPoly(coverage, [outline], 1.0)
    rows = np.linspace(0, 1, colour.shape[0])[:, None]
    sheen = 1.12 - 0.45 * rows + 0.22 * np.exp(-(((rows - 0.36) / 0.05) ** 2)) - 0.2 * (rows > 0.72)
    colour[:] = np.array(look.paint, float) * sheen[..., None]
    kelvin[:] = _body_kelvin(look) - 1.5 * (1 - rows)
    if look.is_running:
        x = np.linspace(0, LENGTH_M, colour.shape[1])[None, :]
        kelvin += 9.0 * np.exp(-(((x - 3.7) / 0.5) ** 2)) * np.clip(rows * 1.6 - 0.5, 0, 1)
    for pane in _GLASS:
        cv2.fillPoly(colour, [pixels(pane)], (52, 62, 72))
        cv2.fillPoly(colour, [pixels((*pane[:2], ((pane[0][0] + pane[-1][0]) / 2, 0.97)))], (84, 96, 106))
        cv2.fillPoly(kelvin, [pixels(pane)], look.air_kelvin - 5.0)
    dark = tuple(0.55 * channel for channel in look.paint)
    for line in (((1.62, 0.98), (1.62, 0.36)), ((2.72, 0.98), (2.66, 0.36)), ((0.1, 0.62), (4.25, 0.60))):
        cv2.polylines(colour, [pixels(line)], False, dark, 1)
    for handle in (1.42, 2.45):
        cv2.line(colour, *map(tuple, pixels(((handle, 0.84), (handle + 0.14, 0.84))).tolist()), dark, 2)
    cv2.fillPoly(colour, [pixels(((4.02, 0.76), (4.22, 0.68), (4.26, 0.60), (4.06, 0.63)))], (236, 236, 226))
    cv2.fillPoly(colour, [pixels(((0.0, 0.88), (0.16, 0.88), (0.14, 0.72), (0.0, 0.72)))], (176, 26, 22))
    for x, y in _WHEELS:
        _wheel(look, colour, coverage, kelvin, tuple(pixels(((x, y),))[0].tolist()))
    return Texture.build(colour, cv2.GaussianBlur(coverage, (3, 3), 0), kelvin)


def _wheel(
    look: CarLook, colour: np.ndarray, coverage: np.ndarray, kelvin: np.ndarray, centre: tuple[int, int]
) -> None:
    warm = 12.0 if look.is_running else 0.0
    rings = (
        (0.37, (16, 16, 18), -1.0),
        (0.32, (26, 26, 28), 0.5 + warm * 0.8),
        (0.20, (150, 152, 156), warm),
        (0.06, (60, 60, 62), warm * 1.4),
    )
    for radius, paint, warmth in rings:
        size = round(radius / _TEXEL_M)
        cv2.circle(colour, centre, size, paint, -1)
        cv2.circle(kelvin, centre, size, look.air_kelvin + warmth, -1)
        if radius <= 0.32:
            cv2.circle(coverage, centre, size, 1.0, -1)
    for spoke in range(5):
        angle = spoke * 2 * np.pi / 5
        reach = 0.18 / _TEXEL_M
        tip = (round(centre[0] + reach * np.cos(angle)), round(centre[1] + reach * np.sin(angle)))
        cv2.line(colour, centre, tip, (84, 86, 90), 2)


def _end(look: CarLook, height_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Body, bumper and tyres, as common to front and rear."""
    colour, coverage, kelvin = _canvas(WIDTH_M, height_m)
    height, width = coverage.shape
    rows = np.linspace(1, 0, height)[:, None] * height_m
    colour[:] = np.array(look.paint, float) * (0.72 + 0.5 * rows / height_m)[..., None]
    kelvin[:] = _body_kelvin(look)
    coverage[: -round(0.12 / _TEXEL_M)] = 1.0
    bumper = height - round(0.32 / _TEXEL_M)
    colour[bumper:] *= 0.5
    tyre = round(0.2 / _TEXEL_M)
    for columns in (slice(2, tyre), slice(width - tyre, width - 2)):
        colour[-round(0.16 / _TEXEL_M) :, columns] = (18, 18, 20)
        coverage[-round(0.16 / _TEXEL_M) :, columns] = 1.0
        kelvin[-round(0.16 / _TEXEL_M) :, columns] = look.air_kelvin + (9.0 if look.is_running else 0.5)
    coverage[:3, :4] = coverage[:3, -4:] = 0
    return colour, coverage, kelvin


def _front(look: CarLook) -> Texture:
    colour, coverage, kelvin = _end(look, 0.64)
    height, width = coverage.shape
    grille = np.s_[round(height * 0.22) : round(height * 0.5), round(width * 0.27) : round(width * 0.73)]
    colour[grille] = (26, 26, 28)
    colour[grille][::4] = (82, 84, 88)
    kelvin[grille] = look.air_kelvin + (24.0 if look.is_running else 0.0)
    colour[round(height * 0.62) : round(height * 0.76), round(width * 0.36) : round(width * 0.64)] = (
        226,
        226,
        214,
    )
    lamp = (255, 250, 236) if look.has_lights_on else (222, 226, 228)
    for x in (0.13, 0.87):
        centre, axes = (round(width * x), round(height * 0.28)), (round(width * 0.095), round(height * 0.11))
        cv2.ellipse(colour, centre, axes, 0, 0, 360, lamp, -1)
        cv2.ellipse(colour, centre, axes, 0, 0, 360, (60, 62, 66), 1)
        cv2.ellipse(kelvin, centre, axes, 0, 0, 360, look.air_kelvin + (10.0 if look.has_lights_on else 1.0), -1)
    return Texture.build(colour, coverage, cv2.GaussianBlur(kelvin, (0, 0), 1.5))


def _rear(look: CarLook) -> Texture:
    colour, coverage, kelvin = _end(look, 0.80)
    height, width = coverage.shape
    lamp = (220, 34, 24) if look.has_lights_on else (164, 26, 22)
    for columns in (slice(3, round(width * 0.2)), slice(round(width * 0.8), width - 3)):
        colour[round(height * 0.12) : round(height * 0.34), columns] = lamp
    colour[round(height * 0.4) : round(height * 0.52), round(width * 0.34) : round(width * 0.66)] = (226, 222, 190)
    colour[round(height * 0.6)] *= 0.6
    if look.is_running:
        cv2.circle(kelvin, (round(width * 0.24), round(height * 0.86)), 5, look.air_kelvin + 48.0, -1)
        kelvin[round(height * 0.7) : round(height * 0.88)] += 4.0
    return Texture.build(colour, coverage, cv2.GaussianBlur(kelvin, (0, 0), 1.5))
