"""Trackers against one another as tables, the same in Markdown and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...metrics.tracking import PRECISION_PX
from ..document import Document, Table
from ..results import AS_RECORDED
from .results import Summary, TrackingEvaluation

__all__ = ["document", "markdown", "tables"]


def tables(evaluation: TrackingEvaluation) -> list[Table]:
    """Return what is worth reading: overall, VOT's protocol, stress, attributes, single sequences."""
    found = [_overall(evaluation)]
    if any(evaluation.vot(tracker.name, AS_RECORDED) for tracker in evaluation.trackers):
        found.append(_vot(evaluation))
    if len(evaluation.conditions) > 1:
        found.append(_under_stress(evaluation))
    if evaluation.attributes:
        found.append(_by_attribute(evaluation))
    found.append(_by_sequence(evaluation))
    return found


def document(evaluation: TrackingEvaluation) -> Document:
    """Return what is worth reading, in order, with how it was made."""
    return Document("Tracking", tables(evaluation), evaluation.trackers, evaluation.problems, evaluation.facts)


def markdown(evaluation: TrackingEvaluation) -> str:
    """Return the evaluation as a document in Markdown; the best is bold."""
    return document(evaluation).markdown()


def _overall(evaluation: TrackingEvaluation) -> Table:
    found = [evaluation.summary(tracker.name, AS_RECORDED) for tracker in evaluation.trackers]
    rows = [
        [tracker.name, _with_interval(s), *map(_share, (s.precision, s.normalised_precision, s.overlap)),
         str(s.sequences), _milliseconds(evaluation, tracker.name)]
        for tracker, s in zip(evaluation.trackers, found, strict=True)
    ]  # fmt: skip
    columns = [[getattr(s, name) for s in found]
               for name in ("success", "precision", "normalised_precision", "overlap")]  # fmt: skip
    best = {(row, column) for column, values in enumerate(columns, 1) for row in _largest(values)}
    return Table(
        "One pass",
        "Each tracker is told the target once and goes on to the end. Success: area under its curve, with "
        f"the 95 % interval over sequences; precision: share of frames within {PRECISION_PX:g} px; normalised: "
        "area under the curve of normalised precision to half a target's size; overlap: its mean. In per cent, "
        "means over sequences; median ms of an update, without the features.",
        ["tracker", "success", "precision", "normalised", "overlap", "sequences", "ms"],
        rows,
        frozenset(best),
    )


def _vot(evaluation: TrackingEvaluation) -> Table:
    found = [evaluation.vot(tracker.name, AS_RECORDED) for tracker in evaluation.trackers]
    rows: list[list[str]] = []
    columns: list[list[float]] = []
    for tracker, scores in zip(evaluation.trackers, found, strict=True):
        values = [math.nan] * 3 if scores is None else [scores.eao, scores.accuracy, scores.robustness]
        failures = "-" if scores is None else f"{scores.failures} of {scores.runs}"
        rows.append([tracker.name, *map(_share, values), failures])
        columns.append(values)
    by_score = enumerate(zip(*columns, strict=True), 1)
    best = {(row, column) for column, values in by_score for row in _largest(values)}
    lengths = next(scores.lengths for scores in found if scores)
    return Table(
        "From anchors",
        "VOT's short-term protocol: expected average overlap over runs of "
        f"{lengths[0]} to {lengths[1]} frames, accuracy (mean overlap before failures), robustness (share of "
        "frames before failures), in per cent; runs that failed.",
        ["tracker", "EAO", "accuracy", "robustness", "failures"],
        rows,
        frozenset(best),
    )


def _under_stress(evaluation: TrackingEvaluation) -> Table:
    names = [condition.name for condition in evaluation.conditions]
    return _of_success(
        evaluation,
        "Under stress",
        "Success where one camera's images were altered.",
        names,
        [[evaluation.summary(tracker.name, name) for name in names] for tracker in evaluation.trackers],
    )


def _by_attribute(evaluation: TrackingEvaluation) -> Table:
    names = evaluation.attributes
    numbers = [sum(name in sequence.attributes for sequence in evaluation.sequences) for name in names]
    return _of_success(
        evaluation,
        "By attribute",
        "Success over the sequences with an attribute, whose number is in brackets; one has several.",
        [f"{name} ({number})" for name, number in zip(names, numbers, strict=True)],
        [[evaluation.summary(t.name, AS_RECORDED, name) for name in names] for t in evaluation.trackers],
    )


def _of_success(
    evaluation: TrackingEvaluation, title: str, note: str, heads: Sequence[str], found: Sequence[Sequence[Summary]]
) -> Table:
    rows = [
        [tracker.name, *(_share(summary.success) for summary in own)]
        for tracker, own in zip(evaluation.trackers, found, strict=True)
    ]
    columns = zip(*([summary.success for summary in own] for own in found), strict=True)
    best = {(row, column) for column, values in enumerate(columns, 1) for row in _largest(values)}
    return Table(title, f"{note} In per cent.", ["tracker", *heads], rows, frozenset(best))


def _by_sequence(evaluation: TrackingEvaluation) -> Table:
    rows, best = [], set()
    for row, sequence in enumerate(evaluation.sequences):
        found = [evaluation.scores(tracker.name, AS_RECORDED, sequence.name) for tracker in evaluation.trackers]
        values = [math.nan if scores is None else scores.success for scores in found]
        rows.append([sequence.name, *map(_share, values), str(len(sequence.truth)), _words(sequence.attributes)])
        best |= {(row, column + 1) for column in _largest(values)}
    return Table(
        "By sequence",
        "Success in one pass, in per cent.",
        ["sequence", *(tracker.name for tracker in evaluation.trackers), "frames", "attributes"],
        rows,
        frozenset(best),
    )


def _largest(values: Sequence[float]) -> list[int]:
    """Return the places of the largest value as it is shown; none where there is nothing to compare."""
    shown = [round(100.0 * value, 1) for value in values if math.isfinite(value)]
    if len(shown) < 2:
        return []
    return [place for place, value in enumerate(values) if round(100.0 * value, 1) == max(shown)]


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100.0 * value:.1f}"


def _with_interval(found: Summary) -> str:
    if math.isnan(found.success_low):
        return _share(found.success)
    return f"{_share(found.success)} [{_share(found.success_low)}, {_share(found.success_high)}]"


def _milliseconds(evaluation: TrackingEvaluation, tracker: str) -> str:
    times = evaluation.times_ms(tracker)
    return f"{times['p50']:.1f}" if times else "-"


def _words(attributes: frozenset[str]) -> str:
    return ", ".join(sorted(attributes)) or "-"
