"""How a rig's thermal images lie in its RGB images, from what both see: no target, no training.

First all scales, rotations and places are tried at a low resolution; then small blocks are looked for around the
place found, in finer and finer images, and a transform is put through what agrees. Every step adds the evidence
of all frames before it decides, since they have one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...errors import AlignmentError, SettingsError
from ...settings import Settings, setting
from .fitting import MODELS, Fit, apply_homography
from .passes import DISTINCT, FEWEST_BLOCKS, MatchedBlocks, match_blocks
from .search import search
from .views import RigView

__all__ = ["MatchingSettings", "RigMatch", "match_rig"]

# Right places have given 0.3 to 1 of the distinct blocks and scores of 0.2 to 0.7; unrelated scenes and noise fall
# short of at least one of these.
_AGREEING = 0.25  # share of the distinct blocks
_SMALLEST_SCORE = 0.15


class _Level(NamedTuple):
    """One resolution: width of the thermal image, how far is searched (px), the richest model that is fitted."""

    width: int
    reach: int
    richest: str


_FIRST = _Level(224, 10, "similarity")
_LEVELS = (_Level(224, 8, "affine"), _Level(320, 8, "homography"), _Level(448, 6, "homography"))


@dataclass(frozen=True)
class MatchingSettings(Settings):
    """How a rig's images are matched."""

    model: str = setting(
        "auto",
        "Transform that is fitted: a homography needs structure all over the image, a similarity little; auto "
        "takes the one with the least error to expect.",
        choices=("auto", *MODELS),
    )
    frames: int = setting(24, "Most frames whose evidence is added up.", bounds=(1, 200))
    narrowest_view: float = setting(
        0.3, "Smallest width of the thermal image in the RGB image, as a share of its width.", bounds=(0.1, 3.0)
    )
    widest_view: float = setting(
        1.5, "Largest width of the thermal image in the RGB image, as a share of its width.", bounds=(0.1, 3.0)
    )
    rotation_deg: float = setting(
        10.0, "Largest rotation between the cameras about their axes.", unit="deg", bounds=(0.0, 45.0)
    )
    agreement_px: float = setting(
        3.0,
        "By how much a single frame may be displaced against all, in pixels of the thermal image at 448 px "
        "width, and still count as agreeing.",
        unit="px",
        bounds=(0.5, 6.0),
    )

    def check(self) -> None:
        """Check that the range of views is a range."""
        if self.narrowest_view > self.widest_view:
            raise SettingsError(
                f"expected narrowest_view up to widest_view, got {self.narrowest_view} and {self.widest_view}"
            )


@dataclass(frozen=True, eq=False)
class RigMatch:
    """How the thermal images lie in the RGB images, and how sure that is.

    Attributes:
        rgb_from_thermal: 3 x 3, thermal pixels to RGB pixels, for images of the sizes that were given.
        thermal_points: ``(N, 2)`` centres of the blocks that agree, thermal pixels.
        rgb_points: ``(N, 2)`` where each of them was found, RGB pixels.
        distinct: Number of blocks that could only be in one place, of which N agree.
        model: Kind of the transform.
        residual_px: Median distance of ``rgb_points`` from where the transform takes ``thermal_points``.
        spread_px: How far the thermal image's pixels move (root mean square over the image, RGB pixels) in half
            of the fits to other draws of the same frames and blocks.
        coverage: Share of what both cameras see that lies inside the outline of the blocks that agree.
        frames: Number of frames.
        agreeing: Number of those that, taken alone, place the image where all together do.
        shifts_px: ``(frames, 2)`` by how much each frame alone would move the image, RGB pixels; NaN where it
            does not say.
    """

    rgb_from_thermal: np.ndarray
    thermal_points: np.ndarray
    rgb_points: np.ndarray
    distinct: int
    model: str
    residual_px: float
    spread_px: float
    coverage: float
    frames: int
    agreeing: int
    shifts_px: np.ndarray


def match_rig(
    views: Sequence[RigView],
    settings: MatchingSettings | None = None,
    on_step: Callable[[float], None] = lambda share: None,
) -> RigMatch:
    """Find how the thermal images of a rig lie in its RGB images.

    Args:
        views: All RGB images of one size, all thermal images of one size.
        on_step: Called with the share of the work that another step was.

    Raises:
        AlignmentError: Nothing that can be told from chance was found, or the frames contradict one another.
    """
    settings = settings or MatchingSettings()
    candidates = search(
        views,
        (settings.narrowest_view, settings.widest_view),
        settings.rotation_deg,
        lambda share: on_step(0.6 * share),
    )
    tried = [_matched(views, candidate.rgb_from_thermal, _FIRST, (_FIRST.richest,)) for candidate in candidates]
    found = max(filter(None, tried), key=lambda item: item.consensus, default=None)
    for level in _LEVELS:
        if found is None:
            raise _nothing_found(0, 0)
        models = MODELS[: MODELS.index(level.richest) + 1]
        if settings.model != "auto":
            models = models[: MODELS.index(settings.model) + 1]
        # What is fitted on the way only has to bring the blocks within reach of the next search.
        is_last = level is _LEVELS[-1]
        models = models if is_last and settings.model == "auto" else models[-1:]
        found = _matched(views, found.fit.matrix, level, models)
        on_step(0.4 / len(_LEVELS))
    if found is None:
        raise _nothing_found(0, 0)
    return found.judged(settings)


