"""The loss of RFN-Nest's fusion modules inside a tracker, where features are fused and no image is made.

Li et al., "RFN-Nest: An end-to-end residual fusion network for infrared and visible images", Information Fusion
73, 2021, section 5.1, equation 7, and section 3.2.2, equation 6 for the features. No code was released. The paper
leaves open, and this is chosen:

- The structural similarity of feature maps is the mean over channels and places, with the usual window of 11
  cells, the maps continued by reflection. Each sample's level is stretched to [0, 1] over all of its channels,
  since features have no range of their own; so the detail term asks for their shape, the feature term for their
  size.
- The weights alpha, w_ir and w_vi are those of image fusion; every level counts alike (w_1 = 1).
- The l1-norm rule is :func:`fusion_ros.networks.strategies.l1_norm`, as section 4.7 has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_ros.networks.strategies import l1_norm

from ..precision import full_precision
from .ssim import ssim
from .stretch import stretched
from .variants import Variant, squared_norm

__all__ = ["RFNTrackingLoss", "rfn_tracking_loss"]


class RFNTrackingLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor; ``detail`` without its weight in ``total``."""

    total: Tensor
    detail: Tensor
    feature: Tensor


@full_precision
def rfn_tracking_loss(
    fused: Sequence[Tensor],
    infrared: Sequence[Tensor],
    visible: Sequence[Tensor],
    *,
    variant: Variant = "code",
    detail_weight: float = 700.0,
    level_weights: Sequence[float] | None = None,
    infrared_share: float = 6.0,
    visible_share: float = 3.0,
) -> RFNTrackingLoss:
    """Return ``alpha L_detail + L_feature``, both sums over the levels m::

        L_detail  = sum of 1 - SSIM(F_m, l1(visible_m, infrared_m))                          (7)
        L_feature = sum of w_1(m) N(F_m - (w_ir infrared_m + w_vi visible_m))                (6)

    Args:
        fused: F, the fused features of each level, ``(B, C_m, H_m, W_m)``, at least 6 x 6 cells.
        infrared: Features of the thermal image, likewise.
        visible: Features of the visible image, likewise.
        variant: N: the mean of the squares, as in the authors' code for images, or the squared Frobenius norm.
        detail_weight: alpha.
        level_weights: w_1, one for each level; None takes 1 for all.
        infrared_share: w_ir.
        visible_share: w_vi.

    Raises:
        ImageError: A level is smaller than half of the window.
    """
    detail = feature = torch.zeros((), dtype=fused[0].dtype, device=fused[0].device)
    weights = [1.0] * len(fused) if level_weights is None else level_weights
    for weight, level, of_infrared, of_visible in zip(weights, fused, infrared, visible, strict=True):
        similarity = ssim(_as_images(level), _as_images(l1_norm(of_infrared, of_visible)), border="reflect")
        detail = detail + 1 - similarity
        target = infrared_share * of_infrared + visible_share * of_visible
        feature = feature + weight * squared_norm(level - target, variant)
    return RFNTrackingLoss(detail_weight * detail + feature, detail, feature)


def _as_images(features: Tensor) -> Tensor:
    """Return ``(B * C, 1, H, W)`` in [0, 1] of ``(B, C, H, W)``."""
    return stretched(features).flatten(0, 1)[:, None]
