"""How far apart in time the two frames of a pair are, over the recent pairs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["OffsetStatistics", "OffsetSummary"]


@dataclass(frozen=True)
class OffsetSummary:
    """Time differences inside the recent pairs, in milliseconds.

    Attributes:
        number: How many pairs the other figures are over; all are 0 where there is none.
        bias_ms: Mean of thermal minus RGB time, signed. A steady bias between cameras that are
            triggered together is a clock offset to correct with ``rgb_offset_ms`` or ``thermal_offset_ms``.
        mean_ms: Mean of the absolute difference.
        p50_ms: Median of the absolute difference.
        p95_ms: 95th percentile of the absolute difference.
        max_ms: Largest absolute difference.
    """

    number: int = 0
    bias_ms: float = 0.0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    max_ms: float = 0.0


class OffsetStatistics:
    """Collects the offsets of the latest pairs.

    Args:
        window: How many pairs are remembered.
    """

    def __init__(self, window: int = 300) -> None:
        self._offsets_ms: deque[float] = deque(maxlen=window)

    def add(self, offset_ns: int) -> None:
        """Note the offset of one pair, thermal minus RGB."""
        self._offsets_ms.append(offset_ns / 1e6)

    def reset(self) -> None:
        """Forget all pairs."""
        self._offsets_ms.clear()

    def summary(self) -> OffsetSummary:
        """Return the figures over the window; percentiles by nearest rank."""
        number = len(self._offsets_ms)
        if number == 0:
            return OffsetSummary()
        sizes = sorted(map(abs, self._offsets_ms))
        return OffsetSummary(
            number=number,
            bias_ms=sum(self._offsets_ms) / number,
            mean_ms=sum(sizes) / number,
            p50_ms=sizes[-(-50 * number // 100) - 1],
            p95_ms=sizes[-(-95 * number // 100) - 1],
            max_ms=sizes[-1],
        )
