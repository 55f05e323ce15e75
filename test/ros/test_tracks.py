"""Targets by their stamps, and tracks as messages: what holds without a running node."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_rig import SECOND
from tracker_live import SIZE, STEP, STRIDE, Scene

from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.nodes import tracker_inputs, tracker_outputs
from fusion_ros.nodes.tracker_targets import BoxRequest, Targets
from fusion_ros.ros import qos, tracks
from fusion_ros.ros.messages import header
from fusion_ros.tracking import Track, TrackerSettings, TrackStatus, overlap


class _Wanted:
    """Targets asked for with stamps, on a scene that stands still."""

    def __init__(self, tolerance_s: float = 1.0) -> None:
        self.told: list[tuple[str, bool]] = []
        self.targets = Targets(TrackerSettings(), 1, tolerance_s, lambda *telling: self.told.append(telling))
        self._grid = FeatureGrid(Scene().values(6), STRIDE, SIZE)

    def ask(self, stamp: int | None, frame_id: str = "rgb") -> None:
        self.targets.request(BoxRequest(Scene.box(6), "~/init_detection", stamp, frame_id))

    def step(self, stamp: int) -> tracks.TracksReport:
        return self.targets.step(self._grid, stamp, "rgb")


def test_a_box_with_a_stamp_waits_for_the_features_at_or_after_it():
    wanted = _Wanted()
    wanted.step(SECOND)
    wanted.ask(SECOND + 3 * STEP)
    assert [wanted.step(SECOND + i * STEP).following.value for i in (1, 2, 3)] == [
        "starting",
        "starting",
        "tracking",
    ]


def test_a_box_of_an_image_a_little_ago_is_used_on_the_next_features():
    wanted = _Wanted()
    wanted.step(SECOND)
    wanted.ask(SECOND - 2 * STEP)
    assert wanted.step(SECOND + STEP).following.value == "tracking"


@pytest.mark.parametrize(("stamp", "word"), [(SECOND, "before"), (9 * SECOND, "after")])
def test_a_box_of_quite_another_time_is_refused(stamp, word):
    wanted = _Wanted()
    wanted.step(5 * SECOND)
    wanted.ask(stamp)
    report = wanted.step(5 * SECOND + STEP)
    assert report.following.value == "idle"
    assert word in report.reason
    assert "box_tolerance_s = 1" in report.reason
    assert wanted.told[-1] == (report.reason, True)


def test_a_box_in_another_cameras_image_is_refused():
    wanted = _Wanted()
    wanted.ask(SECOND, "thermal")
    assert "'thermal'" in wanted.step(SECOND).reason


def test_a_box_that_waits_is_forgotten_with_the_targets():
    wanted = _Wanted()
    wanted.ask(SECOND + STEP)
    wanted.targets.stop()
    assert wanted.step(SECOND + STEP).following.value == "idle"


def test_features_of_another_kind_end_a_lost_target_and_no_other():
    scene, told = Scene(), []
    targets = Targets(TrackerSettings(), 2, 1.0, lambda *telling: told.append(telling))
    other = (160.0, 100.0, 40.0, 40.0)
    for box in (scene.box(6), other):
        targets.request(BoxRequest(box, "~/init"))
    for i in range(8):
        grid = FeatureGrid(scene.values(6, hidden=i > 2), STRIDE, SIZE)
        report = targets.step(grid, SECOND + i * STEP, "rgb")
    assert [track.status.value for track in report.tracks] == ["lost", "tracking"]
    assert report.following.value == "tracking"

    fewer = FeatureGrid(np.ascontiguousarray(grid.values[..., :4]), STRIDE, SIZE)
    report = targets.step(fewer, SECOND + 8 * STEP, "rgb")
    (track,) = report.tracks
    assert (track.identity, track.status.value, track.stamp_ns) == (2, "tracking", SECOND + 8 * STEP)
    assert overlap(track.box, other) > 0.7
    assert "channels" in report.reason
    assert told[-1][1]


def _record(**fields: Callable[[], Any]) -> type:
    """A message class with these fields and no others, each with its default."""

    def __init__(self: Any, **values: Any) -> None:
        for name, default in fields.items():
            setattr(self, name, values.pop(name) if name in values else default())
        assert not values, f"no such field: {values}"

    return type("Record", (), {"__slots__": tuple(fields), "__init__": __init__})


def _vision_msgs() -> SimpleNamespace:
    """The messages of vision_msgs 4, which is not on PyPI, field by field as its definitions have them."""
    point = _record(x=float, y=float)
    pose = _record(position=point, theta=float)
    box = _record(center=pose, size_x=float, size_y=float)
    hypothesis = _record(class_id=str, score=float)
    scored = _record(hypothesis=hypothesis, pose=object)
    detection = _record(header=object, results=list, bbox=box, id=str)
    array = _record(header=object, detections=list)
    return SimpleNamespace(Detection2DArray=array, Detection2D=detection, ObjectHypothesisWithPose=scored)


def test_a_track_becomes_a_detection_with_its_centre_and_back():
    messages, head = _vision_msgs(), header(5 * SECOND, "rgb")
    track = Track(5 * SECOND, 7, TrackStatus.TRACKING, (10.0, 20.0, 5.0, 8.0), 0.75)
    array = tracks.detections_message([track], head, messages)
    (detection,) = array.detections
    assert array.header is detection.header is head
    assert detection.id == "7"
    assert detection.results[0].hypothesis.score == 0.75
    # Columns 10 to 14, rows 20 to 27.
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (12.0, 23.5)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (5.0, 8.0)
    assert tracks.box_of_detection(detection) == track.box
    detection.bbox.center.theta = np.pi / 2
    assert tracks.box_of_detection(detection) == pytest.approx((8.5, 21.5, 8.0, 5.0))
    assert tracks.detections_message([], head, messages).detections == []


@pytest.mark.parametrize("theta", [np.nan, np.inf, -np.inf])
def test_a_detection_turned_by_no_finite_angle_is_refused_as_a_box(theta):
    detection = _vision_msgs().Detection2D(header=header(SECOND, "rgb"))
    detection.bbox.size_x, detection.bbox.size_y, detection.bbox.center.theta = 32.0, 32.0, float(theta)
    wanted = _Wanted()
    wanted.targets.request(BoxRequest(tracks.box_of_detection(detection), "~/init_detection"))
    assert "finite" in wanted.step(SECOND).reason


class _Node:
    """Stands in for a node whose distribution has vision_msgs: notes what is made by topic."""

    def __init__(self) -> None:
        self.made: dict[str, SimpleNamespace] = {}

    def create_lifecycle_publisher(self, kind: type, topic: str, *_: Any, **__: Any) -> SimpleNamespace:
        published: list[Any] = []
        self.made[topic] = SimpleNamespace(kind=kind, publish=published.append, published=published)
        return self.made[topic]

    def create_subscription(self, kind: type, topic: str, callback: Callable[[Any], None], _: Any) -> object:
        self.made[topic] = SimpleNamespace(kind=kind, callback=callback)
        return self.made[topic]


def test_where_vision_msgs_is_installed_tracks_are_detections_and_so_are_initial_boxes(monkeypatch):
    messages, node, asked = _vision_msgs(), _Node(), []
    for module in (tracker_inputs, tracker_outputs):
        monkeypatch.setattr(module, "vision_messages", lambda: messages)
    outputs = tracker_outputs.TrackerOutputs(node, qos.QosSettings(), "fused")
    tracker_inputs.BoxInput(node, asked.append)
    assert set(node.made) == {"tracks", "tracks/state", "~/init", "~/init_detection"}

    track = Track(5 * SECOND, 7, TrackStatus.TRACKING, (10.0, 20.0, 5.0, 8.0), 0.75)
    lost = Track(5 * SECOND, 8, TrackStatus.LOST, (1.0, 1.0, 5.0, 8.0), 0.1)
    outputs.publish(tracks.TracksReport(5 * SECOND, "rgb", tracks.Following.TRACKING, tracks=(track, lost)))
    outputs.publish(tracks.TracksReport(6 * SECOND, "rgb", tracks.Following.LOST, tracks=(lost,)))
    arrays = node.made["tracks"].published
    assert [[detection.id for detection in array.detections] for array in arrays] == [["7"], []]

    node.made["~/init_detection"].callback(arrays[0].detections[0])
    assert asked == [BoxRequest(track.box, "~/init_detection", 5 * SECOND, "rgb")]


def test_of_a_lost_target_no_box_goes_out_but_its_state_does():
    lost = Track(SECOND, 3, TrackStatus.LOST, (1.0, 2.0, 3.0, 4.0), 0.1)
    report = tracks.TracksReport(SECOND, "rgb", tracks.Following.LOST, "gone", (lost,), {3: "gone"}, (10, 20))
    assert report.in_sight == ()
    state = json.loads(tracks.report_message(report, "fused").data)
    assert state["tracks"] == [
        {"identity": 3, "status": "lost", "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0},
         "confidence": 0.1, "reason": "gone"}
    ]  # fmt: skip
