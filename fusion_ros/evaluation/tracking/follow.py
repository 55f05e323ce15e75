"""Trackers going through a sequence: once from its beginning, and from anchors as VOT asks.

The features of a frame are computed once and shared by all trackers that follow them. A run that goes back in time
needs the frames in reverse, while what computes features may depend on the frames before (a range that follows the
stream, an alignment over time); so it gets the features of the way forward, which are kept on disk meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from ...errors import ImageError, nearest_name
from ...feature_grid import FeatureGrid
from ...metrics.tracking import overlap
from ...metrics.tracking_vot import Anchor, anchors
from ...tracking import Box, Track, TrackStatus
from ...tracking_sets import TrackingSequence
from ..conditions import Condition, Conditioner
from .features import FeatureSource
from .trackers import TrackerFacts

__all__ = ["MakeTracker", "SequenceTracks", "SingleTracker", "TrackRun", "follow", "true_boxes"]

_DECIMALS = 3  # of a pixel, and of a confidence


class SingleTracker(Protocol):
    """Follows one target, as :class:`fusion_ros.tracking.Tracker` does."""

    def start(self, grid: FeatureGrid, box: Box, stamp_ns: int) -> Track:
        """Learn a target."""

    def update(self, grid: FeatureGrid, stamp_ns: int) -> Track:
        """Find it in the next frame."""


MakeTracker = Callable[[], SingleTracker]


@dataclass(frozen=True, eq=False)
class TrackRun:
    """What a tracker said of each frame of a sequence.

    Attributes:
        tracker: Its name.
        boxes: ``(N, 4)`` float64 as in :mod:`fusion_ros.metrics.tracking`; NaN where it said nothing.
        status: ``N`` values of :class:`~fusion_ros.tracking.TrackStatus`.
        confidence: ``(N,)`` in [0, 1].
        ms: Milliseconds of each update.
        anchored: Overlaps of each run from an anchor, in order of the run, NaN without truth.
    """

    tracker: str
    boxes: np.ndarray
    status: tuple[str, ...]
    confidence: np.ndarray
    ms: tuple[float, ...] = ()
    anchored: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, eq=False)
class SequenceTracks:
    """What came of one sequence under one condition.

    Attributes:
        runs: One a tracker.
        feature_ms: Milliseconds for the features of each frame.
        problems: Why something is missing, one sentence each.
    """

    runs: tuple[TrackRun, ...] = ()
    feature_ms: tuple[float, ...] = ()
    problems: tuple[str, ...] = ()


def true_boxes(sequence: TrackingSequence) -> np.ndarray:
    """Return the truth as metrics want it: ``(N, 4)``, NaN where it is unknown or the target out of sight."""
    boxes = np.array(sequence.boxes, np.float64)
    unknown = sequence.absent | ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= 0.0).any(axis=1)
    boxes[unknown] = np.nan
    return boxes


def follow(
    sequence: TrackingSequence,
    condition: Condition,
    trackers: Sequence[TrackerFacts],
    source: FeatureSource,
    make_tracker: MakeTracker,
    *,
    seed: int = 0,
    with_anchors: bool = False,
    on_frame: Callable[[], None] = lambda: None,
) -> SequenceTracks:
    """Let trackers follow the target of a sequence from the first frame in which its box is known.

    Args:
        sequence: What to go through.
        condition: What is done to its frames.
        trackers: Each follows its layer of the source's features.
        source: Computes them.
        make_tracker: Makes a tracker that knows nothing yet.
        seed: Of whatever is random.
        with_anchors: Start them at VOT's anchors, too.
        on_frame: Called after each frame of the way forward.

    Raises:
        FusionError: The sequence has no truth, a frame cannot be read, or a target cannot be followed.
    """
    truth = true_boxes(sequence)
    known = ~np.isnan(truth).any(axis=1)
    if not known.any():
        raise ImageError("expected a frame in which the target's box is known, got none")
    begin = Anchor(int(known.argmax()), is_forward=True)
    starts = anchors(known) if with_anchors else ()
    ways = [
        _Ways(tracker, *(_Run(start, make_tracker(), truth) for start in (begin, *starts))) for tracker in trackers
    ]
    feature_ms: list[float] = []
    with TemporaryDirectory(prefix="fusion_ros_") as folder:
        shelf = _Shelf(Path(folder)) if any(not start.is_forward for start in starts) else None
        for index, (grids, stamp_ns, milliseconds) in enumerate(_features(sequence, condition, source, seed)):
            if index == len(truth):
                raise ImageError(f"expected {len(truth)} frames, one for each box, got more")
            feature_ms.append(milliseconds)
            for way in ways:
                way.forward(index, _layer(grids, way.tracker), stamp_ns)
            if shelf is not None:
                shelf.put({tracker.layer: grids[tracker.layer] for tracker in trackers}, stamp_ns)
            on_frame()
        if len(feature_ms) < len(truth):
            raise ImageError(f"expected {len(truth)} frames, one for each box, got {len(feature_ms)}")
        if shelf is not None:
            for way in ways:
                way.backward(shelf)
    return SequenceTracks(tuple(way.result() for way in ways), tuple(feature_ms))


def _features(
    sequence: TrackingSequence, condition: Condition, source: FeatureSource, seed: int
) -> Iterator[tuple[Mapping[str, FeatureGrid], int, float]]:
    """Yield the features, the stamp and the milliseconds of each frame."""
    alter = Conditioner(condition, sequence.name, is_sequence=True, seed=seed)
    source.reset()
    for index, pair in enumerate(sequence.frames()):
        if pair.rgb is None or pair.thermal is None:
            raise ImageError(f"frame {index}: expected an RGB and a thermal image, got one of them")
        altered = alter(pair, f"{index:06d}", index).pair
        source.prepare(*pair.rgb.size)  # which is no part of a frame's time
        start = time.perf_counter()
        grids = source(altered)
        yield grids, pair.rgb.stamp_ns, (time.perf_counter() - start) * 1e3


def _layer(grids: Mapping[str, FeatureGrid], tracker: TrackerFacts) -> FeatureGrid:
    if tracker.layer not in grids:
        raise ImageError(
            f"{tracker.name}: {tracker.model} has no feature map {tracker.layer!r}; "
            f"{nearest_name(tracker.layer, grids)}"
        )
    return grids[tracker.layer]


class _Run:
    """A tracker on its way from one frame to the first or the last."""

    def __init__(self, anchor: Anchor, tracker: SingleTracker, truth: np.ndarray) -> None:
        self.anchor, self._tracker, self._truth = anchor, tracker, truth
        self.boxes = np.full_like(truth, np.nan)
        self.status = [TrackStatus.IDLE.value] * len(truth)
        self.confidence = np.zeros(len(truth))
        self.ms: list[float] = []
        self._has_begun = False

    def take(self, index: int, grid: FeatureGrid, stamp_ns: int) -> None:
        """Start in the anchor's frame, and follow from there on; what comes before is none of its business."""
        if self._has_begun:
            start = time.perf_counter()
            track = self._tracker.update(grid, stamp_ns)
            self.ms.append((time.perf_counter() - start) * 1e3)
        elif index == self.anchor.frame:
            track = self._tracker.start(grid, tuple(map(float, self._truth[index])), stamp_ns)
            self._has_begun = True
        else:
            return
        if track.box is not None:
            self.boxes[index] = np.round(track.box, _DECIMALS)
        self.status[index] = track.status.value
        self.confidence[index] = round(track.confidence, _DECIMALS)

    def overlaps(self) -> np.ndarray:
        """Return the overlap of each frame in the order in which it went."""
        return overlap(self.boxes, self._truth)[list(self.anchor.frames(len(self._truth)))]


