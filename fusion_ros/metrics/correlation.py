"""Metrics of correlation: how linearly the fused image follows its sources."""

from __future__ import annotations

import numpy as np

from .images import check_same_size

__all__ = ["correlation"]


def correlation(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return CC, the mean Pearson correlation of the fused image with its two sources: -1 to 1.

    ``CC = (r(I, F) + r(V, F)) / 2``; NaN where one of the three images is flat, because a
    correlation with a constant is undefined.

    Args:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, same size.
        fused: ``(H, W)`` uint8, same size.

    Source: Huang et al., "ReCoNet", ECCV 2022, section 3.1.
    """
    check_same_size(infrared, visible, fused)
    return (_pearson(infrared, fused) + _pearson(visible, fused)) / 2


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    da = a - np.mean(a, dtype=np.float64)
    db = b - np.mean(b, dtype=np.float64)
    scale = np.sqrt((da * da).sum() * (db * db).sum())
    return float((da * db).sum() / scale) if scale > 0 else float("nan")
