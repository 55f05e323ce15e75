"""RFVIF's multi-grained feature refinement (MGFRM), pyramid fusion (PFFM) and reconstruction.

Li et al., Information Fusion 2023, sections 3.4 and 3.5, figures 6 and 7.

    F_1 F_2 F_3 --> mixed --> F^f_l --+-----------------------------------------+--> 1x1 --> refined F_l
                                      +--> seen through visible features -------+
                                      +--> less what infrared edges explain ----+

    refined F_3 --> x2 --+
                         +--> F_23 --> x2 --+
    refined F_2 --+------+                  +--> 3x3s --> 6 residual blocks --> x2 --> 3x3s --> image
                  +--> x2 --+               |
    refined F_1 ------------+--> F_12 ------+
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rfvif_extraction import SLOPE, SMALL, conv, convs

__all__ = [
    "PFFM",
    "LevelMixing",
    "LocalFeatureRefinement",
    "Reconstruction",
    "gather_similar",
    "laplacian",
    "suppress_similar",
]

LEVELS = 3
RESIDUAL_BLOCKS = 6
# Added to a squared length: the cosine of a vector shorter than 1e-3 goes to 0 instead of to noise. A
# smaller one would be 0 in half precision.
EPSILON = 1e-6


def laplacian(image: Tensor) -> Tensor:
    """Return the gradient map of an image ``(B, 1, H, W)``, of the same shape.

    Open in the paper: which Laplace operator. Taken: the sum of the four neighbours less four times the
    centre, signed; outside, the border's values go on.
    """
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return p[:, :, :-2, 1:-1] + p[:, :, 2:, 1:-1] + p[:, :, 1:-1, :-2] + p[:, :, 1:-1, 2:] - 4 * image


def _inverse_length(features: Tensor) -> Tensor:
    return 1 / torch.sqrt(torch.sum(features * features, dim=1, keepdim=True) + EPSILON)


def _neighbours(maps: Tensor, neighbourhood: int) -> list[Tensor]:
    """Return the map as seen from each place of the neighbourhood, row by row: ``maps[y + dy, x + dx]``.

    Open in the paper: what lies outside. Taken: the border's values go on, which works at any size.
    """
    reach = neighbourhood // 2
    padded = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    # Ends are counted from the far border, and none is 0: the map's size itself is not needed.
    spans = [slice(start, start - 2 * reach or None) for start in range(neighbourhood)]
    return [padded[:, :, rows, columns] for rows in spans for columns in spans]


def gather_similar(guide: Tensor, features: Tensor, neighbourhood: int = 3, temperature: float = 1.0) -> Tensor:
    """Rebuild each feature vector from its neighbours, by their likeness to the guide (equations 9 to 11).

    The weights of a neighbourhood are the softmax of the cosines between its vectors and the guide's vector
    at the centre. Open in the paper: a temperature, which there is none of (1). Cosines differ by 2 at most, and
    so do then the logarithms of the weights: a lower temperature tells the neighbours apart.

    Written with shifted maps, one multiplication each: patches would be ``neighbourhood ** 2`` copies of the map.

    Args:
        guide: ``(B, C, H, W)``, the paper's F^e.
        features: ``(B, C, H, W)``, the paper's F^f.
        neighbourhood: Side of the neighbourhood, odd. Open in the paper; taken: 3.
        temperature: What the cosines are divided by.

    Returns:
        ``(B, C, H, W)``.
    """
    seen = _neighbours(features, neighbourhood)
    direction = guide * _inverse_length(guide)
    products = torch.cat([torch.sum(vectors * direction, dim=1, keepdim=True) for vectors in seen], dim=1)
    lengths = torch.cat(_neighbours(_inverse_length(features), neighbourhood), dim=1)
    weights = torch.softmax(products * lengths * (1 / temperature), dim=1)  # B, neighbourhood ** 2, H, W
    gathered = weights[:, :1] * seen[0]
    for place in range(1, len(seen)):
        gathered = gathered + weights[:, place : place + 1] * seen[place]
    return gathered


def suppress_similar(edges: Tensor, features: Tensor) -> Tensor:
    """Weaken features where infrared edges explain them: ``(1 - cosine) * f + f`` (equation 12).

    Args:
        edges: ``(B, C, H, W)``, features of the infrared image's gradient map, which was not aligned.
        features: ``(B, C, H, W)``.
    """
    cosine = torch.sum(edges * features, dim=1, keepdim=True) * _inverse_length(edges) * _inverse_length(features)
    return (2 - cosine) * features


class LevelMixing(nn.Module):
    """Gives each level the fused features of all three (section 3.4, figure 2 (a)).

    Open in the paper: how. Taken: all three scaled to the level, by bilinear interpolation, then
    concatenated, a 1x1 convolution, ReLU. A 1x1 convolution of a concatenation is a sum of three, and each may be
    done before the scaling as well as after it: it is done at the coarser of its two levels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        gain = LEVELS**-0.5  # as one convolution of all three has
        self.into = nn.ModuleList(
            nn.ModuleList(conv(width, width, 1, gain=gain, bias=source == level) for source in range(LEVELS))
            for level in range(LEVELS)
        )

    def forward(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Return three maps of the shapes of the three that come in, finest first."""
        mixed = []
        for level, convolutions in enumerate(self.into):
            parts = [_bring(pyramid[source], source, level, convolutions[source]) for source in range(LEVELS)]
            mixed.append(torch.relu(parts[0] + parts[1] + parts[2]))
        return mixed


def _bring(features: Tensor, source: int, level: int, convolution: nn.Module) -> Tensor:
    """Return the convolved features of level ``source`` at the size of ``level``."""
    if source < level:  # halving by bilinear interpolation is the mean of each four pixels
        return convolution(F.avg_pool2d(features, 2 ** (level - source)))
    if source == level:
        return convolution(features)
    factor = 2 ** (source - level)
    return F.interpolate(convolution(features), scale_factor=factor, mode="bilinear", align_corners=False)


class LocalFeatureRefinement(nn.Module):
    """LFR: both refinements of one level, and what they refine, put together (equations 9 to 12, figure 6).

    Open in the paper: how image and gradient map reach a level's size. Taken: the image is scaled
    first; the gradient map of the full image, scaled down, would cancel itself out.
    """

    def __init__(self, width: int, neighbourhood: int, temperature: float) -> None:
        super().__init__()
        self.neighbourhood, self.temperature = neighbourhood, temperature
        self.visible = convs([2, width, width, width])
        self.infrared = convs([1, width, width, width])
        self.merge = conv(3 * width, width, 1)

    def forward(self, features: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return refined features ``(B, C, H, W)``.

        Args:
            features: ``(B, C, H, W)``, mixed of all levels.
            infrared: ``(B, 1, H, W)``, the image as it came, scaled to this level.
            visible: Likewise.
        """
        guide = self.visible(torch.cat([visible, laplacian(visible)], dim=1))
        textured = gather_similar(guide, features, self.neighbourhood, self.temperature)
        cleaned = suppress_similar(self.infrared(laplacian(infrared)), features)
        return self.merge(torch.cat([textured, cleaned, features], dim=1))


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="nearest")


