"""The loss of LRRNet's fusion module inside a tracker, from shallow to deep features of the tracker's backbone.

Li et al., "LRRNet: A Novel Representation Learning Guided Fusion Network for Infrared and Visible Images",
IEEE TPAMI 2023, section 5.4.1, equation 15. No code was released. The paper leaves open, and this is chosen:

- The squared norms are means over all elements, as in the authors' code for images, or sums, as it is written.
- The Gram matrix is that of the fusion network's loss, ``F F^T / (C H W)`` (:func:`.lrrnet.gram_matrix`).
- The paper's backbone has three levels. Of one that has a single level the middle term alone is taken: it is the
  only one in which either camera's features have a share of their own at every place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fusion_ros.errors import ImageError

from ..precision import full_precision
from .lrrnet import gram_matrix
from .variants import Variant, squared_norm

__all__ = ["LRRNetTrackingLoss", "lrrnet_tracking_loss"]


class LRRNetTrackingLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    shallow: Tensor
    middle: Tensor
    deep: Tensor


@full_precision
def lrrnet_tracking_loss(
    fused: Sequence[Tensor],
    infrared: Sequence[Tensor],
    visible: Sequence[Tensor],
    *,
    variant: Variant = "code",
    shallow_weight: float = 10.0,
    middle_weight: float = 2.0,
    deep_weight: float = 2000.0,
    shallow_visible_share: float = 3.0,
    infrared_share: float = 2.0,
    visible_share: float = 1.0,
) -> LRRNetTrackingLoss:
    """Return ``gamma_s L_shallow + gamma_m L_middle + gamma_d L_deep`` (equation 15).

    With F, I, R the fused features, those of the thermal and those of the visible image, and N the squared norm::

        L_shallow = N(F1 - ws_r R1)
        L_middle  = N(F2 - (wm_i I2 + wm_r R2))
        L_deep    = N(Gram F3 - (wd_i Gram I3 + wd_r Gram R3))

    Args:
        fused: F of the three levels, the finest first, or of a single one: ``(B, C, H, W)`` each.
        infrared: I, likewise.
        visible: R, likewise.
        variant: N: the mean of the squares, or the squared Frobenius norm.
        shallow_weight: gamma_s.
        middle_weight: gamma_m.
        deep_weight: gamma_d.
        shallow_visible_share: ws_r.
        infrared_share: wm_i and wd_i, which are alike in the paper.
        visible_share: wm_r and wd_r, likewise.

    Returns:
        The terms; of a single level the shallow and the deep one are 0.

    Raises:
        ImageError: There are neither three levels nor one, or not as many of each.
    """
    counts = {len(fused), len(infrared), len(visible)}
    if counts not in ({1}, {3}):
        raise ImageError(
            "LRRNet's tracking loss: expected fused, infrared and visible features of three levels or of one, got "
            f"{len(fused)}, {len(infrared)} and {len(visible)}"
        )
    level = len(fused) // 2
    target = infrared_share * infrared[level] + visible_share * visible[level]
    middle = squared_norm(fused[level] - target, variant)
    shallow = deep = torch.zeros_like(middle)
    if level:
        shallow = squared_norm(fused[0] - shallow_visible_share * visible[0], variant)
        grams = infrared_share * gram_matrix(infrared[2]) + visible_share * gram_matrix(visible[2])
        deep = squared_norm(gram_matrix(fused[2]) - grams, variant)
    total = shallow_weight * shallow + middle_weight * middle + deep_weight * deep
    return LRRNetTrackingLoss(total, shallow, middle, deep)
