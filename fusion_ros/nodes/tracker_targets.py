"""The targets of tracker_node: boxes asked for, targets followed, what became of them, and why."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import TrackingError
from ..feature_grid import FeatureGrid
from ..ros.tracks import Following, TracksReport
from ..tracking import Box, Track, Trackers, TrackerSettings, TrackStatus, clipped
from ..tracking.track import usable_box

__all__ = ["BoxRequest", "TargetCounts", "Targets"]

_LEFT_SHARE = 0.5  # of a box's area: with less of it inside, the target has left the image
_LEVEL = 1e-3  # relative: features that vary less over the image are the same everywhere


@dataclass(frozen=True)
class BoxRequest:
    """A box in which a target is to be found.

    Attributes:
        box: In pixels of the reference image.
        source: Who asks, for messages.
        stamp_ns: Of the image that it was drawn on; None: of no particular one.
        frame_id: Likewise; empty: unknown.
    """

    box: Box
    source: str
    stamp_ns: int | None = None
    frame_id: str = ""


@dataclass(frozen=True)
class TargetCounts:
    """What has happened so far."""

    started: int = 0
    refused: int = 0
    lost: int = 0
    found_again: int = 0
    time_jumps: int = 0


class Targets:
    """Follows the targets of one stream of features; any thread may call it.

    Args:
        settings: Of every tracker.
        most: Room for so many targets. A single one is replaced by the next; with room for several, a box for
            which there is none left is refused.
        tolerance_s: Largest difference between a box's stamp and that of the features it is used on.
        tell: Told about each start, refusal, loss and recovery, whether it is a warning.
    """

    def __init__(
        self, settings: TrackerSettings, most: int, tolerance_s: float, tell: Callable[[str, bool], None]
    ) -> None:
        # Where there is room for one only, the next one is there before the other goes.
        self._trackers = Trackers(settings, max(most, 2))
        self._most = most
        self._tolerance_s = tolerance_s
        self._tell = tell
        self._requests: deque[BoxRequest] = deque(maxlen=most)
        self._tracks: tuple[Track, ...] = ()
        self._reasons: dict[int, str] = {}
        self._refusal = ""  # the latest, of a box or of features, until the next box
        self._stamp_ns: int | None = None
        self._size: tuple[int, int] | None = None
        self._counts = TargetCounts()
        self._lock = threading.Lock()

    @property
    def counts(self) -> TargetCounts:
        """What has happened so far."""
        return self._counts

    def configure(self, settings: TrackerSettings, tolerance_s: float) -> None:
        """Take other settings for the targets that are started from now on."""
        with self._lock:
            self._trackers.settings, self._tolerance_s = settings, tolerance_s

    def request(self, request: BoxRequest) -> None:
        """Ask for a target in the first features at or after the request's stamp.

        A box without a stamp, or of an earlier one, is used on the next features: the target is looked for where
        it was. Beyond the tolerance in either direction it is refused.
        """
        with self._lock:
            self._requests.append(request)
            self._refusal = ""

    def stop(self) -> int:
        """Forget all targets and all boxes that wait; return how many targets there were."""
        with self._lock:
            stopped = len(self._trackers)
            for identity in self._trackers.identities:
                self._trackers.stop(identity)
            self._requests.clear()
            self._tracks, self._reasons, self._refusal = (), {}, ""
            return stopped

    def step(self, grid: FeatureGrid, stamp_ns: int, frame_id: str) -> TracksReport:
        """Follow all targets into the next features, begin with those asked for, and tell how it stands.

        Features that cannot be followed end the targets concerned; that is told as a reason, never raised.
        """
        with self._lock:
            if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
                self._count(time_jumps=1)
                self._tell("time jumped back: each target is looked for from its last place on", False)
            self._stamp_ns, self._size = stamp_ns, grid.size
            self._follow(grid, stamp_ns)
            self._begin(grid, stamp_ns, frame_id)
            following = self._following()
            is_lost = following is Following.LOST
            reasons = [f"target {identity}: {text}" for identity, text in self._reasons.items() if is_lost]
            reason = "; ".join(filter(None, (*reasons, self._refusal)))
            return TracksReport(
                stamp_ns, frame_id, following, reason, self._tracks, dict(self._reasons), self._size
            )

    def blind(self, stamp_ns: int, frame_id: str, reason: str) -> TracksReport:
        """Tell how it stands while there are no features to follow: no target is in sight."""
        with self._lock:
            waiting = self._stamp_ns is None
            tracks = tuple(
                replace(track, stamp_ns=stamp_ns, status=TrackStatus.LOST, box=None, confidence=0.0)
                for track in self._tracks
            )
            following = Following.WAITING if waiting else Following.NO_FEATURES
            reasons = {track.identity: reason for track in tracks}
            return TracksReport(stamp_ns, frame_id, following, reason, tracks, reasons, self._size)

    def _follow(self, grid: FeatureGrid, stamp_ns: int) -> None:
        before = {track.identity: track for track in self._tracks}
        try:
            self._tracks = self._trackers.update(grid, stamp_ns)
        except TrackingError as error:
            self._refusal = str(error)
            self._tell(f"targets are given up: {error}", True)
            # Those are gone by now, and the others have been followed: of a stamp that they know, nothing is done.
            self._tracks = self._trackers.update(grid, stamp_ns)
        for track in self._tracks:
            was_lost = before[track.identity].status is TrackStatus.LOST
            if track.status is TrackStatus.LOST and not was_lost:
                self._reasons[track.identity] = reason = self._why_lost(track, grid)
                self._count(lost=1)
                self._tell(f"target {track.identity} is lost: {reason}", True)
            elif track.status is TrackStatus.TRACKING and was_lost:
                self._count(found_again=1)
                self._tell(f"target {track.identity} is found again", False)
        lost = {track.identity for track in self._tracks if track.status is TrackStatus.LOST}
        self._reasons = {identity: text for identity, text in self._reasons.items() if identity in lost}

    def _why_lost(self, track: Track, grid: FeatureGrid) -> str:
        if not np.isfinite(grid.values).all():
            return "the features hold NaN or infinity: is the model damaged, or the image?"
        if _is_level(grid.values):
            return "the features are the same everywhere: does a camera see anything at all?"
        if track.box is not None:
            inside = clipped(track.box, grid.size)
            if inside is None or inside[2] * inside[3] < _LEFT_SHARE * track.box[2] * track.box[3]:
                return "it has left the image"
        below = self._trackers.settings.lost_below
        return f"its confidence stays below tracker.lost_below = {below:g}, latest {track.confidence:.2f}"

    def _begin(self, grid: FeatureGrid, stamp_ns: int, frame_id: str) -> None:
        for request in tuple(self._requests):
            early_s = 0.0 if request.stamp_ns is None else (request.stamp_ns - stamp_ns) * 1e-9
            if 0.0 < early_s <= self._tolerance_s:
                continue
            self._requests.remove(request)
            try:
                self._check(request, early_s, frame_id)
                self._start(request, grid, stamp_ns)
            except TrackingError as error:
                self._refusal = f"{request.source}: {error}"
                self._count(refused=1)
                self._tell(f"{request.source}: {error}", True)

    def _check(self, request: BoxRequest, early_s: float, frame_id: str) -> None:
        if request.frame_id not in ("", frame_id):
            raise TrackingError(
                f"box: expected one in the image of frame {frame_id!r}, got one in {request.frame_id!r}; draw it "
                "on the reference image"
            )
        if abs(early_s) > self._tolerance_s:
            raise TrackingError(
                f"box: its stamp is {abs(early_s):.2f} s {'after' if early_s > 0 else 'before'} that of the "
                f"features, more than box_tolerance_s = {self._tolerance_s:g}; send it sooner, or with the stamp "
                "of the image"
            )

    def _start(self, request: BoxRequest, grid: FeatureGrid, stamp_ns: int) -> None:
        others = self._trackers.identities
        if 1 < self._most <= len(others):
            raise TrackingError(
                f"targets: there are {len(others)} already, as many as max_targets; stop them first, or raise it"
            )
        box = usable_box(request.box, grid.size)
        identity = self._trackers.start(grid, box, stamp_ns)
        if self._most == 1:
            for other in others:
                self._trackers.stop(other)
            self._tracks, self._reasons = (), {}
        self._tracks += (Track(stamp_ns, identity, TrackStatus.TRACKING, box, 1.0),)
        self._refusal = ""
        self._count(started=1)
        place = ", ".join(f"{value:g}" for value in box)
        self._tell(f"target {identity} is followed from box ({place}) on, by {request.source}", False)

    def _following(self) -> Following:
        if any(track.status is TrackStatus.TRACKING for track in self._tracks):
            return Following.TRACKING
        if self._requests:
            return Following.STARTING
        return Following.LOST if self._tracks else Following.IDLE

    def _count(self, **more: int) -> None:
        counts = self._counts
        self._counts = replace(counts, **{name: getattr(counts, name) + number for name, number in more.items()})


def _is_level(values: np.ndarray) -> bool:
    """Tell whether nothing is to be seen; at the border even features of a black image vary with the padding."""
    rows, columns = (slice(length // 4, length - length // 4) for length in values.shape[:2])
    inner = values[rows, columns]
    return bool((np.ptp(inner, axis=(0, 1)) <= _LEVEL * np.abs(inner).max(axis=(0, 1))).all())
