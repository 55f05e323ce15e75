"""fusion_node over real DDS: fine alignment, calibration by camera_info, and what is told of both."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from live_rig import RGB_TOPIC, SECOND, THERMAL_TOPIC
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float64

from fusion_ros.alignment.aligner import AlignmentSettings
from fusion_ros.alignment.coarse import CoarseAligner
from fusion_ros.alignment.fine import FineAlignment, State
from fusion_ros.frame import Frame, FramePair, Sensor
from fusion_ros.imaging import array_from_image
from fusion_ros.ros import clock_watch
from fusion_ros.ros.alignment_watch import AlignmentWatch
from fusion_ros.ros.diagnostics import Snapshot, fusion_statuses
from fusion_ros.ros.messages import header
from fusion_ros.ros.statistics import Statistics
from fusion_ros.timing import ClockOffset, OffsetStatistics, PairingSettings, StampPairer

SIZE = (120, 160)
SHIFT = (5, -3)
PERIOD = SECOND // 10
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


def scene(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a wide picture of rectangles, ``(h + 32, w + 32)`` float32."""
    rng = np.random.default_rng(7)
    picture = np.full((size[0] + 32, size[1] + 32), 0.4, np.float32)
    for _ in range(60):
        x, y = rng.integers(0, (size[1] + 16, size[0] + 16))
        w, h = rng.integers(6, 30, 2)
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), float(rng.uniform(0, 1)), -1)
    return cv2.GaussianBlur(picture, (0, 0), 0.7)


def images(shift: tuple[int, int] = SHIFT) -> tuple[np.ndarray, np.ndarray]:
    """Return an RGB and an inverse 16-bit thermal image whose scene lies ``shift`` pixels beside it."""
    (height, width), (x, y) = SIZE, shift
    wide = scene()
    rgb = np.repeat((wide[16 : 16 + height, 16 : 16 + width, None] * 255).astype(np.uint8), 3, axis=2)
    thermal = wide[16 - y : 16 - y + height, 16 - x : 16 - x + width]
    return rgb, (24_000 - 4_000 * thermal).astype(np.uint16)


def send(rig, index: int, rgb: np.ndarray, thermal: np.ndarray) -> None:
    """Publish a pair, each a little different from the last, as cameras' images are."""
    rgb, thermal = rgb.copy(), thermal.copy()
    rgb[0, 0], thermal[0, 0] = index % 256, 21_000 + index
    rig.send(RGB_TOPIC, rgb, "rgb8", SECOND + index * PERIOD)
    rig.send(THERMAL_TOPIC, thermal, "mono16", SECOND + index * PERIOD)


def camera_info(size: tuple[int, int] = SIZE, focal: float = 120.0) -> CameraInfo:
    """Return the calibration of a camera without distortion."""
    info = CameraInfo(header=header(0, ""), height=size[0], width=size[1], distortion_model="plumb_bob")
    info.k = [focal, 0.0, (size[1] - 1) / 2, 0.0, focal, (size[0] - 1) / 2, 0.0, 0.0, 1.0]
    info.d = [0.0] * 5
    return info


@pytest.fixture
def publish_info(rig):
    """Publishes the calibration of a camera, ``publish_info("rgb", info)``, once the node listens."""
    publishers = {}

    def publish(name: str, info: CameraInfo) -> None:
        if name not in publishers:
            publishers[name] = rig.node.create_publisher(CameraInfo, f"{name}/camera_info", 10)
            rig.until(lambda: publishers[name].get_subscription_count())
        publishers[name].publish(info)
        rig.until(lambda: rig.fusion._inputs.camera_info.get(Sensor(name)) == info)

    return publish


CALIBRATED = {
    "model": "average",
    "alignment__mode": "calibration",
    "alignment__translation": [0.0, 0.0, 0.0],
    "alignment__rotation": [0.0, 0.0, 0.0, 1.0],
}


