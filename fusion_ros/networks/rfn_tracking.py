"""The reduced residual fusion network for tracking: two feature maps of a Siamese tracker become one.

Li et al., "RFN-Nest: An end-to-end residual fusion network for infrared and visible images", Information
Fusion 73, 2021, section 5.1 and figure 17. In the authors' tracker the features of three levels, reduced to 256
channels, are fused on the template's and on the search region's side, each before the level's
region proposals; only these modules are trained.

    visible ---+-> conv1 --+
               |          cat -> conv3 -> conv4 --+
    infrared --|-> conv2 --+                      + -> fused
               +--------- cat -> conv5 -----------+

The paper gives the wiring alone, and no code was released. Chosen here: 3x3 convolutions continued by
reflection and a 1x1 one for conv3, as in the fusion network; a ReLU after conv1, conv2 and conv3, and none
on the two terms of the sum, because a tracker's features have both signs; one module per level, shared by
template and search region.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..settings import Settings, setting
from ..spec import Takes
from .base import FusionNetwork, Gives, NetworkSpec
from .rfn_nest import reflected_convolution

__all__ = ["RFNTracking", "RFNTrackingSettings"]


@dataclass(frozen=True)
class RFNTrackingSettings(Settings):
    """How the tracking form is built."""

    channels: int = setting(256, "Channels of either feature map, and of the fused one.", bounds=(1, 4096))
    rectified: bool = setting(
        False, "A ReLU on both terms of the output too, as in the fusion network: for features never negative."
    )


class RFNTracking(FusionNetwork):
    """The reduced RFN of one level: 3,081,472 parameters with 256 channels."""

    spec = NetworkSpec(
        name="rfn_tracking",
        title="RFN for tracking",
        source="Li et al., RFN-Nest, Information Fusion 73, 2021, section 5.1, figure 17",
        takes=Takes.FEATURES,
        gives=Gives.FEATURES,
    )
    Settings = RFNTrackingSettings

    def __init__(self, settings: RFNTrackingSettings | None = None) -> None:
        super().__init__(settings)
        channels = self.settings.channels
        self.conv1 = reflected_convolution(channels, channels, 3)
        self.conv2 = reflected_convolution(channels, channels, 3)
        self.conv3 = reflected_convolution(2 * channels, channels, 1)
        self.conv4 = reflected_convolution(channels, channels, 3)
        self.conv5 = reflected_convolution(2 * channels, channels, 3)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse one level's features of the two cameras.

        Args:
            infrared: ``(B, C, H, W)``, features of the thermal image, at least 2x2, in any range.
            visible: Likewise, of the visible image, on the same grid.

        Returns:
            ``(B, C, H, W)`` fused features.
        """
        pair = torch.cat([torch.relu(self.conv1(visible)), torch.relu(self.conv2(infrared))], dim=1)
        residual = self.conv4(torch.relu(self.conv3(pair)))
        first = self.conv5(torch.cat([visible, infrared], dim=1))
        if self.settings.rectified:
            return torch.relu(residual) + torch.relu(first)
        return residual + first
