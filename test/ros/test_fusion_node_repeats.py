"""A camera that repeats its image, over real DDS: what goes out, and what the diagnostics say of it."""

from __future__ import annotations

import numpy as np
import pytest
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC
from rclpy.parameter import Parameter

from fusion_ros.alignment.aligner import AlignmentSettings
from fusion_ros.frame import Frame, Sensor
from fusion_ros.fusion_result import FusionResult, Mode
from fusion_ros.imaging import array_from_image
from fusion_ros.ros.diagnostics import Snapshot, fusion_statuses
from fusion_ros.ros.messages import stamp_ns
from fusion_ros.ros.repeat_watch import RepeatWatch
from fusion_ros.ros.statistics import Statistics
from fusion_ros.timing import OffsetStatistics, PairingSettings, Repeat, StampPairer

OK, WARN = b"\x00", b"\x01"
SIZE = (40, 56)
STEP_NS = 2 * SECOND // 5


def _send(rig, index, thermal_index):
    """Send pair ``index`` with the thermal image of another one; return the two images."""
    rgb, thermal = (
        np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8) for seed in (index, 100 + thermal_index)
    )
    rig.send(RGB_TOPIC, rgb, "mono8", SECOND + index * STEP_NS)
    rig.send(THERMAL_TOPIC, thermal, "mono8", SECOND + index * STEP_NS)
    return rgb, thermal


def test_a_thermal_camera_that_stands_still_is_told_and_is_left_out_where_that_is_wanted(rig):
    node = rig.start(model="maximum")
    fused = rig.listen("fused/image")

    def shown(index, thermal_index):
        images = _send(rig, index, thermal_index)
        rig.until(lambda: len(fused) == index + 1)
        assert stamp_ns(fused[-1].header.stamp) == SECOND + index * STEP_NS
        return array_from_image(fused[-1]), *images

    for index in range(5):
        image, rgb, thermal = shown(index, 0)
        np.testing.assert_array_equal(image, np.maximum(rgb, thermal))
    text = "thermal has shown the same image for 1.6 s (4 frames) while rgb goes on"
    rig.until(lambda: text in rig.levels.get("inputs", (OK, ""))[1])
    level, said = rig.levels["inputs"]
    assert level == WARN
    assert "repeated = fuse" in said and "set it to alone" in said
    assert rig.diagnostics["inputs"]["thermal repeated frames"] == "4"
    assert rig.diagnostics["inputs"]["thermal longest repeat [s]"] == "1.60"
    assert rig.diagnostics["inputs"]["rgb repeated frames"] == "0"

    assert node.set_parameters([Parameter("repeated", value="alone")])[0].successful
    image, rgb, _ = shown(5, 0)
    np.testing.assert_array_equal(image, rgb)
    rig.until(lambda: "the rgb image stands for both" in rig.levels["inputs"][1])
    rig.until(lambda: rig.diagnostics["fusion"]["mode"] == "rgb_only")

    image, rgb, thermal = shown(6, 6)
    np.testing.assert_array_equal(image, np.maximum(rgb, thermal))
    rig.until(lambda: rig.levels["inputs"] == (OK, "ok"))
    assert rig.diagnostics["inputs"]["thermal repeated frames"] == "5"
    books = rig.books()
    assert (books.counts["fused"], books.counts["rgb_only"], books.pairing.paired) == (6, 1, 7)


def test_a_paused_world_is_no_camera_that_stands_still(rig):
    rig.start(model="maximum", repeated="alone")
    fused = rig.listen("fused/image")
    for index in range(5):
        for topic in (RGB_TOPIC, THERMAL_TOPIC):
            rig.send(topic, np.full(SIZE, 90, np.uint8), "mono8", SECOND + index * STEP_NS)
        rig.until(lambda index=index: len(fused) == index + 1)
    rig.until(lambda: rig.levels.get("inputs") == (OK, "ok"))
    assert rig.books().counts["fused"] == 5


def _result(repeat: Repeat | None) -> FusionResult:
    return FusionResult(None, SIZE, Mode.FUSED, Frame(np.zeros(SIZE, np.uint8), 0), repeat=repeat)


def _inputs(watch: RepeatWatch, repeated: str = "fuse"):
    """The status of the inputs of a node whose cameras did that."""
    snapshot = Snapshot(
        node="/fusion_node",
        hardware_id="",
        statistics=Statistics(),
        pairing=StampPairer(PairingSettings()).counts,
        offsets=OffsetStatistics(),
        pairing_settings=PairingSettings(),
        topics={sensor: f"/{sensor.value}" for sensor in Sensor},
        mode="fused",
        alignment=AlignmentSettings(),
        active=True,
        repeats=watch.summary(),
        repeated=repeated,
    )
    return fusion_statuses(snapshot)[0]


@pytest.mark.parametrize("sensor", list(Sensor))
def test_a_short_stillness_is_counted_and_a_long_one_is_a_warning(sensor):
    watch = RepeatWatch()
    watch.add(_result(Repeat(sensor, 3, 0, SECOND)))
    status = _inputs(watch)
    assert (status.level, status.message) == (OK, "ok")
    watch.add(_result(Repeat(sensor, 4, 0, SECOND + 1)))
    status = _inputs(watch)
    assert status.level == WARN and status.message.startswith(f"{sensor.value} has shown the same image for 1.0 s")
    values = {value.key: value.value for value in status.values}
    assert values[f"{sensor.value} repeated frames"] == "2"
    watch.add(_result(None))
    status = _inputs(watch)
    assert status.level == OK
    assert {value.key: value.value for value in status.values}[f"{sensor.value} longest repeat [s]"] == "1.00"


def test_a_driver_that_fills_up_its_rate_is_told_with_the_share_and_no_warning():
    watch = RepeatWatch()
    for index in range(30):
        repeat = Repeat(Sensor.THERMAL, index % 3, 0, index % 3 * SECOND // 30) if index % 3 else None
        watch.add(_result(repeat))
        if index == 15:
            assert _inputs(watch).message == "ok"  # too few to tell
    status = _inputs(watch, "alone")
    assert status.level == OK
    assert "thermal repeats its image in 67% of the latest 30 pairs" in status.message
    assert "with repeated = alone the rgb image stands for both" in status.message


def test_without_pairs_it_is_not_known_whether_a_camera_still_stands():
    now = [10.0]
    watch = RepeatWatch(lambda: now[0])
    watch.add(_result(Repeat(Sensor.THERMAL, 90, 0, 3 * SECOND)))
    now[0] = 11.9
    assert _inputs(watch).level == WARN
    now[0] = 12.1
    assert _inputs(watch).level == OK
