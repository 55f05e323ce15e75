"""A linear map from value to brightness that follows a stream without flicker.

Smoothed are gain and offset of the map, not the two ends of the range. A pixel of constant value then
moves exponentially from its old brightness to its new one, so in one frame interval ``dt`` its brightness
changes by at most ``1 - exp(-dt / time_constant)``, whatever came into the scene. (The ends of the range,
smoothed themselves, give no such bound: an object of 20 times the scene's span takes over a third of the
contrast away in one frame at 30 Hz.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["LinearMap", "MapFollower", "stretch"]


class LinearMap(NamedTuple):
    """brightness = gain * value + offset."""

    gain: float
    offset: float

    @classmethod
    def from_range(cls, low: float, high: float) -> LinearMap:
        """Return the map that takes ``low`` to 0 and ``high`` to 1."""
        gain = 1.0 / (high - low)
        return cls(gain, -low * gain)

    @property
    def range(self) -> tuple[float, float]:
        """The values that become 0 and 1."""
        return -self.offset / self.gain, (1.0 - self.offset) / self.gain

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the brightness of ``values`` as :func:`stretch` gives it for :attr:`range`."""
        return stretch(values, *self.range)


def stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map ``low..high`` to 0..1 and saturate.

    Args:
        values: Of any numeric type and shape.
        low: The value that becomes 0.
        high: The value that becomes 1, above ``low``.

    Returns:
        float32 in [0, 1] of the same shape, fresh memory in C order; NaN stays NaN.
    """
    stretched = np.array(values, np.float32, order="C")
    # Subtracted before it is scaled: a flat image at ``low`` becomes exactly black, whatever its value.
    stretched -= np.float32(low)
    stretched *= np.float32(1.0 / (high - low))
    return np.clip(stretched, 0.0, 1.0, out=stretched)


class MapFollower:
    """Moves a map towards the one that each frame asks for; its state is the latest map and its time.

    Args:
        time_constant_s: Time in which two thirds of a change are followed; 0 follows at once.
        reset_gap_s: Pause in the stream after which the map is taken afresh, as after a jump back in time.
    """

    def __init__(self, time_constant_s: float, reset_gap_s: float) -> None:
        self.time_constant_s = time_constant_s
        self.reset_gap_s = reset_gap_s
        self.map: LinearMap | None = None
        self._stamp_ns = 0

    def reset(self) -> None:
        """Forget the map: the next frame's own is taken."""
        self.map = None

    def starts_afresh(self, stamp_ns: int) -> bool:
        """Say whether a frame at ``stamp_ns`` gets its own map, whatever came before."""
        return self.map is None or self._weight(stamp_ns) == 1.0

    def follow(self, target: LinearMap, stamp_ns: int) -> LinearMap:
        """Return the map for a frame at ``stamp_ns`` that would have ``target`` if it stood alone."""
        if not self.starts_afresh(stamp_ns):
            weight = self._weight(stamp_ns)
            pairs = zip(self.map, target, strict=True)
            target = LinearMap(*((1.0 - weight) * old + weight * new for old, new in pairs))
        self.map, self._stamp_ns = target, stamp_ns
        return target

    def _weight(self, stamp_ns: int) -> float:
        """Weight of the present frame: 1 starts afresh, else by elapsed time and so for any frame rate."""
        elapsed_s = (stamp_ns - self._stamp_ns) * 1e-9
        if not 0 <= elapsed_s <= self.reset_gap_s or self.time_constant_s == 0:
            return 1.0
        return -math.expm1(-elapsed_s / self.time_constant_s)
