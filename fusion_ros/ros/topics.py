"""Names of topics that belong together."""

from __future__ import annotations

from rclpy.node import Node

from ..errors import SettingsError

__all__ = ["camera_info_topic", "compressed_topic", "name_to_create"]


def camera_info_topic(node: Node, image: str, camera_info: str) -> str:
    """Return the topic of the calibration that belongs to an image topic.

    It is beside the image, as image_transport has it, wherever the image is remapped to; unless
    ``camera_info`` is itself remapped.

    Args:
        node: The node, whose remappings hold.
        image: The node's own name of the image topic, for example ``rgb/image_raw``.
        camera_info: The node's own name of the calibration's topic, for example ``rgb/camera_info``.
    """
    beside = f"{node.resolve_topic_name(image).rpartition('/')[0]}/camera_info"
    return _own_rule(node, camera_info) or beside


def compressed_topic(node: Node, image: str) -> str:
    """Return the topic of the compressed images that belongs to an image topic; arguments as above.

    It follows the image topic wherever that is remapped to, unless it is itself remapped.
    """
    return _own_rule(node, f"{image}/compressed") or f"{node.resolve_topic_name(image)}/compressed"


def name_to_create(node: Node, own: str, topic: str) -> str:
    """Return the name under which to create a subscription or publisher, so that it ends up on a topic.

    rclpy remaps whatever name it is given, also one that has come of a remapping: with two cameras' names
    swapped, that would undo the first rule by the second.

    Args:
        node: The node, whose remappings hold.
        own: The node's own name of the topic.
        topic: The full name that the topic is to have.

    Raises:
        SettingsError: A rule that is meant for another topic would rename this one.
    """
    for name in (own, topic):
        if node.resolve_topic_name(name) == topic:
            return name
    raise SettingsError(
        f"remapping: {own} belongs on {topic}, but another rule renames that to {node.resolve_topic_name(topic)}; "
        f"say where it is to be with a rule of its own, -r {own}:={topic}"
    )


def _own_rule(node: Node, name: str) -> str | None:
    """Return what a name is remapped to; None where no rule changes it."""
    resolved = node.resolve_topic_name(name)
    return None if resolved == node.resolve_topic_name(name, only_expand=True) else resolved
