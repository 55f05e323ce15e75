"""Exact truth: dense flow between the cameras, depth, and every person's and car's box and visibility.

Nothing is estimated: each pixel's ray is followed to the surface that it meets, and that point is
projected into the other camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..frame import Sensor
from .lighting import Lighting
from .render import Band, Picture, View
from .surfaces import Surface
from .traffic import Actor

__all__ = ["Box", "Target", "TargetView", "Truth", "find_truth", "find_view"]

Box = tuple[float, float, float, float]
"""``(x, y, width, height)`` in pixels; x, y is the first column and row."""

_DEPTH_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class TargetView:
    """What one camera sees of a target.

    Attributes:
        box: Bounds of the visible pixels; None when there are none.
        mask: ``(H, W)`` bool, the visible pixels.
        visibility: Visible pixels as a share of those that the whole target would cover if nothing
            stood in front and the image went on beyond its edges (by its own size on each side).
        whole: Bounds of all those pixels; may reach beyond the image. None when no part of the target, hidden
            or not, lies within the image.
    """

    box: Box | None
    mask: np.ndarray
    visibility: float
    whole: Box | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """A person or a car within the field of view of at least one camera, hidden or not.

    Attributes:
        identity: Its number, the same in all frames.
        kind: ``person`` or ``car``.
        rgb: What the RGB camera sees of it.
        thermal: What the thermal camera sees of it.
        depth_m: Distance of its foot point along the RGB camera's axis.
        kelvin: Temperature of its warmest large part: skin, or the engine's hood.
    """

    identity: int
    kind: str
    rgb: TargetView
    thermal: TargetView
    depth_m: float
    kelvin: float


@dataclass(frozen=True, eq=False)
class Truth:
    """Everything that is known about one moment.

    Attributes:
        thermal_from_rgb: ``(H, W, 2)`` float32 on the RGB grid: the thermal pixel ``(x, y)`` that sees the
            same surface point. NaN where the thermal camera does not see it: outside, or occluded.
        rgb_from_thermal: The same on the thermal grid, pointing into the RGB image.
        depth: ``(H, W)`` float32 on the RGB grid, metres along the axis.
        thermal_depth: ``(H, W)`` float32 on the thermal grid.
        labels: ``(H, W)`` int16 on the RGB grid: identity of the target in front, 0 for the street.
        thermal_labels: The same on the thermal grid.
        targets: People and cars, by identity.
    """

    thermal_from_rgb: np.ndarray
    rgb_from_thermal: np.ndarray
    depth: np.ndarray
    thermal_depth: np.ndarray
    labels: np.ndarray
    thermal_labels: np.ndarray
    targets: tuple[Target, ...]


def find_truth(
    views: Mapping[Sensor, View],
    poses: Mapping[Sensor, np.ndarray],
    street: Sequence[Surface],
    actors: Sequence[Actor],
    lighting: Lighting,
    times_s: Mapping[Sensor, float],
) -> Truth:
    """Follow the rays of both cameras; ``poses`` are camera-from-world, at each camera's own time."""
    bodies = {sensor: _bodies(actors, times_s[sensor], poses[sensor], lighting) for sensor in Sensor}
    pictures = {sensor: _solid(views[sensor], poses[sensor], street, bodies[sensor], sensor) for sensor in Sensor}
    flows = {sensor: _flow(sensor, views, pictures, poses, actors, times_s) for sensor in Sensor}
    rgb, thermal = pictures[Sensor.RGB], pictures[Sensor.THERMAL]
    return Truth(
        flows[Sensor.RGB],
        flows[Sensor.THERMAL],
        _depth(rgb),
        _depth(thermal),
        rgb.targets,
        thermal.targets,
        tuple(_targets(views, pictures, poses, bodies, actors, times_s[Sensor.RGB])),
    )


def find_view(
    view: View,
    pose: np.ndarray,
    street: Sequence[Surface],
    actors: Sequence[Actor],
    lighting: Lighting,
    time_s: float,
    identity: int,
) -> TargetView | None:
    """Return what the RGB camera, with its view and pose, sees of one actor; None outside its field of view."""
    bodies = _bodies(actors, time_s, pose, lighting)
    picture = _solid(view, pose, street, bodies, Sensor.RGB)
    actor = {actor.identity: actor for actor in actors}[identity]
    return _target_view(view, picture, pose, bodies[identity], Sensor.RGB, actor)


def _solid(
    view: View, pose: np.ndarray, street: Sequence[Surface], bodies: Mapping[int, list[Surface]], sensor: Sensor
) -> Picture:
    """A picture of what has a body: neither shadows nor light."""
    fixed = [surface for surface in street if not surface.is_decal]
    parts = [surface for body in bodies.values() for surface in body]
    return view.paint([*fixed, *parts], pose, _band(sensor))


def _band(sensor: Sensor) -> Band:
    return Band.COLOUR if sensor is Sensor.RGB else Band.HEAT


def _depth(picture: Picture) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return (1.0 / picture.inverse_depth).astype(np.float32)


def _bodies(
    actors: Sequence[Actor], time_s: float, pose: np.ndarray, lighting: Lighting
) -> dict[int, list[Surface]]:
    """Solid surfaces of each actor, by identity."""
    viewer = -pose[:3, :3].T @ pose[:3, 3]
    return {
        actor.identity: [
            surface
            for surface in actor.surfaces(time_s, viewer, lighting)
            if surface.target == actor.identity and not surface.is_decal
        ]
        for actor in actors
    }


