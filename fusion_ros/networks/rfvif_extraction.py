"""RFVIF's cross-modulation feature extraction module (CMFEM).

Li et al., "Feature dynamic alignment and refinement for infrared-visible image fusion: Translation
robust fusion", Information Fusion 2023, section 3.2, figures 2 and 3. Two extractors of three parts, one
for each image; after each part both feature maps are halved and modulated by what relates them.

    infrared --> MSRBs --+--> 3x3, / 2 ---------------------> * gamma + beta --> next part
                         |                                        ^
                         +--> 3x3, / 2 --+            +-- gamma, beta
                                         +--> relate -+
                         +--> 3x3, / 2 --+            +-- gamma, beta
                         |                                        v
    visible ---> MSRBs --+--> 3x3, / 2 ---------------------> * gamma + beta --> next part
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["CMFEM", "MSRB", "SMALL", "CrossModulation", "Modulated", "Modulation", "conv", "convs"]

SLOPE = 0.1
SMALL = 0.1
"""Gain of convolutions that end a residual branch or the network: new ones add little to what goes past them."""
MSRBS = (3, 2, 2)
"""Multi-scale residual blocks in each of the three parts."""


class Modulated(NamedTuple):
    """Both images' features of one level, on one grid; each ``(B, C, H / 2**level, W / 2**level)``."""

    infrared: Tensor
    visible: Tensor


def conv(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, gain: float = 1.0, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution that divides the size of its map by ``stride``.

    Open in the paper: the border. Taken: reflection, so that a border draws no edge that the network
    could take for one of the image. Open: the initial weights. Taken: He's, which keep a signal's variance through
    rectifiers, times ``gain``.
    """
    mode = "reflect" if size > 1 else "zeros"
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias, padding_mode=mode)
    nn.init.kaiming_normal_(convolution.weight)
    with torch.no_grad():
        convolution.weight.mul_(gain)
        if convolution.bias is not None:
            convolution.bias.zero_()
    return convolution


def convs(channels: Sequence[int], gain: float = 1.0) -> nn.Sequential:
    """Return a chain of 3x3 convolutions through these channel numbers; ``gain`` is the last one's.

    Open in the paper: what stands between them ("activation functions"). Taken: LeakyReLU of slope 0.1.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels[:-1]):
        layers += [conv(inputs, outputs), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, conv(channels[-2], channels[-1], gain=gain))


class MSRB(nn.Module):
    """Multi-scale residual block: 3x3 and 5x5 convolutions side by side (figure 2 (b)).

    Open in the paper: its layers. Taken: the block that first had this name (Li et al., "Multi-scale
    Residual Network for Image Super-Resolution", ECCV 2018): two stages, the results of the first
    crossed into the second, ReLU after each convolution, a 1x1 convolution back, and the input added.

    Args:
        width: Channels in and out.
        stages: How often the two sizes meet; each stage doubles the channels, and one alone costs a
            fifth of two.
    """

    def __init__(self, width: int, stages: int = 2) -> None:
        super().__init__()
        channels = [width * 2**stage for stage in range(stages + 1)]
        self.small = nn.ModuleList(conv(c, c, 3) for c in channels[:-1])
        self.large = nn.ModuleList(conv(c, c, 5) for c in channels[:-1])
        self.merge = conv(channels[-1], width, 1, gain=SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the size and channels of ``x``."""
        maps = x
        for small, large in zip(self.small, self.large, strict=True):
            maps = torch.relu(torch.cat([small(maps), large(maps)], dim=1))
        return x + self.merge(maps)


class Modulation(nn.Module):
    """Halves the features of one image and modulates them (equations 4 and 5).

    Open in the paper: whether the sigmoid of equation 4 covers beta as well as gamma. Taken: yes, as
    the equation is written. Open: whether equation 5's strided convolution is equation 2's. Taken: its own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.halve = conv(width, width, stride=2)
        self.gamma = conv(width, width)
        self.beta = conv(width, width)

    def forward(self, features: Tensor, relation: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` of features ``(B, C, 2 H, 2 W)`` and this image's half of the relation."""
        gamma, beta = torch.sigmoid(self.gamma(relation)), torch.sigmoid(self.beta(relation))
        return self.halve(features) * gamma + beta


class CrossModulation(nn.Module):
    """Relates the features of both images and modulates each by it (equations 2 to 5, figure 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.look_infrared = conv(width, width, stride=2)
        self.look_visible = conv(width, width, stride=2)
        self.relate = convs([2 * width] * 4)
        self.modulate_infrared = Modulation(width)
        self.modulate_visible = Modulation(width)

    def forward(self, infrared: Tensor, visible: Tensor) -> Modulated:
        """Return both modulated maps, of half the size of the two ``(B, C, 2 H, 2 W)`` that come in."""
        pair = torch.cat([self.look_visible(visible), self.look_infrared(infrared)], dim=1)
        relation = self.relate(pair)  # B, 2 C, H, W: the visible image's half first
        return Modulated(
            self.modulate_infrared(infrared, relation[:, self.width :]),
            self.modulate_visible(visible, relation[:, : self.width]),
        )


def _part(width: int, blocks: int, stages: int) -> nn.Sequential:
    return nn.Sequential(*(MSRB(width, stages) for _ in range(blocks)))


class CMFEM(nn.Module):
    """Both images' modulated features at 1/2, 1/4 and 1/8 (equations 1 to 5).

    Open in the paper: how one channel becomes ``width``, which is the same at all levels here; taken: a 3x3
    convolution. Open: what the second and third parts are fed with; taken: the modulated features before them.
    """

    def __init__(self, width: int, stages: int) -> None:
        super().__init__()
        self.embed_infrared = conv(1, width)
        self.embed_visible = conv(1, width)
        self.infrared_parts = nn.ModuleList(_part(width, blocks, stages) for blocks in MSRBS)
        self.visible_parts = nn.ModuleList(_part(width, blocks, stages) for blocks in MSRBS)
        self.modulations = nn.ModuleList(CrossModulation(width) for _ in MSRBS)

    def forward(self, infrared: Tensor, visible: Tensor) -> list[Modulated]:
        """Return levels 1 to 3 of two images ``(B, 1, H, W)``, whose sizes are multiples of 8."""
        levels: list[Modulated] = []
        level = Modulated(self.embed_infrared(infrared), self.embed_visible(visible))
        for part_infrared, part_visible, modulate in zip(
            self.infrared_parts, self.visible_parts, self.modulations, strict=True
        ):
            level = modulate(part_infrared(level.infrared), part_visible(level.visible))
            levels.append(level)
        return levels
