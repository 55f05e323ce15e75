"""RFVIF's loss: alignment at three scales, pixels, and features.

Li et al., "Feature dynamic alignment and refinement for infrared-visible image fusion: Translation robust
fusion", Information Fusion 2023, equations 7 and 16 to 18. No code was released.

Open in the paper: reductions; taken: means, so that no weight depends on the size of a crop. Open: VGG-16's
layer; taken: relu3_3. Its Frobenius norm is taken as the mean square, as in the work that the paper follows
there (Johnson et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_ros.networks.rfvif import RFVIF

from ..precision import full_precision
from .perceptual import FeatureExtractor

__all__ = ["RFVIFLoss", "alignment_loss", "perceptual_loss", "pixel_loss", "rfvif_loss"]

_LAYER = 2  # relu3_3, at a stride of 4


class RFVIFLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor; alignment without its weight in ``total``."""

    total: Tensor
    pixel: Tensor
    perceptual: Tensor
    alignment: Tensor


@full_precision
def rfvif_loss(
    fused: Tensor,
    aligned: Sequence[Tensor],
    visible: Tensor,
    registered: Tensor,
    features: FeatureExtractor,
    *,
    pixel_share: float = 0.5,
    perceptual_share: float = 0.6,
    alignment_weight: float = 0.3,
) -> RFVIFLoss:
    """Return ``l_pixel + l_per + lambda l_align`` (equation 18).

    Args:
        fused: ``(B, 1, H, W)`` in [0, 1], the network's output.
        aligned: The aligned infrared image at 1/2, 1/4 and 1/8 of the size, from
            :meth:`fusion_ros.networks.rfvif.RFVIF.unroll`.
        visible: ``(B, 1, H, W)`` in [0, 1].
        registered: ``(B, 1, H, W)`` in [0, 1], the infrared image as it is on the visible grid, not the one
            that the network was given.
        features: What compares images by features; the paper's is VGG-16.
        pixel_share: alpha, the infrared image's share in :func:`pixel_loss`.
        perceptual_share: beta, its share in :func:`perceptual_loss`.
        alignment_weight: lambda.
    """
    pixel = pixel_loss(fused, visible, registered, share=pixel_share)
    perceptual = perceptual_loss(fused, visible, registered, features, share=perceptual_share)
    alignment = alignment_loss(aligned, registered)
    return RFVIFLoss(pixel + perceptual + alignment_weight * alignment, pixel, perceptual, alignment)


@full_precision
def pixel_loss(fused: Tensor, visible: Tensor, registered: Tensor, *, share: float = 0.5) -> Tensor:
    """Return ``(1 - alpha) mean |u - visible| + alpha mean |u - registered|`` (equation 16)."""
    return (1 - share) * (fused - visible).abs().mean() + share * (fused - registered).abs().mean()


@full_precision
def perceptual_loss(
    fused: Tensor, visible: Tensor, registered: Tensor, features: FeatureExtractor, *, share: float = 0.6
) -> Tensor:
    """Return ``(1 - beta) MSE(P(u), P(visible)) + beta MSE(P(u), P(registered))``, P: relu3_3 (equation 17)."""
    maps = [features(image, _LAYER + 1)[_LAYER] for image in (fused, visible, registered)]
    return (1 - share) * (maps[0] - maps[1]).square().mean() + share * (maps[0] - maps[2]).square().mean()


@full_precision
def alignment_loss(aligned: Sequence[Tensor], registered: Tensor) -> Tensor:
    """Return the sum over three scales of ``mean |aligned - registered, scaled|`` (equation 7)."""
    targets = RFVIF.scaled(registered)
    distances = [(image - target).abs().mean() for image, target in zip(aligned, targets, strict=True)]
    return torch.stack(distances).sum()
