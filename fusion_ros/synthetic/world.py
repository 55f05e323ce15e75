"""The synthetic world: a seeded street seen by a rig of two cameras, with exact truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ..frame import Frame, Sensor
from ..geometry.cameras import PinholeCamera, Rig
from ..settings import Settings, setting
from .lighting import Lighting
from .obstacles import Obstacle
from .render import Band, Picture, View
from .sensors import ColourSensor, Smoke, ThermalSensor, plateau_curve
from .stream import sensor_frames
from .street import build_street
from .surfaces import Surface
from .traffic import build_traffic
from .truth import TargetView, Truth, find_truth, find_view

__all__ = ["SyntheticWorld", "WorldSettings", "build_rig"]


@dataclass(frozen=True)
class WorldSettings(Settings):
    """What the synthetic world is like and which cameras look at it."""

    seed: int = setting(0, "Seed of everything random: same seed, same bytes.", bounds=(0, None))
    condition: str = setting("day", "Light and weather.", choices=("day", "night", "smoke"))
    thermal_crossover: bool = setting(
        False, "A day or night so hot that people are as warm as the street: the thermal camera hardly sees them."
    )
    people: int = setting(6, "Number of people.", bounds=(0, 40))
    cars: int = setting(4, "Number of cars: parked warm, coming, leaving, parked cold, and again.", bounds=(0, 12))
    camera_motion: str = setting(
        "patrol",
        "still; sway in place; patrol: to and fro along the pavement.",
        choices=("still", "sway", "patrol"),
    )
    rgb_width: int = setting(640, "Width of the RGB image.", unit="px", bounds=(32, 4096))
    rgb_height: int = setting(480, "Height of the RGB image.", unit="px", bounds=(32, 4096))
    thermal_width: int = setting(320, "Width of the thermal image.", unit="px", bounds=(32, 4096))
    thermal_height: int = setting(256, "Height of the thermal image.", unit="px", bounds=(32, 4096))
    thermal_encoding: str = setting(
        "mono8",
        "mono8: display image after the camera's gain control; mono16: counts of 0.01 K.",
        choices=("mono8", "mono16"),
    )
    baseline_m: float = setting(
        0.06, "Thermal camera to the right of the RGB camera by this.", unit="m", bounds=(-1, 1)
    )
    rgb_rate_hz: float = setting(30.0, "Rate of the RGB camera.", unit="Hz", bounds=(0.1, 240))
    thermal_rate_hz: float = setting(25.0, "Rate of the thermal camera.", unit="Hz", bounds=(0.1, 240))
    jitter_ms: float = setting(
        1.0, "Stamps differ from the true capture time by up to this.", unit="ms", bounds=(0, 20)
    )
    clock_offset_ms: float = setting(0.0, "Thermal clock minus RGB clock.", unit="ms", bounds=(-10000, 10000))
    noise: float = setting(1.0, "Sensor noise, relative to a typical camera's.", bounds=(0, 10))
    shutter_period_s: float = setting(
        6.0, "Time between shutter events of the thermal camera, when gain and fixed pattern step.",
        unit="s", bounds=(0.2, 3600),
    )  # fmt: skip


class SyntheticWorld:
    """A street with people and cars, day or night or in smoke.

    Images and truth are functions of the time alone: any order of calls gives the same result.

    Args:
        settings: The world and its cameras.
        obstacles: Things that stand in the street beside what is always there.
    """

    def __init__(self, settings: WorldSettings | None = None, obstacles: Sequence[Obstacle] = ()) -> None:
        self.settings = settings or WorldSettings()
        options = self.settings
        self.rig = build_rig(options)
        self._lighting = Lighting(options.condition, options.thermal_crossover)
        standing = (surface for obstacle in obstacles for surface in obstacle.surfaces(self._lighting))
        self._street = (*build_street(options.seed, self._lighting), *standing)
        self._actors = build_traffic(
            np.random.default_rng([options.seed, 2]), self._lighting, options.people, options.cars
        )
        self._smoke = Smoke(np.random.default_rng([options.seed, 3])) if options.condition == "smoke" else None
        self._views = {Sensor.RGB: View(self.rig.rgb), Sensor.THERMAL: View(self.rig.thermal)}
        grain = {"day": 2.5, "night": 7.0, "smoke": 3.0}[options.condition]
        self._rgb_sensor = ColourSensor(options.seed, self.rig.rgb.size, grain * options.noise)
        self._thermal_sensor = ThermalSensor(
            options.seed, self.rig.thermal.size, 0.06 * options.noise, options.shutter_period_s
        )
        self._gain_curve = lru_cache(maxsize=4)(self._measure_gain_curve)

    def rgb_image(self, time_s: float) -> np.ndarray:
        """Return the ``(H, W, 3)`` uint8 RGB image at ``time_s``."""
        picture = self._paint(Sensor.RGB, time_s)
        image = picture.values
        if self._smoke is not None:
            image = self._smoke.veil(image, picture.inverse_depth, time_s)
        return self._rgb_sensor.capture(image, time_s)

    def thermal_image(self, time_s: float) -> np.ndarray:
        """Return the ``(H, W)`` thermal image at ``time_s``: uint8, or uint16 counts of 0.01 K."""
        kelvin = self._thermal_sensor.kelvin(self._scene_kelvin(self._paint(Sensor.THERMAL, time_s)), time_s)
        if self.settings.thermal_encoding == "mono16":
            return self._thermal_sensor.counts(kelvin)
        return self._thermal_sensor.display(kelvin, self._gain_curve(self._thermal_sensor.epoch(time_s)))

    def truth(self, time_s: float, thermal_time_s: float | None = None) -> Truth:
        """Return where each pixel and each target truly is.

        Args:
            time_s: Time of the RGB image.
            thermal_time_s: Time of the thermal image; the same time by default. Where the two
                differ the flows follow the motion of camera, people (as a whole) and cars.
        """
        moments = {Sensor.RGB: time_s, Sensor.THERMAL: time_s if thermal_time_s is None else thermal_time_s}
        return find_truth(
            self._views,
            {sensor: self._camera_from_world(sensor, moment) for sensor, moment in moments.items()},
            self._street,
            self._actors,
            self._lighting,
            moments,
        )

    def target_view(self, identity: int, time_s: float) -> TargetView | None:
        """Return what the RGB camera sees of one person or car; None where it is outside the field of view.

        The same as in :meth:`truth`, at a fraction of the cost.

        Raises:
            KeyError: There is nobody of this identity.
        """
        pose = self._camera_from_world(Sensor.RGB, time_s)
        view = self._views[Sensor.RGB]
        return find_view(view, pose, self._street, self._actors, self._lighting, time_s, identity)

    def frames(self, duration_s: float, start_ns: int = 0) -> Iterator[tuple[int, Sensor, Frame]]:
        """Yield ``(capture time ns, sensor, frame)`` of both cameras in order of capture.

        The world's time zero is at ``start_ns``. A frame carries the stamp of its own sensor's clock:
        the capture time, jitter, and for the thermal camera the clock offset.
        """
        return sensor_frames(self, duration_s, start_ns)

    def _camera_from_world(self, sensor: Sensor, time_s: float) -> np.ndarray:
        pose = _rgb_from_world(self.settings.camera_motion, time_s)
        return pose if sensor is Sensor.RGB else self.rig.thermal_from_rgb @ pose

    def _surfaces(self, camera_from_world: np.ndarray, time_s: float) -> list[Surface]:
        """All surfaces, decals after the street, then moving things from far to near."""
        viewer = -camera_from_world[:3, :3].T @ camera_from_world[:3, 3]
        actors = sorted(self._actors, key=lambda actor: -float(actor.position(time_s)[2]))
        moving = [surface for actor in actors for surface in actor.surfaces(time_s, viewer, self._lighting)]
        everything = [*self._street, *moving]
        decals = [surface for surface in everything if surface.is_decal]
        upright = [surface for surface in everything[2:] if not surface.is_decal]
        return [*everything[:2], *decals, *upright]

    def _paint(self, sensor: Sensor, time_s: float, view: View | None = None) -> Picture:
        pose = self._camera_from_world(sensor, time_s)
        band = Band.COLOUR if sensor is Sensor.RGB else Band.HEAT
        return (view or self._views[sensor]).paint(self._surfaces(pose, time_s), pose, band)

    def _scene_kelvin(self, picture: Picture) -> np.ndarray:
        if self._smoke is None:
            return picture.values
        passed = cv2.exp(Smoke.HEAT_PER_M * -1.0 / np.maximum(picture.inverse_depth, 5e-3))
        return self._lighting.air_kelvin + (picture.values - self._lighting.air_kelvin) * passed

    def _measure_gain_curve(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """What the camera's gain control settles on at a shutter event, from a small picture of that moment."""
        height, width = self.rig.thermal.size
        view = View(self.rig.thermal.scaled((max(32, height // 3), max(32, width // 3))))
        picture = self._paint(Sensor.THERMAL, self._thermal_sensor.epoch_start(epoch), view)
        return plateau_curve(self._scene_kelvin(picture))


def build_rig(options: WorldSettings) -> Rig:
    """Return two cameras side by side, the thermal one a little wider and turned by a fraction of a degree."""
    w, h = options.rgb_width, options.rgb_height
    lens = (-0.09, 0.03, 0.0004, -0.0003, 0.0)
    rgb = PinholeCamera(w, h, 0.82 * w, 0.82 * w, 0.503 * w, 0.497 * h, lens)
    w, h = options.thermal_width, options.thermal_height
    lens = (-0.14, 0.05, -0.0005, 0.0004, 0.0)
    thermal = PinholeCamera(w, h, 0.74 * w, 0.74 * w, 0.496 * w, 0.505 * h, lens)
    pose = np.eye(4)
    pose[:3, :3] = _rotation(math.radians(0.4), math.radians(-0.5), math.radians(0.3))
    pose[:3, 3] = (options.baseline_m, 0.1 * options.baseline_m, 0.0)
    return Rig(rgb, thermal, pose)


def _rgb_from_world(motion: str, time_s: float) -> np.ndarray:
    """Pose of the RGB camera: a small robot on the right-hand pavement, 1.5 m above the ground."""
    turn = 2 * math.pi * time_s
    pitch, yaw, roll = math.radians(-0.5), math.radians(-9.0), 0.0
    position = np.array([3.5, -1.5, 4.0])
    if motion != "still":
        pitch += math.radians(0.35) * math.sin(turn / 1.9) + math.radians(0.15) * math.sin(turn / 0.83)
        yaw += math.radians(1.8) * math.sin(turn / 7.3 + 0.4) + math.radians(0.2) * math.sin(turn / 1.3)
        roll += math.radians(0.5) * math.sin(turn / 2.7)
        position += (0.05 * math.sin(turn / 3.1), 0.012 * math.sin(turn / 0.9), 0.0)
    if motion == "patrol":
        position[2] += 3.0 * math.sin(turn / 36.0)
    pose = np.eye(4)
    pose[:3, :3] = _rotation(pitch, yaw, roll).T
    pose[:3, 3] = -pose[:3, :3] @ position
    return pose


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """World from camera: roll about z, then pitch about x (down is positive), then yaw about y (right)."""
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z
