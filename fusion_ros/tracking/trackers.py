"""Several targets on the same feature maps."""

from __future__ import annotations

from ..errors import TrackingError
from ..feature_grid import FeatureGrid
from .track import Box, Track
from .tracker import Tracker, TrackerSettings

__all__ = ["Trackers"]


class Trackers:
    """Follows several targets, each by its identity.

    Args:
        settings: Of every tracker; None: the defaults.
        most: How many targets there may be at once; each costs as much as one tracker.

    Raises:
        TrackingError: ``most`` is below 1.
    """

    def __init__(self, settings: TrackerSettings | None = None, most: int = 8) -> None:
        if most < 1:
            raise TrackingError(f"targets: expected room for at least 1, got {most}")
        self.settings = settings or TrackerSettings()
        self.most = most
        self._trackers: dict[int, Tracker] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._trackers)

    @property
    def identities(self) -> tuple[int, ...]:
        """Of the targets that are followed, in the order in which they were started."""
        return tuple(self._trackers)

    def start(self, grid: FeatureGrid, box: Box, stamp_ns: int) -> int:
        """Begin with one more target and return its identity; numbers begin at 1 and are never used again.

        Raises:
            TrackingError: There is no room for it, or as :meth:`.Tracker.start`.
        """
        if len(self) >= self.most:
            raise TrackingError(f"targets: expected at most {self.most}, got one more; stop one of them first")
        tracker = Tracker(self.settings, self._next)
        tracker.start(grid, box, stamp_ns)
        self._trackers[self._next] = tracker
        self._next += 1
        return tracker.identity

    def update(self, grid: FeatureGrid, stamp_ns: int) -> tuple[Track, ...]:
        """Return where each target is now, in the order in which they were started.

        Raises:
            TrackingError: As :meth:`.Tracker.update`. The targets that it names are forgotten; the others have
                been followed, and the same call again gives their tracks.
        """
        tracks, refusals = [], []
        for identity, tracker in tuple(self._trackers.items()):
            try:
                tracks.append(tracker.update(grid, stamp_ns))
            except TrackingError as error:
                refusals.append(str(error))
                del self._trackers[identity]
        if refusals:
            raise TrackingError("; ".join(refusals))
        return tuple(tracks)

    def stop(self, identity: int) -> None:
        """Forget a target.

        Raises:
            TrackingError: No target has this identity.
        """
        if identity not in self._trackers:
            known = ", ".join(map(str, self._trackers)) or "none"
            raise TrackingError(
                f"targets: expected the identity of one that is followed ({known}), got {identity}"
            )
        del self._trackers[identity]
