"""RFVIF's feature dynamic alignment module (FDAM) and complementary mask fusion (CMF).

Li et al., Information Fusion 2023, section 3.3, figures 2 (d), 4 and 5. Kernels are computed from both
images' features, one set for each pair of images, and the infrared features are convolved with them: a kernel
whose weight lies off its centre moves the map.

    visible  --+--> 3x3 --> [3x3, pool, fully connected] x 3 --> kernels 3x3, 5x5, 7x7
    infrared --+                                                    |
        |                                                           v
        +--> FAB: three convolutions --> 1x1 --> BN --> ReLU --> channel attention --+--> next FAB
                                                                                     |
                                                  all FABs --> 1x1 --> F_align --> 1x1 --> x_align

What these kernels can do. They are pooled over the whole image, so that they move it as a whole. A kernel of
7 reaches 3 pixels of its level: two blocks in a chain reach 12, 24 and 48 pixels of the image at
levels 1, 2 and 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rfvif_extraction import conv, convs

__all__ = [
    "FDAM",
    "Aligned",
    "ChannelAttention",
    "DynamicKernelGenerator",
    "FeatureAlignmentBlock",
    "MaskFusion",
    "dynamic_convolution",
]

KERNEL_SIZES = (3, 5, 7)
"""2 k + 1 for the branches k = 1, 2, 3 of equation 6."""
REDUCTION, FEWEST = 8, 4
KERNEL_NOISE = 1e-3


def dynamic_convolution(features: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every channel of every image with a kernel of its own.

    ``out[b, c, y, x] = sum over (i, j) of kernels[b, c, i, j] * features[b, c, y + i - r, x + j - r]``, with
    r = (size - 1) / 2: the whole weight at (r + dy, r + dx) moves the map by (-dy, -dx). Outside, the border's
    values go on.

    Written as one grouped convolution of B * C groups: shifted maps would be read once for every element of the
    kernel, and patches would be a copy of the map for each.

    Args:
        features: ``(B, C, H, W)``.
        kernels: ``(B, C, size, size)``, size odd.

    Returns:
        ``(B, C, H, W)``.
    """
    channels, size = kernels.shape[1], kernels.shape[-1]
    reach = size // 2
    padded = F.pad(features, (reach, reach, reach, reach), mode="replicate")
    out = F.conv2d(
        torch.reshape(padded, (1, -1, padded.shape[-2], padded.shape[-1])),
        torch.reshape(kernels, (-1, 1, size, size)),
        groups=features.shape[0] * channels,
    )
    return torch.reshape(out, (-1, channels, features.shape[-2], features.shape[-1]))


class KernelBranch(nn.Module):
    """One branch B_k of the generator: convolution, global average pooling, fully connected layer (eq. 6).

    Open in the paper: how a kernel is shaped. Taken: one plane for each channel (depthwise), since a full
    kernel of 7 for 64 channels would be 200,704 numbers. Open: whether it is normalised. Taken: it is not,
    and it starts within a hair of the identity: the layer's bias is a kernel with 1 at its centre.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.width, self.size = width, size
        self.conv = conv(width, width)
        self.fully_connected = nn.Linear(width, width * size * size)
        # Not quite zero: through zeros no gradient would reach the layers before.
        nn.init.normal_(self.fully_connected.weight, std=KERNEL_NOISE)
        delta = torch.zeros(width, size, size)
        delta[:, size // 2, size // 2] = 1.0
        with torch.no_grad():
            self.fully_connected.bias.copy_(delta.flatten())

    def forward(self, pair: Tensor) -> Tensor:
        """Return kernels ``(B, C, size, size)`` of a map ``(B, C, H, W)``."""
        pooled = torch.mean(torch.relu(self.conv(pair)), dim=(2, 3))
        return torch.reshape(self.fully_connected(pooled), (-1, self.width, self.size, self.size))


class DynamicKernelGenerator(nn.Module):
    """DKG: kernels of three sizes from the features of both images (equation 6, figure 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(2 * width, width)
        self.branches = nn.ModuleList(KernelBranch(width, size) for size in KERNEL_SIZES)

    def forward(self, infrared: Tensor, visible: Tensor) -> list[Tensor]:
        """Return kernels ``(B, C, s, s)`` for s = 3, 5, 7, of two maps ``(B, C, H, W)``."""
        pair = torch.relu(self.conv(torch.cat([visible, infrared], dim=1)))
        return [branch(pair) for branch in self.branches]


class ChannelAttention(nn.Module):
    """CAM: scales every channel by a factor in (0, 1).

    Open in the paper: its layers. Taken: squeeze and excitation (Hu et al., CVPR 2018), with an eighth of the
    channels in between, and 4 at least: a single rectified one may be dead from the start.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        middle = max(FEWEST, width // REDUCTION)
        self.squeeze = conv(width, middle, 1)
        self.excite = conv(middle, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, a map ``(B, C, H, W)``, with its channels scaled."""
        pooled = torch.mean(x, dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))


