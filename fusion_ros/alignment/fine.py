"""Fine alignment over time: estimate now and then, believe only what is sure, change slowly, hold what is known.

The misalignment of a rig drifts over minutes; parallax changes with the scene. So an estimate, which is what
costs, is made of every n-th pair, or at once when the scene has changed; it begins where the last one ended. One
that is not sure, not plausible, or no better than moving nothing is not believed (:mod:`.belief`): the last good
field stays, and the result says so. A leap has to be certain or found twice, since noise does not say the same
again. Between estimates the field glides from the old one to the new one, so that a video does not jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from ..arrays import check_pair
from ..errors import FusionError
from ..geometry.warp import INTERPOLATIONS
from ..settings import Settings, setting
from .belief import Verdict, judged
from .estimate import Estimate, Estimator

__all__ = ["FineAligner", "FineAlignment", "FineSettings", "State"]

_SMOOTH_ENOUGH = 0.02  # px: nearer to its target than this, a field has arrived
_LEAP = 0.25  # of search_px: a larger change than this is a leap
_CERTAIN = 0.9  # confidence with which a leap is believed at once
_THUMBNAIL = (32, 24)
_LOST_S = 5.0  # after a pause as long as this, everything is looked at anew


@dataclass(frozen=True)
class FineSettings(Settings):
    """How what the coarse alignment leaves is found and followed."""

    method: str = setting(
        "none",
        "What finds the remaining misalignment: none; structural, one motion of the whole image without training; "
        "or a model that gives a flow, by name or folder, for what is local too.",
        read_only=True,
    )
    motion: str = setting(
        "translation",
        "Richest motion that structural looks for: translation, similarity, affine or homography. The richer, the "
        "more structure the scene has to show.",
        choices=("translation", "similarity", "affine", "homography"),
        read_only=True,
    )
    search_px: float = setting(
        16.0, "Largest misalignment that is looked for, in output pixels.", unit="px", bounds=(1.0, 256.0)
    )
    every: int = setting(10, "Estimate on every n-th pair, and at once when the scene changes.", bounds=(1, 1000))
    gate: float = setting(
        0.3,
        "Least confidence of an estimate that is believed; below it the last good field is held.",
        bounds=(0.0, 1.0),
    )
    smoothing_s: float = setting(
        0.5,
        "Time constant with which the field follows the estimates; 0 takes each at once.",
        unit="s",
        bounds=(0.0, 60.0),
    )
    interpolation: str = setting(
        "bicubic",
        "How the image that is moved is sampled between its pixels: bicubic, which leaves it as sharp as it came; "
        "bilinear, in a third of the time, which gives no temperature that was not seen around.",
        choices=tuple(INTERPOLATIONS),
    )
    change: float = setting(
        0.08, "Mean change of the image, of its full range, that counts as another scene.", bounds=(0.001, 1.0)
    )


class State(str, Enum):
    """Where a field comes from."""

    NONE = "none"
    """Nothing is estimated, or nothing has been believed yet: the coarse alignment stands."""
    MEASURED = "measured"
    """The latest estimate was believed."""
    UNCHANGED = "unchanged"
    """The latest estimate is sure, but the images agree as well with what stood before, which stays."""
    HELD = "held"
    """The latest estimate was not believed; an earlier one stays."""


@dataclass(frozen=True, eq=False)
class FineAlignment:
    """What is known of the remaining misalignment at one pair.

    Attributes:
        flow: ``(H, W, 2)`` float32 as :class:`.estimate.Estimate` has it, read-only, the same array as long as
            nothing changes; None where nothing is to be moved.
        state: Where it comes from.
        confidence: Of the latest estimate, believed or not.
        reason: Why the latest estimate was not believed; empty where it was.
        is_new: An estimate was made at this pair.
        has_failed: The latest estimate broke off, as :attr:`reason` says.
    """

    flow: np.ndarray | None
    state: State
    confidence: float = 0.0
    reason: str = ""
    is_new: bool = False
    has_failed: bool = False

    @cached_property
    def mean_px(self) -> float:
        """Mean length of the displacement in pixels."""
        return 0.0 if self.flow is None else float(cv2.magnitude(self.flow[..., 0], self.flow[..., 1]).mean())


class _Known(NamedTuple):
    """All that earlier pairs have taught; replaced as a whole, so that it may be read from another thread.

    Attributes:
        latest: The last pair's answer.
        target: Where its field glides to: the last flow that was believed.
        leap: What the last estimate found, where it was too far away to be believed at once; else None.
        thumbnails: Of the pair of the last estimate; None when the next pair is to be looked at anew.
        since: Pairs since that estimate.
        stamp_ns: Time of the last pair.
    """

    latest: FineAlignment = FineAlignment(None, State.NONE)
    target: np.ndarray | None = None
    leap: np.ndarray | None = None
    thumbnails: tuple[np.ndarray, np.ndarray] | None = None
    since: int = 0
    stamp_ns: int | None = None


class FineAligner:
    """Follows the misalignment that remains after the coarse alignment.

    Args:
        estimator: Finds it in one pair of images.
        settings: When, and what is believed.
    """

    def __init__(self, estimator: Estimator, settings: FineSettings | None = None) -> None:
        self.estimator = estimator
        self.settings = settings or FineSettings()
        self._known = _Known()

    def reconfigured(self, estimator: Estimator, settings: FineSettings) -> FineAligner:
        """Return an aligner with other settings that goes on from what this one knows."""
        other = FineAligner(estimator, settings)
        other._known = self._known
        return other

    def reset(self) -> None:
        """Forget everything: another recording begins, or time has jumped."""
        self._known = _Known()

    @property
    def latest(self) -> FineAlignment:
        """What is known without looking at another pair."""
        return replace(self._known.latest, is_new=False)

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        stamp_ns: int = 0,
        is_stale: bool = False,
    ) -> FineAlignment:
        """Return the field for one pair.

        Args:
            moving: ``(H, W)`` float32 in [0, 1], coarsely aligned.
            fixed: Likewise.
            valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
            stamp_ns: Time of the pair.
            is_stale: One of the two cameras repeats its image, as a thermal camera does while it corrects its
                flat field: the two are of different times, so nothing is estimated until it goes on.

        Raises:
            ImageError: The arrays are not two such images of one size.
        """
        check_pair(moving, fixed, names=("moving", "fixed"))
        known, elapsed_s = self._still_true(stamp_ns, fixed.shape)
        thumbnails = (_thumbnail(moving), _thumbnail(fixed))
        is_new_scene = self._is_new_scene(known, thumbnails)
        known = known._replace(
            latest=replace(known.latest, is_new=False), since=known.since + 1, stamp_ns=stamp_ns
        )
        if not is_stale and (is_new_scene or known.since >= self.settings.every):
            known = self._measured(known, moving, fixed, valid, is_new_scene)._replace(thumbnails=thumbnails)
        if known.latest.flow is not known.target:
            known = known._replace(latest=self._gliding(known.latest, known.target, elapsed_s))
        self._known = known
        return known.latest

    def _still_true(self, stamp_ns: int, size: tuple[int, ...]) -> tuple[_Known, float]:
        """Return what still holds of what is known, and the time since the last pair."""
        known = self._known
        elapsed_s = 0.0 if known.stamp_ns is None else (stamp_ns - known.stamp_ns) / 1e9
        fields = [field for field in (known.target, known.leap) if field is not None]
        is_other_size = any(field.shape[:2] != size for field in fields)
        if elapsed_s < 0.0 or is_other_size:
            return _Known(), 0.0
        if elapsed_s > _LOST_S:  # the field is the best guess still, but it is to be measured anew
            known = known._replace(thumbnails=None)
        return known, elapsed_s

    def _is_new_scene(self, known: _Known, thumbnails: tuple[np.ndarray, np.ndarray]) -> bool:
        if known.thumbnails is None:
            return True
        changes = (np.abs(now - then).mean() for now, then in zip(thumbnails, known.thumbnails, strict=True))
        return max(changes) > self.settings.change

    def _measured(
        self, known: _Known, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None, is_new_scene: bool
    ) -> _Known:
        """Return what is known after an estimate."""
        held = known.latest.flow
        state = State.NONE if held is None else State.HELD
        try:
            estimate = self.estimator(moving, fixed, valid=valid, start=known.target)
        except FusionError as error:  # what is known is no worse for it
            reason = f"the estimate failed: {error}"
            return known._replace(latest=FineAlignment(held, state, 0.0, reason, True, has_failed=True), since=0)
        gate, search_px = self.settings.gate, self.settings.search_px
        verdict, doubt = judged(estimate, known.target, moving, fixed, valid, gate=gate, search_px=search_px)
        if verdict is Verdict.NEEDLESS:
            latest = FineAlignment(held, State.UNCHANGED, estimate.confidence, doubt, is_new=True)
            return known._replace(latest=latest, leap=None, since=0)
        if verdict is Verdict.NOTHING:
            estimate, doubt = replace(estimate, flow=np.zeros_like(estimate.flow)), ""
        flow = np.array(estimate.flow, np.float32, order="C")  # a copy: nobody else may change it
        flow.setflags(write=False)
        leap = None
        if not doubt and self._is_rash(estimate, known):
            leap, doubt = flow, "it leaps, and is believed when the next estimate says the same"
        if doubt:
            # A leap is looked at again at once, but only once: where nothing can be found, time is not to be lost.
            since = self.settings.every if leap is not None and known.leap is None else 0
            latest = FineAlignment(held, state, estimate.confidence, doubt, is_new=True)
            return known._replace(latest=latest, leap=leap, since=since)
        # Another scene is not glided into: its parallax has nothing to do with the last one's.
        is_at_once = known.latest.state is State.NONE or is_new_scene or self.settings.smoothing_s == 0.0
        before = np.zeros_like(flow) if held is None else held
        latest = FineAlignment(flow if is_at_once else before, State.MEASURED, estimate.confidence, is_new=True)
        return known._replace(latest=latest, target=flow, leap=None, since=0)

    def _is_rash(self, estimate: Estimate, known: _Known) -> bool:
        """Tell whether an estimate is far from what is known, neither certain nor found before."""
        limit = _LEAP * self.settings.search_px
        if estimate.confidence >= _CERTAIN or _distance(estimate.flow, known.target) <= limit:
            return False
        return known.leap is None or _distance(estimate.flow, known.leap) > limit / 2

    def _gliding(self, latest: FineAlignment, target: np.ndarray, elapsed_s: float) -> FineAlignment:
        """Return the answer with its field moved on towards ``target``."""
        if self.settings.smoothing_s == 0.0:
            return replace(latest, flow=target)
        share = 1.0 - math.exp(-elapsed_s / self.settings.smoothing_s)
        flow = cv2.addWeighted(latest.flow, 1.0 - share, target, share, 0.0)
        if cv2.norm(flow, target, cv2.NORM_INF) < _SMOOTH_ENOUGH:
            return replace(latest, flow=target)
        flow.setflags(write=False)
        return replace(latest, flow=flow)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)


def _distance(flow: np.ndarray, other: np.ndarray | None) -> float:
    """Return the mean distance between two flows in pixels; None moves nothing."""
    # Not the largest: where nothing can be seen, in a corner of the sky, a good estimate may say anything.
    difference = flow if other is None else flow - other
    return float(np.hypot(difference[..., 0], difference[..., 1]).mean())
