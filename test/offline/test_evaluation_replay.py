"""Recorded frames through the pairing of the robot: every frame is accounted for."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.evaluation.replay import Arrival, PairedReplay
from fusion_ros.frame import Frame, Sensor
from fusion_ros.timing import PairingSettings

MS = 1_000_000


def _arrival(sensor: Sensor, stamp_ms: float, delay_ms: float = 5.0) -> Arrival:
    frame = Frame(np.zeros((2, 2), np.uint8), round(stamp_ms * MS))
    return Arrival(sensor, frame.stamp_ns, round((stamp_ms + delay_ms) * MS), lambda: frame)


def _recording(rgb_ms: list[float], thermal_ms: list[float], thermal_delay_ms: float = 5.0) -> list[Arrival]:
    arrivals = [_arrival(Sensor.RGB, stamp) for stamp in rgb_ms]
    arrivals += [_arrival(Sensor.THERMAL, stamp, thermal_delay_ms) for stamp in thermal_ms]
    return sorted(arrivals, key=lambda arrival: arrival.receive_ns)


def test_frames_are_paired_by_stamp_however_late_the_recorder_got_one_of_them():
    replay = PairedReplay(_recording([100, 200, 300], [103, 203, 303], thermal_delay_ms=80))
    pairs = list(replay)
    assert [(p.rgb_stamp_ns // MS, p.thermal_stamp_ns // MS) for p in pairs] == [
        (100, 103),
        (200, 203),
        (300, 303),
    ]
    assert replay.offset_ms["bias"] == pytest.approx(3.0)
    assert replay.offset_ms["max"] == pytest.approx(3.0)


def test_every_frame_is_in_a_pair_or_dropped_with_a_reason():
    rgb = [k * 33.3 for k in range(1, 91)]
    thermal = [k * 111.1 + 2 for k in range(1, 28)]
    replay = PairedReplay(_recording(rgb, thermal))
    pairs = list(replay)
    assert len(pairs) == replay.paired == 27  # a 9 Hz camera beside one of 30 Hz
    assert replay.received == {"rgb": 90, "thermal": 27}
    for sensor in ("rgb", "thermal"):
        assert replay.received[sensor] == replay.paired + sum(replay.dropped[sensor].values())
    assert replay.dropped["rgb"] == {"unmatched": 63}
    assert replay.dropped["thermal"] == {}


def test_the_pairing_settings_hold():
    arrivals = _recording([100, 200], [130, 230])
    assert list(PairedReplay(arrivals, PairingSettings(tolerance_ms=20))) == []
    assert len(list(PairedReplay(arrivals, PairingSettings(tolerance_ms=20, thermal_offset_ms=-30)))) == 2


def test_frames_that_go_alone_are_counted_and_not_given_out():
    rgb = [k * 40.0 for k in range(1, 60)]
    replay = PairedReplay(_recording(rgb, [40.0]), PairingSettings(unpaired="forward", timeout_ms=100))
    assert len(list(replay)) == 1
    assert replay.dropped["rgb"]["went alone"] > 40
    assert replay.received["rgb"] == 1 + sum(replay.dropped["rgb"].values())


def test_an_empty_recording_has_no_pairs_and_no_offsets():
    replay = PairedReplay([])
    assert list(replay) == []
    assert replay.offset_ms == {}
    assert replay.received == {"rgb": 0, "thermal": 0}
