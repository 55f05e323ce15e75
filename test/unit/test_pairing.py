"""What users rely on when frames of two cameras are paired."""

from __future__ import annotations

import random

import pytest

from fusion_ros.errors import SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.timing import DropReason, OffsetStatistics, Pair, PairingSettings, StampPairer

RGB, THERMAL = Sensor.RGB, Sensor.THERMAL
MS = 1_000_000


def add(pairer, sensor, stamp_ms, now_ms=None):
    """Add a frame that is its own stamp, by default arriving at that time; return (rgb, thermal) pairs in ms."""
    now_ms = stamp_ms if now_ms is None else now_ms
    return plain(pairer.add(sensor, stamp_ms, round(stamp_ms * MS), round(now_ms * MS)))


def plain(pairs):
    return [(pair.rgb, pair.thermal) for pair in pairs]


def play(pairer, rgb, thermal):
    """Feed two streams in order of time; return all pairs, with the rest decided at the end."""
    arrivals = sorted([(r, RGB) for r in rgb] + [(t, THERMAL) for t in thermal])
    pairs = [pair for stamp, sensor in arrivals for pair in add(pairer, sensor, stamp)]
    return pairs + plain(pairer.flush(round(arrivals[-1][0] * MS)))


def camera(rate_hz, number, start_ms=0.0):
    return [start_ms + i * 1000 / rate_hz for i in range(number)]


def dropped(pairer, sensor):
    return {reason: n for reason, n in pairer.counts.dropped[sensor].items() if n}


def test_a_pair_exactly_at_tolerance_is_accepted_and_one_beyond_is_not():
    assert play(StampPairer(PairingSettings(tolerance_ms=20.0)), [0], [20]) == [(0, 20)]
    assert play(StampPairer(PairingSettings(tolerance_ms=20.0)), [0], [20.000001]) == []


def test_tolerance_zero_pairs_equal_stamps_at_once():
    pairer = StampPairer(PairingSettings(tolerance_ms=0.0))
    assert add(pairer, RGB, 0) == []
    assert add(pairer, THERMAL, 0) == [(0, 0)]


def test_a_pair_carries_both_items_their_own_stamps_and_the_corrected_offset():
    pairer = StampPairer(PairingSettings(rgb_offset_ms=-3.0, thermal_offset_ms=-100.0))
    pairer.add(RGB, "r", 1000 * MS, 0)
    pairer.add(THERMAL, "t", 1105 * MS, 0)
    assert pairer.flush(0) == [Pair("r", "t", 8 * MS, 1000 * MS, 1105 * MS)]


def test_cameras_in_phase_pair_as_soon_as_the_second_frame_is_there():
    pairer = StampPairer()
    for index, stamp in enumerate(camera(30, 30)):
        add(pairer, RGB, stamp)
        found = add(pairer, THERMAL, stamp + 5)
        if index > 3:  # the rate is known
            assert found == [(stamp, stamp + 5)]


def test_without_assumptions_a_frame_waits_until_no_nearer_partner_can_come():
    pairer = StampPairer(PairingSettings(min_interval_ratio=0.0))
    assert add(pairer, RGB, 0) == []
    assert add(pairer, THERMAL, 5) == []  # an RGB frame at 8 would be nearer
    assert add(pairer, RGB, 10) == [(0, 5)]  # now it cannot be: equally near, and the earlier pair goes first


def test_a_nearer_frame_takes_the_partner_and_the_other_is_unmatched():
    pairer = StampPairer()
    assert play(pairer, [0, 15], [16]) == [(15, 16)]
    assert dropped(pairer, RGB) == {DropReason.UNMATCHED: 1}


def test_nearest_matching_of_9_hz_and_30_hz_is_three_times_closer_than_the_first_within_50_ms():
    """A matcher that takes the first candidate within 50 ms has a mean of 21 ms here, and a maximum of 33 ms."""
    pairer = StampPairer(PairingSettings(tolerance_ms=50.0))
    pairs = play(pairer, camera(30, 600), camera(9, 180, start_ms=1.0))
    offsets = [abs(thermal - rgb) for rgb, thermal in pairs]
    assert len(pairs) == 180
    assert sum(offsets) / 180 == pytest.approx(7.8, abs=0.1)
    assert max(offsets) == pytest.approx(12.1, abs=0.1)
    assert dropped(pairer, RGB) == {DropReason.UNMATCHED: 420}
    assert dropped(pairer, THERMAL) == {}


