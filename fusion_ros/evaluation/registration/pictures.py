"""Alignment to look at: the thermal image against the RGB image, and flows as colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...geometry.warp import resize, warp_by_flow
from ...imaging import to_uint8
from ...imaging.flow_picture import flow_picture, with_flow_wheel
from .aligners import Aligner
from .measure import Case, known_part_error

__all__ = ["checkerboard", "edge_overlay", "flow_scale", "pictures_of"]

_SQUARES = 10  # across the image
_BRIGHTEST = 99.5  # percentile of edges that is shown in full colour
_STRETCH = (1.0, 99.0)  # percentiles of the thermal image that become black and white
_LEAST_SCALE = 2.0  # px
_TEXT_PX = 800  # width of an image in which a text has OpenCV's own size


def checkerboard(thermal: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Return both images in alternate squares: where they are aligned, outlines go on from square to square.

    Args:
        thermal: ``(H, W)`` float32 in [0, 1]; stretched to be seen.
        rgb: ``(H, W, 3)`` or ``(H, W)`` uint8.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    low, high = np.percentile(thermal, _STRETCH)
    grey = to_uint8(np.clip((thermal - low) / max(high - low, 1e-6), 0.0, 1.0).astype(np.float32))
    side = max(8, thermal.shape[1] // _SQUARES)
    rows, columns = (np.arange(length) // side for length in thermal.shape)
    is_thermal = (rows[:, None] + columns) % 2 == 0
    return np.where(is_thermal[..., None], _coloured(grey), _coloured(rgb))


def edge_overlay(thermal: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return the edges of both images: thermal ones red, visible ones cyan, white where the two lie together.

    Args:
        thermal: ``(H, W)`` float32 in [0, 1].
        visible: Likewise, the luma.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    red, cyan = _edges(thermal), _edges(visible)
    return cv2.merge([red, cyan, cyan])


def pictures_of(
    case: Case, rgb: np.ndarray, aligners: Sequence[Aligner], undeformed: Sequence[np.ndarray], scale: float
) -> tuple[list[list[np.ndarray]], list[str]]:
    """Return a row of pictures and a label for the pair as it is shown to the aligners, and for each of them.

    A row is a checkerboard, edges, and a flow: in the first row the one that undoes the deformation, in the others
    those that were found, with the known part errors.

    Args:
        case: The pair.
        rgb: ``(H, W, 3)`` or ``(H, W)`` uint8, as the fixed image is shown.
        aligners: Run once more, for the pictures.
        undeformed: The flow of each on the pair as recorded, which the known part error needs.
        scale: Length of a flow in full colour, px.
    """
    rows = [_row(case.moving, case.fixed, rgb, case.wanted, scale, "wanted" if case.wanted.any() else "")]
    labels = ["before"]
    for aligner, first in zip(aligners, undeformed, strict=True):
        answer = aligner(case.moving, case.fixed, case.valid)
        error = f"{known_part_error(case, answer.flow, first):.2f} px off" if case.wanted.any() else ""
        text = ", ".join(filter(None, ["failed" if answer.has_failed else "", error]))
        moved = warp_by_flow(case.moving, answer.flow)
        rows.append(_row(moved, case.fixed, rgb, answer.flow, scale, text))
        labels.append(aligner.name)
    return rows, labels


def flow_scale(wanted: np.ndarray) -> float:
    """Return the length that is shown in full colour where a flow is wanted, px."""
    return max(_LEAST_SCALE, float(np.hypot(wanted[..., 0], wanted[..., 1]).max()))


def _row(
    moving: np.ndarray, fixed: np.ndarray, rgb: np.ndarray, flow: np.ndarray, scale: float, text: str
) -> list[np.ndarray]:
    shown = with_flow_wheel(flow_picture(flow, scale), scale)
    size = flow.shape[1] / _TEXT_PX
    shown = cv2.putText(
        shown, text, (8, round(30 * size) + 4), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA
    )
    return [checkerboard(moving, resize(rgb, moving.shape)), edge_overlay(moving, fixed), shown]


def _edges(image: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    steepness = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    brightest = max(float(np.percentile(steepness, _BRIGHTEST)), 1e-6)
    # The root brings out faint edges, of which thermal images have many.
    return to_uint8(np.sqrt(np.clip(steepness / brightest, 0.0, 1.0)))


def _coloured(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image[..., :3]
