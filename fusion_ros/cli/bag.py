"""``fusion-ros bag``: make a recording from pictures, or say what is in one."""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..bags import IMAGE_TYPES, STORAGES, BagMessage, BagReader, BagWriter, TopicInfo
from ..errors import BagError, ImageError
from ..frame import Frame, Sensor
from ..media import Clip, VideoClip, open_clip
from .tables import table

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = "Make a bag from two folders of images or two videos, or show what a bag holds. Needs no ROS."

EXAMPLES = """\
fusion-ros bag make --rgb drive/rgb --thermal drive/thermal --rate 30 --out drive_bag
fusion-ros bag make --rgb rgb.mp4 --thermal thermal.mp4 --storage sqlite3 --out drive_bag
fusion-ros bag make --rgb rgb/ --thermal lepton/ --rate 30 --thermal-rate 9 --compressed png --out bag
fusion-ros bag info drive_bag"""

_DEFAULT_RATE_HZ = 25.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{make,info}")
    make = actions.add_parser("make", help="write a bag from pictures")
    make.add_argument("--rgb", required=True, metavar="PATH", help="folder or video of the RGB camera")
    make.add_argument("--thermal", required=True, metavar="PATH", help="the same of the thermal camera")
    make.add_argument("--out", required=True, metavar="FOLDER", help="bag to write")
    make.add_argument("--rate", type=float, metavar="HZ", help="frame rate (default: the video's, or 25)")
    make.add_argument("--thermal-rate", type=float, metavar="HZ", help="the thermal camera's own frame rate")
    make.add_argument("--storage", choices=STORAGES, default="mcap", help="default: mcap")
    make.add_argument("--rgb-topic", default="/rgb/image_raw", metavar="NAME", help="default: /rgb/image_raw")
    make.add_argument(
        "--thermal-topic", default="/thermal/image_raw", metavar="NAME", help="default: /thermal/image_raw"
    )
    make.add_argument(
        "--encoding", metavar="NAME", help="encoding of the RGB images, such as bgr8 (default: rgb8)"
    )
    make.add_argument("--compressed", choices=("png", "jpeg"), default="", help="write CompressedImage messages")
    make.add_argument(
        "--start", type=float, default=1.0, metavar="SECONDS", help="stamp of the first frame (default: 1)"
    )
    make.add_argument("--overwrite", action="store_true", help="replace the bag at --out")
    info = actions.add_parser("info", help="topics, types, rates, sizes, delays")
    info.add_argument("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    info.add_argument("--quick", action="store_true", help="only what the index knows, without reading messages")


def main(args: argparse.Namespace) -> int:
    """Do one action."""
    return _make(args) if args.action == "make" else _info(args)


def _make(args: argparse.Namespace) -> int:
    rgb, thermal = open_clip(args.rgb, Sensor.RGB), open_clip(args.thermal, Sensor.THERMAL)
    rate_hz = _positive("--rate", _own_rate(rgb) if args.rate is None else args.rate)
    thermal_given = args.rate if args.thermal_rate is None else args.thermal_rate
    thermal_rate_hz = _positive("--thermal-rate", _own_rate(thermal) if thermal_given is None else thermal_given)
    if not args.start >= 0:
        raise ImageError(f"--start: expected 0 s or more, got {args.start:g}")
    start_ns = round(args.start * 1e9)
    streams = [
        _stamped(args.rgb_topic, rgb, rate_hz, start_ns, args.encoding),
        _stamped(args.thermal_topic, thermal, thermal_rate_hz, start_ns, None),
    ]
    with BagWriter(args.out, args.storage, overwrite=args.overwrite) as writer:
        merged = heapq.merge(*streams, key=lambda item: item[1].stamp_ns)
        for topic, frame in tqdm(merged, unit="frame", disable=None, leave=False):
            writer.write_frame(topic, frame, frame.stamp_ns, args.compressed)
    counts = ", ".join(f"{topic} {writer.count(topic)}" for topic in (args.rgb_topic, args.thermal_topic))
    print(f"wrote {args.out}: {counts} frames")
    return 0


def _stamped(
    topic: str, clip: Clip, rate_hz: float, start_ns: int, encoding: str | None
) -> Iterator[tuple[str, Frame]]:
    for frame in clip.frames(rate_hz):
        yield topic, replace(frame, stamp_ns=start_ns + frame.stamp_ns, encoding=encoding or frame.encoding)


def _own_rate(clip: Clip) -> float:
    return clip.rate_hz if isinstance(clip, VideoClip) else _DEFAULT_RATE_HZ


def _positive(option: str, rate_hz: float) -> float:
    if not rate_hz > 0:
        raise ImageError(f"{option}: expected a positive number of frames a second, got {rate_hz:g}")
    return rate_hz


def _info(args: argparse.Namespace) -> int:
    for path in args.bags:
        with BagReader(path, salvage=True) as bag:
            _describe(Path(path), bag, quick=args.quick)
    return 0


def _describe(path: Path, bag: BagReader, *, quick: bool) -> None:
    length_s = (bag.end_ns - bag.start_ns) / 1e9
    print(f"{path}: {bag.count} messages, {length_s:.3f} s, from {bag.start_ns / 1e9:.3f} s")
    for damage in bag.damage:
        print(f"DAMAGED: {damage}")
    if quick:
        rows = [(topic.name, topic.type, str(topic.count)) for topic in bag.topics.values()]
        print(table(("topic", "type", "count"), rows))
        return
    summaries = {topic.name: _TopicSummary(topic) for topic in bag.topics.values()}
    for message in tqdm(bag.messages(), total=bag.count, unit="message", disable=None, leave=False):
        summaries[message.topic].add(message)
    print(table(_TopicSummary.HEAD, [summary.row() for summary in summaries.values()]))


class _TopicSummary:
    """One line of ``bag info``, gathered while the messages go by."""

    HEAD = ("topic", "type", "count", "Hz", "MB", "picture", "lag ms", "max lag ms")

    def __init__(self, topic: TopicInfo) -> None:
        self._topic = topic
        self._bytes = 0
        self._receive_ns: list[int] = []
        self._lag_ns: list[int] = []
        self._picture = "-"

    def add(self, message: BagMessage) -> None:
        self._bytes += message.size
        self._receive_ns.append(message.receive_ns)
        try:
            stamp_ns = message.stamp_ns
        except BagError:
            stamp_ns = None  # no definition of this type in the bag: nobody knows whether it has a stamp
        if stamp_ns is not None:
            self._lag_ns.append(message.receive_ns - stamp_ns)
        if self._topic.type in IMAGE_TYPES and len(self._receive_ns) == 1:
            self._picture = _picture(message)

    def row(self) -> tuple[str, ...]:
        return (
            self._topic.name,
            self._topic.type,
            str(len(self._receive_ns)),
            self._rate(),
            f"{self._bytes / 1e6:.1f}",
            self._picture,
            f"{np.median(self._lag_ns) / 1e6:.1f}" if self._lag_ns else "-",
            f"{max(self._lag_ns) / 1e6:.1f}" if self._lag_ns else "-",
        )

    def _rate(self) -> str:
        """Return the median rate, which pauses and lost messages do not blur."""
        gaps = np.diff(self._receive_ns)
        return f"{1e9 / np.median(gaps):.2f}" if gaps.size and np.median(gaps) > 0 else "-"


def _picture(message: BagMessage) -> str:
    if message.type.endswith("/CompressedImage"):
        return message.message.format
    return f"{message.message.width} x {message.message.height} {message.message.encoding}"
