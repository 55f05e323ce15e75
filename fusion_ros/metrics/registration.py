"""Metrics of registration: how far an estimated motion is from the true one, in pixels.

Convention: pixel centres lie at integers; a flow is x before y; sizes are ``(height, width)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ImageError

__all__ = ["EndpointError", "corner_error", "endpoint_error"]


@dataclass(frozen=True)
class EndpointError:
    """Lengths of the differences between two flows.

    Attributes:
        mean: Average endpoint error, px.
        median: px.
        p95: The smallest error that 95 % of the pixels do not exceed, px.
        above_1px: Share of the pixels that are more than 1 px off.
        above_3px: Share of the pixels that are more than 3 px off.
        pixels: How many were compared; if none, all the others are NaN.
    """

    mean: float
    median: float
    p95: float
    above_1px: float
    above_3px: float
    pixels: int


def endpoint_error(flow: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> EndpointError:
    """Return how far a flow is from the true one.

    Args:
        flow: ``(H, W, 2)``, px. Not-a-number where the truth is known counts as infinitely wrong: a method does
            not gain by not answering.
        truth: ``(H, W, 2)``, px; NaN where it is unknown, which is left out.
        valid: ``(H, W)`` bool, where to compare; everywhere if None.

    Raises:
        ImageError: The shapes do not fit.

    Source: Baker et al., "A database and evaluation methodology for optical flow", IJCV 92, 2011, section 4.1.
    """
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.shape != truth.shape:
        raise ImageError(f"expected two flows (H, W, 2) of equal size, got {flow.shape} and {truth.shape}")
    if valid is not None and (valid.shape != flow.shape[:2] or valid.dtype != bool):
        raise ImageError(f"valid: expected bool {flow.shape[:2]}, got {valid.dtype} {valid.shape}")
    known = ~np.isnan(truth).any(axis=2)
    if valid is not None:
        known &= valid
    off = flow[known].astype(np.float64) - truth[known]
    return _summary(np.hypot(off[:, 0], off[:, 1]))


def _summary(errors: np.ndarray) -> EndpointError:
    if not errors.size:
        return EndpointError(*[float("nan")] * 5, pixels=0)
    errors = np.sort(np.where(np.isnan(errors), np.inf, errors))
    return EndpointError(
        mean=float(errors.mean()),
        median=float(np.median(errors)),
        p95=float(errors[-(-95 * errors.size // 100) - 1]),
        above_1px=float((errors > 1.0).mean()),
        above_3px=float((errors > 3.0).mean()),
        pixels=errors.size,
    )


def corner_error(estimated: np.ndarray, true: np.ndarray, size: tuple[int, int]) -> float:
    """Return how far apart, on average, two homographies take the four corners of an image, in px.

    Args:
        estimated: 3x3, of any scale and sign. It acts on ``(x, y, 1)``.
        true: 3x3, likewise, between the same images.
        size: ``(height, width)`` of the image that both map from; a corner is the centre of the pixel there.

    Returns:
        0 and up; infinity where one of the two is not finite, or takes part of the image behind the camera or to
        infinity, so that its corners are nowhere.

    Raises:
        ImageError: A homography is not of shape 3x3.

    Source: DeTone, Malisiewicz, Rabinovich, "Deep image homography estimation", 2016, section 5.
    """
    for matrix, name in ((estimated, "estimated"), (true, "true")):
        if matrix.shape != (3, 3):
            raise ImageError(f"{name} homography: expected shape (3, 3), got {matrix.shape}")
    places = [_corners(matrix, size) for matrix in (estimated, true)]
    if not all(np.isfinite(each).all() for each in places):
        return float("inf")
    off = places[0] - places[1]
    return float(np.hypot(off[0], off[1]).mean())


def _corners(homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return where the four corners go, ``(2, 4)``; infinity for all if the horizon crosses the image."""
    nowhere = np.full((2, 4), np.inf)
    if not np.isfinite(homography).all():
        return nowhere
    right, bottom = size[1] - 1.0, size[0] - 1.0
    corners = np.array([[0.0, right, 0.0, right], [0.0, 0.0, bottom, bottom], [1.0, 1.0, 1.0, 1.0]])
    *places, depth = homography.astype(np.float64) @ corners
    # The depth is linear over the image, and its sign is that of the matrix: in front is where it does not change.
    if not ((depth > 0.0).all() or (depth < 0.0).all()):
        return nowhere
    return np.array(places) / depth
