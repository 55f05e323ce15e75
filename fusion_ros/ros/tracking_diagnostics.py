"""What a tracker node tells about itself on ``/diagnostics``: each warning with cause, number and parameter."""

from __future__ import annotations

import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from ..features import FeatureDescription, LayerDescription
from .statistics import Statistics
from .tracks import Following, TracksReport

__all__ = ["TrackingSnapshot", "silence", "tracking_statuses"]

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
_RECENT_S = 10.0
_MIN_FRAMES = 20
_OVERWRITTEN_SHARE = 0.1


@dataclass(frozen=True)
class TrackingSnapshot:
    """A tracker node's state at one moment.

    Attributes:
        topic: Of the features; empty before their description came.
        description_topic: Where that is expected.
        silent_s: Seconds since the last features, or since activation if none came.
        timeout_s: Silence beyond which there is something wrong.
        report: The latest; None before the first.
        counts: Of targets, by what happened to them.
    """

    node: str
    statistics: Statistics
    modality: str
    active: bool
    topic: str
    description_topic: str
    description: FeatureDescription | None
    layer: LayerDescription | None
    silent_s: float
    timeout_s: float
    report: TracksReport | None
    counts: dict[str, int]


def tracking_statuses(snapshot: TrackingSnapshot) -> list[DiagnosticStatus]:
    """Return one status per concern: features, tracking."""
    return [_features(snapshot), _tracking(snapshot)]


def silence(topic: str, description_topic: str, silent_s: float) -> str:
    """Say what is missing, and where to look for it."""
    if not topic:
        return (
            f"no description of features on {description_topic}: is feature_node, or fusion_node with "
            "features.model, active there?"
        )
    return (
        f"no features for {silent_s:.1f} s on {topic}: do both cameras publish, and does the publisher's "
        "reliability match qos.input_reliability?"
    )


def _status(snapshot: TrackingSnapshot, concern: str, problems: list[str], values: dict) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=WARN if problems else OK,
        name=f"{snapshot.node}: {concern}",
        message="; ".join(problems) or "ok",
        hardware_id=snapshot.modality,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def _features(snapshot: TrackingSnapshot) -> DiagnosticStatus:
    statistics, problems = snapshot.statistics, []
    counts = statistics.counts()
    values: dict[str, object] = {
        "modality": snapshot.modality,
        "topic": snapshot.topic or "not known yet",
        "description": snapshot.description_topic,
        "received": counts.get("received", 0),
        "rate [Hz]": f"{statistics.rate('features'):.2f}",
        "overwritten": counts.get("overwritten", 0),
        "unreadable": counts.get("unreadable", 0),
    }
    if snapshot.description is not None and snapshot.layer is not None:
        values["model"] = snapshot.description.model
        values["layer"] = f"{snapshot.layer.name}: {snapshot.layer.encoding}, stride {snapshot.layer.stride}"
    if snapshot.active and snapshot.silent_s > snapshot.timeout_s:
        problems.append(silence(snapshot.topic, snapshot.description_topic, snapshot.silent_s))
    for kind, problem in statistics.problems().items():
        values[f"problem: {kind}"] = f"{problem.number} times, latest: {problem.text}"
        if time.monotonic() - problem.latest_s < _RECENT_S:
            problems.append(f"{kind}: {problem.text} ({problem.number} times)")
    return _status(snapshot, "features", problems, values)


def _tracking(snapshot: TrackingSnapshot) -> DiagnosticStatus:
    statistics, report, problems = snapshot.statistics, snapshot.report, []
    counts = statistics.counts()
    values: dict[str, object] = {
        "state": report.following.value if report else "inactive",
        "reason": report.reason if report else "",
        "tracked rate [Hz]": f"{statistics.rate('tracked'):.2f}",
        "tracked": counts.get("tracked", 0),
        "abandoned": counts.get("abandoned", 0),
        **snapshot.counts,
    }
    for track in report.tracks if report else ():
        values[f"target {track.identity}"] = f"{track.status.value}, confidence {track.confidence:.2f}"
    for stage, (p50, p95) in statistics.percentiles().items():
        values[f"{stage} p50/p95 [ms]"] = f"{p50:.2f} / {p95:.2f}"
    done, missed = counts.get("tracked", 0), counts.get("overwritten", 0)
    if done + missed >= _MIN_FRAMES and missed > _OVERWRITTEN_SHARE * (done + missed):
        problems.append(
            f"{missed} of {done + missed} features came faster than they were followed and were dropped; lower "
            "the camera rate, or max_targets, tracker.scales or tracker.windows"
        )
    if report is not None and report.following in (Following.LOST, Following.NO_FEATURES) and report.tracks:
        problems.append(f"no target is in sight: {report.reason}")
    status = _status(snapshot, "tracking", problems, values)
    if not problems:
        status.message = str(values["state"])
    return status
