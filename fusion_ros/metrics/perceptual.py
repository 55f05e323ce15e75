"""Metrics after a model of human sight: images are weighted by the eye's contrast sensitivity before comparison.

Both stretch each image to 0..255 by its own minimum and maximum first, and weight it in the frequency domain.
Images and weights are real and even there, so half a spectrum does.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .pieces import pieces
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["CHEN_BLUM", "CHEN_VARSHNEY"]

_BLOCK = 16
_NOTHING = np.finfo(np.float64).tiny  # added above and below, makes 0 / 0 one and leaves other quotients alone
_TAPS = np.arange(-15.0, 16.0)


def _stretched(triple: Triple) -> tuple[np.ndarray, ...]:
    """Return the three images stretched to 0..255 and rounded half up, uint8; a flat image becomes black."""
    return tuple(_stretch(image) for image in triple.images)


def _stretch(image: np.ndarray) -> np.ndarray:
    low, high = int(image.min()), int(image.max())
    share = (np.arange(256) - low) / max(1, high - low)
    table = np.floor(np.clip(share, 0.0, 1.0) * 255.0 + 0.5)
    return cv2.LUT(image, table.astype(np.uint8))


def _seen(image: np.ndarray, sensitivity: np.ndarray) -> np.ndarray:
    """Return an image as ``(H, W)`` float64, weighted by ``sensitivity`` over its half spectrum."""
    spectrum = np.fft.rfft2(image)
    spectrum *= sensitivity
    return np.fft.irfft2(spectrum, s=image.shape)


def _frequencies(size: tuple[int, int], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies down ``(H, 1)`` and across ``(W // 2 + 1)`` of a half spectrum, in cycles per degree.

    Whatever its size, an image is taken to span that many degrees of the visual field, across and down.
    """
    height, width = size
    return np.fft.fftfreq(height, degrees / height)[:, None], np.fft.rfftfreq(width, degrees / width)


@lru_cache(maxsize=4)
def _contrast_sensitivity(size: tuple[int, int]) -> np.ndarray:
    """``exp(-(r / 15.387)^2) - 0.7622 exp(-(r / 1.3456)^2)`` over a half spectrum, a difference of Gaussians."""
    down, across = _frequencies(size, 15.0)
    wide, narrow = (np.exp(-((down / r) ** 2)) * np.exp(-((across / r) ** 2)) for r in (15.3870, 1.3456))
    return wide - 0.7622 * narrow


def _contrast(seen: np.ndarray) -> np.ndarray:
    """Return ``C^3 / (C^2 + 0.0001)`` of Peli's contrast ``C = |near mean / wide mean - 1|``; 0 if flat."""
    near, wide = (_blurred(seen, sigma) for sigma in (2.0, 4.0))
    flat = wide == 0.0
    wide[flat] = 1.0
    near /= wide
    near -= 1.0
    near[flat] = 0.0
    contrast = np.abs(near, out=near)
    square = np.multiply(contrast, contrast, out=wide)
    contrast *= square
    square += 0.0001
    contrast /= square
    return contrast


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return the image under a Gaussian of 31 x 31 taps, whose cut tails are not made up for, in black."""
    taps = np.exp(_TAPS**2 / (-2.0 * sigma**2)) / (np.sqrt(2.0 * np.pi) * sigma)
    return cv2.sepFilter2D(image, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_CONSTANT)


def _contrast_preserved(triple: Triple) -> float:
    sensitivity = _contrast_sensitivity(triple.size)
    contrasts = [_contrast(_seen(image, sensitivity)).ravel() for image in triple.once(_stretched)]
    summed = 0.0
    for piece in pieces(triple.fused.size):
        *sources, fused = (contrast[piece] for contrast in contrasts)
        kept, total = 0.0, 0.0
        for contrast in sources:
            quality = np.minimum(contrast, fused) + _NOTHING
            quality /= np.maximum(contrast, fused) + _NOTHING
            saliency = contrast * contrast
            saliency += _NOTHING
            total = total + saliency
            quality *= saliency
            kept = kept + quality
        summed += float((kept / total).sum())
    return summed / triple.fused.size


@lru_cache(maxsize=4)
def _mannos_sakrison(size: tuple[int, int]) -> np.ndarray:
    """``2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1)`` over a half spectrum."""
    radius = 0.144 * np.hypot(*_frequencies(size, 4.0))
    return 2.6 * (0.0192 + radius) * np.exp(-(radius**1.1))


def _difference_seen(triple: Triple) -> float:
    *sources, fused = triple.once(_stretched)
    sensitivity = _mannos_sakrison(triple.size)
    seen, total = 0.0, 0.0
    for source in sources:
        difference = _seen(cv2.subtract(source, fused, dtype=cv2.CV_64F), sensitivity)
        x, y = (
            cv2.Sobel(source, cv2.CV_16S, *order, borderType=cv2.BORDER_CONSTANT) for order in ((1, 0), (0, 1))
        )
        for top in range(0, triple.size[0], _BLOCK):
            rows = slice(top, top + _BLOCK)
            saliency = _block_sums(_fifth_power(x[rows], y[rows]))
            seen += float(saliency @ _block_sums(np.square(difference[rows])))
            total += float(saliency.sum())
    return seen / total / _BLOCK**2 if total > 0.0 else float("nan")


def _fifth_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the fifth power of the length of a gradient of integers."""
    square = np.square(x, dtype=np.float64)
    square += np.square(y, dtype=np.float64)
    power = np.sqrt(square)
    power *= square
    power *= square
    return power


def _block_sums(rows: np.ndarray) -> np.ndarray:
    """Return the sums over the blocks of one row of blocks; the last one goes on in zeros."""
    return np.add.reduceat(rows.sum(axis=0), np.arange(0, rows.shape[1], _BLOCK))


CHEN_BLUM = MetricSpec(
    "Qcb",
    "Chen-Blum, local contrast preserved",
    (
        Variant(
            "vifb",
            _contrast_preserved,
            (0.0, 1.0),
            "Share of each source's visible local contrast that the fused image keeps, weighted by that contrast, "
            "as in VIFB. Where no image has contrast nothing is lost: 1 for flat images.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Chen, Blum, Image and Vision Computing 27, 2009",
)

CHEN_VARSHNEY = MetricSpec(
    "Qcv",
    "Chen-Varshney, visible difference",
    (
        Variant(
            "vifb",
            _difference_seen,
            (0.0, float("inf")),
            "Squared difference from the sources as the eye weights it, by 16 x 16 blocks, which weigh by the "
            "fifth power of their gradients, as in VIFB. NaN where both sources are flat.",
        ),
    ),
    higher_is_better=False,
    needs=Needs.TRIPLE,
    source="Chen, Varshney, Information Fusion 8, 2007",
)
