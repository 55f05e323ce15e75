"""Live ROS 2 in the test process: a context of its own, a fusion node, and a rig that talks to it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from live_rig import LiveRig

if TYPE_CHECKING:
    from tracker_live import TrackerRig

if importlib.util.find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]

# Nobody else's traffic, and none of ours on a network.
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + (os.getpid() + 50) % 100))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture(scope="session")
def context() -> Iterator[None]:
    """A running rclpy."""
    import rclpy

    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def rig(context, request) -> Iterator[LiveRig]:
    """A live rig in a namespace of its own."""
    live = LiveRig(f"/t{abs(hash(request.node.name)) % 10**8}")
    yield live
    live.close()


@pytest.fixture
def tracker_rig(context, request) -> Iterator[TrackerRig]:
    """A live rig around a tracker node, in a namespace of its own."""
    from tracker_live import TrackerRig

    live = TrackerRig(f"/k{abs(hash(request.node.name)) % 10**8}")
    yield live
    live.close()
