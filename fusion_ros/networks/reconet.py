"""ReCoNet's biphasic recurrent fusion module.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, section 2.3 and figure 3 (d). Where the paper's text and the authors' released
network differ, the released network is followed: the attention ends in a sigmoid, and the
convolutions are normalised (BatchNorm) and activated (ReLU, tanh).

    infrared x --+--> attention_x(x, u) --> x * a_x --+
                 |                                    |   parallel dilated
    u = max(x,y) +----------------------------------- u --> convolutions ----> fuse --> u
                 |                                    |      (d = 1, 2, 3)              |
    visible y ---+--> attention_y(y, u) --> y * a_y --+                                 |
                 ^----------------- the same weights in every recurrence ---------------+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, NetworkSpec

__all__ = ["BiphasicAttention", "ReCoNetFuser", "ReCoNetFuserSettings", "Recurrence", "RecurrentFuser"]


@dataclass(frozen=True)
class ReCoNetFuserSettings(Settings):
    """How the recurrent fuser is built."""

    width: int = setting(64, "Channels of each dilated convolution.", bounds=(1, 1024))
    recurrences: int = setting(3, "How often the module is run; all runs share the same weights.", bounds=(1, 16))


class BiphasicAttention(nn.Module):
    """Where a source deserves to be seen, judged against the fused image so far (paper, eq. for A)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, source: Tensor, fused: Tensor) -> Tensor:
        """Return the attention map ``(B, 1, H, W)`` in (0, 1) of two ``(B, 1, H, W)`` images."""
        pair = torch.cat([source, fused], dim=1)
        extremes = torch.cat([pair.amax(1, keepdim=True), pair.mean(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv(extremes))


class Recurrence(NamedTuple):
    """What one recurrence gives; each tensor is ``(B, 1, H, W)``."""

    fused: Tensor
    attention_infrared: Tensor
    attention_visible: Tensor


class RecurrentFuser(FusionNetwork):
    """The recurrence, which both published forms share; they differ in what activates the convolutions."""

    attend_infrared: BiphasicAttention
    attend_visible: BiphasicAttention
    dilated: nn.ModuleList
    fuse: nn.Sequential

    def initial(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the image that the first recurrence takes for fused."""
        return torch.maximum(infrared, visible)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two registered single-channel images.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 1].
            visible: ``(B, 1, H, W)`` in [0, 1], luminance, on the same pixel grid.

        Returns:
            ``(B, 1, H, W)`` in (-1, 1), in practice within a few hundredths of [0, 1]: to be
            clamped, never stretched, when it becomes an image.
        """
        return self.unroll(infrared, visible)[-1].fused

    def unroll(self, infrared: Tensor, visible: Tensor) -> list[Recurrence]:
        """Return what every recurrence gives, first to last; arguments as for :meth:`forward`."""
        steps: list[Recurrence] = []
        fused = self.initial(infrared, visible)
        for _ in range(self.settings.recurrences):
            attention_infrared = self.attend_infrared(infrared, fused)
            attention_visible = self.attend_visible(visible, fused)
            u = torch.cat([infrared * attention_infrared, fused, visible * attention_visible], dim=1)
            context = torch.cat([conv(u) for conv in self.dilated], dim=1)  # B, 3 * width, H, W
            fused = self.fuse(context)
            steps.append(Recurrence(fused, attention_infrared, attention_visible))
        return steps

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the two attention maps of the last recurrence."""
        return (
            FeatureMap("attention_infrared", 1, 1, "Where the infrared image is to be seen, in (0, 1)."),
            FeatureMap("attention_visible", 1, 1, "Where the visible image is to be seen, in (0, 1)."),
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return the attention maps of the last recurrence."""
        last = self.unroll(infrared, visible)[-1]
        return {"attention_infrared": last.attention_infrared, "attention_visible": last.attention_visible}


class ReCoNetFuser(RecurrentFuser):
    """The recurrent fuser: 7,527 parameters with the default width."""

    spec = NetworkSpec(
        name="reconet_fuser",
        title="ReCoNet, recurrent fuser",
        source="Huang et al., ReCoNet, ECCV 2022, section 2.3",
    )
    Settings = ReCoNetFuserSettings
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {
        "attend_infrared.conv": "att_a_conv",
        "attend_visible.conv": "att_b_conv",
        "dilated.0": "dil_conv_1",
        "dilated.1": "dil_conv_2",
        "dilated.2": "dil_conv_3",
        "fuse": "fus_conv",
    }

    def __init__(self, settings: ReCoNetFuserSettings | None = None) -> None:
        super().__init__(settings)
        width = self.settings.width
        self.attend_infrared = BiphasicAttention()
        self.attend_visible = BiphasicAttention()
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, width, 3, padding=d, dilation=d), nn.BatchNorm2d(width), nn.ReLU())
            for d in (1, 2, 3)
        )
        self.fuse = nn.Sequential(nn.Conv2d(3 * width, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Tanh())
