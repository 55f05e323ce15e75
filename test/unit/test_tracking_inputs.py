"""What a tracker is given: boxes, stamps, maps that change, and several targets at once."""

from __future__ import annotations

import math

import pytest
from textured_scenes import BOX, TENTH_NS, Scene, distance, follow, moved, walk

from fusion_ros.errors import TrackingError
from fusion_ros.tracking import Track, Tracker, Trackers, TrackStatus, overlap

pytestmark = pytest.mark.filterwarnings("error")


def test_the_same_stamp_is_the_same_frame():
    scene, tracker = Scene(), Tracker()
    follow(tracker, scene, walk(5))
    track = tracker.update(scene.grid(walk(6)[5]), 5 * TENTH_NS)
    assert tracker.update(scene.grid(), 5 * TENTH_NS) is track


def test_a_jump_back_in_time_forgets_the_velocity_and_not_the_target():
    scene, tracker, path = Scene(), Tracker(), walk(12, 8.0, 0.0)
    follow(tracker, scene, path)
    for k in range(6):
        track = tracker.update(scene.grid(path[-1]), k * TENTH_NS)
        assert track.status is TrackStatus.TRACKING
        assert distance(track, path[-1]) < 1.0


def test_on_an_image_of_another_size_it_starts_over_with_the_box_scaled():
    small, tracker = Scene(), Tracker()
    follow(tracker, small, walk(5, 1.0, 0.0))
    double = Scene(size=(640, 960), box=(0, 0, 96, 128))
    box = (2 * 204.0, 2 * 120.0, 96.0, 128.0)
    track = tracker.update(double.grid(box), 5 * TENTH_NS)
    assert track.status is TrackStatus.TRACKING
    assert overlap(track.box, box) > 0.95
    track = tracker.update(double.grid(moved(box, 6, 4)), 6 * TENTH_NS)
    assert distance(track, moved(box, 6, 4)) < 3.0


def test_on_other_channels_it_starts_over():
    tracker = Tracker()
    follow(tracker, Scene(6), walk(5, 1.0, 0.0))
    other = Scene(9)
    assert tracker.update(other.grid(moved(BOX, 4, 0)), 5 * TENTH_NS).status is TrackStatus.TRACKING
    assert distance(tracker.update(other.grid(moved(BOX, 8, 4)), 6 * TENTH_NS), moved(BOX, 8, 4)) < 2.0


@pytest.mark.parametrize("other", [Scene(size=(320, 320)), Scene(size=(640, 480))], ids=["square", "upright"])
def test_on_an_image_of_another_shape_the_target_is_refused_and_forgotten(other):
    tracker = Tracker()
    follow(tracker, Scene(), walk(3))
    with pytest.raises(TrackingError, match="start again"):
        tracker.update(other.grid(), 3 * TENTH_NS)
    assert tracker.status is TrackStatus.IDLE


def test_a_lost_target_cannot_be_learned_anew_on_other_channels():
    tracker = Tracker()
    follow(tracker, Scene(), [*walk(5), *[None] * 6])
    with pytest.raises(TrackingError, match="expected 6 channels"):
        tracker.update(Scene(9).grid(), 20 * TENTH_NS)
    assert tracker.status is TrackStatus.IDLE


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((100, 100, 0, 20), "above 0"),
        ((100, 100, 20, -3), "above 0"),
        ((math.nan, 100, 20, 20), "finite"),
        ((100, 100, math.inf, 20), "finite"),
        ((700, 100, 20, 20), "at least half"),
        ((-60, 100, 100, 20), "at least half"),
        ((1, 2, 3), "four numbers"),
        ("abcd", "four numbers"),
        (None, "four numbers"),
    ],
)
def test_a_box_that_marks_no_target_is_refused_and_the_old_target_kept(box, said):
    tracker, scene = Tracker(), Scene()
    follow(tracker, scene, walk(3))
    with pytest.raises(TrackingError, match=said):
        tracker.start(scene.grid(BOX), box, 3 * TENTH_NS)
    assert tracker.update(scene.grid(walk(4)[3]), 3 * TENTH_NS).status is TrackStatus.TRACKING


def test_a_box_partly_outside_is_cut_to_the_image():
    track = Tracker().start(Scene().grid((-10, 290, 40, 40)), (-10, 290, 40, 40), 0)
    assert track.box == (0.0, 290.0, 30.0, 30.0)


def test_before_a_start_and_after_a_stop_it_is_idle():
    tracker, scene = Tracker(identity=7), Scene()
    idle = Track(5, 7, TrackStatus.IDLE, None, 0.0)
    assert tracker.update(scene.grid(), 5) == idle
    tracker.start(scene.grid(BOX), BOX, 5)
    tracker.stop()
    assert tracker.update(scene.grid(), 5) == idle


def test_several_targets_keep_their_identities():
    scene, trackers = Scene(), Trackers(most=2)
    boxes = [BOX, moved(BOX, 150, 60)]
    identities = [trackers.start(scene.grid(*boxes), box, 0) for box in boxes]
    assert trackers.identities == (1, 2) == tuple(identities)
    for k in range(1, 12):
        now = [moved(boxes[0], 4 * k, k), moved(boxes[1], -3 * k, -2 * k)]
        tracks = trackers.update(scene.grid(*now), k * TENTH_NS)
        assert [track.identity for track in tracks] == identities
        assert all(distance(track, box) < 1.0 for track, box in zip(tracks, now, strict=True))


def test_targets_beyond_the_limit_and_unknown_ones_are_refused():
    scene, trackers = Scene(), Trackers(most=1)
    trackers.start(scene.grid(BOX), BOX, 0)
    with pytest.raises(TrackingError, match="at most 1"):
        trackers.start(scene.grid(BOX), BOX, 0)
    with pytest.raises(TrackingError, match=r"\(1\), got 2"):
        trackers.stop(2)
    trackers.stop(1)
    assert trackers.start(scene.grid(BOX), BOX, 0) == 2
    with pytest.raises(TrackingError, match="at least 1"):
        Trackers(most=0)


def test_a_target_that_cannot_be_followed_on_takes_no_other_with_it():
    scene, trackers = Scene(), Trackers()
    gone = moved(BOX, 160, 60)
    for box in (BOX, gone):
        trackers.start(scene.grid(BOX, gone), box, 0)
    for k in range(1, 5):
        trackers.update(scene.grid(BOX), k * TENTH_NS)  # the second one is lost
    other = Scene(9)
    with pytest.raises(TrackingError, match="target 2"):
        trackers.update(other.grid(BOX), 5 * TENTH_NS)
    assert trackers.identities == (1,)
    (track,) = trackers.update(other.grid(moved(BOX, 4, 2)), 6 * TENTH_NS)
    assert distance(track, moved(BOX, 4, 2)) < 2.0
