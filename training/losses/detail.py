"""Optional terms of our own that any recipe may add to its paper's loss; of weight 0 unless asked for.

The papers' terms alone mostly settle on an average of the sources. Where the sources disagree, an average is
pale and soft. These terms say what to prefer there: the stronger edge, the brighter source, the wider spread
of grey levels, a likeness to both.

That an edge of the fused image be the stronger one of the sources, and its brightness the larger one, is usual
since Tang et al., "Image fusion in the loop of high-level vision tasks: A semantic-aware real-time infrared
and visible image fusion network" (SeAFusion), Information Fusion 2022, which compares the absolute values of
Sobel's derivatives. Here their sign is kept: an edge that is inverted, dark to bright instead of bright to
dark, is no edge preserved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import full_precision
from .gradients import sobel

__all__ = ["contrast_loss", "correlation_loss", "gradient_loss", "intensity_loss"]

_TINY = 1e-12  # keeps square roots differentiable on flat crops


@full_precision
def gradient_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``mean |grad u - g|``, g being the derivative of larger magnitude of the two sources.

    The larger is chosen at each pixel and for x and y apart; where both are equal, the visible image's.

    Args:
        fused: ``(B, 1, H, W)``, the network's output u.
        infrared: ``(B, 1, H, W)`` in [0, 1].
        visible: ``(B, 1, H, W)`` in [0, 1].

    Returns:
        A scalar tensor, the mean over both derivatives (:func:`.gradients.sobel`), pixels and images.
    """
    of_infrared, of_visible = sobel(infrared), sobel(visible)
    stronger = torch.where(of_infrared.abs() > of_visible.abs(), of_infrared, of_visible)
    return (sobel(fused) - stronger).abs().mean()


@full_precision
def intensity_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``mean |u - max(x, y)|``: each pixel as bright as the brighter source; arguments as above."""
    return (fused - torch.maximum(infrared, visible)).abs().mean()


@full_precision
def contrast_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``mean over images of |std(u) - max(std(x), std(y))|``.

    Asks that the fused image spread its grey levels as far as the better of its sources does.
    """
    target = torch.maximum(_deviation(infrared), _deviation(visible))
    return (_deviation(fused) - target).abs().mean()


@full_precision
def correlation_loss(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``mean over images of 1 - (r(u, x) + r(u, y)) / 2``, r being Pearson's, 0 to 2.

    Where structural similarity looks at windows of 11 pixels, this looks at the whole crop: contrast is to
    be gained by spreading what both sources show, not by following one of them alone.
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
