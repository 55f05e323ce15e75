"""What fusion_node publishes, and who wants it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64

from ..features import FeatureSettings
from ..frame import Frame, Sensor
from ..geometry.cameras import PinholeCamera
from ..pipeline import FusionPipeline, FusionResult, Mode
from ..ros import qos
from ..ros.messages import camera_info_message, camera_message, header, image_message
from ..ros.topics import camera_info_topic, name_to_create
from .feature_outputs import FeatureOutputs

__all__ = ["FusionOutputs", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """Which outputs are to be computed right now."""

    image: bool
    features: bool
    camera_info: bool
    aligned_thermal: bool
    flow: bool

    @property
    def anything(self) -> bool:
        """Whether there is any work to do."""
        return self.image or self.features or self.camera_info or self.aligned_thermal or self.flow


class FusionOutputs:
    """The publishers of one configured fusion node: of what its pipeline offers.

    Args:
        node: Whose publishers they are.
        settings: Quality of service of the images.
        pipeline: What makes the results; without a model there is no fused image, and no features likewise.

    Raises:
        SettingsError: The node's remappings contradict each other.
    """

    def __init__(self, node: LifecycleNode, settings: qos.QosSettings, pipeline: FusionPipeline) -> None:
        self._node = node
        # Before the first publisher: a refusal leaves nothing behind.
        info = name_to_create(node, "fused/camera_info", _info_topic(node))

        def publisher(topic: str, kind: type = Image) -> LifecyclePublisher:
            # A fresh profile for each: rclpy writes an override of one topic into the one it was given.
            profile = qos.profile(settings.output_reliability, settings.output_depth)
            options = {"qos_overriding_options": qos.overriding()}
            return node.create_lifecycle_publisher(kind, topic, profile, **options)

        self._image = publisher("fused/image") if pipeline.engine is not None else None
        self._features = FeatureOutputs(node, publisher, pipeline.features) if pipeline.features else None
        self._info = publisher(info, CameraInfo)
        self._aligned = publisher("aligned/thermal/image")
        self._flow = publisher("alignment/flow")
        self._debug = {
            name: node.create_lifecycle_publisher(Float64, f"debug/{name}", 10)
            for name in ("processing_time_ms", "pipeline_latency_ms", "pair_offset_ms", "alignment_px")
        }

    def wanted(self, always: bool = False) -> Wanted:
        """Return which outputs have a subscriber; ``always`` counts one for the image and the features."""
        return Wanted(
            image=self._image is not None and (always or self._image.get_subscription_count() > 0),
            features=self._features is not None and (always or self._features.wanted()),
            camera_info=self._info.get_subscription_count() > 0,
            aligned_thermal=self._aligned.get_subscription_count() > 0,
            flow=self._flow.get_subscription_count() > 0,
        )

    def announce(self, settings: FeatureSettings) -> None:
        """Publish what is to be known of the features before the first of them."""
        if self._features is not None:
            self._features.announce(settings.encoding)

    def publish(self, result: FusionResult, thermal: Frame | None, settings: FeatureSettings) -> None:
        """Publish the fused image, the features and the aligned thermal image, as far as the result holds them."""
        head = header(result.reference.stamp_ns, result.reference.frame_id)
        if result.image is not None:
            self._image.publish(image_message(result.image, result.encoding, head))
        if self._features is not None:
            self._features.publish(result, settings.encoding)
        if result.aligned_thermal is not None and thermal is not None:
            self._aligned.publish(image_message(result.aligned_thermal, thermal.encoding, head))

    def publish_flow(self, result: FusionResult) -> None:
        """Publish the fine alignment of a fused pair; zeros where none is known."""
        if result.mode is not Mode.FUSED:
            return
        flow = result.alignment.flow if result.alignment is not None else None
        if flow is None:
            flow = np.zeros((*result.size, 2), np.float32)
        head = header(result.reference.stamp_ns, result.reference.frame_id)
        self._flow.publish(image_message(flow, "32FC2", head))

    def publish_camera_info(
        self, result: FusionResult, info: CameraInfo | None, output: PinholeCamera | None
    ) -> None:
        """Publish the camera that the output is seen by.

        Args:
            info: The reference camera's calibration, which is rescaled to the output; None: there is none.
            output: The output's own camera, where that is another one.

        Raises:
            CalibrationError: ``info`` is no usable calibration.
        """
        head = header(result.reference.stamp_ns, result.reference.frame_id)
        if output is not None:
            self._info.publish(camera_message(output, head))
        elif info is not None:
            self._info.publish(camera_info_message(info, result.size, head))

    def publish_debug(self, result: FusionResult, processing_ms: float, latency_ms: float) -> None:
        """Publish the numbers of one result on ``debug/<name>``."""
        values = {
            "processing_time_ms": processing_ms,
            "pipeline_latency_ms": latency_ms,
            "pair_offset_ms": result.offset_ns / 1e6,
        }
        if result.alignment is not None:
            values["alignment_px"] = result.alignment.mean_px
        for name, value in values.items():
            self._debug[name].publish(Float64(data=value))

    def destroy(self) -> None:
        """Free the publishers."""
        if self._features is not None:
            self._features.destroy()
        for publisher in (self._image, self._info, self._aligned, self._flow, *self._debug.values()):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)


def _info_topic(node: LifecycleNode) -> str:
    """Return where the output's calibration goes: beside the fused image, but never onto a camera's own."""
    topic = camera_info_topic(node, "fused/image", "fused/camera_info")
    cameras = {camera_info_topic(node, f"{s.value}/image_raw", f"{s.value}/camera_info") for s in Sensor}
    if topic not in cameras:
        return topic
    below = f"{node.resolve_topic_name('fused/image')}/camera_info"
    node.get_logger().info(f"{topic} is a camera's own: the calibration of the fused image is on {below}")
    return below
