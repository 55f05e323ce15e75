"""tracker_node over real DDS: features and a box in, boxes out."""

from __future__ import annotations

import numpy as np
import pytest
from live_rig import SECOND
from sensor_msgs.msg import Image
from tracker_live import SIZE, STEP, Scene, box_of, boxes_shown

from fusion_ros.imaging import array_from_image
from fusion_ros.ros.messages import header, image_message, stamp_ns
from fusion_ros.tracking import overlap


def test_a_target_is_followed_from_the_initial_box_with_the_stamps_of_the_features(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(10)))
    tracker_rig.describe()
    states = tracker_rig.follow(scene, range(10, 22))
    tracker_rig.until(lambda: len(tracker_rig.shown) >= 12)
    for index, (state, shown) in enumerate(zip(states, tracker_rig.shown[-12:], strict=True)):
        truth = scene.box(10 + index)
        assert state["state"] == state["tracks"][0]["status"] == "tracking"
        assert overlap(box_of(state), truth) > 0.7
        (box,) = boxes_shown(shown)
        assert box == pytest.approx(box_of(state), abs=1e-3)
        assert stamp_ns(shown.header.stamp) == state["stamp_ns"] == SECOND + (index + 1) * STEP
        assert shown.header.frame_id == state["frame_id"] == "rgb_optical_frame"
    assert {state["tracks"][0]["identity"] for state in states} == {1}
    assert states[0]["image_size"] == {"height": SIZE[0], "width": SIZE[1]}


@pytest.mark.parametrize(("modality", "layer"), [("thermal", "infrared"), ("rgb", "visible"), ("fused", "fused")])
def test_the_modality_chooses_the_layer_and_its_topic(tracker_rig, modality, layer):
    scene = Scene()
    tracker_rig.start(modality=modality, initial_box=list(scene.box(5)))
    tracker_rig.describe()
    heard = {name for name, publisher in tracker_rig.features.items() if publisher.get_subscription_count()}
    assert heard == {layer}
    state = tracker_rig.send(scene.values(5), SECOND, layer)
    assert (state["state"], state["modality"]) == ("tracking", modality)


def test_a_box_on_the_init_topic_starts_a_target(tracker_rig):
    scene = Scene()
    tracker_rig.start()
    tracker_rig.describe()
    assert tracker_rig.send(scene.values(20), SECOND)["state"] == "idle"
    tracker_rig.region(scene.box(20))
    state = tracker_rig.send(scene.values(20), SECOND + STEP)
    assert (state["state"], box_of(state)) == ("tracking", scene.box(20))


def test_a_detection_starts_a_target_in_the_features_of_its_stamp_and_one_of_infinity_does_not(tracker_rig):
    messages = pytest.importorskip("vision_msgs.msg", reason="comes with a ROS distribution")
    scene = Scene()
    tracker_rig.start()
    tracker_rig.describe()
    given = tracker_rig.node.create_publisher(messages.Detection2D, "tracker_node/init_detection", 10)
    tracker_rig.until(given.get_subscription_count)
    x, y, width, height = scene.box(20)
    detection = messages.Detection2D(header=header(SECOND + 2 * STEP, "rgb_optical_frame"))
    detection.bbox.center.position.x, detection.bbox.center.position.y = x + (width - 1) / 2, y + (height - 1) / 2
    detection.bbox.size_x, detection.bbox.size_y = width, height
    given.publish(detection)
    tracker_rig.until(lambda: tracker_rig.tracker._targets._requests)
    states = tracker_rig.follow(scene, [20, 20])
    assert [state["state"] for state in states] == ["starting", "tracking"]
    assert box_of(states[1]) == scene.box(20)
    tracker_rig.until(lambda: stamp_ns(tracker_rig.shown[-1].header.stamp) == states[1]["stamp_ns"])
    (shown,) = tracker_rig.shown[-1].detections
    assert (shown.header, shown.bbox, shown.id) == (detection.header, detection.bbox, "1")
    assert [(r.hypothesis.class_id, r.hypothesis.score) for r in shown.results] == [("target", 1.0)]

    detection.bbox.center.theta = np.inf
    given.publish(detection)
    tracker_rig.until(lambda: tracker_rig.tracker._targets._requests)
    state = tracker_rig.follow(scene, [20], first=3)[0]
    assert (state["state"], state["tracks"][0]["identity"]) == ("tracking", 1)
    assert "finite" in state["reason"]


