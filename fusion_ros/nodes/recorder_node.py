"""recorder_node: writes live topics into a bag, as the serialised bytes that arrive.

The bag is opened by whoever makes the node: this module knows no bag format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.node import Node

from ..errors import SettingsError
from ..ros import parameters, qos
from ..ros.messages import begins_with_header, message_class
from ..settings import Settings, setting
from .timeline import Timeline

__all__ = ["BagSink", "RecorderNode", "RecorderSettings"]


class BagSink(Protocol):
    """A bag that is being written."""

    def write_cdr(self, topic: str, type_name: str, cdr: bytes, receive_ns: int) -> None:
        """Append one serialised message."""
        ...


@dataclass(frozen=True)
class RecorderSettings(Settings):
    """Parameters of recorder_node."""

    topics: tuple[str, ...] = setting(
        ("fused/image:sensor_msgs/msg/Image",), "Topics to record, each as topic:type.", read_only=True
    )
    reliability: str = setting(
        "reliable", "Reliability of the subscriptions.", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(30, "Queue depth of the subscriptions.", bounds=(1, 1000), read_only=True)
    timeline: str = setting("", "CSV file that logs when each message was received.", read_only=True)


class RecorderNode(Node):
    """Subscribes without deserialising and appends to a bag.

    Args:
        open_sink: Called with this node; returns the bag to write into. The node does not close it.
    """

    def __init__(self, open_sink: Callable[[Node], BagSink], settings_class: type[RecorderSettings]) -> None:
        super().__init__("recorder_node")
        self.settings = parameters.declare(self, settings_class)
        self._sink = open_sink(self)
        self._timeline = Timeline(self.settings.timeline)
        self._written = 0
        profile = qos.profile(self.settings.reliability, self.settings.depth)
        for entry in self.settings.topics:
            topic, separator, type_name = entry.rpartition(":")
            if not separator:
                raise SettingsError(f"topics: expected topic:type, got {entry!r}")
            self._subscribe(self.resolve_topic_name(topic), type_name, profile)
        self.get_logger().info(f"recording {len(self.settings.topics)} topics")

    def _subscribe(self, topic: str, type_name: str, profile: Any) -> None:
        kind = message_class(type_name)
        stamped = begins_with_header(kind)

        def record(cdr: bytes) -> None:
            if stamped:
                self._timeline.note(topic, cdr)
            self._sink.write_cdr(topic, type_name, cdr, self.get_clock().now().nanoseconds)
            self._written += 1

        self.create_subscription(kind, topic, record, profile, raw=True)

    def close(self) -> None:
        """Say how much was written and close the timeline."""
        self.get_logger().info(f"recorded {self._written} messages")
        self._timeline.close()
