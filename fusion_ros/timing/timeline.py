"""The frames of both cameras on one time line, and which of them belong together."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..frame import Sensor

__all__ = ["NEVER", "Stream", "Waiting", "is_stable", "stable_pairs"]

T = TypeVar("T")
NEVER = -(2**63)
"""Before any stamp."""
_INTERVALS = 15  # how many intervals the usual one is the median of
_FEWEST_INTERVALS = 3  # fewer are not relied on to foresee the next


@dataclass(eq=False)
class Waiting(Generic[T]):
    """A frame that waits for its partner; ``time_ns`` is its stamp plus the clock offset of its camera."""

    sensor: Sensor
    item: T
    stamp_ns: int
    time_ns: int
    arrived_ns: int


@dataclass
class Stream:
    """What is known of one camera since time last started; times include its clock offset."""

    newest_ns: int = NEVER
    released_ns: int = NEVER
    arrived_ns: int | None = None
    usual_interval_ns: int = 0
    _intervals_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_INTERVALS))

    def note(self, time_ns: int, arrived_ns: int) -> None:
        """Learn from the arrival of a frame."""
        self.arrived_ns = arrived_ns
        if time_ns <= self.newest_ns:
            return
        if self.newest_ns != NEVER:
            self._intervals_ns.append(time_ns - self.newest_ns)
            self.usual_interval_ns = sorted(self._intervals_ns)[(len(self._intervals_ns) - 1) // 2]
        self.newest_ns = time_ns

    def earliest_next_ns(self, min_interval_ratio: float) -> int:
        """Return the time before which no frame of this camera is expected any more."""
        if len(self._intervals_ns) < _FEWEST_INTERVALS:
            return self.newest_ns + 1
        return self.newest_ns + max(1, int(min_interval_ratio * self.usual_interval_ns))


def is_stable(frames: Sequence[Waiting[T]], start: int, earliest_next_ns: int) -> bool:
    """Tell whether the neighbours at ``start`` and ``start + 1`` are nearest to each other, now and for good.

    Args:
        frames: Of both cameras, in order of time.
        start: Index of the first of two frames of different cameras.
        earliest_next_ns: No later frame of the first one's camera comes before this. (One of the
            second one's camera cannot be nearer to the first than the second is.)
    """
    first, second = frames[start], frames[start + 1]
    gap_ns = second.time_ns - first.time_ns
    for rival in reversed(frames[:start]):  # the nearest earlier partner for the first
        if rival.sensor is second.sensor:
            if first.time_ns - rival.time_ns <= gap_ns:
                return False
            break
    for rival in frames[start + 2 :]:  # the nearest later partner for the second
        if rival.sensor is first.sensor:
            return rival.time_ns - second.time_ns >= gap_ns
    return earliest_next_ns - second.time_ns >= gap_ns


def stable_pairs(frames: Sequence[Waiting[T]], tolerance_ns: int) -> set[int]:
    """Match frames that no other will join; return the index at which each pair of neighbours starts.

    The shortest gap of all is between neighbours and is a pair; as pairs do not cross, it parts
    the line into two that are matched in the same way.
    """
    starts: set[int] = set()
    spans = [(0, len(frames))]
    while spans:
        low, high = spans.pop()
        gaps_ns = [
            (frames[i + 1].time_ns - frames[i].time_ns, i)
            for i in range(low, high - 1)
            if frames[i].sensor is not frames[i + 1].sensor
        ]
        gap_ns, start = min(gaps_ns, default=(tolerance_ns + 1, low))
        if gap_ns <= tolerance_ns:
            starts.add(start)
            spans += [(low, start), (start + 2, high)]
    return starts
