"""Calibration files: written and read back, written by hand, and refused with the reason."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from fusion_ros.alignment.calibration import Calibration, load_calibration, load_camera
from fusion_ros.errors import CalibrationError
from fusion_ros.geometry.cameras import PinholeCamera
from fusion_ros.geometry.poses import pose_from_quaternion, quaternion_from_pose

HOMOGRAPHY = np.array([[2.0, 0.04, 30.0], [-0.03, 2.05, 20.0], [1e-5, 2e-5, 1.0]])
RGB = PinholeCamera(640, 480, 520.0, 525.0, 322.3, 238.8, (-0.28, 0.09, 0.001, -0.0008, -0.012))
THERMAL = PinholeCamera(
    320, 256, 300.1, 301.2, 158.8, 130.3, (-0.3, 0.1, 0.0005, 0.0007, 0.01, 0.05, -0.02, 0.004)
)
FISHEYE = PinholeCamera(320, 256, 150.0, 151.0, 160.0, 128.0, (0.01, -0.002, 0.0, 0.0))


def pose(vector=(0.02, -0.05, 0.01), shift=(0.06, 0.01, -0.02)):
    matrix = np.eye(4)
    matrix[:3, :3], _ = cv2.Rodrigues(np.array(vector))
    matrix[:3, 3] = shift
    return matrix


def written(tmp_path, **changes):
    """A complete file, with fields changed; None takes one out."""
    calibration = Calibration(RGB.size, THERMAL.size, HOMOGRAPHY, RGB, THERMAL, pose(), 12.0, 0.6, "by hand")
    content = {**yaml.safe_load(calibration.text()), **changes}
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return path


def section(name="rgb", **changes):
    content = yaml.safe_load(Calibration(RGB.size, THERMAL.size, rgb_camera=RGB, thermal_camera=THERMAL).text())
    return {k: v for k, v in {**content[name], **changes}.items() if v is not None}


@pytest.mark.parametrize("thermal", [THERMAL, FISHEYE], ids=["rational", "fisheye"])
def test_what_is_saved_is_what_is_loaded(tmp_path, thermal):
    saved = Calibration((480, 640), (256, 320), HOMOGRAPHY, RGB, thermal, pose(), 12.5, 0.61, "3 boards at 21 °C")
    saved.save(tmp_path / "rig.yaml")
    loaded = load_calibration(tmp_path / "rig.yaml")
    assert (loaded.rgb_size, loaded.thermal_size) == ((480, 640), (256, 320))
    assert (loaded.rgb_camera, loaded.thermal_camera) == (RGB, thermal)
    np.testing.assert_array_equal(loaded.homography, HOMOGRAPHY)
    np.testing.assert_allclose(loaded.rgb_from_thermal, pose(), atol=1e-14)
    assert (loaded.distance_m, loaded.residual_px, loaded.comment) == (12.5, 0.61, "3 boards at 21 °C")
    assert loaded.rig.rgb == RGB and loaded.rig.thermal == thermal


def test_a_file_with_a_homography_alone_has_no_rig(tmp_path):
    Calibration((480, 640), (256, 320), HOMOGRAPHY).save(tmp_path / "rig.yaml")
    loaded = load_calibration(tmp_path / "rig.yaml")
    np.testing.assert_array_equal(loaded.homography, HOMOGRAPHY)
    assert loaded.rig is None and loaded.rgb_camera is None and loaded.distance_m is None


def test_a_person_may_write_rows_small_numbers_and_the_names_of_ros_camera_files(tmp_path):
    (tmp_path / "rgb.yaml").write_text(
        """
image_width: 640
image_height: 480
camera_name: narrow
camera_matrix:
  rows: 3
  cols: 3
  data: [520., 0., 322.3, 0., 525., 238.8, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.28, 0.09, 1e-3, -8e-4, -0.012]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]}
"""
    )
    (tmp_path / "rig.yaml").write_text(
        """
rgb: rgb.yaml
thermal: {image_width: 320, image_height: 256}
homography:
  - [2, 0, 10]
  - [0, 2, -15]
  - [1e-5, 0, 1]
