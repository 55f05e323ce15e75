"""RFN-Nest: an auto-encoder with nest connections, and a residual fusion network (RFN) at each scale.

Li et al., "RFN-Nest: An end-to-end residual fusion network for infrared and visible images", Information
Fusion 73, 2021, section 3.1. Where the paper's figure 1 and the authors' released network differ, the
released network is followed: 64, 112, 160 and 208 channels leave the encoder's blocks, the second
convolution of a block is 1x1, and every convolution ends in a ReLU, the last one too.

                          encoder (one, for both images)       decoder
    infrared -> conv0 -> E1 64 ----- RFN 1 -> F1 -------- D11 ---- D12 ---- D13 -> 1x1 -> fused
                          | pool                        / up     / up     / up
                         E2 112 ---- RFN 2 -> F2 -------- D21 ---- D22         every D also takes all that
                          | pool                        / up     / up          stands left of it in its row
    visible likewise     E3 160 ---- RFN 3 -> F3 -------- D31                  (the nest connections)
                          | pool                        / up
                         E4 208 ---- RFN 4 -> F4

    RFN:  infrared --+-> 3x3 --+
                     |        cat -> 1x1 -> 3x3 -> 3x3 --+
          visible ---|-> 3x3 --+                         + -> fused
                     +------- cat -> 3x3 ----------------+

The paper's ablations are settings. Without nest connections (section 4.6, figure 12: "remove the short
connections") a block of the decoder takes only its left neighbour and the one below; channels are not
stated there, so each block gives as many as with them. With a hand-made strategy (section 4.7) there
are no RFNs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, InputRange, NetworkSpec, OutputRange
from .strategies import STRATEGIES

__all__ = ["QUADRANTS_ABOVE", "RFNNest", "RFNNestSettings", "ResidualFusion", "reflected_convolution", "upsampled"]

CHANNELS = (64, 112, 160, 208)
"""Channels of the features at full, half, quarter and eighth size."""

QUADRANTS_ABOVE = 512
"""Height or width in pixels above which the quadrant rule splits an image."""

_SMALLEST = 16  # pixels: three poolings leave two rows, which a reflection needs

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class RFNNestSettings(Settings):
    """How RFN-Nest is built."""

    fusion: str = setting(
        "rfn",
        "How features are fused: by the trained RFNs, or by a hand-made strategy.",
        choices=("rfn", *STRATEGIES),
    )
    nest: bool = setting(True, "Whether the decoder's blocks also take all earlier ones of their row.")
    quadrants: bool = setting(
        False, "Fuse images over 512 pixels high or wide in four overlapping parts, as the authors' code does."
    )


def reflected_convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input, which is continued by reflection."""
    if size == 1:
        return nn.Conv2d(inputs, outputs, 1)
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, padding_mode="reflect")


class Block(nn.Module):
    """Two convolutions, 3x3 to half of the channels and 1x1 to the wanted ones, each with a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.spatial = reflected_convolution(inputs, inputs // 2, 3)
        self.pointwise = reflected_convolution(inputs // 2, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, outputs, H, W)`` of ``(B, inputs, H, W)``."""
        return torch.relu(self.pointwise(torch.relu(self.spatial(x))))


class ResidualFusion(nn.Module):
    """The residual fusion network of one scale (paper, figure 2): 1 + 2 + 3 convolutions, each with a ReLU.

    Args:
        channels: Of either input, and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = reflected_convolution(2 * channels, channels, 3)
        self.infrared = reflected_convolution(channels, channels, 3)
        self.visible = reflected_convolution(channels, channels, 3)
        self.mix_1 = reflected_convolution(2 * channels, channels, 1)
        self.mix_2 = reflected_convolution(channels, channels, 3)
        self.mix_3 = reflected_convolution(channels, channels, 3)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return fused features ``(B, C, H, W)``, none negative, of two maps of that shape."""
        first = torch.relu(self.first(torch.cat([infrared, visible], dim=1)))
        pair = torch.cat([torch.relu(self.infrared(infrared)), torch.relu(self.visible(visible))], dim=1)
        mixed = torch.relu(self.mix_2(torch.relu(self.mix_1(pair))))
        return first + torch.relu(self.mix_3(mixed))


def _upstream_prefixes() -> dict[str, str]:
    """Return the names of the two released files together: the auto-encoder's and the RFNs'."""
    prefixes = {"lift": "conv0.conv2d", "output": "conv_out.conv2d"}
    blocks = {f"encoder.{scale}": f"DB{scale + 1}_0" for scale in range(4)}
    blocks |= {f"decoder.{row}{column}": f"DB{row}_{column}" for row, column in _places()}
    for ours, theirs in blocks.items():
        prefixes[f"{ours}.spatial"] = f"{theirs}.denseblock.0.conv2d"
        prefixes[f"{ours}.pointwise"] = f"{theirs}.denseblock.1.conv2d"
    convolutions = {"first": "conv_fusion", "infrared": "conv_ir", "visible": "conv_vi"}
    convolutions |= {f"mix_{number}": f"bottelblock.{number - 1}" for number in (1, 2, 3)}  # their spelling
    for scale in range(4):
        for ours, theirs in convolutions.items():
            prefixes[f"rfns.{scale}.{ours}"] = f"fusion_block{scale + 1}.{theirs}.conv2d"
    return prefixes


def _places() -> list[tuple[int, int]]:
    """Return (row, column) of the decoder's blocks, counted from 1, in the order of computing them."""
    return [(row, column) for column in (1, 2, 3) for row in range(1, 5 - column)]


