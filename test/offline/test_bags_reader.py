"""Bags are read alike, whichever storage and ROS version wrote them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from fusion_ros.bags import BagReader, BagWriter, frame_of, frames
from fusion_ros.errors import BagError
from fusion_ros.frame import Frame, Unit

SECOND = 1_000_000_000
IMAGE = "sensor_msgs/msg/Image"
TYPES = get_typestore(Stores.ROS2_HUMBLE)


def picture(value: int, stamp_ns: int) -> Frame:
    pixels = np.full((120, 160, 3), value, np.uint8)
    pixels[:, :, 0] = np.arange(160)
    return Frame(pixels, stamp_ns, "rgb_optical_frame", "bgr8")


def make_bag(path: Path, storage: str = "mcap", count: int = 60) -> Path:
    """Two image topics; messages arrive 5 ms after their stamp."""
    with BagWriter(path, storage) as writer:
        for index in range(count):
            stamp = (index + 1) * SECOND
            topic = "/thermal/image_raw" if index % 3 == 0 else "/rgb/image_raw"
            writer.write_frame(topic, picture(index, stamp), stamp + 5_000_000)
    return path


def ros1_types():
    """ROS 1's own definitions: a header with seq, a CameraInfo with capital letters."""
    return get_typestore(Stores.ROS1_NOETIC)


