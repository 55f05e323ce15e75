"""Targets that are hidden, gone or in the dark, and found again."""

from __future__ import annotations

import numpy as np
import pytest
from textured_scenes import BOX, SIZE, STRIDE, TENTH_NS, Scene, distance, follow, moved, walk

from fusion_ros.errors import TrackingError
from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.tracking import Tracker, TrackerSettings, TrackStatus

pytestmark = pytest.mark.filterwarnings("error")


def test_behind_something_the_target_moves_on_and_is_found_where_it_comes_out():
    path = walk(34)
    seen = [box if not 12 <= k < 24 else None for k, box in enumerate(path)]
    tracks = follow(Tracker(), Scene(), seen)
    assert tracks[11].status is TrackStatus.TRACKING
    assert tracks[20].status is TrackStatus.LOST
    for k in range(12, 24):
        assert distance(tracks[k], path[k]) < 0.25 * BOX[2]
        assert tracks[k].confidence < TrackerSettings().lost_below
    for k in range(27, 34):
        assert tracks[k].status is TrackStatus.TRACKING
        assert distance(tracks[k], path[k]) < 2.0


def test_a_target_that_leaves_the_image_is_lost_and_found_where_it_comes_back():
    scene, away = Scene(), moved(BOX, -180, 120)
    leaving = [moved(BOX, 14 * k, 0) for k in range(24)]
    tracker = Tracker()
    tracks = follow(tracker, scene, [*leaving, *[None] * 10])
    assert tracks[10].status is TrackStatus.TRACKING
    assert tracks[24].status is TrackStatus.LOST
    assert tracks[-1].box is None  # outside, or nowhere
    back = follow(tracker, scene, [moved(away, 3 * k, 0) for k in range(25)], first=34)
    assert back[-1].status is TrackStatus.TRACKING
    assert distance(back[-1], moved(away, 72, 0)) < 2.0


def test_without_redetection_a_target_that_comes_back_elsewhere_stays_lost():
    tracker = Tracker(TrackerSettings(redetection=False))
    away = [moved(BOX, 200, 100)] * 25
    tracks = follow(tracker, Scene(), [BOX, BOX, *[None] * 10, *away])
    assert tracks[-1].status is TrackStatus.LOST


def test_a_target_that_is_gone_is_not_found_in_anything_else():
    tracks = follow(Tracker(), Scene(), [*walk(8), *[None] * 60])
    assert all(track.status is TrackStatus.LOST for track in tracks[12:])
    assert tracks[-1].box is None


def _unusable(kind: str) -> np.ndarray:
    values = np.zeros((SIZE[0] // STRIDE, SIZE[1] // STRIDE, 6), np.float32)
    if kind == "constant":
        values += 0.37
    elif kind == "nearly constant":
        values += 0.37 + 1e-5 * np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    elif kind == "one nan":
        values[3, 4, 5] = np.nan
    elif kind == "infinite":
        values[:] = -np.inf
    elif kind == "huge":
        values[:] = np.random.default_rng(0).normal(size=values.shape) * 1e37
    return values


UNUSABLE = ("zero", "constant", "nearly constant", "one nan", "infinite", "huge")


@pytest.mark.parametrize("kind", UNUSABLE)
def test_in_the_dark_a_target_is_lost_and_nothing_is_learned(kind):
    scene, tracker, path = Scene(), Tracker(), walk(30, 1.0, 0.5)
    follow(tracker, scene, path[:10])
    dark = FeatureGrid(_unusable(kind), STRIDE, SIZE)
    tracks = [tracker.update(dark, k * TENTH_NS) for k in range(10, 20)]
    assert tracks[-1].status is TrackStatus.LOST
    assert max(track.confidence for track in tracks) < 0.1
    found = follow(tracker, scene, path[20:], first=20)[-1]
    assert found.status is TrackStatus.TRACKING
    assert distance(found, path[-1]) < 1.0
    assert found.confidence > 0.9


@pytest.mark.parametrize("kind", [*UNUSABLE[:5]])
def test_a_target_cannot_be_started_in_the_dark(kind):
    with pytest.raises(TrackingError, match="expected"):
        Tracker().start(FeatureGrid(_unusable(kind), STRIDE, SIZE), BOX, 0)


def test_after_a_gap_a_target_is_looked_for_all_around():
    scene, tracker, path = Scene(), Tracker(), walk(10, 1.0, 0.0)
    follow(tracker, scene, path)
    away = moved(path[-1], -95.0, 70.0)  # further than one look reaches
    track = tracker.update(scene.grid(away), 35 * TENTH_NS)
    assert track.status is TrackStatus.TRACKING
    assert distance(track, away) < 2.0
