"""The timetable of a replay: nothing here sleeps."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from fusion_ros.bags import BagReader, BagWriter, Replay, ReplaySettings
from fusion_ros.errors import BagError, SettingsError
from fusion_ros.frame import Frame

START = 1_700_000_000_000_000_000
STEP = 100_000_000


@pytest.fixture
def bag(tmp_path):
    """Ten messages 100 ms apart, on /rgb and /thermal in turn, and one String topic."""
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(10):
            stamp = START + index * STEP
            topic = "/thermal" if index % 2 else "/rgb"
            writer.write_frame(topic, Frame(np.full((4, 4), index, np.uint8), stamp), stamp)
        text = b"\x00\x01\x00\x00\x02\x00\x00\x00a\x00"
        writer.write_cdr("/note", "std_msgs/msg/String", text, START + 9 * STEP)
    with BagReader(tmp_path / "bag") as reader:
        yield reader


def due(replay: Replay, count: int | None = None) -> list[float]:
    return [round(event.due_s, 6) for event in islice(replay.events(), count)]


def test_messages_are_due_as_far_apart_as_they_were_received(bag):
    replay = Replay(bag)
    events = list(replay.events())
    assert due(replay) == [*(round(0.1 * i, 6) for i in range(10)), 0.9]
    assert [event.clock_ns for event in events] == [event.message.receive_ns for event in events]
    assert [event.topic for event in events[:3]] == ["/rgb", "/thermal", "/rgb"]


def test_the_rate_divides_waiting_but_not_bag_time(bag):
    replay = Replay(bag, ReplaySettings(rate=4.0))
    events = list(replay.events())
    assert due(replay)[:5] == [0.0, 0.025, 0.05, 0.075, 0.1]
    assert events[4].clock_ns == START + 4 * STEP
    assert replay.clock_ns(0.1) == START + 4 * STEP


def test_offset_and_duration_cut_a_half_open_part(bag):
    replay = Replay(bag, ReplaySettings(start_offset_s=0.2, duration_s=0.3))
    events = list(replay.events())
    assert [event.clock_ns for event in events] == [START + i * STEP for i in (2, 3, 4)]
    assert due(replay) == [0.0, 0.1, 0.2]


def test_a_loop_goes_on_in_due_time_and_jumps_back_in_bag_time(bag):
    replay = Replay(bag, ReplaySettings(loop=True, start_offset_s=0.2, duration_s=0.3, rate=2.0))
    events = list(islice(replay.events(), 7))
    assert [event.clock_ns - START for event in events] == [i * STEP for i in (2, 3, 4, 2, 3, 4, 2)]
    assert due(replay, 7) == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert replay.clock_ns(0.16) == START + 2 * STEP + 20_000_000
    assert replay.clock_ns(0.14) == START + 4 * STEP + 80_000_000


def test_the_clock_stops_at_the_end_without_a_loop(bag):
    replay = Replay(bag)
    assert replay.clock_ns(0.0) == START
    assert replay.clock_ns(100.0) == bag.end_ns


def test_topics_are_chosen_and_renamed(bag):
    settings = ReplaySettings(topics=("/thermal", "/note"), remap=("/thermal:=/robot/thermal", "/rgb:=/unused"))
    replay = Replay(bag, settings)
    assert replay.types == {
        "/robot/thermal": "sensor_msgs/msg/Image",
        "/note": "std_msgs/msg/String",
    }
    events = list(replay.events())
    assert [event.topic for event in events] == ["/robot/thermal"] * 5 + ["/note"]
    assert {event.message.topic for event in events} == {"/thermal", "/note"}
    assert due(replay)[0] == 0.1  # still relative to the bag's beginning


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"topics": ["/thermol"]}, "did you mean '/thermal'"),
        ({"remap": ["/rbg:=/x"]}, "did you mean '/rgb'"),
        ({"remap": ["/note:=/rgb"]}, "/rgb would carry two types"),
        ({"start_offset_s": 5.0}, "nothing to play: .*0.900 s long"),
        ({"loop": True, "start_offset_s": 0.9}, "too short to loop"),
    ],
)
def test_what_cannot_be_played_is_refused_before_it_starts(bag, settings, reason):
    with pytest.raises(BagError, match=reason):
        Replay(bag, ReplaySettings.from_mapping(settings))


@pytest.fixture
def bag_with_clock(tmp_path):
    """Three images, and a recorded /clock that says another time."""
    with BagWriter(tmp_path / "simulated") as writer:
        for index in range(3):
            stamp = START + index * STEP
            writer.write_frame("/rgb", Frame(np.full((4, 4), index, np.uint8), index * STEP), stamp)
            writer.write_cdr("/clock", "rosgraph_msgs/msg/Clock", b"\x00\x01\x00\x00" + bytes(8), stamp)
    with BagReader(tmp_path / "simulated") as reader:
        yield reader


@pytest.mark.parametrize("topics", [(), ("/clock", "/rgb")], ids=["all", "named"])
def test_a_recorded_clock_gives_way_to_the_players_own(bag_with_clock, topics):
    replay = Replay(bag_with_clock, ReplaySettings(topics=topics))
    assert [event.topic for event in replay.events()] == ["/rgb"] * 3
    assert list(replay.types) == ["/rgb"]
    assert replay.left_out == ("/clock",)


@pytest.mark.parametrize(
    ("settings", "played"),
    [
        (ReplaySettings(clock_hz=0.0), "/clock"),
        (ReplaySettings(remap=("/clock:=/simulated/clock",)), "/simulated/clock"),
    ],
    ids=["no_clock_of_its_own", "under_another_name"],
)
def test_a_recorded_clock_is_played_where_no_other_is_on_its_topic(bag_with_clock, settings, played):
    replay = Replay(bag_with_clock, settings)
    assert [event.topic for event in replay.events()].count(played) == 3
    assert replay.left_out == ()


def test_a_recorded_clock_alone_beside_the_players_own_is_refused_with_the_way_out(bag_with_clock):
    with pytest.raises(BagError, match="set clock_hz to 0 to play the recorded one"):
        Replay(bag_with_clock, ReplaySettings(topics=("/clock",)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rate": 0.0}, "rate: expected 0.001 to 1000"),
        ({"start_offset_s": -1.0}, "at least 0 s"),
        ({"remap": ["/a=/b"]}, "expected from:=to, got '/a=/b'"),
        ({"remap": ["/a:=/b", "/a:=/c"]}, "/a is renamed twice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, reason):
    with pytest.raises(SettingsError, match=reason):
        ReplaySettings.from_mapping(values)