class FeatureAlignmentBlock(nn.Module):
    """FAB: moves features by the dynamic kernels (figure 2 (d))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = conv(len(KERNEL_SIZES) * width, width, 1, bias=False)  # the norm has one
        self.norm = nn.BatchNorm2d(width)
        self.attention = ChannelAttention(width)

    def forward(self, features: Tensor, kernels: list[Tensor]) -> Tensor:
        """Return ``(B, C, H, W)`` of features of that shape and kernels as the generator gives them."""
        moved = torch.cat([dynamic_convolution(features, kernel) for kernel in kernels], dim=1)
        return self.attention(torch.relu(self.norm(self.merge(moved))))


class Aligned(NamedTuple):
    """The infrared image on the visible image's grid, at one level."""

    features: Tensor
    """``(B, C, H, W)``, the paper's F_align."""
    image: Tensor
    """``(B, 1, H, W)``, the paper's x_align, to be compared with the registered image of this scale."""


class FDAM(nn.Module):
    """Aligns the infrared features of one level to the visible ones (equations 6 and 7, figure 2 (a)).

    Open in the paper: whether every block has a generator of its own. Taken: one for all blocks of a level,
    as equation 6 counts levels and kernel sizes but no blocks. Open: how the blocks' results are combined.
    Taken: concatenated and mapped by 1x1 to F_align, and that by 1x1, with no activation, to x_align.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.generator = DynamicKernelGenerator(width)
        self.blocks = nn.ModuleList(FeatureAlignmentBlock(width) for _ in range(blocks))
        self.combine = conv(blocks * width, width, 1)
        self.reconstruct = conv(width, 1, 1)

    def forward(self, infrared: Tensor, visible: Tensor) -> Aligned:
        """Return what is aligned of two modulated maps ``(B, C, H, W)``."""
        kernels = self.generator(infrared, visible)
        found = [infrared]
        for block in self.blocks:
            found.append(block(found[-1], kernels))
        features = self.combine(torch.cat(found[1:], dim=1))
        return Aligned(features, self.reconstruct(features))


class MaskFusion(nn.Module):
    """CMF: of each place and channel some infrared, and the rest visible (equation 8, figure 5).

    Open in the paper: whether the mask has one channel or as many as the features. Taken: as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = convs([2 * width, width, width, width])

    def mask(self, aligned: Tensor, visible: Tensor) -> Tensor:
        """Return the infrared features' share ``(B, C, H, W)`` in (0, 1); the visible features have the rest."""
        return torch.sigmoid(self.convs(torch.cat([visible, aligned], dim=1)))

    def forward(self, aligned: Tensor, visible: Tensor) -> Tensor:
        """Return the fused features ``(B, C, H, W)``."""
        mask = self.mask(aligned, visible)
        return aligned * mask + visible * (1 - mask)
