"""ReCoNet's fusion loss, and three options that we add to it.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, section 2.4. The paper gives no reductions; means are taken throughout, so that
no weight depends on the size of a crop.

The paper's terms alone settle on an average of the sources: equation 5 is flat between them, and
equation 4 asks for the structure of both. Where the sources disagree, the average is pale. The
options say what to do with that freedom; each has a value at which it does nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ssim import ssim

__all__ = ["FusionLoss", "contrast_loss", "correlation_loss", "fusion_loss", "pixel_loss", "structure_loss"]

_TINY = 1e-12  # keeps square roots differentiable on flat crops


class FusionLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor; ``total`` is what is minimised."""

    total: Tensor
    structure: Tensor
    pixel: Tensor
    contrast: Tensor
    correlation: Tensor


def fusion_loss(
    fused: Tensor,
    infrared: Tensor,
    visible: Tensor,
    *,
    gamma: float = 0.28,
    brightness: float = 1.0,
    contrast_weight: float = 0.0,
    correlation_weight: float = 0.0,
) -> FusionLoss:
    """Return ``gamma L_SSIM + (1 - gamma) L_pixel + contrast_weight L_contrast + correlation_weight L_corr``.

    With the defaults this is ``L_fuse``, the paper's equation 3.

    Args:
        fused: ``(B, 1, H, W)``, the network's output u, not clamped.
        infrared: ``(B, 1, H, W)`` in [0, 1], the source x.
        visible: ``(B, 1, H, W)`` in [0, 1], the source y.
        gamma: Share of structure against pixel intensity; the paper's is 0.28.
        brightness: Pull of the brighter source in :func:`pixel_loss`; the paper's is 1.
        contrast_weight: Weight of :func:`contrast_loss`; the paper's is 0.
        correlation_weight: Weight of :func:`correlation_loss`; the paper's is 0.
    """
    structure = structure_loss(fused, infrared, visible)
    pixel = pixel_loss(fused, infrared, visible, brightness=brightness)
    contrast = contrast_loss(fused, infrared, visible)
    correlation = correlation_loss(fused, infrared, visible)
    total = gamma * structure + (1 - gamma) * pixel + contrast_weight * contrast + correlation_weight * correlation
    return FusionLoss(total, structure, pixel, contrast, correlation)


def structure_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``L_SSIM = (1 - SSIM(u, x)) + (1 - SSIM(u, y))``, 0 to 4 (the paper's equation 4)."""
    return (1 - ssim(fused, infrared)) + (1 - ssim(fused, visible))


def pixel_loss(fused: Tensor, infrared: Tensor, visible: Tensor, *, brightness: float = 1.0) -> Tensor:
    """Return ``L_pixel = mean |u - x| + mean |u - y|`` (the paper's equation 5).

    The same sum is ``|u - max(x, y)| + |u - min(x, y)|``. ``brightness`` in [0, 2] weights the first
    of these, ``2 - brightness`` the second: 1 gives the paper's term, which is flat between the
    sources; above 1 it leans towards the brighter one, so that a warm person and a lit sky both stay.
    """
    brighter = (fused - torch.maximum(infrared, visible)).abs().mean()
    darker = (fused - torch.minimum(infrared, visible)).abs().mean()
    return brightness * brighter + (2 - brightness) * darker


def contrast_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``L_contrast = mean over images of |std(u) - max(std(x), std(y))|`` (ours).

    Asks that the fused image spread its grey levels as far as the better of its sources does.
    """
    target = torch.maximum(_deviation(infrared), _deviation(visible))
    return (_deviation(fused) - target).abs().mean()


def correlation_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``L_corr = mean over images of 1 - (r(u, x) + r(u, y)) / 2``, r being Pearson's (ours).

    Where equation 4 looks at windows of 11 pixels, this looks at the whole crop: contrast is to be
    gained by spreading what both sources show, not by following one of them alone.
    """
    return (1 - (_pearson(fused, infrared) + _pearson(fused, visible)) / 2).mean()


def _deviation(image: Tensor) -> Tensor:
    """Standard deviation of each image, ``(B,)``."""
    return torch.sqrt(image.var(dim=(1, 2, 3), unbiased=False) + _TINY)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of each pair of images, ``(B,)``; 0 where one is flat."""
    a = a - a.mean(dim=(1, 2, 3), keepdim=True)
    b = b - b.mean(dim=(1, 2, 3), keepdim=True)
    return (a * b).mean(dim=(1, 2, 3)) / (_deviation(a) * _deviation(b))
