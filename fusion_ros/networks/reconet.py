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

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["BiphasicAttention", "ReCoNetFuser", "Recurrence"]


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


class ReCoNetFuser(nn.Module):
    """The recurrent fuser: 7,527 parameters with the default width.

    Args:
        width: Channels of each dilated convolution.
        recurrences: How often the module is run; all runs share the same weights.
    """

    # Our module names -> the names in the authors' checkpoint, as prefixes.
    UPSTREAM_PREFIXES = {  # noqa: RUF012 - a constant table
        "attend_infrared.conv": "att_a_conv",
        "attend_visible.conv": "att_b_conv",
        "dilated.0": "dil_conv_1",
        "dilated.1": "dil_conv_2",
        "dilated.2": "dil_conv_3",
        "fuse": "fus_conv",
    }

    def __init__(self, width: int = 64, recurrences: int = 3) -> None:
        super().__init__()
        self.recurrences = recurrences
        self.attend_infrared = BiphasicAttention()
        self.attend_visible = BiphasicAttention()
        self.dilated = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, width, 3, padding=d, dilation=d), nn.BatchNorm2d(width), nn.ReLU())
            for d in (1, 2, 3)
        )
        self.fuse = nn.Sequential(nn.Conv2d(3 * width, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Tanh())

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
        fused = torch.maximum(infrared, visible)
        for _ in range(self.recurrences):
            attention_infrared = self.attend_infrared(infrared, fused)
            attention_visible = self.attend_visible(visible, fused)
            u = torch.cat([infrared * attention_infrared, fused, visible * attention_visible], dim=1)
            context = torch.cat([conv(u) for conv in self.dilated], dim=1)  # B, 3 * width, H, W
            fused = self.fuse(context)
            steps.append(Recurrence(fused, attention_infrared, attention_visible))
        return steps