def test_the_closeness_does_not_depend_on_how_late_one_camera_delivers():
    arrivals = [(r + 80, RGB, r) for r in camera(30, 300)] + [(t, THERMAL, t) for t in camera(9, 90, 1.0)]
    pairer = StampPairer(PairingSettings(tolerance_ms=50.0))
    pairs = [pair for now, sensor, stamp in sorted(arrivals) for pair in add(pairer, sensor, stamp, now)]
    assert max(abs(t - r) for r, t in pairs) == pytest.approx(12.1, abs=0.1)


def test_a_looped_bag_pairs_as_well_as_the_first_time():
    """A synchroniser that evicts the smallest stamp keeps the old, larger ones and pairs none of these 60."""
    pairer = StampPairer()
    for start in (0, 10_000):
        found = []
        for stamp in camera(30, 60):
            found += add(pairer, RGB, stamp, start + stamp)
            found += add(pairer, THERMAL, stamp + 4, start + stamp)
        found += plain(pairer.flush(round((start + 2000) * MS)))
        assert found == [(stamp, stamp + 4) for stamp in camera(30, 60)]


def test_when_time_starts_over_all_that_waits_is_counted_as_reset():
    pairer = StampPairer()
    for stamp in (5000, 5033):
        add(pairer, RGB, stamp)
    add(pairer, THERMAL, 4900)
    add(pairer, THERMAL, 5100, 5100)
    assert add(pairer, RGB, 100, 5100) == []
    assert dropped(pairer, THERMAL)[DropReason.RESET] == 1
    assert add(pairer, THERMAL, 100, 5100) == [(100, 100)]


def test_a_frame_a_little_older_than_the_newest_is_overtaken_not_a_jump():
    pairer = StampPairer()
    add(pairer, RGB, 100)
    add(pairer, RGB, 66)
    assert add(pairer, THERMAL, 66) == [(66, 66)]
    assert add(pairer, THERMAL, 100) == [(100, 100)]


def test_frames_older_than_the_output_are_late_and_repeated_ones_are_duplicates():
    pairer = StampPairer()
    add(pairer, RGB, 100)
    add(pairer, THERMAL, 100)
    add(pairer, RGB, 90)  # older than the pair
    add(pairer, RGB, 100)  # in the pair
    add(pairer, RGB, 133)
    add(pairer, RGB, 133)  # still waiting
    assert dropped(pairer, RGB) == {DropReason.LATE: 1, DropReason.DUPLICATE: 2}


def test_a_frame_waits_for_its_timeout_on_the_clock_of_arrival_and_no_longer():
    pairer = StampPairer(PairingSettings(timeout_ms=200.0))
    add(pairer, RGB, 0, now_ms=1000)
    assert pairer.expire(1200 * MS) == []
    assert pairer.counts.pending[RGB] == 1
    assert pairer.expire(1200 * MS + 1) == []
    assert dropped(pairer, RGB) == {DropReason.TIMEOUT: 1}


def test_a_partner_at_hand_is_taken_when_the_time_for_a_nearer_one_is_up():
    pairer = StampPairer(PairingSettings(timeout_ms=100.0, min_interval_ratio=0.0))
    add(pairer, RGB, 0)
    assert add(pairer, THERMAL, 15) == []
    assert plain(pairer.expire(101 * MS)) == [(0, 15)]


def test_a_full_queue_lets_the_oldest_go():
    pairer = StampPairer(PairingSettings(queue_size=3))
    for stamp in (0, 33, 66, 100, 133):
        add(pairer, RGB, stamp, now_ms=0)
    assert dropped(pairer, RGB) == {DropReason.OVERFLOW: 2}
    assert add(pairer, THERMAL, 66, now_ms=0) == [(66, 66)]


def test_a_full_queue_does_not_cost_a_frame_the_partner_that_it_has():
    pairer = StampPairer(PairingSettings(queue_size=2, min_interval_ratio=0.0, tolerance_ms=50.0))
    for stamp in (0, 30, 45):
        add(pairer, RGB, stamp, now_ms=0)
    assert dropped(pairer, RGB) == {DropReason.OVERFLOW: 1}
    assert add(pairer, THERMAL, 70, now_ms=0) == []
    assert add(pairer, RGB, 100, now_ms=0) == [(45, 70)]


