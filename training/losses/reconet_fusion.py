"""ReCoNet's fusion loss, and an option that we add to it.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, section 2.4. The paper gives no reductions; means are taken throughout, so that
no weight depends on the size of a crop.

The paper's terms alone settle on an average of the sources: equation 5 is flat between them, and
equation 4 asks for the structure of both. Where the sources disagree, the average is pale. Our option, the
pull of the brighter source, says what to do with that freedom; the terms of :mod:`.detail` say more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import full_precision
from .ssim import ssim
from .variants import Variant

__all__ = ["FusionLoss", "fusion_loss", "pixel_loss", "structure_loss"]


class FusionLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    structure: Tensor
    pixel: Tensor


@full_precision
def fusion_loss(
    fused: Tensor,
    infrared: Tensor,
    visible: Tensor,
    *,
    variant: Variant = "paper",
    gamma: float = 0.28,
    brightness: float = 1.0,
) -> FusionLoss:
    """Return ``L_fuse = gamma L_SSIM + (1 - gamma) L_pixel``, the paper's equation 3.

    Args:
        fused: ``(B, 1, H, W)``, the network's output u, not clamped.
        infrared: ``(B, 1, H, W)`` in [0, 1], the source x.
        visible: ``(B, 1, H, W)`` in [0, 1], the source y.
        variant: Whose :func:`structure_loss`: the paper's, or that of the authors' later code (ReCo+). Their
            code has no default for gamma, and weighs pixels by maps that are computed beforehand; here the
            maps are 1, as theirs are when they are turned off.
        gamma: Share of structure against pixel intensity; the paper's is 0.28.
        brightness: Pull of the brighter source in :func:`pixel_loss`; the paper's is 1.
    """
    structure = structure_loss(fused, infrared, visible, variant=variant)
    pixel = pixel_loss(fused, infrared, visible, brightness=brightness)
    return FusionLoss(gamma * structure + (1 - gamma) * pixel, structure, pixel)


@full_precision
def structure_loss(fused: Tensor, infrared: Tensor, visible: Tensor, *, variant: Variant = "paper") -> Tensor:
    """Return ``L_SSIM = (1 - SSIM(u, x)) + (1 - SSIM(u, y))``, 0 to 4 (the paper's equation 4).

    The code has half of it, 0 to 2, and a window at every pixel: at the border they see the image reflected.
    """
    if variant == "paper":
        return (1 - ssim(fused, infrared)) + (1 - ssim(fused, visible))
    return 1 - (ssim(fused, infrared, border="reflect") + ssim(fused, visible, border="reflect")) / 2


@full_precision
def pixel_loss(fused: Tensor, infrared: Tensor, visible: Tensor, *, brightness: float = 1.0) -> Tensor:
    """Return ``L_pixel = mean |u - x| + mean |u - y|`` (the paper's equation 5).

    The same sum is ``|u - max(x, y)| + |u - min(x, y)|``. ``brightness`` in [0, 2] weights the first
    of these, ``2 - brightness`` the second: 1 gives the paper's term, which is flat between the
    sources; above 1 it leans towards the brighter one, so that a warm person and a lit sky both stay.
    """
    brighter = (fused - torch.maximum(infrared, visible)).abs().mean()
    darker = (fused - torch.minimum(infrared, visible)).abs().mean()
    return brightness * brighter + (2 - brightness) * darker
