"""`fusion-ros track`: a target in, pictures and a table out."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tracked_clips import BOX, COUNT, small_model, true_boxes, write_clips

from fusion_ros.cli.main import main
from fusion_ros.evaluation.tracking.pictures import draw_box
from fusion_ros.metrics.tracking import overlap

GREEN = [0, 220, 0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A recording with truth, and a small model."""
    folder = write_clips(tmp_path_factory.mktemp("drive") / "clips")
    small_model(folder.parent)
    return folder


def _track(clips: Path, *options: object, target: bool = True) -> int:
    sources = ["--rgb", clips / "rgb", "--thermal", clips / "thermal"]
    model = ["--features.model", clips.parent / "small", "--engine.name", "torch", "--engine.threads", 1]
    box = ["--box", ",".join(map(str, BOX))] if target else []
    return main(["track", *map(str, (*sources, *model, *box, *options))])


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def _boxes(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(row[name] or "nan") for name in "xywh"] for row in rows])


@pytest.mark.parametrize("modality", ["fused", "rgb", "thermal"])
def test_a_target_is_followed_by_what_either_camera_sees(clips, tmp_path, modality):
    assert _track(clips, "--modality", modality, "--tracks", tmp_path / "tracks.csv") == 0
    rows = _rows(tmp_path / "tracks.csv")
    assert list(rows[0]) == ["stamp_ns", "frame", "status", "x", "y", "w", "h", "confidence"]
    assert [row["frame"] for row in rows] == [f"{index:03d}" for index in range(COUNT)]
    assert [int(row["stamp_ns"]) for row in rows] == [40_000_000 * index for index in range(COUNT)]
    assert {row["status"] for row in rows} == {"tracking"}
    assert overlap(_boxes(rows), true_boxes()).mean() > 0.6


def test_the_first_box_of_a_truth_file_is_the_target_and_the_result_is_compared(clips, tmp_path, capsys):
    lines = (clips / "groundtruth.txt").read_text().splitlines()
    truth = tmp_path / "later.txt"
    truth.write_text("\n".join([lines[0], *lines[4:10]]))  # frames 3 to 8
    assert _track(clips, "--truth", truth, "--tracks", tmp_path / "tracks.csv", target=False) == 0
    rows = _rows(tmp_path / "tracks.csv")
    assert [row["status"] for row in rows[:4]] == ["idle", "idle", "idle", "tracking"]
    assert rows[0]["x"] == "" and np.allclose(_boxes(rows)[3], true_boxes()[3])
    shown = capsys.readouterr().out
    assert "3 idle, 13 tracking" in shown and "against the truth in 6 frames: success" in shown


def test_pictures_show_the_box_that_the_table_says_in_the_colour_of_the_state(clips, tmp_path):
    assert _track(clips, "--output", tmp_path / "frames", "--tracks", tmp_path / "tracks.csv") == 0
    rows = _rows(tmp_path / "tracks.csv")
    for row in (rows[0], rows[-1]):
        picture = cv2.imread(str(tmp_path / "frames" / f"{row['frame']}.png"))[..., ::-1]
        wanted = np.zeros_like(picture)
        draw_box(wanted, _boxes([row])[0], (255, 255, 255))
        drawn = picture[wanted[..., 0] > 0]
        assert (drawn == GREEN).all()
        source = cv2.imread(str(clips / "rgb" / f"{row['frame']}.png"))[..., ::-1]
        assert np.array_equal(picture[-10:], source[-10:])


