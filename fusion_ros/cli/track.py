"""``fusion-ros track``: a target followed through videos, folders of images, or a bag."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from tqdm import tqdm

from ..errors import FusionError, shortened
from ..evaluation.recording import Moment, Recording
from ..evaluation.tracking.pictures import as_picture, draw_box, draw_label
from ..evaluation.tracking.trackers import (
    DEFAULT_MODEL,
    LAYERS,
    FeatureKey,
    TrackingFusionSettings,
    feature_settings,
    repeated_for,
)
from ..frame import Sensor
from ..fusion_result import FusionResult
from ..media import open_clip
from ..metrics.tracking import track_scores
from ..pipeline import FusionPipeline, FusionSettings, open_pipeline
from ..timing import PairingSettings
from ..tracking import Box, Track, Tracker, TrackerSettings, TrackStatus
from ..tracking_sets import numbered_truth
from .options import add_settings, settings_from
from .recordings import VideoRecording, open_recording
from .sinks import ImageSink, open_sink, refuse_existing

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Follow one target through two videos, two folders of images (paired by name) or a bag, by fused features or by
those of one camera. The target is the box given for the first frame, or the first box of a file of true boxes,
with which the result is then compared. Boxes are in pixels of the RGB image: first column and row, width and
height. What comes out are pictures with the box drawn, green while the target is followed and orange while it
is lost, and a table with a line for each frame."""

EXAMPLES = """\
fusion-ros track --rgb rgb.mp4 --thermal thermal.mp4 --box 131,187,116,293 --output tracked.mp4
fusion-ros track --rgb drive/rgb --thermal drive/thermal --truth groundtruth.txt --tracks tracks.csv
fusion-ros track --bag drive1 --rgb-topic /rgb/image_raw --box 300,200,40,90 --modality thermal --output frames/
fusion-ros track --rgb rgb.mp4 --thermal thermal.mp4 --box 9,9,40,40 --side-by-side --output both.mp4"""

_RATE_HZ = 25.0
_TRUTH = (255, 255, 255)
_COLOURS = {TrackStatus.TRACKING: (0, 220, 0), TrackStatus.LOST: (255, 140, 0), TrackStatus.IDLE: (160, 160, 160)}
_COLUMNS = ("stamp_ns", "frame", "status", "x", "y", "w", "h", "confidence")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    sources = parser.add_argument_group("where")
    sources.add_argument("--rgb", metavar="PATH", help="folder or video of the RGB camera")
    sources.add_argument("--thermal", metavar="PATH", help="the same of the thermal camera")
    sources.add_argument("--bag", metavar="BAG", help="a bag instead")
    sources.add_argument("--rgb-topic", default="/rgb/image_raw", metavar="NAME", help="default: /rgb/image_raw")
    sources.add_argument(
        "--thermal-topic", default="/thermal/image_raw", metavar="NAME", help="default: /thermal/image_raw"
    )
    sources.add_argument("--salvage", action="store_true", help="read a damaged bag as far as it goes")
    target = parser.add_argument_group("what")
    target.add_argument("--box", metavar="X,Y,W,H", help="the target in the first frame, in RGB pixels")
    target.add_argument(
        "--truth", type=Path, metavar="FILE", help="lines of frame,x,y,w,h; the first is the target"
    )
    target.add_argument("--modality", choices=tuple(LAYERS), default="fused", help="default: fused")
    results = parser.add_argument_group("results")
    results.add_argument("--output", metavar="PATH", help="video (.mp4, .avi) or folder for pictures with the box")
    results.add_argument(
        "--side-by-side", action="store_true", help="the aligned thermal image beside the RGB image"
    )
    results.add_argument(
        "--rate", type=float, metavar="HZ", help="frame rate of a written video (default: the input's, or 25)"
    )
    results.add_argument("--tracks", type=Path, metavar="FILE.csv", help="a line for each frame")
    results.add_argument("--overwrite", action="store_true", help="replace what is there")
    add_settings(parser, TrackingFusionSettings)
    add_settings(parser, TrackerSettings, prefix="tracker", title="tracker")
    add_settings(parser, PairingSettings, prefix="pairing", title="pairing of a bag's frames")


def main(args: argparse.Namespace) -> int:
    """Track and report."""
    if args.output is None and args.tracks is None:
        raise FusionError("expected --output or --tracks, or both, for what is found; got neither")
    target = _target(args)
    recording = _recording(args)
    settings, layer = _settings(args)
    tracker = Tracker(settings_from(args, TrackerSettings, prefix="tracker"))
    with ExitStack() as stack:
        pipeline = open_pipeline(settings)
        stack.callback(pipeline.close)
        print(pipeline.description)
        results = _results(args, recording, stack)
        run = _Run(pipeline, tracker, layer, target, is_wide=args.side_by_side)
        for moment in tqdm(
            recording.open(), total=recording.count or None, unit="pair", disable=None, leave=False
        ):
            run.take(moment, results)
    run.report(results)
    return 1 if run.problems else 0


