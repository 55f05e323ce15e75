"""The pairer against a plain reference, on random streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_ros.frame import Sensor
from fusion_ros.timing import PairingSettings, StampPairer

RGB, THERMAL = Sensor.RGB, Sensor.THERMAL
MS = 1_000_000


def reference_matching(rgb, thermal, tolerance):
    """All pairs within tolerance, nearest first, unless a frame is taken or an accepted pair is crossed."""
    candidates = [(abs(t - r), min(r, t), r, t) for r in rgb for t in thermal if abs(t - r) <= tolerance]
    accepted = []
    for _, _, r, t in sorted(candidates):
        if all((r - other_r) * (t - other_t) > 0 for other_r, other_t in accepted):
            accepted.append((r, t))
    return sorted(accepted)


def settings_with(**values):
    return PairingSettings(**{"timeout_ms": 10000.0, "queue_size": 200, "jump_back_ms": 1e6, **values})


def play(pairer, arrivals):
    """Feed (now, sensor, stamp) in order of arrival; return (rgb, thermal) stamps of all results."""
    results = []
    for now, sensor, stamp in arrivals:
        results += pairer.add(sensor, stamp, stamp, now)
    results += pairer.flush(arrivals[-1][0] if arrivals else 0)
    return [(pair.rgb, pair.thermal) for pair in results]


def merged(rgb, thermal, rgb_delay, thermal_delay):
    """Arrivals of two streams, each in order and each behind its stamps by a fixed delay."""
    return sorted([(r + rgb_delay, RGB, r) for r in rgb] + [(t + thermal_delay, THERMAL, t) for t in thermal])


@st.composite
def stamps(draw, rate_hz, *, jitter=0.0, drop_outs=False):
    """About a second of a camera, in nanoseconds."""
    interval = round(1e9 / rate_hz)
    phase = draw(st.integers(0, interval))
    spread = round(jitter * interval)
    number = draw(st.integers(0, rate_hz))
    shifts = draw(st.lists(st.integers(-spread, spread), min_size=number, max_size=number))
    kept = draw(st.lists(st.booleans(), min_size=number, max_size=number)) if drop_outs else [True] * number
    return sorted({phase + i * interval + s for i, (s, keep) in enumerate(zip(shifts, kept, strict=True)) if keep})


RATES = st.sampled_from([(30, 30), (30, 9), (30, 60), (9, 9)])
TOLERANCES_MS = st.sampled_from([0.0, 5.0, 20.0, 50.0, 150.0])
DELAYS = st.integers(0, 120 * MS)


@settings(max_examples=150, deadline=None)
@given(st.data(), RATES, TOLERANCES_MS, DELAYS, DELAYS)
def test_pairs_are_the_reference_matching_when_only_order_is_assumed(
    data, rates, tolerance, rgb_delay, thermal_delay
):
    rgb = data.draw(stamps(rates[0], jitter=0.6, drop_outs=True))
    thermal = data.draw(stamps(rates[1], jitter=0.6, drop_outs=True))
    pairer = StampPairer(settings_with(tolerance_ms=tolerance, min_interval_ratio=0.0))
    found = play(pairer, merged(rgb, thermal, rgb_delay, thermal_delay))
    assert found == reference_matching(rgb, thermal, tolerance * MS)


PRESENT = st.lists(st.booleans(), min_size=30, max_size=30)


@settings(max_examples=200, deadline=None)
@given(PRESENT, PRESENT, st.integers(0, 8))
def test_pairs_are_the_reference_matching_on_dense_stamps_with_many_ties(rgb_present, thermal_present, tolerance):
    rgb = [stamp for stamp, present in enumerate(rgb_present) if present]
    thermal = [stamp for stamp, present in enumerate(thermal_present) if present]
    pairer = StampPairer(settings_with(tolerance_ms=tolerance / MS, min_interval_ratio=0.0))
    assert play(pairer, merged(rgb, thermal, 0, 0)) == reference_matching(rgb, thermal, tolerance)


@settings(max_examples=100, deadline=None)
@given(st.data(), RATES, TOLERANCES_MS, DELAYS, DELAYS)
def test_pairs_are_the_reference_matching_with_the_default_assumption_on_cameras_that_keep_their_rate(
    data, rates, tolerance, rgb_delay, thermal_delay
):
    rgb = data.draw(stamps(rates[0], jitter=0.12))
    thermal = data.draw(stamps(rates[1], jitter=0.12))
    pairer = StampPairer(settings_with(tolerance_ms=tolerance))
    found = play(pairer, merged(rgb, thermal, rgb_delay, thermal_delay))
    assert found == reference_matching(rgb, thermal, tolerance * MS)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(-200, 200), st.integers(-200, 200))
def test_a_clock_offset_pairs_as_if_the_stamps_had_been_corrected(data, rgb_offset, thermal_offset):
    rgb, thermal = data.draw(stamps(30, jitter=0.3)), data.draw(stamps(9, jitter=0.3))
    pairer = StampPairer(
        settings_with(rgb_offset_ms=rgb_offset, thermal_offset_ms=thermal_offset, min_interval_ratio=0.0)
    )
    expected = reference_matching(
        [r + rgb_offset * MS for r in rgb], [t + thermal_offset * MS for t in thermal], 20 * MS
    )
    found = play(pairer, merged(rgb, thermal, 0, 0))
    assert found == [(r - rgb_offset * MS, t - thermal_offset * MS) for r, t in expected]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([RGB, THERMAL, RGB, THERMAL, RGB, THERMAL, "expire", "reset", "flush", "jump"]),
        st.integers(0, 40),  # how much later the camera's next stamp is, in ms
        st.integers(-60, 5),  # how far this stamp is moved: overtaken frames
        st.integers(0, 60),  # how much time passes until it arrives
        st.booleans(),  # whether it comes twice
    ),
    max_size=80,
)
ODD_SETTINGS = st.builds(
    PairingSettings,
    tolerance_ms=st.sampled_from([0.0, 10.0, 50.0]),
    timeout_ms=st.sampled_from([1.0, 50.0, 300.0]),
    queue_size=st.integers(1, 6),
    unpaired=st.sampled_from(["drop", "forward"]),
    jump_back_ms=st.sampled_from([100.0, 500.0]),
    min_interval_ratio=st.sampled_from([0.0, 0.5, 1.0]),
)


def perform(pairer, actions):
    """Carry out random actions; yield the results of each and whether it started time over."""
    now, clock, newest, serial = 0, dict.fromkeys(Sensor, 10**10), {}, itertools.count()
    for action, step, shift, wait, twice in actions:
        now += wait * MS
        if action == "expire":
            yield pairer.expire(now), False
        elif action == "flush":
            yield pairer.flush(now), False
        elif action == "reset":
            pairer.reset()
            newest.clear()
            yield [], True
        elif action == "jump":
            clock = {sensor: stamp - 700 * MS for sensor, stamp in clock.items()}
        else:
            clock[action] += step * MS
            stamp = clock[action] + shift * MS
            for _ in range(1 + twice):
                started_over = newest.get(action, stamp) - stamp >= pairer.settings.jump_back_ms * MS
                if started_over:
                    newest.clear()
                newest[action] = max(newest.get(action, stamp), stamp)
                yield pairer.add(action, next(serial), stamp, now), started_over


def check_books(pairer):
    counts = pairer.counts
    for sensor in Sensor:
        gone = counts.paired + counts.forwarded[sensor] + sum(counts.dropped[sensor].values())
        assert counts.received[sensor] == gone + counts.pending[sensor]
        assert counts.pending[sensor] <= pairer.settings.queue_size


@settings(max_examples=300, deadline=None)
@given(ODD_SETTINGS, ACTIONS)
def test_whatever_comes_the_books_balance_and_results_are_ordered_and_within_tolerance(values, actions):
    pairer = StampPairer(values)
    seen, last = set(), dict.fromkeys(Sensor, -1)
    for results, started_over in perform(pairer, actions):
        check_books(pairer)
        if started_over:
            last = dict.fromkeys(Sensor, -1)
        for pair in results:
            sides = [(RGB, pair.rgb, pair.rgb_stamp_ns), (THERMAL, pair.thermal, pair.thermal_stamp_ns)]
            sides = [side for side in sides if side[1] is not None]
            assert len(sides) == 2 or values.unpaired == "forward"
            assert abs(pair.offset_ns) <= values.tolerance_ms * MS
            if len(sides) == 2:
                assert pair.offset_ns == pair.thermal_stamp_ns - pair.rgb_stamp_ns
            for sensor, item, stamp in sides:
                assert item not in seen
                seen.add(item)
                assert stamp > last[sensor]
                last[sensor] = stamp
    pairer.flush(10**12)
    check_books(pairer)
    assert sum(pairer.counts.pending.values()) == 0


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_overtaken_and_repeated_frames_change_no_pair_as_long_as_nothing_was_decided(ratio, data):
    """All RGB frames come first, shuffled and repeated; thermal ones then find them all in place."""
    rgb = data.draw(stamps(30, jitter=0.3))
    thermal = data.draw(stamps(9, jitter=0.1))
    shuffled = data.draw(st.permutations(rgb + rgb[::3]))
    arrivals = [(0, RGB, r) for r in shuffled] + [(1, THERMAL, t) for t in thermal]
    pairer = StampPairer(settings_with(min_interval_ratio=ratio, jump_back_ms=1e6))
    assert play(pairer, arrivals) == reference_matching(rgb, thermal, 20 * MS)
    assert pairer.counts.dropped[RGB]["duplicate"] == len(rgb[::3])