def _flow(
    sensor: Sensor,
    views: Mapping[Sensor, View],
    pictures: Mapping[Sensor, Picture],
    poses: Mapping[Sensor, np.ndarray],
    actors: Sequence[Actor],
    times_s: Mapping[Sensor, float],
) -> np.ndarray:
    """Where the other camera sees what ``sensor`` sees."""
    view, other, picture = views[sensor], views[sensor.other].camera, pictures[sensor]
    # The sky is infinitely far away: where it is seen, positions are no numbers, and nothing is seen in the end.
    with np.errstate(divide="ignore", invalid="ignore"):
        points = view.rays / picture.inverse_depth[..., None].astype(np.float64)
        world_from_camera = np.linalg.inv(poses[sensor])
        world = points @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
        if times_s[sensor] != times_s[sensor.other]:
            world += _displacements(actors, times_s[sensor], times_s[sensor.other])[picture.targets]
        points = world @ poses[sensor.other][:3, :3].T + poses[sensor.other][:3, 3]
    pixels = other.project(points)
    seen = _is_seen(pixels, points[..., 2], pictures[sensor.other].inverse_depth)
    return np.where(seen[..., None], pixels, np.nan).astype(np.float32)


def _displacements(actors: Sequence[Actor], start_s: float, end_s: float) -> np.ndarray:
    """How far each actor moves between two times, ``(identities + 1, 3)``; row 0 is the street."""
    moved = np.zeros((max((actor.identity for actor in actors), default=0) + 1, 3))
    for actor in actors:
        moved[actor.identity] = actor.position(end_s) - actor.position(start_s)
    return moved


def _is_seen(pixels: np.ndarray, depth: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
    """Whether points fall into the image and none of the four pixels around is all nearer.

    A point is occluded when all four pixels around it see something nearer: the depth test of a
    shadow map, with the tolerance that a slanted surface needs.
    """
    height, width = inverse_depth.shape
    x, y = pixels[..., 0], pixels[..., 1]
    with np.errstate(invalid="ignore"):
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    left = np.floor(np.where(inside, x, 0)).astype(int)
    top = np.floor(np.where(inside, y, 0)).astype(int)
    lowest = np.full(depth.shape, np.inf)
    for row in (top, top + 1):
        for column in (left, left + 1):
            corner = inverse_depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            lowest = np.minimum(lowest, corner)
    with np.errstate(divide="ignore", invalid="ignore"):
        return inside & (depth > 0) & (lowest <= (1 + _DEPTH_TOLERANCE) / depth)


def _targets(
    views: Mapping[Sensor, View],
    pictures: Mapping[Sensor, Picture],
    poses: Mapping[Sensor, np.ndarray],
    bodies: Mapping[Sensor, Mapping[int, list[Surface]]],
    actors: Sequence[Actor],
    time_s: float,
) -> list[Target]:
    targets = []
    for actor in actors:
        seen = {}
        for sensor in Sensor:
            parts = bodies[sensor][actor.identity]
            seen[sensor] = _target_view(views[sensor], pictures[sensor], poses[sensor], parts, sensor, actor)
        if not any(seen.values()):
            continue
        rgb, thermal = (seen[sensor] or _unseen(pictures[sensor]) for sensor in (Sensor.RGB, Sensor.THERMAL))
        foot = poses[Sensor.RGB][2, :3] @ actor.position(time_s) + poses[Sensor.RGB][2, 3]
        targets.append(Target(actor.identity, actor.kind, rgb, thermal, float(foot), actor.kelvin))
    return targets


def _unseen(picture: Picture) -> TargetView:
    return TargetView(None, np.zeros(picture.targets.shape, bool), 0.0)


def _target_view(
    view: View, picture: Picture, pose: np.ndarray, parts: list[Surface], sensor: Sensor, actor: Actor
) -> TargetView | None:
    """None when the target, occluded or not, lies outside the image."""
    boxes = [box for box in view.boxes(parts, pose) if box is not None]
    if not boxes:
        return None
    alone, (left, top) = _alone(view, boxes, parts, pose, sensor)
    height, width = view.camera.size
    if not alone[max(0, -top) : height - top, max(0, -left) : width - left].any():
        return None
    mask = picture.targets == actor.identity
    x, y, *size = _box(alone)
    visibility = min(1.0, np.count_nonzero(mask) / np.count_nonzero(alone))
    return TargetView(_box(mask), mask, visibility, (left + x, top + y, *size))


def _alone(
    view: View, boxes: list[tuple[int, int, int, int]], parts: list[Surface], pose: np.ndarray, sensor: Sensor
) -> tuple[np.ndarray, tuple[int, int]]:
    """What the target alone covers, on an image that is larger where it reaches beyond the edge.

    Returns:
        ``(h, w)`` bool, and the image's column and row of its first pixel.
    """
    height, width = view.camera.size
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    if left > 0 and top > 0 and right < width and bottom < height:
        region = (left, top, right, bottom)
    else:
        margin_x, margin_y = max(16, right - left), max(16, bottom - top)
        region = (left - margin_x, top - margin_y, right + margin_x, bottom + margin_y)
    return View(view.camera, region).paint(parts, pose, _band(sensor)).targets > 0, region[:2]


def _box(mask: np.ndarray) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return float(columns[0]), float(rows[0]), float(width), float(height)
