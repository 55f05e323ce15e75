"""RFN-Nest's two losses: of the auto-encoder alone, then of the fusion networks between its fixed halves.

Li et al., "RFN-Nest: An end-to-end residual fusion network for infrared and visible images", Information
Fusion 73, 2021, section 3.2, equations 1 to 6, and the authors' code, which differ::

                   code                                       paper
    squared norm   mean over all elements                     squared Frobenius norm: sum over an image's elements
    similarity     multi-scale, in a form of its own          plain structural similarity
    fused output   stretched over the whole batch to 0..255   as the network gives it

Images are on the scale of the network, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..precision import full_precision
from .ms_ssim import ms_ssim, rfn_nest_ms_ssim
from .ssim import ssim
from .stretch import stretched
from .variants import Variant, squared_norm

__all__ = ["AutoEncoderLoss", "RFNLoss", "auto_encoder_loss", "rfn_loss"]

Similarity = Literal["rfn_nest_ms_ssim", "ms_ssim", "ssim"]
"""The authors' multi-scale form, the standard one (both from 176 pixels a side on), or the plain index."""

_SIMILARITIES: dict[Variant, Similarity] = {"code": "rfn_nest_ms_ssim", "paper": "ssim"}


class AutoEncoderLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    pixel: Tensor
    structure: Tensor


class RFNLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor; ``detail`` without its weight in ``total``."""

    total: Tensor
    detail: Tensor
    feature: Tensor


@full_precision
def auto_encoder_loss(
    output: Tensor,
    image: Tensor,
    *,
    variant: Variant = "code",
    structure_weight: float = 100.0,
    similarity: Similarity | None = None,
) -> AutoEncoderLoss:
    """Return ``L_pixel + lambda L_ssim``: the squared norm of the difference, and ``1 - SSIM`` (equations 1 to 3).

    Args:
        output: ``(B, 1, H, W)``, what the auto-encoder makes of ``image``.
        image: ``(B, 1, H, W)`` in [0, 255].
        variant: Whose formula, as the module says.
        structure_weight: lambda.
        similarity: Which index; None takes the variant's.

    Raises:
        ImageError: The images are too small for the index.
    """
    pixel = squared_norm(output - image, variant)
    structure = 1 - _similarity(output, image, similarity or _SIMILARITIES[variant])
    return AutoEncoderLoss(pixel + structure_weight * structure, pixel, structure)


@full_precision
def rfn_loss(
    output: Tensor,
    visible: Tensor,
    fused: Sequence[Tensor],
    encoded_infrared: Sequence[Tensor],
    encoded_visible: Sequence[Tensor],
    *,
    variant: Variant = "code",
    detail_weight: float = 700.0,
    scale_weights: Sequence[float] = (1.0, 10.0, 100.0, 1000.0),
    infrared_share: float = 6.0,
    visible_share: float = 3.0,
    similarity: Similarity | None = None,
) -> RFNLoss:
    """Return ``alpha L_detail + L_feature`` (equations 4 to 6).

    ``L_detail = 1 - SSIM(output, visible)``; ``L_feature = sum over scales m of w1(m) times the squared norm of
    F_m - (w_ir E_ir,m + w_vi E_vi,m)``.

    Args:
        output: ``(B, 1, H, W)``, what the decoder makes of ``fused``.
        visible: ``(B, 1, H, W)`` in [0, 255].
        fused: F, the fused features of each scale, ``(B, C_m, H_m, W_m)``.
        encoded_infrared: E_ir, likewise.
        encoded_visible: E_vi, likewise.
        variant: Whose formula, as the module says.
        detail_weight: alpha.
        scale_weights: w1, one for each scale, the finest first.
        infrared_share: w_ir.
        visible_share: w_vi.
        similarity: Which index; None takes the variant's.

    Raises:
        ImageError: The images are too small for the index.
    """
    if variant == "code":
        output = 255 * stretched(output, whole_batch=True)
    detail = 1 - _similarity(output, visible, similarity or _SIMILARITIES[variant])
    feature = torch.zeros_like(detail)
    for weight, maps, of_infrared, of_visible in zip(
        scale_weights, fused, encoded_infrared, encoded_visible, strict=True
    ):
        target = infrared_share * of_infrared + visible_share * of_visible
        feature = feature + weight * squared_norm(maps - target, variant)
    return RFNLoss(detail_weight * detail + feature, detail, feature)


def _similarity(output: Tensor, image: Tensor, similarity: Similarity) -> Tensor:
    if similarity == "rfn_nest_ms_ssim":
        return rfn_nest_ms_ssim(output, image)
    index = ms_ssim if similarity == "ms_ssim" else ssim
    return index(output, image, data_range=255.0)
