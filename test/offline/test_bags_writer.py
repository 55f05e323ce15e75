"""What BagWriter leaves on disk is a valid bag, however the recording ends."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from fusion_ros.bags import BagReader, BagWriter, frames
from fusion_ros.errors import BagError, ImageError
from fusion_ros.frame import Frame, Unit
from fusion_ros.geometry.cameras import PinholeCamera
from fusion_ros.media import read_image

CAMERA = PinholeCamera(64, 48, 50.0, 51.0, 31.5, 23.5, (-0.1, 0.02, 0.001, -0.001, 0.0))


def frame(value: int = 0, stamp_ns: int = 1) -> Frame:
    return Frame(np.full((48, 64, 3), value, np.uint8), stamp_ns, "rgb_optical_frame", "rgb8")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_independent_reader_finds_every_field(tmp_path, storage):
    pixels = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    with BagWriter(tmp_path / "bag", storage) as writer:
        writer.write_frame("/rgb/image_raw", Frame(pixels, 2_000_000_003, "cam", "bgr8"), 2_000_000_009)
        writer.write_camera_info(
            "/rgb/camera_info", CAMERA.camera_info_fields(), 2_000_000_003, "cam", 2_000_000_010
        )
        assert (writer.count("/rgb/image_raw"), writer.count("/nothing")) == (1, 0)
    with AnyReader([tmp_path / "bag"]) as reader:
        (image_record, info_record) = list(reader.messages())
        image = reader.deserialize(image_record[2], image_record[0].msgtype)
        info = reader.deserialize(info_record[2], info_record[0].msgtype)
    assert (image_record[1], info_record[1]) == (2_000_000_009, 2_000_000_010)
    assert (image.header.stamp.sec, image.header.stamp.nanosec, image.header.frame_id) == (2, 3, "cam")
    assert (image.height, image.width, image.encoding, image.step, image.is_bigendian) == (48, 64, "bgr8", 192, 0)
    np.testing.assert_array_equal(image.data.reshape(48, 64, 3), pixels[..., ::-1])
    assert PinholeCamera.from_camera_info(info, size=(48, 64)) == CAMERA


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_metadata_is_of_a_version_that_humble_reads(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage) as writer:
        writer.write_frame("/rgb/image_raw", frame(), 5)
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["version"] <= 8
    assert metadata["storage_identifier"] == storage
    (topic,) = metadata["topics_with_message_count"]
    # Humble converts this field to a string; a list, as of version 9, makes it refuse the bag.
    assert topic["topic_metadata"]["offered_qos_profiles"] == ""


def test_a_real_clip_comes_back_pixel_by_pixel(tmp_path, shared):
    folder = shared / "data" / "sequences" / "m3svd_0111_1716"
    files = {name: sorted((folder / name).glob("*.png"))[:5] for name in ("rgb", "thermal")}
    originals = {name: [read_image(file) for file in found] for name, found in files.items()}
    assert originals["rgb"][0].ndim == 3
    with BagWriter(tmp_path / "bag") as writer:
        for name, encoding in (("rgb", "bgr8"), ("thermal", "mono8")):
            for index, pixels in enumerate(originals[name]):
                writer.write_frame(f"/{name}", Frame(pixels, index, name, encoding), index)
    with BagReader(tmp_path / "bag") as bag:
        for name, expected in originals.items():
            found = [frame.pixels for frame in frames(bag, f"/{name}")]
            assert len(found) == 5
            for pixels, original in zip(found, expected, strict=True):
                np.testing.assert_array_equal(pixels, original)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("reason", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_the_block_leaves_a_valid_bag(tmp_path, storage, reason):
    with pytest.raises(reason), BagWriter(tmp_path / "bag", storage) as writer:
        for index in range(7):
            writer.write_frame("/rgb", frame(index), index)
        raise reason
    with BagReader(tmp_path / "bag") as bag:
        assert [int(f.pixels[0, 0, 0]) for f in frames(bag, "/rgb")] == list(range(7))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_real_interrupt_in_the_middle_of_writing_leaves_a_valid_bag(tmp_path, storage):
    program = textwrap.dedent("""
        import signal, sys
        import numpy as np
        from fusion_ros.bags import BagWriter
        from fusion_ros.frame import Frame
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
        picture = Frame(np.zeros((480, 640, 3), np.uint8), 1, "cam", "rgb8")
        try:
            with BagWriter(sys.argv[1], sys.argv[2]) as writer:
                for index in range(2_000):
                    writer.write_frame("/rgb", picture, index)
                    if index == 20:
                        print("writing", flush=True)
        except KeyboardInterrupt:
            print(writer.count("/rgb"), flush=True)
    """)
    command = [sys.executable, "-c", program, str(tmp_path / "bag"), storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGINT)
        count = int(process.stdout.readline())
        assert process.wait() == 0
    with BagReader(tmp_path / "bag") as bag:
        assert bag.damage == ()
        assert [m.receive_ns for m in bag.messages()] == list(range(count))


def test_a_full_disk_is_explained_and_what_was_written_can_be_salvaged(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = BagWriter(tmp_path / "bag")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
    try:
        with pytest.raises(BagError, match=r"cannot write .*free disk space"), writer:
            for index in range(1000):
                writer.write_frame("/rgb", frame(index % 256), index)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(BagError, match="cut off"):
        BagReader(tmp_path / "bag")
    with BagReader(tmp_path / "bag", salvage=True) as bag:
        times = [m.receive_ns for m in bag.messages()]
        assert times == list(range(len(times)))
        assert len(times) * 48 * 64 * 3 > 2_500_000


def test_an_existing_path_is_kept_unless_overwriting_is_asked_for(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_frame("/rgb", frame(), 1)
    with pytest.raises(BagError, match="exists already"):
        BagWriter(tmp_path / "bag")
    with BagWriter(tmp_path / "bag", overwrite=True) as writer:
        writer.write_frame("/other", frame(), 1)
    with BagReader(tmp_path / "bag") as bag:
        assert list(bag.topics) == ["/other"]


def test_overwriting_never_removes_what_is_not_a_bag(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(BagError, match="is not a bag"):
        BagWriter(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_recorded_bytes_are_kept_as_they_came(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_cdr("/tick", "std_msgs/msg/UInt8", b"\x00\x01\x00\x00\x2a", 3)
        writer.write_cdr("/gain", "my_msgs/msg/Gain", b"\x00\x01\x00\x00\x07", 4, definition="uint8 gain\n")
    with BagReader(tmp_path / "bag") as bag:
        tick, gain = bag.messages()
        assert (tick.cdr, tick.message.data) == (b"\x00\x01\x00\x00\x2a", 42)
        assert gain.message.gain == 7


def test_wrong_use_is_refused_and_the_bag_stays_valid(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_frame("/rgb", frame(), 1)
        with pytest.raises(BagError, match="pass its definition"):
            writer.write_cdr("/x", "my_msgs/msg/Unknown", b"\x00\x01\x00\x00", 2)
        with pytest.raises(BagError, match="cannot parse the definition"):
            writer.write_cdr("/x", "my_msgs/msg/Unknown", b"\x00\x01\x00\x00", 2, definition="no such thing;")
        with pytest.raises(BagError, match=r"/rgb already carries sensor_msgs/msg/Image"):
            writer.write_cdr("/rgb", "std_msgs/msg/UInt8", b"\x00\x01\x00\x00\x01", 2)
        with pytest.raises(ImageError, match="unknown image encoding"):
            writer.write_frame("/rgb", Frame(np.zeros((4, 4), np.uint8), 2, "", "mono7"), 2)
        with pytest.raises(BagError, match="check binning"):
            writer.write_camera_info("/info", CAMERA.camera_info_fields() | {"binning": 2}, 1, "", 2)
        with pytest.raises(BagError, match="expected 9 values in k, got 3"):
            writer.write_camera_info("/info", CAMERA.camera_info_fields() | {"k": [1, 2, 3]}, 1, "", 2)
    with pytest.raises(BagError, match="is closed"):
        writer.write_frame("/rgb", frame(), 3)
    with BagReader(tmp_path / "bag") as bag:
        assert {name: info.count for name, info in bag.topics.items()} == {"/rgb": 1}


def test_an_unknown_storage_and_an_unwritable_place_are_refused(tmp_path):
    with pytest.raises(BagError, match="expected one of mcap, sqlite3, got 'tape'"):
        BagWriter(tmp_path / "bag", "tape")
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match="cannot write"):
        BagWriter(tmp_path / "file" / "bag")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["run #3", "what?", "half%20"], ids=["hash", "question_mark", "percent"])
def test_a_path_that_sqlite_misreads_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(BagError, match=r"expected a path without '#'.*storage mcap"):
        BagWriter(tmp_path / name / "bag", "sqlite3")
    assert not list(tmp_path.iterdir())


def test_an_empty_recording_is_a_valid_bag(tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass
    with BagReader(tmp_path / "bag") as bag:
        assert (bag.count, bag.start_ns, bag.end_ns, list(bag.messages())) == (0, 0, 0, [])


def test_kelvin_frames_keep_their_fractions(tmp_path):
    kelvin = np.linspace(280, 310, 48 * 64, dtype=np.float32).reshape(48, 64)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_frame("/thermal", Frame(kelvin, 1, "thermal", "32FC1", Unit.KELVIN), 1)
    with BagReader(tmp_path / "bag") as bag:
        (found,) = frames(bag, "/thermal")
    np.testing.assert_array_equal(found.pixels, kelvin)
