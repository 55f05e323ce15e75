"""What the fusion of one pair gives: the image, the features, and all that is to be known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np

from .alignment.fine import FineAlignment
from .feature_grid import FeatureGrid
from .frame import Frame
from .timing import Repeat

__all__ = ["FusionResult", "Mode", "Sources"]


class Mode(str, Enum):
    """What a result is made of."""

    FUSED = "fused"
    RGB_ONLY = "rgb_only"
    THERMAL_ONLY = "thermal_only"
    UNALIGNED = "unaligned"
    """Both frames are there, but not yet known is how one lies on the other: the reference image alone."""


class Sources(NamedTuple):
    """The two images that were fused, on the output grid; they may share memory with the frames.

    Attributes:
        infrared: ``(H, W)`` uint8, normalised.
        rgb: ``(H, W, 3)`` uint8, or ``(H, W)`` from a grey camera.
        overlap: ``(H, W)`` bool, False where the moving camera sees nothing: there its image is 0, as before
            that area is filled for the network. None where it sees everything.
    """

    infrared: np.ndarray
    rgb: np.ndarray
    overlap: np.ndarray | None


@dataclass(frozen=True, eq=False)
class FusionResult:
    """One output with its provenance.

    Attributes:
        image: uint8, ``(H, W, 3)`` RGB, or ``(H, W)`` where there is no colour to keep; None unless asked for.
        size: ``(H, W)`` of the output grid.
        reference: The frame whose grid, stamp and frame id the output carries.
        offset_ns: Thermal time minus RGB time inside the pair.
        aligned_thermal: The thermal pixels on the output grid, counts untouched; None unless asked for.
        sources: The two images that were fused; None unless asked for, and where ``mode`` is not ``FUSED``.
        alignment: What is known of the misalignment that the coarse alignment leaves, as it was applied; None
            where nothing looks for it.
        features: Fused features by the name of their layer, the main one first, float32 as the network gives
            them, on the output grid; None unless asked for.
        repeat: Which camera only repeats its image, whatever has become of it; None where none does.
        stage_ms: Milliseconds spent in each stage, in order.
    """

    image: np.ndarray | None
    size: tuple[int, int]
    mode: Mode
    reference: Frame
    offset_ns: int = 0
    aligned_thermal: np.ndarray | None = None
    sources: Sources | None = None
    alignment: FineAlignment | None = None
    features: Mapping[str, FeatureGrid] | None = None
    repeat: Repeat | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)

    @property
    def encoding(self) -> str:
        """The ``image_encodings`` name that the image is published with."""
        return "bgr8" if self.image is not None and self.image.ndim == 3 else "mono8"
