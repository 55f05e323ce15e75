"""Image warps against exact synthetic truth and against OpenCV's own perspective warp."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fusion_ros.errors import CalibrationError, ImageError
from fusion_ros.geometry.warp import (
    INTERPOLATIONS,
    area_scale,
    as_homography,
    homography_maps,
    inner_rectangle,
    remap,
    resize,
    resize_homography,
    scaled_homography,
    valid_mask,
    warp_by_flow,
)

AFFINE = np.array([[2.0, 0.5, -7.0], [0.25, 1.5, 3.0], [0.0, 0.0, 1.0]])
PERSPECTIVE = np.array([[1.9, 0.1, 12.0], [-0.08, 2.1, 5.0], [3e-4, -2e-4, 1.0]])


def ramp(size, dtype=np.float64):
    """An image that is linear in both coordinates."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    return (1000 + 64 * x + 32 * y).astype(dtype)


def source_points(output_from_source, size):
    """Where each output pixel lies in the source, by the definition: solve ``H p = q`` pixel by pixel."""
    points = np.empty((*size, 2))
    for y, x in np.ndindex(*size):
        point = np.linalg.solve(output_from_source, [x, y, 1.0])
        points[y, x] = point[:2] / point[2]
    return points


def inner(points, size):
    """Positions with all neighbours to interpolate with inside the image."""
    x, y = points[..., 0], points[..., 1]
    return (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)


def test_convention_a_homography_takes_source_pixels_to_output_pixels():
    image = np.zeros((6, 8), np.uint8)
    image[2, 3] = 200
    shift = np.array([[1.0, 0.0, 4.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    moved = remap(image, homography_maps(shift, (6, 8), (10, 12)))
    assert np.argwhere(moved).tolist() == [[3, 7]]


def test_convention_pixel_centres_are_at_integers_when_sizes_change():
    doubled_from_single = resize_homography((4, 6), (8, 12))
    corners = np.array([[-0.5, -0.5, 1.0], [5.5, 3.5, 1.0]])  # outer edges of the image
    assert (corners @ doubled_from_single.T)[:, :2].tolist() == [[-0.5, -0.5], [11.5, 7.5]]
    first_centre = doubled_from_single @ [0.0, 0.0, 1.0]
    assert first_centre[:2].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("to_size", [(48, 80), (24, 40), (60, 33)])
def test_convention_a_resize_homography_is_what_opencv_resizes_by(to_size):
    image = ramp((24, 40), np.float32)
    maps = homography_maps(resize_homography((24, 40), to_size), (24, 40), to_size)
    expected = cv2.resize(image, to_size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(remap(image, maps), expected, atol=(64 + 32) / 64)  # positions to 1/32 pixel
    assert maps.valid.all()


def test_convention_a_flow_lives_on_the_output_grid_and_points_to_the_source():
    image = np.zeros((6, 8), np.uint16)
    image[2, 3] = 30000
    flow = np.zeros((6, 8, 2), np.float32)
    flow[4, 1] = 2, -2  # output pixel (1, 4) shows (3, 2)
    flow[2, 3] = 1, 0
    assert np.argwhere(warp_by_flow(image, flow)).tolist() == [[4, 1]]


def test_a_linear_ramp_is_reproduced_under_an_affine_map():
    inverse = np.array([[0.5, 0.125, 3.25], [0.0625, 0.75, 1.5], [0.0, 0.0, 1.0]])  # positions on 1/32 pixels
    maps = homography_maps(np.linalg.inv(inverse), (40, 60), (32, 48))
    y, x = np.mgrid[0:32, 0:48]
    exact = 1000 + 64 * (0.5 * x + 0.125 * y + 3.25) + 32 * (0.0625 * x + 0.75 * y + 1.5)
    seen = inner(source_points(np.linalg.inv(inverse), (32, 48)), (40, 60))
    for dtype in (np.float32, np.uint16):
        warped = remap(ramp((40, 60), dtype), maps)
        assert warped.dtype == dtype
        np.testing.assert_allclose(warped[seen], exact[seen], atol=1e-3)
    assert seen.mean() > 0.9


@pytest.mark.parametrize("homography", [AFFINE, PERSPECTIVE])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_warp_agrees_with_opencv_and_with_the_definition(homography, dtype):
    image = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (40, 60)), (0, 0), 4).astype(dtype)
    maps = homography_maps(homography, (40, 60), (90, 110))
    expected = cv2.warpPerspective(image, homography, (110, 90), flags=cv2.INTER_LINEAR)
    points = source_points(homography, (90, 110))
    seen = inner(points, (40, 60))
    difference = np.abs(remap(image, maps).astype(float) - expected)
    assert difference[seen].max() <= (1.0 if dtype != np.float32 else 0.5)
    np.testing.assert_allclose(maps.source_x[seen], points[seen][:, 0], atol=1e-4)
    np.testing.assert_allclose(maps.source_y[seen], points[seen][:, 1], atol=1e-4)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_mask_tells_where_the_source_reaches_and_nothing_else_shows(interpolation):
    maps = homography_maps(PERSPECTIVE, (40, 60), (140, 160))
    x, y = np.moveaxis(source_points(PERSPECTIVE, (140, 160)), -1, 0)
    expected = (abs(x - 29.5) <= 30) & (abs(y - 19.5) <= 20)
    np.testing.assert_array_equal(maps.valid, expected)
    warped = remap(np.full((40, 60), 21000, np.uint16), maps, border_value=7, interpolation=interpolation)
    assert (warped[expected] == 21000).all()  # no dark rim: counts are not mixed with the border
    assert (warped[~expected] == 7).all()
    assert 0.2 < expected.mean() < 0.9


def test_the_mask_includes_the_outer_half_of_border_pixels():
    x = np.array([-0.6, -0.5, 0.0, 9.5, 9.6])
    assert valid_mask(x, np.zeros(5), (4, 10)).tolist() == [False, True, True, True, False]
    assert valid_mask(np.zeros(5), x, (10, 4)).tolist() == [False, True, True, True, False]


def test_what_lies_behind_the_source_camera_is_not_seen():
    """Source rows above 50 are in front and land at output rows from 350 on; the ones below would land above."""
    tilted = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.02, 1.0]])
    output_from_source = np.array([[1.0, 0.0, 200.0], [0.0, 1.0, 350.0], [0.0, 0.0, 1.0]]) @ tilted
    for scale in (1.0, -1.0):  # the scale of a homography, sign included, means nothing
        maps = homography_maps(scale * output_from_source, (90, 40), (400, 240))
        assert maps.valid[350:].any()
        assert not maps.valid[:349].any()


