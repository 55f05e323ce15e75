"""Fused features over real DDS: from two cameras to a subscriber's array, and what is left undone for nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC
from rclpy.parameter import Parameter
from std_msgs.msg import String

from fusion_ros.cards import ModelCard
from fusion_ros.features import FeatureDescription, as_tensor, decode_features
from fusion_ros.frame import Frame, FramePair
from fusion_ros.imaging import array_from_image
from fusion_ros.networks import build_network
from fusion_ros.nodes import feature_outputs, fusion_node
from fusion_ros.nodes.feature_node import FeatureNode, FeatureNodeSettings
from fusion_ros.pipeline import FusionSettings, open_pipeline
from fusion_ros.ros import qos
from fusion_ros.ros.messages import image_message, stamp_ns
from fusion_ros.weights import install_model

SMALL = {"width": 4, "extraction_stages": 1}
SIZE = (44, 64)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A folder of a small network with maps of strides 2 to 8 and fresh weights."""
    torch.manual_seed(0)
    network = build_network("rfvif", SMALL)
    nothing = {"licence": "", "data": "", "recipe": {}, "commit": "", "seed": 0, "date": "", "hardware": ""}
    card = ModelCard("tiny", "rfvif", 0, "", "", metrics={}, network_settings=SMALL, **nothing)
    return install_model(tmp_path_factory.mktemp("models"), card, network.state_dict())


@pytest.fixture
def features(rig, model, monkeypatch):
    """Starts feature_node on the rig with the small model, unless other parameters are given."""
    monkeypatch.setattr(fusion_node, "FusionNode", FeatureNode)
    chosen = {"features__model": str(model), "features__layers": "fused_1,aligned_2", "engine__name": "torch"}
    return lambda **parameters: rig.start(**{**chosen, **parameters})


def _pair(stamp=SECOND, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*SIZE, 3), np.uint8), rng.integers(0, 256, SIZE, np.uint8), stamp


def _send(rig, rgb, thermal, stamp):
    rig.send(RGB_TOPIC, rgb, "rgb8", stamp)
    rig.send(THERMAL_TOPIC, thermal, "mono8", stamp)


def _expected(model, rgb, thermal, stamp):
    """What the pipeline gives in this process, without ROS."""
    settings = {"model": "none", "features.model": str(model), "engine.name": "torch"}
    pipeline = open_pipeline(FusionSettings.from_mapping(settings))
    pair = FramePair(Frame(rgb, stamp, encoding="rgb8"), Frame(thermal, stamp))
    return pipeline(pair, with_image=False, with_features=True).features


def _descriptions(rig):
    texts = []
    rig.node.create_subscription(
        String, "fused/features/description", lambda m: texts.append(m.data), qos.latched()
    )
    rig.until(lambda: texts)
    return texts


