"""``fusion-ros evaluate``: methods on recordings, as numbers, plots and pictures."""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..classical import CLASSICAL
from ..engines.base import available_cores
from ..errors import FusionError, shortened
from ..evaluation.conditions import Condition
from ..evaluation.executors import Cluster, Executor, Processes, Serial, threads_a_worker
from ..evaluation.results import DATE, Evaluation, MethodFacts
from ..evaluation.run import Plan, run
from ..evaluation.tables import dropped_in_words, sensors_in_words
from ..evaluation.work import Method
from ..frame import Sensor
from ..metrics import Column, Needs, select_columns
from ..pipeline import FusionSettings, open_pipeline
from ..provenance import checkout_commit, package_versions, processor
from ..synthetic.degrade import FROZEN, parse_degradations
from ..synthetic.misalign import parse_misalignments
from ..timing import PairingSettings
from ..weights import find_model, verify
from .evaluation_inputs import add_source_arguments, chosen_recordings
from .evaluation_running import origin_of, print_problems, progress, with_shared_threads
from .options import add_settings, settings_from
from .report_folder import ReportFolder, write_contents
from .tracking_inputs import add_tracking_arguments, refuse_without_trackers

if TYPE_CHECKING:
    from ..evaluation.recording import Recording
    from ..evaluation.results import PictureKey, Thumbnails

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Measure fusion methods on your recordings: two folders of images, two videos, or bags, which go through the
same pairing and the same pipeline as on the robot, every frame, with the same result at every run. Fused
images that were made elsewhere are measured with --fused (or --fused-topic), aligners with --align, trackers
with --tracking. The folder given to --out gets report.html to read, results.json and frames.csv to go on with,
and table.md to paste. Metrics compare the fused luma with the unaltered sources, all in 8 bits, on the output
grid. The exit status is 1 where something could not be read, which is listed, and 2 where nothing could be
done. A run that was interrupted goes on when it is started again."""

EXAMPLES = """\
fusion-ros evaluate --thermal tno/ir --rgb tno/vis --fused mine=results/ --metrics default --out report
fusion-ros evaluate --thermal drive/thermal --rgb drive/rgb --method reconet,average,laplacian --out report
fusion-ros evaluate --bag drive1 drive2 --rgb-topic /rgb/image_raw --method reconet --workers 2 --out report
fusion-ros evaluate --thermal ir --rgb vis --method average --misalign shift:3,shift:5,shift:8 --out report
fusion-ros evaluate --thermal ir --rgb vis --method pca --degrade default --metrics paper=didfuse --out report
fusion-ros evaluate --thermal ir --rgb vis --align none,ecc_affine,structural --misalign shift:8 --out report
fusion-ros evaluate --thermal ir --rgb vis --align structural --misalign shift:3 --metrics Qabf,MI --out report
fusion-ros evaluate --align none,structural,matching_register --synthetic --out report
fusion-ros evaluate --tracking rgb thermal fused --synthetic --out report
fusion-ros evaluate --tracking rgb fused --sequences rgbt234=data/RGBT234 --vot --out report"""

_METHODS = "reconet,average,laplacian"
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "torch-tensorrt", "openvino", "rosbags")
_REPORT_PACKAGES = ("matplotlib", "jinja2")
_REPORTS = ("results.json", "times.json", "frames.csv", "table.md", "report.html")
_WORK = ".unfinished"
_DEFAULT = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_source_arguments(parser)
    methods = parser.add_argument_group("what to evaluate")
    methods.add_argument(
        "--method", "--methods", metavar="NAME,...", help=f"models and classical methods (default: {_METHODS})"
    )
    methods.add_argument(
        "--align",
        metavar="NAME,...",
        help="measure aligners instead, by how far they undo each --misalign, or parallax with --synthetic: none, "
        "phase_correlation, ecc_translation, ecc_affine, features, structural, structural:affine, ... and models "
        "that give a flow",
    )
    methods.add_argument(
        "--metrics",
        default=_DEFAULT,
        metavar="NAME,...",
        help="EN, SD:root_sum_sq_01, paper=rfn_nest, all, ...; see 'fusion-ros metrics' (default: default; with "
        "--align: none, else of what aligned pairs are fused to)",
    )
    stress = parser.add_argument_group("stress")
    stress.add_argument(
        "--misalign",
        nargs="?",
        const=_DEFAULT,
        metavar="KIND:LEVEL,...",
        help="also with a deformed thermal image",
    )
    stress.add_argument(
        "--degrade", nargs="?", const=_DEFAULT, metavar="KIND:LEVEL,...", help="also with one camera spoilt"
    )
    stress.add_argument("--seed", type=int, default=0, help="of whatever is random (default: 0)")
    how = parser.add_argument_group("how")
    how.add_argument("--out", required=True, metavar="FOLDER", help="where the report goes")
    how.add_argument("--overwrite", action="store_true", help="replace what is at --out, finished or not")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    how.add_argument(
        "--cluster", metavar="ADDRESS", help="hand the work to a Dask cluster that sees the same files"
    )
    how.add_argument("--thumbnail", type=int, default=360, metavar="PX", help="width of small pictures; 0: none")
    add_tracking_arguments(parser)
    add_settings(parser, FusionSettings)
    add_settings(parser, PairingSettings, prefix="pairing", title="pairing of a bag's frames")


def main(args: argparse.Namespace) -> int:
    """Evaluate, report, and say by the exit status whether everything could be read."""
    if not args.out.strip():
        raise FusionError("--out: expected a folder, got an empty name")
    args.out = Path(args.out)
    if args.tracking is not None:
        from .evaluate_tracking import evaluate_trackers

        _check_numbers(args)
        _check_packages(())
        return evaluate_trackers(args, _facts(), progress)
    refuse_without_trackers(args)
    if args.align is not None:
        from .evaluate_alignment import evaluate_aligners

        _check_numbers(args)
        columns = () if args.metrics == _DEFAULT else _stills(args.metrics, "pairs are aligned one by one")
        _check_packages(columns)
        return evaluate_aligners(args, _facts(), progress, columns)
    folder = ReportFolder(args.out, _REPORTS, _WORK)
    folder.refuse_finished(args.overwrite)
    _check_numbers(args)
    settings = settings_from(args, FusionSettings)
    recordings, labels = chosen_recordings(args, Sensor(settings.reference))
    columns = _columns(args.metrics, recordings)
    _check_packages(columns)
    methods, described = _methods(args, settings, labels)
    plan = Plan(
        recordings=tuple(recordings),
        methods=tuple(methods),
        conditions=_conditions(args, recordings),
        columns=columns,
        thumbnail_px=args.thumbnail,
        seed=args.seed,
    )
    evaluation, pictures = _run(plan, described, folder.work, args)
    absent = [method.name for method in plan.methods if not any(evaluation.select(method.name))]
    print_problems(evaluation.problems)
    if not evaluation.frames:
        folder.clear_work()
        raise FusionError(f"not one frame could be evaluated: {_why_nothing(evaluation)}")
    for name in absent:
        print(
            f"fusion-ros: not one frame of {name} could be measured: {_why_nothing(evaluation)}", file=sys.stderr
        )
    _write(evaluation, pictures, folder)
    print(f"wrote {args.out / 'report.html'}, results.json, frames.csv and table.md: {_tally(evaluation)}")
    return 1 if evaluation.problems or absent else 0


def _run(
    plan: Plan, described: Sequence[MethodFacts], work: Path, args: argparse.Namespace
) -> tuple[Evaluation, Mapping[PictureKey, Thumbnails]]:
    facts = _facts()
    with progress(plan.count) as on_moments:
        return run(
            plan,
            work,
            facts=facts,
            methods=described,
            origin=origin_of(facts),
            replace_other=args.overwrite,
            executor=_executor(args),
            on_moments=on_moments,
        )


def _why_nothing(evaluation: Evaluation) -> str:
    if evaluation.problems:
        return shortened(evaluation.problems, 1)
    counts = [
        f"{source.name}: {source.paired} pairs of {sensors_in_words(source.received)}, in no pair: "
        f"{dropped_in_words(source.dropped)}"
        for source in evaluation.sources
    ]
    return f"{'; '.join(counts)}; check stamps (fused images carry the reference's), pairing.* and topics"


def _check_numbers(args: argparse.Namespace) -> None:
    if args.workers < 1:
        raise FusionError(f"--workers: expected at least 1, got {args.workers}")
    if args.thumbnail and args.thumbnail < 32:
        raise FusionError(f"--thumbnail: expected 0 or at least 32 px, got {args.thumbnail}")
    if args.cluster and args.workers > 1:
        raise FusionError("expected --workers or --cluster, got both; a cluster has its own workers")


def _check_packages(columns: Sequence[Column]) -> None:
    """What the metrics and the report are made with is missed now, and not after hours of work."""
    wanted = [*_REPORT_PACKAGES, *(column.variant.requires for column in columns)]
    missing = [name for name in dict.fromkeys(filter(None, wanted)) if find_spec(name) is None]
    if missing:
        raise FusionError(
            f"the metrics or the report need what is not installed here; pip install {' '.join(missing)}"
        )


def _methods(
    args: argparse.Namespace, settings: FusionSettings, labels: Sequence[str]
) -> tuple[list[Method], list[MethodFacts]]:
    """Return the methods, each opened once, so that what is wrong with one is said before hours of work."""
    if "model" in vars(args):
        raise FusionError("--model is for one method; name the methods to evaluate with --method")
    named = args.method if args.method is not None else "" if labels else _METHODS
    names = [name for name in map(str.strip, named.split(",")) if name]
    if not names and not labels:
        raise FusionError(f"--method: expected names separated by commas, got {args.method!r}")
    for name, number in Counter([*labels, *names]).items():
        if number > 1:
            raise FusionError(f"{name!r} is named twice; give fused images another name with LABEL=PATH")
    if settings.network and len(names) != 1:
        raise FusionError("--network holds the settings of one method's network; evaluate that method alone")
    settings = with_shared_threads(settings, args.workers)
    methods = [Method(label, settings, is_given=True) for label in labels]
    facts = [MethodFacts(label, "fused images as they were given") for label in labels]
    for name in names:
        own = replace(settings, model=name)
        card = None if name in CLASSICAL else verify(find_model(name))  # "none", too, is no method to evaluate
        pipeline = open_pipeline(own)
        facts.append(
            MethodFacts(
                name, pipeline.engine.description, card.sha256 if card else "", card.parameters if card else None
            )
        )
        methods.append(Method(name, own, weights_sha256=card.sha256 if card else ""))
        pipeline.engine.close()
    return methods, facts


def _columns(choice: str, recordings: Sequence[Recording]) -> tuple[Column, ...]:
    """Return the columns chosen: by default with those of video where there is one, never where there is none."""
    if any(recording.is_sequence for recording in recordings):
        return select_columns(f"{choice},video" if choice == _DEFAULT else choice)
    return _stills(choice, "give a video, a bag, or --sequence")


def _stills(choice: str, otherwise: str) -> tuple[Column, ...]:
    """Return the columns chosen that need single images only; where there is none, the error ends with a text."""
    stills = tuple(column for column in select_columns(choice) if column.metric.needs is not Needs.VIDEO)
    if not stills:
        raise FusionError(f"--metrics: {choice} compares consecutive frames; {otherwise}")
    return stills


def _conditions(args: argparse.Namespace, recordings: Sequence[Recording]) -> tuple[Condition, ...]:
    misalignments = parse_misalignments(args.misalign) if args.misalign is not None else ()
    degradations = parse_degradations(args.degrade) if args.degrade is not None else ()
    if (misalignments or degradations) and (args.fused or args.fused_topic):
        raise FusionError(
            "--misalign and --degrade change what a method sees; images that are fused already cannot be made "
            "anew: use --method"
        )
    if not any(recording.is_sequence for recording in recordings):
        if args.degrade != _DEFAULT and any(degradation.kind == FROZEN for degradation in degradations):
            raise FusionError(
                f"--degrade: {FROZEN} repeats an earlier frame; only a video, a bag or --sequence has one"
            )
        degradations = tuple(degradation for degradation in degradations if degradation.kind != FROZEN)
    return (Condition(), *map(Condition, (*misalignments, *degradations)))


def _executor(args: argparse.Namespace) -> Executor:
    if args.cluster:
        return Cluster(args.cluster)
    if args.workers > 1:
        return Processes(args.workers, threads_a_worker(args.workers))
    return Serial()


def _facts() -> dict[str, str]:
    versions = package_versions(_PACKAGES)
    return {
        "command": shlex.join(["fusion-ros", *sys.argv[1:]]),
        "fusion_ros": f"{__version__}, commit {checkout_commit('fusion_ros', 'models')}",
        DATE: datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": f"{processor()}, {available_cores()} cores",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


def _write(evaluation: Evaluation, pictures: Mapping[PictureKey, Thumbnails], folder: ReportFolder) -> None:
    from ..evaluation.report import write_report
    from ..evaluation.tables import frames_csv, markdown

    texts = {
        "results.json": evaluation.to_json(),
        "times.json": evaluation.times_json(),
        "frames.csv": frames_csv(evaluation),
        "table.md": markdown(evaluation),
    }
    with folder.drafts(_REPORTS) as drafts:
        write_contents(drafts, texts)
        write_report(evaluation, pictures, drafts / "report.html")


def _tally(evaluation: Evaluation) -> str:
    frames = f"{len(evaluation.frames)} measured frames"
    problems = len(evaluation.problems)
    return f"{frames}, {problems} problems (listed above and in the report)" if problems else frames
