"""All trackers on all sequences, by this process or several; what is finished stays finished."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import EngineError, FusionError, SettingsError, WeightsError
from ...media import VideoClip
from ...pipeline import FusionSettings
from ...tracking import Tracker, TrackerSettings
from ...tracking_sets import FileSequence, TrackingSequence
from ..conditions import Condition
from ..executors import in_processes
from ..parts import part_digest, results_of, settings_identity
from ..recording import files_state
from .features import FeatureSource, open_features
from .follow import SequenceTracks, TrackRun, follow, true_boxes
from .results import SequenceFacts, TrackingEvaluation
from .trackers import FeatureKey, TrackerFacts, feature_settings

__all__ = ["TrackingPart", "TrackingPlan", "run"]

_FATAL = (WeightsError, EngineError, SettingsError)

OpenSource = Callable[[FusionSettings], FeatureSource]


@dataclass(frozen=True, eq=False)
class TrackingPlan:
    """What to do.

    Attributes:
        sequences: With unique names; can be pickled where there are several workers.
        trackers: With unique names.
        conditions: What is done to the frames, the first of them nothing.
        settings: How a pair comes onto one grid, and what runs networks.
        tracker: Settings of every tracker.
        seed: Of whatever is random.
        with_anchors: Also by VOT's protocol.
    """

    sequences: tuple[TrackingSequence, ...]
    trackers: tuple[TrackerFacts, ...]
    conditions: tuple[Condition, ...] = (Condition(),)
    settings: FusionSettings = field(default_factory=FusionSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    seed: int = 0
    with_anchors: bool = False

    @property
    def count(self) -> int:
        """How many frames there are to go through."""
        return sum(part.count for part in self.parts())

    def parts(self) -> list[TrackingPart]:
        """Split by sequence, by condition, and by what computes the features."""
        keys = list(dict.fromkeys(tracker.features for tracker in self.trackers))
        return [
            TrackingPart(self, sequence, condition, key)
            for key in keys
            for sequence in self.sequences
            for condition in self.conditions
        ]


@dataclass(frozen=True, eq=False)
class TrackingPart:
    """Trackers that share their features, on one sequence under one condition."""

    plan: TrackingPlan
    sequence: TrackingSequence
    condition: Condition
    key: FeatureKey

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.sequence.boxes)

    @property
    def trackers(self) -> tuple[TrackerFacts, ...]:
        """Those that follow these features."""
        return tuple(tracker for tracker in self.plan.trackers if tracker.features == self.key)

    @property
    def settings(self) -> FusionSettings:
        """Of the pipeline that gives the features."""
        return feature_settings(self.plan.settings, self.key, sorted({t.layer for t in self.trackers}))

    def alone(self) -> TrackingPart:
        """Return it without the other sequences, to be sent to another process."""
        return replace(self, plan=replace(self.plan, sequences=()))

    def digest(self, origin: str) -> str:
        """Return a name for its result, which is another one where anything that the result depends on is."""
        content = [
            origin,
            _identity(self.sequence),
            self.condition.name,
            [asdict(tracker) for tracker in self.trackers],
            settings_identity(self.settings),
            repr(self.plan.tracker),
            self.plan.seed,
            self.plan.with_anchors,
        ]
        return part_digest(content)


def run(
    plan: TrackingPlan,
    folder: Path,
    *,
    facts: Mapping[str, str],
    origin: str = "",
    workers: int = 1,
    on_frames: Callable[[int], None] = lambda number: None,
    open_source: OpenSource = open_features,
) -> TrackingEvaluation:
    """Let all trackers follow all targets; parts that are finished in ``folder`` already are not done again.

    Args:
        plan: What to do.
        folder: Where finished parts are kept until the caller has reported and removes it.
        facts: For people: command line, versions, ...
        origin: What results depend on beside the plan, such as commit and versions.
        workers: Processes.
        on_frames: Told how many frames were done since it was last called.
        open_source: Opens what computes features; a function that other processes can import.

    Raises:
        FusionError: A model cannot be run at all, a worker died, or the folder cannot be written.
    """
    parts = plan.parts()
    found = results_of(
        parts,
        folder,
        origin,
        done=lambda todo: _done(todo, workers, open_source, on_frames),
        written=_written,
        read=_read,
        on_steps=on_frames,
    )
    merged: dict[tuple[str, str], SequenceTracks] = {}
    for part, tracks in zip(parts, found, strict=True):
        where = part.sequence.name, part.condition.name
        merged[where] = _together(merged.get(where, SequenceTracks()), tracks)
    return TrackingEvaluation(
        facts=dict(facts),
        trackers=plan.trackers,
        conditions=plan.conditions,
        sequences=tuple(SequenceFacts(s.name, s.attributes, true_boxes(s)) for s in plan.sequences),
        tracks=merged,
    )


def _do(part: TrackingPart, open_source: OpenSource, on_frame: Callable[[], None]) -> SequenceTracks:
    """Do one part; what cannot be read or followed is a problem and costs that part."""
    try:
        return follow(
            part.sequence,
            part.condition,
            part.trackers,
            _opened(open_source, part.settings),
            lambda: Tracker(part.plan.tracker),
            seed=part.plan.seed,
            with_anchors=part.plan.with_anchors,
            on_frame=on_frame,
        )
    except _FATAL:
        raise
    except FusionError as error:
        where = "" if part.condition.stress is None else f", {part.condition.name}"
        return SequenceTracks(problems=(f"{part.sequence.name}, {part.key.model}{where}: {error}",))


@lru_cache(maxsize=1)
def _opened(open_source: OpenSource, settings: FusionSettings) -> FeatureSource:
    """Return what computes features; parts are in such an order that the next one mostly wants the same."""
    return open_source(settings)


def _done(
    parts: Mapping[int, TrackingPart], workers: int, open_source: OpenSource, on_frames: Callable[[int], None]
) -> Iterator[tuple[int, SequenceTracks]]:
    """Yield each part's place with its result as soon as it is done."""
    if workers == 1:
        for place, part in parts.items():
            yield place, _do(part, open_source, lambda: on_frames(1))
        return
    calls = {place: (part.alone(), open_source) for place, part in parts.items()}
    for place, tracks in in_processes(workers, _do_apart, calls):
        yield place, tracks
        on_frames(parts[place].count)


