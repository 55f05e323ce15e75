"""``message_filters.ApproximateTimeSynchronizer`` behind the interface of our own pairing.

For people who want exactly that behaviour (``pairing.policy: message_filters``). It is greedy, does
not say what it drops, and its slop is exclusive; our own ``StampPairer`` is the default for these reasons.
"""

from __future__ import annotations

from typing import Any

from ..errors import SettingsError
from ..frame import Sensor
from ..timing import DropReason, Pair, PairingCounts, PairingSettings, StampPairer
from .messages import stamp_ns

__all__ = ["ApproximatePairer", "make_pairer"]


class ApproximatePairer:
    """Pairs messages through ``message_filters``; takes and gives what :class:`StampPairer` does.

    Raises:
        SettingsError: ``message_filters`` is not installed, or a clock offset is asked for, which it cannot apply.
    """

    def __init__(self, settings: PairingSettings) -> None:
        try:
            import message_filters
        except ImportError:
            raise SettingsError(
                "pairing.policy is message_filters, which is not installed; install the package "
                "message_filters of your ROS distribution, or set pairing.policy to nearest"
            ) from None
        if settings.rgb_offset_ms or settings.thermal_offset_ms:
            raise SettingsError(
                "pairing.policy message_filters takes no clock offsets; set pairing.policy to nearest"
            )
        self._filters = {sensor: message_filters.SimpleFilter() for sensor in Sensor}
        self._synchronizer = message_filters.ApproximateTimeSynchronizer(
            [self._filters[Sensor.RGB], self._filters[Sensor.THERMAL]],
            settings.queue_size,
            settings.tolerance_ms / 1e3,
        )
        self._synchronizer.registerCallback(self._on_pair)
        self._ready: list[Pair[Any]] = []
        self._received = dict.fromkeys(Sensor, 0)
        self._paired = 0

    def add(self, sensor: Sensor, item: Any, stamp: int, now_ns: int) -> list[Pair[Any]]:
        """Feed one message; return the pairs that it completed."""
        self._received[sensor] += 1
        self._filters[sensor].signalMessage(item)
        ready, self._ready = self._ready, []
        return ready

    def expire(self, now_ns: int) -> list[Pair[Any]]:
        """Return nothing: ``message_filters`` knows no time-out."""
        return []

    def flush(self, now_ns: int) -> list[Pair[Any]]:
        """Return nothing: what is queued stays unmatched."""
        return []

    def reset(self) -> None:
        """Empty the queues; without this a bag that starts over would never pair again."""
        for queue in self._synchronizer.queues:
            queue.clear()

    @property
    def counts(self) -> PairingCounts:
        """Counts as of :class:`StampPairer`; all that it dropped is called unmatched, since it gives no reason."""
        pending = {s: len(q) for s, q in zip(Sensor, self._synchronizer.queues, strict=True)}
        dropped = {s: {DropReason.UNMATCHED: self._received[s] - self._paired - pending[s]} for s in Sensor}
        return PairingCounts(
            received=dict(self._received),
            paired=self._paired,
            forwarded=dict.fromkeys(Sensor, 0),
            dropped=dropped,
            pending=pending,
        )

    def _on_pair(self, rgb: Any, thermal: Any) -> None:
        self._paired += 1
        rgb_ns, thermal_ns = stamp_ns(rgb.header.stamp), stamp_ns(thermal.header.stamp)
        self._ready.append(Pair(rgb, thermal, thermal_ns - rgb_ns))


def make_pairer(settings: PairingSettings) -> StampPairer[Any] | ApproximatePairer:
    """Return the pairer that ``pairing.policy`` names."""
    return ApproximatePairer(settings) if settings.policy == "message_filters" else StampPairer(settings)
