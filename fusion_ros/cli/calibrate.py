"""``fusion-ros calibrate``: where the thermal image lies in the RGB image, as a file that the node loads."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..alignment.matching import MatchingSettings
from ..alignment.target import Board
from ..errors import FusionError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera
from ..timing import PairingSettings
from .calibrate_boards import calibrate_from_board
from .calibrate_inputs import CalibrationFrames, add_input_arguments, chosen_board, chosen_cameras
from .calibrate_pictures import before_and_after
from .calibrate_results import TYPICAL_DISTANCE_M
from .calibrate_scenes import calibrate_from_scenes
from .options import add_settings, settings_from
from .sinks import refuse_existing, write_image

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Find where the thermal image lies in the RGB image, from folders, videos or bags that the rig recorded. Without a
board, the edges that both cameras see are matched over many frames: record a structured scene (buildings, trees,
vehicles) by day while the rig moves. With --board, a chequerboard or a grid of AprilTags that both cameras see.
The result is a homography, or, where both lenses are calibrated, where one camera is to the other. It goes into a
YAML file for alignment.calibration_file, with a picture of before and after: look at it. The exit status is 2, and
nothing is written, where the frames do not tell."""

EXAMPLES = """\
fusion-ros calibrate --thermal drive/thermal --rgb drive/rgb --out rig.yaml
fusion-ros calibrate --bag drive --rgb-topic /rgb/image_raw --thermal-topic /thermal/image_raw --out rig.yaml
fusion-ros calibrate --bag drive --rgb-camera /rgb/camera_info --thermal-camera thermal.yaml --out rig.yaml
fusion-ros calibrate --bag boards --board 8x6 --square 0.05 --estimate-intrinsics --out rig.yaml
fusion-ros calibrate --rgb rgb --thermal ir --board 4x3 --square 0.08 --tags 36h11 --gap 0.02 --out rig.yaml"""

_SHOWN = 3  # frames in the picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_input_arguments(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--out", required=True, type=Path, metavar="FILE.yaml", help="where the calibration goes")
    how.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="before and after (default: beside --out, as .png)"
    )
    how.add_argument("--overwrite", action="store_true", help="replace what is at --out and --picture")
    how.add_argument(
        "--estimate-intrinsics", action="store_true", help="calibrate both lenses too, from the views of the board"
    )
    how.add_argument(
        "--distance",
        type=float,
        metavar="M",
        help=f"at which the images are to coincide where lenses are known (default: {TYPICAL_DISTANCE_M:g})",
    )
    how.add_argument(
        "--translation",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="of the thermal camera seen from the RGB camera, measured by hand, metres (default: 0 0 0); without "
        "a board it cannot be told from a rotation",
    )
    add_settings(parser, MatchingSettings, prefix="matching", title="matching")
    add_settings(parser, PairingSettings, prefix="pairing", title="pairing of a bag's frames")


def main(args: argparse.Namespace) -> int:
    """Calibrate, report, write."""
    if args.out.suffix.lower() not in (".yaml", ".yml"):
        raise FusionError(f"--out: expected a .yaml file, got {str(args.out)!r}")
    picture = args.picture or args.out.with_suffix(".png")
    if picture.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise FusionError(f"--picture: expected a picture, .jpg or .png, got {str(picture)!r}")
    for path in (args.out, picture):
        refuse_existing(path, path.exists(), args.overwrite)
    if not args.out.absolute().parent.is_dir():
        raise FusionError(f"--out: there is no folder {args.out.parent}")
    settings = settings_from(args, MatchingSettings, prefix="matching")
    board, cameras = chosen_board(args), chosen_cameras(args)
    _check(args, board, cameras)
    frames = CalibrationFrames(args, settings.frames)
    distance_m = args.distance or TYPICAL_DISTANCE_M
    if board is not None:
        outcome = calibrate_from_board(
            frames, board, cameras, distance_m, estimate_lenses=args.estimate_intrinsics
        )
    else:
        translation_m = tuple(args.translation) if args.translation else None
        outcome = calibrate_from_scenes(frames, cameras, settings, translation_m, distance_m)
    chosen = np.linspace(0, len(outcome.views) - 1, min(_SHOWN, len(outcome.views))).round().astype(int)
    shown = before_and_after([outcome.views[index] for index in chosen], outcome.views_rgb_from_thermal)
    outcome.calibration.save(args.out)
    write_image(picture, shown)
    print("\n".join(outcome.lines))
    print(f"wrote {args.out} and {picture}: look at the picture before you use the calibration")
    return 0


def _check(args: argparse.Namespace, board: Board | None, cameras: dict[Sensor, PinholeCamera]) -> None:
    if args.estimate_intrinsics and (board is None or cameras):
        raise FusionError("--estimate-intrinsics needs a --board, and no --rgb-camera and --thermal-camera")
    if args.distance is not None and not args.distance > 0:
        raise FusionError(f"--distance: expected a positive number of metres, got {args.distance:g}")
    if args.translation is not None and (board is not None or not cameras):
        raise FusionError("--translation goes with --rgb-camera and --thermal-camera, without a --board")
    if args.distance is not None and not (cameras or args.estimate_intrinsics):
        raise FusionError("--distance needs both cameras' lenses; a homography has no distance")
