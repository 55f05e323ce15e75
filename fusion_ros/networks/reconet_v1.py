"""ReCoNet's recurrent fuser in its second form, half as wide and without normalisation.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, as the authors' second code has it. The figure is that of the first form
(:mod:`.reconet`); what differs is the activation of the dilated convolutions (GELU instead of BatchNorm
and ReLU), the lack of BatchNorm before the tanh, the width, and the choice of the first image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import NetworkSpec
from .reconet import BiphasicAttention, RecurrentFuser

__all__ = ["ReCoNetFuserV1", "ReCoNetFuserV1Settings"]


@dataclass(frozen=True)
class ReCoNetFuserV1Settings(Settings):
    """How the second form of the recurrent fuser is built."""

    width: int = setting(32, "Channels of each dilated convolution.", bounds=(1, 1024))
    recurrences: int = setting(3, "How often the module is run; all runs share the same weights.", bounds=(1, 16))
    initial: str = setting(
        "max", "What the first run takes for fused: the larger or the mean of the two.", choices=("max", "mean")
    )


class ReCoNetFuserV1(RecurrentFuser):
    """The recurrent fuser, second form: 3,589 parameters with the default width."""

    spec = NetworkSpec(
        name="reconet_fuser_v1",
        title="ReCoNet, recurrent fuser, second form",
        source="Huang et al., ReCoNet, ECCV 2022: the authors' second code",
    )
    Settings = ReCoNetFuserV1Settings
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {
        "attend_infrared.conv": "att_a_conv",
        "attend_visible.conv": "att_b_conv",
        "dilated.0": "decoder.conv_d.0.group",
        "dilated.1": "decoder.conv_d.1.group",
        "dilated.2": "decoder.conv_d.2.group",
        "fuse": "decoder.conv_s",
    }

    def __init__(self, settings: ReCoNetFuserV1Settings | None = None) -> None:
        super().__init__(settings)
        width = self.settings.width
        self.attend_infrared = BiphasicAttention()
        self.attend_visible = BiphasicAttention()
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, width, 3, padding=d, dilation=d), nn.GELU()) for d in (1, 2, 3)
        )
        self.fuse = nn.Sequential(nn.Conv2d(3 * width, 1, 3, padding=1), nn.Tanh())

    def initial(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the larger or the mean of the two images, as the settings say."""
        if self.settings.initial == "mean":
            return (infrared + visible) / 2
        return torch.maximum(infrared, visible)