def test_services_start_at_the_initial_box_and_end_it(tracker_rig):
    scene = Scene()
    tracker_rig.start()
    tracker_rig.describe()
    refused = tracker_rig.call("start")
    assert (refused.success, "initial_box" in refused.message) == (False, True)

    tracker_rig.set(initial_box=list(scene.box(8)))
    assert tracker_rig.follow(scene, [8])[0]["state"] == "tracking"
    assert tracker_rig.call("stop").message == "1 target given up"
    state = tracker_rig.follow(scene, [8], first=2)[0]
    assert (state["state"], state["tracks"]) == ("idle", [])
    tracker_rig.until(lambda: stamp_ns(tracker_rig.shown[-1].header.stamp) == state["stamp_ns"])
    assert boxes_shown(tracker_rig.shown[-1]) == []

    assert tracker_rig.call("start").success
    again = tracker_rig.follow(scene, [8], first=3)[0]
    assert (again["state"], again["tracks"][0]["identity"]) == ("tracking", 2)


def test_an_initial_box_given_while_running_takes_the_target_there(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(5)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [5, 6])
    # Integers, as people type them.
    assert tracker_rig.set(initial_box=[100, 40, 30, 20]).successful
    state = tracker_rig.follow(scene, [7], first=3)[0]
    assert [track["identity"] for track in state["tracks"]] == [2]
    assert box_of(state) == (100.0, 40.0, 30.0, 20.0)


def test_two_targets_keep_their_identities_and_a_third_is_refused(tracker_rig):
    scene = Scene()
    other = (160.0, 100.0, 40.0, 40.0)
    tracker_rig.start(max_targets=2, initial_box=list(scene.box(5)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [5])
    tracker_rig.region(other)
    tracker_rig.follow(scene, [6], first=2)
    tracker_rig.region((10, 100, 30, 30))
    states = tracker_rig.follow(scene, [7, 8], first=3)
    assert "max_targets" in states[0]["reason"]
    for state, x in zip(states, (7, 8), strict=True):
        assert [track["identity"] for track in state["tracks"]] == [1, 2]
        assert overlap(box_of(state, 0), scene.box(x)) > 0.7
        assert overlap(box_of(state, 1), other) > 0.7
    assert tracker_rig.call("stop").message == "2 targets given up"


def test_the_picture_is_drawn_for_who_looks_into_the_image_of_the_same_stamp(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(20)))
    tracker_rig.describe()
    tracker_rig.follow(scene, [20])
    assert tracker_rig.images.get_subscription_count() == 0

    pictures: list[Image] = []
    looking = tracker_rig.node.create_subscription(Image, "tracks/image", pictures.append, 10)
    tracker_rig.until(lambda: tracker_rig.images.get_subscription_count())
    grey = np.full((*SIZE, 3), 60, np.uint8)
    for stamp in (SECOND + 2 * STEP, SECOND + 3 * STEP, SECOND + 4 * STEP):
        tracker_rig.images.publish(image_message(grey, "rgb8", header(stamp, "rgb_optical_frame")))
    tracker_rig.follow(scene, [20], first=3)
    tracker_rig.until(lambda: pictures)
    drawn = array_from_image(pictures[0]).astype(int)
    assert stamp_ns(pictures[0].header.stamp) == SECOND + 3 * STEP
    assert pictures[0].header.frame_id == "rgb_optical_frame"
    changed = np.abs(drawn - 60).max(axis=2) > 30
    x, y, width, height = map(int, scene.box(20))
    assert changed[y, x + 2 : x + width - 2].all()
    assert changed[y + 2 : y + height - 2, x].all()
    assert not changed[y + 4 : y + height - 4, x + 4 : x + width - 4].any()

    tracker_rig.node.destroy_subscription(looking)
    tracker_rig.until(lambda: tracker_rig.images.get_subscription_count() == 0)


def test_an_image_of_another_size_than_the_features_is_told_and_not_drawn(tracker_rig):
    scene = Scene()
    tracker_rig.start(initial_box=list(scene.box(20)))
    tracker_rig.describe()
    pictures: list[Image] = []
    tracker_rig.node.create_subscription(Image, "tracks/image", pictures.append, 10)
    tracker_rig.until(lambda: tracker_rig.images.get_subscription_count())
    small = np.zeros((30, 40, 3), np.uint8)
    tracker_rig.images.publish(image_message(small, "rgb8", header(SECOND + STEP, "x")))
    tracker_rig.follow(scene, [20])
    tracker_rig.until(lambda: "expected images of 160 x 240" in tracker_rig.warned("features"))
    assert not pictures


def test_the_life_cycle_can_be_walked_twice(tracker_rig):
    scene = Scene()
    node = tracker_rig.start(autostart=False, initial_box=list(scene.box(6)))
    for lap in (1, 2):
        assert node.trigger_configure().name == "SUCCESS"
        assert node.trigger_activate().name == "SUCCESS"
        tracker_rig.describe()
        state = tracker_rig.send(scene.values(6), lap * SECOND)
        assert [track["identity"] for track in state["tracks"]] == [1]
        assert node.trigger_deactivate().name == "SUCCESS"
        refused = tracker_rig.call("start")
        assert (refused.success, "not active" in refused.message) == (False, True)
        assert node.trigger_cleanup().name == "SUCCESS"
        tracker_rig.until(lambda: not tracker_rig.features["fused"].get_subscription_count())
