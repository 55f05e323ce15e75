"""Videos, bags and rendered streets as pairs to train on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.bags import BagWriter
from fusion_ros.errors import SettingsError
from fusion_ros.frame import Frame, Unit
from training.data.sets import SETS, memory, open_sets
from training.data.sets.synthetic import SyntheticPair
from training.data.splits import split_found

_MS = 1_000_000


def test_frames_of_a_video_are_those_that_another_program_decoded(shared):
    root = shared / "data" / "sequences" / "m3svd_0111_1716"
    found = open_sets([f"video={root},every=25"])[0].found
    assert [pair.name for pair in found.pairs] == [f"video/{index:06d}" for index in range(0, 151, 25)]
    for pair, index in zip(found.pairs[:3], (0, 25, 50), strict=True):
        images = pair.read()
        visible = cv2.imread(str(root / "rgb" / f"{index:04d}.png"), cv2.IMREAD_GRAYSCALE)
        infrared = cv2.imread(str(root / "thermal" / f"{index:04d}.png"), cv2.IMREAD_GRAYSCALE)
        assert np.abs(images.visible.astype(int) - visible).max() <= 1
        assert np.abs(images.infrared.astype(int) - infrared).max() <= 3  # its channels differ by as much


def write_video(path: Path, frames: list[np.ndarray], rate_hz: float = 10.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate_hz, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(cv2.merge([frame] * 3))
    writer.release()
    return path


def flat(value: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full(size, value, np.uint8)


def test_a_video_that_breaks_off_gives_what_can_be_decoded(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64), np.uint8)
    thermal = write_video(tmp_path / "ir.avi", [flat(8 * index) for index in range(20)])
    rgb = write_video(tmp_path / "vis.avi", list(noise))
    assert len(open_sets([f"video={tmp_path}"])[0].found.pairs) == 20
    whole = rgb.read_bytes()
    rgb.write_bytes(whole[: len(whole) // 2])
    found = SETS["video"].find(tmp_path)
    assert 5 < len(found.pairs) < 15
    assert f"only {len(found.pairs)} of 20 frames" in found.notes[0]
    for index, pair in enumerate(found.pairs):
        assert np.abs(pair.read().infrared.astype(int) - 8 * index).max() <= 3
    thermal.write_bytes(b"no video")
    with pytest.raises(SettingsError, match=r"ir\.avi: cannot be opened as a video"):
        SETS["video"].find(tmp_path)
    thermal.unlink()
    with pytest.raises(SettingsError, match=r"(?s)does not hold two videos; expected.*found vis\.avi"):
        SETS["video"].find(tmp_path)


KILLED = """
import os, sys
import cv2, numpy as np
noise = np.random.default_rng(0).integers(0, 255, (80, 240, 320), np.uint8)
writers = [cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (320, 240)) for path in sys.argv[1:]]
for frame in noise:
    for writer in writers:
        writer.write(cv2.merge([frame] * 3))
