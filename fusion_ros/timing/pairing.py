"""Pairs the frames of two cameras by their stamps, and says why each other frame was dropped.

**What is paired.** The *stable* matching: no two frames would both rather have each other than the
partners they got. It is what comes of taking all pairs within tolerance in order of their time
difference (of equal ones the earlier first) and accepting each whose frames are still free and which does not
cross an accepted pair. Frames are paired one to one, in strictly increasing order of both stamps.

**Why stable, and not as many pairs as possible.** Time differences are the smallest that can be had,
which is what the images need. And decisions are local: the shortest gap between two
neighbours on the time line is a pair whatever happens elsewhere, so it is known within a frame
or two, where the largest matching may hang on frames that come much later. The price is paid where two
equally fast cameras run half a period apart and jitter: now the one neighbour is nearer, now the other,
and each change of sides leaves a frame of each camera over (one in six, if chance decides each time).

**When a pair goes out.** Two neighbours are final as soon as no frame that is here, or may
still come, is nearer to either. Frames of one camera arrive in order, and the next is taken
to come no sooner than ``min_interval_ratio`` times the camera's usual (median) interval. So frames that
differ by less than half of that go out at once, and equal stamps always do; others
wait for the next frame of the camera whose frame is the earlier one. With a ratio of 0 nothing is
assumed but order. Where an assumption fails (a burst, an overtaking frame) a pair may not be
the nearest possible; it is still within tolerance, in order and one to one.

**What happens to the rest.** A frame leaves without a partner for one of the reasons in
:class:`DropReason`. Where ``unpaired`` is ``forward``, frames also go out alone, but only while the
other camera is *silent*: nothing of it arrived for longer than ``timeout_ms`` and for longer than twice
its usual interval. From that moment all waiting frames go out, and new ones as they come, until the
other camera is back. So the surplus frames of the faster of two running cameras never go out alone.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

from ..frame import Sensor
from ..settings import Settings, setting
from .outcome import DropReason, Pair, PairingCounts
from .timeline import Stream, Waiting, is_stable, stable_pairs

__all__ = ["PairingSettings", "StampPairer"]

T = TypeVar("T")


@dataclass(frozen=True)
class PairingSettings(Settings):
    """How the frames of the two cameras are brought together."""

    policy: str = setting(
        "nearest",
        "How frames are matched: our nearest matching, or ROS's ApproximateTimeSynchronizer.",
        choices=("nearest", "message_filters"),
        read_only=True,
    )
    tolerance_ms: float = setting(
        20.0,
        "Largest time difference inside a pair, inclusive; 0 pairs equal stamps only.",
        unit="ms",
        bounds=(0, 1000),
    )
    timeout_ms: float = setting(
        200.0, "How long a frame may wait for a partner after its arrival.", unit="ms", bounds=(1, 10000)
    )
    queue_size: int = setting(20, "How many frames of each camera may wait.", bounds=(1, 200))
    rgb_offset_ms: float = setting(
        0.0, "Added to RGB stamps for matching only; the frame keeps its stamp.", unit="ms", bounds=(-5000, 5000)
    )
    thermal_offset_ms: float = setting(
        0.0,
        "Added to thermal stamps for matching only; the frame keeps its stamp.",
        unit="ms",
        bounds=(-5000, 5000),
    )
    unpaired: str = setting(
        "drop",
        "What becomes of the frames of one camera while the other one is silent.",
        choices=("drop", "forward"),
    )
    jump_back_ms: float = setting(
        500.0,
        "A stamp this much older than its camera's newest means that time started over (a looped bag).",
        unit="ms",
        bounds=(1, None),
    )
    min_interval_ratio: float = setting(
        0.5,
        "A camera's next frame is taken to come no sooner than this part of its usual interval; "
        "higher pairs sooner, 0 waits until it is certain.",
        bounds=(0, 1),
    )


class StampPairer(Generic[T]):
    """Pairs items of two cameras by nearest stamp; see the module for the rules.

    Results are handed out, never called back, so nothing that a consumer does can disturb it. It
    has no thread and no lock: calls must not overlap.

    Args:
        settings: Tolerances and bounds. ``policy`` is not looked at: whoever wants the other one does not
            make a ``StampPairer``.
    """

    def __init__(self, settings: PairingSettings | None = None) -> None:
        self.settings = settings or PairingSettings()
        self._tolerance_ns = _nanoseconds(self.settings.tolerance_ms)
        self._timeout_ns = _nanoseconds(self.settings.timeout_ms)
        self._jump_ns = _nanoseconds(self.settings.jump_back_ms)
        self._offset_ns = {
            Sensor.RGB: _nanoseconds(self.settings.rgb_offset_ms),
            Sensor.THERMAL: _nanoseconds(self.settings.thermal_offset_ms),
        }
        self._queue: list[Waiting[T]] = []  # of both cameras, in order of time
        self._received = dict.fromkeys(Sensor, 0)
        self._forwarded = dict.fromkeys(Sensor, 0)
        self._dropped = {sensor: dict.fromkeys(DropReason, 0) for sensor in Sensor}
        self._paired = 0
        self._forget()

    def add(self, sensor: Sensor, item: T, stamp_ns: int, now_ns: int) -> list[Pair[T]]:
        """Take one frame; return what became decided, in order.

        Args:
            sensor: The camera it is from.
            item: Anything; it is handed back in a :class:`Pair` or let go.
            stamp_ns: Acquisition time.
            now_ns: The caller's clock, running at the pace of the stamps (in replay, the replayed time).
        """
        self._received[sensor] += 1
        frame = Waiting(sensor, item, stamp_ns, stamp_ns + self._offset_ns[sensor], now_ns)
        if self._streams[sensor].newest_ns - frame.time_ns >= self._jump_ns:
            self.reset()
        if self._started_ns is None:
            self._started_ns = now_ns
        self._streams[sensor].note(frame.time_ns, now_ns)
        pairs = self._insert(frame)
        return pairs + self.expire(now_ns)

    def expire(self, now_ns: int) -> list[Pair[T]]:
        """Decide about the frames that have waited long enough; to be called on a timer.

        A frame whose time is up goes out with the best partner that is here; without one it is dropped
        or forwarded.
        """
        pairs: list[Pair[T]] = []
        while (frame := self._first_due(now_ns)) is not None:
            pairs += self._dismiss(frame, DropReason.TIMEOUT, now_ns)
        return pairs

    def flush(self, now_ns: int) -> list[Pair[T]]:
        """Decide about all frames as if no other came: the end of a recording."""
        pairs: list[Pair[T]] = []
        while self._queue:
            pairs += self._dismiss(self._queue[0], DropReason.UNMATCHED, now_ns)
        return pairs

    def reset(self) -> None:
        """Drop what waits and forget all stamps, as when time starts over. Counts go on."""
        for frame in self._queue:
            self._drop(frame, DropReason.RESET)
        self._queue.clear()
        self._forget()

    @property
    def counts(self) -> PairingCounts:
        """A snapshot of what became of all frames."""
        return PairingCounts(
            received=dict(self._received),
            paired=self._paired,
            forwarded=dict(self._forwarded),
            dropped={sensor: dict(reasons) for sensor, reasons in self._dropped.items()},
            pending={sensor: sum(f.sensor is sensor for f in self._queue) for sensor in Sensor},
        )

    def _forget(self) -> None:
        self._streams = {sensor: Stream() for sensor in Sensor}
        self._started_ns: int | None = None

    def _insert(self, frame: Waiting[T]) -> list[Pair[T]]:
        place = bisect_left(self._queue, frame.time_ns, key=attrgetter("time_ns"))
        refusal = self._refusal(frame, place)
        if refusal is not None:
            self._drop(frame, refusal)
            return []
        self._queue.insert(place, frame)
        pairs = self._release_final()
        self._drop_unreachable()
        return pairs + self._bound(frame.sensor, frame.arrived_ns)

    def _refusal(self, frame: Waiting[T], place: int) -> DropReason | None:
        released_ns = self._streams[frame.sensor].released_ns
        if frame.time_ns < released_ns:
            return DropReason.LATE
        equals = [f for f in self._queue[place : place + 2] if f.time_ns == frame.time_ns]
        if frame.time_ns == released_ns or any(f.sensor is frame.sensor for f in equals):
            return DropReason.DUPLICATE
        return None

    def _release_final(self) -> list[Pair[T]]:
        pairs: list[Pair[T]] = []
        start = 0
        while start + 1 < len(self._queue):
            if self._is_final(start):
                pairs += self._release_through(start)
                start = 0
            else:
                start += 1
        return pairs

    def _is_final(self, start: int) -> bool:
        first, second = self._queue[start], self._queue[start + 1]
        if first.sensor is second.sensor or second.time_ns - first.time_ns > self._tolerance_ns:
            return False
        next_ns = self._streams[first.sensor].earliest_next_ns(self.settings.min_interval_ratio)
        return is_stable(self._queue, start, next_ns)

    def _release_through(self, start: int) -> list[Pair[T]]:
        """Hand out the pair at ``start`` and decide about all before it, among themselves."""
        head, self._queue = self._queue[: start + 2], self._queue[start + 2 :]
        starts = {start, *stable_pairs(head[:start], self._tolerance_ns)}
        seconds = {start + 1 for start in starts}
        pairs: list[Pair[T]] = []
        for index, frame in enumerate(head):
            if index in starts:
                pairs.append(self._pair(frame, head[index + 1]))
            elif index not in seconds:
                self._drop(frame, DropReason.UNMATCHED)
        return pairs

    def _drop_unreachable(self) -> None:
        while self._queue and self._is_unreachable(self._queue[0]):
            self._drop(self._queue.pop(0), DropReason.UNMATCHED)

    def _is_unreachable(self, oldest: Waiting[T]) -> bool:
        """Whether every possible partner of the oldest frame in the queue, here or to come, is too late."""
        limit_ns = oldest.time_ns + self._tolerance_ns
        for frame in self._queue:
            if frame.sensor is not oldest.sensor:
                return frame.time_ns > limit_ns
        return self._streams[oldest.sensor.other].newest_ns >= limit_ns

    def _bound(self, sensor: Sensor, now_ns: int) -> list[Pair[T]]:
        if len(self._queue) <= self.settings.queue_size:
            return []
        waiting = [frame for frame in self._queue if frame.sensor is sensor]
        if len(waiting) <= self.settings.queue_size:
            return []
        return self._dismiss(waiting[0], DropReason.OVERFLOW, now_ns)

    def _first_due(self, now_ns: int) -> Waiting[T] | None:
        if not self._queue:
            return None
        alone = [sensor for sensor in Sensor if self._forwards(sensor, now_ns)]
        latest_ns = now_ns - self._timeout_ns
        for frame in self._queue:
            if frame.arrived_ns < latest_ns or frame.sensor in alone:
                return frame
        return None

    def _dismiss(self, frame: Waiting[T], reason: DropReason, now_ns: int) -> list[Pair[T]]:
        """Let a frame go: with the partner that it has if none comes any more, else alone."""
        index = self._queue.index(frame)
        starts = stable_pairs(self._queue, self._tolerance_ns)
        for start in (index - 1, index):
            if start in starts:
                return self._release_through(start)
        del self._queue[index]
        if self._forwards(frame.sensor, now_ns):
            return [self._forward(frame)]
        if self._streams[frame.sensor.other].newest_ns >= frame.time_ns + self._tolerance_ns:
            reason = DropReason.UNMATCHED
        self._drop(frame, reason)
        return []

    def _forwards(self, sensor: Sensor, now_ns: int) -> bool:
        """Whether a frame of this camera may go alone: it is wanted, and the other camera is silent."""
        if self.settings.unpaired != "forward" or self._started_ns is None:
            return False
        other = self._streams[sensor.other]
        last_ns = self._started_ns if other.arrived_ns is None else other.arrived_ns
        return now_ns - last_ns > max(self._timeout_ns, 2 * other.usual_interval_ns)

    def _pair(self, first: Waiting[T], second: Waiting[T]) -> Pair[T]:
        rgb, thermal = (first, second) if first.sensor is Sensor.RGB else (second, first)
        self._paired += 1
        self._streams[Sensor.RGB].released_ns = rgb.time_ns
        self._streams[Sensor.THERMAL].released_ns = thermal.time_ns
        return Pair(rgb.item, thermal.item, thermal.time_ns - rgb.time_ns, rgb.stamp_ns, thermal.stamp_ns)

    def _forward(self, frame: Waiting[T]) -> Pair[T]:
        self._forwarded[frame.sensor] += 1
        self._streams[frame.sensor].released_ns = frame.time_ns
        if frame.sensor is Sensor.RGB:
            return Pair(frame.item, None, rgb_stamp_ns=frame.stamp_ns)
        return Pair(None, frame.item, thermal_stamp_ns=frame.stamp_ns)

    def _drop(self, frame: Waiting[T], reason: DropReason) -> None:
        self._dropped[frame.sensor][reason] += 1


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
