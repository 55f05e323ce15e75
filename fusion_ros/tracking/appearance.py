"""All that is learned of a target's looks: where a filter finds it, how large it is, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import TrackingError
from .filter import CorrelationFilter
from .sampling import sample
from .template import Template

__all__ = ["Appearance", "Sighting"]

Point = tuple[float, float]

_LEAST_SIDE = 10.0  # cells of the square that is searched: a tiny target moves by more than a few of its sizes
_AROUND_LONG = 1.5  # of the box's longer side that the square has at least
_NEAR = 0.2  # sizes about the place of a peak, within which a second look corrects it
_SMALLEST = 0.25  # cells; the size of a target, the root of its area, does not shrink below it
_FEWEST, _MOST = 20, 40  # samples along the square's side; about one a cell between these
_LARGEST = 2.0  # of the map's longer side; it does not grow beyond it
_FIRST_LEVEL = 0.4  # of its quality on the frame that it was learned on, that a target has on others at least
_NOTHING = 1e-6  # a quality below it is none
_LEVEL_RATE = 0.05  # of the running level of the quality
_ROUNDING = 1e-4  # of the features' largest value: a channel that varies less says nothing
_FLAT = 1e-2  # standard deviations of the map: a box whose features vary less is empty
_ABSURD = 1e6  # standard deviations of the first map; what is beyond them is no feature


class Sighting(NamedTuple):
    """Where a target seems to be.

    Attributes:
        centre: ``(x, y)`` in cells.
        quality: How much like the target it looks, on no scale.
        confidence: The same in units of what is usual for the target, in [0, 1].
    """

    centre: Point
    quality: float
    confidence: float


class Appearance:
    """What one target looks like on maps of one kind.

    Features count in units of their standard deviation over the first map, one for all channels: their scale does
    not matter, and how strong channels are beside each other, which may say how far to trust a camera, stays.
    The quality of a sighting is the geometric mean of the filter's response and of the correlation with the
    long-term template; its confidence is that over what has been usual while the target was seen. On oriented
    gradients of 53 targets, of a place with the target and one of another scene this put the right one first in
    98.5 % of pairs; the response alone in 97.7 %, the template alone in 97.0 %.

    Args:
        values: ``(h, w, C)`` float32, finite.
        centre: ``(x, y)`` of the box in cells.
        extent: ``(width, height)`` of the box in cells.
        search_scale: Side of the square that is searched, in sizes of the target.
        learning_rate: Of the filter.
        core: Part of the target's width and height that the filter may use.
        scales: Sizes that are tried; 1: the size stays.

    Raises:
        TrackingError: There are NaN or infinite features, or all places of the box look the same.
    """

    def __init__(
        self,
        values: np.ndarray,
        centre: Point,
        extent: Point,
        search_scale: float,
        learning_rate: float,
        core: Point,
        scales: int,
    ) -> None:
        if not np.isfinite(values).all():
            raise TrackingError(
                "features: expected finite numbers, got NaN or infinite ones; start on another frame"
            )
        self._gains = _gains(values)
        size = math.sqrt(extent[0] * extent[1])
        self._side = max(search_scale, _AROUND_LONG * max(extent) / size, _LEAST_SIDE / size)
        count = min(max(2 * round(self._side * size / 2), _FEWEST), _MOST)
        self._shape = (count, count)
        self._pitch = self._side / count
        target = (extent[1] / size / self._pitch, extent[0] / size / self._pitch)
        self._filter = CorrelationFilter(target, self._shape, learning_rate, core[::-1])
        self._scales = scales
        seen = np.multiply(values, self._gains, order="C")
        self._template = Template(seen, centre, extent)
        if not self._template.contrast > _FLAT:
            raise TrackingError(
                "features: expected some that differ from place to place inside the box, got the same all over; "
                "is the camera dark, or the box on an empty surface?"
            )
        self._teach(seen, centre, extent)
        self._level, self._learned = 1.0, 0
        # However little of the target is left in what is followed, less than this never counts as usual.
        self._floor = max(_FIRST_LEVEL * self.find(seen, [centre], extent).quality, _NOTHING)
        self._level = self._mean = self._floor

    @property
    def side(self) -> float:
        """Of the square that is searched around a place, in sizes of the target."""
        return self._side

    def weighed(self, values: np.ndarray) -> np.ndarray | None:
        """Return a map ``(h, w, C)`` as the other methods take it; None where they are not finite, or absurd."""
        with np.errstate(over="ignore", invalid="ignore"):
            # In this order whatever the order of the source, which may be one channel after another.
            seen = np.multiply(values, self._gains, order="C")
            # Both comparisons are false of NaN.
            return seen if -_ABSURD < float(seen.min()) and float(seen.max()) < _ABSURD else None

    def find(self, seen: np.ndarray, places: Sequence[Point], extent: Point, spread: float = math.inf) -> Sighting:
        """Return where the target is, within half of the searched square around one of the places.

        Args:
            seen: Of :meth:`weighed`.
            places: ``(x, y)`` in cells, at least one.
            extent: ``(width, height)`` in cells that the target is expected to have.
            spread: Standard deviation of the target about a place, in cells.
        """
        pitch = self._pitch * math.sqrt(extent[0] * extent[1])
        peak = max(self._peak(seen, place, pitch, spread / pitch) for place in places)
        # Once more with the target in the middle, where the window hides nothing of it.
        height, centre = max(peak, self._peak(seen, peak[1], pitch, _NEAR / self._pitch))
        quality = math.sqrt(max(height, 0.0) * self._template.similarity(seen, centre, extent))
        return Sighting(centre, quality, min(quality / self._level, 1.0))

    def measure(self, seen: np.ndarray, centre: Point, extent: Point) -> Point:
        """Return the ``(width, height)`` in cells of the target at a place, from those that it had before.

        Both change by one factor, the mean of what stretches the box best across and down: following the two apart
        follows the stride of people who walk, and their backgrounds. Where a box ends is known alike on all sides,
        in cells; so the longer side tells the factor better, and counts by its square.
        """
        if self._scales == 1:
            return extent
        stretches = [self._template.stretch(seen, centre, extent, axis, self._scales) for axis in (0, 1)]
        factor = math.exp(np.average(np.log(stretches), weights=np.square(extent)))
        size = math.sqrt(extent[0] * extent[1])
        factor = min(max(factor, _SMALLEST / size), _LARGEST * max(seen.shape[:2]) / size)
        return extent[0] * factor, extent[1] * factor

    def learn(self, seen: np.ndarray, sighting: Sighting, extent: Point) -> None:
        """Take in how the target looks, where it was found, and its ``(width, height)`` in cells."""
        self._learned += 1
        self._mean += max(1.0 / self._learned, _LEVEL_RATE) * (sighting.quality - self._mean)
        self._level = max(self._mean, self._floor)
        self._template.learn(seen, sighting.centre, extent)
        self._teach(seen, sighting.centre, extent)

    def _teach(self, seen: np.ndarray, centre: Point, extent: Point) -> None:
        pitch = self._pitch * math.sqrt(extent[0] * extent[1])
        self._filter.learn(sample(seen, centre, (pitch, pitch), self._shape))

    def _peak(self, seen: np.ndarray, place: Point, pitch: float, spread: float = math.inf) -> tuple[float, Point]:
        """Highest response around a place, and where it is, in cells."""
        peak = self._filter.find(sample(seen, place, (pitch, pitch), self._shape), spread)
        return peak.height, (place[0] + pitch * peak.shift[0], place[1] + pitch * peak.shift[1])


def _gains(values: np.ndarray) -> np.ndarray:
    """Return ``(C,)`` float32: the inverse of a map's standard deviation; 0 for channels that say nothing."""
    largest = float(np.abs(values).max()) or 1.0
    variances = (values / np.float32(largest)).var(axis=(0, 1), dtype=np.float64)
    variances[variances < _ROUNDING**2] = 0.0
    unit = largest * max(math.sqrt(variances.mean()), np.finfo(np.float32).tiny)
    return np.where(variances > 0.0, min(1.0 / unit, np.finfo(np.float32).max), 0.0).astype(np.float32)
