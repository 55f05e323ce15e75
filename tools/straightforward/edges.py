"""Qabf and Nabf as their definitions read: float64 SciPy filters, nothing shared, nothing clever.

Every function takes three ``(H, W)`` uint8 images and returns the metric. They are the second truth beside
the stored reference values, and the baseline that the speed of :mod:`fusion_ros.metrics` is measured against.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

__all__ = ["nabf_255", "nabf_exact", "nabf_rounded", "qabf_liu", "qabf_xydeas"]

_ACROSS = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
_UP = np.array([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]])


def qabf_xydeas(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Xydeas and Petrovic, Electronics Letters 2000, with the constants and borders of VIFB."""
    (strength_a, angle_a), (strength_b, angle_b), (strength_f, angle_f) = (
        _zero_padded(image) for image in (infrared, visible, fused)
    )
    kept = _preserved(strength_a, angle_a, strength_f, angle_f) * strength_a
    kept += _preserved(strength_b, angle_b, strength_f, angle_f) * strength_b
    return float(kept.sum() / (strength_a + strength_b).sum())


def _zero_padded(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grey = image.astype(np.float64)
    x, y = (signal.convolve2d(grey, kernel, mode="same") for kernel in (_ACROSS, _UP))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(x == 0, np.pi / 2, np.arctan(y / x))
    return np.sqrt(x**2 + y**2), angle


def _preserved(strength, angle, strength_f, angle_f) -> np.ndarray:
    low, high = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
    with np.errstate(invalid="ignore"):
        ratio = np.where(strength == strength_f, strength_f, low / high)
    likeness = 1 - np.abs(angle - angle_f) / (np.pi / 2)
    return 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (likeness - 0.8)))


def qabf_liu(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """The version of the toolbox of Liu et al., TPAMI 2012: every zero is 0.00001, the mean is over pixels."""
    (strength_a, angle_a), (strength_b, angle_b), (strength_f, angle_f) = (
        _never_zero(image) for image in (infrared, visible, fused)
    )
    kept_a = _preserved_liu(strength_a, angle_a, strength_f, angle_f)
    kept_b = _preserved_liu(strength_b, angle_b, strength_f, angle_f)
    return float(np.mean((kept_a * strength_a + kept_b * strength_b) / (strength_a + strength_b)))


def _never_zero(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grey = image.astype(np.float64)
    x, y = (signal.correlate2d(grey, kernel, mode="same") for kernel in (_ACROSS, -_UP))
    strength = np.sqrt(x**2 + y**2)
    return np.where(strength == 0, 1e-5, strength), np.arctan(y / np.where(x == 0, 1e-5, x))


def _preserved_liu(strength, angle, strength_f, angle_f) -> np.ndarray:
    ratio = np.minimum(strength, strength_f) / np.maximum(strength, strength_f)
    likeness = np.abs(np.abs(angle - angle_f) - np.pi / 2) * 2 / np.pi
    return 1 / (1 + np.exp(-10 * (ratio - 0.5))) / (1 + np.exp(-20 * (likeness - 0.75)))


def nabf_exact(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Kumar, Signal Image and Video Processing 2013, on [0, 1], gradients exact up to their scale."""
    return _nabf([_mirrored(image.astype(np.float64)) for image in (infrared, visible, fused)], 1 / (8 * 255))


def nabf_255(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """The same on 0..255, where gradients of two grey levels and more get a weight of their own."""
    return _nabf([_mirrored(image.astype(np.float64)) for image in (infrared, visible, fused)], 1 / 8)


def nabf_rounded(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """The same on [0, 1] in the summation order of the reference code, rounding errors and all."""
    return _nabf([_mirrored_by_columns(image / 255.0) for image in (infrared, visible, fused)], 1.0)


def _mirrored(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(ndimage.correlate(grey, kernel, mode="mirror") for kernel in (_ACROSS, -_UP))


def _mirrored_by_columns(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = grey.shape
    padded = np.pad(grey, 1, mode="reflect")
    gradients = []
    for kernel in (_ACROSS / 8, -_UP / 8):
        columns = []
        for j in range(3):
            rows = [kernel[i, j] * padded[i : i + height, j : j + width] for i in range(3)]
            columns.append((rows[0] + rows[1]) + rows[2])
        gradients.append((columns[0] + columns[1]) + columns[2])
    return tuple(gradients)


def _nabf(gradients: list, scale: float) -> float:
    strengths, angles = [], []
    for across, down in gradients:
        strengths.append(np.sqrt(across**2 + down**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            angles.append(np.where((across == 0) & (down == 0), 0.0, np.arctan(across / down)))
    artefact = (strengths[2] > strengths[0]) & (strengths[2] > strengths[1])
    lost, weights = 0.0, 0.0
    for strength, angle in zip(strengths[:2], angles[:2], strict=True):
        weight = np.where(strength * scale >= 2, (strength * scale) ** 1.5, 0.001)
        lost = lost + artefact * (1 - _kept(strength, angle, strengths[2], angles[2])) * weight
        weights = weights + weight
    return float(np.sum(lost) / np.sum(weights))


def _kept(strength, angle, strength_f, angle_f) -> np.ndarray:
    low, high = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
    with np.errstate(invalid="ignore"):
        ratio = np.where(low == 0, 0.0, low / high)
    likeness = np.abs(np.abs(angle - angle_f) - np.pi / 2) * 2 / np.pi
    return np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + np.exp(-22 * (likeness - 0.5))))
