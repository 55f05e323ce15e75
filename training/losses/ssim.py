"""The structural similarity index as a differentiable map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ssim"]

WINDOW = 11
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean structural similarity of two batches of images in [0, 1]: -1 to 1.

    ``SSIM = (2 mA mB + C1)(2 cov + C2) / ((mA^2 + mB^2 + C1)(vA + vB + C2))`` with moments under a
    Gaussian window of 11 pixels, sigma 1.5, ``C1 = 0.01^2``, ``C2 = 0.03^2``; only windows that lie
    fully inside the image count, so no border value has to be invented.

    Args:
        a: ``(B, 1, H, W)``, H and W at least 11.
        b: Same shape.

    Returns:
        A scalar tensor, the mean over all windows and images.

    Source: Wang et al., "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 2004, eq. 13.
    """
    moments = _blur(torch.cat([a, b, a * a, b * b, a * b], dim=1))  # B, 5, H - 10, W - 10
    mean_a, mean_b, aa, bb, ab = moments.unbind(1)
    covariance = ab - mean_a * mean_b
    variances = aa - mean_a**2 + bb - mean_b**2
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean()


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, line, groups=x.shape[1])
    return F.conv2d(x, line.transpose(2, 3), groups=x.shape[1])
