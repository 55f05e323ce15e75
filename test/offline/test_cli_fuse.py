"""``fusion-ros fuse``: which pictures meet, what is written, and what is refused.

The fusion itself is replaced by something whose result is known: red is the RGB image's green
channel, green is the thermal image, blue says how many pairs the pipeline has seen since its reset.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from known_videos import break_off, write_video

from fusion_ros import media
from fusion_ros.alignment.fine import FineAlignment, State
from fusion_ros.cli import fuse
from fusion_ros.cli.main import main
from fusion_ros.cli.sinks import write_image
from fusion_ros.frame import FramePair, Unit
from fusion_ros.media import read_image
from fusion_ros.pipeline import FusionResult, FusionSettings, Mode


class KnownPipeline:
    """Stands in for FusionPipeline and remembers the pairs."""

    description = "known on nothing"

    def __init__(self, settings: FusionSettings) -> None:
        self.settings = settings
        self.pairs: list[FramePair] = []
        self.seen = 0

    def reset(self) -> None:
        self.seen = 0

    def __call__(self, pair: FramePair) -> FusionResult:
        self.pairs.append(pair)
        self.seen += 1
        thermal = pair.thermal.pixels.astype(np.uint8)
        count = np.full_like(thermal, self.seen)
        image = np.dstack([pair.rgb.pixels[..., 1], thermal, count])
        return FusionResult(image, image.shape[:2], Mode.FUSED, pair.rgb, stage_ms={"fuse": 2.0})


@pytest.fixture
def opened(monkeypatch) -> list[KnownPipeline]:
    """The pipelines that the verb opened."""
    pipelines: list[KnownPipeline] = []

    def open_known(settings: FusionSettings) -> KnownPipeline:
        pipelines.append(KnownPipeline(settings))
        return pipelines[-1]

    monkeypatch.setattr(fuse, "open_pipeline", open_known)
    return pipelines


def rgb_picture(value: int) -> np.ndarray:
    return np.dstack([np.full((16, 24), channel, np.uint8) for channel in (1, value, 3)])


def write_pictures(folder, rgb: dict[str, int], thermal: dict[str, int]) -> None:
    for name, value in rgb.items():
        write_image(folder / "rgb" / f"{name}.png", rgb_picture(value))
    for name, value in thermal.items():
        write_image(folder / "thermal" / f"{name}.png", np.full((16, 24), value, np.uint8))


def run(folder, *options: str, rgb="rgb", thermal="thermal", out="out") -> int:
    paths = ["--rgb", str(folder / rgb), "--thermal", str(folder / thermal), "--out", str(folder / out)]
    return main(["fuse", *paths, *options])


def test_two_images_of_any_name_become_one(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"color": 40}, {"heat": 90})
    assert run(tmp_path, rgb="rgb/color.png", thermal="thermal/heat.png", out="new/fused.png") == 0
    image = read_image(tmp_path / "new" / "fused.png")
    assert image[0, 0].tolist() == [40, 90, 1]
    shown = capsys.readouterr().out
    assert "known on nothing" in shown
    assert "new/fused.png: 1 fused" in shown
    assert "fuse 2.0" in shown


def test_an_alignment_that_cannot_be_run_is_told_and_counts_as_failure(tmp_path, opened, monkeypatch, capsys):
    write_pictures(tmp_path, {"a": 10, "b": 20}, {"a": 110, "b": 120})
    failed = FineAlignment(None, State.NONE, 0.0, "the estimate failed: no such arithmetic", True, has_failed=True)
    fused = KnownPipeline.__call__
    monkeypatch.setattr(KnownPipeline, "__call__", lambda self, pair: replace(fused(self, pair), alignment=failed))
    assert run(tmp_path) == 1
    assert "not aligned 2 times: the estimate failed: no such arithmetic" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 2  # they are fused all the same


def test_folders_pair_by_name_and_the_rest_is_reported(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 10, "b": 20, "c": 30}, {"b": 120, "c": 130, "d": 140})
    assert run(tmp_path) == 0
    found = {file.name: read_image(file)[0, 0].tolist() for file in (tmp_path / "out").iterdir()}
    assert found == {"b.png": [20, 120, 1], "c.png": [30, 130, 2]}
    assert "2 images have no partner and are left out: a, d" in capsys.readouterr().out


def test_independent_pictures_are_fused_without_memory(tmp_path, opened):
    write_pictures(tmp_path, {"b": 20, "c": 30}, {"b": 120, "c": 130})
    assert run(tmp_path, "--independent") == 0
    assert [read_image(file)[0, 0, 2] for file in (tmp_path / "out").iterdir()] == [1, 1]


def test_sixteen_bit_thermal_images_reach_the_pipeline_as_counts(tmp_path, opened):
    counts = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) + 7000
    write_pictures(tmp_path, {"a": 10}, {})
    write_image(tmp_path / "thermal" / "a.tiff", counts)
    assert run(tmp_path) == 0
    (pair,) = opened[0].pairs
    np.testing.assert_array_equal(pair.thermal.pixels, counts)
    assert pair.thermal.unit is Unit.COUNTS


def test_videos_are_fused_frame_by_frame_until_the_shorter_ends(tmp_path, opened):
    for name, count in (("rgb.avi", 5), ("thermal.avi", 7)):
        write_video(tmp_path / name, count)
    assert run(tmp_path, rgb="rgb.avi", thermal="thermal.avi", out="fused.mp4") == 0
    capture = cv2.VideoCapture(str(tmp_path / "fused.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (5, 10)
    assert [pair.rgb.stamp_ns for pair in opened[0].pairs] == [index * 10**8 for index in range(5)]
    assert np.allclose([pair.thermal.pixels.mean() for pair in opened[0].pairs], np.arange(5) * 20, atol=3)
    assert opened[0].pairs[0].thermal.pixels.ndim == 2


def test_the_frames_that_only_the_longer_video_has_are_counted(tmp_path, opened, capsys):
    for name, count in (("rgb.avi", 5), ("thermal.avi", 7)):
        write_video(tmp_path / name, count)
    assert run(tmp_path, rgb="rgb.avi", thermal="thermal.avi", out="fused") == 0
    assert "2 frames of the longer video are left out" in capsys.readouterr().out
    assert run(tmp_path, rgb="rgb.avi", thermal="rgb.avi", out="again") == 0
    assert "left out" not in capsys.readouterr().out


def test_videos_of_different_frame_rates_are_refused(tmp_path, opened, capsys):
    write_video(tmp_path / "rgb.avi", 9, 30.0)
    write_video(tmp_path / "thermal.avi", 3, 9.0)
    assert run(tmp_path, rgb="rgb.avi", thermal="thermal.avi", out="fused.mp4") == 2
    assert "got 30 and 9 frames a second; make a bag of them" in capsys.readouterr().err
    assert not (tmp_path / "fused.mp4").exists()


@pytest.mark.parametrize("declared", [0.0, float("nan")], ids=["zero", "not_a_number"])
def test_a_frame_rate_that_a_video_does_not_declare_is_not_compared(tmp_path, opened, monkeypatch, declared):
    for name in ("rgb.avi", "thermal.avi"):
        write_video(tmp_path / name, 3)
    opened_by_opencv = media.open_capture

    def open_capture(path):
        capture = opened_by_opencv(path)
        if path.name == "rgb.avi":
            return capture
        values = {cv2.CAP_PROP_FPS: declared, cv2.CAP_PROP_FRAME_COUNT: 3.0}
        return SimpleNamespace(get=values.__getitem__, read=capture.read, release=capture.release)

    monkeypatch.setattr(media, "open_capture", open_capture)
    assert run(tmp_path, rgb="rgb.avi", thermal="thermal.avi", out="fused.mp4") == 0
    assert len(opened[0].pairs) == 3


def test_pictures_numbered_without_zeros_are_fused_in_order_of_the_numbers(tmp_path, opened):
    numbers = {f"frame_{number}": number for number in range(1, 13)}
    write_pictures(tmp_path, numbers, numbers)
    assert run(tmp_path) == 0
    assert [int(pair.thermal.pixels[0, 0]) for pair in opened[0].pairs] == list(range(1, 13))


def test_a_video_that_breaks_off_is_fused_as_far_as_it_goes_and_named(tmp_path, opened, capsys):
    for name in ("rgb.avi", "thermal.avi"):
        write_video(tmp_path / name, 12)
    break_off(tmp_path / "thermal.avi", 5)
    assert run(tmp_path, rgb="rgb.avi", thermal="thermal.avi", out="fused.mp4") == 2
    shown = capsys.readouterr()
    assert "thermal.avi: damaged: only 5 of 12 frames can be decoded" in shown.err
    assert "5 fused" in shown.out
    assert cv2.VideoCapture(str(tmp_path / "fused.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5


def test_the_file_of_the_robot_serves_here_too(repository, tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 1}, {"a": 2})
    assert run(tmp_path, "--params", str(repository / "config" / "fusion.yaml")) == 0
    assert opened[0].settings == FusionSettings()
    assert "fusion.yaml: not used here: pairing.timeout_ms" in capsys.readouterr().err


def test_options_and_yaml_reach_the_pipeline(tmp_path, opened):
    write_pictures(tmp_path, {"a": 1}, {"a": 2})
    (tmp_path / "params.yaml").write_text("output: {scale: 0.5}\nmodel: lrrnet\n")
    assert run(tmp_path, "--params", str(tmp_path / "params.yaml"), "--no-output.color", "--model", "didfuse") == 0
    expected = {"output.scale": 0.5, "output.color": False, "model": "didfuse"}
    assert opened[0].settings == FusionSettings.from_mapping(expected)


@pytest.mark.parametrize(
    ("rgb", "thermal", "out", "reason"),
    [
        ("nowhere", "thermal", "out", "no rgb images at"),
        ("rgb", "empty", "out", "no image in this folder"),
        ("rgb", "notes.txt", "out", "got '.txt'"),
        ("rgb", "broken.mp4", "out", "broken.mp4: cannot be opened as a video"),
        ("rgb", "thermal", "fused.png", "many images cannot go into one"),
        ("rgb", "thermal", "taken", "exists already"),
        ("rgb/a.png", "bad.png", "fused.png", "bad.png"),
    ],
)
def test_what_cannot_be_fused_is_refused_with_its_name(tmp_path, opened, capsys, rgb, thermal, out, reason):
    write_pictures(tmp_path, {"a": 1, "b": 2}, {"a": 2, "b": 3})
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    for name in ("notes.txt", "broken.mp4", "bad.png"):
        (tmp_path / name).write_text("hello")
    assert run(tmp_path, rgb=rgb, thermal=thermal, out=out) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "fused.png").exists()


def test_folders_without_a_common_name_are_refused(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"rgb_001": 1, "rgb_002": 1}, {"ir_001": 1, "ir_002": 1})
    assert run(tmp_path) == 2
    assert "no image name occurs in both" in capsys.readouterr().err


def test_folders_of_one_image_each_pair_by_name_too(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"001": 1}, {"777": 1})
    assert run(tmp_path) == 2
    assert "no image name occurs in both" in capsys.readouterr().err
    assert run(tmp_path, rgb="rgb/001.png", thermal="thermal/777.png", out="fused.png") == 0


def test_hidden_files_and_folders_named_like_images_are_no_images(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 10, "b": 20}, {"a": 1, "b": 2})
    (tmp_path / "rgb" / "._a.png").write_bytes(b"what macOS writes beside an image")
    (tmp_path / "thermal" / "c.png").mkdir()
    assert run(tmp_path) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    assert "no partner" not in capsys.readouterr().out


def test_two_files_of_one_name_are_refused(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 1, "b": 1}, {"a": 1, "b": 1})
    write_image(tmp_path / "rgb" / "a.jpg", rgb_picture(3))
    assert run(tmp_path) == 2
    assert "a.jpg and a.png have one name" in capsys.readouterr().err


def test_what_was_fused_before_an_error_stays(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 1, "b": 1}, {"a": 1, "b": 1})
    (tmp_path / "thermal" / "b.png").write_bytes(b"")
    assert run(tmp_path) == 2
    shown = capsys.readouterr()
    assert "thermal/b.png" in shown.err
    assert "1 fused" in shown.out
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.png"]


def test_an_existing_result_is_replaced_only_on_request(tmp_path, opened, capsys):
    write_pictures(tmp_path, {"a": 1}, {"a": 1})
    assert run(tmp_path, out="fused.png") == 0
    assert run(tmp_path, out="fused.png") == 2
    assert run(tmp_path, "--overwrite", out="fused.png") == 0
    assert run(tmp_path, "--rate", "0", out="other.png") == 2
    assert "--rate" in capsys.readouterr().err
