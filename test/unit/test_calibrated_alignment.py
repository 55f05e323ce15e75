"""Mode calibration: points in space, seen by two cameras with lenses, must fall on each other.

The truth is OpenCV's camera model, applied to points of the surfaces that the settings assume. The moving image
holds its own coordinates, so what arrives at a pixel says exactly where it came from.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.alignment.calibration import Calibration
from fusion_ros.errors import CalibrationError, SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.geometry.cameras import PinholeCamera, Rig
from fusion_ros.geometry.poses import quaternion_from_pose
from fusion_ros.geometry.projection import facing_plane, rig_positions

RGB = PinholeCamera(320, 240, 262.0, 265.0, 161.3, 117.8, (-0.28, 0.09, 0.001, -0.0008, -0.012))
THERMAL = PinholeCamera(160, 128, 118.0, 119.0, 78.8, 65.3, (-0.3, 0.1, 0.0005, 0.0007, 0.01, 0.05, -0.02, 0.004))
FISHEYE = PinholeCamera(160, 128, 90.0, 91.0, 80.5, 63.0, (-0.02, 0.01, -0.004, 0.0007))
NARROW = PinholeCamera(160, 128, 170.0, 171.0, 78.8, 65.3, (-0.2, 0.05, 0.0, 0.0, 0.0))
POSE = np.eye(4)
POSE[:3, :3] = cv2.Rodrigues(np.array([0.012, -0.03, 0.02]))[0]
POSE[:3, 3] = (0.12, 0.02, -0.03)
TOLERANCE_PX = 0.05


def settings(**values):
    rotation = quaternion_from_pose(POSE)
    defaults = {"mode": "calibration", "translation": tuple(POSE[:3, 3].tolist()), "rotation": rotation}
    return CoarseSettings(**{**defaults, **values})


def aligner(reference=Sensor.RGB, rgb=RGB, thermal=THERMAL, **values):
    return CoarseAligner(settings(**values), reference).with_cameras(rgb, thermal)


def coordinates(size):
    """An image whose two channels are each pixel's x and y."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([columns, rows], axis=-1).astype(np.float32)


def sampled(image, points):
    """``(N[, C])`` values of an image at pixels ``(N, 2)``: bilinear, exact where OpenCV rounds to 1/32 pixel."""
    left, top = np.floor(points).astype(int).T
    right_part, low_part = (points - np.floor(points)).T.reshape(2, -1, *[1] * (image.ndim - 2))
    upper = image[top, left] * (1 - right_part) + image[top, left + 1] * right_part
    lower = image[top + 1, left] * (1 - right_part) + image[top + 1, left + 1] * right_part
    return upper * (1 - low_part) + lower * low_part


def opencv_pixels(points, camera, pose=None):
    """Project points of the thermal frame, moved by ``pose``, with OpenCV."""
    pose = np.eye(4) if pose is None else pose
    moved = points @ pose[:3, :3].T + pose[:3, 3]
    project = cv2.fisheye.projectPoints if len(camera.distortion) == 4 else cv2.projectPoints
    pixels = project(moved[:, None], np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.distortion))[0]
    return pixels.reshape(-1, 2)


def seen_by_both(points, rgb=RGB, thermal=THERMAL):
    """Pixels ``(N, 2)`` of both cameras for points of the thermal frame that are well inside both images."""
    in_rgb, in_thermal = opencv_pixels(points, rgb, POSE), opencv_pixels(points, thermal)
    inside = np.ones(len(points), bool)
    for pixels, camera in ((in_rgb, rgb), (in_thermal, thermal)):
        inside &= (pixels >= 4).all(axis=1) & (pixels <= np.array([camera.width, camera.height]) - 5).all(axis=1)
    assert inside.sum() > 40
    return {Sensor.RGB: in_rgb[inside], Sensor.THERMAL: in_thermal[inside]}


def wall(distance_m, seed=0):
    """Points of the plane ``distance_m`` in front of the thermal camera."""
    around = np.random.default_rng(seed).uniform(-0.7, 0.7, (300, 2)) * distance_m
    return np.column_stack([around, np.full(300, distance_m)])


def magnification(moving, reference):
    """How many pixels of the moving image fall on one of the reference image; 1 where those are larger."""
    return max(1.0, moving.fx / reference.fx)


def came_from(align, reference, moving_size, reference_size, output_size=None):
    """The aligned coordinates, and the mask."""
    aligned = align(coordinates(moving_size), output_size or reference_size, reference_size)
    valid = np.ones(aligned.pixels.shape[:2], bool) if aligned.valid is None else aligned.valid
    return aligned.pixels, valid


