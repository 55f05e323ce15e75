"""What was found about trackers: what each said of every frame, and what to say of that together."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np

from ...metrics.tracking import (
    DISTANCE_THRESHOLDS,
    NORMALISED_THRESHOLDS,
    PRECISION_PX,
    TrackScores,
    centre_distance,
    normalised_distance,
    overlap,
    precision_curve,
    success_curve,
    track_scores,
)
from ...metrics.tracking_vot import VotScores, vot_run, vot_scores
from ..bootstrap import Stratum, mean_interval
from ..conditions import Condition
from ..figures import time_figures, without_nan
from .follow import SequenceTracks, TrackRun
from .trackers import TrackerFacts

__all__ = ["CURVES", "SequenceFacts", "Summary", "TrackingEvaluation"]

FORMAT = "fusion_ros tracking 1"
CURVES = ("success", "precision", "normalised precision")
"""Names of the curves of :meth:`TrackingEvaluation.curve`."""
_SCORES = ("success", "precision", "normalised_precision", "overlap")


@dataclass(frozen=True, eq=False)
class SequenceFacts:
    """A sequence that trackers went through.

    Attributes:
        name: Unique.
        attributes: What makes it hard.
        truth: ``(N, 4)`` boxes; NaN where the target is out of sight, or its box unknown.
    """

    name: str
    attributes: frozenset[str]
    truth: np.ndarray


@dataclass(frozen=True)
class Summary:
    """A tracker under one condition over sequences, each counting alike; NaN where there are none.

    Attributes:
        sequences: How many.
        success: Mean of the areas under their success curves.
        success_low: Lower end of its 95 % interval over sequences; NaN for a single one.
        success_high: Upper end.
        precision: Mean share of frames within 20 px.
        normalised_precision: Mean of the areas under their curves of normalised precision.
        overlap: Mean of their mean overlaps.
    """

    sequences: int
    success: float
    success_low: float
    success_high: float
    precision: float
    normalised_precision: float
    overlap: float


@dataclass(frozen=True, eq=False)
class TrackingEvaluation:
    """Everything that was found.

    Attributes:
        facts: For people: command line, versions, ...
        trackers: In the order asked for.
        conditions: In the order asked for; the first is the recording itself.
        sequences: In the order given.
        tracks: What came of each sequence, by sequence and condition; the runs of all trackers together.
    """

    facts: Mapping[str, str]
    trackers: Sequence[TrackerFacts]
    conditions: Sequence[Condition]
    sequences: Sequence[SequenceFacts]
    tracks: Mapping[tuple[str, str], SequenceTracks] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What could not be read or followed, one sentence each."""
        return [problem for tracks in self.tracks.values() for problem in tracks.problems]

    @cached_property
    def attributes(self) -> list[str]:
        """All attributes, by name."""
        return sorted({attribute for sequence in self.sequences for attribute in sequence.attributes})

    def run(self, tracker: str, condition: str, sequence: str) -> TrackRun | None:
        """Return what one tracker said of one sequence; None where it could not be followed."""
        return self._runs.get((tracker, condition, sequence))

    def runs(
        self, tracker: str, condition: str, attribute: str | None = None
    ) -> Iterator[tuple[SequenceFacts, TrackRun]]:
        """Yield what one tracker said of the sequences, of those with an attribute if one is given."""
        for sequence in self.sequences:
            found = self.run(tracker, condition, sequence.name)
            if found is not None and (attribute is None or attribute in sequence.attributes):
                yield sequence, found

    def scores(self, tracker: str, condition: str, sequence: str) -> TrackScores | None:
        """Return the scores of one run; None where there is none."""
        return self._scores.get((tracker, condition, sequence))

    def summary(self, tracker: str, condition: str, attribute: str | None = None) -> Summary:
        """Return what the runs of one tracker under one condition say together."""
        found = [self._scores[tracker, condition, s.name] for s, _ in self.runs(tracker, condition, attribute)]
        if not found:
            return Summary(0, *[math.nan] * 6)
        means = {name: float(np.mean([getattr(scores, name) for scores in found])) for name in _SCORES}
        interval = mean_interval([Stratum(np.array([scores.success for scores in found]))])
        # Student's distribution knows of no bounds; a share does.
        low, high = np.clip([interval.low, interval.high], 0.0, 1.0).tolist()
        return Summary(sequences=len(found), success_low=low, success_high=high, **means)

    def curve(self, tracker: str, condition: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return thresholds and mean over sequences of one of :data:`CURVES`; NaN where there are no sequences."""
        thresholds, of = {
            "success": (np.arange(101) / 100.0, lambda b, t, x: success_curve(overlap(b, t), x)),
            "precision": (DISTANCE_THRESHOLDS, lambda b, t, x: precision_curve(centre_distance(b, t), x)),
            "normalised precision": (
                NORMALISED_THRESHOLDS,
                lambda b, t, x: precision_curve(normalised_distance(b, t), x),
            ),
        }[name]
        curves = [of(run.boxes, s.truth, thresholds) for s, run in self.runs(tracker, condition)]
        return thresholds, np.mean(curves, axis=0) if curves else np.full(len(thresholds), np.nan)

    def vot(self, tracker: str, condition: str) -> VotScores | None:
        """Return the scores of VOT's protocol; None where it was not run."""
        found = [
            [vot_run(overlaps) for overlaps in run.anchored]
            for _, run in self.runs(tracker, condition)
            if run.anchored
        ]
        return vot_scores(found) if found else None

    def times_ms(self, tracker: str) -> dict[str, float]:
        """Return mean, ``p50`` and ``p95`` of the milliseconds of an update; empty where there are none."""
        return time_figures([ms for (name, *_), run in self._runs.items() if name == tracker for ms in run.ms])

    def feature_times_ms(self) -> dict[str, float]:
        """Return the same of the features of a frame, over all models."""
        return time_figures([ms for tracks in self.tracks.values() for ms in tracks.feature_ms])

    @cached_property
    def _runs(self) -> dict[tuple[str, str, str], TrackRun]:
        return {
            (run.tracker, condition, sequence): run
            for (sequence, condition), tracks in self.tracks.items()
            for run in tracks.runs
        }

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], TrackScores]:
        truth = {sequence.name: sequence.truth for sequence in self.sequences}
        return {key: track_scores(run.boxes, truth[key[2]]) for key, run in self._runs.items()}

    def to_csv(self) -> str:
        """Return one line a sequence, tracker and condition; equal evaluations give equal bytes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["sequence", "tracker", "condition", "frames", *_SCORES, "attributes"])
        for condition in self.conditions:
            for tracker in self.trackers:
                for sequence, _ in self.runs(tracker.name, condition.name):
                    scores = self._scores[tracker.name, condition.name, sequence.name]
                    cells = [_cell(getattr(scores, name)) for name in _SCORES]
                    attributes = " ".join(sorted(sequence.attributes))
                    name = (sequence.name, tracker.name, condition.name)
                    writer.writerow([*name, scores.frames, *cells, attributes])
        return text.getvalue()

    def tracks_csv(self) -> str:
        """Return one line a frame, with the true box, and the one that each tracker gave."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        box = ("x", "y", "width", "height")
        writer.writerow(
            ["sequence", "tracker", "condition", "frame", "status", *box, "confidence",
             *(f"true_{name}" for name in box), "overlap"]
        )  # fmt: skip
        for condition in self.conditions:
            for tracker in self.trackers:
                for sequence, run in self.runs(tracker.name, condition.name):
                    name = (sequence.name, tracker.name, condition.name)
                    rows = zip(
                        run.status, run.boxes, run.confidence, sequence.truth, overlap(run.boxes, sequence.truth),
                        strict=True,
                    )  # fmt: skip
                    for index, (status, found, confidence, true, shared) in enumerate(rows):
                        cells = [*map(_cell, found), _cell(confidence), *map(_cell, true), _cell(shared)]
                        writer.writerow([*name, index, status, *cells])
        return text.getvalue()

    def to_json(self) -> str:
        """Return everything but the single frames and the times; equal evaluations give equal bytes."""
        names = [(tracker.name, condition.name) for tracker in self.trackers for condition in self.conditions]
        content = {
            "format": FORMAT,
            "facts": dict(self.facts),
            "precision_px": PRECISION_PX,
            "trackers": [asdict(tracker) for tracker in self.trackers],
            "conditions": [condition.name for condition in self.conditions],
            "sequences": [
                {"name": s.name, "frames": len(s.truth), "attributes": sorted(s.attributes)}
                for s in self.sequences
            ],
            "summaries": _nested({name: asdict(self.summary(*name)) for name in names}),
            "vot": _nested({name: asdict(found) for name in names if (found := self.vot(*name))}),
            "by_attribute": {
                attribute: _nested({name: asdict(self.summary(*name, attribute)) for name in names})
                for attribute in self.attributes
            },
            "problems": self.problems,
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def times_json(self) -> str:
        """Return the times, which differ at every run."""
        times = {tracker.name: self.times_ms(tracker.name) for tracker in self.trackers}
        content = {"format": FORMAT, "update_ms": times, "features_ms": self.feature_times_ms()}
        return json.dumps(content, indent=1) + "\n"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(round(float(value), 6))


def _nested(values: Mapping[tuple[str, str], Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Return values by tracker, then by condition, as JSON can hold them: None for NaN."""
    found: dict[str, dict[str, object]] = {}
    for (tracker, condition), content in values.items():
        found.setdefault(tracker, {})[condition] = without_nan(content)
    return found
