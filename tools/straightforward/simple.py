"""Metrics of histograms, contrast and correlation, written down from their definitions and nothing else."""

from __future__ import annotations

import numpy as np

__all__ = ["ag", "cc", "ce", "en", "mi_bits", "scd", "sd", "sf"]


def en(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return EN:bits_256."""
    return _entropy(np.histogram(fused, 256, (0, 256))[0] / fused.size)


def sd(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return SD:population_255."""
    return float(np.sqrt(np.mean((fused.astype(np.float64) - fused.mean()) ** 2)))


def mi_bits(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return MI:sum_bits."""
    return _information(infrared, fused) + _information(visible, fused)


def ce(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return CE:mean_kl_bits."""
    p_fused = np.histogram(fused, 256, (0, 256))[0] / fused.size
    total = 0.0
    for source in (infrared, visible):
        p = np.histogram(source, 256, (0, 256))[0] / source.size
        both = (p > 0) & (p_fused > 0)
        total += float(np.sum(p[both] * np.log2(p[both] / p_fused[both])))
    return total / 2


def cc(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return CC:mean_pearson."""
    return (_pearson(infrared, fused) + _pearson(visible, fused)) / 2


def scd(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return SCD:sum_corr."""
    a, b, f = (image.astype(np.float64) for image in (infrared, visible, fused))
    return _pearson(f - b, a) + _pearson(f - a, b)


def sf(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return SF:div_mn."""
    f = fused.astype(np.float64)
    return float(np.sqrt((np.sum(np.diff(f, axis=1) ** 2) + np.sum(np.diff(f, axis=0) ** 2)) / f.size))


def ag(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return AG:central_mean."""
    gy, gx = np.gradient(fused.astype(np.float64))
    return float(np.mean(np.sqrt((gx**2 + gy**2) / 2)))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-np.sum(p * np.log2(p)))


def _information(source: np.ndarray, fused: np.ndarray) -> float:
    joint = np.histogram2d(source.ravel(), fused.ravel(), 256, ((0, 256), (0, 256)))[0] / fused.size
    return _entropy(joint.sum(axis=1)) + _entropy(joint.sum(axis=0)) - _entropy(joint.ravel())


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
