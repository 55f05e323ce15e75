"""What fusion_node publishes, and who wants it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64

from ..frame import Frame
from ..geometry.cameras import PinholeCamera
from ..pipeline import FusionResult, Mode
from ..ros import qos
from ..ros.messages import camera_info_message, camera_message, header, image_message
from ..ros.topics import camera_info_topic

__all__ = ["FusionOutputs", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """Which outputs have a subscriber right now."""

    image: bool
    camera_info: bool
    aligned_thermal: bool
    flow: bool

    @property
    def anything(self) -> bool:
        """Whether there is any work to do."""
        return self.image or self.camera_info or self.aligned_thermal or self.flow


class FusionOutputs:
    """The publishers of one configured fusion node."""

    def __init__(self, node: LifecycleNode, settings: qos.QosSettings) -> None:
        self._node = node

        def publisher(kind: type, topic: str) -> LifecyclePublisher:
            # A fresh profile for each: rclpy writes an override of one topic into the one it was given.
            profile = qos.profile(settings.output_reliability, settings.output_depth)
            options = {"qos_overriding_options": qos.overriding()}
            return node.create_lifecycle_publisher(kind, topic, profile, **options)

        self._image = publisher(Image, "fused/image")
        self._info = publisher(CameraInfo, camera_info_topic(node, "fused/image", "fused/camera_info"))
        self._aligned = publisher(Image, "aligned/thermal/image")
        self._flow = publisher(Image, "alignment/flow")
        self._debug = {
            name: node.create_lifecycle_publisher(Float64, f"debug/{name}", 10)
            for name in ("processing_time_ms", "pipeline_latency_ms", "pair_offset_ms", "alignment_px")
        }

    def wanted(self) -> Wanted:
        """Return which outputs have a subscriber."""
        publishers = (self._image, self._info, self._aligned, self._flow)
        return Wanted(*(publisher.get_subscription_count() > 0 for publisher in publishers))

    def publish_images(self, result: FusionResult, thermal: Frame | None) -> None:
        """Publish the fused image and the aligned thermal image, as far as the result holds them."""
        head = header(result.reference.stamp_ns, result.reference.frame_id)
        if result.image is not None:
            self._image.publish(image_message(result.image, result.encoding, head))
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
        for publisher in (self._image, self._info, self._aligned, self._flow, *self._debug.values()):
            self._node.destroy_lifecycle_publisher(publisher)
