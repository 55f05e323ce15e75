"""The short-term protocol of VOT with anchors: accuracy, robustness, and the expected average overlap.

A tracker is started anew at several frames of a sequence, the *anchors*, and runs from each to the first or the
last frame, whichever is farther. It has *failed* at the first frame from which on ten frames in a row overlap the
truth by no more than 0.1. *Accuracy* is the mean overlap before failures, *robustness* the share of frames before
them, and the *expected average overlap* (EAO) is what a run of typical length overlaps the truth on average,
frames after a failure counting 0.

**What counts.** The frame of an anchor, in which the tracker is told, counts nowhere. (The official toolkit counts
it as a frame that was tracked, with overlap 0 in the accuracy.) Frames without truth are left out beforehand;
where only every tenth frame is annotated, ten frames in a row are ten annotated ones. A missing answer overlaps by
0, as in :mod:`.tracking`.

Sources:
    Kristan et al., "The Eighth Visual Object Tracking VOT2020 Challenge Results", ECCV Workshops 2020, section
        2.1: anchors, failures, equations of accuracy and robustness. Its text and the VOT toolkit agree with one
        another but for the frame of the anchor.
    Kristan et al., "The Visual Object Tracking VOT2015 Challenge Results", ICCV Workshops 2015, section 3: EAO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

__all__ = ["Anchor", "VotRun", "VotScores", "anchors", "eao_curve", "typical_lengths", "vot_run", "vot_scores"]

FAILED_AT = 0.1
"""Overlap up to which a frame counts towards a failure."""
PATIENCE = 10
"""So many of them in a row are one."""
SPACING = 50
"""Frames from anchor to anchor, about."""
_LEAST_RUNS = 4  # in a sequence that is too short for anchors 50 frames apart


@dataclass(frozen=True)
class Anchor:
    """A frame from which a tracker is started, and which way it runs.

    Attributes:
        frame: Its number, from 0.
        is_forward: To the last frame; otherwise back to the first.
    """

    frame: int
    is_forward: bool

    def frames(self, count: int) -> range:
        """Return the frames of the run in order, the anchor's first, in a sequence of ``count`` frames."""
        return range(self.frame, count) if self.is_forward else range(self.frame, -1, -1)


def anchors(known: np.ndarray) -> tuple[Anchor, ...]:
    """Return the anchors of a sequence.

    They are spread evenly from the first to the last frame, about 50 frames apart, in a sequence of less than 200
    frames a quarter of it. One that falls on a frame without truth moves to the nearest that has one. From each
    the tracker runs the longer way, forwards where both are equal.

    Args:
        known: ``(N,)`` bool, where the target is to be seen and its box known.

    Raises:
        ImageError: There are not two such frames.
    """
    places = np.flatnonzero(known)
    if len(places) < 2:
        raise ImageError(f"expected at least two frames with a true box, got {len(places)} of {len(known)}")
    last = len(known) - 1
    intervals = max(_LEAST_RUNS, round(last / SPACING))
    wanted = np.linspace(0, last, intervals + 1)
    nearest = {int(places[np.argmin(np.abs(places - frame))]) for frame in wanted}
    found = (Anchor(frame, is_forward=2 * frame <= last) for frame in sorted(nearest))
    return tuple(anchor for anchor in found if known[list(anchor.frames(len(known)))].sum() > 1)


@dataclass(frozen=True, eq=False)
class VotRun:
    """What came of one run from an anchor.

    Attributes:
        overlaps: ``(n,)`` of the frames after the anchor's in order of the run, those after a failure 0.
        tracked: Number of them before the failure; all, where there was none.
    """

    overlaps: np.ndarray
    tracked: int

    @property
    def has_failed(self) -> bool:
        """Whether the target was lost before the end."""
        return self.tracked < len(self.overlaps)


def vot_run(overlaps: np.ndarray) -> VotRun:
    """Judge one run.

    Args:
        overlaps: ``(frames,)`` of :func:`.tracking.overlap` in order of the run, the anchor's frame first; NaN
            where there is no truth.

    Raises:
        ImageError: Nothing is left beside the anchor's frame.
    """
    known = overlaps[1:][~np.isnan(overlaps[1:])]
    if not len(known):
        raise ImageError("expected a frame with truth beside the anchor's, got none")
    is_bad = known <= FAILED_AT
    in_a_row = 0
    for place, bad in enumerate(is_bad):
        in_a_row = in_a_row + 1 if bad else 0
        if in_a_row == PATIENCE:
            tracked = place + 1 - PATIENCE
            return VotRun(np.where(np.arange(len(known)) < tracked, known, 0.0), tracked)
    return VotRun(known, len(known))


