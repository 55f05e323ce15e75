"""Names of topics that belong together."""

from __future__ import annotations

from rclpy.node import Node

__all__ = ["camera_info_topic"]


def camera_info_topic(node: Node, image: str, camera_info: str) -> str:
    """Return the topic of the calibration that belongs to an image topic.

    It is beside the image, as image_transport has it, wherever the image is remapped to; unless
    ``camera_info`` is itself remapped.

    Args:
        node: The node, whose remappings hold.
        image: The node's own name of the image topic, for example ``rgb/image_raw``.
        camera_info: The node's own name of the calibration's topic, for example ``rgb/camera_info``.
    """
    resolved = node.resolve_topic_name(camera_info)
    if resolved != node.resolve_topic_name(camera_info, only_expand=True):
        return resolved
    return f"{node.resolve_topic_name(image).rpartition('/')[0]}/camera_info"
