"""What a stream can bring: fusion_node survives it, names it once, and keeps count."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC

from fusion_ros.imaging import array_from_image
from fusion_ros.ros.messages import stamp_ns

GREY = np.full((48, 64), 100, np.uint8)


def _balanced(rig) -> None:
    """Assert that every frame received is in the books exactly once."""
    books = rig.books()
    for sensor, received in books.pairing.received.items():
        accounted = (
            books.pairing.paired
            + books.pairing.forwarded[sensor]
            + books.pairing.pending[sensor]
            + sum(books.pairing.dropped[sensor].values())
        )
        assert accounted == received
        malformed = books.counts.get(f"malformed_{sensor.value}", 0)
        assert received + malformed == books.counts.get(f"received_{sensor.value}", 0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"step": 3}, "step"),
        ({"height": 96}, "data"),
        ({"encoding": "mono7"}, "mono8"),
        ({"height": 0, "width": 0}, "at least 1 x 1"),
    ],
    ids=["step too small", "data too short", "unknown encoding", "zero size"],
)
def test_a_malformed_image_is_named_once_counted_and_survived(rig, spoil, message):
    rig.start()
    fused = rig.listen("fused/image")
    for i in (1, 2, 3):
        rig.send(THERMAL_TOPIC, GREY, "mono8", i * SECOND, spoil)
        rig.until(lambda i=i: rig.books().counts.get("malformed_thermal") == i)
    rig.send_pair(10 * SECOND)
    rig.until(lambda: fused)
    rig.until(lambda: "problem: thermal image" in rig.diagnostics.get("inputs", {}))
    told = rig.diagnostics["inputs"]["problem: thermal image"]
    assert told.startswith("3 times")
    assert message in told
    _balanced(rig)


def test_nan_in_a_float_image_is_no_reading_and_no_obstacle(rig):
    rig.start(thermal__mode="fixed", thermal__fixed_low=280.0, thermal__fixed_high=320.0)
    fused = rig.listen("fused/image")
    kelvin = np.full((48, 64), 300.0, np.float32)
    kelvin[:10] = np.nan
    rig.send(RGB_TOPIC, np.full((48, 64, 3), 50, np.uint8), "rgb8", SECOND)
    rig.send(THERMAL_TOPIC, kelvin, "32FC1", SECOND)
    rig.until(lambda: fused)
    pixels = array_from_image(fused[0])
    assert pixels[30:].mean() != pixels[:5].mean()


def test_a_size_that_changes_mid_stream_is_followed(rig):
    rig.start()
    fused = rig.listen("fused/image")
    for i, size in enumerate([(48, 64), (60, 80), (33, 47)], 1):
        rig.send_pair(i * SECOND, size=size)
        rig.until(lambda i=i: len(fused) == i)
        assert (fused[-1].height, fused[-1].width) == size
    _balanced(rig)


def test_a_silent_camera_is_named_with_its_topic(rig):
    rig.start()
    rig.listen("fused/image")
    for i in range(5):
        rig.send(RGB_TOPIC, np.zeros((48, 64, 3), np.uint8), "rgb8", (i + 1) * SECOND // 10)
        rig.spin(0.5)
    rig.until(lambda: rig.levels["inputs"][0] == b"\x01")
    assert "no thermal frame for" in rig.levels["inputs"][1]
    assert f"{rig.namespace}/thermal/image_raw" in rig.levels["inputs"][1]
    rig.until(lambda: sum(rig.books().pairing.pending.values()) == 0)
    _balanced(rig)


def test_with_forwarding_the_camera_that_works_is_shown_alone(rig):
    rig.start(pairing__unpaired="forward")
    fused = rig.listen("fused/image")
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for i in range(1, 8):
        rig.send(RGB_TOPIC, rgb, "rgb8", i * SECOND // 10)
        rig.spin(0.1)
    rig.until(lambda: fused)
    np.testing.assert_array_equal(array_from_image(fused[0]), rgb)
    rig.until(lambda: rig.diagnostics["fusion"]["mode"] == "rgb_only")
    _balanced(rig)


def test_a_looped_bag_goes_on_fusing(rig):
    rig.start()
    fused = rig.listen("fused/image")
    stamps = [10 * SECOND + i * SECOND // 5 for i in range(5)]
    for _ in range(2):
        for stamp in stamps:
            before = len(fused)
            rig.send_pair(stamp)
            rig.until(lambda before=before: len(fused) == before + 1)
    assert [stamp_ns(m.header.stamp) for m in fused] == stamps * 2
    _balanced(rig)


def test_cameras_too_far_apart_in_time_are_explained(rig):
    rig.start()
    rig.listen("fused/image")
    for i in range(25):
        rig.send_pair((i + 1) * SECOND, offset_ns=120_000_000)
        rig.spin(0.01)
    rig.until(lambda: rig.levels.get("pairing", (b"", ""))[0] == b"\x01")
    assert "pairing.tolerance_ms = 20" in rig.levels["pairing"][1]
    assert "pairing.thermal_offset_ms" in rig.levels["pairing"][1]


def test_a_false_colour_thermal_image_is_refused_with_the_reason(rig):
    rig.start()
    rig.listen("fused/image")
    colours = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    rig.send(RGB_TOPIC, colours, "rgb8", SECOND)
    rig.send(THERMAL_TOPIC, colours, "rgb8", SECOND)
    rig.until(lambda: rig.books().counts.get("failed") == 1)
    rig.until(lambda: "problem: fusing" in rig.diagnostics.get("inputs", {}))
    assert "channels" in rig.diagnostics["inputs"]["problem: fusing"]
    _balanced(rig)


def test_an_absent_model_fails_at_configure(rig):
    node = rig.start(autostart=False, model="reconnet")
    assert node.trigger_configure().name == "FAILURE"


def test_corrupted_weights_fail_at_configure(rig, repository, tmp_path):
    folder = tmp_path / "reconet"
    shutil.copytree(repository / "models" / "reconet", folder)
    (weights,) = folder.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    node = rig.start(autostart=False, model=str(folder))
    assert node.trigger_configure().name == "FAILURE"


def test_a_singular_homography_fails_at_configure(rig):
    node = rig.start(autostart=False, alignment__mode="homography", alignment__homography=[0.0] * 9)
    assert node.trigger_configure().name == "FAILURE"