def make_ros1_bag(path: Path, count: int = 5) -> Path:
    store = ros1_types()
    types = store.types
    with Rosbag1Writer(path) as writer:
        image = writer.add_connection("/rgb/image_raw", IMAGE, typestore=store)
        info = writer.add_connection("/rgb/camera_info", "sensor_msgs/msg/CameraInfo", typestore=store)
        for index in range(count):
            time = types["builtin_interfaces/msg/Time"](sec=index, nanosec=7)
            header = types["std_msgs/msg/Header"](seq=index, stamp=time, frame_id="cam")
            data = np.arange(24, dtype=np.uint8) + index
            message = types[IMAGE](header, 2, 4, "rgb8", 0, 12, data)
            writer.write(image, index * SECOND + 9, store.serialize_ros1(message, IMAGE))
            roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            k, p = np.arange(9.0), np.arange(12.0)
            calibration = types["sensor_msgs/msg/CameraInfo"](
                header, 2, 4, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi
            )
            writer.write(info, index * SECOND + 9, store.serialize_ros1(calibration, "sensor_msgs/msg/CameraInfo"))
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_messages_come_in_receive_order_with_their_types(tmp_path, storage):
    with BagReader(make_bag(tmp_path / "bag", storage)) as bag:
        assert {name: (info.type, info.count) for name, info in bag.topics.items()} == {
            "/rgb/image_raw": (IMAGE, 40),
            "/thermal/image_raw": (IMAGE, 20),
        }
        times = [message.receive_ns for message in bag.messages()]
        assert times == [(index + 1) * SECOND + 5_000_000 for index in range(60)]
        assert bag.count == 60
        assert bag.image_topics() == ["/rgb/image_raw", "/thermal/image_raw"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_interval_includes_its_start_and_not_its_end(tmp_path, storage):
    with BagReader(make_bag(tmp_path / "bag", storage)) as bag:
        lag = 5_000_000
        times = [m.receive_ns for m in bag.messages(None, 10 * SECOND + lag, 12 * SECOND + lag)]
        assert times == [10 * SECOND + lag, 11 * SECOND + lag]
        assert (bag.start_ns, bag.end_ns) == (SECOND + lag, 60 * SECOND + lag + 1)
        assert len(list(bag.messages(None, bag.start_ns, bag.end_ns))) == 60


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_cdr_is_what_an_independent_reader_finds(tmp_path, storage):
    path = make_bag(tmp_path / "bag", storage, count=4)
    with AnyReader([path]) as other, BagReader(path) as bag:
        expected = [(connection.topic, stamp, bytes(raw)) for connection, stamp, raw in other.messages()]
        assert [(m.topic, m.receive_ns, m.cdr) for m in bag.messages()] == expected


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_bare_storage_file_reads_like_its_folder(tmp_path, suffix):
    path = make_bag(tmp_path / "bag", {".mcap": "mcap", ".db3": "sqlite3"}[suffix])
    with BagReader(path) as folder, BagReader(path / f"bag{suffix}") as file:
        assert [m.cdr for m in file.messages()] == [m.cdr for m in folder.messages()]


def test_a_folder_whose_recorder_was_killed_before_the_metadata_is_read(tmp_path):
    path = make_bag(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    with BagReader(path) as bag:
        assert bag.count == 60
        assert bag.damage == ()


def test_several_bags_are_merged_by_time(tmp_path):
    for name, offset in (("even", 0), ("odd", SECOND)):
        with BagWriter(tmp_path / name) as writer:
            for index in range(3):
                stamp = 2 * index * SECOND + offset
                writer.write_frame(f"/{name}", picture(index, stamp), stamp)
    with BagReader(tmp_path / "even", tmp_path / "odd") as bag:
        assert [m.topic for m in bag.messages()] == ["/even", "/odd"] * 3
        assert bag.end_ns == 5 * SECOND + 1


def test_a_ros1_bag_gives_ros2_messages_and_ros2_bytes(tmp_path):
    with BagReader(make_ros1_bag(tmp_path / "drive.bag")) as bag:
        messages = list(bag.messages())
        image = next(m for m in messages if m.topic == "/rgb/image_raw" and m.receive_ns > SECOND)
        assert not hasattr(image.message.header, "seq")
        # The same message made with ROS 2's own definition must have the very same bytes.
        header = TYPES.types["std_msgs/msg/Header"](TYPES.types["builtin_interfaces/msg/Time"](1, 7), "cam")
        data = np.arange(24, dtype=np.uint8) + 1
        expected = TYPES.serialize_cdr(TYPES.types[IMAGE](header, 2, 4, "rgb8", 0, 12, data), IMAGE)
        assert image.cdr == bytes(expected)
        assert image.stamp_ns == SECOND + 7
        frame = frame_of(image)
        assert frame.frame_id == "cam"
        np.testing.assert_array_equal(frame.pixels.ravel(), data)


def test_a_ros1_camera_info_has_the_field_names_of_ros2(tmp_path):
    with BagReader(make_ros1_bag(tmp_path / "drive.bag")) as bag:
        info = next(bag.messages(["/rgb/camera_info"])).message
        np.testing.assert_array_equal(info.k, np.arange(9.0))
        np.testing.assert_array_equal(info.p, np.arange(12.0))


def test_sixteen_bit_and_compressed_frames_survive(tmp_path, rng=np.random.default_rng(1)):  # noqa: B008
    counts = rng.integers(7000, 9000, (48, 64)).astype(np.uint16)
    color = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        thermal = Frame(counts, 5, "thermal", "16UC1", Unit.COUNTS)
        writer.write_frame("/thermal", thermal, 5)
        writer.write_frame("/thermal/compressed", thermal, 5, compressed="png")
        writer.write_frame("/rgb/compressed", Frame(color, 6, "rgb", "rgb8"), 6, compressed="png")
    with BagReader(tmp_path / "bag") as bag:
        for topic in ("/thermal", "/thermal/compressed"):
            (frame,) = frames(bag, topic)
            np.testing.assert_array_equal(frame.pixels, counts)
            assert frame.unit is Unit.COUNTS
        (frame,) = frames(bag, "/rgb/compressed")
        np.testing.assert_array_equal(frame.pixels, color)
        assert (frame.stamp_ns, frame.frame_id) == (6, "rgb")


def test_a_missing_topic_is_answered_with_the_nearest(tmp_path):
    with BagReader(make_bag(tmp_path / "bag", count=3)) as bag:
        with pytest.raises(BagError, match="did you mean '/rgb/image_raw'"):
            bag.require("/rgb/image_row")
        with pytest.raises(BagError, match="did you mean '/rgb/image_raw'"):
            bag.messages(["/rgb/image_ra"])
        with pytest.raises(BagError, match=r"expected a topic of type std_msgs/msg/String, got sensor_msgs"):
            bag.require("/rgb/image_raw", "std_msgs/msg/String")


def test_frames_of_a_topic_without_images_are_refused_at_once(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        text = TYPES.serialize_cdr(TYPES.types["std_msgs/msg/String"]("hello"), "std_msgs/msg/String")
        writer.write_cdr("/chatter", "std_msgs/msg/String", bytes(text), 1)
    with BagReader(tmp_path / "bag") as bag:
        with pytest.raises(BagError, match=r"/chatter: expected a topic of type .*Image"):
            frames(bag, "/chatter")
        (message,) = bag.messages()
        assert message.message.data == "hello"
        assert message.stamp_ns is None


def test_what_is_not_a_bag_is_refused_with_the_reason(tmp_path):
    with pytest.raises(BagError, match="no bag at"):
        BagReader(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BagError, match=r"expected metadata\.yaml"):
        BagReader(tmp_path / "folder")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BagError, match=r"got suffix '\.txt'"):
        BagReader(tmp_path / "notes.txt")
    (tmp_path / "empty.mcap").touch()
    with pytest.raises(BagError, match="is empty"):
        BagReader(tmp_path / "empty.mcap")
    (tmp_path / "foreign.mcap").write_bytes(b"x" * 1000)
    with pytest.raises(BagError, match="not an mcap file"):
        BagReader(tmp_path / "foreign.mcap")
    (tmp_path / "foreign.db3").write_bytes(b"x" * 1000)
    with pytest.raises(BagError, match="damaged beyond"):
        BagReader(tmp_path / "foreign.db3")
    (tmp_path / "foreign.bag").write_bytes(b"x" * 1000)
    with pytest.raises(BagError, match="rosbag reindex"):
        BagReader(tmp_path / "foreign.bag")


def make_large_ros1_bag(path: Path) -> bytes:
    """Twelve images of 12 kB, one a chunk, and so more than enough to overwrite 30 kB in the middle."""
    store = ros1_types()
    types = store.types
    writer = Rosbag1Writer(path)
    writer.chunk_threshold = 1
    with writer:
        image = writer.add_connection("/rgb/image_raw", IMAGE, typestore=store)
        for index in range(12):
            time = types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
            header = types["std_msgs/msg/Header"](seq=index, stamp=time, frame_id="cam")
            message = types[IMAGE](header, 50, 80, "rgb8", 0, 240, np.full(12000, index, np.uint8))
            writer.write(image, index * SECOND, store.serialize_ros1(message, IMAGE))
    return path.read_bytes()


def test_a_ros1_bag_that_is_spoilt_anywhere_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "drive.bag"
    data = make_large_ros1_bag(path)
    with BagReader(path) as bag:
        assert [message.message.data[0] for message in bag.messages()] == list(range(12))
    reasons = []
    for start in range(0, len(data) - 30_000, 1_499):
        path.write_bytes(data[:start] + b"\xff" * 30_000 + data[start + 30_000 :])
        with pytest.raises(BagError, match=r"(drive\.bag:|read, then:) [^;\s]") as found, BagReader(path) as bag:
            list(bag.messages())
        reasons.append(str(found.value))
    assert any("not what the index of the bag says" in reason for reason in reasons)


def test_a_ros1_record_that_contradicts_the_index_ends_the_messages(tmp_path):
    path = tmp_path / "drive.bag"
    data = bytearray(make_large_ros1_bag(path))
    times = [found.end() for found in re.finditer(rb"(?<!_)time=", data)]
    assert len(times) == 12
    data[times[4]] += 1  # one second later than the index says
    path.write_bytes(data)
    found = []
    with (
        BagReader(path) as bag,
        pytest.raises(BagError, match="4 messages could be read, then: a record is not what"),
    ):
        for message in bag.messages():
            found.append(message.message.data[0])
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["run #3", "what?", "half%20"], ids=["hash", "question_mark", "percent"])
def test_a_sqlite_bag_whose_path_sqlite_misreads_is_refused_and_not_called_damaged(tmp_path, monkeypatch, name):
    path = make_bag(tmp_path / "bag", "sqlite3", count=3).rename(tmp_path / name)
    for target in (path, path / "bag.db3"):
        with pytest.raises(BagError, match=r"expected a path without '#'.*give a relative path"):
            BagReader(target, salvage=True)
    monkeypatch.chdir(path)
    with BagReader("bag.db3") as bag:
        assert len(list(bag.messages())) == 3
    with BagReader(make_bag(tmp_path / f"{name} of mcap", count=3)) as bag:
        assert bag.count == 3


def test_a_percent_sign_that_sqlite_leaves_alone_is_no_obstacle(tmp_path):
    with BagReader(make_bag(tmp_path / "100%_dark", "sqlite3", count=3)) as bag:
        assert len(list(bag.messages())) == 3


def test_an_unknown_storage_is_named(tmp_path):
    path = make_bag(tmp_path / "bag", count=3)
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("storage_identifier: mcap", "storage_identifier: tape"))
    with pytest.raises(BagError, match="tape"):
        BagReader(path)