os._exit(0)  # the files are not completed: they say nothing of how long they are
"""


def test_videos_whose_recorder_was_killed_are_taken_as_far_as_they_go(tmp_path):
    paths = [str(tmp_path / name) for name in ("thermal.mkv", "rgb.mkv")]
    subprocess.run([sys.executable, "-c", KILLED, *paths], check=True, timeout=60)
    found = open_sets([f"video={tmp_path},every=5"])[0].found
    capture, index, expected = cv2.VideoCapture(paths[1]), 0, []
    while (frame := capture.read()[1]) is not None:
        expected += [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)] if index % 5 == 0 else []
        index += 1
    assert len(found.pairs) == len(expected) > 5 and not found.notes
    for pair, grey in zip(found.pairs, expected, strict=True):
        assert np.abs(pair.read().visible.astype(int) - grey).max() <= 2


def test_videos_of_two_frame_rates_are_refused_as_they_cannot_be_paired_by_number(tmp_path):
    write_video(tmp_path / "ir.avi", [flat(1)] * 10)
    write_video(tmp_path / "rgb.avi", [flat(2)] * 10, rate_hz=30.0)
    with pytest.raises(SettingsError, match=r"two videos of one frame rate.* got 30 and 10 frames a second"):
        SETS["video"].find(tmp_path)


def test_a_recording_that_does_not_fit_into_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    write_video(tmp_path / "ir.avi", [flat(1)] * 10)
    write_video(tmp_path / "rgb.avi", [flat(2)] * 10)
    monkeypatch.setattr(memory, "_free_bytes", lambda: 2 * 48 * 64 * 10)
    with pytest.raises(SettingsError, match=r"10 pairs of 64 x 48 pixels take .* every=N or limit=N"):
        SETS["video"].find(tmp_path)
    assert len(open_sets([f"video={tmp_path},every=2"])[0].found.pairs) == 5
    make_bag(tmp_path / "bag")
    with pytest.raises(SettingsError, match=r"12 pairs of 64 x 48 pixels take .* every=N or limit=N"):
        open_sets([f"bag={tmp_path / 'bag'},{BAG}"])
    assert len(open_sets([f"bag={tmp_path / 'bag'},{BAG},limit=5"])[0].found.pairs) == 5


def thermal_counts(index: int) -> np.ndarray:
    """A ramp of 16-bit counts, warmer with every frame."""
    return (np.linspace(0, 2000, 32)[None] + np.zeros((24, 1)) + 7000 + 20 * index).astype(np.uint16)


def make_bag(path: Path, frames: int = 12) -> Path:
    """RGB at 10 Hz, thermal at 20 Hz and 4 ms later: every RGB frame has one partner."""
    with BagWriter(path) as writer:
        for tick in range(2 * frames):
            now_ns = 10**9 + 50 * _MS * tick
            if tick % 2 == 0:
                rgb = cv2.merge([flat(10 * tick % 250), flat(5 * tick % 250), flat(tick % 250)])
                writer.write_frame("/cam", Frame(rgb, now_ns, encoding="rgb8"), now_ns)
            counts = Frame(thermal_counts(tick), now_ns + 4 * _MS, encoding="mono16", unit=Unit.COUNTS)
            writer.write_frame("/ir", counts, now_ns + 5 * _MS)
    return path


BAG = "rgb_topic=/cam,thermal_topic=/ir,thermal.time_constant_s=0"


def test_a_bag_is_paired_by_stamps_normalised_and_brought_onto_the_rgb_grid(tmp_path):
    make_bag(tmp_path / "bag")
    opened = open_sets([f"bag={tmp_path / 'bag'},{BAG},every=3"])
    found = opened[0].found
    assert [pair.name for pair in found.pairs] == [
        "bag/1.000000000",
        "bag/1.300000000",
        "bag/1.600000000",
        "bag/1.900000000",
    ]
    assert "12 pairs of 12 RGB and 24 thermal frames" in found.notes
    for pair, tick in zip(found.pairs, (0, 6, 12, 18), strict=True):
        images = pair.read()
        grey = 0.299 * 10 * tick + 0.587 * 5 * tick + 0.114 * tick
        assert np.abs(images.visible - grey).max() <= 1
        low, high = np.percentile(thermal_counts(tick).astype(float), (0.5, 99.5))
        bright = np.clip((thermal_counts(tick) - low) / (high - low), 0, 1).astype(np.float32) * 255
        expected = cv2.resize(bright, (64, 48), interpolation=cv2.INTER_LINEAR)
        assert np.abs(images.infrared - expected).max() <= 2.5
    split = split_found(opened)
    assert [pair.name for pair in split.validation] == ["bag/1.900000000"]


def test_a_bag_that_breaks_off_gives_what_can_be_read(tmp_path):
    file = next(make_bag(tmp_path / "bag", frames=300).glob("*.mcap"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    found = open_sets([f"bag={tmp_path / 'bag'},{BAG}"])[0].found
    assert 0 < len(found.pairs) < 300
    assert any("cut off" in note for note in found.notes)


def test_a_bag_without_such_topics_or_pairs_says_what_to_do(tmp_path):
    make_bag(tmp_path / "bag")
    with pytest.raises(SettingsError, match=r"has no topic '/rgb/image_raw'.*/cam"):
        open_sets([f"bag={tmp_path / 'bag'}"])
    with pytest.raises(SettingsError, match=r"are within 1 ms; 0 pairs of 12 RGB and 24 thermal frames"):
        open_sets([f"bag={tmp_path / 'bag'},{BAG},pairing.tolerance_ms=1"])
    with pytest.raises(SettingsError, match="no bag at"):
        open_sets([f"bag={tmp_path / 'absent'}"])


@pytest.fixture(scope="module")
def rendered() -> SyntheticPair:
    return open_sets(["synthetic=5:3,width=192,height=144"])[0].found.pairs[1]


def test_a_rendered_pair_is_a_function_of_its_seed_and_number(rendered):
    again = open_sets(["synthetic=5:40,width=192,height=144"])[0].found.pairs[1]
    first, second = rendered.read(), again.read()
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    neighbour = open_sets(["synthetic=5:3,width=192,height=144"])[0].found.pairs[2].read()
    assert np.abs(first.visible.astype(int) - neighbour.visible).mean() > 1


def test_the_flow_is_where_opencv_projects_the_same_points(rendered):
    world, time_s = rendered.scene()
    rig, flow = world.rig, rendered.read().flow
    assert flow.shape == (144, 192, 2) and flow.dtype == np.float32
    depth = world.truth(time_s).depth
    homography = rig.homography(rendered.options.distance_m)
    pose = np.linalg.inv(rig.rgb_from_thermal)
    rotation, _ = cv2.Rodrigues(pose[:3, :3])
    rows, columns = np.mgrid[4:144:10, 4:192:10]
    near = depth[rows, columns] < 200
    pixels = np.stack([columns[near], rows[near]], axis=-1).astype(np.float64)
    rays = cv2.undistortPoints(pixels[:, None], rig.rgb.matrix, np.array(rig.rgb.distortion))[:, 0]
    points = np.column_stack([rays, np.ones(len(rays))]) * depth[rows, columns][near][:, None]
    thermal, _ = cv2.projectPoints(
        points, rotation, pose[:3, 3], rig.thermal.matrix, np.array(rig.thermal.distortion)
    )
    aligned = cv2.perspectiveTransform(thermal, homography)[:, 0]
    assert len(pixels) > 100
    assert np.linalg.norm(flow[rows, columns][near], axis=-1).max() > 1.0
    np.testing.assert_allclose(flow[rows, columns][near], aligned - pixels, atol=0.05)


def test_the_infrared_image_at_the_flow_is_the_thermal_image_at_the_true_place(rendered):
    world, time_s = rendered.scene()
    images = rendered.read()
    place = world.truth(time_s).thermal_from_rgb
    seen = np.isfinite(place).all(axis=-1)
    thermal = world.thermal_image(time_s)
    truth = cv2.remap(thermal, place[..., 0], place[..., 1], cv2.INTER_LINEAR)
    rows, columns = np.mgrid[:144, :192].astype(np.float32)
    x, y = columns + images.flow[..., 0], rows + images.flow[..., 1]
    at_flow = cv2.remap(images.infrared, x, y, cv2.INTER_LINEAR)
    error = np.abs(at_flow.astype(int) - truth)[seen].mean()
    unmoved = np.abs(images.infrared.astype(int) - truth)[seen].mean()
    assert seen.mean() > 0.8
    assert error < 0.5 * unmoved
    assert error < 2.5
