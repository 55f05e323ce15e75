"""A tracker of one target on feature maps."""

from __future__ import annotations

from ..errors import TrackingError
from ..feature_grid import FeatureGrid
from .pursuit import GridKind, Pursuit, TrackerSettings
from .track import Box, Track, TrackStatus, usable_box

__all__ = ["Tracker", "TrackerSettings"]

_SAME_ASPECT = (
    0.02  # by which two sizes of one image may differ in their aspect ratio, as a share: they are rounded
)


class Tracker:
    """Follows one target.

    A frame is learned from while the confidence is high. Where it is low the box is what the motion model says,
    and after a few such frames the target is lost: nothing is learned, and it is looked for where it is predicted
    and ever further out, a few places in each frame. It is found again when it is recognised in frames one after
    another.

    Args:
        settings: None: the defaults.
        identity: The number that its tracks carry.
    """

    def __init__(self, settings: TrackerSettings | None = None, identity: int = 1) -> None:
        self.settings = settings or TrackerSettings()
        self.identity = identity
        self._pursuit: Pursuit | None = None
        self._track: Track | None = None

    @property
    def status(self) -> TrackStatus:
        """What it is doing."""
        return self._track.status if self._track is not None else TrackStatus.IDLE

    def start(self, grid: FeatureGrid, box: Box, stamp_ns: int) -> Track:
        """Begin with the target inside ``box``, cut to the image; one that was followed before is forgotten.

        Raises:
            TrackingError: The box marks no target (see :func:`.usable_box`), or the features in it say nothing:
                NaN, infinite, or the same everywhere. A target that was followed before is then followed on.
        """
        box = usable_box(box, grid.size)
        self._pursuit = Pursuit(grid, box, stamp_ns, self.settings)
        self._track = Track(stamp_ns, self.identity, TrackStatus.TRACKING, box, 1.0)
        return self._track

    def update(self, grid: FeatureGrid, stamp_ns: int) -> Track:
        """Return where the target is in the next frame; an idle track where there is none.

        A frame with the stamp of the last one is that frame: its track is given again. After a jump back in time
        the target is followed on, its velocity unknown. Where the features have changed in number, stride or size,
        a target that is not lost is learned anew inside its last box, scaled.

        Raises:
            TrackingError: The features have changed while the target was lost, or to those of an image of another
                shape, or they say nothing where it should be. The target is forgotten.
        """
        pursuit, last = self._pursuit, self._track
        if pursuit is None or last is None:
            return Track(stamp_ns, self.identity, TrackStatus.IDLE, None, 0.0)
        if stamp_ns == last.stamp_ns:
            return last
        if not pursuit.kind.matches(grid):
            return self._start_over(pursuit.kind, last, grid, stamp_ns)
        pursuit.step(grid, stamp_ns)
        self._track = Track(stamp_ns, self.identity, pursuit.status, pursuit.box, pursuit.confidence)
        return self._track

    def stop(self) -> None:
        """Forget the target."""
        self._pursuit = self._track = None

    def _start_over(self, kind: GridKind, last: Track, grid: FeatureGrid, stamp_ns: int) -> Track:
        self.stop()
        down, across = (now / before for now, before in zip(grid.size, kind.size, strict=True))
        if last.status is not TrackStatus.TRACKING or last.box is None or abs(across / down - 1.0) > _SAME_ASPECT:
            raise TrackingError(
                f"features: expected {kind}, got {GridKind.of(grid)}; target {self.identity} cannot be learned "
                "anew on these, start again with its box"
            )
        x, y, width, height = last.box
        return self.start(grid, (x * across, y * down, width * across, height * down), stamp_ns)
