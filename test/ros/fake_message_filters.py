"""The part of ``message_filters`` that pairs, for tests where no ROS distribution brings it.

Like the real one it refuses stamps that are a slop apart or more, and makes room by letting the smallest stamp go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fusion_ros.ros.messages import stamp_ns


class SimpleFilter:
    """Passes messages on."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[..., None]] = []

    def registerCallback(self, callback: Callable[..., None]) -> None:
        """Add a receiver."""
        self._callbacks.append(callback)

    def signalMessage(self, *messages: Any) -> None:
        """Hand messages to all receivers."""
        for callback in self._callbacks:
            callback(*messages)


class ApproximateTimeSynchronizer(SimpleFilter):
    """Pairs the messages of two filters: each with the nearest that is there."""

    def __init__(self, filters: list[SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__()
        self.queues: list[dict[int, Any]] = [{}, {}]
        self._size, self._slop_ns = queue_size, round(slop * 1e9)
        for index, source in enumerate(filters):
            source.registerCallback(lambda message, index=index: self._add(index, message))

    def _add(self, index: int, message: Any) -> None:
        stamp, mine, others = stamp_ns(message.header.stamp), self.queues[index], self.queues[1 - index]
        mine[stamp] = message
        while len(mine) > self._size:
            del mine[min(mine)]
        if stamp not in mine or not others:
            return
        nearest = min(others, key=lambda other: abs(other - stamp))
        if abs(nearest - stamp) < self._slop_ns:
            pair = {index: mine.pop(stamp), 1 - index: others.pop(nearest)}
            self.signalMessage(pair[0], pair[1])
