"""The synthetic truth against OpenCV's projection and plane geometry done by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fusion_ros.frame import Sensor
from fusion_ros.synthetic import SyntheticWorld, Truth, WorldSettings

SMALL = {"rgb_width": 320, "rgb_height": 240, "thermal_width": 160, "thermal_height": 128}
SCENE_S = 5.0


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(WorldSettings(baseline_m=0.12, **SMALL))


@pytest.fixture(scope="module")
def truth(world: SyntheticWorld) -> Truth:
    return world.truth(SCENE_S)


def opencv_flow(world: SyntheticWorld, depth: np.ndarray) -> np.ndarray:
    """Where the thermal camera sees each RGB pixel at a known depth, by OpenCV alone."""
    rgb, thermal = world.rig.rgb, world.rig.thermal
    rays = rgb.rays(rgb.pixel_grid()).reshape(-1, 3)
    pixels, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), rgb.matrix, np.array(rgb.distortion))
    np.testing.assert_allclose(pixels.reshape(*depth.shape, 2), rgb.pixel_grid(), atol=1e-4)
    points = rays * depth.reshape(-1, 1).astype(np.float64)
    pose = world.rig.thermal_from_rgb
    rotation, _ = cv2.Rodrigues(pose[:3, :3])
    projected, _ = cv2.projectPoints(points, rotation, pose[:3, 3], thermal.matrix, np.array(thermal.distortion))
    return projected.reshape(*depth.shape, 2)


def test_flow_agrees_with_opencv_at_the_true_depth(world: SyntheticWorld, truth: Truth) -> None:
    seen = np.isfinite(truth.thermal_from_rgb).all(axis=-1)
    assert seen.mean() > 0.6
    error = np.abs(truth.thermal_from_rgb - opencv_flow(world, truth.depth))[seen]
    assert error.max() < 0.01


def test_depth_of_the_ground_follows_from_the_height_of_the_camera(world: SyntheticWorld, truth: Truth) -> None:
    ground = (truth.labels == 0) & (truth.depth < 8)
    pose = world._camera_from_world(Sensor.RGB, SCENE_S)
    rays = world.rig.rgb.rays(world.rig.rgb.pixel_grid()) @ pose[:3, :3]
    camera_height = -(-pose[:3, :3].T @ pose[:3, 3])[1]
    expected = camera_height / rays[..., 1]  # where the ray meets y = 0
    lower = np.zeros_like(ground)
    lower[180:, 60:200] = True
    assert (ground & lower).sum() > 1000
    np.testing.assert_allclose(truth.depth[ground & lower], expected[ground & lower], rtol=1e-4)


def test_there_and_back_again_arrives_at_the_same_pixel(truth: Truth) -> None:
    forward, back = truth.thermal_from_rgb, truth.rgb_from_thermal
    x, y = forward[..., 0].astype(np.float32), forward[..., 1].astype(np.float32)
    returned = cv2.remap(
        back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(np.nan, np.nan)
    )
    depth_there = cv2.remap(truth.thermal_depth, x, y, cv2.INTER_LINEAR)
    spread = cv2.dilate(truth.thermal_depth, np.ones((5, 5))) / cv2.erode(truth.thermal_depth, np.ones((5, 5)))
    smooth = cv2.remap(spread.astype(np.float32), x, y, cv2.INTER_NEAREST) < 1.25
    usable = np.isfinite(returned).all(axis=-1) & smooth & np.isfinite(depth_there)
    height, width = truth.depth.shape
    rows, columns = np.mgrid[:height, :width]
    error = np.hypot(returned[..., 0] - columns, returned[..., 1] - rows)[usable]
    assert usable.mean() > 0.4
    assert np.percentile(error, 99.5) < 0.1


def test_parallax_falls_with_distance(world: SyntheticWorld, truth: Truth) -> None:
    at_infinity = opencv_flow(world, np.full(truth.depth.shape, 1e7))
    parallax = np.linalg.norm(truth.thermal_from_rgb - at_infinity, axis=-1)
    seen = np.isfinite(parallax)
    bands = [
        parallax[seen & (truth.depth > low) & (truth.depth < high)].mean()
        for low, high in ((3, 5), (8, 12), (25, 60))
    ]
    assert bands[0] > 1.8 * bands[1] > 1.8 * 1.8 * bands[2]
    focal, baseline = world.rig.thermal.fx, np.linalg.norm(world.rig.rgb_from_thermal[:3, 3])
    assert bands[1] == pytest.approx(focal * baseline / 10, rel=0.25)


def test_boxes_bound_their_masks_and_masks_are_the_labels(truth: Truth) -> None:
    visible = [target for target in truth.targets if target.rgb.box is not None]
    assert {"person", "car"} <= {target.kind for target in visible}
    for target in visible:
        np.testing.assert_array_equal(target.rgb.mask, truth.labels == target.identity)
        x, y, width, height = map(int, target.rgb.box)
        inside = target.rgb.mask[y : y + height, x : x + width]
        assert inside.sum() == target.rgb.mask.sum()
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_a_person_is_as_tall_in_the_image_as_the_distance_demands(world: SyntheticWorld, truth: Truth) -> None:
    for person in truth.targets:
        if person.kind == "person" and person.rgb.visibility > 0.97:
            assert person.rgb.box[3] == pytest.approx(world.rig.rgb.fy * 1.77 / person.depth_m, rel=0.1, abs=2)


def test_visibility_drops_when_someone_walks_behind_something(world: SyntheticWorld) -> None:
    hidden = []
    for time_s in np.arange(0.0, 12.0, 1.0):
        for target in world.truth(float(time_s)).targets:
            x, _, width, _ = target.rgb.box or (0.0, 0.0, 0.0, 0.0)
            if 0.0 < target.rgb.visibility < 0.6 and x > 2 and x + width < 318:
                hidden.append((target, time_s))
    assert hidden, "nobody was ever occluded in 12 s"
    for target, time_s in hidden:
        full = world.rig.rgb.fy * (1.77 if target.kind == "person" else 1.45) / target.depth_m
        assert target.rgb.mask.sum() < 0.6 * full * full * 3.5, time_s


def test_visibility_counts_what_the_image_edge_cuts_off() -> None:
    world = SyntheticWorld(WorldSettings(camera_motion="still", cars=4, people=0, **SMALL))
    shares = []
    for time_s in np.arange(11.0, 15.0, 0.25):
        for car in world.truth(float(time_s)).targets:
            if car.rgb.box is not None and car.rgb.box[0] == 0 and car.rgb.visibility < 0.9:
                shares.append(car.rgb.visibility)
    assert shares and min(shares) < 0.4


def test_occluded_points_have_no_flow() -> None:
    world = SyntheticWorld(WorldSettings(baseline_m=0.5, **SMALL))
    truth = world.truth(SCENE_S)
    flow = opencv_flow(world, truth.depth)
    inside = (flow > 0).all(axis=-1) & (flow[..., 0] < 159) & (flow[..., 1] < 127)
    x, y = np.moveaxis(np.where(inside[..., None], flow, 0).round().astype(int), -1, 0)
    nearer = inside & (truth.thermal_depth[y, x] < 0.7 * truth.depth)
    lost = np.isnan(truth.thermal_from_rgb).any(axis=-1)
    assert nearer.sum() > 100
    assert lost[nearer].mean() > 0.7  # the rest lies within a pixel of the occluder's edge
    assert lost[inside & ~nearer].mean() < 0.02


def test_flow_between_two_times_follows_the_camera_and_the_targets(world: SyntheticWorld, truth: Truth) -> None:
    later = world.truth(SCENE_S, SCENE_S + 0.4)
    person = max((t for t in later.targets if t.kind == "person"), key=lambda t: t.rgb.mask.sum())

    def share_that_lands_on_the_person(flow: np.ndarray) -> float:
        arrived = flow[person.rgb.mask]
        arrived = arrived[np.isfinite(arrived).all(axis=-1)].round().astype(int)
        labels = later.thermal_labels[arrived[:, 1].clip(0, 127), arrived[:, 0].clip(0, 159)]
        return float((labels == person.identity).mean())

    following = share_that_lands_on_the_person(later.thermal_from_rgb)
    assert following > 0.6  # limbs swing against the body
    assert following > share_that_lands_on_the_person(truth.thermal_from_rgb) + 0.2
