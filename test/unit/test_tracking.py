"""Following targets in random textures, where everything is known exactly, and a real one."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from textured_scenes import BOX, SIZE, STRIDE, TENTH_NS, Scene, distance, follow, moved, scaled, walk

from fusion_ros.alignment.structure import structural_features
from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.tracking import Tracker, TrackerSettings, TrackStatus, overlap

FILLS_ITS_BOX = TrackerSettings(core_width=1.0, core_height=1.0)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_patch_that_moves_by_parts_of_cells_is_followed_to_0_15_of_a_cell(seed):
    path = [moved(BOX, 60 * math.sin(k / 9), 40 * math.sin(k / 5 + 1) - 33.7) for k in range(40)]
    tracks = follow(Tracker(FILLS_ITS_BOX), Scene(seed=seed), path)
    assert all(track.status is TrackStatus.TRACKING for track in tracks)
    assert max(distance(track, box) for track, box in zip(tracks, path, strict=True)) < 0.15 * STRIDE


@pytest.mark.parametrize("rate", [1.015, 1 / 1.015])
def test_a_patch_that_scales_is_followed_to_5_percent(rate):
    path = [scaled(moved(BOX, 2 * k, k), rate**k, rate**k) for k in range(36)]
    tracks = follow(Tracker(), Scene(), path)
    for track, box in zip(tracks, path, strict=True):
        assert math.sqrt(track.box[2] * track.box[3]) == pytest.approx(math.sqrt(box[2] * box[3]), rel=0.05)


def test_without_scales_the_size_stays():
    path = [scaled(BOX, 1.01**k, 1.01**k) for k in range(10)]
    last = follow(Tracker(TrackerSettings(scales=1)), Scene(), path)[-1]
    assert last.box[2:] == pytest.approx(BOX[2:])


def test_of_two_that_look_alike_the_one_that_was_meant_is_followed():
    scene, tracker, other = Scene(), Tracker(), moved(BOX, 90, 0)
    path = walk(30, 2.0, 1.0)
    tracker.start(scene.grid(path[0], other), path[0], 0)
    tracks = [
        tracker.update(scene.grid(box, moved(other, 2 * k, k)), k * TENTH_NS) for k, box in enumerate(path[1:], 1)
    ]
    assert max(distance(track, box) for track, box in zip(tracks, path[1:], strict=True)) < 2.0


@pytest.mark.parametrize("gain", [1000.0, 1e-6, -1.0])
def test_the_scale_of_the_features_does_not_matter(gain):
    scene, path = Scene(), walk(12)
    tracker, other = Tracker(), Tracker()
    tracker.start(scene.grid(path[0]), path[0], 0)
    other.start(scene.grid(path[0], gain=gain), path[0], 0)
    for k, box in enumerate(path[1:], 1):
        track = tracker.update(scene.grid(box), k * TENTH_NS)
        same = other.update(scene.grid(box, gain=gain), k * TENTH_NS)
        assert same.box == pytest.approx(track.box, abs=0.02)
        assert same.confidence == pytest.approx(track.confidence, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 256])
def test_any_number_of_channels_will_do(channels):
    scene = Scene(channels, size=(200, 240), box=(80, 60, 32, 40))
    path = walk(8, 3.0, 2.0, (80.0, 60.0, 32.0, 40.0))
    last = follow(Tracker(FILLS_ITS_BOX), scene, path)[-1]
    assert last.status is TrackStatus.TRACKING
    assert distance(last, path[-1]) < 1.0


def test_channels_without_contents_do_no_harm():
    scene, path = Scene(), walk(12)
    tracker = Tracker(FILLS_ITS_BOX)
    for k, box in enumerate(path):
        values = scene.grid(box).values.copy()
        values[:, :, 0], values[:, :, 3] = 0.0, 1e4
        grid = FeatureGrid(values, STRIDE, SIZE)
        track = tracker.update(grid, k * TENTH_NS) if k else tracker.start(grid, box, 0)
    assert distance(track, path[-1]) < 1.0


@pytest.mark.parametrize("box", [(200, 120, 7, 6), (201, 122, 4, 9), (150, 100, 6, 60)])
def test_targets_of_one_or_two_cells_are_followed(box):
    scene, path = Scene(channels=16, box=box), walk(20, 2.3, 1.1, box)
    tracks = follow(Tracker(FILLS_ITS_BOX), scene, path)
    assert all(track.status is TrackStatus.TRACKING for track in tracks)
    assert max(distance(track, at) for track, at in zip(tracks, path, strict=True)) < 3.0


def test_a_target_as_large_as_the_image_is_followed():
    box = (60.0, 40.0, 360.0, 240.0)
    scene, path = Scene(box=box), walk(8, 4.0, 2.0, (60.0, 40.0, 360.0, 240.0))
    assert overlap(follow(Tracker(), scene, path)[-1].box, path[-1]) > 0.85


def test_uneven_stamps_are_times_and_not_frames():
    times_s = np.cumsum([0.0, *np.random.default_rng(0).choice([0.02, 0.1, 0.4], 25)])
    scene, tracker = Scene(), Tracker(FILLS_ITS_BOX)
    for time in times_s:
        box = moved(BOX, 25 * time, 12 * time)
        grid, stamp = scene.grid(box), int(time * 1e9)
        track = tracker.update(grid, stamp) if time else tracker.start(grid, box, stamp)
        assert track.status is TrackStatus.TRACKING
        assert distance(track, box) < 1.0


def test_the_same_frames_give_the_same_tracks():
    path = [*walk(10), *[None] * 8, *walk(6)]
    assert follow(Tracker(), Scene(), path) == follow(Tracker(), Scene(), path)


@pytest.mark.parametrize("camera", ["rgb", "thermal"])
def test_a_runner_in_real_frames_is_followed_far_better_than_by_a_box_that_stays(shared, camera):
    folder = shared / "data" / "sequences" / "m3svd_1230_1202"
    truth = np.loadtxt(folder / "groundtruth.txt", delimiter=",")[::2]
    video = cv2.VideoCapture(str(folder / f"{camera}.mp4"))
    tracker, overlaps = Tracker(), []
    for index, *box in truth:
        image = video.read()[1]
        video.read()
        features = structural_features(image[:, :, 1].astype(np.float32) / 255)
        cells = features.reshape(9, image.shape[0] // STRIDE, STRIDE, -1, STRIDE).mean(axis=(2, 4))
        grid = FeatureGrid(np.ascontiguousarray(cells.transpose(1, 2, 0)), STRIDE, image.shape[:2])
        stamp = int(index / 30 * 1e9)
        track = tracker.update(grid, stamp) if index else tracker.start(grid, tuple(box), stamp)
        overlaps.append(overlap(track.box, tuple(box)))
    still = np.mean([overlap(tuple(truth[0, 1:]), tuple(box)) for box in truth[:, 1:]])
    assert min(overlaps) > 0.5
    assert np.mean(overlaps) > 0.7 > 2 * still
