"""What a calibration is made from, on the command line: frames of both cameras, their lenses, a board."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..alignment.calibration import load_camera
from ..alignment.matching import RigView
from ..alignment.target import TAG_FAMILIES, Board
from ..errors import CalibrationError, FusionError, ImageError, shortened
from ..frame import Frame, Sensor
from ..geometry.cameras import PinholeCamera
from ..imaging import ThermalNormaliser, luma
from .evaluation_inputs import chosen_recordings

if TYPE_CHECKING:
    from ..evaluation.recording import Recording

__all__ = ["CalibrationFrames", "add_input_arguments", "chosen_board", "chosen_cameras"]

Size = tuple[int, int]
_LOOKED_AT = 3  # times as many frames as are used


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    sources = parser.add_argument_group("what to calibrate from")
    sources.add_argument("--rgb", "--vis", metavar="PATH", help="image, folder or video of the RGB camera")
    sources.add_argument("--thermal", "--ir", metavar="PATH", help="the same of the thermal camera")
    sources.add_argument("--names", type=Path, metavar="FILE", help="only these images: one name a line")
    sources.add_argument("--bag", nargs="+", default=[], metavar="BAG", help="bags of one and the same rig")
    sources.add_argument("--rgb-topic", default="/rgb/image_raw", metavar="NAME", help="default: /rgb/image_raw")
    sources.add_argument(
        "--thermal-topic", default="/thermal/image_raw", metavar="NAME", help="default: /thermal/image_raw"
    )
    sources.add_argument("--salvage", action="store_true", help="read a damaged bag as far as it goes")
    parser.set_defaults(fused=[], fused_topic=None, sequence=False)
    lenses = parser.add_argument_group("lenses, if they are calibrated")
    for name in ("rgb", "thermal"):
        lenses.add_argument(
            f"--{name}-camera",
            metavar="FILE.yaml|TOPIC",
            help=f"calibration of the {name} camera: a file of ROS's camera_calibration, or the bag's camera_info",
        )
    board = parser.add_argument_group("board; without one, what both cameras see is matched")
    board.add_argument(
        "--board", metavar="COLUMNSxROWS", help="inner corners of a chequerboard, or tags of an AprilTag grid"
    )
    board.add_argument("--square", type=float, metavar="M", help="side of a square or a tag, metres")
    board.add_argument("--tags", choices=TAG_FAMILIES, help="the board is a grid of AprilTags of this family")
    board.add_argument("--gap", type=float, default=0.0, metavar="M", help="between two tags, metres")


def chosen_board(args: argparse.Namespace) -> Board | None:
    """Return the board that the options describe; None if there is none.

    Raises:
        FusionError: They contradict one another, or are not numbers.
    """
    if args.board is None:
        given = [name for name in ("square", "tags", "gap") if getattr(args, name)]
        if given:
            raise FusionError(f"--{given[0]} describes a board: give its size as well, such as --board 8x6")
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", args.board)
    if match is None:
        raise FusionError(f"--board: expected COLUMNSxROWS such as 8x6, got {args.board!r}")
    if args.square is None:
        raise FusionError("--board: its --square is missing, the side of a square or a tag in metres")
    return Board(int(match[1]), int(match[2]), args.square, args.tags or "", args.gap)


def chosen_cameras(args: argparse.Namespace) -> dict[Sensor, PinholeCamera]:
    """Return the calibrated cameras that the options name: both or none.

    Raises:
        FusionError: One is missing, or cannot be read.
    """
    given = {Sensor.RGB: args.rgb_camera, Sensor.THERMAL: args.thermal_camera}
    if all(value is None for value in given.values()):
        return {}
    if None in given.values():
        raise FusionError("expected --rgb-camera and --thermal-camera together, got one of them")
    return {sensor: _camera(value, args) for sensor, value in given.items()}


def _camera(given: str, args: argparse.Namespace) -> PinholeCamera:
    if Path(given).exists() or not (args.bag and given.startswith("/")):
        return load_camera(given)
    from ..bags import BagReader  # for which images need no package

    with BagReader(args.bag[0], salvage=args.salvage) as bag:
        bag.require(given, "sensor_msgs/msg/CameraInfo")
        for message in bag.messages([given]):
            return PinholeCamera.from_camera_info(message.message)
    raise CalibrationError(f"{args.bag[0]}: not one camera info on {given}")


class CalibrationFrames:
    """Frames of both cameras, evenly spread over the recordings.

    Args:
        limit: About how many frames will be used; some times as many are read.

    Attributes:
        expected: About how many there will be.
        sizes: ``(h, w)`` of the images of each camera, once one was read.

    Raises:
        FusionError: Nothing is there, or options contradict one another.
    """

    def __init__(self, args: argparse.Namespace, limit: int) -> None:
        if args.rgb is None and args.thermal is None and not args.bag:
            raise FusionError("nothing to calibrate from: give --rgb and --thermal, or --bag")
        self._recordings: list[Recording] = chosen_recordings(args, Sensor.RGB)[0]
        count = sum(recording.count for recording in self._recordings)
        self._stride = max(1, count // (_LOOKED_AT * limit))
        self.expected = max(1, -(-count // self._stride))
        self.sizes: dict[Sensor, Size] = {}

    def read(self, on_frame: Callable[[], object]) -> Iterator[RigView]:
        """Yield every so many frames; what cannot be read is said on stderr.

        Raises:
            FusionError: Not one could be read, or the images are not all of one size.
        """
        problems: list[str] = []
        number = 0
        for recording in self._recordings:
            for moment in recording.open():
                if moment.pair is None:
                    problems.append(moment.problem)
                    continue
                number += 1
                if (number - 1) % self._stride:
                    continue
                on_frame()
                yield self._frame(moment.name, moment.pair.rgb, moment.pair.thermal)
        if problems:
            print(f"fusion-ros: {len(problems)} problems: {shortened(problems)}", file=sys.stderr)
        if not number:
            raise FusionError(
                f"not one pair of frames: {shortened(problems)}; check names, topics, stamps and pairing.*"
            )

    def _frame(self, name: str, rgb: Frame, thermal: Frame) -> RigView:
        for sensor, frame in ((Sensor.RGB, rgb), (Sensor.THERMAL, thermal)):
            size = self.sizes.setdefault(sensor, frame.size)
            if frame.size != size:
                raise ImageError(
                    f"{name}: expected {sensor.value} images of one size, {size[1]} x {size[0]}, "
                    f"got {frame.size[1]} x {frame.size[0]}; calibrate from one camera's frames"
                )
        return RigView(name, luma(rgb.pixels), ThermalNormaliser()(thermal))
