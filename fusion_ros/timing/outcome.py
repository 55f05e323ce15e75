"""What pairing gives: pairs, and an account of every frame that is in none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from ..frame import Sensor

__all__ = ["DropReason", "Pair", "PairingCounts"]

T = TypeVar("T")


class DropReason(str, Enum):
    """Why a frame went without a partner."""

    UNMATCHED = "unmatched"
    """The other camera delivers, but no frame within tolerance is left or can still come."""
    TIMEOUT = "timeout"
    """It waited for ``timeout_ms`` and the other camera had not got that far."""
    OVERFLOW = "overflow"
    """It was the oldest of more than ``queue_size`` waiting frames."""
    DUPLICATE = "duplicate"
    """A frame of that camera with this stamp was already there."""
    LATE = "late"
    """It is older than a frame of that camera that has already been put out."""
    RESET = "reset"
    """It was waiting when time started over, or when ``reset`` was called."""


@dataclass(frozen=True)
class Pair(Generic[T]):
    """Two items that belong together, or one alone where the other camera is silent.

    Attributes:
        rgb: The item added for the RGB camera, or None.
        thermal: The item added for the thermal camera, or None.
        offset_ns: Thermal minus RGB time, after the clock offsets were added; 0 for a single item.
        rgb_stamp_ns: The stamp that the RGB item was added with, or None.
        thermal_stamp_ns: The stamp that the thermal item was added with, or None.
    """

    rgb: T | None
    thermal: T | None
    offset_ns: int = 0
    rgb_stamp_ns: int | None = None
    thermal_stamp_ns: int | None = None


@dataclass(frozen=True)
class PairingCounts:
    """What became of all frames since the pairer was made; a reset does not clear it.

    For each camera ``received = paired + forwarded + sum of dropped + pending``.
    """

    received: Mapping[Sensor, int]
    paired: int
    forwarded: Mapping[Sensor, int]
    dropped: Mapping[Sensor, Mapping[DropReason, int]]
    pending: Mapping[Sensor, int]

    def plus(self, later: PairingCounts) -> PairingCounts:
        """Return the counts of two pairers that followed one another; what waits is the later one's."""
        return PairingCounts(
            received={s: self.received[s] + later.received[s] for s in Sensor},
            paired=self.paired + later.paired,
            forwarded={s: self.forwarded[s] + later.forwarded[s] for s in Sensor},
            dropped={
                s: {r: self.dropped[s].get(r, 0) + later.dropped[s].get(r, 0) for r in DropReason} for s in Sensor
            },
            pending=later.pending,
        )
