"""fusion_node over real DDS: what comes in, what goes out, and whose stamp it bears."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Float64
from std_srvs.srv import SetBool

from fusion_ros.errors import SettingsError
from fusion_ros.imaging import array_from_image, compressed_data
from fusion_ros.ros.messages import header, stamp_ns


def test_a_pair_becomes_one_colour_image_on_the_rgb_grid_with_the_rgb_stamp(rig):
    rig.start()
    fused = rig.listen("fused/image")
    rig.send_pair(5 * SECOND, size=(48, 64), offset_ns=4_000_000)
    rig.until(lambda: fused)
    message = fused[0]
    assert (message.height, message.width, message.encoding) == (48, 64, "bgr8")
    assert stamp_ns(message.header.stamp) == 5 * SECOND
    assert message.header.frame_id == "rgb_optical_frame"


def test_the_fused_image_is_the_networks_own_answer(rig):
    """Through conversion, pairing and DDS nothing is changed: the same as calling the pipeline."""
    from fusion_ros.frame import Frame, FramePair
    from fusion_ros.pipeline import open_pipeline

    rig.start()
    fused = rig.listen("fused/image")
    rng = np.random.default_rng(3)
    rgb, thermal = rng.integers(0, 256, (40, 56, 3), np.uint8), rng.integers(0, 256, (40, 56), np.uint8)
    rig.send(RGB_TOPIC, rgb, "bgr8", SECOND)
    rig.send(THERMAL_TOPIC, thermal, "mono8", SECOND)
    rig.until(lambda: fused)
    expected = open_pipeline()(FramePair(Frame(rgb, SECOND), Frame(thermal, SECOND))).image
    np.testing.assert_array_equal(array_from_image(fused[0]), expected)


def test_one_parameter_chooses_another_method(rig):
    rig.start(model="maximum", output__color=False)
    fused = rig.listen("fused/image")
    rng = np.random.default_rng(3)
    visible, thermal = rng.integers(0, 256, (2, 40, 56), np.uint8)
    rig.send(RGB_TOPIC, visible, "mono8", SECOND)
    rig.send(THERMAL_TOPIC, thermal, "mono8", SECOND)
    rig.until(lambda: fused)
    np.testing.assert_array_equal(array_from_image(fused[0]), np.maximum(visible, thermal))


def test_without_colour_the_output_is_mono8(rig):
    rig.start(output__color=False)
    fused = rig.listen("fused/image")
    rig.send_pair(SECOND)
    rig.until(lambda: fused)
    assert fused[0].encoding == "mono8"


def test_aligned_thermal_keeps_the_counts_and_the_encoding(rig):
    rig.start()
    aligned = rig.listen("aligned/thermal/image")
    rig.send(RGB_TOPIC, np.zeros((48, 64, 3), np.uint8), "rgb8", SECOND)
    rig.send(THERMAL_TOPIC, np.full((24, 32), 30_000, np.uint16), "16UC1", SECOND)
    rig.until(lambda: aligned)
    assert (aligned[0].height, aligned[0].width, aligned[0].encoding) == (48, 64, "16UC1")
    assert np.unique(array_from_image(aligned[0])).tolist() == [30_000]


def test_camera_info_follows_the_scale_of_the_output(rig):
    rig.start(output__scale=0.5)
    infos = rig.listen("fused/camera_info", CameraInfo)
    fused = rig.listen("fused/image")
    k = [100.0, 0.0, 31.5, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0]
    info = CameraInfo(header=header(0, "rgb_optical_frame"), height=48, width=64, distortion_model="plumb_bob")
    info.k, info.d = k, [0.0] * 5
    rig.until(lambda: rig.infos.get_subscription_count())
    rig.infos.publish(info)
    rig.spin(0.2)
    rig.send_pair(SECOND)
    rig.until(lambda: infos and fused)
    assert (infos[0].height, infos[0].width) == (fused[0].height, fused[0].width) == (24, 32)
    # Pixel centres are at integers: the image's centre (31.5, 23.5) of 64 x 48 is (15.5, 11.5) of 32 x 24.
    np.testing.assert_allclose(infos[0].k, [50, 0, 15.5, 0, 50, 11.5, 0, 0, 1])
    assert infos[0].header == fused[0].header


def test_camera_info_is_found_beside_a_remapped_image(context):
    import rclpy

    from fusion_ros.ros.topics import camera_info_topic

    def topic(*rules):
        arguments = ["--ros-args", *(item for rule in rules for item in ("-r", rule))]
        node = rclpy.create_node("probe", namespace="/robot", cli_args=arguments)
        found = camera_info_topic(node, "rgb/image_raw", "rgb/camera_info")
        node.destroy_node()
        return found

    assert topic() == "/robot/rgb/camera_info"
    assert topic("rgb/image_raw:=/camera/color/image") == "/camera/color/camera_info"
    assert topic("rgb/image_raw:=/camera/image", "rgb/camera_info:=/calibration") == "/calibration"


def test_an_override_of_one_topics_quality_leaves_the_others_alone(rig):
    from rclpy.qos import ReliabilityPolicy

    name = f"qos_overrides.{rig.namespace}/rgb/image_raw.subscription.reliability"
    node = rig.start(qos__input_reliability="best_effort", **{name: "reliable"})
    policies = {s.topic_name: s.qos_profile.reliability for s in node.subscriptions}
    assert policies[f"{rig.namespace}/rgb/image_raw"] == ReliabilityPolicy.RELIABLE
    assert policies[f"{rig.namespace}/thermal/image_raw"] == ReliabilityPolicy.BEST_EFFORT
    assert policies[f"{rig.namespace}/rgb/camera_info"] == ReliabilityPolicy.BEST_EFFORT


def test_thermal_as_the_reference_turns_everything_round(rig):
    rig.start(reference="thermal")
    fused = rig.listen("fused/image")
    rig.send(RGB_TOPIC, np.zeros((48, 64, 3), np.uint8), "rgb8", SECOND)
    rig.send(THERMAL_TOPIC, np.zeros((24, 32), np.uint8), "mono8", SECOND + 1_000_000)
    rig.until(lambda: fused)
    assert (fused[0].height, fused[0].width) == (24, 32)
    assert stamp_ns(fused[0].header.stamp) == SECOND + 1_000_000
    assert fused[0].header.frame_id == "thermal_optical_frame"


def test_nothing_is_computed_while_nobody_listens(rig):
    rig.start()
    for i in range(3):
        rig.send_pair((i + 1) * SECOND)
        rig.until(lambda i=i: rig.books().counts.get("idle", 0) == i + 1)
    assert "fused" not in rig.books().counts
    rig.until(lambda: rig.diagnostics.get("fusion", {}).get("mode") == "idle: no subscribers")
    assert rig.levels["fusion"][0] == b"\x00"


def test_compressed_cameras_are_read(rig):
    rig.start(input__rgb_transport="compressed", input__thermal_transport="compressed")
    fused = rig.listen("fused/image")
    topics = {
        t: rig.node.create_publisher(CompressedImage, f"{t}/compressed", 10) for t in (RGB_TOPIC, THERMAL_TOPIC)
    }
    rig.until(lambda: all(p.get_subscription_count() for p in topics.values()))
    rgb, thermal = np.full((48, 64, 3), 90, np.uint8), np.full((48, 64), 25_000, np.uint16)
    for topic, pixels in ((RGB_TOPIC, rgb), (THERMAL_TOPIC, thermal)):
        message = CompressedImage(header=header(SECOND, ""), format="png")
        message.data.frombytes(compressed_data(pixels, "png"))
        topics[topic].publish(message)
    rig.until(lambda: fused)
    assert (fused[0].height, fused[0].width, fused[0].encoding) == (48, 64, "bgr8")


def test_debug_topics_tell_times_and_offset(rig):
    rig.start()
    rig.listen("fused/image")
    offsets = rig.listen("debug/pair_offset_ms", Float64)
    processing = rig.listen("debug/processing_time_ms", Float64)
    rig.send_pair(SECOND, offset_ns=-7_000_000)
    rig.until(lambda: offsets and processing)
    assert offsets[0].data == -7.0
    assert 0 < processing[0].data < 60_000


def test_the_enable_service_pauses_and_resumes(rig):
    rig.start()
    fused = rig.listen("fused/image")
    client = rig.node.create_client(SetBool, f"{rig.fusion.get_fully_qualified_name()}/enable")
    rig.until(client.service_is_ready)

    def call(value: bool) -> SetBool.Response:
        future = client.call_async(SetBool.Request(data=value))
        rig.until(future.done)
        return future.result()

    assert call(False).success
    rig.send_pair(SECOND)
    rig.until(lambda: rig.books().counts.get("disabled_thermal") == 1)
    assert call(True).success
    rig.send_pair(2 * SECOND)
    rig.until(lambda: fused)
    assert [stamp_ns(m.header.stamp) for m in fused] == [2 * SECOND]


def test_the_life_cycle_can_be_walked_twice(rig):
    node = rig.start(autostart=False)
    fused = rig.listen("fused/image")
    for lap in (1, 2):
        assert node.trigger_configure().name == "SUCCESS"
        assert node.trigger_activate().name == "SUCCESS"
        rig.until(lambda: all(p.get_subscription_count() for p in rig.publishers.values()))
        rig.until(lambda: node._outputs.wanted().image)
        rig.send_pair(lap * SECOND)
        rig.until(lambda lap=lap: len(fused) == lap)
        assert node.trigger_deactivate().name == "SUCCESS"
        assert node.trigger_cleanup().name == "SUCCESS"
    assert not node._inputs


def test_parameters_change_while_it_runs_and_bad_ones_are_refused_with_the_reason(rig):
    from rclpy.parameter import Parameter

    node = rig.start()
    fused = rig.listen("fused/image")
    (good,) = node.set_parameters([Parameter("output.color", value=False)])
    assert good.successful
    (fixed,) = node.set_parameters([Parameter("model", value="other")])
    assert not fixed.successful
    assert "fixed while the node is configured" in fixed.reason
    (outside,) = node.set_parameters([Parameter("pairing.tolerance_ms", value=-5.0)])
    assert not outside.successful
    rig.send_pair(SECOND)
    rig.until(lambda: fused)
    assert fused[0].encoding == "mono8"


def test_a_new_tolerance_keeps_the_books(rig):
    from rclpy.parameter import Parameter

    node = rig.start()
    fused = rig.listen("fused/image")
    rig.send_pair(SECOND)
    rig.until(lambda: len(fused) == 1)
    assert node.set_parameters([Parameter("pairing.tolerance_ms", value=5.0)])[0].successful
    rig.send_pair(2 * SECOND, offset_ns=10_000_000)
    rig.until(lambda: sum(sum(r.values()) for r in rig.books().pairing.dropped.values()) == 2)
    pairing = rig.books().pairing
    assert pairing.paired == 1
    assert set(pairing.received.values()) == {2}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pairing__tolerance_ms": -1.0}, "pairing.tolerance_ms: expected 0 to 1000 ms, got -1.0"),
        ({"pairing__tolerence_ms": 5.0}, "did you mean 'pairing.tolerance_ms'"),
        ({"reference": "depth"}, "expected one of rgb, thermal"),
        ({"output__scale": 1}, "floating-point"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused_at_start(context, parameters, message):
    from rclpy.parameter import Parameter

    from fusion_ros.nodes.fusion_node import FusionNode

    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
    with pytest.raises(SettingsError, match=message):
        FusionNode(parameter_overrides=overrides)


def test_every_number_is_bounded_and_every_parameter_described():
    from fusion_ros.nodes.fusion_node import FusionNodeSettings
    from fusion_ros.nodes.synthetic_camera_node import SyntheticCameraSettings

    for leaf in (FusionNodeSettings.describe() | SyntheticCameraSettings.describe()).values():
        assert leaf.help, leaf.name
        assert leaf.type in (bool, str) or leaf.bounds is not None, leaf.name


def test_every_parameter_is_described(rig):
    node = rig.start(autostart=False)
    names = [name for name in node._parameters if name != "use_sim_time" and not name.startswith("start_type")]
    assert len(names) > 25
    for descriptor in node.describe_parameters(names):
        assert descriptor.description, descriptor.name


@pytest.mark.skipif(
    importlib.util.find_spec("message_filters") is None,
    reason="needs message_filters, which comes with a ROS distribution and not from PyPI",
)
def test_message_filters_pairs_where_it_is_asked_for(rig):
    rig.start(pairing__policy="message_filters", pairing__tolerance_ms=30.0)
    fused = rig.listen("fused/image")
    for i in (1, 2, 3):
        rig.send_pair(i * SECOND, offset_ns=5_000_000)
        rig.until(lambda i=i: len(fused) == i)
    rig.send_pair(4 * SECOND, offset_ns=90_000_000)
    rig.until(lambda: rig.books().counts["received_thermal"] == 4)
    pairing = rig.books().pairing
    assert pairing.paired == 3
    for sensor, received in pairing.received.items():
        assert received == 3 + sum(pairing.dropped[sensor].values()) + pairing.pending[sensor] == 4


@pytest.mark.skipif(
    importlib.util.find_spec("message_filters") is not None,
    reason="tells what happens where message_filters is absent",
)
def test_message_filters_where_it_is_absent_is_refused_with_the_way_out(rig):
    from fusion_ros.ros.synchroniser import make_pairer
    from fusion_ros.timing import PairingSettings

    with pytest.raises(SettingsError, match=r"set pairing\.policy to nearest"):
        make_pairer(PairingSettings(policy="message_filters"))
    node = rig.start(autostart=False, pairing__policy="message_filters")
    assert node.trigger_configure().name == "FAILURE"
