"""What perceptual losses compare images by, and what stands in for VGG-16 where its weights are not at hand.

Two images are compared not pixel by pixel but by what a network sees in them (Johnson et al., "Perceptual
losses for real-time style transfer and super-resolution", ECCV 2016). The papers use VGG-16, trained on
ImageNet: :class:`.vgg.VGG16Features` reads its weights from a file that the user gives.
:class:`StructureFeatures` needs none.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LEVELS", "FeatureExtractor", "StructureFeatures"]

LEVELS = 4
"""How many maps an extractor gives; level n, from 0, has a stride of ``2**n``."""


class FeatureExtractor(Protocol):
    """Gives maps of an image at four strides, from edges to what is seen of a wider surrounding."""

    def __call__(self, image: Tensor, levels: int = LEVELS) -> tuple[Tensor, ...]:
        """Return the first ``levels`` maps, that of level n ``(B, C_n, H // 2**n, W // 2**n)``.

        Args:
            image: ``(B, 1, H, W)`` in [0, 1], at least 8 pixels high and wide; the gradient passes to it.
            levels: 1 to 4; fewer cost less.
        """

    def describe(self) -> str:
        """Say in a sentence, for a model card, what the perceptual terms compare."""


class StructureFeatures(nn.Module):
    """Fixed filters that stand in for VGG-16's first layers; nothing is trained, no file is needed.

    They know edges at four scales and no objects: each level holds the low-pass image and the edges towards
    eight directions, of the image averaged over ``2**n x 2**n`` pixels. Nine channels instead of VGG-16's 64 to
    512 cost next to nothing.

    Channels of a level: the image under the binomial window (1 2 1)/4 in both axes; the derivatives by Sobel's
    kernels towards 0, 45, ... 315 degrees, half-wave rectified, so that none is negative, as after a ReLU, and
    amplified by the level's gain. With these gains a derivative's root mean square is on average the image's
    standard deviation, so that low-pass image and derivatives have about equal shares, and all levels about
    the same mean square. Measured on the TNO, RoadScene and MSRS images, infrared and visible.

    A loss whose weights are meant for VGG-16 on values of 0 to 255, such as LRRNet's, takes ``scale=255``. Fewer
    channels make a Gram matrix larger that is divided by their number, here by 512 / 9: LRRNet's weight of 2000
    for its deep term becomes ``2000 (9 / 512)^2 = 0.62``, with which its four terms are of one order.

    Args:
        scale: What the image in [0, 1] is multiplied by; the features are proportional to it.
    """

    GAINS = (11.0, 8.3, 6.6, 5.3)

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.filters: Tensor
        self.register_buffer("filters", _filters(), persistent=False)

    def forward(self, image: Tensor, levels: int = LEVELS) -> tuple[Tensor, ...]:
        """Return maps ``(B, 9, H // 2**n, W // 2**n)``; arguments as for :class:`FeatureExtractor`."""
        image = image * self.scale
        maps: list[Tensor] = []
        for gain in self.GAINS[:levels]:
            image = F.avg_pool2d(image, 2) if maps else image
            padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
            filtered = F.conv2d(padded, self.filters)
            low_pass, derivatives = filtered[:, :1], gain * filtered[:, 1:]
            maps.append(torch.cat([low_pass, torch.relu(derivatives), torch.relu(-derivatives)], dim=1))
        return tuple(maps)

    def describe(self) -> str:
        """Say in a sentence, for a model card, what the perceptual terms compare."""
        return (
            "Perceptual terms compare fixed edge filters (the low-pass image and rectified derivatives towards 8 "
            "directions, at strides 1, 2, 4 and 8) that stand in for the paper's VGG-16, of images scaled to "
            f"0..{self.scale:g}; no ImageNet weights were used."
        )


def _filters() -> Tensor:
    """The low-pass window and the derivatives towards 0, 45, 90 and 135 degrees, ``(5, 1, 3, 3)``."""
    smooth = torch.tensor([1.0, 2.0, 1.0]) / 4
    slope = torch.tensor([-1.0, 0.0, 1.0]) / 2
    along_x, along_y = torch.outer(smooth, slope), torch.outer(slope, smooth)
    oblique = 2**-0.5
    filters = [along_x, oblique * (along_x + along_y), along_y, oblique * (along_y - along_x)]
    return torch.stack([torch.outer(smooth, smooth), *filters])[:, None]
