"""LRRNet's fusion module for tracking: two feature maps of a Siamese tracker become one.

Li et al., "LRRNet: A Novel Representation Learning Guided Fusion Network for Infrared and Visible Images",
IEEE TPAMI 2023, section 5.4 and figure 14. In the authors' tracker, DFAT, the features of both cameras' branches
are fused for a branch of its own.

    infrared --> LLRR blocks --> conv --+
                                       cat --> conv --> fused
    visible ---> LLRR blocks --> conv --+

The paper gives the wiring alone, and no code was released. Chosen here: the fusion network's branches, each with
an embedding, thresholds and zeta of its own, on feature maps instead of images; low-rank and sparse coefficients
go on together, as the figure shows one path; 3x3 convolutions continued by reflection; no activation but the soft
threshold; one module per level, shared by template and search region. Thresholds begin at a tenth of the fusion
network's: features are small, and a coefficient that a threshold has cut to 0 passes no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..settings import Settings, setting
from ..spec import Takes
from .base import FusionNetwork, Gives, NetworkSpec
from .lrrnet import LLRRBranch
from .rfn_nest import reflected_convolution

__all__ = ["LRRNetTracking", "LRRNetTrackingSettings"]


@dataclass(frozen=True)
class LRRNetTrackingSettings(Settings):
    """How the tracking form is built."""

    channels: int = setting(256, "Channels of either feature map, and of the fused one.", bounds=(1, 4096))
    hidden: int = setting(
        128, "Channels of the low-rank coefficients, and as many of the sparse ones.", bounds=(1, 1024)
    )
    blocks: int = setting(4, "LLRR blocks of each branch.", bounds=(0, 32))


class LRRNetTracking(FusionNetwork):
    """LRRNet's module of one level: 12,982,018 parameters with 256 channels."""

    spec = NetworkSpec(
        name="lrrnet_tracking",
        title="LRRNet for tracking",
        source="Li et al., LRRNet, IEEE TPAMI 2023, section 5.4, figure 14",
        takes=Takes.FEATURES,
        gives=Gives.FEATURES,
    )
    Settings = LRRNetTrackingSettings

    def __init__(self, settings: LRRNetTrackingSettings | None = None) -> None:
        super().__init__(settings)
        channels, hidden, blocks = self.settings.channels, self.settings.hidden, self.settings.blocks
        self.infrared = LLRRBranch(hidden, blocks, channels)
        self.visible = LLRRBranch(hidden, blocks, channels)
        with torch.no_grad():
            for branch in (self.infrared, self.visible):
                branch.threshold *= 0.1
        self.reduce_infrared = reflected_convolution(2 * hidden, channels, 3)
        self.reduce_visible = reflected_convolution(2 * hidden, channels, 3)
        self.merge = reflected_convolution(2 * channels, channels, 3)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse one level's features of the two cameras.

        Args:
            infrared: ``(B, C, H, W)``, features of the thermal image, at least 2x2, in any range.
            visible: Likewise, of the visible image, on the same grid.

        Returns:
            ``(B, C, H, W)`` fused features.
        """
        of_infrared = self.reduce_infrared(self.infrared.unroll(infrared)[-1])
        of_visible = self.reduce_visible(self.visible.unroll(visible)[-1])
        return self.merge(torch.cat([of_infrared, of_visible], dim=1))
