"""tracker_node when things go wrong: it goes on, publishes that there is no target, and says why."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from live_rig import SECOND
from std_msgs.msg import String
from tracker_live import CHANNELS, SIZE, STEP, STRIDE, Scene, box_of, boxes_shown

from fusion_ros.errors import SettingsError
from fusion_ros.features import FeatureDescription, LayerDescription
from fusion_ros.nodes.tracker_node import TrackerNodeSettings
from fusion_ros.ros.messages import header, image_message, stamp_ns
from fusion_ros.tracking import overlap


def test_a_layer_that_is_not_offered_is_named(tracker_rig):
    tracker_rig.start(modality="thermal", camera_timeout_s=0.2)
    layers = (LayerDescription("fused", "/x", STRIDE, CHANNELS, "A map.", "32FC6", SIZE),)
    tracker_rig.described.publish(String(data=FeatureDescription("m", "n", None, layers).to_json()))
    tracker_rig.until(lambda: "no layer 'infrared'" in tracker_rig.warned("features"))
    assert "features.layers" in tracker_rig.warned("features")


@pytest.mark.parametrize("box", [[1.0, 2.0, 3.0], [1.0, 2.0, 0.0, 5.0], [1.0, 2.0, 5.0, -1.0], ["a"], [1e9] * 4])
def test_what_is_no_box_is_refused_as_a_parameter(tracker_rig, box):
    tracker_rig.start()
    result = tracker_rig.set(initial_box=box)
    assert not result.successful
    assert "initial_box" in result.reason
    with pytest.raises(SettingsError, match="initial_box"):
        TrackerNodeSettings.from_mapping({"initial_box": box})


@pytest.mark.parametrize(
    ("box", "why"),
    [((600, 10, 30, 30), "inside the image"), ((10, 10, 0, 30), "above 0"), ((0, 0, 0, 0), "above 0")],
)
def test_a_box_that_marks_nothing_is_refused_and_the_target_stays(tracker_rig, box, why):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(5)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [5])
    tracker_rig.region(box)
    state = tracker_rig.follow(scene, [6], first=2)[0]
    assert state["reason"].startswith("~/init: box:")
    assert why in state["reason"]
    assert (state["state"], state["tracks"][0]["identity"]) == ("tracking", 1)
    assert overlap(box_of(state), scene.box(6)) > 0.7
    tracker_rig.until(lambda: tracker_rig.told("tracking", "targets refused") == "1")


def test_silence_is_broken_by_a_track_without_a_target_and_the_reason(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(5)), camera_timeout_s=0.3)
    tracker_rig.until(lambda: tracker_rig.states)
    assert tracker_rig.states[0]["state"] == "waiting"
    assert f"{tracker_rig.namespace}/fused/features/description" in tracker_rig.states[0]["reason"]

    tracker_rig.describe()
    tracker_rig.send(scene.values(5), SECOND)
    tracker_rig.until(lambda: sum(state["state"] == "no_features" for state in tracker_rig.states) >= 2)
    tracker_rig.until(lambda: stamp_ns(tracker_rig.shown[-1].header.stamp) > SECOND + STEP)
    state = next(state for state in tracker_rig.states if state["state"] == "no_features")
    assert f"on {tracker_rig.namespace}/fused/features:" in state["reason"]
    assert "qos.input_reliability" in state["reason"]
    assert [(t["status"], t["box"], t["confidence"]) for t in state["tracks"]] == [("lost", None, 0.0)]
    # In the features' own time: so long after the last of them.
    assert SECOND + 0.2e9 < state["stamp_ns"] < SECOND + 5e9
    assert (state["frame_id"], boxes_shown(tracker_rig.shown[-1])) == ("rgb_optical_frame", [])
    tracker_rig.until(lambda: "no features" in tracker_rig.warned("features"))

    back = tracker_rig.send(scene.values(5), SECOND + 10 * STEP)
    assert back["state"] == "tracking"
    assert overlap(box_of(back), scene.box(5)) > 0.7


def test_darkness_is_a_loss_with_its_reason_and_the_target_is_found_again(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(8)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [8, 9, 10, 11])
    dark = np.zeros_like(scene.ground)
    states = [tracker_rig.send(dark, SECOND + (5 + i) * STEP) for i in range(6)]
    assert states[-1]["state"] == states[-1]["tracks"][0]["status"] == "lost"
    assert "the same everywhere" in states[-1]["reason"]
    tracker_rig.until(lambda: stamp_ns(tracker_rig.shown[-1].header.stamp) == states[-1]["stamp_ns"])
    assert boxes_shown(tracker_rig.shown[-1]) == []

    light = tracker_rig.follow(scene, [12] * 12, first=11)
    assert light[-1]["state"] == "tracking"
    assert overlap(box_of(light[-1]), scene.box(12)) > 0.7
    assert light[-1]["reason"] == ""
    tracker_rig.until(lambda: tracker_rig.told("tracking", "targets found again") == "1")
    assert tracker_rig.told("tracking", "targets lost") == "1"


def test_features_of_nan_are_no_crash(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(8)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [8, 9])
    states = [tracker_rig.send(np.full_like(scene.ground, np.nan), SECOND + (3 + i) * STEP) for i in range(6)]
    assert states[-1]["state"] == "lost"
    assert "NaN" in states[-1]["reason"]


def test_a_looped_bag_keeps_the_target_and_finds_it_where_the_bag_begins(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.describe()
    tracker_rig.follow(scene, range(6, 30, 2))
    again = tracker_rig.follow(scene, [6] * 15, first=1)  # far from where it was seen last
    assert [track["identity"] for track in again[-1]["tracks"]] == [1]
    assert again[-1]["state"] == "tracking"
    assert overlap(box_of(again[-1]), scene.box(6)) > 0.7
    tracker_rig.until(lambda: tracker_rig.told("tracking", "targets time jumps") == "1")


def test_images_of_another_size_are_no_crash_and_their_state_is_told(tracker_rig):
    scene, half = Scene(), Scene(size=(SIZE[0] // 2, SIZE[1] // 2))
    tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [6, 7])
    tracker_rig.describe(half.size)
    state = tracker_rig.send(half.ground, SECOND + 3 * STEP)
    assert state["image_size"] == {"height": half.size[0], "width": half.size[1]}
    assert state["state"] in ("tracking", "lost", "idle")
    tracker_rig.region((20, 20, 30, 30))
    assert tracker_rig.send(half.ground, SECOND + 4 * STEP)["state"] == "tracking"


def test_a_message_that_cannot_be_read_is_an_empty_track_and_a_count(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [6])
    state = tracker_rig.send(np.zeros((40, 60, 3), np.float32), SECOND + 2 * STEP)
    assert state["state"] == "no_features"
    assert "32FC3" in state["reason"]
    assert state["tracks"][0]["box"] is None
    assert tracker_rig.follow(scene, [6], first=3)[0]["state"] == "tracking"
    tracker_rig.until(lambda: tracker_rig.told("features", "unreadable") == "1")
    assert tracker_rig.levels["features"][0] == b"\x01"


def test_a_description_that_is_none_is_told_and_a_good_one_is_taken(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.described.publish(String(data="{}"))
    tracker_rig.until(lambda: "version" in tracker_rig.warned("features"))
    tracker_rig.describe()
    assert tracker_rig.follow(scene, [6])[0]["state"] == "tracking"


def test_features_that_come_faster_than_they_are_followed_are_overwritten_by_the_newest(tracker_rig, monkeypatch):
    scene = Scene()
    node = tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [6])
    gate, step = threading.Event(), node._targets.step

    def slow(*arguments: Any) -> Any:
        gate.wait(10.0)
        return step(*arguments)

    monkeypatch.setattr(node._targets, "step", slow)
    for i in range(2, 6):
        message = image_message(scene.values(6), f"32FC{CHANNELS}", header(SECOND + i * STEP, ""))
        tracker_rig.features["fused"].publish(message)
        tracker_rig.until(lambda i=i: node.statistics.counts()["received"] == i)
    gate.set()
    tracker_rig.until(lambda: tracker_rig.states[-1]["stamp_ns"] == SECOND + 5 * STEP)
    counts = node.statistics.counts()
    assert counts["received"] == counts["tracked"] + counts["overwritten"]
    assert counts["overwritten"] >= 2


def test_diagnostics_tell_rate_time_state_and_confidence(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(6)))
    tracker_rig.describe()
    tracker_rig.follow(scene, range(6, 12))
    tracker_rig.until(lambda: tracker_rig.told("tracking", "tracked") == "6")
    features, tracking = tracker_rig.diagnostics["features"], tracker_rig.diagnostics["tracking"]
    assert features["topic"] == f"{tracker_rig.namespace}/fused/features"
    assert features["received"] == "6"
    assert float(features["rate [Hz]"]) > 0
    assert features["model"] == "tiny"
    assert tracking["state"] == "tracking"
    assert tracking["target 1"].startswith("tracking, confidence")
    assert float(tracking["update p50/p95 [ms]"].split(" / ")[0]) > 0
    assert (tracking["targets started"], tracking["targets lost"]) == ("1", "0")
    assert tracker_rig.levels["tracking"] == (b"\x00", "tracking")


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"modality": "infrared"}, "modality"),
        ({"initial_box": [1.0, 2.0]}, "initial_box"),
        ({"tracker__scale": 3}, "unknown parameter"),
    ],
)
def test_parameters_that_cannot_be_are_refused_at_start(tracker_rig, parameters, why):
    with pytest.raises(SettingsError, match=why):
        tracker_rig.start(**parameters)
