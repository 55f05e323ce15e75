"""Metrics of tracking: how well the boxes that a tracker gives lie on the true ones, in one pass through a
sequence.

A box is ``(x, y, width, height)`` in pixels: x, y the first column and row, width and height numbers of columns
and rows, so that its centre is at ``x + (width - 1) / 2``. Boxes come as ``(N, 4)``, a row a frame.

**What counts.** Every frame with a true box counts alike, also the first one, in which the tracker is told (as in
the results of OTB). A row of the truth that holds NaN says that nothing is known there, and is left out. A row of
a tracker that holds NaN, or no area, is a missing answer: its overlap is 0 and its distance infinite, so that
nobody gains by not answering.

Sources:
    Wu, Lim, Yang, "Object Tracking Benchmark", PAMI 37, 2015, section 3.2: success, precision, their curves.
    Müller et al., "TrackingNet: A Large-Scale Dataset and Benchmark for Object Tracking in the Wild", ECCV 2018,
        section 4.3: normalised precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

__all__ = [
    "DISTANCE_THRESHOLDS",
    "NORMALISED_THRESHOLDS",
    "OVERLAP_THRESHOLDS",
    "PRECISION_PX",
    "TrackScores",
    "centre_distance",
    "normalised_distance",
    "overlap",
    "precision_curve",
    "success_curve",
    "track_scores",
]

OVERLAP_THRESHOLDS = np.arange(21) / 20.0
"""Those of OTB, 0 to 1; others take 101 of them, which changes the area by less than 0.025."""
DISTANCE_THRESHOLDS = np.arange(51.0)
"""Those of OTB, 0 to 50 px."""
NORMALISED_THRESHOLDS = np.arange(51) / 100.0
"""Those of TrackingNet, 0 to 0.5 sizes of the target."""
PRECISION_PX = 20.0
"""Where OTB reads the precision. Sets of small targets, such as GTOT, read it at 5 px."""


def overlap(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each box with the true one: ``(N,)`` in [0, 1], NaN without truth.

    Raises:
        ImageError: The arrays are not ``(N, 4)`` of equal length, or a true box has no area.
    """
    boxes, truth, known, given = _checked(boxes, truth)
    first = np.maximum(boxes[:, :2], truth[:, :2])
    last = np.minimum(boxes[:, :2] + boxes[:, 2:], truth[:, :2] + truth[:, 2:])
    shared = np.prod(np.clip(last - first, 0.0, None), axis=1)
    union = np.prod(boxes[:, 2:], axis=1) + np.prod(truth[:, 2:], axis=1) - shared
    found = np.divide(shared, union, out=np.zeros(len(boxes)), where=given & known)
    return np.where(known, found, np.nan)


def centre_distance(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how far each box's centre is from the true one: ``(N,)`` px, infinite without answer, NaN without
    truth.

    Raises:
        ImageError: As for :func:`overlap`.
    """
    boxes, truth, known, given = _checked(boxes, truth)
    off = _centres(boxes) - _centres(truth)
    return _where_known(np.hypot(off[:, 0], off[:, 1]), known, given)


def normalised_distance(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return that distance with x in true widths and y in true heights (TrackingNet, equation 1): ``(N,)``.

    Raises:
        ImageError: As for :func:`overlap`.
    """
    boxes, truth, known, given = _checked(boxes, truth)
    off = np.divide(
        _centres(boxes) - _centres(truth), truth[:, 2:], out=np.zeros((len(truth), 2)), where=known[:, None]
    )
    return _where_known(np.hypot(off[:, 0], off[:, 1]), known, given)


def success_curve(overlaps: np.ndarray, thresholds: np.ndarray = OVERLAP_THRESHOLDS) -> np.ndarray:
    """Return the share of frames whose overlap is above each threshold: ``(thresholds,)``; NaN where none is
    known.

    Above, not equal, as in OTB: nothing overlaps by more than 1, so a perfect tracker's area is 20/21 of 1 with 21
    thresholds.

    Args:
        overlaps: Of :func:`overlap`; NaN is left out.
        thresholds: Ascending.
    """
    known = overlaps[~np.isnan(overlaps)]
    return _shares(known[None, :] > thresholds[:, None])


def precision_curve(distances: np.ndarray, thresholds: np.ndarray = DISTANCE_THRESHOLDS) -> np.ndarray:
    """Return the share of frames whose distance is at most each threshold: ``(thresholds,)``; NaN where none is
    known.

    Args:
        distances: Of :func:`centre_distance`, or :func:`normalised_distance` with its own thresholds; NaN is left
            out.
        thresholds: Ascending.
    """
    known = distances[~np.isnan(distances)]
    return _shares(known[None, :] <= thresholds[:, None])


@dataclass(frozen=True)
class TrackScores:
    """A tracker on one sequence, or on several: all are shares in [0, 1], and NaN where no truth is known.

    Attributes:
        frames: Number of frames that counted.
        success: Area under the success curve of 21 thresholds (their mean).
        precision: Share of the frames whose centre is within 20 px.
        normalised_precision: Area under the curve of normalised precision, 0 to 0.5 (mean of 51 thresholds).
        overlap: Mean overlap.
    """

    frames: int
    success: float
    precision: float
    normalised_precision: float
    overlap: float


def track_scores(boxes: np.ndarray, truth: np.ndarray) -> TrackScores:
    """Return all of it for one run through a sequence.

    Raises:
        ImageError: As for :func:`overlap`.
    """
    overlaps = overlap(boxes, truth)
    known = overlaps[~np.isnan(overlaps)]
    within = precision_curve(centre_distance(boxes, truth), np.array([PRECISION_PX]))
    normalised = precision_curve(normalised_distance(boxes, truth), NORMALISED_THRESHOLDS)
    return TrackScores(
        frames=len(known),
        success=float(success_curve(known).mean()),
        precision=float(within[0]),
        normalised_precision=float(normalised.mean()),
        overlap=float(known.mean()) if len(known) else float("nan"),
    )


def _checked(boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return both in float64 with 0 for what is missing, where the truth is known, and where a box is given."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.shape != truth.shape:
        raise ImageError(
            f"expected two arrays of boxes (N, 4) of equal length, got {boxes.shape} and {truth.shape}"
        )
    boxes, truth = boxes.astype(np.float64), truth.astype(np.float64)
    known, given = np.isfinite(truth).all(axis=1), np.isfinite(boxes).all(axis=1)
    if (truth[known, 2:] <= 0.0).any():
        frame = int(np.flatnonzero(known & (truth[:, 2:] <= 0.0).any(axis=1))[0])
        raise ImageError(
            f"truth of frame {frame}: expected a box with an area, or NaN, got {truth[frame].tolist()}"
        )
    given &= (np.where(given[:, None], boxes, 0.0)[:, 2:] > 0.0).all(axis=1)
    return np.where(given[:, None], boxes, 0.0), np.where(known[:, None], truth, 0.0), known, given


def _centres(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, :2] + 0.5 * (boxes[:, 2:] - 1.0)


def _where_known(distances: np.ndarray, known: np.ndarray, given: np.ndarray) -> np.ndarray:
    return np.where(known, np.where(given, distances, np.inf), np.nan)


def _shares(hits: np.ndarray) -> np.ndarray:
    """Return the mean over frames; NaN, without a warning, where there are none."""
    return hits.mean(axis=1) if hits.shape[1] else np.full(len(hits), np.nan)
