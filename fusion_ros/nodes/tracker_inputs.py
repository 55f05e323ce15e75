"""What tracker_node subscribes to: the features of a modality, and boxes to begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import String

from ..errors import ImageError
from ..features import FeatureDescription, LayerDescription
from ..ros import qos
from ..ros.messages import stamp_ns
from ..ros.tracks import box_of_detection, box_of_region, vision_messages
from ..settings import setting
from .tracker_targets import BoxRequest

__all__ = ["LAYERS", "BoxInput", "FeatureInput", "FeatureQos"]

LAYERS = {"fused": "fused", "rgb": "visible", "thermal": "infrared"}
"""The layer in which each modality is looked at."""

_TOPIC = "fused/features"
_LATEST = 1  # what is older than the newest box or description is of no use


@dataclass(frozen=True)
class FeatureQos(qos.QosSettings):
    """Reliability and queue depth, of features in and of tracks out."""

    input_reliability: str = setting(
        "reliable",
        "Reliability of the subscription to features, whose large messages get lost without; best_effort where "
        "they are published so.",
        choices=("best_effort", "reliable"),
        read_only=True,
    )
    input_depth: int = setting(1, "Queue depth of the subscription to features.", bounds=(1, 100), read_only=True)


class FeatureInput:
    """Listens to the description, and to the layer of a modality where the description says it is.

    A layer's topic that is remapped on this node wins over what the description says.

    Args:
        node: The node.
        modality: One of :data:`LAYERS`.
        settings: Reliability and depth of the features.
        on_features: Called with each message of the layer.
        report: Told what is wrong, by its kind.
    """

    def __init__(
        self,
        node: Node,
        modality: str,
        settings: qos.QosSettings,
        on_features: Callable[[Image], None],
        report: Callable[[str, Exception], None],
    ) -> None:
        self._node = node
        self._name = LAYERS[modality]
        self._settings = settings
        self._on_features = on_features
        self._report = report
        self.description: FeatureDescription | None = None
        """The latest one that can be read and has the layer."""
        self.layer: LayerDescription | None = None
        """What it says of the layer."""
        self.topic = ""
        """Where the layer is listened to; empty before the description came."""
        self._features: Subscription | None = None
        self._latched = node.create_subscription(
            String, f"{_TOPIC}/description", self._on_description, qos.latched()
        )
        self.description_topic = self._latched.topic_name
        """Where the description is expected."""

    def _on_description(self, message: String) -> None:
        try:
            description = FeatureDescription.from_json(message.data)
            layer = description.layer(self._name)
        except ImageError as error:
            self._report("description", ImageError(f"{error}; see features.layers and features.model of its node"))
            return
        self.description, self.layer = description, layer
        topic = self._topic_of(layer, is_first=layer is description.layers[0])
        if topic != self.topic:
            self._listen(topic)

    def _topic_of(self, layer: LayerDescription, is_first: bool) -> str:
        own = _TOPIC if is_first else f"{_TOPIC}/{layer.name}"
        resolved = self._node.resolve_topic_name(own)
        return layer.topic if resolved == self._node.resolve_topic_name(own, only_expand=True) else resolved

    def _listen(self, topic: str) -> None:
        if self._features is not None:
            self._node.destroy_subscription(self._features)
        self.topic = topic
        self._features = self._node.create_subscription(
            Image,
            topic,
            self._on_features,
            qos.profile(self._settings.input_reliability, self._settings.input_depth),
            qos_overriding_options=qos.overriding(),
        )

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in (self._features, self._latched):
            if subscription is not None:
                self._node.destroy_subscription(subscription)


class BoxInput:
    """Listens to ``~/init``, and to ``~/init_detection`` where ``vision_msgs`` is installed.

    Args:
        node: The node.
        on_request: Called with each box.
    """

    def __init__(self, node: Node, on_request: Callable[[BoxRequest], None]) -> None:
        self._node = node
        self._on_request = on_request
        self._subscriptions = [
            node.create_subscription(RegionOfInterest, "~/init", self._on_region, QoSProfile(depth=_LATEST))
        ]
        messages = vision_messages()
        if messages is not None:
            self._subscriptions.append(
                node.create_subscription(
                    messages.Detection2D, "~/init_detection", self._on_detection, QoSProfile(depth=_LATEST)
                )
            )

    def _on_region(self, message: RegionOfInterest) -> None:
        self._on_request(BoxRequest(box_of_region(message), "~/init"))

    def _on_detection(self, message: Any) -> None:
        # A message that was typed by hand has stamp 0: it means now.
        stamp = stamp_ns(message.header.stamp) or None
        self._on_request(BoxRequest(box_of_detection(message), "~/init_detection", stamp, message.header.frame_id))

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
