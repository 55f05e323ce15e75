"""``fusion-ros bag``: pictures in, a bag out, and what it says about bags."""

from __future__ import annotations

import sqlite3

import cv2
import numpy as np
import pytest

from fusion_ros.bags import BagReader, BagWriter, frames
from fusion_ros.cli.main import main
from fusion_ros.cli.sinks import write_image
from fusion_ros.frame import Frame, Unit


@pytest.fixture
def folders(tmp_path):
    """Six RGB pictures and four 16-bit thermal ones."""
    rng = np.random.default_rng(5)
    pictures = {
        "rgb": [rng.integers(0, 256, (24, 32, 3)).astype(np.uint8) for _ in range(6)],
        "thermal": [rng.integers(7000, 9000, (20, 30)).astype(np.uint16) for _ in range(4)],
    }
    for name, images in pictures.items():
        for index, image in enumerate(images):
            write_image(tmp_path / name / f"{index:03d}.png", image)
    return tmp_path, pictures


def make(folder, *options: str) -> int:
    paths = ["--rgb", str(folder / "rgb"), "--thermal", str(folder / "thermal"), "--out", str(folder / "bag")]
    return main(["bag", "make", *paths, *options])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_folders_become_a_bag_with_the_very_same_pixels(folders, storage, capsys):
    folder, pictures = folders
    assert make(folder, "--storage", storage, "--rate", "10", "--thermal-rate", "5", "--encoding", "bgr8") == 0
    assert "/rgb/image_raw 6, /thermal/image_raw 4 frames" in capsys.readouterr().out
    with BagReader(folder / "bag") as bag:
        rgb = list(frames(bag, "/rgb/image_raw"))
        thermal = list(frames(bag, "/thermal/image_raw"))
        times = [message.receive_ns for message in bag.messages()]
    for found, original in zip(rgb + thermal, pictures["rgb"] + pictures["thermal"], strict=True):
        np.testing.assert_array_equal(found.pixels, original)
    assert [frame.stamp_ns for frame in rgb] == [10**9 + index * 10**8 for index in range(6)]
    assert [frame.stamp_ns for frame in thermal] == [10**9 + index * 2 * 10**8 for index in range(4)]
    assert times == sorted(times)
    assert (rgb[0].encoding, rgb[0].frame_id) == ("bgr8", "rgb_optical_frame")
    assert (thermal[0].encoding, thermal[0].unit) == ("mono16", Unit.COUNTS)


def test_pictures_numbered_without_zeros_are_recorded_in_order_of_the_numbers(tmp_path):
    for name in ("rgb", "thermal"):
        for number in range(1, 13):
            write_image(tmp_path / name / f"frame_{number}.png", np.full((16, 24), number, np.uint8))
    assert make(tmp_path) == 0
    with BagReader(tmp_path / "bag") as bag:
        found = [int(frame.pixels[0, 0]) for frame in frames(bag, "/thermal/image_raw")]
    assert found == list(range(1, 13))


def test_topics_and_compression_can_be_chosen(folders):
    folder, pictures = folders
    assert make(folder, "--compressed", "png", "--rgb-topic", "/front/color") == 0
    with BagReader(folder / "bag") as bag:
        assert {info.type for info in bag.topics.values()} == {"sensor_msgs/msg/CompressedImage"}
        found = [frame.pixels for frame in frames(bag, "/front/color")]
    np.testing.assert_array_equal(found, pictures["rgb"])


