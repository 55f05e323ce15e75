"""A calibration from a board that both cameras see."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from ..alignment.calibration import Calibration
from ..alignment.matching import RigView
from ..alignment.target import Board, BoardView, find_board, pair_sightings
from ..alignment.target_fit import fit_camera, fit_homography, fit_pose
from ..errors import CalibrationError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera
from ..geometry.warp import resize_homography
from ..imaging import to_uint8
from .calibrate_inputs import CalibrationFrames
from .calibrate_results import Outcome, Rectifier, coverage_warning, made_by, placed_text, rig_outcome

__all__ = ["calibrate_from_board"]

_KEPT = 6  # images to choose pictures from


def calibrate_from_board(
    frames: CalibrationFrames,
    board: Board,
    cameras: dict[Sensor, PinholeCamera],
    distance_m: float,
    *,
    estimate_lenses: bool,
) -> Outcome:
    """Find the board in pairs of images, and fit to its corners.

    Args:
        cameras: Both, for the pose of one to the other; none for a homography.
        distance_m: At which the images are to coincide, for a rig with known cameras.
        estimate_lenses: Calibrate both cameras from the same views.

    Raises:
        CalibrationError: The board was not found by both cameras, or too rarely, or the views disagree.
    """
    seen, shown, lines = _sightings(frames, board)
    rgb_size, thermal_size = frames.sizes[Sensor.RGB], frames.sizes[Sensor.THERMAL]
    if estimate_lenses:
        cameras = {}
        for sensor in Sensor:
            cameras[sensor], error = fit_camera(seen, sensor.value, frames.sizes[sensor])
            focal = f"{cameras[sensor].fx:.1f}, {cameras[sensor].fy:.1f} px"
            lines.append(f"{sensor.value} lens: focal lengths {focal}, {error:.2f} px off")
    views, comment = [Rectifier(cameras)(view) for view in shown], made_by(f"{len(seen)} views of a board")
    if not cameras:
        fit = fit_homography(seen, thermal_size)
        matrix, residual = fit.rgb_from_thermal, fit.residual_px
        lines += [
            f"homography: median residual {residual:.2f} px; without one of the views at most "
            f"{fit.spread_px:.2f} px other; {fit.coverage:.0%} of the thermal image covered",
            placed_text(matrix, thermal_size, rgb_size),
            "it holds at the distance of the board; for all distances, calibrate the lenses",
            *coverage_warning(fit.coverage),
        ]
        found = Calibration(rgb_size, thermal_size, matrix, residual_px=residual, comment=comment)
        down = resize_homography(rgb_size, views[0].rgb.shape)
        return Outcome(found, lines, views, down @ matrix)
    pose = fit_pose(seen, cameras[Sensor.THERMAL], cameras[Sensor.RGB])
    lines += [
        f"without one of the views at most {pose.spread_deg:.2f} deg and {1e3 * pose.spread_m:.1f} mm other; "
        f"boards at {pose.distance_m:.2f} m in the median; {pose.coverage:.0%} of the thermal image covered",
        *coverage_warning(pose.coverage),
    ]
    lenses = cameras[Sensor.RGB], cameras[Sensor.THERMAL]
    found = Calibration(
        rgb_size, thermal_size, None, *lenses, pose.rgb_from_thermal, distance_m, pose.residual_px, comment
    )
    return rig_outcome(found, lines, views, pose.distance_m)


def _sightings(frames: CalibrationFrames, board: Board) -> tuple[list[BoardView], Sequence[RigView], list[str]]:
    """Return the board as both cameras saw it, some of the images, and a line about it."""
    seen: list[BoardView] = []
    shown: list[RigView] = []
    counts = {"rgb": 0, "thermal": 0}
    with tqdm(total=frames.expected, unit="frame", desc="looking for the board", disable=None, leave=False) as bar:
        offered = 0
        for view in frames.read(bar.update):
            offered += 1
            found = {name: find_board(to_uint8(getattr(view, name)), board) for name in counts}
            for name, sighting in found.items():
                counts[name] += sighting is not None
            if found["rgb"] is None or found["thermal"] is None:
                continue
            pair = pair_sightings(view.name, found["rgb"], found["thermal"], board)
            if pair is not None:
                seen.append(pair)
                shown += [view] if len(shown) < _KEPT else []
    tally = (
        f"the board was found in {len(seen)} of {offered} pairs "
        f"({counts['rgb']} RGB and {counts['thermal']} thermal images)"
    )
    if not seen:
        raise CalibrationError(
            f"{tally}; check --board (inner corners, not squares), and whether the thermal camera sees it: warm "
            "it in the sun or with a lamp"
        )
    return seen, shown, [tally]
