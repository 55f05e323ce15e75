"""Tracks as ROS messages, and boxes out of them.

``vision_msgs`` comes with a ROS distribution and not from PyPI: where it is absent, tracks go out as polygons of
``geometry_msgs``, on a topic of another name.

In all of them a coordinate is in pixels with pixel centres at whole numbers. The centre of a box
``(x, y, width, height)`` is thus at ``x + (width - 1) / 2``, and its left edge at ``x - 0.5``.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any

from geometry_msgs.msg import Point32, PolygonStamped
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header, String

from ..tracking import Box, Track, TrackStatus

__all__ = [
    "Following",
    "TracksReport",
    "box_of_detection",
    "box_of_region",
    "detections_message",
    "polygon_message",
    "report_message",
    "vision_messages",
]

_VERSION = 1  # of the JSON's form


class Following(str, Enum):
    """What a tracker node is doing, all targets together."""

    WAITING = "waiting"
    """No features have come yet."""
    NO_FEATURES = "no_features"
    """They have stopped coming, or cannot be read."""
    IDLE = "idle"
    """Features come, and there is no target."""
    STARTING = "starting"
    """A box waits for the features that it is to be used on."""
    TRACKING = "tracking"
    """At least one target is in sight."""
    LOST = "lost"
    """Every target is lost."""


@dataclass(frozen=True)
class TracksReport:
    """What is known of all targets at one moment.

    Attributes:
        stamp_ns: Stamp of the features; where none came, the time at which they would have been due.
        frame_id: Optical frame of the reference camera.
        following: What the node is doing.
        reason: Why no target is in sight, and why the latest box was refused; empty where all is well.
        tracks: The targets, in the order in which they were started.
        reasons: Why a target is lost, by its identity.
        image_size: ``(H, W)`` of the reference image that boxes lie in; None before the first features.
    """

    stamp_ns: int
    frame_id: str
    following: Following
    reason: str = ""
    tracks: tuple[Track, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None

    @property
    def in_sight(self) -> tuple[Track, ...]:
        """The targets that are followed right now: of a lost one the box is only guessed."""
        return tuple(t for t in self.tracks if t.status is TrackStatus.TRACKING and t.box is not None)


def vision_messages() -> ModuleType | None:
    """Return ``vision_msgs.msg`` where it is installed."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None


def detections_message(tracks: Sequence[Track], head: Header, messages: ModuleType) -> Any:
    """Return a ``vision_msgs/Detection2DArray`` with one detection for each track; none is an empty array.

    Args:
        tracks: With a box each. The identity becomes ``id``, the confidence the score of the only hypothesis.
        head: Of the array and of each detection.
        messages: What :func:`vision_messages` found.
    """
    return messages.Detection2DArray(
        header=head, detections=[_detection(track, head, messages) for track in tracks]
    )


def _detection(track: Track, head: Header, messages: ModuleType) -> Any:
    x, y, width, height = track.box
    result = messages.ObjectHypothesisWithPose()
    result.hypothesis.class_id = "target"
    result.hypothesis.score = float(track.confidence)
    detection = messages.Detection2D(header=head, id=str(track.identity), results=[result])
    detection.bbox.center.position.x = float(x + (width - 1.0) / 2.0)
    detection.bbox.center.position.y = float(y + (height - 1.0) / 2.0)
    detection.bbox.size_x, detection.bbox.size_y = float(width), float(height)
    return detection


def polygon_message(track: Track | None, head: Header) -> PolygonStamped:
    """Return the outer corners of a track's box, clockwise from the upper left; an empty polygon for None."""
    message = PolygonStamped(header=head)
    if track is not None:
        x, y, width, height = track.box
        left, top, right, bottom = x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        message.polygon.points = [Point32(x=float(column), y=float(row)) for column, row in corners]
    return message


def report_message(report: TracksReport, modality: str) -> String:
    """Return everything in a report as JSON."""
    size = report.image_size
    content = {
        "version": _VERSION,
        "stamp_ns": report.stamp_ns,
        "frame_id": report.frame_id,
        "state": report.following.value,
        "reason": report.reason,
        "modality": modality,
        "image_size": None if size is None else {"height": size[0], "width": size[1]},
        "tracks": [_entry(track, report.reasons.get(track.identity, "")) for track in report.tracks],
    }
    return String(data=json.dumps(content))


def _entry(track: Track, reason: str) -> dict[str, Any]:
    names = ("x", "y", "width", "height")
    return {
        "identity": track.identity,
        "status": track.status.value,
        "box": None if track.box is None else dict(zip(names, map(float, track.box), strict=True)),
        "confidence": float(track.confidence),
        "reason": reason,
    }


def box_of_region(message: RegionOfInterest) -> Box:
    """Return the box that a region of interest marks."""
    return float(message.x_offset), float(message.y_offset), float(message.width), float(message.height)


def box_of_detection(message: Any) -> Box:
    """Return the upright box around that of a ``vision_msgs/Detection2D``, which may be turned.

    Of one that is not finite the box is not either; who uses it refuses it.
    """
    box = message.bbox
    theta = box.center.theta if math.isfinite(box.center.theta) else math.nan  # math.cos raises for infinity
    cosine, sine = abs(math.cos(theta)), abs(math.sin(theta))
    width = box.size_x * cosine + box.size_y * sine
    height = box.size_x * sine + box.size_y * cosine
    centre = box.center.position
    return centre.x - (width - 1.0) / 2.0, centre.y - (height - 1.0) / 2.0, width, height
