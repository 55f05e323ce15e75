"""Alignment: bringing the moving image onto the pixel grid of the reference camera."""

from __future__ import annotations

from .calibration import Calibration, load_calibration
from .coarse import Aligned, CoarseAligner, CoarseSettings

__all__ = ["Aligned", "Calibration", "CoarseAligner", "CoarseSettings", "load_calibration"]
