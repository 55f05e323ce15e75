"""The two cameras' streams: rates, jitter and clocks."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..frame import Frame, Sensor, Unit

if TYPE_CHECKING:
    from .world import SyntheticWorld

__all__ = ["FRAME_IDS", "sensor_frames"]

FRAME_IDS = {Sensor.RGB: "rgb_optical_frame", Sensor.THERMAL: "thermal_optical_frame"}
_FIRST_CAPTURE_S = {Sensor.RGB: 0.0, Sensor.THERMAL: 0.004}


def sensor_frames(world: SyntheticWorld, duration_s: float, start_ns: int) -> Iterator[tuple[int, Sensor, Frame]]:
    """Yield ``(capture time ns, sensor, frame)`` of both cameras of ``world`` in order of capture."""
    captures = heapq.merge(*(_captures(world, sensor, duration_s) for sensor in Sensor))
    for capture_ns, sensor, stamp_ns in captures:
        yield start_ns + capture_ns, sensor, capture_frame(world, sensor, capture_ns * 1e-9, start_ns + stamp_ns)


def capture_frame(world: SyntheticWorld, sensor: Sensor, time_s: float, stamp_ns: int) -> Frame:
    """Return one frame of ``sensor`` at the world's ``time_s`` with the given stamp."""
    if sensor is Sensor.RGB:
        return Frame(world.rgb_image(time_s), stamp_ns, FRAME_IDS[sensor], "rgb8", Unit.INTENSITY)
    encoding = world.settings.thermal_encoding
    unit = Unit.COUNTS if encoding == "mono16" else Unit.INTENSITY
    return Frame(world.thermal_image(time_s), stamp_ns, FRAME_IDS[sensor], encoding, unit)


def _captures(world: SyntheticWorld, sensor: Sensor, duration_s: float) -> Iterator[tuple[int, Sensor, int]]:
    """Yield ``(capture ns, sensor, stamp ns)``, both relative to the start."""
    options = world.settings
    is_rgb = sensor is Sensor.RGB
    rate = options.rgb_rate_hz if is_rgb else options.thermal_rate_hz
    offset_ns = 0 if is_rgb else round(options.clock_offset_ms * 1e6)
    rng = np.random.default_rng([options.seed, 21 if is_rgb else 22])
    largest_ns = min(options.jitter_ms * 1e6, 0.4e9 / rate)  # beyond this, stamps would change places
    index = 0
    while (time_s := _FIRST_CAPTURE_S[sensor] + index / rate) < duration_s:
        capture_ns = round(time_s * 1e9)
        yield capture_ns, sensor, capture_ns + offset_ns + round(rng.uniform(-largest_ns, largest_ns))
        index += 1
