"""What recipes with a perceptual loss compare images by: VGG-16, or what stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fusion_ros.settings import setting

from ..losses.perceptual import FeatureExtractor, StructureFeatures
from ..losses.vgg import VGG16Features, VGGConvention
from .own_terms import OwnTerms

__all__ = ["PerceptualSettings"]

_SCALES: Mapping[VGGConvention, float] = {"imagenet": 1.0, "byte": 255.0}


@dataclass(frozen=True)
class PerceptualSettings(OwnTerms):
    """Of recipes with a perceptual loss."""

    vgg: str = setting(
        "",
        "Path of torchvision's VGG-16 ImageNet checkpoint (vgg16-397923af.pth); empty takes fixed edge filters "
        "in its place.",
    )

    def perceptual_features(self, convention: VGGConvention, device: torch.device) -> FeatureExtractor:
        """Return VGG-16 from the user's file, or what stands in for it, on a device.

        Args:
            convention: What values VGG-16 is given; the stand-in is scaled alike.
            device: The network's.

        Raises:
            WeightsError: The file cannot be used.
        """
        path = self.vgg
        features = VGG16Features(path, convention=convention) if path else StructureFeatures(_SCALES[convention])
        return features.to(device)

    def describe_features(self, convention: VGGConvention) -> str:
        """Say for a model card what the perceptual terms compare.

        Args:
            convention: As for :meth:`perceptual_features`.
        """
        if self.vgg:
            return "Perceptual terms compare features of VGG-16 with torchvision's ImageNet weights."
        return StructureFeatures(_SCALES[convention]).describe()