@pytest.mark.parametrize("thermal", [THERMAL, FISHEYE], ids=["rational", "fisheye"])
@pytest.mark.parametrize("reference", list(Sensor))
@pytest.mark.parametrize("distance_m", [3.0, 15.0])
def test_points_at_the_distance_fall_where_opencv_projects_them(distance_m, reference, thermal):
    pixels = seen_by_both(wall(distance_m), thermal=thermal)
    cameras = {Sensor.RGB: RGB, Sensor.THERMAL: thermal}
    align = aligner(reference, thermal=thermal, distance_m=distance_m)
    source, valid = came_from(align, reference, cameras[reference.other].size, cameras[reference].size)
    assert sampled(valid.astype(np.float32), pixels[reference]).min() == 1
    error = sampled(source, pixels[reference]) - pixels[reference.other]
    assert np.abs(error).max() < TOLERANCE_PX * magnification(cameras[reference.other], cameras[reference])


@pytest.mark.parametrize("lens", [THERMAL, FISHEYE], ids=["rational", "fisheye"])
def test_every_position_is_the_one_that_opencv_finds(lens):
    grid = coordinates(lens.size).reshape(-1, 2)
    rays = lens.rays(grid)
    np.testing.assert_allclose(opencv_pixels(rays, lens), grid, atol=1e-6)  # they are what the lens shows there
    rig = Rig(RGB, lens, POSE)
    positions = rig_positions(rig, Sensor.THERMAL, lens, [facing_plane(rig, 3.0)])
    known = np.isfinite(positions).all(axis=-1)
    assert known.mean() > 0.95  # the rest lies beyond what the RGB lens is known for
    expected = opencv_pixels(3.0 * rays, RGB, POSE).reshape(positions.shape)
    np.testing.assert_allclose(positions[known], expected[known], atol=1e-6)


def test_things_off_the_distance_keep_their_parallax():
    align = aligner(distance_m=15.0)
    source, _ = came_from(align, Sensor.RGB, THERMAL.size, RGB.size)
    pixels = seen_by_both(wall(3.0))
    assert np.abs(sampled(source, pixels[Sensor.RGB]) - pixels[Sensor.THERMAL])[:, 0].mean() > 3


def test_without_distortion_it_is_the_homography_of_the_rig():
    rgb, thermal = RGB.undistorted(), THERMAL.undistorted()
    counts = np.random.default_rng(0).integers(20000, 24000, THERMAL.size).astype(np.uint16)
    counts = cv2.GaussianBlur(counts, (0, 0), 3)
    calibrated = aligner(rgb=rgb, thermal=thermal, distance_m=8.0)(counts, RGB.size)
    plain = CoarseAligner(CoarseSettings.for_rig(Rig(rgb, thermal, POSE), 8.0))(counts, RGB.size)
    np.testing.assert_array_equal(calibrated.valid, plain.valid)
    assert np.abs(calibrated.pixels.astype(int) - plain.pixels).max() <= 1
    assert calibrated.pixels.dtype == np.uint16


def ground_points(height_m, pitch_deg, roll_deg, distances_m):
    """Points of flat ground in the thermal frame, under an RGB camera that looks down and is turned clockwise."""
    # Right-handed turns of x right, y down, z forward: about z clockwise, about x upwards.
    turned = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(roll_deg)]))[0]
    level_from_rgb = cv2.Rodrigues(np.array([-np.radians(pitch_deg), 0.0, 0.0]))[0] @ turned
    draw = np.random.default_rng(2)
    ahead = draw.uniform(*distances_m, 600)
    level = np.column_stack([draw.uniform(-0.5, 0.5, 600) * ahead, np.full(600, height_m), ahead])
    in_rgb = level @ level_from_rgb
    return (in_rgb - POSE[:3, 3]) @ POSE[:3, :3]


GROUND = {"ground.height_m": 1.4, "ground.pitch_deg": 9.0, "ground.roll_deg": 3.0, "distance_m": 12.0}