@dataclass(frozen=True, eq=False)
class _Target:
    """What is to be followed.

    Attributes:
        frame: Where it is marked, from 0.
        box: Around it there.
        truth: ``(N, 4)``, NaN where it is unknown.
    """

    frame: int
    box: Box
    truth: np.ndarray

    def true_box(self, index: int) -> np.ndarray:
        """Return where it is in a frame; NaN where that is not known."""
        return self.truth[index] if index < len(self.truth) else np.full(4, np.nan)


@dataclass(eq=False)
class _Run:
    """A tracker on its way through a recording."""

    pipeline: FusionPipeline
    tracker: Tracker
    layer: str
    target: _Target
    is_wide: bool = False
    tracks: list[Track] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    thermal: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"features": 0.0, "tracker": 0.0})

    def take(self, moment: Moment, results: _Results) -> None:
        """Follow the target into the next pair, and hand on what was found; what cannot be read is a problem."""
        if moment.pair is None:
            self.problems.append(moment.problem)
            return
        if not self.tracks:  # compiling is no part of a frame's time
            self.pipeline.prepare(*moment.pair.rgb.size)
        start = time.perf_counter()
        result = self.pipeline(moment.pair, with_image=False, with_features=True, with_sources=self.is_wide)
        middle = time.perf_counter()
        track = self._followed(result)
        self.seconds["features"] += middle - start
        self.seconds["tracker"] += time.perf_counter() - middle
        results.write(moment.name, track, lambda: self._picture(result, track))
        self.tracks.append(track)

    def _followed(self, result: FusionResult) -> Track:
        index, grid, stamp_ns = len(self.tracks), result.features[self.layer], result.reference.stamp_ns
        if index == self.target.frame:
            return self.tracker.start(grid, self.target.box, stamp_ns)
        return self.tracker.update(grid, stamp_ns)  # idle until then

    def _picture(self, result: FusionResult, track: Track) -> np.ndarray:
        images = [as_picture(result.reference.pixels)]
        if self.is_wide:
            if result.sources is not None:
                self.thermal = result.sources.infrared
            elif result.repeat is None or self.thermal is None or self.thermal.shape != result.size:
                # It is not known how the thermal image lies on the other one; a repeated one lies as before.
                self.thermal = np.zeros(result.size, np.uint8)
            images.append(as_picture(self.thermal))
        colour = _COLOURS[track.status]
        for image in images:
            draw_box(image, self.target.true_box(len(self.tracks)), _TRUTH)
            if track.box is not None:
                draw_box(image, track.box, colour)
        draw_label(images[0], f"{track.status.value} {track.confidence:.2f}", colour)
        return np.hstack(images)

    def report(self, results: _Results) -> None:
        """Say what came of it.

        Raises:
            FusionError: Not one pair could be read, or the target's frame was not among them.
        """
        for problem in self.problems:
            print(f"fusion-ros: {problem}", file=sys.stderr)
        if not self.tracks:
            raise FusionError(f"not one pair could be read: {shortened(self.problems, 1)}")
        if len(self.tracks) <= self.target.frame:
            raise FusionError(
                f"--truth: expected a box of one of the {len(self.tracks)} pairs, got the first of pair "
                f"{self.target.frame}, counted from 0"
            )
        number = len(self.tracks)
        states = ", ".join(f"{n} {s}" for s, n in Counter(track.status.value for track in self.tracks).items())
        print(f"wrote {' and '.join(results.paths)}: {number} frames: {states}")
        print("mean ms: " + ", ".join(f"{name} {1e3 * s / number:.1f}" for name, s in self.seconds.items()))
        known = min(number, len(self.target.truth))
        if known > 1:
            nothing = (np.nan,) * 4
            boxes = np.array([track.box or nothing for track in self.tracks[:known]])
            scores = track_scores(boxes, self.target.truth[:known])
            print(
                f"against the truth in {scores.frames} frames: success {100.0 * scores.success:.1f} %, "
                f"precision {100.0 * scores.precision:.1f} %, mean overlap {100.0 * scores.overlap:.1f} %"
            )