def test_the_fine_alignment_goes_out_as_flow_moves_the_counts_and_is_told(rig):
    rig.start(model="average", alignment__fine__method="structural", alignment__fine__every=1)
    flows, aligned = rig.listen("alignment/flow"), rig.listen("aligned/thermal/image")
    lengths = rig.listen("debug/alignment_px", Float64)
    rgb, thermal = images()
    send(rig, 0, rgb, thermal)
    rig.until(lambda: flows and aligned and lengths)
    assert flows[0].encoding == "32FC2"
    assert flows[0].header == aligned[0].header
    assert flows[0].header.frame_id == "rgb_optical_frame"
    flow = array_from_image(flows[0])
    np.testing.assert_allclose(flow[60, 80], SHIFT, atol=0.3)
    assert lengths[0].data == pytest.approx(np.hypot(*SHIFT), abs=0.4)
    _, straight = images((0, 0))
    inner = (slice(10, -10), slice(10, -10))
    counts = array_from_image(aligned[0])
    assert aligned[0].encoding == "mono16"
    off = np.abs(counts.astype(int) - straight)[inner].mean()
    assert off < 0.3 * np.abs(thermal.astype(int) - straight)[inner].mean()
    rig.until(lambda: rig.diagnostics.get("alignment", {}).get("state") == "measured")
    told = rig.diagnostics["alignment"]
    assert (told["mode"], told["method"]) == ("resize", "structural")
    assert float(told["confidence"]) > 0.5
    assert float(told["mean misalignment [px]"]) == pytest.approx(np.hypot(*SHIFT), abs=0.4)
    assert rig.levels["alignment"][0] == OK
    assert "fused" not in rig.received


def test_the_flow_alone_is_reason_enough_to_work_but_not_to_run_the_network(rig, monkeypatch):
    from fusion_ros.engines.classical_engine import ClassicalEngine

    def refuse(*_):
        raise AssertionError("the network was run")

    monkeypatch.setattr(ClassicalEngine, "__call__", refuse)
    rig.start(model="average", alignment__fine__method="structural")
    flows = rig.listen("alignment/flow")
    send(rig, 0, *images())
    rig.until(lambda: flows)
    assert rig.books().counts.get("failed", 0) == 0


def test_without_a_fine_method_the_flow_is_zero(rig):
    rig.start(model="average")
    flows = rig.listen("alignment/flow")
    send(rig, 0, *images())
    rig.until(lambda: flows)
    flow = array_from_image(flows[0])
    assert flow.shape == (*SIZE, 2) and not flow.any()
    rig.until(lambda: rig.diagnostics.get("alignment", {}).get("method") == "none")
    assert rig.levels["alignment"] == (OK, "ok")


def test_when_the_thermal_camera_goes_blind_the_field_is_held_and_the_reason_told(rig):
    rig.start(model="average", alignment__fine__method="structural", alignment__fine__every=1)
    flows = rig.listen("alignment/flow")
    rgb, thermal = images()
    send(rig, 0, rgb, thermal)
    rig.until(lambda: flows)
    rng = np.random.default_rng(0)
    for index in (1, 2, 3):
        send(rig, index, rgb, rng.integers(21_990, 22_010, SIZE, np.uint16))
        rig.until(lambda index=index: len(flows) == index + 1)
    np.testing.assert_array_equal(array_from_image(flows[-1]), array_from_image(flows[0]))
    doubt = "75% of the latest 4 estimates"
    rig.until(lambda: rig.diagnostics.get("alignment", {}).get("not believed") == doubt)
    assert rig.diagnostics["alignment"]["state"] == "held"
    assert rig.diagnostics["alignment"]["reason"]


