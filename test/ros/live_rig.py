"""Two cameras and a listener around one fusion node, all in the test process."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

RGB_TOPIC, THERMAL_TOPIC = "rgb/image_raw", "thermal/image_raw"
SECOND = 1_000_000_000


class LiveRig:
    """Two cameras and a listener around one fusion node, in one executor of the test's own."""

    def __init__(self, namespace: str) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CameraInfo, Image

        self.namespace = namespace
        self.node = rclpy.create_node("rig", namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.fusion: Any = None
        self.publishers = {
            topic: self.node.create_publisher(Image, topic, 10) for topic in (RGB_TOPIC, THERMAL_TOPIC)
        }
        self.infos = self.node.create_publisher(CameraInfo, "rgb/camera_info", 10)
        self.received: dict[str, list[Any]] = {}
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.levels: dict[str, tuple[bytes, str]] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            name, _, concern = status.name.rpartition(": ")
            if name == self.fusion.get_fully_qualified_name():
                self.diagnostics[concern] = {pair.key: pair.value for pair in status.values}
                self.levels[concern] = (status.level, status.message)

    def start(self, autostart: bool = True, **parameters: Any) -> Any:
        """Make the fusion node with parameters whose dots are written as double underscores."""
        from rclpy.parameter import Parameter

        from fusion_ros.nodes.fusion_node import FusionNode

        values = {"diagnostics_period_s": 0.1, "pairing.timeout_ms": 100.0, "qos.input_reliability": "reliable"}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.fusion = FusionNode(namespace=self.namespace, parameter_overrides=overrides)
        self.executor.add_node(self.fusion)
        if autostart:
            assert self.fusion.trigger_configure().name == "SUCCESS"
            assert self.fusion.trigger_activate().name == "SUCCESS"
            transports = {RGB_TOPIC: "rgb_transport", THERMAL_TOPIC: "thermal_transport"}
            raw = [t for t, name in transports.items() if getattr(self.fusion.settings.input, name) == "raw"]
            self.until(lambda: all(self.publishers[topic].get_subscription_count() for topic in raw))
        return self.fusion

    def listen(self, topic: str, kind: Any = None) -> list[Any]:
        """Subscribe to an output; return the list that fills."""
        from sensor_msgs.msg import Image

        messages = self.received.setdefault(topic, [])
        self.node.create_subscription(kind or Image, topic, messages.append, 10)
        if self.fusion is not None:
            self.until(lambda: self.fusion.count_subscribers(f"{self.namespace}/{topic}") > 0)
        return messages

    def send(
        self, topic: str, pixels: np.ndarray, encoding: str, stamp_ns: int, spoil: dict[str, Any] | None = None
    ) -> None:
        """Publish one image; ``spoil`` overwrites fields of the message."""
        from fusion_ros.ros.messages import header, image_message

        message = image_message(pixels, encoding, header(stamp_ns, f"{topic.split('/')[0]}_optical_frame"))
        for name, value in (spoil or {}).items():
            setattr(message, name, value)
        self.publishers[topic].publish(message)

    def send_pair(self, stamp_ns: int, size: tuple[int, int] = (48, 64), offset_ns: int = 0) -> None:
        """Publish a matching pair of random images."""
        rng = np.random.default_rng(stamp_ns)
        self.send(RGB_TOPIC, rng.integers(0, 256, (*size, 3), np.uint8), "rgb8", stamp_ns)
        self.send(THERMAL_TOPIC, rng.integers(0, 256, size, np.uint8), "mono8", stamp_ns + offset_ns)

    def until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Spin until ``condition`` holds; fail when it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        """Spin for a while, for what must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def books(self) -> SimpleNamespace:
        """Return the node's counters as of now."""
        counts = self.fusion.statistics.counts()
        return SimpleNamespace(counts=counts, pairing=self.fusion._pairing_counts())

    def close(self) -> None:
        """Take everything down."""
        if self.fusion is not None:
            self.fusion.trigger_shutdown()
            self.fusion.destroy_node()
        self.node.destroy_node()
        self.executor.shutdown()
