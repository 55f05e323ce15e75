"""``fusion-ros fuse``: files in, fused files out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tqdm import tqdm

from ..errors import ImageError, shortened
from ..frame import FramePair, Sensor
from ..media import Clip, VideoClip, open_clip, pair_clips
from ..pipeline import FusionPipeline, FusionResult, FusionSettings, open_pipeline
from .options import add_settings, settings_from
from .sinks import ImageSink, open_sink

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Fuse two images, two folders of images (paired by name) or two videos (frame by frame).
16-bit thermal PNG and TIFF keep their counts. The output is an image, a video (.mp4, .avi)
or a folder of PNG files, told by the name given to --out."""

EXAMPLES = """\
fusion-ros fuse --rgb rgb.png --thermal thermal.tiff --out fused.png
fusion-ros fuse --rgb drive/rgb --thermal drive/thermal --out drive/fused --no-output.color
fusion-ros fuse --rgb rgb.mp4 --thermal thermal.mp4 --out fused.mp4 --output.scale 0.5
fusion-ros fuse --rgb rgb.mp4 --thermal thermal.mp4 --out frames/ --params config/fusion.yaml"""

_FOLDER_RATE_HZ = 25.0  # images carry no time; any steady rate serves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rgb", required=True, metavar="PATH", help="image, folder or video of the RGB camera")
    parser.add_argument("--thermal", required=True, metavar="PATH", help="the same of the thermal camera")
    parser.add_argument("--out", required=True, metavar="PATH", help="image, folder or video to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    parser.add_argument(
        "--independent",
        action="store_true",
        help="the images of a folder are no sequence: forget earlier ones before each",
    )
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="frame rate of a written video (default: the input's, or 25)"
    )
    add_settings(parser, FusionSettings)


def main(args: argparse.Namespace) -> int:
    """Fuse and report."""
    rgb, thermal = open_clip(args.rgb, Sensor.RGB), open_clip(args.thermal, Sensor.THERMAL)
    rate_hz = _rate_hz(args.rate, rgb)
    count, unpaired, pairs = pair_clips(rgb, thermal, rate_hz)
    if unpaired:
        print(f"{len(unpaired)} images have no partner and are left out: {shortened(unpaired, limit=5)}")
    if isinstance(rgb, VideoClip) and isinstance(thermal, VideoClip):
        _say_left_out(rgb, thermal)
    sink = open_sink(args.out, many=count != 1, rate_hz=rate_hz, overwrite=args.overwrite)
    pipeline = open_pipeline(settings_from(args, FusionSettings))
    print(pipeline.description)
    tally = _Tally()
    try:
        _fuse(pairs, count, pipeline, sink, tally, independent=args.independent)
    finally:
        sink.close()
        tally.report(sink)
    return 1 if tally.failed_estimates else 0


def _fuse(
    pairs: Iterable[tuple[str, FramePair]],
    count: int,
    pipeline: FusionPipeline,
    sink: ImageSink,
    tally: _Tally,
    *,
    independent: bool,
) -> None:
    for name, pair in tqdm(pairs, total=count, unit="pair", disable=None, leave=False):
        if independent:
            pipeline.reset()
        start = time.perf_counter()
        result = pipeline(pair)
        tally.add(result, time.perf_counter() - start)
        sink.write(name, result.image)


@dataclass
class _Tally:
    """What the run did, for the last lines of the output."""

    seconds: float = 0.0
    modes: Counter[str] = field(default_factory=Counter)
    stage_ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed_estimates: int = 0
    failure: str = ""

    def add(self, result: FusionResult, seconds: float) -> None:
        self.seconds += seconds
        self.modes[result.mode.value] += 1
        for stage, milliseconds in result.stage_ms.items():
            self.stage_ms[stage] += milliseconds
        if result.alignment is not None and result.alignment.is_new and result.alignment.has_failed:
            self.failed_estimates += 1
            self.failure = result.alignment.reason

    def report(self, sink: ImageSink) -> None:
        count = sum(self.modes.values())
        if not count:
            return
        modes = ", ".join(f"{number} {mode}" for mode, number in self.modes.items())
        stages = ", ".join(f"{stage} {total / count:.1f}" for stage, total in self.stage_ms.items())
        print(f"wrote {sink.path}: {modes}")
        print(f"{count / self.seconds:.1f} frames per second without reading and writing")
        print(f"mean ms per stage: {stages}")
        if self.failed_estimates:
            print(f"not aligned {self.failed_estimates} times: {self.failure}", file=sys.stderr)


def _say_left_out(*clips: VideoClip) -> None:
    shorter, longer = sorted(clips, key=lambda clip: clip.count)
    if 0 < shorter.count < longer.count:  # a container that declares no number says 0
        print(
            f"{longer.count - shorter.count} frames of the longer video are left out: "
            f"{longer.file} has {longer.count}, {shorter.file} {shorter.count}"
        )


def _rate_hz(given: float | None, rgb: Clip) -> float:
    if given is None:
        return rgb.rate_hz if isinstance(rgb, VideoClip) else _FOLDER_RATE_HZ
    if not given > 0:
        raise ImageError(f"--rate: expected a positive number of frames a second, got {given:g}")
    return given
