"""People and cars that move along the street, each a pure function of time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .cars import CarLook, car_surfaces
from .lighting import Lighting
from .people import GAIT_PHASES, STRIDE_M, Appearance, Pose, person_texture
from .street import shadow_of
from .surfaces import Surface, rectangle

__all__ = ["Actor", "DrivingCar", "ParkedCar", "Person", "StreetCrosser", "build_traffic"]

_CYCLE_S = 24.0
"""Period of the traffic light: cars pass the crossing in the first 10 s, people in the rest."""

_START_S = 13.0
_CROSSING_Z_M = 15.2
_LANES = {-1: -1.75, 1: 1.35}
_CAR_SPEED = 6.0


class Actor(Protocol):
    """A person or a car.

    Attributes:
        identity: Its number, from 1.
        kind: ``person`` or ``car``.
        kelvin: Its characteristic temperature: skin for a person, engine for a car.
    """

    identity: int
    kind: str
    kelvin: float

    def position(self, time_s: float) -> np.ndarray:
        """Where it stands on the ground, world metres."""
        ...

    def surfaces(self, time_s: float, viewer: np.ndarray, lighting: Lighting) -> list[Surface]:
        """Its surfaces as ``viewer`` (a world point) sees them, shadows first."""
        ...


class _Upright(ABC):
    """What all people share: a textured upright figure that faces where it goes."""

    identity: int
    look: Appearance
    kind = "person"
    kelvin = 306.5

    @abstractmethod
    def position(self, time_s: float) -> np.ndarray:
        """Where it stands on the ground, world metres."""

    def surfaces(self, time_s: float, viewer: np.ndarray, lighting: Lighting) -> list[Surface]:
        """The figure as a billboard across the street, with its shadow."""
        foot = self.position(time_s)
        step = (self.position(time_s + 0.02) - self.position(time_s - 0.02)) / 0.04
        speed = float(np.hypot(step[0], step[2]))
        texture = person_texture(self.look, self._pose(step, speed, foot, time_s))
        height, width = (size * 0.01 for size in texture.size)
        turn = -1.0 if step[0] < 0 and abs(step[0]) > abs(step[2]) else 1.0
        corner = (foot[0] - turn * width / 2, -height, foot[2])
        gain = lighting.at((foot[0], -1.0, foot[2]))
        figure = rectangle(texture, corner, (turn * width, 0, 0), (0, height, 0), target=self.identity, gain=gain)
        return [figure] if lighting.sun is None else [shadow_of(figure, lighting.sun), figure]

    def _pose(self, step: np.ndarray, speed: float, foot: np.ndarray, time_s: float) -> Pose:
        if abs(step[0]) > abs(step[2]) or speed < 0.1:
            view = "side"
        else:
            view = "front" if step[2] < 0 else "back"
        if speed < 0.1:
            return Pose(view, None)
        walked = float(abs(foot[0]) + abs(foot[2])) if view != "side" else abs(float(foot[0]) + 100.0)
        return Pose(view, int(walked / STRIDE_M * GAIT_PHASES) % GAIT_PHASES)


@dataclass(frozen=True)
class Person(_Upright):
    """Walks to and fro along the pavement between ``near`` and ``far`` (z, metres)."""

    identity: int
    look: Appearance
    lane: float
    near: float
    far: float
    speed: float
    start: float

    def position(self, time_s: float) -> np.ndarray:
        """Where the feet are: x drifts a little, z swings between the ends."""
        span = self.far - self.near
        walked = (self.start * 2 * span + self.speed * time_s) % (2 * span)
        z = self.near + (walked if walked < span else 2 * span - walked)
        return np.array([self.lane + 0.15 * np.sin(0.4 * time_s + self.identity), 0.0, z])


@dataclass(frozen=True)
class StreetCrosser(_Upright):
    """Waits at the kerb while cars pass, then crosses; the other way in the next cycle."""

    identity: int
    look: Appearance
    z: float
    speed: float
    delay: float
    starts_left: bool
    clock: float

    def position(self, time_s: float) -> np.ndarray:
        """Where the feet are."""
        left, right = -6.3, 4.6 + 0.5 * self.delay
        cycle, phase = divmod(time_s + self.clock, _CYCLE_S)
        share = float(np.clip((phase - 10.0 - self.delay) * self.speed / (right - left), 0.0, 1.0))
        to_right = self.starts_left == (int(cycle) % 2 == 0)
        return np.array([left + (right - left) * (share if to_right else 1 - share), 0.0, self.z])


@dataclass(frozen=True)
class ParkedCar:
    """Stands in the parking bay."""

    identity: int
    look: CarLook
    z: float
    kind = "car"

    @property
    def kelvin(self) -> float:
        """Temperature of the engine's hood."""
        return self.look.air_kelvin + (15.0 if self.look.is_running else 0.0)

    def position(self, time_s: float) -> np.ndarray:
        """The middle on the ground."""
        return np.array([-4.4, 0.0, self.z])

    def surfaces(self, time_s: float, viewer: np.ndarray, lighting: Lighting) -> list[Surface]:
        """The panels in view."""
        return _panels(self, self.position(time_s), 1, viewer, lighting)


