"""LRRNet: a fusion network unrolled from the optimisation of a low-rank and a sparse representation.

Li et al., "LRRNet: A Novel Representation Learning Guided Fusion Network for Infrared and Visible
Images", IEEE TPAMI 2023, sections 3 and 4, figures 2 and 3. Each image X is decomposed into
coefficients Z = (L; S), low-rank and sparse, by a few steps of learned iterative shrinkage (LISTA),
which are the network's layers; both images' parts are then merged and added.

    X --> C0 --> h --Z0--> [block] --Z1--> ... --> [block] --> Z = (L; S)    one branch for each image

    block t:        Z --------------- * zeta ----------------+
                    |                                        v
                    +--> C1 --> (X - .) --> C2 ------------> + --> h --> Z       (equation 8)

    infrared --> branch --+--> L --> conv --+            +--> L --> conv --+
    visible ---> branch --|-----------------|--> (both) -+                 +--> low rank + sparse
                          +--> S --> conv --+            +--> S --> conv --+

h is the soft threshold (equation 9). Its threshold, one for each channel, and zeta are shared by all
blocks of a branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, InputRange, NetworkSpec, OutputRange

__all__ = ["LLRRBlock", "LLRRBranch", "LRRNet", "LRRNetParts", "LRRNetSettings", "soft_threshold"]


@dataclass(frozen=True)
class LRRNetSettings(Settings):
    """How LRRNet is built."""

    channels: int = setting(
        128, "Channels of the low-rank coefficients, and as many of the sparse ones.", bounds=(1, 1024)
    )
    blocks: int = setting(4, "LLRR blocks of each branch; the paper tried 2, 4, 6 and 8.", bounds=(0, 32))
    fusion: str = setting("cat", "How both images' parts meet: concatenated or added.", choices=("cat", "add"))


def soft_threshold(u: Tensor, threshold: Tensor) -> Tensor:
    """Shrink towards 0: ``sign(u) * max(|u| - threshold, 0)`` (paper, equation 9).

    A learned threshold may become negative; it then drives values away from 0, and 0 stays.
    """
    return torch.sign(u) * torch.relu(torch.abs(u) - threshold)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")


class LLRRBlock(nn.Module):
    """One step of the learned iteration (paper, equation 8 and figure 2), but for the threshold.

    Args:
        coefficients: K, of low-rank and sparse ones together.
        channels: Of what is decomposed: 1 of an image, more of a feature map.
    """

    def __init__(self, coefficients: int, channels: int = 1) -> None:
        super().__init__()
        self.synthesise = _conv(coefficients, channels)  # C1, the dictionary: coefficients -> image
        self.analyse = _conv(channels, coefficients)  # C2: image -> coefficients

    def forward(self, image: Tensor, z: Tensor, zeta: Tensor) -> Tensor:
        """Return the next coefficients ``(B, K, H, W)``, not yet shrunk.

        Args:
            image: ``(B, 1, H, W)``.
            z: Coefficients so far, ``(B, K, H, W)``.
            zeta: Weight of ``z`` (the paper's lambda_3 with a hat), one number.
        """
        return zeta * z + self.analyse(image - self.synthesise(z))


class LLRRBranch(nn.Module):
    """Decomposes one image into low-rank and sparse coefficients by a stack of LLRR blocks.

    Args:
        channels: Of the low-rank coefficients, and of the sparse ones.
        blocks: Their number.
        inputs: Channels of what is decomposed: 1 of an image, more of a feature map.
    """

    def __init__(self, channels: int, blocks: int, inputs: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.threshold = nn.Parameter(torch.rand(1, 2 * channels))
        self.zeta = nn.Parameter(torch.rand(1, 1))
        self.embed = _conv(inputs, 2 * channels)  # C0
        self.blocks = nn.ModuleList(LLRRBlock(2 * channels, inputs) for _ in range(blocks))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low-rank and the sparse coefficients, each ``(B, channels, H, W)``, of ``(B, 1, H, W)``."""
        z = self.unroll(image)[-1]
        return z[:, : self.channels], z[:, self.channels :]

    def unroll(self, image: Tensor) -> list[Tensor]:
        """Return the coefficients ``(B, 2 * channels, H, W)`` after the embedding and after every block."""
        threshold = torch.reshape(self.threshold, (1, -1, 1, 1))
        steps = [soft_threshold(self.embed(image), threshold)]
        for block in self.blocks:
            steps.append(soft_threshold(block(image, steps[-1], self.zeta), threshold))
        return steps


class LRRNetParts(NamedTuple):
    """What the decoder makes of the coefficients; each tensor is ``(B, 1, H, W)``."""

    low_rank_infrared: Tensor
    sparse_infrared: Tensor
    low_rank_visible: Tensor
    sparse_visible: Tensor
    low_rank: Tensor
    sparse: Tensor


def _upstream_prefixes(blocks: int) -> dict[str, str]:
    names = {"reconstruct_low_rank_infrared": "decoder.conv_ReZx.conv2d"}
    names["reconstruct_sparse_infrared"] = "decoder.conv_ReUx.conv2d"
    names["reconstruct_low_rank_visible"] = "decoder.conv_ReZy.conv2d"
    names["reconstruct_sparse_visible"] = "decoder.conv_ReUy.conv2d"
    names["merge_low_rank"] = "decoder.conv_ReL.conv2d"
    names["merge_sparse"] = "decoder.conv_ReH.conv2d"
    for ours, theirs in (("infrared", "get_ls1"), ("visible", "get_ls2")):
        names[f"{ours}.threshold"] = f"{theirs}.lamj"
        names[f"{ours}.zeta"] = f"{theirs}.lamz"
        names[f"{ours}.embed"] = f"{theirs}.conv_W00.conv2d"
        for t in range(blocks):
            names[f"{ours}.blocks.{t}.synthesise"] = f"{theirs}.lrrblock{t}.conv_Wdz.conv2d"
            names[f"{ours}.blocks.{t}.analyse"] = f"{theirs}.lrrblock{t}.conv_Wdtz.conv2d"
    return names


class LRRNet(FusionNetwork):
    """LRRNet: 49,204 parameters with the paper's settings.

    The paper and the released network agree, but for the naming of the images: x is the visible one
    in the paper's text and the infrared one in the code, which has a branch of its own for each.
    """

    spec = NetworkSpec(
        name="lrrnet",
        title="LRRNet",
        source="Li et al., LRRNet, IEEE TPAMI 2023, sections 3 and 4",
        input_range=InputRange.STRETCHED,
        output_range=OutputRange.STRETCHED,
        truncates=True,
    )
    Settings = LRRNetSettings
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = _upstream_prefixes(blocks=4)

    def __init__(self, settings: LRRNetSettings | None = None) -> None:
        super().__init__(settings)
        channels, blocks = self.settings.channels, self.settings.blocks
        self.infrared = LLRRBranch(channels, blocks)
        self.visible = LLRRBranch(channels, blocks)
        self.reconstruct_low_rank_infrared = _conv(channels, 1)
        self.reconstruct_sparse_infrared = _conv(channels, 1)
        self.reconstruct_low_rank_visible = _conv(channels, 1)
        self.reconstruct_sparse_visible = _conv(channels, 1)
        images = 2 if self.settings.fusion == "cat" else 1
        self.merge_low_rank = _conv(images, 1)
        self.merge_sparse = _conv(images, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two registered single-channel images of at least 2x2 pixels.

        Args:
            infrared: ``(B, 1, H, W)``, stretched to [0, 1] by its own minimum and maximum.
            visible: ``(B, 1, H, W)``, likewise, on the same pixel grid.

        Returns:
            ``(B, 1, H, W)`` without a scale of its own (the released weights give about 0.02 to
            0.27), to be stretched when it becomes an image.
        """
        parts = self.parts(infrared, visible)
        return parts.low_rank + parts.sparse

    def parts(self, infrared: Tensor, visible: Tensor) -> LRRNetParts:
        """Return the parts of both images, and the two whose sum is the output; see :meth:`forward`."""
        low_infrared, sparse_infrared = self.infrared(infrared)
        low_visible, sparse_visible = self.visible(visible)
        low = self.reconstruct_low_rank_infrared(low_infrared), self.reconstruct_low_rank_visible(low_visible)
        sparse = self.reconstruct_sparse_infrared(sparse_infrared), self.reconstruct_sparse_visible(sparse_visible)
        fusion = self.settings.fusion
        return LRRNetParts(
            low_rank_infrared=low[0],
            sparse_infrared=sparse[0],
            low_rank_visible=low[1],
            sparse_visible=sparse[1],
            low_rank=self.merge_low_rank(_meet(low, fusion)),
            sparse=self.merge_sparse(_meet(sparse, fusion)),
        )

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the coefficients of both images."""
        channels = self.settings.channels
        return tuple(
            FeatureMap(f"{part}_{image}", channels, 1, f"{words} coefficients of the {image} image.")
            for image in ("infrared", "visible")
            for part, words in (("low_rank", "Low-rank"), ("sparse", "Sparse"))
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return the low-rank and sparse coefficients of both images, ``(B, channels, H, W)`` each."""
        low_infrared, sparse_infrared = self.infrared(infrared)
        low_visible, sparse_visible = self.visible(visible)
        return {
            "low_rank_infrared": low_infrared,
            "sparse_infrared": sparse_infrared,
            "low_rank_visible": low_visible,
            "sparse_visible": sparse_visible,
        }


def _meet(pair: tuple[Tensor, Tensor], fusion: str) -> Tensor:
    return torch.cat(pair, dim=1) if fusion == "cat" else pair[0] + pair[1]
