"""A walking person, drawn limb by limb: clothes for the colour camera, warmth for the thermal one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .surfaces import Texture

__all__ = ["GAIT_PHASES", "STRIDE_M", "Appearance", "Pose", "person_texture"]

GAIT_PHASES = 20
STRIDE_M = 1.45
"""Distance walked in one gait cycle (two steps)."""

_TEXEL_M = 0.01
_SUPERSAMPLING = 2
_WIDTH_M, _HEIGHT_M = 1.20, 1.90
_HIP, _SHOULDER, _NECK = 0.93, 1.43, 1.50
_JACKETS = (
    (46, 62, 104),
    (142, 40, 38),
    (58, 84, 62),
    (40, 40, 44),
    (176, 140, 58),
    (116, 120, 128),
    (96, 62, 96),
)
_TROUSERS = ((40, 46, 66), (54, 50, 48), (96, 86, 70), (34, 34, 38))
_SKIN = ((224, 178, 148), (188, 138, 104), (128, 88, 66), (236, 196, 170))
_HAIR = ((36, 28, 24), (84, 58, 38), (150, 120, 78), (92, 90, 90))
_SHOE, _RUCKSACK = (44, 38, 36), (60, 66, 52)
_SKIN_KELVIN = 306.5

Point = tuple[float, float]


@dataclass(frozen=True)
class Appearance:
    """What one person looks like.

    Attributes:
        jacket: RGB albedo in [0, 255]; likewise the other colours.
        rucksack: Whether one is carried.
        air_kelvin: Temperature of the air, towards which the clothes cool.
    """

    jacket: tuple[int, int, int]
    trousers: tuple[int, int, int]
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    rucksack: bool
    air_kelvin: float

    @classmethod
    def draw(cls, rng: np.random.Generator, air_kelvin: float) -> Appearance:
        """Draw a person at random."""
        return cls(
            _JACKETS[rng.integers(len(_JACKETS))],
            _TROUSERS[rng.integers(len(_TROUSERS))],
            _SKIN[rng.integers(len(_SKIN))],
            _HAIR[rng.integers(len(_HAIR))],
            bool(rng.random() < 0.4),
            air_kelvin,
        )


@dataclass(frozen=True)
class Pose:
    """How a person is seen.

    Attributes:
        view: ``side`` (walking to the right), ``front`` or ``back``.
        phase: Step of the gait cycle, 0 to ``GAIT_PHASES - 1``; None when standing.
    """

    view: str
    phase: int | None


@lru_cache(maxsize=1024)
def person_texture(appearance: Appearance, pose: Pose) -> Texture:
    """Draw a person of 1.75 m on a texture of 1.20 m by 1.90 m; the feet are at the lower edge."""
    body = _Body(appearance)
    if pose.view == "side":
        _draw_side(body, appearance, pose.phase)
    else:
        _draw_front(body, appearance, pose.phase, faces_viewer=pose.view == "front")
    return body.texture()


class _Body:
    """A canvas in metres: x from the middle, height above the ground."""

    def __init__(self, appearance: Appearance) -> None:
        scale = _SUPERSAMPLING / _TEXEL_M
        self._size = (round(_HEIGHT_M * scale), round(_WIDTH_M * scale))
        self._scale = scale
        self._colour = np.zeros((*self._size, 3), np.float32)
        self._coverage = np.zeros(self._size, np.float32)
        self._kelvin = np.zeros(self._size, np.float32)
        self._air = appearance.air_kelvin

    def limb(self, points: list[Point], width: float, colour: tuple[int, int, int], warmth: float) -> None:
        """Draw a rounded limb along ``points``; ``warmth`` is how far towards skin (1) from air (0) it is."""
        kelvin = self._air + warmth * (_SKIN_KELVIN - self._air)
        path = np.array([self._pixel(point) for point in points])
        for share, shade, cooler in ((1.0, 0.72, 1.6), (0.74, 0.9, 0.6), (0.42, 1.05, 0.0)):
            thickness = max(1, round(width * share * self._scale))
            offset = np.array([-round(0.12 * (1 - share) * width * self._scale), 0])
            for canvas, value in (
                (self._colour, tuple(channel * shade for channel in colour)),
                (self._coverage, 1.0),
                (self._kelvin, kelvin - cooler * min(1.0, warmth * 2)),
            ):
                cv2.polylines(canvas, [path + offset], False, value, thickness)

    def ellipse(self, centre: Point, axes: Point, colour: tuple[int, int, int], warmth: float) -> None:
        """Draw a rounded ellipse."""
        kelvin = self._air + warmth * (_SKIN_KELVIN - self._air)
        for share, shade, cooler in ((1.0, 0.78, 1.5), (0.8, 0.95, 0.4), (0.5, 1.06, 0.0)):
            size = (round(axes[0] * share * self._scale), round(axes[1] * share * self._scale))
            for canvas, value in (
                (self._colour, tuple(channel * shade for channel in colour)),
                (self._coverage, 1.0),
                (self._kelvin, kelvin - cooler),
            ):
                cv2.ellipse(canvas, self._pixel(centre), size, 0, 0, 360, value, -1)

    def texture(self) -> Texture:
        """Reduce to the final size."""
        size = (round(_WIDTH_M / _TEXEL_M), round(_HEIGHT_M / _TEXEL_M))
        weight = cv2.resize(self._coverage, size, interpolation=cv2.INTER_AREA)
        safe = np.maximum(weight, 1e-6)
        colour = cv2.resize(self._colour * self._coverage[..., None], size, interpolation=cv2.INTER_AREA)
        kelvin = cv2.resize(self._kelvin * self._coverage, size, interpolation=cv2.INTER_AREA)
        return Texture.build(colour / safe[..., None], weight, kelvin / safe)

    def _pixel(self, point: Point) -> tuple[int, int]:
        return (
            round((point[0] + _WIDTH_M / 2) * self._scale),
            round((_HEIGHT_M - point[1]) * self._scale),
        )


def _draw_side(body: _Body, look: Appearance, phase: int | None) -> None:
    angle = None if phase is None else 2 * math.pi * phase / GAIT_PHASES
    bob = 0.0 if angle is None else 0.018 * math.cos(2 * angle)
    _arm_side(body, look, _swing(angle, -0.5), bob, shade=0.8)
    _leg_side(body, look, angle, bob, shade=0.78, shift=math.pi)
    _leg_side(body, look, angle, bob, shade=1.0, shift=0.0)
    if look.rucksack:
        body.limb([(-0.17, 1.36 + bob), (-0.18, 1.10 + bob)], 0.19, _RUCKSACK, 0.18)
    body.limb([(0.0, _HIP + 0.02 + bob), (0.0, _HIP + 0.12 + bob)], 0.23, look.jacket, 0.5)
    body.limb([(0.0, _HIP + 0.08 + bob), (0.015, _SHOULDER - 0.10 + bob)], 0.25, look.jacket, 0.55)
    body.limb([(0.01, _SHOULDER - 0.02 + bob), (0.025, _NECK + 0.06 + bob)], 0.11, look.skin, 0.95)
    body.ellipse((0.02, 1.635 + bob), (0.095, 0.125), look.hair, 0.72)
    body.ellipse((0.05, 1.615 + bob), (0.07, 0.10), look.skin, 1.0)
    body.ellipse((-0.005, 1.685 + bob), (0.09, 0.07), look.hair, 0.72)
    _arm_side(body, look, _swing(angle, 0.5), bob, shade=1.05)


def _swing(angle: float | None, amplitude: float) -> float:
    return 0.04 if angle is None else -amplitude * math.sin(angle)


def _leg_side(body: _Body, look: Appearance, angle: float | None, bob: float, shade: float, shift: float) -> None:
    hip_angle, knee = (0.02, 0.04)
    if angle is not None:
        hip_angle = 0.44 * math.sin(angle + shift) + 0.06
        knee = 0.10 + 0.85 * max(0.0, math.cos(angle + shift)) ** 1.5
    hip = (0.0, _HIP + bob)
    bend = _along(hip, hip_angle, 0.44)
    ankle = _along(bend, hip_angle - knee, 0.42)
    tone = _tint(look.trousers, shade)
    body.limb(
        [ankle, _along(ankle, hip_angle - knee + math.pi / 2 - 0.15, 0.16)],
        0.085,
        _tint((44, 38, 36), shade),
        0.22,
    )
    body.limb([bend, ankle], 0.115, tone, 0.40)
    body.limb([hip, bend], 0.165, tone, 0.48)


def _arm_side(body: _Body, look: Appearance, angle: float, bob: float, shade: float) -> None:
    shoulder = (0.0, _SHOULDER - 0.03 + bob)
    elbow = _along(shoulder, angle, 0.29)
    wrist = _along(elbow, angle + 0.35, 0.25)
    body.limb([wrist, _along(wrist, angle + 0.35, 0.07)], 0.075, look.skin, 0.92)
    body.limb([shoulder, elbow, wrist], 0.10, _tint(look.jacket, shade), 0.45)


def _draw_front(body: _Body, look: Appearance, phase: int | None, *, faces_viewer: bool) -> None:
    angle = None if phase is None else 2 * math.pi * phase / GAIT_PHASES
    bob = 0.0 if angle is None else 0.018 * math.cos(2 * angle)
    for side in (-1, 1):
        lift = 0.0 if angle is None else 0.13 * max(0.0, side * math.sin(angle))
        hip, ankle = (side * 0.085, _HIP + bob), (side * 0.095, 0.08 + lift)
        bend = (side * (0.10 + 0.1 * lift), 0.50 + 0.55 * lift)
        body.limb([ankle, (ankle[0] + side * 0.02, ankle[1] - 0.035)], 0.095, _SHOE, 0.22)
        body.limb([bend, ankle], 0.12, _tint(look.trousers, 1.0 - 1.2 * lift), 0.40)
        body.limb([hip, bend], 0.165, look.trousers, 0.48)
        swing = 0.0 if angle is None else 0.05 * side * math.sin(angle)
        shoulder, elbow = (side * 0.20, _SHOULDER - 0.04 + bob), (side * 0.265, 1.14 + bob + 0.3 * swing)
        wrist = (side * 0.255, 0.89 + bob + swing)
        body.limb([wrist, (wrist[0], wrist[1] - 0.07)], 0.08, look.skin, 0.92)
        body.limb([shoulder, elbow, wrist], 0.105, _tint(look.jacket, 0.92), 0.45)
    _torso_front(body, look, bob, with_rucksack=look.rucksack and not faces_viewer)
    body.limb(
        [(0.0, _SHOULDER + bob), (0.0, _NECK + 0.06 + bob)], 0.12, look.skin if faces_viewer else look.hair, 0.92
    )
    body.ellipse((0.0, 1.64 + bob), (0.09, 0.125), look.hair, 0.72)
    if faces_viewer:
        body.ellipse((0.0, 1.615 + bob), (0.075, 0.10), look.skin, 1.0)


def _torso_front(body: _Body, look: Appearance, bob: float, *, with_rucksack: bool) -> None:
    body.limb([(-0.07, _HIP + 0.03 + bob), (0.07, _HIP + 0.03 + bob)], 0.20, look.jacket, 0.48)
    body.limb([(-0.05, _HIP + 0.14 + bob), (0.05, _HIP + 0.14 + bob)], 0.24, look.jacket, 0.52)
    body.limb([(0.0, _HIP + 0.12 + bob), (0.0, _SHOULDER - 0.15 + bob)], 0.34, look.jacket, 0.56)
    body.limb([(-0.13, _SHOULDER - 0.07 + bob), (0.13, _SHOULDER - 0.07 + bob)], 0.17, look.jacket, 0.55)
    if with_rucksack:
        body.limb(
            [(-0.05, 1.33 + bob), (-0.05, 1.12 + bob), (0.05, 1.12 + bob), (0.05, 1.33 + bob)],
            0.2,
            (60, 66, 52),
            0.18,
        )


def _along(start: Point, angle: float, length: float) -> Point:
    """The end of a segment that hangs from ``start``, turned forward by ``angle`` from straight down."""
    return start[0] + length * math.sin(angle), start[1] - length * math.cos(angle)


def _tint(colour: tuple[int, int, int], shade: float) -> tuple[int, int, int]:
    red, green, blue = (int(channel * shade) for channel in colour)
    return red, green, blue
