"""``fusion-ros evaluate --align``: aligners on recordings, against deformations that are known, or on parallax."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FusionError, shortened
from ..evaluation.conditions import Condition
from ..evaluation.document import Sheet
from ..evaluation.registration import AlignerFacts, AlignmentEvaluation, PairImages
from ..evaluation.registration.aligners import Aligner
from ..evaluation.registration.baselines import NoAlignment
from ..evaluation.registration.measure import deformed, recorded, rendered
from ..evaluation.registration.page import page
from ..evaluation.registration.pair_sources import PairSource, RecordedPairs
from ..evaluation.registration.pictures import flow_scale, pictures_of
from ..evaluation.registration.plots import distance_chart, error_chart
from ..evaluation.registration.run import AlignmentPlan, opened, run
from ..evaluation.registration.street import MOST_PAIRS, USUAL_PAIRS, StreetPairs
from ..evaluation.registration.tables import markdown
from ..evaluation.results import AS_RECORDED
from ..frame import Sensor
from ..metrics import Column
from ..pipeline import FusionSettings
from ..synthetic.misalign import parse_misalignments
from .evaluation_inputs import chosen_recordings
from .evaluation_running import Progress, origin_of, print_problems, refuse_options, with_shared_threads
from .options import settings_from
from .pictures import contact_sheet, tile_of
from .report_folder import ReportFolder
from .tracking_inputs import USUAL_NUMBER

__all__ = ["evaluate_aligners"]

_MISALIGNMENTS = "shift:3,shift:8,affine:8,elastic:4,perspective:8,mixed:4"
_REPORTS = ("alignment.csv", "alignment.json", "times.json", "alignment.md", "alignment.png", "alignment.html")
_PICTURES = "alignment_pictures"
_WORK = ".unfinished_alignment"
_FORBIDDEN = ("method", "fused_topic", "degrade", "cluster", "fused", "model")
_NOT_OF_THE_STREET = (
    "rgb", "thermal", "bag", "names", "sequence", "salvage", "misalign", "metrics", "alignment.mode",
    "alignment.homography", "alignment.calibration_file", "alignment.translation", "alignment.rotation",
    "alignment.rectified", "alignment.undistort", "output.scale",
)  # fmt: skip
_PARALLAX, _QUALITY = "parallax.csv", "quality.csv"
_PAIRS_SHOWN = 3


def evaluate_aligners(
    args: argparse.Namespace, facts: Mapping[str, str], progress: Progress, columns: tuple[Column, ...] = ()
) -> int:
    """Measure, report, and say by the exit status whether everything could be read.

    Args:
        args: The verb's, with ``align``; ``out`` is a path.
        facts: For people: command line, versions, ...
        progress: Shows how far it is, given the number of pairs.
        columns: Metrics of the fused image of each deformed pair.

    Raises:
        FusionError: The options do not go together, or not one pair could be measured.
    """
    refuse_options(args, _FORBIDDEN, "--align measures aligners, which have no use for")
    folder = ReportFolder(args.out, _REPORTS, _WORK)
    folder.refuse_finished(args.overwrite)
    plan = _plan(args, columns)
    with progress(plan.count) as on_pairs:
        evaluation = run(
            plan,
            folder.work,
            facts=facts,
            origin=origin_of(facts),
            workers=args.workers,
            on_pairs=on_pairs,
        )
    print_problems(evaluation.problems)
    if not evaluation.records:
        folder.clear_work()
        raise FusionError(f"not one pair could be measured: {shortened(evaluation.problems, 1)}")
    _write(evaluation, _sheets(plan, evaluation, args.thumbnail) if args.thumbnail else [], folder)
    pairs = len({(record.source, record.frame) for record in evaluation.records})
    print(f"wrote {args.out / 'alignment.html'}, alignment.md, alignment.csv and alignment.json: {pairs} pairs")
    return 1 if evaluation.problems else 0


def _plan(args: argparse.Namespace, columns: tuple[Column, ...]) -> AlignmentPlan:
    settings = settings_from(args, FusionSettings)
    if settings.reference != "rgb":
        raise FusionError(
            "--align: expected --reference rgb, for it is the thermal image that is deformed and moved"
        )
    settings = with_shared_threads(settings, args.workers)
    sources = _sources(args)
    names = [name for name in map(str.strip, args.align.split(",")) if name]
    if not names:
        raise FusionError(f"--align: expected names separated by commas, got {args.align!r}")
    for name, number in Counter(names).items():
        if number > 1:
            raise FusionError(f"--align: {name!r} is named twice")
    is_street = args.synthetic is not None
    wanted = _MISALIGNMENTS if args.misalign is None else args.misalign
    misalignments = () if is_street else parse_misalignments(wanted)
    # Each is opened now, so that what is wrong with one is said before hours of work.
    aligners = [opened(name, settings.engine) for name in names]
    return AlignmentPlan(
        sources=sources,
        aligners=tuple(AlignerFacts(a.name, a.description, a.weights_sha256) for a in aligners),
        conditions=tuple(map(Condition, misalignments)),
        settings=settings,
        seed=args.seed,
        columns=columns,
    )


def _sources(args: argparse.Namespace) -> tuple[PairSource, ...]:
    if args.synthetic is None:
        recordings, _ = chosen_recordings(args, Sensor.RGB)
        return tuple(map(RecordedPairs, recordings))
    refuse_options(
        args, _NOT_OF_THE_STREET, "--synthetic renders pairs of a rig that is calibrated; it has no use for"
    )
    number = USUAL_PAIRS if args.synthetic == USUAL_NUMBER else args.synthetic
    if not 1 <= number <= MOST_PAIRS:
        raise FusionError(f"--synthetic: expected 1 to {MOST_PAIRS} pairs, got {number}")
    return (StreetPairs(tuple(range(number))),)


@dataclass(frozen=True)
class _Shown:
    """A pair that is shown, and why."""

    source: str
    frame: str
    why: str


def _sheets(plan: AlignmentPlan, evaluation: AlignmentEvaluation, width: int) -> list[Sheet]:
    """Return the pictures of a few pairs, each as recorded and under one of the conditions."""
    aligners = [opened(aligner.name, plan.settings.engine) for aligner in plan.aligners]
    found = []
    for number, (shown, images) in enumerate(_found(plan, _chosen(evaluation))):
        title = f"{shown.source} / {shown.frame}, {shown.why}"
        if images.parallax is not None:
            found.append(_parallax_sheet(title, images, aligners, width))
            continue
        case = recorded(images)
        undeformed = [aligner(case.moving, case.fixed, case.valid).flow for aligner in aligners]
        largest = [float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 90)) for flow in undeformed]
        scale = max(flow_scale(case.wanted), float(np.median(largest)))
        rows, labels = pictures_of(case, images.rgb, aligners, undeformed, scale)
        found.append(_sheet(f"{title}: {AS_RECORDED}", rows, labels, width))
        if plan.conditions:
            found.append(_deformed_sheet(plan, number, title, images, aligners, undeformed, width))
    return found


def _parallax_sheet(title: str, images: PairImages, aligners: Sequence[Aligner], width: int) -> Sheet:
    case = rendered(images)
    shown = [aligner for aligner in aligners if aligner.name != NoAlignment.name]  # as before
    truth = [case.wanted] * len(shown)
    rows, labels = pictures_of(case, images.rgb, shown, truth, flow_scale(case.wanted))
    return _sheet(f"{title}: {case.condition}", rows, labels, width)


def _deformed_sheet(
    plan: AlignmentPlan,
    number: int,
    title: str,
    images: PairImages,
    aligners: Sequence[Aligner],
    undeformed: Sequence[np.ndarray],
    width: int,
) -> Sheet:
    condition = plan.conditions[-1 - number % len(plan.conditions)]
    case = deformed(images, condition, plan.seed)
    rows, labels = pictures_of(case, images.rgb, aligners, undeformed, flow_scale(case.wanted))
    return _sheet(f"{title}: {condition.name}", rows, labels, width)


def _sheet(title: str, rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str], width: int) -> Sheet:
    captions = ("thermal in RGB", "edges: thermal red, RGB cyan", "flow: wanted, then found")
    return Sheet(title, contact_sheet(rows, captions=captions, labels=labels, tile=tile_of(rows[0][0], width)))


def _chosen(evaluation: AlignmentEvaluation) -> list[_Shown]:
    """Return the pairs that were the easiest, typical and the hardest over all aligners and deformations."""
    has_stress = any(condition != AS_RECORDED for condition in evaluation.conditions)
    errors: dict[tuple[str, str], list[float]] = {}
    for record in evaluation.records:
        if (record.condition != AS_RECORDED) == has_stress and np.isfinite(record.known_px):
            errors.setdefault((record.source, record.frame), []).append(record.known_px)
    order = sorted(errors, key=lambda pair: (float(np.mean(errors[pair])), pair))
    if len(order) < _PAIRS_SHOWN:
        return [_Shown(*pair, "one of few") for pair in order]
    places = {"the easiest": 0, "a typical one": len(order) // 2, "the hardest": len(order) - 1}
    return [_Shown(*order[place], why) for why, place in places.items()]


def _found(plan: AlignmentPlan, wanted: Sequence[_Shown]) -> list[tuple[_Shown, PairImages]]:
    """Read the chosen pairs again, and return them in the order in which they were chosen."""
    found: dict[tuple[str, str], PairImages] = {}
    names = {(shown.source, shown.frame) for shown in wanted}
    for source in plan.sources:
        for images in source.pairs(plan.settings):
            if not isinstance(images, str) and (images.source, images.frame) in names:
                found[images.source, images.frame] = images
            if len(found) == len(names):
                break
    return [(s, found[s.source, s.frame]) for s in wanted if (s.source, s.frame) in found]


def _write(evaluation: AlignmentEvaluation, sheets: Sequence[Sheet], folder: ReportFolder) -> None:
    chart = distance_chart(evaluation) if evaluation.parallax else error_chart(evaluation)
    contents: dict[str, str | bytes] = {
        "alignment.csv": evaluation.to_csv(),
        "alignment.json": evaluation.to_json(),
        "times.json": evaluation.times_json(),
        "alignment.md": markdown(evaluation),
        "alignment.png": chart,
        "alignment.html": page(evaluation, chart, sheets),
    }
    if evaluation.parallax:
        contents[_PARALLAX] = evaluation.parallax_csv()
    if evaluation.metrics:
        contents[_QUALITY] = evaluation.quality_csv()
    folder.write(contents, _PICTURES, sheets)
