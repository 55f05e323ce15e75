"""Child processes of a command: started together, logged, ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..errors import FusionError, nearest_name
from ..weights import share_folders

__all__ = ["Processes", "isolated_environment", "node_command", "tail"]

_NODES = {
    "fusion_node": "fusion_ros.nodes.fusion_node",
    "feature_node": "fusion_ros.nodes.feature_node",
    "tracker_node": "fusion_ros.nodes.tracker_node",
    "synthetic_camera_node": "fusion_ros.nodes.synthetic_camera_node",
    "bag_player_node": "fusion_ros.cli.play",
    "recorder_node": "fusion_ros.cli.record",
}


def node_command(executable: str, parameters: Mapping[str, Any] | None = None, *ros_arguments: str) -> list[str]:
    """Return the command line of one of our nodes, run by this very interpreter.

    Args:
        executable: For example ``fusion_node``.
        parameters: Parameter values by dotted name.
        ros_arguments: More of what follows ``--ros-args``, such as ``-r``, ``__ns:=/robot``.

    Raises:
        FusionError: There is no such node.
    """
    if executable not in _NODES:
        raise FusionError(f"unknown executable {executable!r}; {nearest_name(executable, _NODES)}")
    command = [sys.executable, "-m", _NODES[executable], "--ros-args", *ros_arguments]
    for name, value in (parameters or {}).items():
        # JSON is YAML in which a string stays a string, which is how rcl parses the value.
        command += ["-p", f"{name}:={json.dumps(value)}"]
    return command


def isolated_environment() -> dict[str, str]:
    """Return an environment whose ROS traffic stays on this machine and away from other ROS users.

    The domain is picked by process id; the shared-memory transport gets room for colour images.
    """
    from ..ros.dds import profiles_variable

    environment = dict(os.environ)
    environment["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    else:
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    for folder in share_folders():
        profiles = folder / "config" / "fastdds.xml"
        if profiles.is_file():
            environment.setdefault(profiles_variable(), str(profiles))
            break
    return environment


class Processes:
    """A group of child processes; leaving the block interrupts those that still run, then insists."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or os.environ)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}
        self._files: list[IO[bytes]] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Processes:
        # A polite kill or a closed terminal must not leave the children behind.
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for name in self._children:
                self.interrupt(name)
            for name in self._children:
                self.wait(name, timeout_s=10.0)
        finally:
            for child in self._children.values():
                child.kill()
            for file in self._files:
                file.close()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def start(self, name: str, command: Sequence[str], log: Path | None = None) -> None:
        """Start a child; its output goes into ``log``, or through to the terminal."""
        output = None
        if log is not None:
            output = log.open("wb")
            self._files.append(output)
            self._logs[name] = log
        # A session of its own: Ctrl-C reaches the children through us, in our order.
        self._children[name] = subprocess.Popen(
            list(command), stdout=output, stderr=subprocess.STDOUT if output else None, env=self._environment,
            start_new_session=True,
        )  # fmt: skip

    def ended(self) -> dict[str, int]:
        """Return name -> exit code of the children that have ended."""
        return {name: code for name, child in self._children.items() if (code := child.poll()) is not None}

    def require_alive(self, *names: str) -> None:
        """Raise :class:`FusionError`, with the end of its log, if one of the children has ended."""
        for name in names:
            code = self._children[name].poll()
            if code is not None:
                raise FusionError(f"{name} ended with exit code {code}:\n{self._log_tail(name)}")

    def await_log(self, name: str, text: str, timeout_s: float) -> None:
        """Wait until ``text`` is in a child's log.

        Raises:
            FusionError: The child ended, or time ran out.
        """
        deadline = time.monotonic() + timeout_s
        while text not in self._logs[name].read_text(errors="replace"):
            self.require_alive(name)
            if time.monotonic() > deadline:
                raise FusionError(f"{name} did not say {text!r} within {timeout_s:g} s:\n{self._log_tail(name)}")
            time.sleep(0.05)

    def interrupt(self, name: str) -> None:
        """Ask a child to end, as Ctrl-C would."""
        if self._children[name].poll() is None:
            self._children[name].send_signal(signal.SIGINT)

    def wait(self, name: str, timeout_s: float | None = None) -> int:
        """Wait for a child; kill it when ``timeout_s`` has passed. Return its exit code."""
        try:
            return self._children[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._children[name].kill()
            return self._children[name].wait()

    def _log_tail(self, name: str) -> str:
        return tail(self._logs[name]) if name in self._logs else "(see its output above)"


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a text file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