@dataclass(frozen=True, eq=False)
class _Results:
    """Where tracks go.

    Attributes:
        paths: Of what is written.
        sink: For pictures.
        table: For rows; flushed line by line, so that what was found stays after an interruption.
    """

    paths: tuple[str, ...]
    sink: ImageSink | None
    table: TextIO | None

    def write(self, name: str, track: Track, picture: Callable[[], np.ndarray]) -> None:
        """Write one frame; its picture is made only if it is wanted."""
        if self.table is not None:
            box = ("",) * 4 if track.box is None else tuple(f"{value:.3f}" for value in track.box)
            row = (track.stamp_ns, name, track.status.value, *box, f"{track.confidence:.3f}")
            csv.writer(self.table, lineterminator="\n").writerow(row)
            self.table.flush()
        if self.sink is not None:
            self.sink.write(name, picture())


def _results(args: argparse.Namespace, recording: Recording, stack: ExitStack) -> _Results:
    sink = table = None
    if args.tracks is not None:
        refuse_existing(args.tracks, args.tracks.exists(), args.overwrite)
    if args.output is not None:
        rate_hz = _rate_hz(args, recording)
        sink = open_sink(args.output, many=recording.count != 1, rate_hz=rate_hz, overwrite=args.overwrite)
        stack.callback(sink.close)
    if args.tracks is not None:
        args.tracks.parent.mkdir(parents=True, exist_ok=True)
        table = stack.enter_context(args.tracks.open("w", encoding="utf-8", errors="surrogateescape", newline=""))
        csv.writer(table, lineterminator="\n").writerow(_COLUMNS)
    return _Results(tuple(str(path) for path in (args.output, args.tracks) if path is not None), sink, table)


def _target(args: argparse.Namespace) -> _Target:
    if (args.box is None) == (args.truth is None):
        given = "neither" if args.box is None else "both"
        raise FusionError(f"expected --box X,Y,W,H in the first frame, or --truth FILE; got {given}")
    if args.box is None:
        truth, absent = numbered_truth(args.truth)
        if absent.all():
            raise FusionError(f"--truth: {args.truth}: expected a box of the target, got none")
        first = int((~np.isnan(truth).any(axis=1)).argmax())
        return _Target(first, tuple(truth[first].tolist()), truth)
    try:
        x, y, width, height = map(float, args.box.split(","))
    except ValueError:
        raise FusionError(
            f"--box: expected four numbers X,Y,W,H, such as 131,187,40,90, got {args.box!r}"
        ) from None
    return _Target(0, (x, y, width, height), np.empty((0, 4)))


def _recording(args: argparse.Namespace) -> Recording:
    is_files = args.rgb is not None or args.thermal is not None
    if is_files == (args.bag is not None):
        raise FusionError("expected --rgb and --thermal, or --bag; got " + ("both" if is_files else "neither"))
    if args.bag is None:
        if args.rgb is None or args.thermal is None:
            raise FusionError("expected --rgb and --thermal together, got one of them")
        return open_recording(args.rgb, args.thermal, {}, is_sequence=True)
    from .bag_recordings import BagRecording  # reads bags, for which images need no package

    pairing = settings_from(args, PairingSettings, prefix="pairing")
    if pairing.policy != "nearest":
        raise FusionError("--pairing.policy: offline 'nearest' pairs; message_filters needs a running ROS")
    topics = (args.rgb_topic, args.thermal_topic)
    return BagRecording(Path(args.bag).name, args.bag, topics, pairing, salvage=args.salvage)


def _settings(args: argparse.Namespace) -> tuple[FusionSettings, str]:
    """Return the settings of a pipeline that gives features and no image, and the layer to follow."""
    given = [name for name in ("model", "network", "output.scale") if name in vars(args)]
    if given:
        raise FusionError(f"--{given[0]} is for fused images; what is followed are features: use --features.*")
    settings = settings_from(args, TrackingFusionSettings)
    if settings.reference != "rgb":
        raise FusionError("--reference: expected rgb, for boxes are in pixels of the RGB image")
    features = settings.features
    layer = features.layers.strip() or LAYERS[args.modality]
    if "," in layer:
        raise FusionError(f"--features.layers: expected the one layer that is followed, got {layer!r}")
    modality = {name: modality for modality, name in LAYERS.items()}.get(layer, args.modality)
    repeated = repeated_for(modality, settings.repeated)
    key = FeatureKey(features.model or DEFAULT_MODEL, features.network, settings.alignment.fine.method, repeated)
    return feature_settings(settings, key, [layer]), layer


def _rate_hz(args: argparse.Namespace, recording: Recording) -> float:
    if args.rate is not None:
        if not args.rate > 0.0:
            raise FusionError(f"--rate: expected a positive number of frames a second, got {args.rate:g}")
        return args.rate
    return open_clip(recording.rgb, Sensor.RGB).rate_hz if isinstance(recording, VideoRecording) else _RATE_HZ