def test_long_doubt_and_a_large_misalignment_are_warned_of_with_what_to_do():
    now = [0.0]
    watch = AlignmentWatch(lambda: now[0])
    far = np.full((4, 4, 2), (9.0, 0.0), np.float32)

    def told(alignment):
        watch.add(alignment)
        return _status("alignment", fine=watch.summary())

    near = told(FineAlignment(far / 9, State.MEASURED, 0.8, is_new=True))
    assert (near.level, near.message) == (OK, "measured, 1.0 px")
    large = told(FineAlignment(far, State.MEASURED, 0.8, is_new=True))
    assert large.level == WARN
    assert "off by 9.0 px" in large.message and "fusion-ros calibrate" in large.message
    now[0] = 9.0
    assert told(FineAlignment(far / 9, State.HELD, 0.1, "confidence is low", is_new=True)).level == OK
    now[0] = 12.0
    doubtful = told(FineAlignment(far / 9, State.HELD, 0.1, "confidence is low", is_new=True))
    assert doubtful.level == WARN
    for part in ("for 12 s", "last good field is held", "confidence is low", "alignment.fine.gate = 0.3"):
        assert part in doubtful.message


def test_a_rig_that_needs_no_correction_is_no_doubt():
    now = [0.0]
    watch = AlignmentWatch(lambda: now[0])
    for second in range(60):
        now[0] = float(second)
        watch.add(FineAlignment(None, State.UNCHANGED, 0.9, "the images agree as well", is_new=True))
    status = _status("alignment", fine=watch.summary())
    assert (status.level, status.message) == (OK, "unchanged, 0.0 px")


@pytest.mark.parametrize("is_fed", [False, True], ids=["no pairs", "lone pairs"])
def test_time_in_which_nobody_looked_for_the_misalignment_is_no_doubt(is_fed):
    now = [0.0]
    watch = AlignmentWatch(lambda: now[0])
    field = np.ones((4, 4, 2), np.float32)
    watch.add(FineAlignment(field, State.MEASURED, 0.8, is_new=True))
    for _ in range(4):
        now[0] += 900.0
        if is_fed:  # one camera is silent: the field that is known goes on
            watch.add(FineAlignment(field, State.MEASURED, 0.8), is_sought=False)
    doubted = FineAlignment(field, State.HELD, 0.1, "confidence is low", is_new=True)
    watch.add(doubted)
    assert watch.summary().doubtful_s == 0.0
    now[0] += 7.0
    watch.add(doubted)
    assert watch.summary().doubtful_s == 7.0


