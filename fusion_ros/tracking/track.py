"""What a tracker says of its target, and the boxes that it says it with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from ..errors import TrackingError

__all__ = ["Box", "Track", "TrackStatus", "clipped", "overlap", "usable_box"]

Box = tuple[float, float, float, float]
"""``(x, y, width, height)`` in pixels: first column and row, and how many of them; its centre is at
``x + (width - 1) / 2``. As in :mod:`fusion_ros.synthetic.truth`, but it may lie between pixels."""

_LEAST_INSIDE = 0.5  # of a box's area: a target of which less is seen is not the one that was meant


class TrackStatus(str, Enum):
    """What a tracker is doing."""

    IDLE = "idle"
    TRACKING = "tracking"
    LOST = "lost"


@dataclass(frozen=True)
class Track:
    """Where a target is in one frame.

    Attributes:
        stamp_ns: Stamp of the frame.
        identity: Number of the target, the same in all frames.
        status: Whether the target is followed, has been lost, or there is none.
        box: In pixels of the reference image; it may reach beyond the image. While lost it is the motion model's
            prediction; None when there is nothing to say.
        confidence: In [0, 1]; how sure it is that the box holds the target.
    """

    stamp_ns: int
    identity: int
    status: TrackStatus
    box: Box | None
    confidence: float


def overlap(one: Box, other: Box) -> float:
    """Return the intersection of two boxes over their union, in [0, 1]."""
    shared = _length(one[0], one[2], other[0], other[2]) * _length(one[1], one[3], other[1], other[3])
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0.0 else 0.0


def clipped(box: Box, size: tuple[int, int]) -> Box | None:
    """Return the part of a box that lies inside an image of ``(H, W)`` pixels; None where there is none."""
    height, width = size
    inside = (_length(box[0], box[2], 0.0, width), _length(box[1], box[3], 0.0, height))
    if min(inside) <= 0.0:
        return None
    return max(box[0], 0.0), max(box[1], 0.0), *inside


def usable_box(box: Box, size: tuple[int, int]) -> Box:
    """Return a target's box, cut to the image, or say why it marks no target.

    Args:
        box: As a user drew it.
        size: ``(H, W)`` of the image.

    Raises:
        TrackingError: The box is not four finite numbers, is empty, or lies less than half inside the image.
    """
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        raise TrackingError(f"box: expected four numbers (x, y, width, height) in pixels, got {box!r}") from None
    if not all(map(math.isfinite, (x, y, width, height))):
        raise TrackingError(f"box: expected finite numbers (x, y, width, height) in pixels, got {box!r}")
    if min(width, height) <= 0.0:
        raise TrackingError(f"box: expected a width and a height above 0, got {width:g} x {height:g} pixels")
    inside = clipped((x, y, width, height), size)
    if inside is None or inside[2] * inside[3] < _LEAST_INSIDE * width * height:
        raise TrackingError(
            f"box: expected at least half of it inside the image of {size[1]} x {size[0]} pixels, got "
            f"x {x:g}, y {y:g}, width {width:g}, height {height:g}; draw it around what is seen of the target"
        )
    return inside


def _length(start: float, length: float, other_start: float, other_length: float) -> float:
    """How much two intervals share."""
    return max(0.0, min(start + length, other_start + other_length) - max(start, other_start))
