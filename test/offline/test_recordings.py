"""Images and videos as recordings: what belongs together, what is missing, and that both are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from known_videos import break_off, write_video

from fusion_ros.cli.main import main
from fusion_ros.cli.recordings import open_recording
from fusion_ros.errors import ImageError
from fusion_ros.evaluation.recording import Moment
from fusion_ros.evaluation.results import SourceFacts


def read(folder: Path, **fused: str) -> tuple[list[Moment], list[str], SourceFacts]:
    """Return the pairs, the problems and the facts of rgb.avi and thermal.avi."""
    paths = {label: str(folder / name) for label, name in fused.items()}
    recording = open_recording(str(folder / "rgb.avi"), str(folder / "thermal.avi"), paths, is_sequence=False)
    reading = recording.open()
    moments = list(reading)
    pairs = [moment for moment in moments if moment.pair is not None]
    return pairs, [moment.problem for moment in moments if moment.pair is None], reading.facts()


def write_both(folder: Path, rgb: int, thermal: int) -> None:
    write_video(folder / "rgb.avi", rgb)
    write_video(folder / "thermal.avi", thermal)


def write_images(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((16, 24), np.uint8))
    return str(folder)


def means(pairs: list[Moment], sensor: str) -> list[float]:
    return [getattr(moment.pair, sensor).pixels.mean() for moment in pairs]


def test_a_longer_intact_video_has_a_rest_and_no_problem(tmp_path):
    write_both(tmp_path, 12, 8)
    pairs, problems, facts = read(tmp_path)
    np.testing.assert_allclose(means(pairs, "rgb"), np.arange(8) * 20, atol=3)
    assert problems == []
    assert (facts.received, facts.paired) == ({"rgb": 12, "thermal": 8}, 8)
    assert facts.dropped == {"rgb": {"beyond the shorter video": 4}}


@pytest.mark.parametrize(("broken", "intact"), [("rgb", "thermal"), ("thermal", "rgb")])
def test_a_video_that_breaks_off_is_a_problem(tmp_path, broken, intact):
    write_both(tmp_path, 12, 12)
    break_off(tmp_path / f"{broken}.avi", 5)
    pairs, problems, facts = read(tmp_path)
    assert [moment.name for moment in pairs] == [f"{number:06d}" for number in range(5)]
    for sensor in (broken, intact):
        np.testing.assert_allclose(means(pairs, sensor), np.arange(5) * 20, atol=3)
    (problem,) = problems
    assert f"{tmp_path / broken}.avi: damaged: only 5 of 12 frames can be decoded" in problem
    assert (facts.received, facts.paired) == ({broken: 5, intact: 12}, 5)
    assert facts.dropped == {intact: {"partner cannot be decoded": 7}}


def test_what_the_intact_video_has_more_than_the_broken_one_ever_had_is_beyond_it(tmp_path):
    write_both(tmp_path, 12, 10)
    break_off(tmp_path / "thermal.avi", 4)
    _, _, facts = read(tmp_path)
    assert facts.dropped == {"rgb": {"partner cannot be decoded": 6, "beyond the shorter video": 2}}


def test_two_videos_that_break_off_at_the_same_frame_are_both_named(tmp_path):
    write_both(tmp_path, 12, 12)
    for name in ("rgb.avi", "thermal.avi"):
        break_off(tmp_path / name, 6)
    pairs, problems, facts = read(tmp_path)
    assert (len(pairs), len(problems), facts.dropped) == (6, 2, {})


@pytest.mark.parametrize(("count", "kept", "is_damaged"), [(12, 10, False), (12, 9, True), (13, 11, False)])
def test_a_container_may_be_wrong_by_two_frames(tmp_path, count, kept, is_damaged):
    write_both(tmp_path, count, count)
    break_off(tmp_path / "thermal.avi", kept)
    pairs, problems, _ = read(tmp_path)
    assert len(pairs) == kept
    assert bool(problems) is is_damaged


def test_a_long_container_may_be_wrong_by_two_percent(tmp_path):
    write_both(tmp_path, 200, 200)
    break_off(tmp_path / "thermal.avi", 196)
    assert read(tmp_path)[1] == []
    break_off(tmp_path / "rgb.avi", 195)
    assert len(read(tmp_path)[1]) == 1


def test_videos_of_different_frame_rates_are_no_recording(tmp_path):
    write_video(tmp_path / "rgb.avi", 9, 30.0)
    write_video(tmp_path / "thermal.avi", 9, 9.0)
    with pytest.raises(ImageError, match="got 30 and 9 frames a second; make a bag of them"):
        read(tmp_path)


def test_videos_whose_frame_rates_are_but_rounded_are_read(tmp_path):
    write_video(tmp_path / "rgb.avi", 4, 30.0)
    write_video(tmp_path / "thermal.avi", 4, 29.97)
    assert len(read(tmp_path)[0]) == 4


def test_fused_videos_are_counted_against_the_pairs(tmp_path):
    write_both(tmp_path, 9, 9)
    for name, count in (("short.avi", 6), ("even.avi", 9), ("long.avi", 11), ("broken.avi", 9)):
        write_video(tmp_path / name, count)
    break_off(tmp_path / "broken.avi", 3)
    labels = ("short", "even", "long", "broken")
    pairs, problems, facts = read(tmp_path, **{label: f"{label}.avi" for label in labels})
    numbers = {label: sum(label in moment.fused for moment in pairs) for label in labels}
    assert numbers == {"short": 6, "even": 9, "long": 9, "broken": 3}
    for index, moment in enumerate(pairs):
        assert all(abs(float(image.mean()) - 20 * index) < 3 for image in moment.fused.values())
    assert facts.received == {"rgb": 9, "thermal": 9, "short": 6, "even": 9, "long": 11, "broken": 3}
    assert facts.dropped == {
        "short": {"none for a pair": 3},
        "long": {"no pair of its number": 2},
        "broken": {"none for a pair": 6},
    }
    (problem,) = problems
    assert "broken.avi: damaged: only 3 of 9 frames" in problem


def test_evaluate_says_by_its_exit_status_that_a_video_breaks_off(tmp_path, capsys):
    write_both(tmp_path, 12, 12)
    break_off(tmp_path / "rgb.avi", 5)
    words = ["--rgb", tmp_path / "rgb.avi", "--thermal", tmp_path / "thermal.avi", "--out", tmp_path / "out"]
    assert main(["evaluate", *map(str, words), "--method", "average", "--metrics", "EN"]) == 1
    shown = capsys.readouterr()
    assert "rgb.avi: damaged: only 5 of 12 frames can be decoded" in shown.err
    assert "5 measured frames" in shown.out


@pytest.mark.parametrize("level", ["", "32"])
def test_ffmpeg_speaks_only_where_the_user_asks_for_it(tmp_path, level):
    for name in ("rgb.mp4", "thermal.mp4"):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (128, 96))
        noise = np.random.default_rng(1)
        for _ in range(12):
            grey = noise.integers(0, 256, (12, 16, 1), dtype=np.uint8)
            writer.write(grey.repeat(8, 0).repeat(8, 1).repeat(3, 2))
        writer.release()
    data = bytearray(path.read_bytes())
    middle, length = len(data) // 2, len(data) // 4
    data[middle : middle + length] = bytes(length)
    path.write_bytes(data)
    words = ["--rgb", tmp_path / "rgb.mp4", "--thermal", path, "--out", tmp_path / "out", "--model", "average"]
    done = subprocess.run(
        [sys.executable, "-m", "fusion_ros.cli", "fuse", *map(str, words)],
        env={**os.environ, "OPENCV_FFMPEG_LOGLEVEL": level} if level else _without_level(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "thermal.mp4: damaged: only" in line
    assert ("FFMPEG" in done.stdout) is bool(level)  # where OpenCV then prints it


def _without_level() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "OPENCV_FFMPEG_LOGLEVEL"}


def test_folders_of_one_image_each_belong_together_by_name_only(tmp_path):
    rgb, thermal = write_images(tmp_path / "rgb", "001.png"), write_images(tmp_path / "thermal", "777.png")
    for pair in ((rgb, thermal), (f"{rgb}/001.png", thermal), (rgb, f"{thermal}/777.png")):
        with pytest.raises(ImageError, match="no image name occurs in both"):
            open_recording(*pair, {}, is_sequence=False)
    write_images(tmp_path / "thermal", "001.png")
    assert list(open_recording(rgb, thermal, {}, is_sequence=False).files) == ["001"]


def test_images_numbered_without_zeros_follow_one_another(tmp_path):
    names = [f"frame_{number}.png" for number in (*range(1, 13), 100)]
    rgb, thermal = write_images(tmp_path / "rgb", *names), write_images(tmp_path / "thermal", *names)
    recording = open_recording(rgb, thermal, {}, is_sequence=True)
    assert [f"{moment.name}.png" for moment in recording.open()] == names


def test_images_named_one_by_one_belong_together_whatever_their_names(tmp_path):
    rgb, thermal = write_images(tmp_path / "rgb", "001.png"), write_images(tmp_path / "thermal", "777.png")
    fused = {"mine": str(Path(write_images(tmp_path / "mine", "out.png")) / "out.png")}
    recording = open_recording(f"{rgb}/001.png", f"{thermal}/777.png", fused, is_sequence=False)
    assert {name: [file.name for file in files] for name, files in recording.files.items()} == {
        "001": ["001.png", "777.png", "out.png"]
    }


def test_hidden_files_and_folders_named_like_images_are_no_images(tmp_path):
    rgb, thermal = write_images(tmp_path / "rgb", "1.png", "2.png"), write_images(tmp_path / "thermal", "1.png")
    (tmp_path / "thermal" / "2.png").mkdir()
    for folder in (rgb, thermal):
        (Path(folder) / "._1.png").write_bytes(b"what macOS writes beside an image")
    recording = open_recording(rgb, thermal, {}, is_sequence=False)
    assert list(recording.files) == ["1"]
    assert recording.alone == {"rgb": ("2",), "thermal": ()}
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".1.png").touch()
    with pytest.raises(ImageError, match="no image in this folder"):
        open_recording(str(tmp_path / "hidden"), thermal, {}, is_sequence=False)