"""
    )
    loaded = load_calibration(tmp_path / "rig.yaml")
    assert loaded.rgb_camera == RGB == load_camera(tmp_path / "rgb.yaml")
    np.testing.assert_array_equal(loaded.homography, [[2, 0, 10], [0, 2, -15], [1e-5, 0, 1]])
    assert loaded.thermal_camera is None and loaded.thermal_size == (256, 320)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": None}, "missing rgb"),
        ({"homographie": [1]}, "unknown field 'homographie'; did you mean 'homography'"),
        ({"rgb": section(image_width=None)}, "rgb: missing image_width"),
        ({"rgb": section(image_width=0)}, "rgb: image_width: expected a number of pixels, got 0"),
        ({"rgb": section(image_height="high")}, "rgb: image_height: expected a number of pixels, got 'high'"),
        ({"rgb": [640, 480]}, "rgb: expected a mapping"),
        ({"rgb": section(camera_matrix=None)}, "rgb: missing camera_matrix"),
        ({"rgb": section(camera_matrix=[1.0] * 8)}, "rgb: camera_matrix: expected a list of 9 numbers, got 8"),
        ({"rgb": section(camera_matrix=[0.0] * 9)}, "rgb: .*is the camera calibrated"),
        ({"rgb": section(distortion_model="omnidirectional")}, "rgb: .*lens model.*omnidirectional"),
        ({"thermal": "absent.yaml"}, "no calibration file at .*absent.yaml"),
        ({"rgb_from_thermal": {"translation_m": [0, 0, 0]}}, "rgb_from_thermal: missing rotation_xyzw"),
        ({"rgb_from_thermal": {"translation_m": [0, 0], "rotation_xyzw": [0, 0, 0, 1]}}, "3 numbers, got 2"),
        (
            {"rgb_from_thermal": {"translation_m": [0, 0, 0], "rotation_xyzw": [0, 0, 0, 2]}},
            "unit quaternion.*length 2",
        ),
        ({"homography": [1.0] * 9}, "singular"),
        ({"homography": [1.0] * 6}, "expected a list of 9 numbers, got 6"),
        ({"homography": [-2.0, 0, 300, 0, 2, 0, 0, 0, 1]}, "mirrors"),
        ({"homography": [float("nan")] * 9}, "homography: expected a finite number, got nan"),
        ({"homography": "identity"}, "homography: expected a list of 9 numbers"),
        ({"distance_m": 0}, "positive distance_m"),
        ({"distance_m": -3.0}, "positive distance_m"),
        ({"distance_m": "far"}, "distance_m: expected a finite number, got 'far'"),
        ({"distance_m": True}, "distance_m: expected a finite number, got True"),
        ({"residual_px": -1.0}, "residual_px"),
        ({"comment": 5}, "comment: expected a text"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_and_the_reason(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration(path)
    assert str(caught.value).count(str(path)) == 1  # said once


def test_a_file_that_is_no_calibration_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="no calibration file at"):
        load_calibration(tmp_path / "absent.yaml")
    with pytest.raises(CalibrationError, match="cannot read"):
        load_calibration(tmp_path)
    for content, message in ((b"a: [1", "not valid YAML"), (b"\xff\xfe\x00", "not valid YAML"), (b"", "mapping")):
        (tmp_path / "rig.yaml").write_bytes(content)
        with pytest.raises(CalibrationError, match=message):
            load_calibration(tmp_path / "rig.yaml")
    (tmp_path / "rgb.yaml").write_text("image_width: 640\nimage_height: 480\n")
    with pytest.raises(CalibrationError, match=r"rgb\.yaml: expected a camera_matrix"):
        load_camera(tmp_path / "rgb.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "sizes only"),
        ({"rgb_camera": THERMAL}, "rgb camera for images of 640 x 480, got one for 320 x 256"),
        ({"rgb_from_thermal": np.diag([1.0, 1.0, -1.0, 1.0])}, "rotation and a translation"),
        ({"homography": HOMOGRAPHY, "rgb_size": (0, 640)}, "rgb_size: expected a height and a width"),
        ({"homography": HOMOGRAPHY, "thermal_size": (256.5, 320)}, "thermal_size: expected a height"),
    ],
)
def test_a_calibration_that_cannot_be_is_not_made(values, message):
    with pytest.raises(CalibrationError, match=message):
        Calibration(**{"rgb_size": (480, 640), "thermal_size": (256, 320), **values})


def test_saving_where_nothing_can_be_written_says_so(tmp_path):
    with pytest.raises(CalibrationError, match="cannot write the calibration to"):
        Calibration((480, 640), (256, 320), HOMOGRAPHY).save(tmp_path / "absent" / "rig.yaml")


@pytest.mark.parametrize(
    "vector", [(0, 0, 0), (0.3, -0.2, 0.1), (np.pi, 0, 0), (0, np.pi, 0), (0, 0, np.pi), (2.1, -1.9, 0.4)]
)
def test_a_quaternion_is_the_rotation_that_opencv_knows(vector):
    matrix, _ = cv2.Rodrigues(np.array(vector, float))
    angle = float(np.linalg.norm(vector))
    axis = np.array(vector) / (angle or 1.0)
    quaternion = (*(axis * np.sin(angle / 2)), np.cos(angle / 2))
    made = pose_from_quaternion((1.0, 2.0, 3.0), quaternion)
    np.testing.assert_allclose(made[:3, :3], matrix, atol=1e-12)
    np.testing.assert_array_equal(made[:, 3], (1, 2, 3, 1))
    np.testing.assert_allclose(np.abs(np.dot(quaternion_from_pose(made), quaternion)), 1.0, atol=1e-12)