@pytest.mark.parametrize("reference", list(Sensor))
def test_on_the_ground_near_and_far_fall_on_each_other_and_beyond_it_the_distance_holds(reference):
    options = settings().updated(GROUND)
    align = CoarseAligner(options, reference).with_cameras(RGB, THERMAL)
    sizes = {Sensor.RGB: RGB.size, Sensor.THERMAL: THERMAL.size}
    source, _ = came_from(align, reference, sizes[reference.other], sizes[reference])
    pixels = seen_by_both(ground_points(1.4, 9.0, 3.0, (3.0, 11.0)))
    tolerance_px = TOLERANCE_PX * (1.0 if reference is Sensor.RGB else magnification(RGB, THERMAL))
    assert np.abs(sampled(source, pixels[reference]) - pixels[reference.other]).max() < tolerance_px
    above = wall(12.0)
    above = above[above[:, 1] < -1.5]  # well above the horizon
    pixels = seen_by_both(above)
    assert np.abs(sampled(source, pixels[reference]) - pixels[reference.other]).max() < tolerance_px
    far = seen_by_both(ground_points(1.4, 9.0, 3.0, (40.0, 60.0)))
    wrong = sampled(source, far[reference]) - far[reference.other]
    assert 0.3 < np.abs(wrong).max() < 5  # parallax between 12 m and 50 m, no runaway


