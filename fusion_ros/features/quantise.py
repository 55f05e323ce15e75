"""Feature maps in 8 bits: a quarter of the bytes, to within half a step of a scale that the stream decides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Quantisation", "Quantiser"]

_TOP = 255
_SATURATED_SHARE = 1e-3  # of a frame's values: with more of them outside, the scale is widened
_MARGIN = 0.25  # of the span, on a side that is widened: a range that creeps up does not change with each frame
_LEAST_SPAN = 1e-6  # relative to the values: a constant map has a scale, too


@dataclass(frozen=True)
class Quantisation:
    """What the levels of a layer mean: ``value = scale * (level - zero_point)``.

    Attributes:
        from_stamp_ns: Stamp of the first frame for which it holds.
        scale: Width of a level in the values' own unit, above 0.
        zero_point: The level that stands for 0, which need not be one of the 256.
    """

    from_stamp_ns: int
    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float, from_stamp_ns: int) -> Quantisation:
        """Return the finest one with which no value from ``low`` to ``high`` saturates."""
        span = max(high - low, _LEAST_SPAN * max(abs(low), abs(high), 1.0))
        # One level less than there are: the zero point is whole, which shifts the range by up to one.
        scale = span / (_TOP - 1)
        return cls(from_stamp_ns, scale, math.ceil(-low / scale))

    @property
    def range(self) -> tuple[float, float]:
        """The values of the lowest and the highest level."""
        return -self.scale * self.zero_point, self.scale * (_TOP - self.zero_point)

    def quantise(self, values: np.ndarray) -> np.ndarray:
        """Return floating-point values as uint8 levels of the same shape; what lies outside saturates."""
        levels = values * np.float32(1 / self.scale)
        levels += np.float32(self.zero_point)
        np.rint(levels, out=levels)
        return np.clip(levels, 0, _TOP, out=levels).astype(np.uint8)

    def restore(self, levels: np.ndarray) -> np.ndarray:
        """Return the values that uint8 levels stand for, float32 of the same shape."""
        values = levels.astype(np.float32)
        values -= np.float32(self.zero_point)
        values *= np.float32(self.scale)
        return values

    def saturated_share(self, values: np.ndarray) -> float:
        """Return which share of the values lies outside the levels."""
        low, high = self.range
        return (np.count_nonzero(values < low) + np.count_nonzero(values > high)) / values.size


class Quantiser:
    """Quantises the frames of one layer.

    The first frame decides the range: from its least to its greatest value. A frame of which more than a
    thousandth would saturate widens it, for itself and for those after it; it never narrows.

    Attributes:
        entries: What holds from when on, in order of stamps.
    """

    def __init__(self) -> None:
        self.entries: tuple[Quantisation, ...] = ()

    def __call__(self, values: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Return a frame ``(h, w, C)`` as uint8 levels, by the last of :attr:`entries`.

        Stamps that jump back (a looped bag) take with them what was found in the time that is to come again.
        """
        self.entries = tuple(entry for entry in self.entries if entry.from_stamp_ns <= stamp_ns)
        latest = self.entries[-1] if self.entries else None
        if latest is None or latest.saturated_share(values) > _SATURATED_SHARE:
            latest = self._fitting(values, stamp_ns)
            self.entries = (*(entry for entry in self.entries if entry.from_stamp_ns < stamp_ns), latest)
        return latest.quantise(values)

    def _fitting(self, values: np.ndarray, stamp_ns: int) -> Quantisation:
        low, high = float(values.min()), float(values.max())
        if self.entries:
            margin = _MARGIN * (high - low)
            known_low, known_high = self.entries[-1].range
            low = low - margin if low < known_low else known_low
            high = high + margin if high > known_high else known_high
        return Quantisation.of_range(low, high, stamp_ns)
