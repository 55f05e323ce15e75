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
        SettingsError: ``message_filters`` is not installed, or something is asked for that it cannot do: a clock
            offset, or forwarding frames that have no partner.
    """

    def __init__(self, settings: PairingSettings) -> None:
        if settings.rgb_offset_ms or settings.thermal_offset_ms:
            raise SettingsError(
                "pairing.policy message_filters takes no clock offsets; set pairing.policy to nearest"
            )
        if settings.unpaired == "forward":
            raise SettingsError(
                "pairing.policy message_filters forwards no frames without a partner; set pairing.policy to "
                "nearest, or pairing.unpaired to drop"
            )
        try:
            import message_filters
        except ImportError:
            raise SettingsError(
                "pairing.policy is message_filters, which is not installed; install the package "
                "message_filters of your ROS distribution, or set pairing.policy to nearest"
            ) from None
        self._filters = {sensor: message_filters.SimpleFilter() for sensor in Sensor}
        self._synchronizer = message_filters.ApproximateTimeSynchronizer(
            [self._filters[Sensor.RGB], self._filters[Sensor.THERMAL]],
            settings.queue_size,
            settings.tolerance_ms / 1e3,
        )
        self._synchronizer.registerCallback(self._on_pair)
        self._ready: list[Pair[Any]] = []
        self._jump_ns = round(settings.jump_back_ms * 1e6)
        self._newest_ns: dict[Sensor, int] = {}
        self._received = dict.fromkeys(Sensor, 0)
        self._reset = dict.fromkeys(Sensor, 0)
        self._paired = 0

    def add(self, sensor: Sensor, item: Any, stamp: int, now_ns: int) -> list[Pair[Any]]:
        """Feed one message; return the pairs that it completed."""
        if self._newest_ns.get(sensor, stamp) - stamp >= self._jump_ns:
            self.reset()
        self._newest_ns[sensor] = max(self._newest_ns.get(sensor, stamp), stamp)
        self._received[sensor] += 1
        self._filters[sensor].signalMessage(item)
        ready, self._ready = self._ready, []
        return ready

    def expire(self, now_ns: int) -> list[Pair[Any]]:
        """Return nothing: ``message_filters`` knows no time-out."""
        return []

    def flush(self, now_ns: int) -> list[Pair[Any]]:
        """Return nothing: what is queued goes unmatched."""
        self._clear()
        return []

    def reset(self) -> None:
        """Empty the queues; without this a bag that starts over would never pair again."""
        for sensor, pending in self._pending().items():
            self._reset[sensor] += pending
        self._newest_ns.clear()
        self._clear()

    @property
    def counts(self) -> PairingCounts:
        """Counts as of :class:`StampPairer`; what it dropped by itself is called unmatched: it gives no reason."""
        pending, reset = self._pending(), self._reset
        unmatched = {s: self._received[s] - self._paired - pending[s] - reset[s] for s in Sensor}
        dropped = {s: {DropReason.UNMATCHED: unmatched[s], DropReason.RESET: reset[s]} for s in Sensor}
        return PairingCounts(
            received=dict(self._received),
            paired=self._paired,
            forwarded=dict.fromkeys(Sensor, 0),
            dropped=dropped,
            pending=pending,
        )

    def _pending(self) -> dict[Sensor, int]:
        return {s: len(q) for s, q in zip(Sensor, self._synchronizer.queues, strict=True)}

    def _clear(self) -> None:
        for queue in self._synchronizer.queues:
            queue.clear()

    def _on_pair(self, rgb: Any, thermal: Any) -> None:
        self._paired += 1
        rgb_ns, thermal_ns = stamp_ns(rgb.header.stamp), stamp_ns(thermal.header.stamp)
        self._ready.append(Pair(rgb, thermal, thermal_ns - rgb_ns))


def make_pairer(settings: PairingSettings) -> StampPairer[Any] | ApproximatePairer:
    """Return the pairer that ``pairing.policy`` names."""
    return ApproximatePairer(settings) if settings.policy == "message_filters" else StampPairer(settings)
