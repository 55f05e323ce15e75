"""Endpoint and corner errors against motions that are known exactly."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError
from fusion_ros.metrics import EndpointError, corner_error, endpoint_error

SIZE = (480, 640)


def _flow(seed=0, shape=(30, 40)):
    return np.random.default_rng(seed).normal(0, 5, (*shape, 2)).astype(np.float32)


def test_the_true_flow_has_no_error():
    flow = _flow()
    assert endpoint_error(flow, flow) == EndpointError(0.0, 0.0, 0.0, 0.0, 0.0, pixels=1200)


def test_an_offset_is_measured_by_its_length():
    truth = np.zeros((30, 40, 2))
    assert endpoint_error(truth + np.array((3.0, -4.0)), truth) == EndpointError(
        5.0, 5.0, 5.0, 1.0, 1.0, pixels=1200
    )


def test_mean_median_percentile_and_shares_are_those_of_the_errors():
    truth = np.zeros((10, 10, 2))
    flow = truth.copy()
    flow.reshape(-1, 2)[:, 1] = np.arange(100) / 20  # errors 0, 0.05, ... 4.95 px
    result = endpoint_error(flow, truth)
    assert (result.mean, result.median) == (pytest.approx(2.475), pytest.approx(2.475))
    assert result.p95 == 94 / 20  # 95 of the 100 errors are at most that large
    assert (result.above_1px, result.above_3px) == (0.79, 0.39)  # 1 px and 3 px themselves are not above


def test_pixels_of_unknown_truth_or_outside_the_mask_are_left_out():
    truth, flow = np.zeros((10, 10, 2)), np.zeros((10, 10, 2))
    flow[:5] = 100.0
    truth[:3, :, 0] = np.nan
    mask = np.ones((10, 10), bool)
    mask[3:5] = False
    assert endpoint_error(flow, truth, mask) == EndpointError(0.0, 0.0, 0.0, 0.0, 0.0, pixels=50)
    assert endpoint_error(flow, truth).above_3px == 20 / 70


@pytest.mark.filterwarnings("error")
def test_no_answer_where_the_truth_is_known_is_infinitely_wrong():
    truth, flow = np.zeros((10, 10, 2)), np.zeros((10, 10, 2))
    flow[:2, :, 1] = np.nan
    result = endpoint_error(flow, truth)
    assert (result.mean, result.median, result.p95) == (math.inf, 0.0, math.inf)
    assert (result.above_3px, result.pixels) == (0.2, 100)


@pytest.mark.filterwarnings("error")
def test_nothing_to_compare_is_said():
    result = endpoint_error(_flow(), np.full((30, 40, 2), np.nan))
    assert result.pixels == 0
    assert math.isnan(result.mean) and math.isnan(result.p95) and math.isnan(result.above_1px)


def test_flows_that_do_not_fit_are_refused():
    with pytest.raises(ImageError, match=r"equal size, got \(30, 40, 2\) and \(30, 41, 2\)"):
        endpoint_error(_flow(), _flow(shape=(30, 41)))
    with pytest.raises(ImageError, match=r"flows \(H, W, 2\)"):
        endpoint_error(np.zeros((2, 30, 40)), np.zeros((2, 30, 40)))
    with pytest.raises(ImageError, match=r"valid: expected bool \(30, 40\), got bool \(40, 30\)"):
        endpoint_error(_flow(), _flow(), np.ones((40, 30), bool))


def test_corners_are_pixel_centres_and_sizes_height_before_width():
    double = np.diag([2.0, 2.0, 1.0])
    assert corner_error(double, np.eye(3), SIZE) == pytest.approx((0 + 639 + 479 + math.hypot(639, 479)) / 4)


def test_the_error_is_that_of_projected_corners():
    true = np.array([[1.02, 0.03, -7.0], [-0.01, 0.98, 4.0], [2e-5, -4e-5, 1.0]])
    estimated = np.array([[1.01, 0.01, -5.0], [0.02, 1.01, 3.0], [-3e-5, 1e-5, 1.0]])
    corners = np.array([[[0, 0]], [[639, 0]], [[639, 479]], [[0, 479]]], np.float64)
    places = [cv2.perspectiveTransform(corners, matrix) for matrix in (estimated, true)]
    expected = np.linalg.norm(places[0] - places[1], axis=2).mean()
    assert corner_error(estimated, true, SIZE) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-6, -250.0])
def test_the_scale_and_sign_of_a_homography_mean_nothing(scale):
    true = np.array([[1.02, 0.03, -7.0], [-0.01, 0.98, 4.0], [2e-5, -4e-5, 1.0]])
    shift = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -4.0], [0.0, 0.0, 1.0]])
    assert corner_error(scale * shift @ true, true, SIZE) == pytest.approx(5.0)
    assert corner_error(true, scale * true, SIZE) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "last_row",
    [
        (-1.0 / 320.0, 0.0, 1.0),
        (-1.0 / 639.0, 0.0, 1.0),
        (0.0, 0.0, 0.0),
        (0.0, math.nan, 1.0),
        (math.inf, 0.0, 1.0),
    ],
    ids=["behind the camera", "corners at infinity", "everything at infinity", "nan", "inf"],
)
def test_corners_that_are_nowhere_are_infinitely_far(last_row):
    lost = np.vstack([np.eye(3)[:2], last_row])
    assert corner_error(lost, np.eye(3), SIZE) == math.inf
    assert corner_error(lost, lost, SIZE) == math.inf


def test_a_matrix_that_is_no_homography_is_refused():
    with pytest.raises(ImageError, match=r"estimated homography: expected shape \(3, 3\), got \(2, 3\)"):
        corner_error(np.eye(3)[:2], np.eye(3), SIZE)
