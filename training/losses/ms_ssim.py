"""The multi-scale structural similarity index: structure from fine to coarse, luminance at the coarsest.

Wang et al., "Multi-scale structural similarity for image quality assessment", Asilomar 2003, equation 7, with
five levels and that paper's weights; and the form of it in the code of RFN-Nest, which differs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_ros.errors import ImageError

from ..precision import full_precision
from .ssim import WINDOW, ssim_terms

__all__ = ["SMALLEST_SIDE", "WEIGHTS", "guessed_data_range", "ms_ssim", "rfn_nest_ms_ssim"]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the levels, the finest first."""

SMALLEST_SIDE = WINDOW * 2 ** (len(WEIGHTS) - 1)
"""Pixels that an image's sides need for a window to fit into the coarsest level: 176."""

# A level's mean below it counts as this much: a negative number has no such power, and a factor of 0 would hide
# the gradients of all other levels.
_LEAST = 1e-6


@full_precision
def ms_ssim(a: Tensor, b: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the mean multi-scale structural similarity of two batches of images, 0 to 1.

    ``L_5^w5 * prod_j CS_j^wj``: at each level the contrast and structure averaged over the image, at the last
    one times the luminance. Between levels 2 x 2 pixels are averaged. The mean is over images.

    Args:
        a: ``(B, 1, H, W)`` in [0, ``data_range``].
        b: Same shape.
        data_range: The span of values that an image may take.

    Raises:
        ImageError: A side is shorter than 176 pixels.
    """
    _check_size(a)
    index = torch.ones(a.shape[0], dtype=a.dtype, device=a.device)
    for level, weight in enumerate(WEIGHTS, start=1):
        luminance, structure = ssim_terms(a, b, data_range=data_range)
        values = luminance * structure if level == len(WEIGHTS) else structure
        index = index * values.mean(dim=(1, 2, 3)).clamp(min=_LEAST) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return index.mean()


@full_precision
def rfn_nest_ms_ssim(a: Tensor, b: Tensor, *, data_range: float | None = None, normalised: bool = True) -> Tensor:
    """Return the index as the code of RFN-Nest computes it; a scalar tensor.

    It differs from :func:`ms_ssim` in four ways. Means are over the whole batch. The last level's similarity
    enters with its exponent once for each of the four other levels, so to the fourth power. At the last level
    its contrast and structure alone have no part. And the range of values is guessed at each level.

    Args:
        a: ``(B, 1, H, W)``, in the code the network's output.
        b: Same shape.
        data_range: The span of values; None guesses it (:func:`guessed_data_range`).
        normalised: Whether ``(m + 1) / 2`` takes the place of each level's mean m, as in training. It keeps the
            powers defined; without it, the index of images that are opposed to each other is NaN.

    Raises:
        ImageError: A side is shorter than 176 pixels.
    """
    _check_size(a)
    index = torch.ones((), dtype=a.dtype, device=a.device)
    for level, weight in enumerate(WEIGHTS, start=1):
        span = guessed_data_range(a) if data_range is None else data_range
        luminance, structure = ssim_terms(a, b, data_range=span)
        last = level == len(WEIGHTS)
        mean = (luminance * structure if last else structure).mean()
        if normalised:
            mean = (mean + 1) / 2
        index = index * mean ** (weight * (len(WEIGHTS) - 1) if last else weight)
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return index


@full_precision
def guessed_data_range(image: Tensor) -> Tensor:
    """Return L as the code of RFN-Nest guesses it from a batch of images, a scalar tensor.

    255 where a value is above 128, else 1; one more where a value is below -0.5.
    """
    spans_bytes, spans_negatives = image.amax() > 128, image.amin() < -0.5
    return 1 + 254 * spans_bytes.to(image) + spans_negatives.to(image)


def _check_size(image: Tensor) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise ImageError(
            f"multi-scale similarity: expected images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got "
            f"{width} x {height}; take larger crops, or plain structural similarity"
        )
