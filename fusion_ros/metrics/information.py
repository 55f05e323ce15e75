"""Metrics of information: what a grey-level histogram says."""

from __future__ import annotations

import numpy as np

from .images import check_grey

__all__ = ["entropy"]


def entropy(fused: np.ndarray) -> float:
    """Return EN, the Shannon entropy of the grey levels, in bits: 0 (flat) to 8.

    ``EN = -sum p_k log2 p_k`` over the 256 levels with ``p_k > 0``.

    Args:
        fused: ``(H, W)`` uint8.

    Source: Roberts et al., "Assessment of image fusion procedures using entropy, image quality,
    and multispectral classification", J. Appl. Remote Sens. 2008.
    """
    check_grey(fused, "fused")
    share = np.bincount(fused.ravel(), minlength=256) / fused.size
    share = share[share > 0]
    return float(max(0.0, -(share * np.log2(share)).sum()))  # -(1 * log2 1) is -0.0