def test_doubt_goes_on_between_estimates_that_are_far_apart():
    now = [0.0]
    watch = AlignmentWatch(lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        watch.add(FineAlignment(None, State.NONE, 0.1, "confidence is low", is_new=second % 30 == 0))
    assert watch.summary().doubtful_s == 60.0


def test_after_a_camera_stood_still_one_doubtful_estimate_is_no_warning(rig):
    now = [0.0]
    node = rig.start(model="average", alignment__fine__method="structural", alignment__fine__every=1)
    node._alignment_watch = AlignmentWatch(lambda: now[0])
    rig.listen("fused/image")
    rgb, thermal = images()
    blind = np.random.default_rng(0).integers(21_990, 22_010, SIZE, np.uint16)
    for index, counts in enumerate((thermal, thermal, thermal, thermal, blind)):
        rig.send(RGB_TOPIC, np.roll(rgb, index, 1), "rgb8", SECOND + index * PERIOD)
        rig.send(THERMAL_TOPIC, counts, "mono16", SECOND + index * PERIOD)
        rig.until(lambda index=index: rig.books().counts.get("fused") == index + 1)
        now[0] += 9.0
    doubt = "50% of the latest 2 estimates"
    rig.until(lambda: rig.diagnostics.get("alignment", {}).get("not believed") == doubt)
    assert rig.levels["alignment"][0] == OK


def _status(concern, **values):
    """Return one diagnostic status of a node in the given state."""
    given = {
        "node": "/fusion_node",
        "hardware_id": "",
        "statistics": Statistics(),
        "pairing": StampPairer(PairingSettings()).counts,
        "offsets": OffsetStatistics(),
        "pairing_settings": PairingSettings(),
        "topics": {sensor: f"/{sensor.value}" for sensor in Sensor},
        "mode": "fused",
        "alignment": AlignmentSettings(),
        "active": True,
    }
    statuses = fusion_statuses(Snapshot(**{**given, **values}))
    return next(status for status in statuses if status.name.endswith(f": {concern}"))


def test_a_clock_offset_beyond_half_the_tolerance_names_the_parameter_and_its_value():
    def told(offset_ms, confidence, **settings):
        clock = ClockOffset(offset_ms, confidence, 20.0)
        return _status("pairing", clock=clock, pairing_settings=PairingSettings(**settings))

    warned = told(35.0, 0.9, tolerance_ms=20.0)
    assert warned.level == WARN
    assert "35 ms ahead" in warned.message
    assert "set pairing.thermal_offset_ms to -35.0" in warned.message
    assert told(35.0, 0.3, tolerance_ms=20.0).level == OK  # not sure enough
    assert told(8.0, 0.9, tolerance_ms=20.0).level == OK
    assert told(35.0, 0.9, tolerance_ms=20.0, thermal_offset_ms=-35.0).level == OK  # corrected already
    assert "to -5.0" in told(35.0, 0.9, tolerance_ms=20.0, rgb_offset_ms=30.0, thermal_offset_ms=30.0).message


def test_the_clock_watch_sees_what_moves_and_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(clock_watch, "_PERIOD_S", 0.0)
    on = clock_watch.ClockWatch(clock_watch.ClockSettings())
    off = clock_watch.ClockWatch(clock_watch.ClockSettings(measure=False))
    rng = np.random.default_rng(4)
    path = np.cumsum(rng.normal(0, 2.0, (260, 2)), axis=0)
    path -= path.mean(axis=0)
    wide = cv2.GaussianBlur(rng.random((160, 200)).astype(np.float32), (0, 0), 3) * 255
    for index in range(240):
        # The thermal camera shows what RGB shows two frames later: its stamps are late by 67 ms.
        views = (np.clip(path[index + late] + 40, 0, 80).astype(int) for late in (0, -2))
        rgb, thermal = (wide[y : y + 60, x : x + 80] for x, y in views)
        stamp_ns = SECOND + index * SECOND // 30
        frames = FramePair(
            Frame(rgb.astype(np.uint8), stamp_ns), Frame((21_000 - 8 * thermal).astype(np.uint16), stamp_ns)
        )
        on.observe(frames)
        off.observe(frames)
    assert on.latest.offset_ms == pytest.approx(67, abs=12)
    assert on.latest.confidence > 0.5
    assert off.latest is None
    on.reset()
    on.observe(frames)
    assert on.latest is None


def test_until_both_calibrations_have_come_the_reference_image_goes_out_alone(rig, publish_info):
    rig.start(**CALIBRATED)
    fused, aligned = rig.listen("fused/image"), rig.listen("aligned/thermal/image")
    rgb, thermal = images((0, 0))
    send(rig, 0, rgb, thermal)
    rig.until(lambda: fused)
    expected = rgb.copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(array_from_image(fused[0]), expected)
    rig.until(lambda: rig.diagnostics.get("fusion", {}).get("mode") == "unaligned")
    level, message = rig.levels["alignment"]
    assert level == WARN
    assert f"{rig.namespace}/thermal/camera_info" in message and "alignment.calibration_file" in message
    publish_info("rgb", camera_info())
    publish_info("thermal", camera_info())
    send(rig, 1, rgb, thermal)
    rig.until(lambda: aligned)
    counts = thermal.copy()
    counts[0, 0] = 21_001
    np.testing.assert_array_equal(array_from_image(aligned[0]), counts)  # one place, one lens: nothing moves
    rig.until(lambda: rig.diagnostics.get("fusion", {}).get("mode") == "fused")
    rig.until(lambda: rig.levels["alignment"] == (OK, "ok"))
    assert rig.books().counts["unaligned"] == 1


def test_a_calibration_of_other_images_is_refused_with_both_sizes_and_the_stream_goes_on(rig, publish_info):
    rig.start(**CALIBRATED)
    fused = rig.listen("fused/image")
    publish_info("rgb", camera_info())
    publish_info("thermal", camera_info((512, 640)))
    send(rig, 0, *images((0, 0)))
    rig.until(lambda: fused)
    rig.until(lambda: "camera_info" in rig.levels.get("inputs", (OK, ""))[1])
    level, message = rig.levels["inputs"]
    assert level == WARN
    assert "calibrated for images of 640 x 512" in message and "160 x 120" in message
    assert rig.books().counts.get("failed", 0) == 0
    publish_info("thermal", camera_info((240, 320)))  # of the same view, twice as large: that fits
    send(rig, 1, *images((0, 0)))
    rig.until(lambda: rig.books().counts.get("fused", 0) == 1)


def test_a_calibration_that_changes_is_refused_and_the_first_stays(rig, publish_info):
    rig.start(**CALIBRATED)
    aligned = rig.listen("aligned/thermal/image")
    publish_info("rgb", camera_info())
    publish_info("thermal", camera_info())
    rgb, thermal = images((0, 0))
    send(rig, 0, rgb, thermal)
    rig.until(lambda: len(aligned) == 1)
    publish_info("thermal", camera_info(focal=60.0))
    send(rig, 1, rgb, thermal)
    rig.until(lambda: len(aligned) == 2)
    np.testing.assert_array_equal(array_from_image(aligned[1])[1:], thermal[1:])
    rig.until(lambda: "it changed from" in rig.levels.get("inputs", (OK, ""))[1])
    assert "fx 60.00" in rig.levels["inputs"][1]


def test_that_images_come_rectified_can_be_said_while_it_runs(rig, publish_info):
    node = rig.start(**CALIBRATED)
    aligned = rig.listen("aligned/thermal/image")
    info = camera_info()
    info.p = [60.0, 0.0, 79.5, 0.0, 0.0, 60.0, 59.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    publish_info("rgb", camera_info())  # its P is empty
    publish_info("thermal", info)
    rgb, thermal = images((0, 0))
    send(rig, 0, rgb, thermal)
    rig.until(lambda: len(aligned) == 1)
    assert node.set_parameters([Parameter("alignment.rectified", value="thermal")])[0].successful
    send(rig, 1, rgb, thermal)
    rig.until(lambda: len(aligned) == 2)
    settings = node.settings.alignment
    cameras = settings.camera(Sensor.RGB, camera_info()), settings.camera(Sensor.THERMAL, info)
    assert cameras[1].fx == 60.0
    thermal[0, 0] = 21_001
    expected = CoarseAligner(settings).with_cameras(*cameras)(thermal, SIZE).pixels
    np.testing.assert_array_equal(array_from_image(aligned[1]), expected)
    assert not node.statistics.problems()
    assert node.set_parameters([Parameter("alignment.rectified", value="both")])[0].successful
    send(rig, 2, rgb, thermal)
    rig.until(lambda: rig.diagnostics.get("fusion", {}).get("mode") == "unaligned")
    rig.until(lambda: "rgb camera_info" in rig.levels["inputs"][1])


def test_an_undistorted_output_has_a_camera_info_of_its_own(rig, publish_info):
    rig.start(**CALIBRATED, alignment__undistort=True, output__scale=0.5)
    infos = rig.listen("fused/camera_info", CameraInfo)
    bent = camera_info()
    bent.d = [-0.2, 0.05, 0.0, 0.0, 0.0]
    publish_info("rgb", bent)
    publish_info("thermal", camera_info())
    send(rig, 0, *images((0, 0)))
    rig.until(lambda: infos)
    assert not any(infos[0].d)
    assert (infos[0].height, infos[0].width) == (60, 80)
    np.testing.assert_allclose(infos[0].k, [60, 0, 39.5, 0, 60, 29.5, 0, 0, 1])
