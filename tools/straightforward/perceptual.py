"""Qcb and Qcv as their definitions read: float64, complex FFTs, SciPy filters, nothing shared, nothing clever.

Every function takes three ``(H, W)`` uint8 images and returns the metric. They are the second truth beside
the stored reference values, and the baseline that the speed of :mod:`fusion_ros.metrics` is measured against.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

__all__ = ["qcb", "qcv"]

_BLOCK = 16


def qcb(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Chen and Blum, Image and Vision Computing 2009, as in the toolbox of Liu et al., TPAMI 2012, and VIFB."""
    contrast_a, contrast_b, contrast_f = (_contrast(image) for image in (infrared, visible, fused))
    energy = contrast_a**2 + contrast_b**2
    saliency = np.divide(contrast_a**2, energy, out=np.full(energy.shape, 0.5), where=energy > 0)
    quality = saliency * _ratio(contrast_a, contrast_f) + (1 - saliency) * _ratio(contrast_b, contrast_f)
    return float(quality.mean())


def _contrast(image: np.ndarray) -> np.ndarray:
    seen = _filtered(_stretched(image), 30, _contrast_sensitivity)
    narrow, wide = (_blurred(seen, sigma) for sigma in (2, 4))
    local = np.abs(np.divide(narrow, wide, out=np.ones_like(wide), where=wide != 0) - 1)
    return local**3 / (local**2 + 0.0001)


def _blurred(image: np.ndarray, sigma: int) -> np.ndarray:
    """Return the image under a 31 x 31 Gaussian whose cut tails are not made up for, black beyond the border."""
    taps = np.exp(-(np.arange(-15.0, 16.0) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    across = ndimage.convolve1d(image, taps, axis=1, mode="constant")
    return ndimage.convolve1d(across, taps, axis=0, mode="constant")


def _ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.divide(low, high, out=np.ones_like(high), where=high > 0)


def _contrast_sensitivity(radius: np.ndarray) -> np.ndarray:
    return np.exp(-((radius / 15.3870) ** 2)) - 0.7622 * np.exp(-((radius / 1.3456) ** 2))


def qcv(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Chen and Varshney, Information Fusion 2007, as in the toolbox of Liu et al., TPAMI 2012, and VIFB."""
    stretched = [_stretched(image) for image in (infrared, visible, fused)]
    weighted, weights = 0.0, 0.0
    for source in stretched[:2]:
        saliency = _block_sums(_strength(source) ** 5)
        difference = _filtered(source - stretched[2], 8, _mannos_sakrison)
        weighted = weighted + saliency * _block_sums(difference**2) / _BLOCK**2
        weights = weights + saliency
    return float(np.sum(weighted) / np.sum(weights))


def _strength(grey: np.ndarray) -> np.ndarray:
    across = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    x, y = (signal.correlate2d(grey, kernel, mode="same") for kernel in (across, across.T))
    return np.sqrt(x**2 + y**2)


def _block_sums(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    padded = np.pad(values, ((0, -height % _BLOCK), (0, -width % _BLOCK)))
    blocks = padded.reshape(padded.shape[0] // _BLOCK, _BLOCK, padded.shape[1] // _BLOCK, _BLOCK)
    return blocks.sum(axis=(1, 3))


def _mannos_sakrison(radius: np.ndarray) -> np.ndarray:
    return 2.6 * (0.0192 + 0.144 * radius) * np.exp(-((0.144 * radius) ** 1.1))


def _stretched(image: np.ndarray) -> np.ndarray:
    """Return the image stretched to 0..255 and rounded half up; zeros where it is flat."""
    low, high = float(image.min()), float(image.max())
    if low == high:
        return np.zeros(image.shape)
    return np.floor((image - low) / (high - low) * 255 + 0.5)


def _filtered(grey: np.ndarray, divisor: float, response) -> np.ndarray:
    """Return the image weighted in the frequency domain by ``response(radius)``, zero frequency in the middle."""
    height, width = grey.shape
    u, v = np.meshgrid(_grid(width), _grid(height))
    weights = response(np.hypot(width / divisor * u, height / divisor * v))
    return np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(grey)) * weights)).real


def _grid(n: int) -> np.ndarray:
    return np.arange(-n + n % 2, n - 1 + n % 2, 2) / n
