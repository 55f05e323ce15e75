"""The structural similarity index as a differentiable map.

Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, with
that paper's window and constants.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_ros.errors import ImageError

from ..precision import full_precision

__all__ = ["WINDOW", "Border", "ssim", "ssim_map", "ssim_terms"]

Border = Literal["valid", "reflect"]
"""``valid``: only windows fully inside the image; ``reflect``: one window a pixel, the image reflected."""

WINDOW = 11
"""Side of the Gaussian window in pixels."""

_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03


@full_precision
def ssim(a: Tensor, b: Tensor, *, data_range: float | Tensor = 1.0, border: Border = "valid") -> Tensor:
    """Return the mean structural similarity of two batches of images, -1 to 1, as a scalar tensor.

    The mean is over all windows and images; arguments and errors as for :func:`ssim_map`.
    """
    return ssim_map(a, b, data_range=data_range, border=border).mean()


@full_precision
def ssim_map(a: Tensor, b: Tensor, *, data_range: float | Tensor = 1.0, border: Border = "valid") -> Tensor:
    """Return the structural similarity of two batches of images window by window, -1 to 1.

    ``SSIM = (2 mA mB + C1)(2 cov + C2) / ((mA^2 + mB^2 + C1)(vA + vB + C2))`` with moments under a
    Gaussian window of 11 pixels, sigma 1.5, ``C1 = (0.01 L)^2``, ``C2 = (0.03 L)^2`` (equation 13).

    Args:
        a: ``(B, 1, H, W)`` in [0, ``data_range``]; values beyond it are allowed.
        b: Same shape.
        data_range: L, the span of values that an image may take.
        border: What happens at the image's border; no border value is invented by ``valid``.

    Returns:
        ``(B, 1, H - 10, W - 10)`` for ``valid``, ``(B, 1, H, W)`` for ``reflect``.

    Raises:
        ImageError: An image is smaller than the window (``valid``) or than its half (``reflect``).
    """
    luminance, structure = ssim_terms(a, b, data_range=data_range, border=border)
    return luminance * structure


@full_precision
def ssim_terms(
    a: Tensor, b: Tensor, *, data_range: float | Tensor = 1.0, border: Border = "valid"
) -> tuple[Tensor, Tensor]:
    """Return the two factors of :func:`ssim_map`: luminance, and contrast with structure.

    Arguments, shapes and errors as for :func:`ssim_map`.
    """
    _check_size(a, border)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b, aa, bb, ab = _blur(torch.cat([a, b, a * a, b * b, a * b], dim=1), border).split(1, dim=1)
    covariance = ab - mean_a * mean_b
    variances = aa - mean_a**2 + bb - mean_b**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _blur(x: Tensor, border: Border) -> Tensor:
    if border == "reflect":
        x = F.pad(x, [WINDOW // 2] * 4, mode="reflect")
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, line, groups=x.shape[1])
    return F.conv2d(x, line.transpose(2, 3), groups=x.shape[1])


def _check_size(image: Tensor, border: Border) -> None:
    height, width = image.shape[-2:]
    smallest = WINDOW if border == "valid" else WINDOW // 2 + 1
    if min(height, width) < smallest:
        raise ImageError(
            f"structural similarity: expected images of at least {smallest} x {smallest} pixels, "
            f"got {width} x {height}; take larger crops"
        )
