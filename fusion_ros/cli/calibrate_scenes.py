"""A calibration from what both cameras see, without a board."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from ..alignment.calibration import Calibration
from ..alignment.matching import MatchingSettings, RigMatch, ViewChooser, match_rig
from ..alignment.targetless import fit_rotation
from ..errors import AlignmentError
from ..frame import Sensor
from ..geometry.cameras import PinholeCamera
from ..geometry.warp import resize_homography
from .calibrate_inputs import CalibrationFrames
from .calibrate_results import Outcome, Rectifier, coverage_warning, made_by, placed_text, rig_outcome

__all__ = ["calibrate_from_scenes"]


def calibrate_from_scenes(
    frames: CalibrationFrames,
    cameras: dict[Sensor, PinholeCamera],
    settings: MatchingSettings,
    translation_m: tuple[float, float, float] | None,
    distance_m: float,
) -> Outcome:
    """Match edges over many frames.

    Args:
        cameras: Both, for the rotation between them; none for a homography.
        translation_m: Of the thermal camera, seen from the RGB camera, where it was measured.
        distance_m: At which the images are to coincide, for a rig with known cameras.

    Raises:
        AlignmentError: The frames do not tell.
    """
    chooser, rectify = ViewChooser(settings.frames, frames.expected), Rectifier(cameras)
    with tqdm(total=frames.expected, unit="frame", desc="reading", disable=None, leave=False) as bar:
        for view in frames.read(bar.update):
            chooser.offer(rectify(view))
    refused = ", ".join(f"{number}: {reason}" for reason, number in chooser.refused.most_common())
    if not chooser.views:
        raise AlignmentError(
            f"not one of {chooser.offered} frames can be used ({refused}); expected structure in both images, "
            "such as buildings, trees or vehicles by day: check exposure, lens caps and the cameras' drivers"
        )
    with tqdm(total=100, unit="%", desc="matching", disable=None, leave=False, bar_format="{l_bar}{bar}|") as bar:
        match = match_rig(chooser.views, settings, lambda share: bar.update(100 * share))
    rgb_size, thermal_size = frames.sizes[Sensor.RGB], frames.sizes[Sensor.THERMAL]
    up = resize_homography(chooser.views[0].rgb.shape, rgb_size)
    matrix = up @ match.rgb_from_thermal
    lines = [
        f"{match.frames} of {chooser.offered} frames used" + (f"; passed over: {refused}" if refused else ""),
        *_quality(match, float(up[0, 0])),
        placed_text(matrix, thermal_size, rgb_size),
        *coverage_warning(match.coverage),
    ]
    comment = made_by(f"{match.frames} frames without a board")
    if not cameras:
        residual = match.residual_px * float(up[0, 0])
        found = Calibration(rgb_size, thermal_size, matrix / matrix[2, 2], residual_px=residual, comment=comment)
        return Outcome(found, lines, chooser.views, match.rgb_from_thermal)
    rgb, thermal = cameras[Sensor.RGB], cameras[Sensor.THERMAL]
    turned = fit_rotation(
        match.thermal_points,
        match.rgb_points @ up[:2, :2].T + up[:2, 2],
        thermal.undistorted(),  # the views are rectified
        rgb.undistorted(),
        translation_m=translation_m or (0.0, 0.0, 0.0),
        distance_m=distance_m,
    )
    pose, residual = turned.rgb_from_thermal, turned.residual_px
    found = Calibration(rgb_size, thermal_size, None, rgb, thermal, pose, distance_m, residual, comment)
    lines.append(
        f"the translation was {'given' if translation_m else 'taken for zero'}: without a board it cannot be told "
        f"from a rotation; what it is wrong by was made up for at {distance_m:g} m"
    )
    return rig_outcome(found, lines, chooser.views, distance_m)


def _quality(match: RigMatch, scale: float) -> list[str]:
    """Say how good a match is, in pixels of the RGB image: ``scale`` times those of the views."""
    single = np.linalg.norm(match.shifts_px, axis=1)
    alone = f"{scale * float(np.nanmedian(single)):.1f} px" if np.isfinite(single).any() else "unknown"
    return [
        f"{match.model}: {len(match.thermal_points)} of {match.distinct} distinct blocks agree, median residual "
        f"{scale * match.residual_px:.2f} px, uncertain by {scale * match.spread_px:.2f} px (RGB pixels), "
        f"{match.coverage:.0%} of the overlap covered",
        f"{match.agreeing} of {match.frames} frames agree; a single frame is {alone} off in the median",
    ]
