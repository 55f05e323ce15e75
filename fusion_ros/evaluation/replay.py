"""A recording's messages through the same pairing as on the robot, at the pace of the recorder's clock.

Live, a worker takes the newest pair and skips what it has no time for; here every pair is given
out, so that the result does not depend on how fast the machine is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..frame import Frame, Sensor
from ..timing import OffsetStatistics, Pair, PairingSettings, StampPairer

__all__ = ["Arrival", "PairedReplay"]

_ALL = 10_000_000  # pairs whose offsets are remembered: a week at 16 Hz


@dataclass(frozen=True, eq=False)
class Arrival:
    """One recorded image, not yet decoded.

    Attributes:
        sensor: The camera it is from.
        stamp_ns: When it was taken.
        receive_ns: When the recorder received it.
        decode: Makes the frame of it; raises :class:`~fusion_ros.errors.FusionError` where that cannot be done.
    """

    sensor: Sensor
    stamp_ns: int
    receive_ns: int
    decode: Callable[[], Frame]


class PairedReplay:
    """Pairs recorded images.

    Args:
        arrivals: In the order in which they were received.
        settings: As for the node. Frames that go alone (``unpaired: forward``) are counted and not given out:
            there is nothing to fuse in them.
    """

    def __init__(self, arrivals: Iterable[Arrival], settings: PairingSettings | None = None) -> None:
        self._arrivals = arrivals
        self._pairer: StampPairer[Arrival] = StampPairer(settings)
        self._offsets = OffsetStatistics(window=_ALL)

    def __iter__(self) -> Iterator[Pair[Arrival]]:
        """Yield the pairs, each as soon as it is decided."""
        now_ns = 0
        for arrival in self._arrivals:
            now_ns = arrival.receive_ns
            yield from self._complete(self._pairer.add(arrival.sensor, arrival, arrival.stamp_ns, now_ns))
        yield from self._complete(self._pairer.flush(now_ns))

    def _complete(self, pairs: Iterable[Pair[Arrival]]) -> Iterator[Pair[Arrival]]:
        for pair in pairs:
            if pair.rgb is not None and pair.thermal is not None:
                self._offsets.add(pair.offset_ns)
                yield pair

    @property
    def received(self) -> dict[str, int]:
        """Frames so far, by sensor."""
        return {sensor.value: number for sensor, number in self._pairer.counts.received.items()}

    @property
    def paired(self) -> int:
        """Pairs so far."""
        return self._pairer.counts.paired

    @property
    def dropped(self) -> dict[str, dict[str, int]]:
        """Frames that are in no pair, by sensor and reason; reasons without frames are left out."""
        counts = self._pairer.counts
        found: dict[str, dict[str, int]] = {}
        for sensor in Sensor:
            reasons = Counter({reason.value: number for reason, number in counts.dropped[sensor].items()})
            reasons["went alone"] = counts.forwarded[sensor]
            found[sensor.value] = {reason: number for reason, number in reasons.items() if number}
        return found

    @property
    def offset_ms(self) -> dict[str, float]:
        """Thermal minus RGB time inside the pairs."""
        summary = self._offsets.summary()
        if summary.number == 0:
            return {}
        return {
            "bias": summary.bias_ms,
            "mean": summary.mean_ms,
            "p50": summary.p50_ms,
            "p95": summary.p95_ms,
            "max": summary.max_ms,
        }