@dataclass(frozen=True)
class DrivingCar:
    """Drives along its lane, passing the crossing at ``passes`` seconds of each cycle."""

    identity: int
    look: CarLook
    heading: int
    passes: float
    clock: float
    kind = "car"

    @property
    def kelvin(self) -> float:
        """Temperature of the engine's hood."""
        return self.look.air_kelvin + 15.0

    def position(self, time_s: float) -> np.ndarray:
        """The middle on the ground; out of sight for a part of each cycle."""
        since = (time_s + self.clock - self.passes + _CYCLE_S / 2) % _CYCLE_S - _CYCLE_S / 2
        return np.array([_LANES[self.heading], 0.0, _CROSSING_Z_M + self.heading * _CAR_SPEED * since])

    def surfaces(self, time_s: float, viewer: np.ndarray, lighting: Lighting) -> list[Surface]:
        """The panels in view."""
        return _panels(self, self.position(time_s), self.heading, viewer, lighting)


def _panels(
    car: ParkedCar | DrivingCar, centre: np.ndarray, heading: int, viewer: np.ndarray, lighting: Lighting
) -> list[Surface]:
    x, z = float(centre[0]), float(centre[2])
    gain = lighting.at((x, -1.0, z))
    return car_surfaces(car.look, (x, z), heading, (float(viewer[0]), float(viewer[2])), gain, car.identity)


def build_traffic(rng: np.random.Generator, lighting: Lighting, people: int, cars: int) -> list[Actor]:
    """Place people and cars: crossing, on either pavement; parked, coming, leaving."""
    clock = _START_S
    actors: list[Actor] = []
    for index in range(people):
        look = Appearance.draw(rng, lighting.air_kelvin)
        identity = index + 1
        speed = float(rng.uniform(1.0, 1.5))
        if index % 2 == 0:
            z = _CROSSING_Z_M + float(rng.uniform(-1.4, 1.4))
            delay = float(rng.uniform(0.2, 2.0))
            actors.append(StreetCrosser(identity, look, z, speed, delay, bool(index % 4 == 0), clock))
        else:
            lane = float(rng.uniform(4.5, 5.9) if index % 4 == 1 else rng.uniform(-7.3, -6.3))
            near = float(rng.uniform(8.0, 10.0))
            actors.append(
                Person(identity, look, lane, near, float(rng.uniform(24, 36)), speed, float(rng.random()))
            )
    for index in range(cars):
        identity = people + index + 1
        is_parked, is_running = index % 4 in (0, 3), index % 4 != 3
        look = CarLook.draw(
            rng, is_running=is_running, condition=lighting.condition, air_kelvin=lighting.air_kelvin
        )
        if is_parked:
            actors.append(ParkedCar(identity, look, 20.0 + 12.0 * (index // 4) + (6.0 if index % 4 == 3 else 0.0)))
        else:
            heading = -1 if index % 4 == 1 else 1
            actors.append(DrivingCar(identity, look, heading, float(rng.uniform(1.0, 9.0)), clock))
    return actors
