"""Rendered pairs of two cameras side by side, whose parallax is exactly known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from ...engines.classical_engine import ClassicalEngine
from ...frame import Frame, FramePair, Sensor, Unit
from ...geometry.cameras import Rig
from ...geometry.poses import quaternion_from_pose
from ...pipeline import FusionPipeline, FusionSettings
from ...synthetic import SyntheticWorld, WorldSettings
from ...synthetic.obstacles import Obstacle
from ...synthetic.stream import FRAME_IDS
from .measure import PairImages
from .pair_sources import PairSource
from .parallax import parallax_of

__all__ = ["DISTANCE_M", "KINDS", "MOST_PAIRS", "USUAL_PAIRS", "StreetPairs"]

USUAL_PAIRS = 12
MOST_PAIRS = 1000
DISTANCE_M = 15.0
"""At which the coarse alignment is exact, where the settings name no other distance."""
KINDS: Mapping[str, WorldSettings] = MappingProxyType(
    {
        "day": WorldSettings(condition="day"),
        "night": WorldSettings(condition="night"),
        "smoke": WorldSettings(condition="smoke"),
        "hot day": WorldSettings(condition="day", thermal_crossover=True),
    }
)
"""Conditions that the pairs show, in turn."""

_FIRST_SEED = 7000  # streets that no tracking sequence shows
_PEOPLE, _CARS = 8, 6
_LONGEST_S = 300.0
_CAMERA_Z_M = 4.0  # where the robot stands along the street
_OBSTACLES = (("column", 4.5), ("van", 7.0), ("column", 6.5), ("van", 9.0), ("column", 8.5))  # m before the robot
_LEFTMOST_M, _RIGHTMOST_M = 0.8, 2.8  # across the street: on the road before the robot, beside its path


@dataclass(frozen=True)
class StreetPairs:
    """Pairs of an endless series, each a function of its number alone: another street, moment and obstacle.

    The rig is the world's usual one. As with a calibrated rig the thermal image is brought onto the RGB grid with
    lenses, rotation and field of view right, and parallax at one distance: what is left is in the truth. One thing
    stands near the robot in every pair, since the street alone is bare there.

    Attributes:
        numbers: Of the pairs.
    """

    numbers: tuple[int, ...]

    name = "street"
    is_sequence = False

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.numbers)

    @property
    def identity(self) -> str:
        """What the pairs depend on beside the package's version."""
        return f"{self.name} {self.numbers}"

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names in :data:`KINDS` that occur."""
        return tuple(dict.fromkeys(_kind(number) for number in self.numbers))

    def parts(self, size: int) -> list[PairSource]:
        """Split into series of ``size`` pairs."""
        return [StreetPairs(self.numbers[start : start + size]) for start in range(0, self.count, size)]

    def pairs(self, settings: FusionSettings) -> Iterator[PairImages]:
        """Render the pairs: some seconds each.

        Args:
            settings: Of the pipeline that brings them onto one grid. Of the alignment, ``distance_m`` and
                ``ground`` hold; the rest is the rig's.
        """
        for number in self.numbers:
            world, time_s = _scene(number)
            own = _settings_of_rig(settings, world.rig)
            place = FusionPipeline(ClassicalEngine("average"), own)
            place.aligner.set_cameras(rgb=world.rig.rgb, thermal=world.rig.thermal)
            sources = place(_captured(world, time_s), with_image=False, with_sources=True).sources
            assert sources is not None  # both frames are there, and no camera is awaited
            truth = parallax_of(world.rig, world.truth(time_s), own.alignment.distance_m, own.alignment.ground)
            yield PairImages(
                self.name, f"{number:03d}", sources.infrared, sources.rgb, sources.overlap, _kind(number), truth
            )


def _kind(number: int) -> str:
    return list(KINDS)[number % len(KINDS)]


@lru_cache(maxsize=1)
def _scene(number: int) -> tuple[SyntheticWorld, float]:
    """Return the world of a pair, and the moment in seconds."""
    rng = np.random.default_rng((_FIRST_SEED, number))
    kind, distance_m = _OBSTACLES[number % len(_OBSTACLES)]
    obstacle = Obstacle(kind, float(rng.uniform(_LEFTMOST_M, _RIGHTMOST_M)), _CAMERA_Z_M + distance_m)
    settings = replace(
        KINDS[_kind(number)], seed=_FIRST_SEED + number, people=_PEOPLE, cars=_CARS, camera_motion="sway"
    )
    return SyntheticWorld(settings, (obstacle,)), float(rng.uniform(0.0, _LONGEST_S))


def _captured(world: SyntheticWorld, time_s: float) -> FramePair:
    images = {
        Sensor.RGB: (world.rgb_image(time_s), "rgb8"),
        Sensor.THERMAL: (world.thermal_image(time_s), "mono8"),
    }
    rgb, thermal = (
        Frame(pixels, 0, FRAME_IDS[sensor], encoding, Unit.INTENSITY)
        for sensor, (pixels, encoding) in images.items()
    )
    return FramePair(rgb, thermal)


def _settings_of_rig(settings: FusionSettings, rig: Rig) -> FusionSettings:
    """Return settings whose coarse alignment is the rig's, on the RGB camera's own grid."""
    alignment = replace(
        settings.alignment,
        mode="calibration",
        calibration_file="",
        translation=tuple(rig.rgb_from_thermal[:3, 3].tolist()),
        rotation=quaternion_from_pose(rig.rgb_from_thermal),
        distance_m=settings.alignment.distance_m or DISTANCE_M,
        rectified="none",
        undistort=False,
    )
    return replace(settings, alignment=alignment, output=replace(settings.output, scale=1.0))