def _do_apart(part: TrackingPart, open_source: OpenSource) -> SequenceTracks:
    return _do(part, open_source, lambda: None)


def _together(first: SequenceTracks, second: SequenceTracks) -> SequenceTracks:
    return SequenceTracks(
        (*first.runs, *second.runs),
        (*first.feature_ms, *second.feature_ms),
        (*first.problems, *second.problems),
    )


def _identity(sequence: TrackingSequence) -> str:
    """Return a text that is another one where the sequence is."""
    truth = hashlib.sha256(true_boxes(sequence).tobytes()).hexdigest()
    files = ""
    if isinstance(sequence, FileSequence):
        clips = (sequence.rgb, sequence.thermal)
        files = files_state(f for c in clips for f in ((c.file,) if isinstance(c, VideoClip) else c.files))
    return f"{type(sequence).__qualname__} {sequence.name} {sequence.rate_hz} {truth} {files}"


def _written(tracks: SequenceTracks) -> str:
    runs = [
        {
            "tracker": run.tracker,
            "boxes": _listed(run.boxes),
            "status": run.status,
            "confidence": run.confidence.tolist(),
            "ms": run.ms,
            "anchored": [_listed(overlaps) for overlaps in run.anchored],
        }
        for run in tracks.runs
    ]
    content = {"runs": runs, "feature_ms": tracks.feature_ms, "problems": tracks.problems}
    return json.dumps(content, allow_nan=False)


def _read(text: str) -> SequenceTracks:
    content = json.loads(text)
    runs = tuple(
        TrackRun(
            one["tracker"],
            np.array(one["boxes"], np.float64).reshape(-1, 4),
            tuple(one["status"]),
            np.array(one["confidence"]),
            tuple(one["ms"]),
            tuple(np.array(overlaps, np.float64) for overlaps in one["anchored"]),
        )
        for one in content["runs"]
    )
    return SequenceTracks(runs, tuple(content["feature_ms"]), tuple(content["problems"]))


def _listed(values: np.ndarray) -> list:
    """Return numbers as JSON can hold them: None for NaN, which NumPy takes back as such."""
    return [None if math.isnan(value) else value for value in values.ravel().tolist()]
