"""``fusion-ros evaluate --tracking``: trackers on sequences in which the target is known."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import FusionError, shortened
from ..evaluation.conditions import Condition
from ..evaluation.document import Sheet
from ..evaluation.results import AS_RECORDED
from ..evaluation.tracking import TrackerFacts, TrackingEvaluation, TrackingPlan, parse_trackers
from ..evaluation.tracking.features import open_features
from ..evaluation.tracking.page import page
from ..evaluation.tracking.pictures import strip_of, typical_sequences
from ..evaluation.tracking.plots import curve_chart, stress_chart
from ..evaluation.tracking.run import run
from ..evaluation.tracking.tables import markdown
from ..evaluation.tracking.trackers import TrackingFusionSettings, feature_settings
from ..pipeline import FusionSettings
from ..synthetic.degrade import parse_degradations
from ..synthetic.misalign import parse_misalignments
from ..tracking import TrackerSettings
from ..weights import find_model, verify
from .evaluation_running import Progress, origin_of, print_problems, refuse_options, with_shared_threads
from .options import settings_from
from .pictures import contact_sheet, tile_of
from .report_folder import ReportFolder
from .tracking_inputs import chosen_sequences, render_sequences

__all__ = ["evaluate_trackers"]

_REPORTS = ("tracking.html", "tracking.md", "tracking.csv", "tracks.csv", "tracking.json", "times.json")
_CHARTS = {"tracking.png": "Success and precision", "stress.png": "Under stress"}
_PICTURES = "tracking_pictures"
_WORK = ".unfinished_tracking"
_FORBIDDEN = (
    "method", "align", "fused_topic", "cluster", "names", "fused", "bag", "sequence", "salvage", "metrics",
    "model", "network", "features.model",
)  # fmt: skip


def evaluate_trackers(args: argparse.Namespace, facts: Mapping[str, str], progress: Progress) -> int:
    """Measure, report, and say by the exit status whether everything could be followed.

    Args:
        args: The verb's, with ``tracking``; ``out`` is a path.
        facts: For people: command line, versions, ...
        progress: Shows how far it is, given the number of frames.

    Raises:
        FusionError: The options do not go together, or not one target could be followed.
    """
    refuse_options(args, _FORBIDDEN, "--tracking measures trackers on sequences with truth, and has no use for")
    folder = ReportFolder(args.out, _REPORTS, _WORK)
    folder.refuse_finished(args.overwrite)
    plan = _plan(args)
    render_sequences(args)
    with progress(plan.count) as on_frames:
        evaluation = run(
            plan,
            folder.work,
            facts=facts,
            origin=origin_of(facts),
            workers=args.workers,
            on_frames=on_frames,
        )
    print_problems(evaluation.problems)
    if not any(tracks.runs for tracks in evaluation.tracks.values()):
        folder.clear_work()
        raise FusionError(f"not one target could be followed: {shortened(evaluation.problems, 1)}")
    _write(evaluation, _sheets(plan, evaluation, args.thumbnail) if args.thumbnail else [], folder)
    for tracker in plan.trackers:
        found = evaluation.summary(tracker.name, AS_RECORDED)
        if found.sequences:
            print(
                f"{tracker.name}: success {100.0 * found.success:.1f} %, precision {100.0 * found.precision:.1f} %"
            )
    print(
        f"wrote {args.out / 'tracking.html'}, tracking.md, tracking.csv, tracks.csv and tracking.json: "
        f"{len(plan.sequences)} sequences"
    )
    return 1 if evaluation.problems else 0


def _plan(args: argparse.Namespace) -> TrackingPlan:
    settings = settings_from(args, TrackingFusionSettings)
    if settings.reference != "rgb":
        raise FusionError("--tracking: expected --reference rgb, for true boxes are in pixels of the RGB image")
    settings = with_shared_threads(settings, args.workers)
    conditions = _conditions(args)
    method = settings.alignment.fine.method
    has_misalignment = any(condition.is_misalignment for condition in conditions)
    alignments = ("none", method) if method != "none" and has_misalignment else (method,)
    trackers = parse_trackers(args.tracking, alignments, settings.repeated)
    sequences = chosen_sequences(args)
    tracker = settings_from(args, TrackerSettings, prefix="tracker")
    return TrackingPlan(
        sequences=sequences,
        trackers=_described(trackers, settings),
        conditions=conditions,
        settings=settings,
        tracker=tracker,
        seed=args.seed,
        with_anchors=args.vot,
    )


def _conditions(args: argparse.Namespace) -> tuple[Condition, ...]:
    """Return the recording itself first; a misalignment of level 0 is that, too."""
    misalignments = parse_misalignments(_spelt_out(args.misalign)) if args.misalign is not None else ()
    degradations = parse_degradations(args.degrade) if args.degrade is not None else ()
    return (Condition(), *(Condition(m) for m in misalignments if m.level > 0.0), *map(Condition, degradations))


def _spelt_out(levels: str) -> str:
    """Return ``shift:3,5`` as ``shift:3,shift:5``: a number alone is one more level of the kind before."""
    entries: list[str] = []
    for entry in map(str.strip, levels.split(",")):
        is_number = entry.replace(".", "", 1).isdigit()
        has_kind = bool(entries) and ":" in entries[-1]
        entries.append(f"{entries[-1].partition(':')[0]}:{entry}" if is_number and has_kind else entry)
    return ",".join(entries)


def _described(trackers: Sequence[TrackerFacts], settings: FusionSettings) -> tuple[TrackerFacts, ...]:
    """Return the trackers with their facts; each model is opened once, so that what is wrong is said at once."""
    found = {}
    for key in dict.fromkeys(tracker.features for tracker in trackers):
        layers = sorted({tracker.layer for tracker in trackers if tracker.features == key})
        source = open_features(feature_settings(settings, key, layers))
        found[key] = source.description, verify(find_model(key.model)).sha256
        source.close()
    return tuple(
        replace(t, description=f"{t.layer}: {found[t.features][0]}", weights_sha256=found[t.features][1])
        for t in trackers
    )


def _sheets(plan: TrackingPlan, evaluation: TrackingEvaluation, width: int) -> list[Sheet]:
    chosen = typical_sequences(evaluation)
    by_name = {sequence.name: sequence for sequence in plan.sequences}
    sheets = []
    for name, why in chosen.items():
        strip = strip_of(evaluation, by_name[name], why)
        tile = tile_of(strip.images[0][0], width)
        image = contact_sheet(strip.images, captions=strip.captions, labels=("RGB", "thermal"), tile=tile)
        sheets.append(Sheet(strip.title, image))
    return sheets


def _write(evaluation: TrackingEvaluation, sheets: Sequence[Sheet], folder: ReportFolder) -> None:
    charts = {"tracking.png": curve_chart(evaluation)}
    if len(evaluation.conditions) > 1:
        charts["stress.png"] = stress_chart(evaluation)
    else:
        (folder.path / "stress.png").unlink(missing_ok=True)  # of an earlier report
    contents: dict[str, str | bytes] = {
        **charts,
        "tracking.csv": evaluation.to_csv(),
        "tracks.csv": evaluation.tracks_csv(),
        "tracking.json": evaluation.to_json(),
        "times.json": evaluation.times_json(),
        "tracking.md": markdown(evaluation),
        "tracking.html": page(evaluation, {_CHARTS[name]: data for name, data in charts.items()}, sheets),
    }
    folder.write(contents, _PICTURES, sheets)
