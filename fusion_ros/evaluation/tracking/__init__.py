"""How good trackers are, by what they look at, measured against targets that are known."""

from __future__ import annotations

from .follow import SequenceTracks, TrackRun, true_boxes
from .results import SequenceFacts, Summary, TrackingEvaluation
from .run import TrackingPlan
from .trackers import TrackerFacts, parse_trackers

__all__ = [
    "SequenceFacts",
    "SequenceTracks",
    "Summary",
    "TrackRun",
    "TrackerFacts",
    "TrackingEvaluation",
    "TrackingPlan",
    "parse_trackers",
    "true_boxes",
]