def test_videos_become_a_bag_with_a_grey_thermal_channel(shared, tmp_path, capsys):
    clip = shared / "data" / "sequences" / "m3svd_0111_1716"
    command = ["--rgb", f"{clip}/rgb.mp4", "--thermal", f"{clip}/thermal.mp4", "--out", f"{tmp_path}/bag"]
    assert main(["bag", "make", *command]) == 0
    capture = cv2.VideoCapture(f"{clip}/rgb.mp4")
    _, first = capture.read()
    with BagReader(tmp_path / "bag") as bag:
        rgb = next(frames(bag, "/rgb/image_raw"))
        thermal = next(frames(bag, "/thermal/image_raw"))
        assert bag.topics["/thermal/image_raw"].count == 151
    np.testing.assert_array_equal(rgb.pixels[..., ::-1], first)
    assert (thermal.pixels.ndim, thermal.encoding) == (2, "mono8")
    original = cv2.imread(f"{clip}/thermal/0000.png", cv2.IMREAD_UNCHANGED)
    assert np.abs(thermal.pixels.astype(int) - original).mean() < 5  # lossy video of the same frame


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--rate", "-3"], "--rate: expected a positive number"),
        (["--encoding", "rgb9"], "unknown image encoding 'rgb9'"),
        (["--encoding", "mono8"], r"mono8: expected an array of shape (H, W), got (24, 32, 3)"),
        (["--rate", "0"], "--rate: expected a positive number"),
        (["--thermal-rate", "0"], "--thermal-rate: expected a positive number"),
        (["--start", "-5"], "--start: expected 0 s or more"),
    ],
)
def test_impossible_wishes_are_explained(folders, options, reason, capsys):
    assert make(folders[0], *options) == 2
    assert reason in capsys.readouterr().err


def test_an_existing_bag_is_kept(folders, capsys):
    assert make(folders[0]) == 0
    assert make(folders[0]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert make(folders[0], "--overwrite") == 0


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_bad_picture_is_named_and_the_bag_so_far_is_valid(folders, content, capsys):
    folder, _ = folders
    (folder / "rgb" / "003.png").write_bytes(content)
    assert make(folder) == 2
    assert "rgb/003.png" in capsys.readouterr().err
    with BagReader(folder / "bag") as bag:
        assert bag.topics["/rgb/image_raw"].count == 3


def test_a_truncated_picture_is_not_taken_for_whole(folders, capsys):
    folder, _ = folders
    file = folder / "rgb" / "001.png"
    file.write_bytes(file.read_bytes()[:-100])
    assert make(folder) == 2
    error = capsys.readouterr().err
    assert "rgb/001.png" in error and "truncated" in error


def test_a_false_colour_thermal_picture_is_refused(folders, capsys):
    folder, pictures = folders
    write_image(folder / "thermal" / "002.png", pictures["rgb"][0])
    assert make(folder) == 2
    error = capsys.readouterr().err
    assert "thermal/002.png" in error and "palette" in error


def info_rows(capsys) -> dict[str, list[str]]:
    lines = capsys.readouterr().out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("---")) + 1
    return {line.split()[0]: line.split() for line in lines[first:]}


def test_info_tells_counts_rates_sizes_encodings_and_delays(tmp_path, capsys):
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(11):
            stamp = (index + 1) * 100_000_000
            pixels = np.zeros((100, 200), np.uint16)
            lag = 90_000_000 if index == 4 else 20_000_000
            writer.write_frame("/thermal", Frame(pixels, stamp, "", "16UC1"), stamp + lag)
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    (row,) = info_rows(capsys).values()
    assert row == "/thermal sensor_msgs/msg/Image 11 10.00 0.4 200 x 100 16UC1 20.0 90.0".split()
    assert main(["bag", "info", "--quick", str(tmp_path / "bag")]) == 0
    assert info_rows(capsys)["/thermal"] == ["/thermal", "sensor_msgs/msg/Image", "11"]


def test_info_lists_a_topic_whose_type_the_bag_does_not_define(tmp_path, capsys):
    with BagWriter(tmp_path / "bag", "sqlite3") as writer:
        for stamp in (10**9, 2 * 10**9):
            writer.write_frame("/thermal", Frame(np.zeros((10, 20), np.uint8), stamp, "", "mono8"), stamp)
            writer.write_cdr("/radar", "my_msgs/msg/Radar", b"\x00\x01\x00\x00\x07", stamp, "uint8 echo\n")
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("DELETE FROM message_definitions")  # as bags of Humble are
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    rows = info_rows(capsys)
    assert rows["/radar"] == "/radar my_msgs/msg/Radar 2 1.00 0.0 - - -".split()
    assert rows["/thermal"][-2:] == ["0.0", "0.0"]


def test_info_shows_what_is_left_of_a_cut_bag(folders, capsys):
    folder, _ = folders
    assert make(folder) == 0
    file = folder / "bag" / "bag.mcap"
    content = file.read_bytes()
    file.write_bytes(content[: content.rindex(b"\x0f\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")])
    capsys.readouterr()
    assert main(["bag", "info", str(folder / "bag")]) == 0
    assert "DAMAGED" in capsys.readouterr().out