class _Ways:
    """All runs of one tracker: once through the sequence, and from the anchors."""

    def __init__(self, tracker: TrackerFacts, once: _Run, *anchored: _Run) -> None:
        self.tracker, self._once, self._anchored = tracker, once, anchored

    def forward(self, index: int, grid: FeatureGrid, stamp_ns: int) -> None:
        """Give a frame to all that go forward."""
        for run in (self._once, *self._anchored):
            if run.anchor.is_forward:
                run.take(index, grid, stamp_ns)

    def backward(self, shelf: _Shelf) -> None:
        """Give all frames, in reverse, to all that go back; for them time goes on as it does for the others."""
        back = [run for run in self._anchored if not run.anchor.is_forward]
        for index in reversed(range(max((run.anchor.frame for run in back), default=-1) + 1)):
            grid, stamp_ns = shelf.get(index, self.tracker.layer)
            for run in back:
                run.take(index, grid, -stamp_ns)

    def result(self) -> TrackRun:
        """Return what came of them."""
        once, anchored = self._once, tuple(run.overlaps() for run in self._anchored)
        return TrackRun(
            self.tracker.name, once.boxes, tuple(once.status), once.confidence, tuple(once.ms), anchored
        )


class _Shelf:
    """Feature maps on disk, for those who come back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps_ns: list[int] = []
        self._facts: dict[str, tuple[int, tuple[int, int]]] = {}

    def put(self, grids: Mapping[str, FeatureGrid], stamp_ns: int) -> None:
        """Keep the next frame's."""
        for layer, grid in grids.items():
            np.save(self._path(len(self._stamps_ns), layer), grid.values)
            self._facts[layer] = grid.stride, grid.size
        self._stamps_ns.append(stamp_ns)

    def get(self, index: int, layer: str) -> tuple[FeatureGrid, int]:
        """Return one layer of one frame, and the frame's stamp."""
        return FeatureGrid(np.load(self._path(index, layer)), *self._facts[layer]), self._stamps_ns[index]

    def _path(self, index: int, layer: str) -> Path:
        return self._folder / f"{layer}_{index}.npy"
