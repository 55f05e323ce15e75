"""Derivatives of images as losses use them.

Coordinates as everywhere: x to the right, y down; x comes first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import full_precision

__all__ = ["forward_differences", "laplacian", "magnitude", "sobel"]

_TINY = 1e-12  # keeps the root's slope finite where an image is flat


@full_precision
def sobel(image: Tensor) -> Tensor:
    """Return Sobel's gradient, normalised so that a ramp of one grey level a pixel gives 1.

    The kernels are divided by 8, and beyond its border the image repeats its last pixel, as kornia's
    ``SpatialGradient`` does.

    Args:
        image: ``(B, 1, H, W)``.

    Returns:
        ``(B, 2, H, W)``: the derivatives along x and along y, in grey levels a pixel.
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    down = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    across = padded[:, :, :, :-2] + 2 * padded[:, :, :, 1:-1] + padded[:, :, :, 2:]
    along_x = down[:, :, :, 2:] - down[:, :, :, :-2]
    along_y = across[:, :, 2:] - across[:, :, :-2]
    return torch.cat([along_x, along_y], dim=1) / 8


@full_precision
def forward_differences(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pixel's right neighbour minus itself, and its lower neighbour minus itself.

    Args:
        maps: ``(B, C, H, W)``.

    Returns:
        ``(B, C, H, W - 1)`` along x and ``(B, C, H - 1, W)`` along y: the border has no such neighbour.
    """
    return maps[:, :, :, 1:] - maps[:, :, :, :-1], maps[:, :, 1:] - maps[:, :, :-1]


@full_precision
def laplacian(image: Tensor) -> Tensor:
    """Return the sum of the four neighbours minus four times the pixel, ``(B, 1, H, W)`` of the same.

    Beyond its border the image repeats its last pixel.
    """
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    beside = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    above = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]
    return beside + above - 4 * image


@full_precision
def magnitude(gradient: Tensor) -> Tensor:
    """Return the length of a gradient, ``(B, 1, H, W)`` of ``(B, 2, H, W)``; 1e-6 where it is zero."""
    return torch.sqrt(gradient.square().sum(dim=1, keepdim=True) + _TINY)