def test_features_reach_a_subscriber_as_the_pipeline_gives_them(rig, features, model):
    node = features()
    assert node.get_name() == "feature_node"
    main, other = rig.listen("fused/features"), rig.listen("fused/features/aligned_2")
    previews = rig.listen("fused/features/preview")
    _send(rig, *_pair(5 * SECOND))
    rig.until(lambda: main and other and previews)
    texts = _descriptions(rig)  # a late subscriber

    expected = _expected(model, *_pair(5 * SECOND))
    described = FeatureDescription.from_json(texts[-1])
    assert (described.model, described.network) == ("tiny", "rfvif")
    assert len(described.weights_sha256) == 64
    for messages, name, stride in ((main, "fused_1", 2), (other, "aligned_2", 4)):
        message = messages[0]
        assert stamp_ns(message.header.stamp) == 5 * SECOND
        assert message.header.frame_id == "rgb_optical_frame"
        assert message.encoding == described.layer(name).encoding == "32FC4"
        grid = decode_features(message, described, name)
        np.testing.assert_array_equal(grid.values, expected[name].values)
        assert (grid.stride, grid.size) == (stride, SIZE)
        assert as_tensor(grid).shape == (1, 4, SIZE[0] // stride, SIZE[1] // stride)
    assert described.layer("fused_1").topic == f"{rig.namespace}/fused/features"
    assert described.layer("aligned_2").topic == f"{rig.namespace}/fused/features/aligned_2"

    preview = previews[0]
    assert (preview.height, preview.width, preview.encoding) == (*SIZE, "rgb8")
    assert np.ptp(array_from_image(preview)) > 100
    assert preview.header == main[0].header
    assert not rig.node.get_publishers_info_by_topic(f"{rig.namespace}/fused/image")


def test_before_the_first_frame_the_description_tells_the_topics(rig, features):
    features()
    described = FeatureDescription.from_json(_descriptions(rig)[0])
    assert [layer.name for layer in described.layers] == ["fused_1", "aligned_2"]
    assert described.layer().image_size is None


def test_eight_bits_are_chosen_while_the_node_runs_and_are_read_by_the_description(rig, features, model):
    node = features()
    main, texts = rig.listen("fused/features"), _descriptions(rig)
    (answer,) = node.set_parameters([Parameter("features.encoding", value="8U")])
    assert answer.successful
    _send(rig, *_pair())
    rig.until(lambda: main)
    assert main[0].encoding == "8UC4"
    rig.until(lambda: "from_stamp_ns" in texts[-1])
    expected = _expected(model, *_pair())["fused_1"].values
    (entry,) = FeatureDescription.from_json(texts[-1]).layer().quantisation
    assert entry.from_stamp_ns == SECOND
    assert np.abs(decode_features(main[0], texts[-1]).values - expected).max() <= 0.501 * entry.scale
    assert entry.scale < np.ptp(expected) / 250


def test_nothing_is_computed_for_nobody_and_only_the_layers_that_are_heard_go_out(rig, features, monkeypatch):
    node = features()
    made = []
    monkeypatch.setattr(
        feature_outputs, "image_message", lambda *values: made.append(values[0].shape) or image_message(*values)
    )
    _send(rig, *_pair(SECOND))
    rig.until(lambda: rig.books().counts.get("idle"))
    assert "features" not in node.statistics.percentiles()
    other = rig.listen("fused/features/aligned_2")
    _send(rig, *_pair(2 * SECOND))
    rig.until(lambda: other)
    assert made == [(SIZE[0] // 4, SIZE[1] // 4, 4)]


def test_the_thermal_image_alone_is_aligned_without_features(rig, features):
    node = features()
    aligned = rig.listen("aligned/thermal/image")
    _send(rig, *_pair())
    rig.until(lambda: aligned)
    assert "features" not in node.statistics.percentiles()


def test_while_the_thermal_camera_repeats_its_image_features_of_the_other_one_go_on(rig, features, model):
    features()
    main = rig.listen("fused/features")
    _, still, _ = _pair()
    images = [_pair(seed=seed)[0] for seed in range(4)]
    for index, rgb in enumerate(images):
        _send(rig, rgb, still, (index + 1) * SECOND)
        rig.until(lambda index=index: len(main) == index + 1)
    texts = _descriptions(rig)
    rig.until(lambda: "thermal has shown the same image for 3.0 s" in rig.levels.get("inputs", (b"", ""))[1])
    assert rig.diagnostics["inputs"]["thermal repeated frames"] == "3"
    assert rig.books().counts["rgb_only"] == 3

    settings = {"model": "none", "features.model": str(model), "engine.name": "torch"}
    pipeline = open_pipeline(FusionSettings.from_mapping(settings))
    for index, (rgb, message) in enumerate(zip(images, main, strict=True)):
        stamp = (index + 1) * SECOND
        pair = FramePair(Frame(rgb, stamp, encoding="rgb8"), None if index else Frame(still, stamp))
        expected = pipeline(pair, with_image=False, with_features=True).features["fused_1"].values
        np.testing.assert_array_equal(decode_features(message, texts[-1]).values, expected)
        assert (stamp_ns(message.header.stamp), message.header.frame_id) == (stamp, "rgb_optical_frame")


def test_fusion_node_gives_image_and_features_and_its_diagnostics_tell_of_both(rig, model):
    rig.start(model="maximum", features__model=str(model), features__layers="fused_3", engine__name="torch")
    fused, main = rig.listen("fused/image"), rig.listen("fused/features")
    _send(rig, *_pair())
    rig.until(lambda: fused and main)
    assert (main[0].height, main[0].width) == (-(-SIZE[0] // 8), SIZE[1] // 8)
    rig.until(lambda: "features p50/p95 [ms]" in rig.diagnostics.get("fusion", {}))
    assert "fused_3" in rig.fusion._description and "tiny" in rig.fusion._description


def test_without_a_model_of_features_there_are_no_topics_of_features(rig):
    rig.start(model="maximum")
    fused = rig.listen("fused/image")
    _send(rig, *_pair())
    rig.until(lambda: fused)
    topics = [name for name, _ in rig.node.get_topic_names_and_types()]
    assert f"{rig.namespace}/fused/image" in topics
    assert not [name for name in topics if name.startswith(f"{rig.namespace}/fused/features")]


def test_a_model_without_maps_fails_to_configure(rig, features):
    node = features(autostart=False, features__model="matching_register", features__layers="")
    assert node.trigger_configure().name == "FAILURE"


def test_feature_node_differs_from_fusion_node_in_its_defaults_alone():
    changed = {"model": "none", "features.model": "fused_features", "repeated": "alone"}
    assert FeatureNodeSettings().flat() == fusion_node.FusionNodeSettings().flat() | changed
