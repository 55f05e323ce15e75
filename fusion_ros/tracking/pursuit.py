"""How one target is followed, lost and found again, on maps of one kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..feature_grid import FeatureGrid
from ..settings import Settings, setting
from .appearance import Appearance, Point, Sighting
from .motion import Motion
from .search import places_around
from .track import Box, TrackStatus, clipped

__all__ = ["GridKind", "Pursuit", "TrackerSettings"]

_IN_VIEW = 0.25  # of a box's area: a target of which less is inside the image has left it
_SPREADS = 2.0  # standard deviations of the prediction that are searched
_LEEWAY = 0.25  # sizes: by how much the motion model may be wrong
_SPACING = 0.5  # of the places, in sides of the square that is searched around each


@dataclass(frozen=True)
class TrackerSettings(Settings):
    """How a target is followed, and when it counts as lost and as found again.

    The size of a target is the root of its box's area.
    """

    search_scale: float = setting(
        3.0, "Side of the square in which the target is searched, in sizes of the target.", bounds=(1.5, 8.0)
    )
    core_width: float = setting(
        0.5,
        "Part of the box's width, about its middle, that the filter may use. Beside people there is background in "
        "their boxes, and it stays where it is when they go; 1 for targets that fill their boxes.",
        bounds=(0.1, 1.0),
    )
    core_height: float = setting(0.9, "The same of its height.", bounds=(0.1, 1.0))
    learning_rate: float = setting(
        0.1, "Share of the filter's error on a frame that learning the frame takes away.", bounds=(0.0, 1.0)
    )
    scales: int = setting(9, "Sizes, 3 % apart, that are tried in each frame; 1: the size stays.", bounds=(1, 65))
    learn_above: float = setting(0.7, "Confidence from which a frame is learned from.", bounds=(0.0, 1.0))
    lost_below: float = setting(0.55, "Confidence below which the target is in doubt.", bounds=(0.0, 1.0))
    lost_after: int = setting(3, "Frames in doubt, one after another, after which it is lost.", bounds=(1, 100))
    found_above: float = setting(0.8, "Confidence from which a lost target may be found.", bounds=(0.0, 1.0))
    found_after: int = setting(2, "Frames of that, one after another, after which it is found.", bounds=(1, 100))
    redetection: bool = setting(
        True, "Search for a lost target further and further out; else only where it is predicted."
    )
    growth: float = setting(
        4.0, "By how many sizes of the target per second that search widens.", bounds=(0.0, 100.0)
    )
    windows: int = setting(
        9, "Places that are searched in one frame where one does not cover what is possible.", bounds=(1, 64)
    )
    hold_s: float = setting(
        2.0,
        "How long a lost target is taken to move on and its predicted box is given.",
        unit="s",
        bounds=(0.0, 60.0),
    )


class GridKind(NamedTuple):
    """What maps have in common on which a target can be followed from one to the next.

    Attributes:
        channels: Number of features of a cell.
        stride: Pixel pitch of the cells.
        size: ``(H, W)`` of the image.
    """

    channels: int
    stride: int
    size: tuple[int, int]

    @classmethod
    def of(cls, grid: FeatureGrid) -> GridKind:
        """Return a map's kind."""
        return cls(grid.channels, grid.stride, (grid.size[0], grid.size[1]))

    def matches(self, grid: FeatureGrid) -> bool:
        """Tell whether a map is of this kind."""
        return self == GridKind.of(grid)

    def __str__(self) -> str:
        height, width = self.size
        return f"{self.channels} channels at stride {self.stride} of an image of {width} x {height} pixels"


