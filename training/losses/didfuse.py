"""DIDFuse's loss: an auto-encoder whose base maps are to be alike and whose detail maps are to differ.

Zhao et al., "DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion", IJCAI 2020, whose code
was released, and the journal version "When Image Decomposition Meets Deep Learning", section III-C, equations
1 to 5. The two differ in three places::

                      code of the conference version       journal version
    base, detail      mean absolute difference             mean squared difference
    detail's weight   0.5                                  0.05
    similarity        clamp(1 - SSIM, 0, 1) / 2            (1 - SSIM) / 2

All norms are means, as in the code: the sum of squares over a map's thousands of elements, which the journal's
equation 1 can also be read as, would hold tanh at 1, where it has no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fusion_ros.networks.didfuse import Encoded

from ..precision import full_precision
from .gradients import sobel
from .ssim import ssim_map
from .variants import Variant

__all__ = ["DIDFuseLoss", "didfuse_loss"]

_DETAIL_WEIGHTS = {"code": 0.5, "paper": 0.05}


class DIDFuseLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    base: Tensor
    detail: Tensor
    infrared: Tensor
    visible: Tensor
    gradient: Tensor


@full_precision
def didfuse_loss(
    infrared: Tensor,
    visible: Tensor,
    encoded: tuple[Encoded, Encoded],
    reconstructed: tuple[Tensor, Tensor],
    *,
    variant: Variant = "code",
    detail_weight: float | None = None,
    infrared_weight: float = 2.0,
    visible_weight: float = 2.0,
    gradient_weight: float = 10.0,
    similarity_weight: float = 5.0,
) -> DIDFuseLoss:
    """Return ``L_base - alpha1 L_detail + alpha2 f(I) + alpha3 f(V) + alpha4 mean |grad V - grad V^|``.

    ``L_base = tanh(d(B_I, B_V))`` and ``L_detail = tanh(d(D_I, D_V))`` with the distance d of the variant;
    ``f(X) = mean (X - X^)^2 + lambda L_SSIM(X, X^)`` compares an image with its reconstruction. Equation 5 of
    the journal version.

    Args:
        infrared: ``(B, 1, H, W)`` in [0, 1], the image I.
        visible: ``(B, 1, H, W)`` in [0, 1], the image V.
        encoded: What the encoder makes of the infrared and of the visible image.
        reconstructed: What the decoder makes of each of these two, as the images.
        variant: Whose formula: the conference version's code or the journal paper's.
        detail_weight: alpha1; None takes the variant's.
        infrared_weight: alpha2.
        visible_weight: alpha3.
        gradient_weight: alpha4.
        similarity_weight: lambda.
    """
    of_infrared, of_visible = encoded
    base = torch.tanh(_distance(of_infrared.base, of_visible.base, variant))
    detail = torch.tanh(_distance(of_infrared.detail, of_visible.detail, variant))
    losses = [
        (image - again).square().mean() + similarity_weight * _dissimilarity(image, again, variant)
        for image, again in zip((infrared, visible), reconstructed, strict=True)
    ]
    gradient = (sobel(visible) - sobel(reconstructed[1])).abs().mean()
    if detail_weight is None:
        detail_weight = _DETAIL_WEIGHTS[variant]
    total = (
        base
        - detail_weight * detail
        + infrared_weight * losses[0]
        + visible_weight * losses[1]
        + gradient_weight * gradient
    )
    return DIDFuseLoss(total, base, detail, *losses, gradient)


def _distance(a: Tensor, b: Tensor, variant: Variant) -> Tensor:
    difference = a - b
    return difference.abs().mean() if variant == "code" else difference.square().mean()


def _dissimilarity(a: Tensor, b: Tensor, variant: Variant) -> Tensor:
    """Structural dissimilarity, 0 to 1; the code's is flat where two windows are opposed, so at most 0.5."""
    loss = 1 - ssim_map(a, b, border="reflect")
    return (loss.clamp(0, 1) if variant == "code" else loss).mean() / 2