@pytest.mark.parametrize("reference", list(Sensor))
def test_images_of_twice_the_calibrated_sizes_and_a_smaller_output_show_the_same(reference):
    pixels = seen_by_both(wall(8.0))
    sizes = {Sensor.RGB: (480, 640), Sensor.THERMAL: (256, 320)}
    output = tuple(side * 3 // 4 for side in sizes[reference])
    source, _ = came_from(
        aligner(reference, distance_m=8.0), reference, sizes[reference.other], sizes[reference], output
    )
    at = (pixels[reference] + 0.5) * 1.5 - 0.5
    inside = (at > 2).all(axis=1) & (at < np.array(output[::-1]) - 3).all(axis=1)
    error = sampled(source, at[inside]) - ((pixels[reference.other][inside] + 0.5) * 2 - 0.5)
    assert np.abs(error).max() < 2 * TOLERANCE_PX  # half as large a pixel


def test_the_mask_is_where_opencv_sees_the_surface_in_the_thermal_image():
    valid = came_from(aligner(thermal=NARROW, distance_m=8.0), Sensor.RGB, NARROW.size, RGB.size)[1]
    rays = RGB.rays(coordinates(RGB.size).reshape(-1, 2)) @ POSE[:3, :3]
    start = -POSE[:3, :3].T @ POSE[:3, 3]
    points = start + rays * ((8.0 - start[2]) / rays[:, 2])[:, None]
    x, y = opencv_pixels(points, NARROW).T
    margin = np.minimum.reduce([x + 0.5, 159.5 - x, y + 0.5, 127.5 - y]).reshape(RGB.size)
    assert 0.2 < valid.mean() < 0.98
    assert valid[margin > 0.05].all()
    assert not valid[margin < -0.05].any()


def test_counts_stay_counts_and_fine_structure_of_a_large_image_is_averaged():
    counts = np.full(NARROW.size, 21000, np.uint16)
    aligned = aligner(thermal=NARROW)(counts, RGB.size)
    assert aligned.pixels.dtype == np.uint16
    assert (aligned.pixels[aligned.valid] == 21000).all() and (aligned.pixels[~aligned.valid] == 0).all()
    stripes = np.zeros((960, 1280, 3), np.uint8)
    stripes[:, ::2] = 200
    moved = aligner(Sensor.THERMAL)(stripes, THERMAL.size)
    shown = moved.pixels if moved.valid is None else moved.pixels[moved.valid]
    assert np.abs(shown.astype(int) - 100).max() <= 100 / 7  # the share of a half stripe in 8.9 columns


def test_undistorting_takes_the_lens_out_of_the_reference_as_opencv_does():
    align = aligner(undistort=True, distance_m=8.0)
    draw = np.random.default_rng(3)
    picture = cv2.GaussianBlur(draw.integers(0, 255, (*RGB.size, 3)).astype(np.uint8), (0, 0), 2)
    placed = align.place_reference(picture, RGB.size)
    expected = cv2.undistort(picture, RGB.matrix, np.array(RGB.distortion))
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(placed.pixels[inner].astype(int) - expected[inner]).max() <= 2
    camera = align.output_camera(RGB.size)
    assert camera == RGB.undistorted()
    pixels = seen_by_both(wall(8.0), rgb=camera)
    source, _ = came_from(align, Sensor.RGB, THERMAL.size, RGB.size)
    assert np.abs(sampled(source, pixels[Sensor.RGB]) - pixels[Sensor.THERMAL]).max() < TOLERANCE_PX


def test_an_undistorted_output_of_half_the_size_has_the_camera_of_that_size():
    align = aligner(Sensor.THERMAL, undistort=True)
    assert align.output_camera((64, 80), THERMAL.size) == THERMAL.undistorted().scaled((64, 80))
    placed = align.place_reference(coordinates(THERMAL.size), (64, 80))
    points = np.array([[0.2, -0.1, 1.0], [-0.3, 0.2, 1.0], [0.0, 0.0, 1.0]])
    shown_at = THERMAL.undistorted().scaled((64, 80)).project(points)
    np.testing.assert_allclose(sampled(placed.pixels, shown_at), opencv_pixels(points, THERMAL), atol=TOLERANCE_PX)


def test_without_undistort_the_reference_is_left_alone():
    counts = np.zeros(RGB.size, np.uint8)
    align = aligner()
    assert align.place_reference(counts, RGB.size).pixels is counts
    assert align.place_reference(counts, (60, 80)).pixels.shape == (60, 80)
    assert align.output_camera(RGB.size) is None


def test_until_the_camera_infos_come_the_error_says_what_is_awaited():
    align = CoarseAligner(settings())
    counts = np.zeros(THERMAL.size, np.uint16)
    assert align.awaited == (Sensor.RGB, Sensor.THERMAL)
    with pytest.raises(CalibrationError, match=r"awaits .* rgb/camera_info and thermal/camera_info; publish"):
        align(counts, RGB.size)
    half = align.with_cameras(rgb=RGB)
    assert half.awaited == (Sensor.THERMAL,)
    with pytest.raises(CalibrationError, match=r"awaits the camera_info of the thermal camera, on thermal/cam"):
        half(counts, RGB.size)
    whole = half.with_cameras(thermal=THERMAL)
    assert whole.awaited == () and whole(counts, RGB.size).pixels.shape == RGB.size
    assert whole.with_cameras(RGB, THERMAL) is whole  # a repeated camera info makes no new maps
    assert whole.with_cameras(RGB, FISHEYE) is not whole


def test_other_modes_need_no_cameras():
    align = CoarseAligner()
    assert align.awaited == () and align.with_cameras(RGB, THERMAL) is align


@pytest.fixture
def rig_file(tmp_path):
    def save(**values):
        Calibration(RGB.size, THERMAL.size, **values).save(tmp_path / "rig.yaml")
        return {"mode": "calibration", "calibration_file": str(tmp_path / "rig.yaml")}

    return save


def test_a_file_says_all_and_settings_override_its_distance_and_its_transform(rig_file):
    wrong = np.eye(4)
    wrong[:3, 3] = (0.5, 0.0, 0.0)
    file = rig_file(rgb_camera=RGB, thermal_camera=THERMAL, rgb_from_thermal=POSE, distance_m=5.0)
    other = {"translation": tuple(POSE[:3, 3].tolist()), "rotation": quaternion_from_pose(POSE)}
    for distance_m, values in ((5.0, {}), (9.0, {"distance_m": 9.0})):
        align = CoarseAligner(CoarseSettings(**file, **values))
        assert align.awaited == ()
        source, _ = came_from(align, Sensor.RGB, THERMAL.size, RGB.size)
        pixels = seen_by_both(wall(distance_m))
        assert np.abs(sampled(source, pixels[Sensor.RGB]) - pixels[Sensor.THERMAL]).max() < TOLERANCE_PX
    file = rig_file(rgb_camera=RGB, thermal_camera=THERMAL, rgb_from_thermal=wrong, distance_m=5.0)
    again, _ = came_from(CoarseAligner(CoarseSettings(**file, **other)), Sensor.RGB, THERMAL.size, RGB.size)
    pixels = seen_by_both(wall(5.0))
    assert np.abs(sampled(again, pixels[Sensor.RGB]) - pixels[Sensor.THERMAL]).max() < TOLERANCE_PX


def test_a_camera_in_the_file_holds_against_its_camera_info(rig_file):
    align = CoarseAligner(CoarseSettings(**rig_file(rgb_camera=RGB, rgb_from_thermal=POSE)))
    assert align.awaited == (Sensor.THERMAL,)
    whole = align.with_cameras(RGB.scaled((120, 160)), THERMAL)
    source, _ = came_from(whole, Sensor.RGB, THERMAL.size, RGB.size)
    pixels = seen_by_both(wall(12.0))  # the distance where nothing names one
    assert np.abs(sampled(source, pixels[Sensor.RGB]) - pixels[Sensor.THERMAL]).max() < TOLERANCE_PX


@pytest.mark.parametrize("reference", list(Sensor))
def test_a_homography_in_a_file_is_used_at_the_sizes_that_the_file_names(rig_file, reference):
    rgb_from_thermal = np.array([[2.0, 0.03, -4.0], [-0.02, 1.95, 5.0], [1e-5, 2e-5, 1.0]])
    align = CoarseAligner(CoarseSettings(**rig_file(homography=rgb_from_thermal)), reference)
    sizes = {Sensor.RGB: (480, 640), Sensor.THERMAL: THERMAL.size}  # RGB comes twice as large
    source, _ = came_from(align, reference, sizes[reference.other], sizes[reference])
    thermal = np.random.default_rng(4).uniform((10, 10), (140, 110), (60, 2))
    rgb = (cv2.perspectiveTransform(thermal[None], rgb_from_thermal)[0] + 0.5) * 2 - 0.5
    pixels = {Sensor.RGB: rgb, Sensor.THERMAL: thermal}
    assert np.abs(sampled(source, pixels[reference]) - pixels[reference.other]).max() < 2 * TOLERANCE_PX
    assert align.with_cameras(RGB, THERMAL) is align
    with pytest.raises(CalibrationError, match=r"thermal camera is calibrated for images of 160 x 128.*160 x 120"):
        align(*((np.zeros((120, 160)), sizes[Sensor.RGB]) if reference is Sensor.RGB else
                (np.zeros(sizes[Sensor.RGB]), (120, 160))))  # fmt: skip


def test_a_camera_of_another_shape_than_its_images_is_refused():
    align = aligner()
    with pytest.raises(CalibrationError, match=r"thermal .*160 x 128.*come with 160 x 120.*cropped"):
        align(np.zeros((120, 160), np.uint16), RGB.size)
    with pytest.raises(CalibrationError, match=r"rgb .*320 x 240.*come with 320 x 180.*cropped"):
        align(np.zeros(THERMAL.size, np.uint16), (180, 320))
    with pytest.raises(CalibrationError, match=r"rgb .*come with 320 x 180"):
        aligner(undistort=True).place_reference(np.zeros((180, 320), np.uint8), (180, 320))


def test_cameras_that_look_away_from_each_other_are_refused():
    about_y = (0.0, float(np.sin(np.pi / 4)), 0.0, float(np.cos(np.pi / 4)))
    with pytest.raises(CalibrationError, match=r"no pixel of the thermal camera.*rgb_from_thermal"):
        aligner(rotation=about_y)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"translation": (), "rotation": ()}, "calibration_file: expected the name of a file"),
        ({"translation": (0.1, 0.0)}, "expected 3 numbers.*got 2 and 4"),
        ({"rotation": ()}, "or neither, got 3 and 0"),
        ({"distance_m": -1.0}, "distance_m: expected 0 to"),
        ({"mode": "resize", "undistort": True}, "undistort: expected mode calibration"),
        ({"rectified": "left"}, "none, rgb, thermal, both"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        settings(**values)


def test_a_file_that_does_not_suffice_is_refused_at_construction(rig_file, tmp_path):
    with pytest.raises(CalibrationError, match="no calibration file at"):
        CoarseAligner(CoarseSettings(mode="calibration", calibration_file=str(tmp_path / "absent.yaml")))
    with pytest.raises(CalibrationError, match="got cameras only"):
        CoarseAligner(CoarseSettings(**rig_file(rgb_camera=RGB, thermal_camera=THERMAL)))
    with pytest.raises(CalibrationError, match="undistort needs the lenses"):
        CoarseAligner(CoarseSettings(**rig_file(homography=np.diag([2.0, 2.0, 1.0])), undistort=True))
    with pytest.raises(CalibrationError, match="unit quaternion"):
        CoarseAligner(settings(rotation=(0.0, 0.0, 0.0, 0.5)))


def test_the_settings_read_a_camera_info_of_rectified_images_by_p():
    projection = [250.0, 0.0, 160.0, 0.0, 0.0, 251.0, 120.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = SimpleNamespace(**{**RGB.camera_info_fields(), "p": projection})
    assert settings().camera(Sensor.RGB, info) == RGB
    assert settings(rectified="thermal").camera(Sensor.RGB, info) == RGB
    for rectified in ("rgb", "both"):
        camera = settings(rectified=rectified).camera(Sensor.RGB, info)
        assert camera == PinholeCamera(320, 240, 250.0, 251.0, 160.0, 120.0)