def test_the_thermal_image_is_shown_beside_in_a_video_that_can_be_read(clips, tmp_path):
    assert _track(clips, "--output", tmp_path / "both.mp4", "--side-by-side", "--rate", 10) == 0
    capture = cv2.VideoCapture(str(tmp_path / "both.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (COUNT, 10.0)
    frame = capture.read()[1].astype(float)
    rgb, thermal = frame[-30:, :160].mean(axis=2), frame[-30:, 160:].mean(axis=2)
    assert frame.shape == (112, 320, 3) and np.corrcoef(rgb.ravel(), thermal.ravel())[0, 1] < -0.8


def test_a_bag_gives_what_its_images_give(clips, tmp_path):
    images = ["--rgb", clips / "rgb", "--thermal", clips / "thermal"]
    assert main(["bag", "make", *map(str, images), "--rate", "25", "--out", str(tmp_path / "drive")]) == 0
    assert _track(clips, "--tracks", tmp_path / "images.csv") == 0
    model = ["--features.model", clips.parent / "small", "--engine.name", "torch", "--engine.threads", 1]
    options = ["--bag", tmp_path / "drive", "--box", ",".join(map(str, BOX)), "--tracks", tmp_path / "bag.csv"]
    assert main(["track", *map(str, (*options, *model))]) == 0
    wanted, found = _rows(tmp_path / "images.csv"), _rows(tmp_path / "bag.csv")
    assert np.allclose(_boxes(found), _boxes(wanted), atol=0.01)
    steps = np.diff([int(row["stamp_ns"]) for row in found])
    assert (abs(steps - 40_000_000) < 1000).all()


def test_a_layer_of_any_network_can_be_followed(clips, tmp_path):
    options = ("--features.layers", "infrared", "--tracks", tmp_path / "layer.csv")
    assert _track(clips, *options) == 0
    assert _track(clips, "--modality", "thermal", "--tracks", tmp_path / "modality.csv") == 0
    assert (tmp_path / "layer.csv").read_bytes() == (tmp_path / "modality.csv").read_bytes()


def test_a_damaged_image_costs_its_frame_and_is_said(clips, tmp_path, capsys):
    broken = write_clips(tmp_path / "broken")
    (broken / "rgb" / "005.png").write_bytes((broken / "rgb" / "005.png").read_bytes()[:200])
    model = ("--features.model", clips.parent / "small")
    assert _track(broken, *model, "--tracks", tmp_path / "tracks.csv") == 1
    assert "005.png" in capsys.readouterr().err
    assert len(_rows(tmp_path / "tracks.csv")) == COUNT - 1


def test_what_is_there_already_stays(clips, tmp_path, capsys):
    (tmp_path / "tracks.csv").write_text("mine")
    assert _track(clips, "--tracks", tmp_path / "tracks.csv") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "tracks.csv").read_text() == "mine"
    assert _track(clips, "--tracks", tmp_path / "tracks.csv", "--overwrite") == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "expected --box X,Y,W,H in the first frame, or --truth FILE; got neither"),
        (["--box", "1,2,3"], "--box: expected four numbers"),
        (["--box", "1,2,3,4", "--truth", "x"], "got both"),
        (["--truth", "/nowhere"], "/nowhere: expected a file"),
        (["--box", "500,500,20,20"], "box: expected"),
        (["--box", "10,10,0,20"], "box: expected"),
        (["--box", "1,2,30,40", "--bag", "x"], "expected --rgb and --thermal, or --bag; got both"),
        (["--box", "1,2,30,40", "--model", "average"], "--model is for fused images"),
        (["--box", "1,2,30,40", "--reference", "thermal"], "--reference: expected rgb"),
        (["--box", "1,2,30,40", "--features.layers", "fused,visible"], "expected the one layer"),
        (["--box", "1,2,30,40", "--features.layers", "fusd"], "did you mean 'fused'"),
        (["--box", "1,2,30,40", "--output", "x.mp4", "--rate", "0"], "--rate: expected a positive number"),
    ],
)
def test_a_mistake_is_one_clear_line(clips, tmp_path, capsys, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    assert _track(clips, "--tracks", tmp_path / "tracks.csv", *options, target=False) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_without_a_place_for_results_nothing_is_done(clips, capsys):
    assert _track(clips) == 2
    assert "expected --output or --tracks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0,1,2,3", "truth.txt: expected lines of frame,x,y,width,height"),
        ("0,1,2,0,0", "truth.txt: expected a box of the target, got none"),
        ("900,1,2,30,40", "expected a box of one of the 16 pairs, got the first of pair 900"),
    ],
)
def test_a_truth_file_that_cannot_be_used_says_where(clips, tmp_path, capsys, text, reason):
    (tmp_path / "truth.txt").write_text(text)
    options = ("--truth", tmp_path / "truth.txt", "--tracks", tmp_path / "tracks.csv")
    assert _track(clips, *options, target=False) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("choice", ["alone", "fuse"])
def test_a_thermal_image_that_is_repeated_stays_in_the_picture_whatever_is_followed(clips, tmp_path, choice):
    shutil.copytree(clips, tmp_path / "clips")
    frozen = tmp_path / "clips" / "thermal"
    for index in range(4, 8):
        shutil.copyfile(frozen / "003.png", frozen / f"{index:03d}.png")
    options = [
        "--rgb", clips / "rgb", "--thermal", frozen, "--features.model", clips.parent / "small",
        "--engine.name", "torch", "--engine.threads", 1, "--box", ",".join(map(str, BOX)),
        "--output", tmp_path / "frames", "--side-by-side", "--repeated", choice,
    ]  # fmt: skip
    assert main(["track", *map(str, options)]) == 0
    pictures = [cv2.imread(str(tmp_path / "frames" / f"{index:03d}.png")) for index in (3, 5)]
    held, repeated = (picture[-10:, picture.shape[1] // 2 :] for picture in pictures)  # no box reaches there
    assert held.any()
    np.testing.assert_array_equal(repeated, held)
