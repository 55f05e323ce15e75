"""``pairing.policy: message_filters`` behind the interface of our own pairing."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import fake_message_filters
import pytest
from live_rig import SECOND
from sensor_msgs.msg import Image

from fusion_ros.errors import SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.ros.messages import header
from fusion_ros.ros.synchroniser import make_pairer
from fusion_ros.timing import DropReason, PairingSettings

STEP = SECOND // 10


@pytest.fixture
def make(monkeypatch):
    """Make a pairer of that policy, by the real ``message_filters`` where it is installed."""
    if importlib.util.find_spec("message_filters") is None:
        monkeypatch.setitem(sys.modules, "message_filters", fake_message_filters)
    return lambda **values: make_pairer(PairingSettings(policy="message_filters", **values))


def _add(pairer: Any, sensor: Sensor, stamp: int) -> int:
    return len(pairer.add(sensor, Image(header=header(stamp, "camera")), stamp, 0))


def _lap(pairer: Any) -> int:
    """Feed the same 1.2 s of both cameras, thermal at a third of the rate; return how many pairs came."""
    pairs = 0
    for index in range(12):
        stamp = 5 * SECOND + index * STEP
        pairs += _add(pairer, Sensor.RGB, stamp)
        if index % 3 == 0:
            pairs += _add(pairer, Sensor.THERMAL, stamp + 1_000_000)
    return pairs


def _balance(pairer: Any) -> None:
    counts = pairer.counts
    for sensor, received in counts.received.items():
        assert received == counts.paired + sum(counts.dropped[sensor].values()) + counts.pending[sensor]
        assert min(counts.dropped[sensor].values()) >= 0


def test_pairs_come_again_after_the_stamps_have_jumped_back(make):
    pairer = make(queue_size=3)
    assert [_lap(pairer) for _ in range(3)] == [4, 4, 4]
    _balance(pairer)


def test_what_waits_when_stamps_jump_back_is_dropped_for_that_reason_as_our_own_pairing_says_it(make):
    ours, theirs = make_pairer(PairingSettings()), make()
    for pairer in (ours, theirs):
        _add(pairer, Sensor.RGB, 5 * SECOND)
        _add(pairer, Sensor.RGB, SECOND)
        assert pairer.counts.dropped[Sensor.RGB][DropReason.RESET] == 1
        assert pairer.counts.dropped[Sensor.THERMAL][DropReason.RESET] == 0
        assert pairer.counts.pending[Sensor.RGB] == 1
        _balance(pairer)


def test_a_frame_that_is_overtaken_starts_nothing_over(make):
    pairer = make(jump_back_ms=500.0)
    _add(pairer, Sensor.THERMAL, 5 * SECOND)
    _add(pairer, Sensor.RGB, 5 * SECOND + 3 * STEP)
    assert _add(pairer, Sensor.RGB, 5 * SECOND) == 1
    assert pairer.counts.dropped[Sensor.RGB][DropReason.RESET] == 0


def test_what_waits_at_the_end_goes_unmatched(make):
    pairer = make()
    _add(pairer, Sensor.RGB, SECOND)
    assert pairer.flush(0) == []
    assert pairer.counts.pending[Sensor.RGB] == 0
    assert pairer.counts.dropped[Sensor.RGB][DropReason.UNMATCHED] == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"unpaired": "forward"}, r"forwards no frames .* set pairing\.policy to nearest"),
        ({"thermal_offset_ms": 5.0}, r"takes no clock offsets; set pairing\.policy to nearest"),
    ],
    ids=["forward", "clock_offset"],
)
def test_what_message_filters_cannot_do_is_refused_with_the_way_out(make, values, reason):
    with pytest.raises(SettingsError, match=reason):
        make(**values)
