"""Alignment: bringing the moving image onto the pixel grid of the reference camera."""

from __future__ import annotations

from .coarse import Aligned, CoarseAligner, CoarseSettings

__all__ = ["Aligned", "CoarseAligner", "CoarseSettings"]
