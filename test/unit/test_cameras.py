"""PinholeCamera and Rig against OpenCV's camera model and hand-made camera info."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fusion_ros.errors import CalibrationError
from fusion_ros.geometry.cameras import PinholeCamera, Rig

LENSES = {
    "none": (0.0, 0.0, 0.0, 0.0, 0.0),
    "plumb_bob": (-0.28, 0.09, 0.001, -0.0008, -0.012),
    "rational": (-0.3, 0.1, 0.0005, 0.0007, 0.01, 0.05, -0.02, 0.004),
}
FISHEYE = (-0.02, 0.01, -0.004, 0.0007)


def camera(lens: str = "plumb_bob") -> PinholeCamera:
    return PinholeCamera(640, 480, 520.0, 525.0, 322.3, 238.8, LENSES[lens])


def info(**changes: object) -> SimpleNamespace:
    fields = {**camera().camera_info_fields(), **changes}
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("lens", LENSES)
def test_projection_agrees_with_opencv(lens: str) -> None:
    points = np.random.default_rng(0).uniform((-2, -1.5, 3), (2, 1.5, 9), (200, 3))
    expected, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), camera(lens).matrix, np.array(camera(lens).distortion)
    )
    np.testing.assert_allclose(camera(lens).project(points), expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_rays_undo_the_projection_in_the_whole_image(lens: str) -> None:
    pixels = camera(lens).pixel_grid()[::16, ::16]
    np.testing.assert_allclose(camera(lens).project(camera(lens).rays(pixels) * 7.0), pixels, atol=1e-6)


def test_a_fisheye_projects_as_opencv_s_does_to_the_edge_of_what_is_in_front() -> None:
    lens = PinholeCamera(640, 480, 210.0, 212.0, 322.3, 238.8, FISHEYE)
    off_axis, around = np.random.default_rng(1).uniform((0.0, 0.0), (1.55, 2 * np.pi), (200, 2)).T
    directions = np.stack([np.cos(around) * np.sin(off_axis), np.sin(around) * np.sin(off_axis), np.cos(off_axis)])
    points = 4.0 * directions.T
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), lens.matrix, np.array(FISHEYE)
    )
    np.testing.assert_allclose(lens.project(points), expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(lens.project(lens.rays(expected[:, 0])), expected[:, 0], atol=1e-6)
    np.testing.assert_allclose(lens.project(np.array([0.0, 0.0, 2.0])), (322.3, 238.8))


def test_pixels_beyond_what_the_lens_shows_have_no_ray() -> None:
    fisheye = PinholeCamera(640, 480, 150.0, 150.0, 320.0, 240.0, (0.0, 0.0, 0.0, 0.0))
    edge = 150.0 * np.pi / 2  # pixels from the centre at 90 degrees
    rays = fisheye.rays(np.array([[320 + edge - 1, 240.0], [320 + edge + 1, 240.0]]))
    np.testing.assert_allclose(rays[0], (np.tan(np.pi / 2 - 1 / 150), 0.0, 1.0))
    assert np.isnan(rays[1]).all()
    barrel = PinholeCamera(640, 480, 300.0, 300.0, 320.0, 240.0, (-0.3, 0.0, 0.0, 0.0, 0.0))
    furthest = 2 / 3 / np.sqrt(0.9)  # r (1 - 0.3 r^2) at its maximum
    rays = barrel.rays(np.array([[320 + 300 * furthest - 1, 240.0], [320 + 300 * furthest + 1, 240.0]]))
    assert np.isfinite(rays[0]).all() and np.isnan(rays[1]).all()


def test_points_behind_the_camera_have_no_pixel() -> None:
    assert np.isnan(camera().project(np.array([[0.1, 0.1, -2.0], [0.1, 0.1, 0.0]]))).all()


def test_points_where_the_lens_polynomial_folds_back_have_no_pixel() -> None:
    barrel = PinholeCamera(640, 480, 500.0, 500.0, 320.0, 240.0, (-0.3, 0.0, 0.0, 0.0, 0.0))
    folded, _ = cv2.projectPoints(
        np.array([[1.8, 0.0, 1.0]]), np.zeros(3), np.zeros(3), barrel.matrix, np.array(barrel.distortion)
    )
    assert 0 <= folded[0, 0, 0] < 640  # the bare polynomial would put this point into the image
    assert np.isnan(barrel.project(np.array([1.8, 0.0, 1.0]))).all()


def test_scaling_follows_what_a_resize_does_to_pixels() -> None:
    point = np.array([0.4, -0.3, 2.0])
    x, y = camera().project(point)
    half = camera().scaled((240, 320))
    np.testing.assert_allclose(half.project(point), ((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5), atol=1e-9)
    assert half.size == (240, 320)


@pytest.mark.parametrize("lens", LENSES)
def test_camera_info_round_trip_keeps_the_camera(lens: str) -> None:
    fields = SimpleNamespace(**camera(lens).camera_info_fields())
    assert PinholeCamera.from_camera_info(fields, size=(480, 640)) == camera(lens)


def test_a_fisheye_s_camera_info_is_read_also_where_its_coefficients_are_zero() -> None:
    for distortion in (FISHEYE, (0.0,) * 4):
        lens = PinholeCamera(640, 480, 210.0, 212.0, 322.3, 238.8, distortion)
        assert PinholeCamera.from_camera_info(SimpleNamespace(**lens.camera_info_fields())) == lens


def test_coefficients_of_a_larger_model_are_read_where_they_are_zero() -> None:
    filled = info(distortion_model="rational_polynomial", d=[*LENSES["rational"], *[0.0] * 6])
    assert PinholeCamera.from_camera_info(filled) == camera("rational")
    with pytest.raises(CalibrationError, match="8 rational_polynomial coefficients, got 14"):
        PinholeCamera.from_camera_info(
            info(distortion_model="rational_polynomial", d=[*LENSES["rational"], *[0.01] * 6])
        )


def test_for_rectified_images_p_holds_and_no_lens() -> None:
    projection = [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 250.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    read = PinholeCamera.from_camera_info(info(p=projection), rectified=True)
    assert read == PinholeCamera(640, 480, 400.0, 410.0, 310.0, 250.0)
    turned = cv2.Rodrigues(np.array([0.0, 0.01, 0.0]))[0].ravel().tolist()
    with pytest.raises(CalibrationError, match="stereo"):
        PinholeCamera.from_camera_info(info(p=projection, r=turned), rectified=True)
    with pytest.raises(CalibrationError, match="matrix P"):
        PinholeCamera.from_camera_info(info(p=[0.0] * 12), rectified=True)


def test_ros_1_spelling_is_read() -> None:
    fields = camera().camera_info_fields()
    message = SimpleNamespace(
        width=640, height=480, distortion_model="plumb_bob", D=fields["d"], K=fields["k"], R=fields["r"]
    )
    assert PinholeCamera.from_camera_info(message) == camera()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": [0.0] * 9}, "calibrated"),
        ({"k": [float("nan"), 0, 1, 0, 500.0, 1, 0, 0, 1]}, "finite"),
        ({"k": [-500.0, 0, 1, 0, 500.0, 1, 0, 0, 1]}, "positive focal"),
        ({"width": 320}, "scaled"),
        ({"distortion_model": "omnidirectional"}, "lens model"),
        ({"distortion_model": "equidistant"}, "4 equidistant coefficients"),
        ({"d": [0.1, 0.2]}, "coefficients"),
        ({"binning_x": 2}, "binning"),
        ({"roi": SimpleNamespace(x_offset=8, y_offset=0)}, "region of interest"),
    ],
)
def test_unusable_camera_info_is_refused_with_the_reason(changes: dict, reason: str) -> None:
    with pytest.raises(CalibrationError, match=reason):
        PinholeCamera.from_camera_info(info(**changes), size=(480, 640))


def test_a_rig_inverts_its_transform() -> None:
    pose = np.eye(4)
    pose[:3, :3], _ = cv2.Rodrigues(np.array([0.02, -0.05, 0.01]))
    pose[:3, 3] = (0.06, 0.01, -0.02)
    rig = Rig(camera(), camera("none"), pose)
    np.testing.assert_allclose(rig.thermal_from_rgb @ rig.rgb_from_thermal, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("pose", [np.eye(3), np.diag([1.0, 1.0, -1.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])])
def test_a_transform_that_is_not_rigid_is_refused(pose: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match="rgb_from_thermal"):
        Rig(camera(), camera(), pose)


def test_the_rigs_homography_is_exact_on_its_plane_and_parallax_elsewhere():
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]
    pose[:3, 3] = (0.08, -0.01, 0.02)
    rgb, thermal = PinholeCamera(640, 480, 500, 510, 320, 240), PinholeCamera(320, 256, 300, 295, 158, 130)
    rig = Rig(rgb, thermal, pose)
    pixels = np.array([[10.0, 20.0], [200.0, 100.0], [319.0, 255.0]])

    def through_space(depth):
        points = thermal.rays(pixels) * depth
        vector = cv2.Rodrigues(pose[:3, :3])[0]
        return cv2.projectPoints(points, vector, pose[:3, 3], rgb.matrix, None)[0][:, 0]

    mapped = cv2.perspectiveTransform(pixels[None], rig.homography(8.0))[0]
    np.testing.assert_allclose(mapped, through_space(8.0), atol=1e-6)
    assert np.abs(mapped - through_space(2.0)).max() > 5
    with pytest.raises(CalibrationError, match="positive distance"):
        rig.homography(0.0)