@dataclass(frozen=True)
class VotScores:
    """A tracker on a set of sequences.

    Attributes:
        runs: Number of runs from anchors.
        accuracy: Mean overlap before failures, in [0, 1]; NaN where every run failed at once.
        robustness: Share of frames before failures, in [0, 1].
        eao: Expected average overlap over ``lengths``, in [0, 1].
        failures: Number of runs that failed.
        lengths: Shortest and longest run over which ``eao`` is the mean, in frames.
    """

    runs: int
    accuracy: float
    robustness: float
    eao: float
    failures: int
    lengths: tuple[int, int]


def vot_scores(sequences: Sequence[Sequence[VotRun]], lengths: tuple[int, int] | None = None) -> VotScores:
    """Return the scores over all sequences.

    A sequence's accuracy is weighted by the frames that were tracked in it, its robustness by its own length
    (VOT2020, section 2.1)::

        accuracy = sum of all overlaps before failures / sum of all frames before failures
        robustness = sum over s of N_s R_s / sum over s of N_s,   R_s = tracked frames / frames, of all runs in s

    N_s is taken to be the longest run in s, which in VOT's own sequences is the whole sequence.

    Args:
        sequences: The runs of each sequence.
        lengths: For the EAO; VOT2020 takes (115, 755). By default those of :func:`typical_lengths`.

    Raises:
        ImageError: There is no run, or the lengths are not in ascending order from 1.
    """
    runs = [run for sequence in sequences for run in sequence]
    if not runs or not all(sequences):
        raise ImageError("expected at least one run in each sequence, got none")
    tracked = sum(run.tracked for run in runs)
    accuracy = sum(float(run.overlaps[: run.tracked].sum()) for run in runs) / tracked if tracked else float("nan")
    weights = [max(len(run.overlaps) for run in sequence) for sequence in sequences]
    shares = [sum(r.tracked for r in own) / sum(len(r.overlaps) for r in own) for own in sequences]
    low, high = lengths or typical_lengths(runs)
    if not 1 <= low <= high:
        raise ImageError(f"lengths: expected two numbers of frames in ascending order from 1, got {(low, high)}")
    return VotScores(
        runs=len(runs),
        accuracy=accuracy,
        robustness=float(np.average(shares, weights=weights)),
        eao=float(eao_curve(runs, high)[low - 1 :].mean()),
        failures=sum(run.has_failed for run in runs),
        lengths=(low, high),
    )


def eao_curve(runs: Sequence[VotRun], longest: int) -> np.ndarray:
    """Return the expected average overlap of runs of 1, 2, ... ``longest`` frames: ``(longest,)``.

    For each length, runs that are long enough count with the mean over their first frames, and so do runs that
    failed before, as if they went on with 0 (VOT2015, equation 1). A run that ended well before says nothing of
    it. Where no run says anything the value is that of the next shorter length.

    The VOT toolkit divides the sum of a failed run that it extends to ``n`` frames by ``n - 1``, where the
    equation, and this function, divide by ``n``.
    """
    total, number = np.zeros(longest), np.zeros(longest)
    for run in runs:
        reach = longest if run.has_failed else min(longest, len(run.overlaps))
        padded = np.zeros(reach)
        shown = run.overlaps[:reach]
        padded[: len(shown)] = shown
        total[:reach] += np.cumsum(padded) / np.arange(1, reach + 1)
        number[:reach] += 1.0
    means = np.divide(total, number, out=np.zeros(longest), where=number > 0)
    reached = int(np.flatnonzero(number)[-1]) + 1
    means[reached:] = means[reached - 1]
    return means


def typical_lengths(runs: Sequence[VotRun]) -> tuple[int, int]:
    """Return between which lengths the middle half of the runs lies, in frames.

    VOT2015 takes an interval that holds half of the lengths as well, around the mode of their density; quartiles
    need no density, and are defined for a handful of runs too.
    """
    low, high = np.percentile([len(run.overlaps) for run in runs], (25, 75))
    return max(1, int(low)), max(1, int(np.ceil(high)))