def test_a_homography_measured_at_other_sizes_maps_the_same_scene_points():
    used = scaled_homography(
        PERSPECTIVE, measured_source=(120, 160), source=(512, 640), measured_output=(480, 640), output=(240, 320)
    )
    edge_fraction = np.array([0.3, 0.8])  # of the image, measured from its outer edges
    at_calibration = PERSPECTIVE @ [*(edge_fraction * [160, 120] - 0.5), 1.0]
    in_use = used @ [*(edge_fraction * [640, 512] - 0.5), 1.0]
    expected = (at_calibration[:2] / at_calibration[2] + 0.5) / [640, 480]
    np.testing.assert_allclose((in_use[:2] / in_use[2] + 0.5) / [320, 240], expected)


def test_area_scale_is_the_pixel_count_ratio_of_a_resize_and_negative_for_a_mirror():
    assert area_scale(resize_homography((10, 20), (30, 80)), (10, 20)) == pytest.approx(12.0)
    assert area_scale(-PERSPECTIVE, (40, 60)) == pytest.approx(area_scale(PERSPECTIVE, (40, 60)))
    assert area_scale(np.diag([-1.0, 1.0, 1.0]), (10, 20)) < 0


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_channels_and_types_are_kept_and_reversed_views_are_taken(channels):
    image = np.random.default_rng(2).integers(0, 65535, (20, 30, *channels)).astype(np.uint16)
    image = image[..., ::-1] if channels else image[::-1]
    identity = homography_maps(np.eye(3), (20, 30), (20, 30))
    for result in (remap(image, identity), warp_by_flow(image, np.zeros((20, 30, 2), np.float32))):
        np.testing.assert_array_equal(result, image)
        assert result.dtype == np.uint16
    assert resize(image, (7, 9)).shape == (7, 9, *channels)


def test_a_flow_beyond_the_image_takes_the_border_pixel():
    image = ramp((5, 6), np.float32)
    flow = np.zeros((5, 6, 2), np.float32)
    flow[..., 0] = -100
    np.testing.assert_array_equal(warp_by_flow(image, flow), np.repeat(image[:, :1], 6, axis=1))


def test_a_constant_flow_moves_a_ramp_by_fractions_of_a_pixel():
    image = ramp((20, 30), np.float32)
    flow = np.broadcast_to(np.array([1.25, -0.5]), (20, 30, 2))
    moved = warp_by_flow(image, flow)[2:-2, 2:-2]
    np.testing.assert_allclose(moved, image[2:-2, 2:-2] + 64 * 1.25 - 32 * 0.5, atol=1e-3)


