"""What tracker_node publishes of its targets."""

from __future__ import annotations

from geometry_msgs.msg import PolygonStamped
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from std_msgs.msg import String

from ..ros import qos
from ..ros.messages import header
from ..ros.tracks import TracksReport, detections_message, polygon_message, report_message, vision_messages

__all__ = ["TrackerOutputs"]


class TrackerOutputs:
    """The publishers of one configured tracker node.

    ``tracks/state`` says everything. The targets in sight go out on ``tracks`` where ``vision_msgs`` is installed,
    and on ``tracks/polygon`` where it is not.

    Args:
        node: Whose publishers they are.
        settings: Reliability and depth.
        modality: What the targets are followed in.
    """

    def __init__(self, node: LifecycleNode, settings: qos.QosSettings, modality: str) -> None:
        self._node = node
        self._modality = modality
        self._vision = vision_messages()

        def publisher(kind: type, topic: str) -> LifecyclePublisher:
            # A fresh profile for each: rclpy writes an override of one topic into the one it was given.
            profile = qos.profile(settings.output_reliability, settings.output_depth)
            return node.create_lifecycle_publisher(kind, topic, profile, qos_overriding_options=qos.overriding())

        self._state = publisher(String, "tracks/state")
        if self._vision is not None:
            self._tracks = publisher(self._vision.Detection2DArray, "tracks")
        else:
            self._tracks = publisher(PolygonStamped, "tracks/polygon")
            node.get_logger().info(
                "vision_msgs is not installed: tracks go out on tracks/polygon instead of tracks"
            )

    def publish(self, report: TracksReport) -> None:
        """Publish the targets in sight, or that there are none, and the state of all."""
        head = header(max(report.stamp_ns, 0), report.frame_id)
        if self._vision is not None:
            self._tracks.publish(detections_message(report.in_sight, head, self._vision))
        else:
            for track in report.in_sight or (None,):
                self._tracks.publish(polygon_message(track, head))
        self._state.publish(report_message(report, self._modality))

    def destroy(self) -> None:
        """Free the publishers."""
        for publisher in (self._tracks, self._state):
            self._node.destroy_lifecycle_publisher(publisher)
