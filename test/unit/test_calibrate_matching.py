"""Matching a rig's cameras without a board: exact truth, real pairs, and scenes that tell nothing."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from fusion_ros.alignment.matching import MatchingSettings, RigView, ViewChooser, match_rig
from fusion_ros.alignment.matching.fitting import apply_homography, fit_transform
from fusion_ros.alignment.matching.views import lack_of_structure
from fusion_ros.alignment.targetless import fit_rotation
from fusion_ros.errors import AlignmentError, CalibrationError, SettingsError
from fusion_ros.geometry.cameras import PinholeCamera, Rig
from fusion_ros.media import read_image

RGB_SIZE, THERMAL_SIZE = (360, 480), (192, 240)
NARROW = MatchingSettings(rotation_deg=4.0, narrowest_view=0.65, widest_view=0.8)  # a short search


def placed(share: float, angle_deg: float, shift: tuple[float, float], tilt: tuple[float, float]) -> np.ndarray:
    """A homography that puts the middle of the thermal image ``shift`` beside the middle of the RGB image."""
    scale, angle = share * RGB_SIZE[1] / THERMAL_SIZE[1], math.radians(angle_deg)
    turn = np.diag([scale, scale, 1.0])
    turn[:2, :2] = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([[1, 0, -(THERMAL_SIZE[1] - 1) / 2], [0, 1, -(THERMAL_SIZE[0] - 1) / 2], [0, 0, 1.0]])
    turn[2, :2] = tilt
    there = np.eye(3)
    there[:2, 2] = (RGB_SIZE[1] - 1) / 2 + shift[0], (RGB_SIZE[0] - 1) / 2 + shift[1]
    matrix = there @ turn @ middle
    return matrix / matrix[2, 2]


def corner_errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    height, width = THERMAL_SIZE
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float)
    return np.linalg.norm(apply_homography(found, corners) - apply_homography(true, corners), axis=1)


def scene(seed: int) -> np.ndarray:
    """Polygons and discs of random brightness, ``RGB_SIZE`` float32 in [0, 1]."""
    random = np.random.default_rng(seed)
    image = np.full(RGB_SIZE, 0.5, np.float32)
    for _ in range(70):
        x, y = random.integers(0, RGB_SIZE[1]), random.integers(0, RGB_SIZE[0])
        corners = np.array([x, y], np.int32) + random.integers(-35, 36, (4, 2), np.int32)
        cv2.fillPoly(image, [cv2.convexHull(corners)], float(random.uniform(0.05, 0.95)))
        cv2.circle(image, tuple(int(v) for v in random.integers(0, 360, 2)), 9, float(random.uniform(0, 1)), -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def heat_of(image: np.ndarray, rgb_from_thermal: np.ndarray, seed: int) -> np.ndarray:
    """The same scene in another modality: inverted, another curve, blurred, noisy, warped."""
    random = np.random.default_rng(seed)
    other = cv2.GaussianBlur(1.0 - image**0.6, (0, 0), 1.5)
    seen = cv2.warpPerspective(
        other, rgb_from_thermal, THERMAL_SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.clip(seen + random.normal(0, 0.02, seen.shape), 0, 1).astype(np.float32)


def rig_views(matrices: list[np.ndarray]) -> list[RigView]:
    return [RigView(str(i), scene(i), heat_of(scene(i), matrix, i)) for i, matrix in enumerate(matrices)]


@pytest.mark.parametrize(
    "true",
    [
        pytest.param(placed(0.5, 0.0, (30, -20), (0, 0)), id="tele"),
        pytest.param(placed(0.75, 6.5, (-20, 12), (2e-4, -3e-4)), id="turned and tilted"),
    ],
)
def test_another_modality_is_found_to_a_fraction_of_a_pixel(true):
    match = match_rig(
        rig_views([true] * 2), MatchingSettings(rotation_deg=8.0, narrowest_view=0.45, widest_view=0.8)
    )
    assert corner_errors(match.rgb_from_thermal, true).max() < 0.7
    assert (match.frames, match.agreeing) == (2, 2)
    assert match.residual_px < 0.5
    assert match.spread_px < 0.5
    assert match.coverage > 0.8
    off = apply_homography(true, match.thermal_points) - match.rgb_points
    assert np.median(np.linalg.norm(off, axis=1)) < 0.3
    assert np.nanmax(np.abs(match.shifts_px)) < 1.0


@pytest.mark.parametrize("shifts", [(-45, 0, 45), (0, 45)])
def test_frames_of_cameras_that_move_against_each_other_are_refused(shifts):
    moved = [placed(0.7, 0.0, (shift, -shift / 2), (0, 0)) for shift in shifts]
    with pytest.raises(AlignmentError, match=f"the frames disagree: 1 of {len(shifts)} place"):
        match_rig(rig_views(moved), NARROW)


@pytest.mark.parametrize("kind", ["noise", "other scene"])
def test_images_that_have_nothing_in_common_are_refused(kind):
    true = placed(0.7, 0.0, (0, 0), (0, 0))
    other = np.random.default_rng(5).random(THERMAL_SIZE, np.float32)
    thermal = other if kind == "noise" else heat_of(scene(77), true, 0)
    with pytest.raises(AlignmentError, match="could not be found"):
        match_rig([RigView("a", scene(0), thermal)], NARROW)


def test_a_real_rig_s_images_are_found_under_a_known_warp(shared):
    """Against where the same images are found unwarped: their own misregistration, of some pixels, drops out."""
    files = sorted((shared / "data" / "msrs" / "ir").glob("*D.png"))  # by day
    names = [file.name for file in files[::8]]
    warps = [placed(0.9, 0.0, (0, 0), (0, 0)), placed(0.9, 5.0, (6, -8), (0, 0))]
    found = []
    for true in warps:
        views = []
        for name in names:
            rgb, thermal = (read_image(shared / "data" / "msrs" / kind / name) for kind in ("vis", "ir"))
            small = [cv2.resize(image, RGB_SIZE[::-1], interpolation=cv2.INTER_AREA) for image in (rgb, thermal)]
            grey = cv2.cvtColor(small[0], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
            heat = cv2.warpPerspective(
                cv2.GaussianBlur(small[1], (0, 0), 0.8).astype(np.float32) / 255,
                true,
                THERMAL_SIZE[::-1],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
            views.append(RigView(name, grey, heat))
        match = match_rig(views, MatchingSettings(narrowest_view=0.85, widest_view=0.95, rotation_deg=6.0))
        found.append(match.rgb_from_thermal @ np.linalg.inv(true))
    points = np.stack(np.meshgrid((80, 240, 400), (60, 180, 300)), axis=-1).reshape(-1, 2).astype(float)
    differences = apply_homography(found[1], points) - apply_homography(found[0], points)
    assert np.median(np.linalg.norm(differences, axis=1)) < 1.5


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_a_fit_survives_a_third_of_wrong_matches(model):
    random = np.random.default_rng(1)
    true = {
        "similarity": np.array([[1.9, -0.2, 30], [0.2, 1.9, -12], [0, 0, 1.0]]),
        "affine": np.array([[1.9, -0.3, 30], [0.1, 2.2, -12], [0, 0, 1.0]]),
        "homography": np.array([[1.9, -0.3, 30], [0.1, 2.2, -12], [2e-4, -3e-4, 1.0]]),
    }[model]
    source = random.uniform(0, 400, (90, 2))
    target = apply_homography(true, source) + random.normal(0, 0.1, source.shape)
    target[:30] += random.uniform(20, 80, (30, 2))
    fit = fit_transform(source, target, model, 2.0)
    assert not fit.inliers[:30].any() and fit.inliers[30:].all()
    np.testing.assert_allclose(apply_homography(fit.matrix, source), apply_homography(true, source), atol=0.2)


def test_too_few_matches_fit_nothing():
    points = np.random.default_rng(0).uniform(0, 100, (4, 2))
    assert fit_transform(points, points, "homography", 1.0) is None


def test_known_lenses_give_the_rotation_for_a_known_translation():
    turn = cv2.Rodrigues(np.radians([1.0, -2.0, 3.0]))[0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, (0.1, -0.03, 0.02)
    rig = Rig(PinholeCamera(640, 480, 520, 520, 322, 238), PinholeCamera(320, 256, 380, 378, 158, 130), pose)
    random = np.random.default_rng(0)
    thermal = random.uniform((10, 10), (310, 246), (60, 2))
    rgb = apply_homography(rig.homography(8.0), thermal)
    rgb[:10] += 25.0  # wrong matches
    found = fit_rotation(thermal, rgb, rig.thermal, rig.rgb, translation_m=(0.1, -0.03, 0.02), distance_m=8.0)
    np.testing.assert_allclose(found.rgb_from_thermal, pose, atol=1e-4)
    assert found.residual_px < 0.05
    # Taken for zero, the translation is made up for at that distance, as far as a rotation can.
    bare = fit_rotation(thermal, rgb, rig.thermal, rig.rgb, distance_m=8.0)
    assert bare.residual_px < 1.0
    assert not np.allclose(bare.rgb_from_thermal[:3, :3], turn, atol=5e-3)
    with pytest.raises(CalibrationError, match="positive distance"):
        fit_rotation(thermal, rgb, rig.thermal, rig.rgb, distance_m=0.0)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros(THERMAL_SIZE, np.float32), "black or saturated"),
        (np.ones(THERMAL_SIZE, np.float32), "black or saturated"),
        (np.full(THERMAL_SIZE, 0.4, np.float32), "flat"),
        (np.random.default_rng(0).random(THERMAL_SIZE, np.float32), "noise"),
        (scene(0), ""),
    ],
    ids=["black", "white", "flat", "noise", "scene"],
)
def test_what_has_no_structure_is_told(image, reason):
    found = lack_of_structure(image)
    assert reason in found
    assert bool(found) == bool(reason)


def test_moments_that_tell_nothing_new_are_passed_over():
    true = placed(0.7, 0.0, (0, 0), (0, 0))
    views = rig_views([true] * 4)
    chooser = ViewChooser(limit=2, count=7)
    dark = RigView("dark", np.zeros(RGB_SIZE, np.float32), views[0].thermal)
    frozen = RigView("frozen", scene(9), views[1].thermal)
    for view in (views[0], dark, views[1], views[0], frozen, views[2], views[3]):
        chooser.offer(view)
    assert dict(chooser.refused) == {
        "nothing new since an earlier frame": 1,
        "the thermal image is frozen": 1,
        "the RGB image is black or saturated": 1,
    }
    assert chooser.offered == 7
    assert len(chooser.views) == 2
    assert chooser.views[0] in views[:2] and chooser.views[1] in views[2:]


def test_a_range_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="narrowest_view up to widest_view"):
        MatchingSettings(narrowest_view=1.2, widest_view=0.8)