def test_half_a_pixel_on_a_wave_keeps_its_height_under_bicubic_sampling():
    x = np.arange(64)
    wave = np.tile(np.sin(2 * np.pi * x / 8), (8, 1)).astype(np.float32)
    flow = np.broadcast_to(np.array([0.5, 0.0]), (8, 64, 2))
    exact = np.sin(2 * np.pi * (x + 0.5) / 8)
    for interpolation, off in (("bilinear", 1 - np.cos(np.pi / 8)), ("bicubic", 0.025)):
        moved = warp_by_flow(wave, flow, interpolation)[:, 4:-4]
        height = np.abs(moved - exact[4:-4]).max() / np.abs(exact).max()
        assert height == pytest.approx(off, abs=0.005)


def test_resize_averages_where_it_shrinks_and_hands_back_an_image_of_that_size():
    image = np.random.default_rng(3).integers(0, 65535, (40, 60)).astype(np.uint16)
    assert resize(image, (40, 60)) is image
    blocks = image.reshape(10, 4, 15, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, (10, 15)), blocks, atol=0.51)


def test_resize_reproduces_a_ramp_when_it_enlarges():
    large = resize(ramp((10, 20), np.float32), (30, 40))[3:-3, 3:-3]
    y, x = np.mgrid[0:30, 0:40]
    exact = 1000 + 64 * ((x + 0.5) / 2 - 0.5) + 32 * ((y + 0.5) / 3 - 0.5)
    np.testing.assert_allclose(large, exact[3:-3, 3:-3], atol=1e-2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0] * 8, "expected the 9 numbers"),
        ([1, 0, 0, 0, float("nan"), 0, 0, 0, 1], "finite"),
        ([1, 2, 3, 2, 4, 6, 0, 0, 1], "singular"),
        ([0.0] * 9, "singular"),
    ],
)
def test_numbers_that_are_no_homography_are_refused(values, message):
    with pytest.raises(CalibrationError, match=message):
        as_homography(values)


def test_a_mirroring_homography_is_refused():
    with pytest.raises(CalibrationError, match="mirrors"):
        homography_maps(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]), (10, 10), (10, 10))


def test_a_homography_with_its_horizon_through_the_centre_is_refused():
    with pytest.raises(CalibrationError, match="infinity"):
        area_scale(np.array([[1.0, 0, 0], [0, 1, 0], [0, -2 / 9, 1]]), (10, 10))


def test_images_that_do_not_fit_are_refused():
    maps = homography_maps(np.eye(3), (4, 5), (4, 5))
    with pytest.raises(ImageError, match=r"5 x 4 pixels.*got 6 x 4"):
        remap(np.zeros((4, 6), np.uint8), maps)
    with pytest.raises(ImageError, match=r"uint8, uint16 or float32.*int32"):
        remap(np.zeros((4, 5), np.int32), maps)
    with pytest.raises(ImageError, match="at most 4 channels"):
        resize(np.zeros((4, 5, 6), np.uint8), (2, 2))
    with pytest.raises(ImageError, match="flow of shape"):
        warp_by_flow(np.zeros((4, 5), np.uint8), np.zeros((2, 4, 5)))


@pytest.mark.parametrize("turn_deg", [0, 3, -10])
def test_the_inner_rectangle_of_an_overlap_is_valid_and_nearly_the_largest(turn_deg):
    turn = cv2.getRotationMatrix2D((60, 40), turn_deg, 0.8)
    valid = cv2.warpAffine(np.ones((80, 120), np.uint8), turn, (120, 80), flags=cv2.INTER_NEAREST) == 1
    rows, columns = inner_rectangle(valid)
    assert valid[rows, columns].all()
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert area >= 0.9 * _largest_rectangle(valid)


def test_the_inner_rectangle_of_everything_is_everything_and_of_nothing_empty():
    assert inner_rectangle(np.ones((5, 7), bool)) == (slice(0, 5), slice(0, 7))
    assert inner_rectangle(np.zeros((5, 7), bool)) == (slice(0, 0), slice(0, 0))


def _largest_rectangle(valid: np.ndarray) -> int:
    """Area of the largest rectangle of valid pixels, by trying every pair of rows."""
    best = 0
    for top in range(valid.shape[0]):
        alive = np.ones(valid.shape[1], bool)
        for bottom in range(top, valid.shape[0]):
            alive &= valid[bottom]
            edges = np.flatnonzero(np.diff(np.concatenate([[0], alive.astype(np.int8), [0]])))
            if edges.size:
                best = max(best, int((edges[1::2] - edges[::2]).max()) * (bottom - top + 1))
    return best
