"""What to evaluate on, from the command line: images, videos and bags, and what is fused already."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FusionError, ImageError, shortened
from ..frame import Sensor
from ..timing import PairingSettings
from .options import settings_from
from .recordings import ImageRecording, VideoRecording, open_recording

if TYPE_CHECKING:
    from ..evaluation.recording import Recording

__all__ = ["add_source_arguments", "chosen_recordings"]


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
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
    sources.add_argument(
        "--fused", nargs="+", default=[], metavar="[LABEL=]PATH", help="images or videos that are fused already"
    )
    sources.add_argument("--fused-topic", metavar="NAME", help="topic of fused images in the bag; RGB stamps")


def chosen_recordings(args: argparse.Namespace, reference: Sensor) -> tuple[list[Recording], list[str]]:
    """Return what the options name, and the labels of the fused images that come with it.

    Args:
        reference: Camera whose stamp fused images of a bag carry.

    Raises:
        FusionError: Something is not there, or options contradict one another.
    """
    from .bag_recordings import BagRecording  # reads bags, for which images need no package

    fused = _labelled(args.fused)
    if args.fused_topic and not args.bag:
        raise FusionError("--fused-topic is a topic of a --bag, and none is given")
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
    if args.bag and args.rgb_topic == args.thermal_topic:
        raise FusionError(f"--rgb-topic and --thermal-topic: expected two topics, got {args.rgb_topic} for both")
    if args.salvage and not args.bag:
        raise FusionError("--salvage belongs to a --bag, and none is given")
    if args.sequence and args.rgb is None:
        raise FusionError("--sequence belongs to folders of images; a bag is a sequence anyway")
    seen: set[Path] = set()
    for path in args.bag:
        if not Path(path).exists():
            raise FusionError(f"no bag at {path}")
        if Path(path).resolve() in seen:
            raise FusionError(f"--bag: {path} is given twice; its frames would count twice")
        seen.add(Path(path).resolve())
        found.append(BagRecording(_stem(Path(path)), path, topics, pairing, topic, reference, args.salvage))
    if not found:
        raise FusionError("nothing to evaluate on: give --rgb and --thermal, or --bag")
    if args.bag and args.rgb is not None and (fused or topic):
        raise FusionError("fused images belong to the images or to the bags; evaluate the two apart")
    return _uniquely_named(found), [*fused, *topic]


def _restricted(recording: ImageRecording | VideoRecording, names: Path | None) -> ImageRecording | VideoRecording:
    if names is None:
        return recording
    if not isinstance(recording, ImageRecording):
        raise FusionError("--names chooses among images, got videos")
    try:
        text = names.read_text(encoding="utf-8", errors="surrogateescape")  # as Python reads names of files
    except OSError as error:
        raise FusionError(f"--names: {names}: cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise FusionError(f"--names: {names} names no image")
    wanted = [line if line in recording.files else Path(line).stem for line in lines]
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


def _labelled(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        label, given, path = text.partition("=")
        label, path = (label, path) if given else (_stem(Path(text)), text)
        if not label:
            raise FusionError(f"--fused: expected LABEL=PATH, got {text!r}")
        if label in found:
            raise FusionError(f"--fused: {label!r} is named twice; give them names with LABEL=PATH")
        found[label] = path
    return found


def _stem(path: Path) -> str:
    """Return the name of a folder as it is, and that of a file without its suffix."""
    return path.name if path.is_dir() else path.stem


def _topic_label(topic: str) -> str:
    return topic.strip("/").replace("/", "_")
