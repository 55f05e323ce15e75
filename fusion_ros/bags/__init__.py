"""Bags: reading, writing and replaying recordings with no ROS installed.

``BagReader`` opens rosbag2 (sqlite3 and mcap) and rosbag1 recordings alike, ``frames`` turns an
image topic into :class:`~fusion_ros.frame.Frame` objects, ``BagWriter`` records, and ``Replay``
says when each message of a bag is due.
"""

from __future__ import annotations

from .frames import frame_of, frames
from .reader import IMAGE_TYPES, BagMessage, BagReader, TopicInfo
from .replay import Replay, ReplayEvent, ReplaySettings
from .writer import STORAGES, BagWriter

__all__ = [
    "IMAGE_TYPES",
    "STORAGES",
    "BagMessage",
    "BagReader",
    "BagWriter",
    "Replay",
    "ReplayEvent",
    "ReplaySettings",
    "TopicInfo",
    "frame_of",
    "frames",
]