class PyramidMask(nn.Module):
    """Fuses two neighbouring levels by a mask and its complement (equations 13 and 14).

    Open in the paper: the number of convolutions ("conv" in one equation, "convs" in the other) and the mask's
    channels. Taken: one of 3x3, and as many channels as the features have.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(2 * width, width)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return ``(B, C, 2 H, 2 W)`` of a map of this shape and one ``(B, C, H, W)``."""
        coarse = _double(coarse)
        mask = torch.sigmoid(self.conv(torch.cat([coarse, fine], dim=1)))
        return fine * mask + coarse * (1 - mask)


class PFFM(nn.Module):
    """Pyramid feature fusion module: three levels into one (equations 13 to 15, figure 7).

    Open in the paper: the convolutions of equation 15. Taken: two of 3x3, each with an activation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = PyramidMask(width)
        self.coarse = PyramidMask(width)
        self.merge = convs([2 * width, width, width])

    def forward(self, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Return ``(B, C, 4 H, 4 W)`` of maps of 4, 2 and 1 times the size ``(H, W)``."""
        upper = self.fine(first, second)
        lower = self.coarse(second, third)
        return F.leaky_relu(self.merge(torch.cat([_double(lower), upper], dim=1)), SLOPE)


class ResidualBlock(nn.Module):
    """3x3, ReLU, 3x3, and the input added.

    Open in the paper: all of it but the name. Taken: the block of image restoration networks, without norms.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = conv(width, width, gain=SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the shape of ``x``."""
        return x + self.second(torch.relu(self.first(x)))


class Reconstruction(nn.Module):
    """The image from the fused features: 6 residual blocks, x2, three convolutions (section 3.5).

    Open in the paper: the last convolutions' channels, and what ends them. Taken: a half, a quarter, 1, and a
    sigmoid, since images are in [0, 1].
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(RESIDUAL_BLOCKS)))
        self.last = convs([width, max(1, width // 2), max(1, width // 4), 1], gain=SMALL)

    def forward(self, features: Tensor) -> Tensor:
        """Return the image ``(B, 1, 2 H, 2 W)`` in (0, 1) of features ``(B, C, H, W)``."""
        return torch.sigmoid(self.last(_double(self.blocks(features))))
