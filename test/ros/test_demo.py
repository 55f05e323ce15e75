"""The demo, end to end: three processes over real DDS, and books that balance."""

from __future__ import annotations

import json

import cv2
import pytest

from fusion_ros.bags import BagReader, BagWriter, frames
from fusion_ros.cli.main import main


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--duration", "3", "--out", str(out)]) == 0
    return out


def test_every_frame_is_fused_or_counted_with_a_reason(demo):
    report = json.loads((demo / "report.json").read_text())
    assert report["discrepancies"] == []
    assert report["published"] == {"rgb": 90, "thermal": 75}
    for sensor, received in report["received"].items():
        assert received == report["paired"] + sum(report["dropped"][sensor].values())
    assert report["paired"] == sum(report["pairs"].values())
    assert 0 < report["recorded"] <= report["pairs"]["fused"]


def test_the_fused_bag_holds_what_the_report_says(demo):
    report = json.loads((demo / "report.json").read_text())
    with BagReader(demo / "fused") as bag:
        fused = list(frames(bag, "/fused/image"))
    assert len(fused) == report["recorded"]
    stamps = [frame.stamp_ns for frame in fused]
    assert stamps == sorted(set(stamps))
    with BagReader(demo / "synthetic") as bag:
        assert set(stamps) <= {frame.stamp_ns for frame in frames(bag, "/rgb/image_raw")}


def test_the_contact_sheet_is_a_picture_of_three_columns(demo):
    sheet = cv2.imread(str(demo / "contact_sheet.png"))
    assert sheet.shape[1] == 3 * 324
    assert sheet.shape[0] > 240
    assert sheet.std() > 20


def test_a_bag_without_named_topics_lists_what_it_has(demo, tmp_path, capsys):
    assert main(["demo", "--bag", str(demo / "synthetic"), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "/rgb/image_raw" in error
    assert "/thermal/image_raw" in error


def test_a_wrong_topic_names_the_nearest(demo, tmp_path, capsys):
    arguments = ["--bag", str(demo / "synthetic"), "--rgb", "/rgb/image", "--thermal", "/thermal/image_raw"]
    assert main(["demo", *arguments, "--out", str(tmp_path)]) == 2
    assert "did you mean '/rgb/image_raw'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rgb", "/rgb/image_raw"], "give it with --bag"),
        (["--duration", "-1"], "--duration: expected at least 1 s"),
        (["--duration", "0"], "--duration: expected at least 1 s"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is_written(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert main(["demo", *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_what_is_not_a_bag_is_not_removed(demo, tmp_path, capsys):
    keep = tmp_path / "out" / "fused" / "photo.txt"
    keep.parent.mkdir(parents=True)
    keep.write_text("mine")
    arguments = ["--bag", str(demo / "synthetic"), "--rgb", "/rgb/image_raw", "--thermal", "/thermal/image_raw"]
    assert main(["demo", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "not a bag" in capsys.readouterr().err
    assert keep.read_text() == "mine"


def test_the_bag_that_is_played_is_never_the_one_that_is_written(demo, capsys):
    arguments = ["--bag", str(demo / "fused"), "--rgb", "/fused/image", "--thermal", "/fused/image"]
    assert main(["demo", *arguments, "--out", str(demo)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert (demo / "fused" / "metadata.yaml").is_file()


def test_a_compressed_recording_of_ones_own_is_fused(demo, tmp_path):
    own = tmp_path / "own"
    with BagReader(demo / "synthetic") as bag, BagWriter(own) as writer:
        for camera, kind in (("rgb", "jpeg"), ("thermal", "png")):
            for frame in list(frames(bag, f"/{camera}/image_raw"))[:40]:
                writer.write_frame(f"/cam/{camera}/compressed", frame, frame.stamp_ns, compressed=kind)
    arguments = ["--bag", str(own), "--rgb", "/cam/rgb/compressed", "--thermal", "/cam/thermal/compressed"]
    assert main(["demo", *arguments, "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["recorded"] > 0
    assert report["topics"] == {"rgb": "/cam/rgb/compressed", "thermal": "/cam/thermal/compressed"}
