"""Boards: corners to a tenth of a pixel in either polarity, the pose of a rig, its lenses, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from rendered_boards import CHEQUERS, RIG, TAGS, BoardPose, poses, render

from fusion_ros.alignment.target import Board, BoardView, find_board, pair_sightings
from fusion_ros.alignment.target_fit import fit_camera, fit_homography, fit_pose
from fusion_ros.errors import CalibrationError

needs_aruco = pytest.mark.skipif(not hasattr(cv2, "aruco"), reason="this OpenCV has no aruco module")
BOARDS = [
    pytest.param(CHEQUERS, id="chequers"),
    pytest.param(TAGS, id="tags", marks=needs_aruco),
]


def exact_views(board: Board, placed: list[BoardPose]) -> list[BoardView]:
    """Views as perfect detectors would give them."""
    return [BoardView(str(i), board.points, *pose.pixels(board)) for i, pose in enumerate(placed)]


def noisy(views: list[BoardView], sigma: float) -> list[BoardView]:
    random = np.random.default_rng(3)
    return [
        replace(
            view,
            rgb=view.rgb + random.normal(0, sigma, view.rgb.shape),
            thermal=view.thermal + random.normal(0, sigma, view.rgb.shape),
        )
        for view in views
    ]


@pytest.mark.parametrize("inverted", [False, True], ids=["as printed", "inverted"])
@pytest.mark.parametrize("board", BOARDS)
def test_both_cameras_find_the_corners_where_they_are(board, inverted):
    for pose in poses(board, 2):
        rgb = find_board(render(board, pose, "rgb"), board)
        thermal = find_board(render(board, pose, "thermal", inverted=inverted), board)
        view = pair_sightings("frame", rgb, thermal, board)
        true_rgb, true_thermal = pose.pixels(board)
        numbers = [int(np.flatnonzero((board.points == point).all(axis=1))[0]) for point in view.points]
        order = numbers
        if np.linalg.norm(view.rgb[0] - true_rgb[numbers[0]]) > 20:
            order = order[::-1]  # a chequerboard's two ends look the same; both cameras must have taken the same
        assert len(numbers) >= 0.9 * len(board.points)
        off = view.rgb - true_rgb[order], view.thermal - true_thermal[order]
        for errors in off:
            lengths = np.linalg.norm(errors, axis=1)
            assert np.median(lengths) < (0.1 if not board.tags else 0.4)
            assert lengths.max() < 1.0


@needs_aruco
@pytest.mark.parametrize("upside_down", [False, True], ids=["as OpenCV prints them", "as the makers print them"])
def test_tags_of_either_print_give_their_corners_in_the_boards_order(upside_down):
    for pose in poses(TAGS, 3):
        rgb, thermal = (
            find_board(render(TAGS, pose, camera, upside_down=upside_down), TAGS) for camera in ("rgb", "thermal")
        )
        for sighting, truth in zip((rgb, thermal), pose.pixels(TAGS), strict=True):
            assert np.linalg.norm(sighting.pixels - truth[sighting.numbers], axis=1).max() < 1.0


@pytest.mark.parametrize("side", [6, 7])
def test_both_cameras_number_a_square_board_alike_though_it_is_inverted(side):
    board = Board(side, side, 0.05)
    for pose in poses(board, 3):
        rgb = find_board(render(board, pose, "rgb"), board)
        thermal = find_board(render(board, pose, "thermal", inverted=True), board)
        view = pair_sightings("frame", rgb, thermal, board)
        seen = zip((view.rgb, view.thermal), pose.pixels(board), strict=True)
        by_rgb, by_thermal = (np.linalg.norm(a[:, None] - b, axis=2).argmin(axis=1) for a, b in seen)
        np.testing.assert_array_equal(by_rgb, by_thermal)


def test_a_picture_without_the_board_shows_none():
    noise = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)
    assert find_board(noise, CHEQUERS) is None
    assert find_board(render(CHEQUERS, poses(CHEQUERS, 1)[0], "thermal"), Board(9, 7, 0.05)) is None


def test_views_of_a_board_give_the_rig_exactly():
    fit = fit_pose(exact_views(CHEQUERS, poses(CHEQUERS, 6)), RIG.thermal, RIG.rgb)
    np.testing.assert_allclose(fit.rgb_from_thermal, RIG.rgb_from_thermal, atol=2e-4)
    assert fit.residual_px < 0.01
    assert fit.spread_m < 1e-3
    assert 1.1 < fit.distance_m < 1.5


def test_noise_in_the_corners_shows_in_what_is_said_about_the_pose():
    views = noisy(exact_views(CHEQUERS, poses(CHEQUERS, 10)), 0.3)
    fit = fit_pose(views, RIG.thermal, RIG.rgb)
    turn = cv2.Rodrigues(fit.rgb_from_thermal[:3, :3] @ RIG.rgb_from_thermal[:3, :3].T)[0]
    assert np.degrees(np.linalg.norm(turn)) < 0.2
    assert np.linalg.norm(fit.rgb_from_thermal[:3, 3] - RIG.rgb_from_thermal[:3, 3]) < 0.01
    assert 0.2 < fit.residual_px < 0.6
    assert fit.spread_deg > 0.005


def test_views_calibrate_a_lens():
    views = noisy(exact_views(CHEQUERS, poses(CHEQUERS, 14, distance_m=0.9)), 0.05)
    camera, error = fit_camera(views, "rgb", RIG.rgb.size)
    assert error < 0.2
    points = poses(CHEQUERS, 1)[0].points(CHEQUERS)
    np.testing.assert_allclose(camera.project(points), RIG.rgb.project(points), atol=1.0)
    assert camera.fx == pytest.approx(RIG.rgb.fx, rel=0.01)


def test_boards_at_one_distance_give_the_homography_there():
    # Held upright at 4 m: a plane, so one homography holds, but for the lenses.
    views = exact_views(CHEQUERS, poses(CHEQUERS, 5, distance_m=4.0, tilt_deg=0.0))
    fit = fit_homography(views, RIG.thermal.size)
    assert fit.residual_px < 2.0
    centre = np.array([197.0, 162.0, 1.0])
    found, true = (matrix @ centre for matrix in (fit.rgb_from_thermal, RIG.homography(4.0)))
    np.testing.assert_allclose(found[:2] / found[2], true[:2] / true[2], atol=3.0)
    assert 0.0 < fit.coverage < 1.0


def test_views_that_contradict_one_another_are_refused():
    views = exact_views(CHEQUERS, poses(CHEQUERS, 4))
    mixed = [replace(view, rgb=other.rgb) for view, other in zip(views, views[1:] + views[:1], strict=True)]
    with pytest.raises(CalibrationError, match="the views of the board disagree"):
        fit_homography(mixed, RIG.thermal.size)


def test_views_that_no_rig_explains_are_refused():
    """As of a board whose gaps are not what was said."""
    said = replace(TAGS, gap_m=0.06)
    views = [replace(view, points=said.points) for view in exact_views(TAGS, poses(TAGS, 4))]
    with pytest.raises(CalibrationError, match=r"at most 5 px off, got [\d.]+ px; check"):
        fit_pose(views, RIG.thermal, RIG.rgb)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda views: fit_pose(views[:2], RIG.thermal, RIG.rgb), "at least 3 views"),
        (lambda views: fit_camera(views[:4], "thermal", RIG.thermal.size), "at least 8 views .* thermal lens"),
        (lambda views: fit_homography([], RIG.thermal.size), "at least one pair"),
    ],
)
def test_too_few_views_are_refused(call, reason):
    with pytest.raises(CalibrationError, match=reason):
        call(exact_views(CHEQUERS, poses(CHEQUERS, 4)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"columns": 2, "rows": 6, "square_m": 0.05}, "at least 3 x 3 inner corners, got 2 x 6"),
        ({"columns": 8, "rows": 6, "square_m": 0.0}, "positive side"),
        ({"columns": 4, "rows": 3, "square_m": 0.1, "tags": "36h11"}, "positive gap"),
        ({"columns": 4, "rows": 3, "square_m": 0.1, "tags": "36h12", "gap_m": 0.1}, "did you mean '36h1"),
    ],
)
def test_boards_that_cannot_be_are_refused(values, reason):
    with pytest.raises(CalibrationError, match=reason):
        Board(**values)
