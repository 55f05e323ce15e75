"""Metrics of contrast: how far the grey levels of the fused image spread."""

from __future__ import annotations

import numpy as np

from .images import check_grey

__all__ = ["standard_deviation"]


def standard_deviation(fused: np.ndarray) -> float:
    """Return SD, the population standard deviation of the grey levels on 0..255: 0 to 127.5.

    ``SD = sqrt(E[(F - E[F])^2])``. Published tables also hold two other quantities under this
    name (a root of a sum without the mean; a deviation per column): compare like with like.

    Args:
        fused: ``(H, W)`` uint8.

    Source: the textbook definition, as in Huang et al., "ReCoNet", ECCV 2022, section 3.1.
    """
    check_grey(fused, "fused")
    return float(np.std(fused, dtype=np.float64))
