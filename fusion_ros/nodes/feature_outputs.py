"""The topics of fused features: maps, their description, and a picture of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from ..feature_grid import FeatureGrid
from ..features import FeatureDescription, FeatureExtractor, LayerDescription
from ..features.preview import FeatureColours
from ..features.quantise import Quantiser
from ..fusion_result import FusionResult
from ..ros import qos
from ..ros.messages import header, image_message
from ..spec import FeatureMap

__all__ = ["FeatureOutputs"]

_TOPIC = "fused/features"


class FeatureOutputs:
    """The publishers of the feature maps of one configured node.

    The first layer goes out on ``fused/features``, each other one on ``fused/features/<layer>``.

    Args:
        node: Whose publishers they are.
        publisher: Makes a publisher of images from a topic's name.
        extractor: What gives the maps.
    """

    def __init__(
        self,
        node: LifecycleNode,
        publisher: Callable[[str], LifecyclePublisher],
        extractor: FeatureExtractor,
    ) -> None:
        self._node = node
        self._extractor = extractor
        topics = [_TOPIC, *(f"{_TOPIC}/{item.name}" for item in extractor.maps[1:])]
        self._layers = {item.name: publisher(topic) for item, topic in zip(extractor.maps, topics, strict=True)}
        self._topics = {
            item.name: node.resolve_topic_name(topic) for item, topic in zip(extractor.maps, topics, strict=True)
        }
        self._preview = publisher(f"{_TOPIC}/preview")
        self._description = node.create_lifecycle_publisher(String, f"{_TOPIC}/description", qos.latched())
        self._quantisers = {item.name: Quantiser() for item in extractor.maps}
        self._colours = FeatureColours()
        self._size: tuple[int, int] | None = None
        self._announced = ""

    def wanted(self) -> bool:
        """Return whether a map or the picture has a subscriber."""
        return any(map(_is_heard, (*self._layers.values(), self._preview)))

    def announce(self, encoding: str) -> None:
        """Publish the description, where it is another one than before, to those who listen now or later."""
        text = self._described(encoding).to_json()
        if text != self._announced:
            self._announced = text
            self._description.publish(String(data=text))

    def publish(self, result: FusionResult, encoding: str) -> None:
        """Publish what has a subscriber, after the description by which it is to be read.

        Args:
            result: A result with features; one without publishes nothing.
            encoding: ``32F`` or ``8U``.
        """
        if result.features is None:
            return
        head = header(result.reference.stamp_ns, result.reference.frame_id)
        heard = [name for name, publisher in self._layers.items() if _is_heard(publisher)]
        values = {name: result.features[name].values for name in heard}
        if encoding == "8U":
            values = {
                name: self._quantisers[name](array, result.reference.stamp_ns) for name, array in values.items()
            }
        self._size = result.size
        self.announce(encoding)
        for name, array in values.items():
            self._layers[name].publish(_message(array, encoding, head))
        if _is_heard(self._preview):
            self._publish_preview(next(iter(result.features.values())), head)

    def _publish_preview(self, grid: FeatureGrid, head: Header) -> None:
        self._preview.publish(image_message(self._colours(grid), "rgb8", head))

    def _described(self, encoding: str) -> FeatureDescription:
        extractor = self._extractor
        return FeatureDescription(
            model=extractor.model,
            network=extractor.engine.spec.name,
            weights_sha256=extractor.weights_sha256 or None,
            layers=tuple(self._described_layer(item, encoding) for item in extractor.maps),
        )

    def _described_layer(self, item: FeatureMap, encoding: str) -> LayerDescription:
        return LayerDescription(
            name=item.name,
            topic=self._topics[item.name],
            stride=item.stride,
            channels=item.channels,
            help=item.help,
            encoding=f"{encoding}C{item.channels}",
            image_size=self._size,
            quantisation=self._quantisers[item.name].entries if encoding == "8U" else (),
        )

    def destroy(self) -> None:
        """Free the publishers."""
        for publisher in (*self._layers.values(), self._preview, self._description):
            self._node.destroy_lifecycle_publisher(publisher)


def _is_heard(publisher: LifecyclePublisher) -> bool:
    return publisher.get_subscription_count() > 0


def _message(values: np.ndarray, encoding: str, head: Header) -> Image:
    """Return a map ``(h, w, C)`` as a message; an encoding of one channel has no axis for it."""
    channels = values.shape[2]
    return image_message(values if channels > 1 else values[..., 0], f"{encoding}C{channels}", head)
