"""Bringing one camera's raw image onto the other's grid, as calibration says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.errors import CalibrationError, SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.synthetic import SyntheticWorld

RGB_FROM_THERMAL = np.array([[2.0, 0.04, 30.0], [-0.03, 2.05, 20.0], [1e-5, 2e-5, 1.0]])
THERMAL_SIZE, RGB_SIZE = (60, 80), (160, 220)


def homography(matrix=RGB_FROM_THERMAL, **values):
    return CoarseSettings(mode="homography", homography=tuple(float(v) for v in np.ravel(matrix)), **values)


def blob(size, centre, sigma):
    """A smooth spot of 16-bit counts around ``centre`` (x, y)."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    return (20000 + 8000 * np.exp(-distance / (2 * sigma**2))).astype(np.uint16)


def spot(image):
    """Centroid (x, y) of what stands out of a blob image."""
    weight = np.clip(image.astype(float) - 21000, 0, None)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def mapped(matrix, point):
    x, y, w = matrix @ [*point, 1.0]
    return np.array([x / w, y / w])


def test_by_default_images_of_one_field_of_view_are_resized():
    thermal = blob((60, 80), (50, 20), 4)
    aligned = CoarseAligner()(thermal, (120, 160))
    assert aligned.valid is None
    np.testing.assert_array_equal(aligned.pixels, cv2.resize(thermal, (160, 120), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("mode", ["none", "resize"])
def test_an_image_that_has_the_size_is_handed_back_itself(mode):
    thermal = np.zeros((60, 80), np.uint16)
    assert CoarseAligner(CoarseSettings(mode=mode))(thermal, (60, 80)).pixels is thermal


def test_mode_none_refuses_images_of_two_sizes():
    align = CoarseAligner(CoarseSettings(mode="none"))
    with pytest.raises(CalibrationError, match=r"80 x 60 for thermal and 160 x 120 for rgb.*resize"):
        align(np.zeros((60, 80), np.uint16), (120, 160))


def test_mode_none_takes_a_smaller_output_of_equal_images():
    align = CoarseAligner(CoarseSettings(mode="none"))
    assert align(np.zeros((60, 80), np.uint16), (30, 40), reference_size=(60, 80)).pixels.shape == (30, 40)


def test_a_homography_takes_thermal_counts_to_the_rgb_pixel_they_belong_to():
    aligned = CoarseAligner(homography())(blob(THERMAL_SIZE, (40, 30), 5), RGB_SIZE)
    np.testing.assert_allclose(spot(aligned.pixels), mapped(RGB_FROM_THERMAL, (40, 30)), atol=0.1)
    assert aligned.pixels.dtype == np.uint16
    assert aligned.pixels.max() == pytest.approx(28000, abs=60)  # counts, not rescaled


def test_the_mask_is_false_where_the_thermal_image_does_not_reach():
    aligned = CoarseAligner(homography())(np.full(THERMAL_SIZE, 21000, np.uint16), RGB_SIZE)
    corners = [mapped(RGB_FROM_THERMAL, c) for c in [(-0.5, -0.5), (79.5, -0.5), (79.5, 59.5), (-0.5, 59.5)]]
    outline = np.array(corners, np.float32)
    truth = np.array(
        [[cv2.pointPolygonTest(outline, (x, y), True) for x in range(RGB_SIZE[1])] for y in range(RGB_SIZE[0])]
    )
    assert aligned.valid[truth > 0.01].all()
    assert not aligned.valid[truth < -0.01].any()
    assert (aligned.pixels[aligned.valid] == 21000).all()
    assert (aligned.pixels[~aligned.valid] == 0).all()


def test_a_homography_under_which_thermal_covers_all_needs_no_mask():
    wide = np.array([[4.0, 0, -10], [0, 4.0, -10], [0, 0, 1]])
    assert CoarseAligner(homography(wide))(np.zeros(THERMAL_SIZE, np.uint16), RGB_SIZE).valid is None


def test_with_thermal_as_reference_rgb_moves_by_the_inverse():
    rgb = blob(RGB_SIZE, mapped(RGB_FROM_THERMAL, (25, 35)), 8)
    color = np.stack([rgb, rgb // 2, rgb], axis=-1)
    aligned = CoarseAligner(homography(), reference=Sensor.THERMAL)(color, THERMAL_SIZE)
    assert aligned.pixels.shape == (*THERMAL_SIZE, 3)
    np.testing.assert_allclose(spot(aligned.pixels[..., 0]), (25, 35), atol=0.1)


@pytest.mark.parametrize("reference", [Sensor.RGB, Sensor.THERMAL])
def test_a_homography_measured_at_other_sizes_fits_the_streams(reference):
    measured = homography(thermal_width=80, thermal_height=60, rgb_width=220, rgb_height=160)
    thermal_point, rgb_point = np.array([40.0, 30.0]), mapped(RGB_FROM_THERMAL, (40, 30))
    stream = {Sensor.THERMAL: (2 * (thermal_point + 0.5) - 0.5, (120, 160)), Sensor.RGB: (rgb_point, RGB_SIZE)}
    seen_at, moving_size = stream[reference.other]
    expected, reference_size = stream[reference]
    aligned = CoarseAligner(measured, reference)(blob(moving_size, seen_at, 9), reference_size)
    np.testing.assert_allclose(spot(aligned.pixels), expected, atol=0.1)


def test_a_smaller_output_shows_the_same_scene_when_the_reference_size_is_told():
    thermal = blob(THERMAL_SIZE, (40, 30), 5)
    half = CoarseAligner(homography())(thermal, (80, 110), reference_size=RGB_SIZE)
    expected = (mapped(RGB_FROM_THERMAL, (40, 30)) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(spot(half.pixels), expected, atol=0.1)


def test_maps_follow_a_change_of_size_in_mid_stream():
    align = CoarseAligner(homography(thermal_width=80, thermal_height=60, rgb_width=220, rgb_height=160))
    for factor in (1, 2, 1):
        size = (THERMAL_SIZE[0] * factor, THERMAL_SIZE[1] * factor)
        thermal = blob(size, factor * (np.array([40, 30]) + 0.5) - 0.5, 5 * factor)
        expected = mapped(RGB_FROM_THERMAL, (40, 30))
        np.testing.assert_allclose(spot(align(thermal, RGB_SIZE).pixels), expected, atol=0.1)


def test_maps_are_made_once_for_a_size():
    align = CoarseAligner(homography())
    thermal = np.zeros(THERMAL_SIZE, np.uint16)
    assert align(thermal, RGB_SIZE).valid is align(thermal, RGB_SIZE).valid


def test_fine_structure_is_averaged_and_not_aliased_when_a_large_image_moves():
    stripes = np.zeros((960, 1280), np.uint8)
    stripes[:, ::2] = 200
    rgb_from_thermal = np.diag([16.0, 16.0, 1.0])
    aligned = CoarseAligner(homography(rgb_from_thermal), reference=Sensor.THERMAL)(stripes, (60, 80))
    assert np.abs(aligned.pixels.astype(int) - 100).max() <= 1


@pytest.mark.parametrize(
    ("matrix", "message"),
    [(np.ones((3, 3)), "singular"), (np.diag([1.0, 1.0, 0.0]), "singular")],
)
def test_a_homography_that_cannot_be_inverted_is_refused_at_construction(matrix, message):
    with pytest.raises(CalibrationError, match=message):
        CoarseAligner(homography(matrix))


MIRROR = np.array([[-2.0, 0, 200], [0, 2, 0], [0, 0, 1]])
ELSEWHERE = np.array([[1.0, 0, 5000], [0, 1, 0], [0, 0, 1]])
SIZES = {"thermal_width": 80, "thermal_height": 60, "rgb_width": 220, "rgb_height": 160}


@pytest.mark.parametrize("reference", list(Sensor))
@pytest.mark.parametrize(("matrix", "message"), [(MIRROR, "mirrors"), (ELSEWHERE, "no pixel of the")])
def test_a_homography_that_cannot_be_right_is_refused_as_soon_as_the_sizes_are_known(matrix, message, reference):
    with pytest.raises(CalibrationError, match=message):
        CoarseAligner(homography(matrix, **SIZES), reference)
    align = CoarseAligner(homography(matrix), reference)
    moving, grid = (THERMAL_SIZE, RGB_SIZE) if reference is Sensor.RGB else (RGB_SIZE, THERMAL_SIZE)
    with pytest.raises(CalibrationError, match=message):
        align(np.zeros(moving, np.uint16), grid)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "homography"}, "expected 9 numbers"),
        ({"mode": "homography", "homography": (1.0, 0.0)}, "expected 9 numbers"),
        ({"thermal_width": 80}, "both or neither"),
        ({"mode": "affine"}, "none, resize, homography"),
        ({"homography": (float("nan"),) * 9}, "finite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        CoarseSettings(**values)


@pytest.mark.parametrize("distance_m", [5.0, 12.0])
def test_the_settings_for_a_rig_put_a_thing_at_their_distance_where_the_rgb_camera_sees_it(distance_m):
    rig = SyntheticWorld().rig
    point = np.array([[0.1 * distance_m, 0.05 * distance_m, distance_m]])  # in the thermal camera's frame
    seen_by_rgb = rig.rgb.project(point @ rig.rgb_from_thermal[:3, :3].T + rig.rgb_from_thermal[:3, 3])[0]
    thermal = blob(rig.thermal.size, rig.thermal.project(point)[0], 5)
    aligned = CoarseAligner(CoarseSettings.for_rig(rig, distance_m))(thermal, rig.rgb.size)
    np.testing.assert_allclose(spot(aligned.pixels), seen_by_rgb, atol=0.1)
