"""Features of images whose scalar products tell places that belong together from places that do not."""

from __future__ import annotations

import numpy as np

from ..structure import structural_features

__all__ = ["centred_features"]


def centred_features(image: np.ndarray, valid: np.ndarray | None = None, *, every: int = 1) -> np.ndarray:
    """Return structural features less their mean, so that the product of unrelated images' is zero on average.

    Args:
        image: ``(H, W)`` float32 in [0, 1].
        valid: ``(H, W)`` bool, False where the features are to be zero; everywhere valid if None.
        every: Keep only every so many of the nine directions, which overlap.

    Returns:
        ``(channels, H, W)`` float32.
    """
    found = structural_features(image)[::every]
    inside = np.ones(image.shape, bool) if valid is None else valid
    if not inside.any():
        return np.zeros_like(found)
    found -= found[:, inside].mean(axis=1)[:, None, None]
    found *= inside
    return found