def test_while_one_camera_is_silent_the_other_is_forwarded_without_delay():
    pairer = StampPairer(PairingSettings(unpaired="forward", timeout_ms=100.0))
    alive, rgb = camera(30, 10), camera(30, 40)
    found = {now: [] for now in rgb}
    for stamp in rgb:
        found[stamp] += add(pairer, RGB, stamp)
        if stamp in alive:
            found[stamp] += add(pairer, THERMAL, stamp)
    silent_from = next(now for now in rgb if now - alive[-1] > 100)
    waiting = [stamp for stamp in rgb if alive[-1] < stamp <= silent_from]
    assert found[silent_from] == [(stamp, None) for stamp in waiting]
    assert all(found[now] == [(now, None)] for now in rgb if now > silent_from)
    assert pairer.counts.forwarded == {RGB: 30, THERMAL: 0}


def test_pairing_goes_on_when_the_silent_camera_comes_back():
    pairer = StampPairer(PairingSettings(unpaired="forward", timeout_ms=100.0))
    for stamp in camera(30, 10):
        add(pairer, THERMAL, stamp)
    assert add(pairer, RGB, 333, now_ms=333) == []
    assert add(pairer, THERMAL, 333, now_ms=334) == [(333, 333)]


def test_a_camera_that_never_came_is_silent_after_the_timeout():
    pairer = StampPairer(PairingSettings(unpaired="forward", timeout_ms=100.0))
    assert add(pairer, THERMAL, 5000, now_ms=0) == []
    assert plain(pairer.expire(101 * MS)) == [(None, 5000)]


def test_surplus_frames_of_the_faster_camera_are_never_forwarded_while_both_run():
    pairer = StampPairer(PairingSettings(unpaired="forward", timeout_ms=60.0))  # shorter than a 9 Hz interval
    pairs = play(pairer, camera(30, 300), camera(9, 90))
    alone = [rgb for rgb, thermal in pairs if thermal is None]
    assert all(stamp < 112 for stamp in alone)  # until the second thermal frame nobody knows its rate
    assert len(pairs) - len(alone) == 89  # its own partner went alone just before


def test_reset_drops_what_waits_and_keeps_the_counts():
    pairer = StampPairer()
    add(pairer, RGB, 0)
    pairer.reset()
    assert dropped(pairer, RGB) == {DropReason.RESET: 1}
    assert pairer.counts.received == {RGB: 1, THERMAL: 0}


def test_cameras_half_a_period_apart_lose_no_frame_while_they_keep_their_rate():
    pairer = StampPairer()
    assert len(play(pairer, camera(30, 300), camera(30, 300, start_ms=16.0))) == 300


def test_at_half_a_period_jitter_costs_frames_but_no_closeness():
    rng = random.Random(5)
    rgb = [stamp + rng.uniform(-4, 4) for stamp in camera(30, 900)]
    thermal = [stamp + rng.uniform(-4, 4) for stamp in camera(30, 900, start_ms=1000 / 60)]
    pairs = play(StampPairer(PairingSettings(tolerance_ms=30.0)), rgb, thermal)
    in_order = [abs(t - r) for r, t in zip(rgb, thermal, strict=True)]
    offsets = [abs(t - r) for r, t in pairs]
    assert 0.8 < len(pairs) / 900 < 1.0
    assert sum(offsets) / len(offsets) < sum(in_order) / 900


@pytest.mark.parametrize(("name", "value"), [("tolerance_ms", -1.0), ("queue_size", 0), ("unpaired", "keep")])
def test_settings_out_of_bounds_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        PairingSettings(**{name: value})


def test_offset_statistics_describe_the_latest_pairs():
    statistics = OffsetStatistics(window=20)
    assert statistics.summary().number == 0
    for offset_ms in [1000, *range(-5, 15)]:  # the first one falls out of the window
        statistics.add(offset_ms * MS)
    summary = statistics.summary()
    assert (summary.number, summary.bias_ms, summary.max_ms) == (20, 4.5, 14.0)
    assert (summary.mean_ms, summary.p50_ms, summary.p95_ms) == (6.0, 5.0, 13.0)
    statistics.reset()
    assert statistics.summary().max_ms == 0.0
