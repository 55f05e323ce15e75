"""``fusion-ros calibrate``: from recordings to a file that the coarse alignment loads, and what it refuses."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import yaml

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.alignment.calibration import load_calibration
from fusion_ros.cli.main import main
from fusion_ros.cli.sinks import write_image
from fusion_ros.media import read_image

RGB_SIZE, THERMAL_SIZE = (240, 320), (128, 160)
TRUE = np.array([[1.5, -0.06, 45.0], [0.06, 1.5, 18.0], [0.0, 0.0, 1.0]])
SHORT = ["--matching.narrowest_view", "0.7", "--matching.widest_view", "0.8", "--matching.rotation_deg", "4"]


def scene(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = np.full(RGB_SIZE, 128, np.uint8)
    for _ in range(60):
        place = random.integers((0, 0), RGB_SIZE[::-1])
        corners = (place + random.integers(-26, 27, (4, 2))).astype(np.int32)
        cv2.fillPoly(image, [cv2.convexHull(corners)], int(random.integers(10, 245)))
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def write_pair(folder, name: str, rgb: np.ndarray, thermal: np.ndarray) -> None:
    write_image(folder / "rgb" / f"{name}.png", np.dstack([rgb] * 3))
    write_image(folder / "thermal" / f"{name}.png", thermal)


def calibrate(folder, *options: str) -> int:
    paths = ["--rgb", str(folder / "rgb"), "--thermal", str(folder / "thermal"), "--out", str(folder / "rig.yaml")]
    return main(["calibrate", *paths, *options])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two moments of a rig whose thermal camera gives 16-bit counts, warmer where it is darker."""
    folder = tmp_path_factory.mktemp("recording")
    for seed in (0, 1):
        rgb = scene(seed)
        seen = cv2.warpPerspective(
            rgb, TRUE, THERMAL_SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        ).astype(np.float32)
        write_pair(folder, f"{seed:03d}", rgb, (9000 - 8 * seen).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def calibrated(recording):
    """The folder once the verb ran."""
    assert calibrate(recording, *SHORT) == 0
    return recording


def test_the_file_holds_the_homography(calibrated):
    found = load_calibration(calibrated / "rig.yaml")
    assert (found.rgb_size, found.thermal_size) == (RGB_SIZE, THERMAL_SIZE)
    corners = np.array([(0, 0, 1), (159, 0, 1), (0, 127, 1), (159, 127, 1)], float)
    places = [(corners @ matrix.T)[:, :2] / (corners @ matrix.T)[:, 2:] for matrix in (found.homography, TRUE)]
    assert np.linalg.norm(places[0] - places[1], axis=1).max() < 1.0
    assert found.residual_px < 1.0
    assert "2 frames without a board" in found.comment


def test_the_coarse_alignment_takes_the_file(calibrated):
    settings = CoarseSettings(mode="calibration", calibration_file=str(calibrated / "rig.yaml"))
    counts = read_image(calibrated / "thermal" / "000.png")
    aligned = CoarseAligner(settings)(counts, RGB_SIZE)
    inner = (slice(60, 180), slice(90, 230))
    rgb = read_image(calibrated / "rgb" / "000.png")[..., 0].astype(float)
    assert np.corrcoef(aligned.pixels[inner].ravel(), rgb[inner].ravel())[0, 1] < -0.95


def test_the_picture_shows_before_and_after(calibrated):
    picture = read_image(calibrated / "rig.png")
    assert picture.ndim == 3 and picture.shape[1] > 4 * 320
    height = picture.shape[0]
    after = picture[40 : height // 2, -500:-100].astype(int)
    before = picture[40 : height // 2, -1140:-740].astype(int)
    # Where the edges coincide, red and cyan make grey.
    assert np.abs(after[..., 0] - after[..., 1]).mean() < 0.6 * np.abs(before[..., 0] - before[..., 1]).mean()


def test_what_was_found_is_said(recording, capsys):
    assert calibrate(recording, *SHORT, "--overwrite", "--matching.model", "similarity") == 0
    text = capsys.readouterr().out
    assert "2 of 2 frames used" in text
    assert re.search(r"similarity: \d+ of \d+ distinct blocks agree, median residual 0\.\d+ px", text)
    assert re.search(r"the thermal image is 75% of the RGB image wide, turned by 2\.[123] deg", text)
    assert "2 of 2 frames agree" in text


def test_known_lenses_give_a_rotation(recording, tmp_path):
    for name, (height, width), focal in (("rgb", RGB_SIZE, 300.0), ("thermal", THERMAL_SIZE, 200.0)):
        matrix = [focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1]
        content = {"image_width": width, "image_height": height, "camera_matrix": {"data": matrix}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    lenses = [f"--{name}-camera={tmp_path / name}.yaml" for name in ("rgb", "thermal")]
    out = ["--out", str(tmp_path / "rig.yaml"), "--translation", "0.05", "0", "0", "--distance", "10"]
    assert calibrate(recording, *SHORT, *lenses, *out) == 0
    found = load_calibration(tmp_path / "rig.yaml")
    assert found.distance_m == 10.0
    assert found.rgb_from_thermal[:3, 3].tolist() == [0.05, 0.0, 0.0]
    centre, there = (found.rig.homography(10.0) @ (79.5, 63.5, 1.0)), TRUE @ (79.5, 63.5, 1.0)
    np.testing.assert_allclose(centre[:2] / centre[2], there[:2], atol=1.0)


def test_a_board_gives_the_homography(tmp_path, capsys):
    print_ = np.full((300, 420), 235, np.uint8)
    for row, column in np.ndindex(5, 8):
        if (row + column) % 2 == 0:
            print_[50 + 40 * row : 90 + 40 * row, 50 + 40 * column : 90 + 40 * column] = 15
    place = np.array([[0.5, 0.02, 60], [-0.02, 0.5, 50], [0, 0, 1.0]])
    rgb = cv2.warpPerspective(print_, place, RGB_SIZE[::-1], borderValue=120, flags=cv2.INTER_AREA)
    thermal = 255 - cv2.warpPerspective(rgb, np.linalg.inv(TRUE), THERMAL_SIZE[::-1], borderValue=120)
    write_pair(tmp_path, "board", rgb, thermal)
    assert calibrate(tmp_path, "--board", "7x4", "--square", "0.04") == 0
    assert "found in 1 of 1 pairs" in capsys.readouterr().out
    found = load_calibration(tmp_path / "rig.yaml").homography
    points = np.array([(60, 50, 1), (100, 50, 1), (60, 90, 1), (100, 90, 1)], float)
    places = [(points @ matrix.T)[:, :2] / (points @ matrix.T)[:, 2:] for matrix in (found, TRUE)]
    np.testing.assert_allclose(*places, atol=0.5)
    assert calibrate(tmp_path, "--board", "9x6", "--square", "0.04", "--overwrite") == 2
    assert "the board was found in 0 of 1 pairs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("black", "2: the thermal image is black or saturated"),
        ("noise", "2: the thermal image is noise"),
        ("sizes", "expected thermal images of one size, 160 x 128"),
    ],
)
def test_frames_that_do_not_tell_are_refused_and_nothing_is_written(kind, reason, tmp_path, capsys):
    random = np.random.default_rng(0)
    for index in range(2):
        size = (100, 100) if kind == "sizes" and index else THERMAL_SIZE
        thermal = {
            "black": np.zeros(size, np.uint8),
            "noise": random.integers(0, 256, size, np.uint8),
            "sizes": cv2.resize(scene(5), size[::-1]),
        }[kind]
        write_pair(tmp_path, f"{index}", scene(index), thermal)
    assert calibrate(tmp_path) == 2
    shown = capsys.readouterr()
    assert reason in shown.err and shown.err.startswith("fusion-ros: error: ")
    assert not (tmp_path / "rig.yaml").exists() and not (tmp_path / "rig.png").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--board", "8by6"], "expected COLUMNSxROWS such as 8x6, got '8by6'"),
        (["--board", "8x6"], "its --square is missing"),
        (["--square", "0.05"], "--square describes a board"),
        (["--rgb-camera", "x.yaml"], "--rgb-camera and --thermal-camera together"),
        (["--distance", "5"], "needs both cameras' lenses"),
        (["--distance", "-1"], "expected a positive number of metres"),
        (["--translation", "0", "0", "0"], "--translation goes with"),
        (["--estimate-intrinsics"], "needs a --board"),
        (["--out", "rig.txt"], "expected a .yaml file"),
        (["--picture", "rig.gif"], "expected a picture"),
        (["--matching.frames", "0"], "frames: expected 1 to 200"),
    ],
)
def test_options_that_contradict_one_another_are_refused(options, reason, recording, capsys):
    assert calibrate(recording, "--overwrite", *options) == 2
    assert reason in capsys.readouterr().err


def test_an_existing_file_is_not_overwritten(calibrated, capsys):
    before = (calibrated / "rig.yaml").read_bytes()
    assert calibrate(calibrated) == 2
    assert "exists already" in capsys.readouterr().err
    assert (calibrated / "rig.yaml").read_bytes() == before


def test_nothing_to_calibrate_from_is_refused(tmp_path, capsys):
    assert main(["calibrate", "--out", str(tmp_path / "rig.yaml")]) == 2
    assert "nothing to calibrate from: give --rgb and --thermal, or --bag" in capsys.readouterr().err
