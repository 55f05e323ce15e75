"""LRRNet's loss, from detail to semantics: pixels and the features of four layers of VGG-16.

Li et al., "LRRNet: A Novel Representation Learning Guided Fusion Network for Infrared and Visible Images",
IEEE TPAMI 2023, section 4.2, equations 10 to 14, and the authors' code, which differ in the reduction alone:
the paper's squared Frobenius norms are sums over an image's elements, the code's are means over all.

Both take the code's Gram matrix, ``F F^T / (C H W)``, whose scale the paper leaves open, and both compare what
the network's output becomes as an image: stretched from its minimum to its maximum, with the gradient passing
through both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import full_precision
from .perceptual import FeatureExtractor
from .stretch import stretched
from .variants import Variant, squared_norm

__all__ = ["LRRNetLoss", "gram_matrix", "lrrnet_loss"]


class LRRNetLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor; pixel, shallow and deep without their weights in ``total``."""

    total: Tensor
    pixel: Tensor
    shallow: Tensor
    middle: Tensor
    deep: Tensor


@full_precision
def lrrnet_loss(
    output: Tensor,
    infrared: Tensor,
    visible: Tensor,
    features: FeatureExtractor,
    *,
    variant: Variant = "code",
    pixel_weight: float = 10.0,
    shallow_weight: float = 1.5,
    middle_weights: tuple[float, float] = (0.01, 0.5),
    deep_weight: float = 2000.0,
    infrared_share: float = 3.0,
    visible_share: float = 0.5,
) -> LRRNetLoss:
    """Return ``gamma1 L_pixel + gamma2 L_shallow + L_middle + gamma4 L_deep`` (equation 10).

    With o the stretched output, P its features and N the squared norm of the variant::

        L_pixel   = N(o - visible), on 0..255                                                  (11)
        L_shallow = N(P1(o) - P1(visible))                                                     (12)
        L_middle  = sum over k = 2, 3 of beta_k N(Pk(o) - [w_ir Pk(infrared) + w_vi Pk(visible)])  (13)
        L_deep    = N(Gram P4(o) - Gram P4(infrared))                                          (14)

    Args:
        output: ``(B, 1, H, W)``, the network's output as it is, in any range.
        infrared: ``(B, 1, H, W)`` in [0, 1], not stretched.
        visible: ``(B, 1, H, W)`` in [0, 1], not stretched.
        features: What gives P1 to P4. The weights below are meant for VGG-16 on values of 0 to 255.
        variant: Means as in the authors' code, or sums over each image as in the paper.
        pixel_weight: gamma1.
        shallow_weight: gamma2.
        middle_weights: beta_2 and beta_3.
        deep_weight: gamma4.
        infrared_share: w_ir.
        visible_share: w_vi.
    """
    image = stretched(output)
    of_image, of_infrared = features(image), features(infrared)
    of_visible = features(visible, 3)  # the deep term does not look at it
    pixel = squared_norm(255 * (image - visible), variant)
    shallow = squared_norm(of_image[0] - of_visible[0], variant)
    middle = torch.zeros_like(pixel)
    for level, weight in enumerate(middle_weights, start=1):
        target = infrared_share * of_infrared[level] + visible_share * of_visible[level]
        middle = middle + weight * squared_norm(of_image[level] - target, variant)
    deep = squared_norm(gram_matrix(of_image[3]) - gram_matrix(of_infrared[3]), variant)
    total = pixel_weight * pixel + shallow_weight * shallow + middle + deep_weight * deep
    return LRRNetLoss(total, pixel, shallow, middle, deep)


@full_precision
def gram_matrix(maps: Tensor) -> Tensor:
    """Return ``F F^T / (C H W)`` of each image's maps F, one row a channel: ``(B, C, C)`` of ``(B, C, H, W)``."""
    rows = maps.flatten(2)
    return rows @ rows.transpose(1, 2) / (rows.shape[1] * rows.shape[2])