def test_a_type_without_definition_is_refused_only_when_it_is_decoded(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("uint8 value\n", "custom_msgs/msg/Gain"))
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.open()
    gain = writer.add_connection("/gain", "custom_msgs/msg/Gain", typestore=store)
    writer.write(gain, 1, store.serialize_cdr(store.types["custom_msgs/msg/Gain"](3), "custom_msgs/msg/Gain"))
    writer.storage.conn.execute("DELETE FROM message_definitions")  # as bags of Humble are
    writer.close()
    with BagReader(tmp_path / "bag") as bag:
        (message,) = bag.messages()
        assert message.cdr[4:] == b"\x03"
        with pytest.raises(BagError, match="holds no definition of custom_msgs/msg/Gain"):
            _ = message.message


def test_a_standard_type_needs_no_definition_in_the_bag(tmp_path):
    path = make_bag(tmp_path / "bag", "sqlite3", count=3)
    import sqlite3

    with sqlite3.connect(path / "bag.db3") as database:
        database.execute("DELETE FROM message_definitions")
    with BagReader(path) as bag:
        assert [frame.pixels[0, 0, 1] for frame in frames(bag, "/rgb/image_raw")] == [1, 2]


def test_a_record_that_is_not_its_type_is_named(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_cdr("/rgb/image_raw", IMAGE, b"\x00\x01\x00\x00\x01\x02", 1)
    with BagReader(tmp_path / "bag") as bag:
        (message,) = bag.messages()
        with pytest.raises(BagError, match=r"/rgb/image_raw: a record is not a valid"):
            _ = message.message
        with pytest.raises(BagError, match="too short to hold a header"):
            _ = message.stamp_ns
