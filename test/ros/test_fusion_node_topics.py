"""fusion_node under remapped names: it listens where each rule says, once, and never speaks for a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fusion_ros.errors import SettingsError
from fusion_ros.frame import Sensor

COMPRESSED = {"input.rgb_transport": "compressed", "input.thermal_transport": "compressed"}


@pytest.fixture
def remapped(context) -> Iterator[Callable[..., Any]]:
    """Make an active fusion node, in the namespace /robot, from remapping rules and parameters."""
    from rclpy.parameter import Parameter

    from fusion_ros.nodes.fusion_node import FusionNode

    nodes = []

    def make(*rules: str, configure: bool = True, **parameters: Any) -> Any:
        arguments = ["--ros-args", *(item for rule in rules for item in ("-r", rule))]
        overrides = [Parameter(name, value=value) for name, value in {"model": "average", **parameters}.items()]
        node = FusionNode(namespace="/robot", cli_args=arguments, parameter_overrides=overrides)
        nodes.append(node)
        if configure:
            assert node.trigger_configure().name == "SUCCESS"
            assert node.trigger_activate().name == "SUCCESS"
        return node

    yield make
    for node in nodes:
        node.trigger_shutdown()
        node.destroy_node()


def _subscribed(node: Any) -> set[str]:
    return {s.topic_name for s in node._inputs._subscriptions}


def _published(node: Any, kind: type) -> set[str]:
    return {p.topic_name for p in node.publishers if p.msg_type is kind}


SWAP = ("rgb/image_raw:=/robot/thermal/image_raw", "thermal/image_raw:=/robot/rgb/image_raw")
SWAP_INFO = ("rgb/camera_info:=/robot/thermal/camera_info", "thermal/camera_info:=/robot/rgb/camera_info")
SWAP_COMPRESSED = tuple(rule.replace("image_raw", "image_raw/compressed") for rule in SWAP)


@pytest.mark.parametrize(
    ("rules", "parameters", "suffix"),
    [
        (SWAP, {}, ""),
        ((*SWAP, *SWAP_INFO), {}, ""),
        (SWAP, COMPRESSED, "/compressed"),
        ((*SWAP, *SWAP_COMPRESSED), COMPRESSED, "/compressed"),
    ],
    ids=["images", "images_and_calibrations", "compressed_follows", "compressed_named"],
)
def test_swapped_cameras_stay_swapped(remapped, rules, parameters, suffix):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    node = remapped(*rules, **parameters)
    topics = {sensor: f"/robot/{sensor.other.value}/image_raw{suffix}" for sensor in Sensor}
    assert node._inputs.topics == topics  # as the diagnostics tell it
    infos = {sensor: f"/robot/{sensor.other.value}/camera_info" for sensor in Sensor}
    assert node._inputs.info_topics == infos
    driver, executor = rclpy.create_node("driver"), SingleThreadedExecutor()
    executor.add_node(node)
    image = driver.create_publisher(CompressedImage if suffix else Image, topics[Sensor.RGB], 1)
    info = driver.create_publisher(CameraInfo, infos[Sensor.RGB], 1)
    deadline = time.monotonic() + 15
    while not (node.statistics.counts() and node._inputs.camera_info) and time.monotonic() < deadline:
        image.publish(image.msg_type())
        info.publish(CameraInfo())
        executor.spin_once(timeout_sec=0.05)
    driver.destroy_node()
    executor.shutdown()
    assert {name for name in node.statistics.counts() if name.startswith("received")} == {"received_rgb"}
    assert set(node._inputs.camera_info) == {Sensor.RGB}


def test_a_chain_of_rules_does_not_make_the_node_listen_to_itself(remapped):
    node = remapped("rgb/image_raw:=/robot/fused/image", "fused/image:=/again/image")
    assert "/robot/fused/image" in _subscribed(node)
    assert "/again/image" in _published(node, Image)
    assert not _subscribed(node) & (_published(node, Image) | _published(node, CameraInfo))


@pytest.mark.parametrize(
    ("rules", "topic"),
    [
        (("fused/image:=/camera/image_fused",), "/camera/image_fused/camera_info"),
        (("fused/image:=/fusion/image",), "/fusion/camera_info"),
        (("fused/image:=/boson/fused",), "/boson/fused/camera_info"),
        (("fused/camera_info:=/mine",), "/mine"),
        (("fused/camera_info:=/camera/camera_info",), "/robot/fused/image/camera_info"),
    ],
    ids=["beside_rgb", "elsewhere", "beside_thermal", "named", "named_as_the_cameras"],
)
def test_the_calibration_of_the_fused_image_is_never_on_a_cameras_own_topic(remapped, rules, topic):
    node = remapped("rgb/image_raw:=/camera/image_raw", "thermal/image_raw:=/boson/image_raw", *rules)
    assert _published(node, CameraInfo) == {topic}


def test_a_rule_that_would_rename_a_calibration_found_beside_its_image_is_refused_with_the_way_out(remapped):
    from fusion_ros.ros.topics import camera_info_topic, name_to_create

    node = remapped("rgb/image_raw:=/robot/thermal/image_raw", "thermal/camera_info:=/other", configure=False)
    topic = camera_info_topic(node, "rgb/image_raw", "rgb/camera_info")
    with pytest.raises(SettingsError, match=r"to /other; .* -r rgb/camera_info:=/robot/thermal/camera_info"):
        name_to_create(node, "rgb/camera_info", topic)
