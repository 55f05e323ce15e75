"""Where to look for a target that may have moved further than a tracker sees at once."""

from __future__ import annotations

import math

__all__ = ["places_around"]

Point = tuple[float, float]


def places_around(centre: Point, reach: float, spacing: float, size: tuple[int, int]) -> list[Point]:
    """Return the places of a square grid around a centre, the nearest first.

    Args:
        centre: ``(x, y)``, itself the first place; where it lies outside the image, the nearest point inside.
        reach: Largest distance from the centre.
        spacing: Of the grid.
        size: ``(H, W)`` of the image; places outside of it are left out.

    Returns:
        ``(x, y)`` of each, in the units of the arguments.
    """
    height, width = size
    x, y = min(max(centre[0], 0.0), width - 1.0), min(max(centre[1], 0.0), height - 1.0)
    # More than the image's diagonal is nowhere.
    steps = int(min(reach, math.hypot(width, height)) / spacing)
    offsets = [
        (column * spacing, row * spacing)
        for row in range(-steps, steps + 1)
        for column in range(-steps, steps + 1)
        if math.hypot(row, column) * spacing <= reach
        and 0.0 <= x + column * spacing < width
        and 0.0 <= y + row * spacing < height
    ]
    offsets.sort(key=lambda offset: math.hypot(*offset))
    return [(x + across, y + down) for across, down in offsets]