class RFNNest(FusionNetwork):
    """RFN-Nest: 7,524,249 parameters, 2,732,761 of them in the auto-encoder.

    Height and width may be any from 16 on: an upsampled map that is one row or column short of its finer
    neighbour is continued by its last one.
    """

    spec = NetworkSpec(
        name="rfn_nest",
        title="RFN-Nest",
        source="Li et al., RFN-Nest, Information Fusion 73, 2021, section 3.1",
        input_range=InputRange.BYTE,
        output_range=OutputRange.STRETCHED,
        truncates=True,
    )
    Settings = RFNNestSettings
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = _upstream_prefixes()

    def __init__(self, settings: RFNNestSettings | None = None) -> None:
        super().__init__(settings)
        self.lift = reflected_convolution(1, 16, 1)
        self.encoder = nn.ModuleList(Block(*pair) for pair in zip((16, *CHANNELS[:-1]), CHANNELS, strict=True))
        self.pool = nn.MaxPool2d(2)
        if self.settings.fusion == "rfn":
            self.rfns = nn.ModuleList(ResidualFusion(channels) for channels in CHANNELS)
        self.decoder = nn.ModuleDict()
        for row, column in _places():
            own, below = CHANNELS[row - 1], CHANNELS[row]
            beside = column if self.settings.nest else 1
            self.decoder[f"{row}{column}"] = Block(beside * own + below, own)
        self.output = reflected_convolution(CHANNELS[0], 1, 1)
        # Its ReLU passes no gradient where its sum is negative: from weights of both signs, some fresh
        # networks would give zeros alone and never learn. The features that it sums are not negative.
        with torch.no_grad():
            self.output.weight.abs_()
            self.output.bias.abs_()

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two registered single-channel images.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 255], as floating point.
            visible: ``(B, 1, H, W)`` in [0, 255], luminance, on the same pixel grid.

        Returns:
            ``(B, 1, H, W)``, not negative and without a scale of its own: the authors stretch it from its
            minimum to its maximum and cut to whole grey levels.
        """
        # The size is looked at only with the setting on: without it all sizes take one path.
        if self.settings.quadrants and _is_large(infrared):
            return self._fuse_quadrants(infrared, visible)
        return self._fuse_whole(infrared, visible)

    def encode(self, image: Tensor) -> Maps:
        """Return an image's features E1 to E4, ``(B, 64, H, W)`` to ``(B, 208, H // 8, W // 8)``."""
        full = self.encoder[0](torch.relu(self.lift(image)))
        half = self.encoder[1](self.pool(full))
        quarter = self.encoder[2](self.pool(half))
        return full, half, quarter, self.encoder[3](self.pool(quarter))

    def fuse(self, infrared: Maps, visible: Maps) -> Maps:
        """Return fused features F1 to F4 of what :meth:`encode` gave for the two images."""
        fusions = self.rfns if self.settings.fusion == "rfn" else [STRATEGIES[self.settings.fusion]] * 4
        first, second, third, fourth = (
            fusion(*pair) for fusion, *pair in zip(fusions, infrared, visible, strict=True)
        )
        return first, second, third, fourth

    def decode(self, maps: Maps) -> Tensor:
        """Return the image ``(B, 1, H, W)`` of the features of four scales."""
        rows = [[features] for features in maps]  # rows[r]: what stands in row r so far, left to right
        for row, column in _places():
            beside = rows[row - 1] if self.settings.nest else rows[row - 1][-1:]
            below = upsampled(rows[row][column - 1], maps[row - 1])
            rows[row - 1].append(self.decoder[f"{row}{column}"](torch.cat([*beside, below], dim=1)))
        return torch.relu(self.output(rows[0][-1]))

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what the auto-encoder alone makes of one image; shapes and ranges as for :meth:`forward`."""
        return self.decode(self.encode(image))

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the fused features; a map's size is the input's divided by the stride, rounded down."""
        return tuple(
            FeatureMap(f"fused_{number}", channels, 2 ** (number - 1), f"Fused features of scale {number}.")
            for number, channels in enumerate(CHANNELS, start=1)
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return F1 to F4, always of the whole image."""
        maps = self.fuse(self.encode(infrared), self.encode(visible))
        return {f"fused_{number}": features for number, features in enumerate(maps, start=1)}

    def _fuse_whole(self, infrared: Tensor, visible: Tensor) -> Tensor:
        return self.decode(self.fuse(self.encode(infrared), self.encode(visible)))

    def _fuse_quadrants(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse the quadrants, each alone, and average them where they overlap."""
        fused = torch.zeros_like(infrared)
        count = torch.zeros_like(infrared)
        for rows in _halves(infrared.shape[-2]):
            for columns in _halves(infrared.shape[-1]):
                part = (..., rows, columns)
                fused[part] += self._fuse_whole(infrared[part], visible[part])
                count[part] += 1
        return fused / count


def _is_large(image: Tensor) -> bool:
    return image.shape[-2] > QUADRANTS_ABOVE or image.shape[-1] > QUADRANTS_ABOVE


def _halves(size: int) -> Sequence[slice]:
    """Return both halves of an axis, overlapping by five pixels; all of it where one would be too small."""
    centre = size // 2
    halves = slice(0, centre + 3), slice(centre - 2, size)
    if min(half.stop - half.start for half in halves) < _SMALLEST:
        return (slice(0, size),)
    return halves


def upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return ``coarse`` at twice its size, each value four times, continued to the size of ``fine``.

    The authors continue a map that is a row or column short by reflection about its last one. After
    doubling that one stands there twice, so its reflection is itself: the same as repeating it, which
    a map of a single row allows as well.
    """
    doubled = F.interpolate(coarse, scale_factor=2, mode="nearest")
    missing_columns = fine.shape[-1] - 2 * coarse.shape[-1]  # 0 or 1
    missing_rows = fine.shape[-2] - 2 * coarse.shape[-2]
    return F.pad(doubled, (0, missing_columns, 0, missing_rows), mode="replicate")