@dataclass(frozen=True, eq=False)
class _Matched:
    """A transform with what speaks for it."""

    blocks: MatchedBlocks
    fit: Fit
    usable: np.ndarray
    model: str

    @property
    def consensus(self) -> float:
        """How much speaks for this place."""
        return float(self.fit.inliers.sum() * self.fit.inliers.mean())

    @property
    def residual_px(self) -> float:
        """Median over the blocks that agree."""
        return float(np.median(self.fit.residual[self.fit.inliers]))

    @cached_property
    def spread_px(self) -> float:
        """How far the image moves, RGB px, in half of the fits to other draws of the same frames and blocks."""
        return self.blocks.spread_px(self.fit, self.model)

    @property
    def expected_px(self) -> float:
        """The error to expect: of following the blocks, and of not knowing them better."""
        return float(np.hypot(self.residual_px, self.spread_px))

    def judged(self, settings: MatchingSettings) -> RigMatch:
        """Return the result with what speaks for it, or raise because too little does."""
        found, distinct = int(self.fit.inliers.sum()), int(self.usable.sum())
        used, frames = np.flatnonzero(self.usable)[self.fit.inliers], self.blocks.stack.frames
        if found < max(FEWEST_BLOCKS, _AGREEING * distinct):
            raise _nothing_found(found, distinct)
        thermal = apply_homography(self.blocks.thermal_from_grid, self.blocks.centres[used])
        shifts, same = self._frame_shifts(settings.agreement_px)
        if frames > 1 and same <= 0.5 * frames:
            raise AlignmentError(
                f"the frames disagree: {same} of {frames} place the thermal image where all together "
                "do; expected two cameras that are fixed to each other and frames of the same moments: check the "
                "pairs (names, stamps, pairing.*) and leave out parts in which the rig was touched"
            )
        if same == 0 or self.blocks.score(used) < _SMALLEST_SCORE:
            raise _nothing_found(found, distinct)
        return RigMatch(
            rgb_from_thermal=self.fit.matrix,
            thermal_points=thermal,
            rgb_points=apply_homography(self.fit.matrix, thermal) + self._errors()[self.fit.inliers],
            distinct=distinct,
            model=self.model,
            residual_px=self.residual_px,
            spread_px=self.spread_px,
            coverage=self.blocks.covered(used),
            frames=frames,
            agreeing=same,
            shifts_px=shifts,
        )

    def _errors(self) -> np.ndarray:
        """Return ``(M, 2)``: from where the transform takes the usable blocks to where they were found, RGB px."""
        centres = self.blocks.centres[self.usable]
        found = centres + self.blocks.stack.peaks().displacement[self.usable]
        taken = apply_homography(self.fit.matrix, apply_homography(self.blocks.thermal_from_grid, centres))
        return apply_homography(self.blocks.rgb_from_grid, found) - taken

    def _frame_shifts(self, tolerance: float) -> tuple[np.ndarray, int]:
        """Return by how much each frame alone would move the image, RGB px, and how many hardly do."""
        used = np.flatnonzero(self.usable)[self.fit.inliers]
        alone = self.blocks.stack.frame_shifts(used)
        common = self.blocks.stack.peaks().displacement[used].mean(axis=0)
        off = np.where(alone.distinct[:, None] > DISTINCT, alone.displacement - common, np.nan)
        return off * self.blocks.rgb_scale, int((np.linalg.norm(off, axis=1) <= tolerance).sum())


def _matched(
    views: Sequence[RigView], rgb_from_thermal: np.ndarray, level: _Level, models: Sequence[str]
) -> _Matched | None:
    """Match blocks around what is known so far, and fit; None where too little agrees.

    Of several models the one with the least error to expect is taken: a rich one follows the blocks more closely,
    and is less sure beyond them.
    """
    blocks = match_blocks(views, rgb_from_thermal, level.width, level.reach)
    if blocks is None:
        return None
    found = []
    for model in models:
        fit, usable = blocks.fitted(model)
        if fit is not None and fit.inliers.any():
            found.append(_Matched(blocks, fit, usable, model))
    if len(found) < 2:
        return next(iter(found), None)
    return min(found, key=lambda item: item.expected_px)


def _nothing_found(agreeing: int, distinct: int) -> AlignmentError:
    found = f"only {agreeing} of {distinct} distinct blocks agree, or faintly" if distinct else "no blocks agree"
    return AlignmentError(
        f"the thermal images could not be found in the RGB images: {found}; expected both cameras to see the same "
        "structured scene, frames paired in time, at most narrowest_view to widest_view in width and rotation_deg "
        "turned: record buildings, trees or vehicles by day while the rig moves, widen the range, or use a board"
    )
