"""Sequences in which a target is known, from the command line."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from ..errors import FusionError, ImageError
from ..evaluation.registration.street import USUAL_PAIRS
from ..files import user_folder
from ..frame import Sensor
from ..media import ImageClip, VideoClip, check_rates, open_clip
from ..synthetic.sequences import TRACKING_SEQUENCES, SyntheticSequence
from ..tracking import TrackerSettings
from ..tracking_sets import SEQUENCE_SETS, FileSequence, TrackingSequence, find_sequences, numbered_truth
from .options import add_settings

__all__ = [
    "USUAL_NUMBER",
    "add_tracking_arguments",
    "chosen_sequences",
    "refuse_without_trackers",
    "render_sequences",
]

USUAL_NUMBER = math.inf
"""What ``synthetic`` is where no number is given: as many as usual."""
_CACHE = "tracking_sequences"
_RATE_HZ = 25.0  # images carry no time; any steady rate serves


def add_tracking_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; --rgb and --thermal are the verb's own."""
    tracking = parser.add_argument_group("trackers")
    tracking.add_argument(
        "--tracking",
        nargs="+",
        metavar="TRACKER",
        help="measure trackers instead, by what they look at: rgb, thermal, fused, or "
        "LABEL=MODALITY:MODEL:NETWORK such as sum=fused:fused_features:fusion=sum",
    )
    tracking.add_argument(
        "--sequences",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help=f"data sets ({', '.join(SEQUENCE_SETS)}), each with the folder that it was unpacked to",
    )
    tracking.add_argument(
        "--synthetic",
        nargs="?",
        type=int,
        const=USUAL_NUMBER,
        metavar="N",
        help="the sequences of the synthetic street, all or the first N; rendered once, then kept. With --align: "
        f"N rendered pairs of two cameras side by side (default: {USUAL_PAIRS}), whose parallax is known",
    )
    tracking.add_argument(
        "--truth", metavar="FILE", help="true boxes for --rgb and --thermal: lines of frame,x,y,w,h"
    )
    tracking.add_argument(
        "--vot",
        action="store_true",
        help="also from anchors, as VOT does: robustness and EAO; several times the work",
    )
    add_settings(parser, TrackerSettings, prefix="tracker", title="trackers")


def refuse_without_trackers(args: argparse.Namespace) -> None:
    """Raise :class:`FusionError` where an option for trackers is given, but no tracker."""
    given = [name for name in ("sequences", "vot") if getattr(args, name)]
    given += ["synthetic"] if args.synthetic is not None and args.align is None else []
    given += ["truth"] if args.truth is not None else []
    if given:
        options = ", ".join(f"--{name}" for name in given)
        raise FusionError(f"{options}: belong to --tracking, which is not given; for example --tracking rgb fused")


def chosen_sequences(args: argparse.Namespace) -> tuple[TrackingSequence, ...]:
    """Return what the options name.

    Raises:
        FusionError: Something is not there, options contradict one another, or two sequences have one name.
    """
    if len({args.rgb is None, args.thermal is None, args.truth is None}) > 1:
        raise FusionError("expected --rgb, --thermal and --truth together, got some of them")
    found: list[TrackingSequence] = [*_of_sets(args.sequences)]
    if args.rgb is not None:
        found.append(_of_files(args.rgb, args.thermal, Path(args.truth)))
    if args.synthetic is not None:
        found += _synthetic(args.synthetic)
    if not found:
        raise FusionError(
            "nothing to track on: give --synthetic, --sequences NAME=PATH, or --rgb, --thermal and --truth"
        )
    for name, number in Counter(sequence.name for sequence in found).items():
        if number > 1:
            raise FusionError(f"{number} sequences have the name {name!r}; evaluate them apart")
    return tuple(found)


def render_sequences(args: argparse.Namespace) -> None:
    """Render the synthetic sequences that the options name, as far as that was not done before."""
    # Not those of chosen_sequences: what has rendered holds a whole street, and they go to other processes.
    wanted = [] if args.synthetic is None else _synthetic(args.synthetic)
    for sequence in tqdm(wanted, unit="sequence", desc="rendering", disable=None, leave=False):
        _ = sequence.boxes


def _of_files(rgb: str, thermal: str, truth: Path) -> FileSequence:
    clips = open_clip(rgb, Sensor.RGB), open_clip(thermal, Sensor.THERMAL)
    check_rates(*clips)
    boxes, absent = numbered_truth(truth)
    for clip in clips:
        if isinstance(clip, ImageClip) and len(clip.files) < len(boxes):
            raise ImageError(
                f"{truth}: expected boxes of {len(clip.files)} {clip.sensor.value} images, got one of frame "
                f"{len(boxes) - 1}; frames are counted from 0"
            )
    rate_hz = clips[0].rate_hz if isinstance(clips[0], VideoClip) else _RATE_HZ
    return FileSequence(truth.resolve().parent.name or truth.stem, *clips, boxes, absent, rate_hz=rate_hz)


def _of_sets(texts: list[str]) -> list[TrackingSequence]:
    found: list[TrackingSequence] = []
    for text in texts:
        name, given, path = text.partition("=")
        if not given:
            raise FusionError(f"--sequences: expected NAME=PATH, such as gtot=data/GTOT, got {text!r}")
        found += find_sequences(name, Path(path))
    return found


def _synthetic(number: float) -> list[SyntheticSequence]:
    number = len(TRACKING_SEQUENCES) if number == USUAL_NUMBER else int(number)
    if not 1 <= number <= len(TRACKING_SEQUENCES):
        raise FusionError(f"--synthetic: expected 1 to {len(TRACKING_SEQUENCES)} sequences, got {number}")
    folder = user_folder("XDG_CACHE_HOME")
    cache = None if folder is None else folder / _CACHE
    return [SyntheticSequence(one, cache) for one in islice(TRACKING_SEQUENCES.values(), number)]
