"""bag_player_node and recorder_node: what was recorded comes back byte for byte, on time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from fusion_ros.bags import BagReader, BagWriter
from fusion_ros.cli.processes import Processes, isolated_environment, node_command
from fusion_ros.frame import Frame

START = 1_700_000_000_000_000_000
STEP = 50_000_000


@pytest.fixture
def bag(tmp_path):
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 2**16, (24, 32), np.uint16)
            writer.write_frame(
                "/thermal/image_raw", Frame(pixels, START + i * STEP, "t", "mono16"), START + i * STEP
            )
    return path


def _player(bag, **parameters):
    return node_command("bag_player_node", {"bag": str(bag), "wait_for_subscribers_s": 20.0, **parameters})


def test_a_bag_played_and_recorded_again_is_the_same(bag, tmp_path):
    copy = tmp_path / "copy"
    with Processes(isolated_environment()) as processes:
        recorder = {"out": str(copy), "topics": ["/thermal/image_raw:sensor_msgs/msg/Image"]}
        processes.start("recorder", node_command("recorder_node", recorder), tmp_path / "recorder.log")
        processes.await_log("recorder", "recording", 30)
        timeline = str(tmp_path / "played.csv")
        processes.start("player", _player(bag, timeline=timeline), tmp_path / "player.log")
        assert processes.wait("player", 60) == 0
        time.sleep(0.5)
        processes.interrupt("recorder")
        assert processes.wait("recorder", 20) == 0
    with BagReader(bag) as before, BagReader(copy) as after:
        assert [m.cdr for m in after.messages()] == [m.cdr for m in before.messages()]
    rows = [line.split(",") for line in (tmp_path / "played.csv").read_text().splitlines()[1:]]
    assert [int(row[1]) for row in rows] == [START + i * STEP for i in range(20)]
    lasted_s = (int(rows[-1][2]) - int(rows[0][2])) / 1e9
    assert lasted_s > 0.9 * 19 * STEP / 1e9  # it took its time, as the recording did


def test_a_looped_replay_publishes_a_clock_that_runs_with_the_bag_and_jumps_back(bag, tmp_path):
    copy = tmp_path / "copy"
    with Processes(isolated_environment()) as processes:
        topics = ["/clock:rosgraph_msgs/msg/Clock", "/thermal/image_raw:sensor_msgs/msg/Image"]
        recorder = {"out": str(copy), "topics": topics, "reliability": "reliable"}
        processes.start("recorder", node_command("recorder_node", recorder), tmp_path / "recorder.log")
        processes.await_log("recorder", "recording", 30)
        player = _player(bag, loop=True, clock_hz=50.0, rate=2.0, start_offset_s=0.5)
        processes.start("player", player, tmp_path / "player.log")
        processes.await_log("player", "playing", 30)
        time.sleep(1.5)
        processes.interrupt("player")
        assert processes.wait("player", 20) == 0
        processes.interrupt("recorder")
        processes.wait("recorder", 20)
    with BagReader(copy) as bag_of_both:
        stamps = [m.stamp_ns for m in bag_of_both.messages(["/thermal/image_raw"])]
        times = [m.message.clock for m in bag_of_both.messages(["/clock"])]
    clock = [t.sec * 1_000_000_000 + t.nanosec for t in times]
    steps = np.diff(clock)
    assert min(clock) >= START + 500_000_000 - STEP
    assert max(clock) <= START + 20 * STEP
    assert (steps < 0).sum() >= 2  # 0.45 s of bag at twice the speed: several laps
    assert np.median(steps[steps > 0]) == pytest.approx(2 * 20_000_000, rel=0.01)
    assert min(stamps) == START + 10 * STEP
    assert len(stamps) > len(set(stamps))


def test_a_whole_bag_with_a_clock_starts_once_its_images_are_wanted_and_time_never_jumps_back(tmp_path):
    drive, copy = tmp_path / "simulated", tmp_path / "copy"
    with BagWriter(drive) as writer:
        for i in range(10):
            received = START + i * STEP
            clock = b"\x00\x01\x00\x00" + np.array([100, i * STEP], "<u4").tobytes()
            writer.write_cdr("/clock", "rosgraph_msgs/msg/Clock", clock, received)
            writer.write_frame("/rgb/image_raw", Frame(np.zeros((4, 4), np.uint8), i * STEP), received)
            writer.write_frame("/unwanted/image_raw", Frame(np.zeros((4, 4), np.uint8), i * STEP), received)
    with Processes(isolated_environment()) as processes:
        topics = ["/clock:rosgraph_msgs/msg/Clock", "/rgb/image_raw:sensor_msgs/msg/Image"]
        recorder = {"out": str(copy), "topics": topics}
        processes.start("recorder", node_command("recorder_node", recorder), tmp_path / "recorder.log")
        processes.await_log("recorder", "recording", 30)
        processes.start("player", _player(drive, wait_for_subscribers_s=600.0), tmp_path / "player.log")
        assert processes.wait("player", 60) == 0  # nobody subscribes to the third topic: it is not waited for
        processes.interrupt("recorder")
        assert processes.wait("recorder", 20) == 0
    with BagReader(copy) as both:
        times = [m.message.clock.sec for m in both.messages(["/clock"])]
    assert times
    assert set(times) == {START // 1_000_000_000}
    said = (tmp_path / "player.log").read_text()
    assert said.count("leaving out the bag's /clock") == 1
    assert "nobody subscribes" not in said


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bag": "/nowhere"}, "/nowhere"),
        ({"topics": ["/thermal/image"]}, "did you mean '/thermal/image_raw'"),
        ({"rate": -1.0}, "rate: expected 0.001 to 1000"),
        ({"start_offset_s": 100.0}, "nothing to play"),
    ],
)
def test_what_cannot_be_played_ends_with_one_line_and_exit_code_2(bag, parameters, message):
    command = _player(**{"bag": bag, **parameters})
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=isolated_environment()
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_recorder_leaves_a_readable_bag(tmp_path):
    copy = tmp_path / "copy"
    command = node_command("recorder_node", {"out": str(copy)})
    child = subprocess.Popen(command, env=isolated_environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    os.set_blocking(child.stderr.fileno(), False)
    deadline, said = time.monotonic() + 30, b""
    while b"recording" not in said and time.monotonic() < deadline:
        said += (child.stderr.read() or b"") if child.poll() is None else b"recording"
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    with BagReader(copy) as bag:
        assert bag.count == 0


def test_a_synthetic_camera_fills_both_topics_at_the_stated_size(context, tmp_path):
    import rclpy
    from sensor_msgs.msg import CameraInfo, Image

    from fusion_ros.nodes.synthetic_camera_node import SyntheticCameraNode

    values = {"world.rgb_width": 64, "world.rgb_height": 48, "world.thermal_width": 40, "world.thermal_height": 32}
    overrides = [rclpy.parameter.Parameter(name, value=value) for name, value in values.items()]
    cameras = SyntheticCameraNode(namespace="/synthetic", parameter_overrides=overrides)
    listener = rclpy.create_node("listener", namespace="/synthetic")
    executor = rclpy.executors.SingleThreadedExecutor()
    for node in (cameras, listener):
        executor.add_node(node)
    got = {}
    for name, kind in (("image_raw", Image), ("camera_info", CameraInfo)):
        for camera in ("rgb", "thermal"):
            key = f"{camera}/{name}"
            listener.create_subscription(kind, key, lambda message, key=key: got.__setitem__(key, message), 5)
    deadline = time.monotonic() + 30
    while len(got) < 4 and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    cameras.close()
    for node in (cameras, listener):
        node.destroy_node()
    assert (got["rgb/image_raw"].width, got["rgb/image_raw"].height) == (64, 48)
    assert (got["thermal/image_raw"].width, got["thermal/image_raw"].encoding) == (40, "mono8")
    assert got["thermal/camera_info"].k[0] > 0
    assert got["rgb/camera_info"].header.frame_id == "rgb_optical_frame"


def test_the_run_verb_starts_and_ends_its_nodes_together(bag, tmp_path):
    file = tmp_path / "nodes.yaml"
    file.write_text(
        "nodes:\n"
        "  - executable: bag_player_node\n"
        "    name: player\n"
        # Without the wait, a fast player could be done before the recorder has come up.
        f"    parameters: {{bag: '{bag}', rate: 10.0, wait_for_subscribers_s: 40.0}}\n"
        "  - executable: recorder_node\n"
        "    namespace: /robot\n"
        "    remap: {thermal: /thermal/image_raw}\n"
        f"    parameters: {{out: '{tmp_path / 'copy'}', topics: ['thermal:sensor_msgs/msg/Image']}}\n"
    )
    command = [sys.executable, "-m", "fusion_ros.cli", "run", str(file)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=80, env=isolated_environment()
    )
    assert done.returncode == 0, done.stderr
    assert "played 20 messages" in done.stderr + done.stdout
    with BagReader(tmp_path / "copy") as recorded:
        assert recorded.count > 0


def test_a_politely_killed_run_takes_its_nodes_along(tmp_path):
    file = tmp_path / "nodes.yaml"
    file.write_text(f"nodes: [{{executable: recorder_node, parameters: {{out: '{tmp_path / 'copy'}'}}}}]\n")
    command = [sys.executable, "-m", "fusion_ros.cli", "run", str(file)]
    log = tmp_path / "run.log"
    with log.open("wb") as output:
        parent = subprocess.Popen(command, env=isolated_environment(), stdout=output, stderr=output)
    deadline = time.monotonic() + 30
    while "recording 1 topics" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) != 0
    # The recorder ended in order: its bag has been closed.
    assert (tmp_path / "copy" / "metadata.yaml").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: 3", "expected a list under 'nodes'"),
        ("nodes: [{executable: fusion_nod}]", "unknown executable 'fusion_nod'"),
        ("nodes: [{executable: fusion_node, remaps: {}}]", "did you mean 'remap'"),
        ("nodes: [{name: x}]", "expected a mapping with 'executable'"),
    ],
)
def test_a_file_of_nodes_that_cannot_be_meant_is_refused(tmp_path, capsys, text, message):
    from fusion_ros.cli.main import main

    file = tmp_path / "nodes.yaml"
    file.write_text(text)
    assert main(["run", str(file)]) == 2
    assert message in capsys.readouterr().err
