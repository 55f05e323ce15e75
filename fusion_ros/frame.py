"""Frames and frame pairs: pixels with the facts that must not be lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from .errors import ImageError

__all__ = ["Frame", "FramePair", "Sensor", "Unit"]


class Sensor(str, Enum):
    """The two cameras of a rig."""

    RGB = "rgb"
    THERMAL = "thermal"

    @property
    def other(self) -> Sensor:
        """The other camera of the rig."""
        return Sensor.THERMAL if self is Sensor.RGB else Sensor.RGB


class Unit(str, Enum):
    """What a pixel value means."""

    INTENSITY = "intensity"
    """Display intensity, full scale of the integer type (or 1.0 for float)."""
    COUNTS = "counts"
    """Raw sensor counts; a higher count is warmer, the scale is the camera's own."""
    KELVIN = "kelvin"
    """Absolute temperature."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of one camera.

    Attributes:
        pixels: ``(H, W)`` or ``(H, W, C)``; uint8, uint16 or float32. Colour is always in
            RGB(A) order, whatever the source's order was. May be a read-only or strided view.
        stamp_ns: Acquisition time in nanoseconds.
        frame_id: Name of the camera's optical frame (x right, y down, z forward).
        encoding: The source's ``sensor_msgs/image_encodings`` name, so that an output can be
            given back in the input's own encoding.
        unit: What the values mean.
    """

    pixels: np.ndarray
    stamp_ns: int
    frame_id: str = ""
    encoding: str = "mono8"
    unit: Unit = Unit.INTENSITY

    def __post_init__(self) -> None:
        if self.pixels.ndim not in (2, 3) or 0 in self.pixels.shape:
            raise ImageError(
                f"expected pixels of shape (H, W) or (H, W, C) without an empty axis, got {self.pixels.shape}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class FramePair:
    """What the two cameras saw at (nearly) the same time.

    One of the two may be None when a camera is silent and single frames are let through.
    ``offset_ns`` is thermal time minus RGB time, after the per-sensor clock offsets were applied.
    """

    rgb: Frame | None
    thermal: Frame | None
    offset_ns: int = 0

    def __post_init__(self) -> None:
        if self.rgb is None and self.thermal is None:
            raise ImageError("expected at least one frame in a pair, got none")
