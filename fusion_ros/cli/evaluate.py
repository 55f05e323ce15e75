"""``fusion-ros evaluate``: methods on recordings, as numbers, plots and pictures."""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from .. import __version__
from ..classical import CLASSICAL
from ..engines.base import available_cores
from ..errors import FusionError, ImageError, shortened
from ..evaluation.conditions import Condition
from ..evaluation.executors import Cluster, Executor, Processes, Serial
from ..evaluation.results import DATE, Evaluation, MethodFacts
from ..evaluation.run import Plan, run
from ..evaluation.work import Method
from ..metrics import Column, select_columns
from ..pipeline import FusionSettings, open_pipeline
from ..provenance import checkout_commit, package_versions, processor
from ..synthetic.degrade import parse_degradations
from ..synthetic.misalign import parse_misalignments
from ..timing import PairingSettings
from ..weights import find_model, verify
from .bag_recordings import BagRecording
from .options import add_settings, settings_from
from .recordings import ImageRecording, VideoRecording, open_recording
from .sinks import refuse_existing

if TYPE_CHECKING:
    from ..evaluation.recording import Recording
    from ..evaluation.results import Thumbnails
    from ..evaluation.store import PictureKey

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Measure fusion methods on your recordings: two folders of images, two videos, or bags, which go through the
same pairing and the same pipeline as on the robot, every frame, with the same result at every run. Fused
images that were made elsewhere are measured with --fused (or --fused-topic). The folder given to --out gets
report.html to read, results.json and frames.csv to go on with, and table.md to paste. Metrics compare the fused
luma with the unaltered sources, all in 8 bits, on the output grid. The exit status is 1 where something could not
be read, which is listed, and 2 where nothing could be done. A run that was interrupted goes on when it is started
again."""

EXAMPLES = """\
fusion-ros evaluate --thermal tno/ir --rgb tno/vis --fused mine=results/ --metrics default --out report
fusion-ros evaluate --thermal drive/thermal --rgb drive/rgb --method reconet,average,laplacian --out report
fusion-ros evaluate --bag drive1 drive2 --rgb-topic /rgb/image_raw --method reconet --workers 2 --out report
fusion-ros evaluate --thermal ir --rgb vis --method average --misalign shift:3,shift:5,shift:8 --out report
fusion-ros evaluate --thermal ir --rgb vis --method pca --degrade default --metrics paper=didfuse --out report"""

_METHODS = "reconet,average,laplacian"
_PACKAGES = ("numpy", "opencv-python-headless", "torch", "torch-tensorrt", "openvino", "rosbags")
_REPORT_PACKAGES = ("matplotlib", "jinja2")
_WORK = ".unfinished"
_DEFAULT = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    sources = parser.add_argument_group("what to evaluate on")
    sources.add_argument("--rgb", "--vis", metavar="PATH", help="image, folder or video of the RGB camera")
    sources.add_argument("--thermal", "--ir", metavar="PATH", help="the same of the thermal camera")
    sources.add_argument(
        "--sequence", action="store_true", help="the images of a folder follow one another in time, as in a video"
    )
    sources.add_argument("--names", type=Path, metavar="FILE", help="only these images: one name a line")
    sources.add_argument("--bag", nargs="+", default=[], metavar="BAG", help="bags, each a recording of its own")
    sources.add_argument("--rgb-topic", default="/rgb/image_raw", metavar="NAME", help="default: /rgb/image_raw")
    sources.add_argument(
        "--thermal-topic", default="/thermal/image_raw", metavar="NAME", help="default: /thermal/image_raw"
    )
    sources.add_argument("--salvage", action="store_true", help="read a damaged bag as far as it goes")
    methods = parser.add_argument_group("what to evaluate")
    methods.add_argument(
        "--method", "--methods", metavar="NAME,...", help=f"models and classical methods (default: {_METHODS})"
    )
    methods.add_argument(
        "--fused", nargs="+", default=[], metavar="[LABEL=]PATH", help="images or videos that are fused already"
    )
    methods.add_argument("--fused-topic", metavar="NAME", help="topic of fused images in the bag; RGB stamps")
    methods.add_argument(
        "--metrics",
        default=_DEFAULT,
        metavar="NAME,...",
        help="EN, SD:root_sum_sq_01, paper=rfn_nest, all, ...; see 'fusion-ros metrics' (default: default)",
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
    how.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the report goes")
    how.add_argument("--overwrite", action="store_true", help="replace what is at --out, finished or not")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    how.add_argument(
        "--cluster", metavar="ADDRESS", help="hand the work to a Dask cluster that sees the same files"
    )
    how.add_argument("--thumbnail", type=int, default=360, metavar="PX", help="width of small pictures; 0: none")
    add_settings(parser, FusionSettings)
    add_settings(parser, PairingSettings, prefix="pairing", title="pairing of a bag's frames")


def main(args: argparse.Namespace) -> int:
    """Evaluate, report, and say by the exit status whether everything could be read."""
    refuse_existing(args.out, args.out.is_dir() and _is_finished(args.out), args.overwrite)
    _check_numbers(args)
    _check_packages()
    fused = dict(_labelled(text) for text in args.fused)
    if args.fused_topic and not args.bag:
        raise FusionError("--fused-topic is a topic of a --bag, and none is given")
    recordings = _recordings(args, fused)
    settings = settings_from(args, FusionSettings)
    labels = [*fused, *([_topic_label(args.fused_topic)] if args.fused_topic else [])]
    methods, facts = _methods(args, settings, labels)
    plan = Plan(
        recordings=tuple(recordings),
        methods=tuple(methods),
        conditions=_conditions(args),
        columns=_columns(args.metrics, recordings),
        thumbnail_px=args.thumbnail,
        seed=args.seed,
    )
    if args.overwrite:
        shutil.rmtree(args.out, ignore_errors=True)
    work = args.out / _WORK
    with _progress(plan.count) as on_moments:
        evaluation, pictures = run(
            plan, work, facts=_facts(), methods=facts, executor=_executor(args), on_moments=on_moments
        )
    problems = evaluation.problems
    for problem in problems:
        print(f"fusion-ros: {problem}", file=sys.stderr)
    if not evaluation.frames:
        shutil.rmtree(work, ignore_errors=True)
        raise FusionError(f"not one frame could be evaluated: {shortened(problems, 1)}")
    _write(evaluation, pictures, args.out)
    shutil.rmtree(work, ignore_errors=True)
    print(f"wrote {args.out / 'report.html'}, results.json, frames.csv and table.md: {_tally(evaluation)}")
    return 1 if problems else 0


def _check_numbers(args: argparse.Namespace) -> None:
    if args.workers < 1:
        raise FusionError(f"--workers: expected at least 1, got {args.workers}")
    if args.thumbnail and args.thumbnail < 32:
        raise FusionError(f"--thumbnail: expected 0 or at least 32 px, got {args.thumbnail}")
    if args.cluster and args.workers > 1:
        raise FusionError("expected --workers or --cluster, got both; a cluster has its own workers")


def _check_packages() -> None:
    """What the report is made with is missed now, and not after hours of work."""
    missing = [name for name in _REPORT_PACKAGES if find_spec(name) is None]
    if missing:
        raise FusionError(f"the report needs what is not installed here; pip install {' '.join(missing)}")


def _is_finished(folder: Path) -> bool:
    return any(item.name != _WORK for item in folder.iterdir())


def _labelled(text: str) -> tuple[str, str]:
    label, given, path = text.partition("=")
    return (label, path) if given else (Path(text).stem, text)


def _topic_label(topic: str) -> str:
    return topic.strip("/").replace("/", "_")


def _recordings(args: argparse.Namespace, fused: dict[str, str]) -> list[Recording]:
    if (args.rgb is None) != (args.thermal is None):
        raise FusionError("expected --rgb and --thermal together, got one of them")
    found: list[Recording] = []
    if args.rgb is not None:
        found.append(
            _restricted(open_recording(args.rgb, args.thermal, fused, is_sequence=args.sequence), args.names)
        )
    elif fused or args.names:
        raise FusionError("--fused and --names belong to images: give --rgb and --thermal as well")
    topics = (args.rgb_topic, args.thermal_topic)
    topic = {_topic_label(args.fused_topic): args.fused_topic} if args.fused_topic else {}
    pairing = settings_from(args, PairingSettings, prefix="pairing")
    if pairing.policy != "nearest":
        raise FusionError("--pairing.policy: evaluation pairs with 'nearest'; message_filters needs a running ROS")
    for path in args.bag:
        if not Path(path).exists():
            raise FusionError(f"no bag at {path}")
        found.append(BagRecording(Path(path).stem, path, topics, pairing, topic, args.salvage))
    if not found:
        raise FusionError("nothing to evaluate on: give --rgb and --thermal, or --bag")
    if args.bag and args.rgb is not None and (fused or topic):
        raise FusionError("fused images belong to the images or to the bags; evaluate the two apart")
    return _uniquely_named(found)


def _restricted(recording: ImageRecording | VideoRecording, names: Path | None) -> ImageRecording | VideoRecording:
    if names is None:
        return recording
    if not isinstance(recording, ImageRecording):
        raise FusionError("--names chooses among images, got videos")
    try:
        wanted = [
            Path(line.strip()).stem for line in names.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    except OSError as error:
        raise FusionError(f"--names: {names}: cannot be read: {error.strerror}") from error
    missing = [name for name in wanted if name not in recording.files]
    if missing:
        raise ImageError(f"--names: {len(missing)} of {len(wanted)} images are not there: {shortened(missing)}")
    return replace(recording, files={name: recording.files[name] for name in wanted}, alone={})


def _uniquely_named(recordings: Sequence[Recording]) -> list[Recording]:
    counts = Counter(recording.name for recording in recordings)
    return [
        replace(recording, name=f"{recording.name} {index}") if counts[recording.name] > 1 else recording
        for index, recording in enumerate(recordings, 1)
    ]


def _methods(
    args: argparse.Namespace, settings: FusionSettings, labels: Sequence[str]
) -> tuple[list[Method], list[MethodFacts]]:
    """Return the methods, each opened once, so that what is wrong with one is said before hours of work."""
    if "model" in vars(args):
        raise FusionError("--model is for one method; name the methods to evaluate with --method")
    named = args.method or ("" if labels else _METHODS)
    names = [name for name in map(str.strip, named.split(",")) if name]
    for name, number in Counter([*labels, *names]).items():
        if number > 1:
            raise FusionError(f"{name!r} is named twice; give fused images another name with LABEL=PATH")
    if settings.network and len(names) != 1:
        raise FusionError("--network holds the settings of one method's network; evaluate that method alone")
    threads = settings.engine.threads or (max(1, available_cores() // args.workers) if args.workers > 1 else 0)
    settings = replace(settings, engine=replace(settings.engine, threads=threads))
    methods = [Method(label, settings, is_given=True) for label in labels]
    facts = [MethodFacts(label, "fused images as they were given") for label in labels]
    for name in names:
        own = replace(settings, model=name)
        pipeline = open_pipeline(own)
        card = None if name in CLASSICAL else verify(find_model(name))
        facts.append(
            MethodFacts(
                name, pipeline.engine.description, card.sha256 if card else "", card.parameters if card else None
            )
        )
        methods.append(Method(name, own, weights_sha256=card.sha256 if card else ""))
        pipeline.engine.close()
    return methods, facts


def _columns(choice: str, recordings: Sequence[Recording]) -> tuple[Column, ...]:
    """Return the columns chosen; by default with those of video where there is one."""
    has_video = any(recording.is_sequence for recording in recordings)
    return select_columns(f"{choice},video" if choice == _DEFAULT and has_video else choice)


def _conditions(args: argparse.Namespace) -> tuple[Condition, ...]:
    misalignments = parse_misalignments(args.misalign) if args.misalign else ()
    degradations = parse_degradations(args.degrade) if args.degrade else ()
    if (misalignments or degradations) and (args.fused or args.fused_topic):
        raise FusionError(
            "--misalign and --degrade change what a method sees; images that are fused already cannot be made "
            "anew: use --method"
        )
    return (Condition(), *map(Condition, (*misalignments, *degradations)))


def _executor(args: argparse.Namespace) -> Executor:
    if args.cluster:
        return Cluster(args.cluster)
    if args.workers > 1:
        return Processes(args.workers, max(1, available_cores() // args.workers))
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


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
        yield lambda number: bar.update(number)


def _write(evaluation: Evaluation, pictures: Mapping[PictureKey, Thumbnails], folder: Path) -> None:
    from ..evaluation.report import write_report
    from ..evaluation.tables import frames_csv, markdown

    contents = {
        "results.json": evaluation.to_json(),
        "times.json": evaluation.times_json(),
        "frames.csv": frames_csv(evaluation),
        "table.md": markdown(evaluation),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_report(evaluation, pictures, folder / "report.html")


def _tally(evaluation: Evaluation) -> str:
    frames = f"{len(evaluation.frames)} measured frames"
    problems = len(evaluation.problems)
    return f"{frames}, {problems} problems (listed above and in the report)" if problems else frames