class Pursuit:
    """Goes after one target.

    Args:
        grid: Features of the first frame.
        box: Of the target in it, inside the image.
        stamp_ns: Of that frame.
        settings: How.

    Raises:
        TrackingError: As :class:`.Appearance`.
    """

    def __init__(self, grid: FeatureGrid, box: Box, stamp_ns: int, settings: TrackerSettings) -> None:
        self.kind = GridKind.of(grid)
        """Of the maps."""
        self._settings = settings
        self._appearance = Appearance(
            grid.values,
            _in_cells(grid, _centre(box)),
            (box[2] / grid.stride, box[3] / grid.stride),
            settings.search_scale,
            settings.learning_rate,
            (settings.core_width, settings.core_height),
            settings.scales,
        )
        self._shape = box[2] / box[3]
        self._motion = Motion(_centre(box), math.sqrt(box[2] * box[3]), stamp_ns)
        self._stamp_ns = stamp_ns
        self._doubts = 0  # frames in doubt, the latest one after another
        self._lost_ns = stamp_ns
        self._next = 1  # of the places around a lost target, the one to be searched next
        self._candidate: Point | None = None  # px; where a lost target may be
        self._finds = 0  # frames that said so
        self.status = TrackStatus.TRACKING
        """TRACKING or LOST."""
        self.box: Box | None = box
        """In pixels; as :attr:`.Track.box`."""
        self.confidence = 1.0
        """As :attr:`.Track.confidence`."""

    def step(self, grid: FeatureGrid, stamp_ns: int) -> None:
        """Go on to another frame of the same kind."""
        if stamp_ns < self._stamp_ns:
            self._lost_ns = min(self._lost_ns, stamp_ns)
        self._stamp_ns = stamp_ns
        self._motion.predict(stamp_ns)
        self.box = self._predicted()
        seen = self._appearance.weighed(grid.values)
        sighting = self._look(grid, seen) if seen is not None else None
        self.confidence = sighting.confidence if sighting is not None else 0.0
        if self.status is TrackStatus.TRACKING:
            self._follow(grid, seen, sighting)
        else:
            self._seek(grid, sighting)

    def _look(self, grid: FeatureGrid, seen: np.ndarray) -> Sighting:
        places = [_in_cells(grid, place) for place in self._places(grid.size)]
        spread = math.inf
        if self.status is TrackStatus.TRACKING and len(places) == 1:
            # Something else that looks like it is not taken for it where it would have had to leap.
            spread = max(
                math.hypot(_LEEWAY * self._motion.size, _SPREADS * self._motion.spread) / grid.stride, 1.0
            )
        return self._appearance.find(seen, places, self._extent(grid), spread)

    def _follow(self, grid: FeatureGrid, seen: np.ndarray | None, sighting: Sighting | None) -> None:
        options = self._settings
        if seen is None or sighting is None or sighting.confidence < options.lost_below:
            self._doubts += 1
        else:
            self._doubts = 0
            extent = self._extent(grid)
            if is_sure := sighting.confidence >= options.learn_above:
                extent = self._appearance.measure(seen, sighting.centre, extent)
            self._shape = extent[0] / extent[1]
            centre, size = _in_pixels(grid, sighting.centre), grid.stride * math.sqrt(extent[0] * extent[1])
            self._motion.correct(centre, size, sighting.confidence)
            self.box = _box(centre, size, self._shape)
            if is_sure:
                self._appearance.learn(seen, sighting, extent)
        if self._doubts >= options.lost_after or not _is_in_view(self.box, grid.size):
            self.status, self._lost_ns = TrackStatus.LOST, self._stamp_ns
            self._candidate, self._finds, self._next = None, 0, 1

    def _seek(self, grid: FeatureGrid, sighting: Sighting | None) -> None:
        options = self._settings
        if sighting is not None and sighting.confidence >= options.found_above:
            self._candidate, self._finds = _in_pixels(grid, sighting.centre), self._finds + 1
        else:
            self._candidate, self._finds = None, 0
        if self._candidate is not None and self._finds >= options.found_after:
            self.status, self._doubts = TrackStatus.TRACKING, 0
            # It may have come from anywhere: the velocity is not the line from where it was lost.
            self._motion = Motion(self._candidate, self._motion.size, self._stamp_ns)
            self.box = self._predicted()
        elif self._lost_s > options.hold_s:
            self._motion.halt()
            self.box = None
        elif self.box is not None and clipped(self.box, grid.size) is None:
            self.box = None

    @property
    def _lost_s(self) -> float:
        return (self._stamp_ns - self._lost_ns) * 1e-9

    def _places(self, size: tuple[int, int]) -> list[Point]:
        """Where to look in this frame, in pixels."""
        options, motion = self._settings, self._motion
        spacing = _SPACING * self._appearance.side * motion.size
        reach = _SPREADS * motion.spread
        if self.status is TrackStatus.TRACKING:
            return places_around(motion.centre, reach, spacing, size)[: options.windows]
        if self._candidate is not None:
            return [self._candidate]
        if not options.redetection:
            return places_around(motion.centre, 0.0, spacing, size)
        reach += options.growth * motion.size * self._lost_s
        here, *around = places_around(motion.centre, reach, spacing, size)
        # The prediction in every frame; those around it in turns, from the nearest outwards and again.
        turn = [around[(self._next + k) % len(around)] for k in range(min(options.windows - 1, len(around)))]
        self._next = (self._next + len(turn)) % max(len(around), 1)
        return [here, *turn]

    def _predicted(self) -> Box:
        return _box(self._motion.centre, self._motion.size, self._shape)

    def _extent(self, grid: FeatureGrid) -> Point:
        """``(width, height)`` in cells that the target is taken to have."""
        _, _, width, height = self._predicted()
        return width / grid.stride, height / grid.stride


def _centre(box: Box) -> Point:
    return box[0] + (box[2] - 1.0) / 2, box[1] + (box[3] - 1.0) / 2


def _box(centre: Point, size: float, shape: float) -> Box:
    """The box of a centre, the root of the area, and width over height."""
    width, height = size * math.sqrt(shape), size / math.sqrt(shape)
    return centre[0] - (width - 1.0) / 2, centre[1] - (height - 1.0) / 2, width, height


def _in_cells(grid: FeatureGrid, pixel: Point) -> Point:
    return float(grid.cells(pixel[0])), float(grid.cells(pixel[1]))


def _in_pixels(grid: FeatureGrid, cell: Point) -> Point:
    return float(grid.pixels(cell[0])), float(grid.pixels(cell[1]))


def _is_in_view(box: Box | None, size: tuple[int, int]) -> bool:
    inside = clipped(box, size) if box is not None else None
    return box is not None and inside is not None and inside[2] * inside[3] >= _IN_VIEW * box[2] * box[3]
