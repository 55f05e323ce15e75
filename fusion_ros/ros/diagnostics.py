"""What a fusion node tells about itself on ``/diagnostics``: each warning with cause, number and parameter."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..alignment.aligner import AlignmentSettings
from ..alignment.fine import FineSettings, State
from ..frame import Sensor
from ..fusion_result import Mode
from ..pipeline_opening import ALONE, FUSE
from ..timing import ClockOffset, OffsetStatistics, PairingCounts, PairingSettings
from .alignment_watch import AlignmentSummary
from .messages import time_message
from .repeat_watch import RepeatSummary
from .statistics import Statistics

__all__ = ["Snapshot", "diagnostic_array", "fusion_statuses"]

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
# Below these nothing is worth a warning: start-up, a single hiccup.
_SILENT_S = 2.0
_RECENT_S = 10.0
_MIN_FRAMES = 20
_OVERWRITTEN_SHARE = 0.1
_PAIRED_SHARE = 0.5
_CONFIDENT = 0.5
_DOUBTFUL_S = 10.0
_FAR_SHARE = 0.5
_FROZEN_S = 1.0
_REPEATED_SHARE = 0.25


@dataclass(frozen=True)
class Snapshot:
    """A fusion node's state at one moment.

    Attributes:
        topics: Input topic by sensor, as remapped.
        silent_s: Seconds since the last frame of each sensor (since activation if none came).
        alignment: How the moving image reaches the reference grid.
        fine: What became of the fine alignment; None where there is none.
        awaited: The cameras that the alignment waits for, and the topics of their calibration.
        repeats: What the cameras have repeated.
        repeated: What becomes of that, as the parameter of this name says.
        clock: The measured offset between the cameras' clocks, of the stamps as they come; None where unknown.
        mode: Mode of the latest result, or why there is none (``idle``, ``disabled``, ``inactive``).
    """

    node: str
    hardware_id: str
    statistics: Statistics
    pairing: PairingCounts
    offsets: OffsetStatistics
    pairing_settings: PairingSettings
    topics: Mapping[Sensor, str]
    mode: str
    alignment: AlignmentSettings
    active: bool
    fine: AlignmentSummary | None = None
    awaited: Mapping[Sensor, str] = field(default_factory=dict)
    repeats: RepeatSummary = RepeatSummary()
    repeated: str = FUSE
    clock: ClockOffset | None = None
    silent_s: Mapping[Sensor, float] = field(default_factory=dict)


def diagnostic_array(stamp_ns: int, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Return the message that carries ``statuses``."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = time_message(stamp_ns)
    return message


def fusion_statuses(snapshot: Snapshot) -> list[DiagnosticStatus]:
    """Return one status per concern: inputs, pairing, alignment, fusion."""
    return [_inputs(snapshot), _pairing(snapshot), _alignment(snapshot), _fusion(snapshot)]


def _status(snapshot: Snapshot, concern: str, problems: list[tuple[bytes, str]], values: dict) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=max((level for level, _ in problems), default=OK),
        name=f"{snapshot.node}: {concern}",
        message="; ".join(text for _, text in problems) or "ok",
        hardware_id=snapshot.hardware_id,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def _inputs(snapshot: Snapshot) -> DiagnosticStatus:
    statistics, problems, values = snapshot.statistics, [], {}
    for sensor in Sensor:
        name = sensor.value
        values[f"{name} topic"] = snapshot.topics[sensor]
        values[f"{name} received"] = statistics.counts().get(f"received_{name}", 0)
        values[f"{name} rate [Hz]"] = f"{statistics.rate(name):.2f}"
        values[f"{name} malformed"] = statistics.counts().get(f"malformed_{name}", 0)
        values[f"{name} not processed while disabled"] = statistics.counts().get(f"disabled_{name}", 0)
        values[f"{name} repeated frames"] = snapshot.repeats.frames[sensor]
        values[f"{name} longest repeat [s]"] = f"{snapshot.repeats.longest_s[sensor]:.2f}"
        silent_s = snapshot.silent_s.get(sensor, 0.0)
        if snapshot.active and silent_s > _SILENT_S:
            problems.append(
                (
                    WARN,
                    f"no {name} frame for {silent_s:.1f} s on {snapshot.topics[sensor]}: is it published, and "
                    "does its reliability match qos.input_reliability?",
                )
            )
        problems += _repeat_problems(snapshot.repeats, sensor, snapshot.repeated)
    for kind, problem in statistics.problems().items():
        values[f"problem: {kind}"] = f"{problem.number} times, latest: {problem.text}"
        if time.monotonic() - problem.latest_s < _RECENT_S:
            problems.append((WARN, f"{kind}: {problem.text} ({problem.number} times)"))
    return _status(snapshot, "inputs", problems, values)


def _repeat_problems(repeats: RepeatSummary, sensor: Sensor, repeated: str) -> Iterator[tuple[bytes, str]]:
    """Yield a warning where a camera stands still, and a remark where it repeats itself all the time."""
    name, other = sensor.value, sensor.other.value
    current, share = repeats.current, repeats.shares[sensor]
    done = (
        f"with repeated = {FUSE} it is taken as it is; set it to {ALONE} to let the {other} image stand for both"
    )
    if repeated == ALONE:
        done = f"with repeated = {ALONE} the {other} image stands for both"
    if current is not None and current.sensor is sensor and current.duration_s > _FROZEN_S:
        yield (
            WARN,
            f"{name} has shown the same image for {current.duration_s:.1f} s ({current.frames} frames) while "
            f"{other} goes on: is its shutter closed for calibration, or does it hang? {done}",
        )
    elif repeats.pairs >= _MIN_FRAMES and share > _REPEATED_SHARE:
        yield (
            OK,
            f"{name} repeats its image in {share:.0%} of the latest {repeats.pairs} pairs: does its driver fill "
            f"up a lower rate? {done}",
        )


def _pairing(snapshot: Snapshot) -> DiagnosticStatus:
    counts, offsets = snapshot.pairing, snapshot.offsets.summary()
    values: dict[str, object] = {"paired": counts.paired}
    for sensor in Sensor:
        values[f"{sensor.value} forwarded alone"] = counts.forwarded[sensor]
        values[f"{sensor.value} pending"] = counts.pending[sensor]
        for reason, number in counts.dropped[sensor].items():
            values[f"{sensor.value} dropped: {reason.value}"] = number
    values["offset bias [ms]"] = f"{offsets.bias_ms:.2f}"
    values["offset mean [ms]"] = f"{offsets.mean_ms:.2f}"
    values["offset p95 [ms]"] = f"{offsets.p95_ms:.2f}"
    problems = []
    slower = min(counts.received.values())
    tolerance_ms = snapshot.pairing_settings.tolerance_ms
    if slower >= _MIN_FRAMES and counts.paired < _PAIRED_SHARE * slower:
        problems.append(
            (
                WARN,
                f"only {counts.paired} of the slower camera's {slower} frames found a partner within "
                f"pairing.tolerance_ms = {tolerance_ms:g}; compare the stamps of the two topics and set "
                "pairing.thermal_offset_ms, or raise the tolerance",
            )
        )
    if snapshot.clock is not None:
        values["clock offset [ms]"] = (
            f"{snapshot.clock.offset_ms:.1f} (confidence {snapshot.clock.confidence:.2f})"
        )
        problems += _clock_problems(snapshot.clock, snapshot.pairing_settings)
    return _status(snapshot, "pairing", problems, values)


def _clock_problems(clock: ClockOffset, pairing: PairingSettings) -> Iterator[tuple[bytes, str]]:
    """Yield a warning where the stamps, corrected as they are now, are off by what matters."""
    rest_ms = clock.offset_ms + pairing.thermal_offset_ms - pairing.rgb_offset_ms
    if clock.confidence >= _CONFIDENT and abs(rest_ms) > pairing.tolerance_ms / 2:
        wanted_ms = pairing.rgb_offset_ms - clock.offset_ms
        side = "ahead of" if rest_ms > 0 else "behind"
        yield (
            WARN,
            f"by what the cameras see, thermal stamps are {abs(rest_ms):.0f} ms {side} those of RGB (confidence "
            f"{clock.confidence:.2f}), more than half of pairing.tolerance_ms = {pairing.tolerance_ms:g}; set "
            f"pairing.thermal_offset_ms to {wanted_ms:.1f}",
        )


def _alignment(snapshot: Snapshot) -> DiagnosticStatus:
    settings, fine = snapshot.alignment, snapshot.fine
    values: dict[str, object] = {"mode": settings.mode, "method": settings.fine.method}
    problems = []
    for sensor, topic in snapshot.awaited.items():
        values[f"awaited: {sensor.value} camera_info"] = topic
        problems.append(
            (
                WARN,
                f"the calibration of the {sensor.value} camera is awaited on {topic}, until then the reference "
                "image goes out alone; publish it, or put the camera into alignment.calibration_file",
            )
        )
    if fine is not None:
        values["state"] = fine.state.value
        values["confidence"] = f"{fine.confidence:.2f}"
        values["mean misalignment [px]"] = f"{fine.mean_px:.2f}"
        values["not believed"] = f"{fine.held_share:.0%} of the latest {fine.estimates} estimates"
        values["reason"] = fine.reason
        problems += _fine_problems(fine, settings.fine)
    status = _status(snapshot, "alignment", problems, values)
    if not problems and fine is not None:
        status.message = f"{fine.state.value}, {fine.mean_px:.1f} px"
    return status


def _fine_problems(fine: AlignmentSummary, settings: FineSettings) -> Iterator[tuple[bytes, str]]:
    if fine.doubtful_s > _DOUBTFUL_S:
        stands = "the last good field is held" if fine.state is State.HELD else "the coarse alignment stands"
        yield (
            WARN,
            f"no estimate of the misalignment has been believed for {fine.doubtful_s:.0f} s, {stands}; latest: "
            f"{fine.reason}. If the scene shows enough, lower alignment.fine.gate = {settings.gate:g} or raise "
            f"alignment.fine.search_px = {settings.search_px:g}",
        )
    if fine.mean_px > _FAR_SHARE * settings.search_px:
        yield (
            WARN,
            f"the coarse alignment is off by {fine.mean_px:.1f} px, more than half of alignment.fine.search_px = "
            f"{settings.search_px:g}; calibrate the rig ('fusion-ros calibrate') or raise it",
        )


def _fusion(snapshot: Snapshot) -> DiagnosticStatus:
    statistics = snapshot.statistics
    counts = statistics.counts()
    values: dict[str, object] = {
        "mode": snapshot.mode,
        "alignment": snapshot.alignment.mode,
        "fused rate [Hz]": f"{statistics.rate('fused'):.2f}",
    }
    for name in ("fused", "rgb_only", "thermal_only", "unaligned", "overwritten", "idle", "failed", "abandoned"):
        values[f"pairs {name}"] = counts.get(name, 0)
    for stage, (p50, p95) in statistics.percentiles().items():
        values[f"{stage} p50/p95 [ms]"] = f"{p50:.2f} / {p95:.2f}"
    problems = []
    done = sum(counts.get(mode.value, 0) for mode in Mode)
    lost = counts.get("overwritten", 0)
    if done + lost >= _MIN_FRAMES and lost > _OVERWRITTEN_SHARE * (done + lost):
        problems.append(
            (
                WARN,
                f"{lost} of {done + lost} pairs came faster than they were fused and were dropped; lower the "
                "camera rate or output.scale, or choose a faster engine.name",
            )
        )
    status = _status(snapshot, "fusion", problems, values)
    if not problems:
        status.message = snapshot.mode
    return status
