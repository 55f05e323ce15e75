"""Recordings that were cut off: refused by default, read as far as they go when asked."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from test_bags_reader import make_bag

from fusion_ros.bags import BagReader, frames
from fusion_ros.errors import BagError


def cut(path: Path, share: float) -> Path:
    """Keep only the first ``share`` of the storage file, as a power cut would."""
    (file,) = (item for item in path.iterdir() if item.suffix in (".mcap", ".db3"))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    return file


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_cut_bag_is_refused_with_the_number_of_readable_messages(tmp_path, storage):
    path = make_bag(tmp_path / "bag", storage)
    cut(path, 0.6)
    with pytest.raises(BagError, match=r"is cut off: [1-9]\d messages can be read.*--salvage"):
        BagReader(path)


@pytest.mark.parametrize("with_metadata", [True, False])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_salvage_gives_the_undamaged_beginning(tmp_path, storage, with_metadata):
    path = make_bag(tmp_path / "bag", storage)
    with BagReader(path) as whole:
        expected = [(m.topic, m.receive_ns, m.cdr) for m in whole.messages()]
    cut(path, 0.6)
    if not with_metadata:
        (path / "metadata.yaml").unlink()
    with BagReader(path, salvage=True) as bag:
        found = [(m.topic, m.receive_ns, m.cdr) for m in bag.messages()]
        assert found == expected[: len(found)]
        assert 0.3 * len(expected) < len(found) < 0.7 * len(expected)
        assert bag.count == len(found)
        assert len(bag.damage) == 1
        assert bag.end_ns == found[-1][1] + 1


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_salvage_honours_topics_and_intervals(tmp_path, storage):
    path = make_bag(tmp_path / "bag", storage)
    with BagReader(path) as whole:
        start, stop = whole.start_ns + 5_000_000_000, whole.start_ns + 15_000_000_000
        expected = [m.receive_ns for m in whole.messages(["/rgb/image_raw"], start, stop)]
    cut(path, 0.6)
    with BagReader(path, salvage=True) as bag:
        assert [m.receive_ns for m in bag.messages(["/rgb/image_raw"], start, stop)] == expected
        values = [int(frame.pixels[0, 0, 1]) for frame in frames(bag, "/rgb/image_raw")]
        assert values[:4] == [1, 2, 4, 5]


def test_only_the_last_chunk_is_lost_wherever_an_mcap_is_cut(tmp_path):
    path = make_bag(tmp_path / "bag")
    file = path / "bag.mcap"
    content = file.read_bytes()
    per_message = 120 * 160 * 3
    for share in range(5, 100, 5):
        file.write_bytes(content[: len(content) * share // 100])
        with BagReader(file, salvage=True) as bag:
            lost = len(content) * share // 100 - bag.count * per_message
            assert 0 <= lost < 2**20 + 4 * per_message
            assert len(list(bag.messages())) == bag.count


def test_an_mcap_that_lost_only_its_index_loses_no_message(tmp_path):
    path = make_bag(tmp_path / "bag")
    file = path / "bag.mcap"
    content = file.read_bytes()
    data_end = content.rindex(b"\x0f\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    file.write_bytes(content[:data_end])
    with BagReader(file, salvage=True) as bag:
        assert bag.count == len(list(bag.messages())) == 60


def test_a_zero_filled_tail_is_no_message(tmp_path):
    path = make_bag(tmp_path / "bag")
    file = path / "bag.mcap"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    with BagReader(file, salvage=True) as bag:
        assert 0 < len(list(bag.messages())) <= 30


def test_a_flipped_byte_is_reported_with_what_could_be_read(tmp_path):
    path = make_bag(tmp_path / "bag", "sqlite3")
    file = path / "bag.db3"
    content = bytearray(file.read_bytes())
    for page in range(len(content) // 2 // 4096, len(content) // 4096):
        content[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    file.write_bytes(content)
    with pytest.raises(BagError, match=r"cut off|is damaged: \d+ messages could be read"):
        list(BagReader(path).messages())


@pytest.mark.parametrize("mode", ["STORAGE", "MESSAGE"])
def test_a_damaged_zstd_record_is_reported_with_what_could_be_read(tmp_path, mode):
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    writer.open()
    topic = writer.add_connection("/noise", "std_msgs/msg/String", typestore=get_typestore(Stores.ROS2_HUMBLE))
    noise = np.random.default_rng(2)
    for stamp in range(40):
        writer.write(topic, stamp, noise.integers(0, 256, 100_000).astype(np.uint8).tobytes())
    writer.close()
    file = tmp_path / "bag" / "bag.mcap"
    content = bytearray(file.read_bytes())
    last = content.rindex(b"\x28\xb5\x2f\xfd")  # where a zstd frame begins
    content[last + 4 : last + 60] = b"\xff" * 56
    file.write_bytes(content)
    with (
        BagReader(file.parent) as bag,
        pytest.raises(BagError, match=r"is damaged: [1-9]\d messages could be read"),
    ):
        list(bag.messages())


@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_database_with_messages_beside_it_is_refused_until_they_are_in_it(tmp_path, with_metadata):
    path = make_bag(tmp_path / "bag", "sqlite3", count=6)
    file, killed = path / "bag.db3", tmp_path / "killed"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 10, x'00')")
        database.commit()
        shutil.copytree(path, killed)  # as the files lie where a recorder is killed
    if not with_metadata:
        (killed / "metadata.yaml").unlink()
    for target in (killed, killed / "bag.db3"):
        with pytest.raises(BagError, match=r"still in bag\.db3-wal.*PRAGMA wal_checkpoint\(TRUNCATE\)"):
            BagReader(target)
    with closing(sqlite3.connect(killed / "bag.db3")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (killed / "bag.db3-wal").touch()  # an empty one holds nothing
        with BagReader(killed / "bag.db3") as bag:
            assert bag.count == 7


def test_the_damaged_file_is_left_as_it_is(tmp_path):
    for storage in ("mcap", "sqlite3"):
        path = make_bag(tmp_path / storage, storage)
        file = cut(path, 0.5)
        before = file.read_bytes(), sorted(path.iterdir())
        with BagReader(path, salvage=True) as bag:
            list(bag.messages())
        assert (file.read_bytes(), sorted(path.iterdir())) == before
