"""Canny's edges before any threshold: the gradient's magnitude where it is largest across the edge.

Canny, "A Computational Approach to Edge Detection", IEEE TPAMI 1986: blur, gradient, and of the
gradient's magnitude only the ridges (non-maximum suppression). Canny's thresholds are not needed: they
select among these values, and a network can do that better.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["edge_magnitude"]

_EPSILON = 1e-6  # keeps the root's slope finite where the image is flat
_FLAT = math.sqrt(_EPSILON)  # the magnitude there, and outside the image
_TIE = 1e-4  # relative difference below which two magnitudes are taken for equal
_TAN_22_5 = math.sqrt(2.0) - 1.0  # directions are rounded to multiples of 45 degrees
_SIDE, _CENTRE = math.exp(-0.5), 1.0  # a Gaussian of 1 pixel, at 1 and at 0 pixels
_FAR = math.exp(-2.0)
_SUM = 2 * (_FAR + _SIDE) + _CENTRE


def edge_magnitude(image: Tensor) -> Tensor:
    """Return the gradient's magnitude on its ridges, 0 elsewhere.

    A Gaussian blur of 5 x 5 pixels and 1 pixel's standard deviation (reflected border), Sobel's gradient
    (replicated border, not normalised: a step of height h gives up to 4 h), and suppression of each
    pixel that is not larger than both its neighbours along the gradient. Of two equal
    neighbours the lower, or the right one, stays: else a step between two pixels, which has equal
    magnitudes on both sides, would be an edge or none by the last bit of the arithmetic.

    Args:
        image: ``(B, 1, H, W)`` in [0, 1].

    Returns:
        ``(B, 1, H, W)``, from 0 to about 4, in practice below 2.
    """
    gradient_x, gradient_y = _sobel(_blur(image.float()))  # shorter types make neighbours equal
    magnitude = torch.sqrt(gradient_x * gradient_x + gradient_y * gradient_y + _EPSILON)
    rival = _larger_neighbour(magnitude, gradient_x, gradient_y)
    return torch.where(magnitude > rival, magnitude, 0.0).to(image)


def _blur(image: Tensor) -> Tensor:
    rows = F.pad(image, (0, 0, 2, 2), mode="reflect")
    image = (
        (rows[:, :, :-4] + rows[:, :, 4:]) * (_FAR / _SUM)
        + (rows[:, :, 1:-3] + rows[:, :, 3:-1]) * (_SIDE / _SUM)
        + rows[:, :, 2:-2] * (_CENTRE / _SUM)
    )
    columns = F.pad(image, (2, 2, 0, 0), mode="reflect")
    return (
        (columns[:, :, :, :-4] + columns[:, :, :, 4:]) * (_FAR / _SUM)
        + (columns[:, :, :, 1:-3] + columns[:, :, :, 3:-1]) * (_SIDE / _SUM)
        + columns[:, :, :, 2:-2] * (_CENTRE / _SUM)
    )


def _sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient's parts across and down."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    down = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    across = padded[:, :, :, :-2] + 2 * padded[:, :, :, 1:-1] + padded[:, :, :, 2:]
    return down[:, :, :, 2:] - down[:, :, :, :-2], across[:, :, 2:] - across[:, :, :-2]


def _larger_neighbour(magnitude: Tensor, gradient_x: Tensor, gradient_y: Tensor) -> Tensor:
    """Return the larger of each pixel's two neighbours along its gradient, to the nearest 45 degrees."""
    padded = F.pad(magnitude, (1, 1, 1, 1), value=_FLAT)
    before, after = padded * (1 - _TIE), padded * (1 + _TIE)
    beside = torch.maximum(before[:, :, 1:-1, :-2], after[:, :, 1:-1, 2:])
    above = torch.maximum(before[:, :, :-2, 1:-1], after[:, :, 2:, 1:-1])
    falling = torch.maximum(before[:, :, :-2, :-2], after[:, :, 2:, 2:])
    rising = torch.maximum(before[:, :, :-2, 2:], after[:, :, 2:, :-2])
    size_x, size_y = torch.abs(gradient_x), torch.abs(gradient_y)
    oblique = torch.where(gradient_x * gradient_y > 0, falling, rising)
    steep = torch.where(size_y * _TAN_22_5 > size_x, above, oblique)
    return torch.where(size_y > size_x * _TAN_22_5, steep, beside)
