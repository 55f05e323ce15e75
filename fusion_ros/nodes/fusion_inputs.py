"""What fusion_node subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..frame import Sensor
from ..ros import qos
from ..ros.topics import camera_info_topic, compressed_topic, name_to_create
from ..settings import Settings, setting

__all__ = ["FusionInputs", "InputSettings"]

ImageCallback = Callable[[Sensor, Any], None]


@dataclass(frozen=True)
class InputSettings(Settings):
    """How the camera topics are read."""

    rgb_transport: str = setting(
        "raw",
        "Transport of the RGB images; compressed reads the sibling topic <topic>/compressed.",
        choices=("raw", "compressed"),
        read_only=True,
    )
    thermal_transport: str = setting(
        "raw",
        "Transport of the thermal images; compressed reads the sibling topic <topic>/compressed.",
        choices=("raw", "compressed"),
        read_only=True,
    )
    width: int = setting(
        0,
        "Width of the reference images: with height, the engine is compiled at configure; 0: at the first frame.",
        unit="px",
        bounds=(0, 16384),
        read_only=True,
    )
    height: int = setting(
        0, "Height of the reference images; see width.", unit="px", bounds=(0, 16384), read_only=True
    )

    def is_compressed(self, sensor: Sensor) -> bool:
        """Tell whether the images of a camera come compressed."""
        return (self.rgb_transport if sensor is Sensor.RGB else self.thermal_transport) == "compressed"


class FusionInputs:
    """The subscriptions of one active fusion node.

    Args:
        node: The node.
        settings: Transports.
        profile: Reliability and depth of the image subscriptions.
        on_image: Called with each image message.

    Raises:
        SettingsError: The node's remappings contradict each other.
    """

    def __init__(
        self, node: Node, settings: InputSettings, profile: qos.QosSettings, on_image: ImageCallback
    ) -> None:
        self._node = node
        self.camera_info: dict[Sensor, CameraInfo] = {}
        """The latest calibration of each camera that publishes one."""
        self._qos = profile
        self._subscriptions = []
        self.topics: dict[Sensor, str] = {}
        """The image topic of each camera, as it was subscribed to."""
        self.info_topics: dict[Sensor, str] = {}
        """The topic of each camera's calibration, likewise."""
        # All names before the first subscription: a refusal leaves nothing behind.
        names = {s: (self._image_name(s, settings.is_compressed(s)), self._info_name(s)) for s in Sensor}
        for sensor, (image, info) in names.items():
            self._subscribe_image(sensor, image, settings.is_compressed(sensor), on_image)
            self._subscribe_info(sensor, info)

    def _quality(self) -> QoSProfile:
        # A fresh one for each topic: rclpy writes an override of one topic into the profile it was given.
        return qos.profile(self._qos.input_reliability, self._qos.input_depth)

    def _image_name(self, sensor: Sensor, compressed: bool) -> str:
        name = f"{sensor.value}/image_raw"
        if not compressed:
            return name
        return name_to_create(self._node, f"{name}/compressed", compressed_topic(self._node, name))

    def _info_name(self, sensor: Sensor) -> str:
        name = f"{sensor.value}/camera_info"
        topic = camera_info_topic(self._node, f"{sensor.value}/image_raw", name)
        return name_to_create(self._node, name, topic)

    def _subscribe_image(self, sensor: Sensor, name: str, compressed: bool, on_image: ImageCallback) -> None:
        subscription = self._node.create_subscription(
            CompressedImage if compressed else Image,
            name,
            lambda message: on_image(sensor, message),
            self._quality(),
            qos_overriding_options=qos.overriding(),
        )
        self.topics[sensor] = subscription.topic_name
        self._subscriptions.append(subscription)

    def _subscribe_info(self, sensor: Sensor, name: str) -> None:
        def store(message: CameraInfo) -> None:
            self.camera_info[sensor] = message

        subscription = self._node.create_subscription(CameraInfo, name, store, self._quality())
        self.info_topics[sensor] = subscription.topic_name
        self._subscriptions.append(subscription)

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
