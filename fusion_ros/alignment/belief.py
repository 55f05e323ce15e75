"""Whether an estimate of the misalignment is to be believed: sure, plausible, and better than moving nothing.

A wrong correction is worse than none, and what is aligned already is not to be touched. An estimate's own
confidence tells whether the images lie on one another with it, but not whether they did so before. So they are
compared area by area as the estimate lays them and as they come: only where most areas agree better is it better.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.warp import flow_positions
from .estimate import Estimate
from .structure import FINEST_SIDE, Agreement, View, shares_enough

__all__ = ["Belief", "Verdict", "judged"]

_STRETCH = 0.5  # the most by which a believable field stretches or squeezes, as a share of the length
_SIDE = 480  # px of the longer side of the images that are compared
# Standard errors. Lower, more aligned pairs are moved; higher, more small misalignments are left. What both come
# to is measured in docs/alignment.md.
_BETTER = 2.0


class Verdict(Enum):
    """What is to be done with an estimate."""

    BELIEVED = "believed"
    """It takes the place of what is held."""
    NEEDLESS = "needless"
    """It is sure, but the images agree as well with what stands: that stays."""
    NOTHING = "nothing"
    """It is needless, and what is held is no better than moving nothing: that is given up."""
    DOUBTED = "doubted"
    """It may be wrong: what stands stays."""


class Belief(NamedTuple):
    """A verdict.

    Attributes:
        reason: Why the estimate is not believed; empty where it is.
    """

    verdict: Verdict
    reason: str = ""


def judged(
    estimate: Estimate,
    held: np.ndarray | None,
    moving: np.ndarray,
    fixed: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    gate: float,
    search_px: float,
) -> Belief:
    """Judge an estimate by what the two images show.

    Args:
        estimate: Of these images.
        held: ``(H, W, 2)``, the flow that was believed before; None where nothing was.
        moving: ``(H, W)`` float32 in [0, 1].
        fixed: Likewise.
        valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
        gate: Least confidence that is believed.
        search_px: Largest displacement that was looked for, in pixels.
    """
    if doubt := _doubt(estimate, fixed.shape, valid, gate, search_px):
        return Belief(Verdict.DOUBTED, doubt)
    view = View(moving, fixed, valid, side=_SIDE)
    nothing, found = view.agreement(), _agreement_with(estimate.flow, view, moving, valid)
    stands = nothing if held is None else _agreement_with(held, view, moving, valid)
    if found.above(nothing) >= _BETTER:
        if found.above(stands) > -_BETTER:
            return Belief(Verdict.BELIEVED)
        return Belief(Verdict.NEEDLESS, "the images agree better with what is held")
    # What was right proves it whenever there is something to see; a field that was taken by chance does not.
    is_useless = held is not None and stands.above(nothing) < 0.0
    return Belief(
        Verdict.NOTHING if is_useless else Verdict.NEEDLESS, "the images agree no better with it than without"
    )


def _agreement_with(flow: np.ndarray, view: View, moving: np.ndarray, valid: np.ndarray | None) -> Agreement:
    x, y = flow_positions(flow)
    seen = np.ones(moving.shape, np.uint8) if valid is None else valid.astype(np.uint8)
    # Bicubic: between pixels bilinear sampling takes noise and fine structure away, and what is left agrees the
    # better or the worse for that, wherever it lies.
    moved = cv2.remap(moving, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return view.of(moved, cv2.remap(seen, x, y, cv2.INTER_NEAREST) > 0).agreement()


def _doubt(
    estimate: Estimate, size: tuple[int, ...], valid: np.ndarray | None, gate: float, search_px: float
) -> str:
    """Return what speaks against an estimate, whatever else there is to choose; empty where nothing does."""
    if not np.isfinite(estimate.flow).all():
        return "the field is not finite"
    if not estimate.confidence > 0.0:
        return _nothing_found(np.ones(size, bool) if valid is None else valid, search_px)
    if estimate.confidence < gate:
        return f"confidence {estimate.confidence:.2f} is below the gate of {gate:g}"
    # Where the camera sees nothing the field only goes on from where it does.
    largest = float(np.abs(estimate.flow if valid is None else estimate.flow[valid]).max(initial=0.0))
    if largest > 2 * search_px:
        return f"it moves by {largest:.0f} px, more than twice search_px ({search_px:g})"
    if _strain(estimate.flow) > _STRETCH:
        return "the field folds or tears"
    return ""


def _nothing_found(valid: np.ndarray, search_px: float) -> str:
    if shares_enough(valid, FINEST_SIDE, search_px):
        return "nothing was found that both images show"
    return (
        "the two images share too small an area within search_px to judge by; lower alignment.fine.search_px "
        "or use a larger output"
    )


def _strain(flow: np.ndarray) -> float:
    """Return the largest change of the displacement from pixel to pixel, over steps of 8."""
    coarse = flow[::8, ::8]
    steps = [np.abs(np.diff(coarse, axis=axis)).max(initial=0.0) for axis in (0, 1)]
    return float(max(steps)) / 8
