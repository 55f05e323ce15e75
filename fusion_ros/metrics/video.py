"""Metrics of video: does the fused image change only where and when its sources do?

Two consecutive frames are compared as they are, which is right for a camera that stands still, or after the
earlier frame was brought onto the later one along a known flow.

Convention: ``flow`` is ``(H, W, 2)`` floating point on the grid of the current frame, x before y, in pixels:
what is at ``(x, y)`` was at ``(x, y) + flow[y, x]`` in the previous frame. NaN is unknown. Pixel centres lie at
integers. Sampling is bilinear; before version 5, OpenCV rounds positions to 1/32 pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..errors import ImageError
from .images import check_grey
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["CHANGE_INFORMATION", "FLICKER", "change_information", "compensated", "flicker", "warp_error"]

_LEVELS = 511  # of a difference of two 8-bit images
_OUTSIDE = -2.0  # a position none of whose four neighbours is in the image


def flicker(previous: Triple, current: Triple, valid: np.ndarray | None = None) -> float:
    """Return by how many grey levels the fused image changes beyond what either source changes: 0 is none.

    ``mean(max(0, |dF| - max(|dI|, |dV|)))`` of the changes from one frame to the next.

    Args:
        previous: The earlier frame; for a moving camera, as :func:`compensated` returns it.
        current: The later frame, same size.
        valid: ``(H, W)`` bool, where to look; everywhere if None.

    Returns:
        0 to 255; NaN where no pixel is valid.

    Raises:
        ImageError: The sizes differ.
    """
    infrared, visible, fused = (cv2.absdiff(later, earlier) for earlier, later in _frames(previous, current))
    unexplained = cv2.subtract(fused, cv2.max(infrared, visible))  # stops at 0
    return _mean(unexplained, _checked_mask(valid, current.size))


def change_information(previous: Triple, current: Triple) -> float:
    """Return IFD-MI, what the fused image's change says of the changes of its sources, in bits.

    ``I(dI; dF) + I(dV; dF)`` over the 511 levels of a difference of 8-bit images. It is the sum over the sources,
    as MI is; Rockinger's own measure takes both differences as one joint variable, whose histogram of
    511 x 511 x 511 levels an image cannot fill.

    Args:
        previous: The earlier frame.
        current: The later frame, same size.

    Raises:
        ImageError: The sizes differ.
    """
    infrared, visible, fused = (
        cv2.subtract(later, earlier, dtype=cv2.CV_32S).ravel() + 255
        for earlier, later in _frames(previous, current)
    )
    return _information(infrared, fused) + _information(visible, fused)


def compensated(previous: Triple, flow: np.ndarray) -> tuple[Triple, np.ndarray]:
    """Return the previous frame as it would look from where the current one was taken.

    Args:
        previous: The earlier frame.
        flow: ``(H, W, 2)``, see the convention above.

    Returns:
        The three images, interpolated bilinearly and rounded, and ``(H, W)`` bool: False, and the images black,
        where the flow is NaN or leaves the image.

    Raises:
        ImageError: The flow is not floating point, or not of the frame's size.
    """
    images, inside = _sampled(previous.images, flow)
    return Triple(*images), inside


def warp_error(
    previous_fused: np.ndarray, fused: np.ndarray, flow: np.ndarray, valid: np.ndarray | None = None
) -> float:
    """Return the mean squared difference, on [0, 1], of a frame and the one before, moved onto it by the flow.

    Args:
        previous_fused: ``(H, W)`` uint8.
        fused: ``(H, W)`` uint8, same size.
        flow: ``(H, W, 2)``, see the convention above.
        valid: ``(H, W)`` bool, the pixels of the current frame that the previous one shows too; all if None. Where
            the flow is NaN or leaves the image is left out in any case.

    Returns:
        0 to 1; NaN where no pixel is left. That of a video is the mean over its frames.

    Raises:
        ImageError: An image is not 8-bit grey, the flow is not floating point, or sizes differ.

    Source: Lai et al., "Learning blind video temporal consistency", ECCV 2018, section 4.2, with the earlier frame
    moved instead of the later one.
    """
    check_grey(previous_fused, "previous fused")
    check_grey(fused, "fused")
    if previous_fused.shape != fused.shape:
        raise ImageError(f"expected frames of equal size, got {previous_fused.shape} and {fused.shape}")
    (moved,), inside = _sampled([previous_fused.astype(np.float32)], flow)
    difference = (moved - fused) / 255.0
    return _mean(difference * difference, inside & _checked_mask(valid, fused.shape))


def _frames(previous: Triple, current: Triple) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the earlier and the later infrared, visible and fused image."""
    if previous.size != current.size:
        raise ImageError(f"expected two frames of equal size, got {previous.size} and {current.size}")
    return list(zip(previous.images, current.images, strict=True))


def _information(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mutual information of two arrays of levels, in bits."""
    joint = np.bincount(first * _LEVELS + second, minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS) / first.size
    at = np.nonzero(joint)
    apart = joint.sum(axis=1)[at[0]] * joint.sum(axis=0)[at[1]]
    return max(0.0, float((joint[at] * np.log2(joint[at] / apart)).sum()))


def _sampled(images: Sequence[np.ndarray], flow: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return images taken along the flow, and where it stays inside them."""
    height, width = images[0].shape
    if flow.shape != (height, width, 2) or not np.issubdtype(flow.dtype, np.floating):
        raise ImageError(f"flow: expected floating point ({height}, {width}, 2), got {flow.dtype} {flow.shape}")
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    inside = (x >= 0.0) & (x <= width - 1) & (y >= 0.0) & (y <= height - 1)
    x[~inside] = y[~inside] = _OUTSIDE
    maps = x.astype(np.float32), y.astype(np.float32)
    return [cv2.remap(image, *maps, cv2.INTER_LINEAR) for image in images], inside


def _checked_mask(valid: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    if valid is None:
        return np.ones(size, dtype=bool)
    if valid.shape != size or valid.dtype != bool:
        raise ImageError(f"valid: expected bool {size}, got {valid.dtype} {valid.shape}")
    return valid


def _mean(values: np.ndarray, valid: np.ndarray) -> float:
    return float(np.mean(values[valid], dtype=np.float64)) if valid.any() else float("nan")


FLICKER = MetricSpec(
    "Flicker",
    "flicker",
    (
        Variant(
            "unexplained_change",
            flicker,
            (0.0, 255.0),
            "Mean of max(0, |dF| - max(|dIR|, |dVIS|)) in grey levels: how far the fused image changes beyond the "
            "source that changes most.",
        ),
    ),
    higher_is_better=False,
    needs=Needs.VIDEO,
    source="fusion_ros",
)

CHANGE_INFORMATION = MetricSpec(
    "IFD-MI",
    "mutual information of inter-frame differences",
    (
        Variant(
            "sum_bits",
            change_information,
            (0.0, 17.9944),
            "I(dIR; dF) + I(dVIS; dF) in bits, of the changes between consecutive frames: temporal consistency.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.VIDEO,
    source="after Rockinger, Fechner, Pixel-level image fusion: the case of image sequences, SPIE 3374, 1998",
)
