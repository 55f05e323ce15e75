"""Feature maps of fused images: taken from a network, put into messages, and read out of them again.

:mod:`~fusion_ros.features.decode` is what a subscriber needs.
"""

from __future__ import annotations

from .decode import as_tensor, decode_features
from .description import FeatureDescription, LayerDescription
from .extractor import FeatureExtractor, FeatureSettings

__all__ = [
    "FeatureDescription",
    "FeatureExtractor",
    "FeatureSettings",
    "LayerDescription",
    "as_tensor",
    "decode_features",
]
