"""The fusion layer of DIDFuse's journal version: spatial and channel attention, with nothing to train.

Zhao et al., "When Image Decomposition Meets Deep Learning: A Novel Infrared and Visible Image Fusion
Method", section III-D and figure 2, equations (7) to (17). The authors released no code for it.

    infrared map --+--> spatial attention --> spatial --+
                   |                                    +--> 0.5 * (spatial + channel) --> fused map
    visible map ---+--> channel attention --> channel --+

The layer takes two ``(B, C, H, W)`` maps, and works on every channel by itself but for the l1 attention. What
the journal leaves open is decided here as follows:

- the maps f1 and f2, which bypass the decomposition and which it does not mention: fused like base and
  detail, as the released code does, or averaged (setting ``skips``);
- grey levels 0 to 255 of a signed feature, (9): both maps of a channel are stretched together, from their
  smaller minimum to their larger maximum, and rounded; a channel without any contrast has level 0;
- guided filter, (11): the guide is the stretched map in [0, 1]; radius and epsilon are settings; windows end
  at the image's border; what it gives below 0 counts as 0, for a negative weight has no meaning;
- global pooling, (14): the mean of magnitudes, since the mean of a signed feature may be 0 or negative;
- a weight 0/0 is 0.5: neither source is preferred.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .strategies import Strategy

__all__ = [
    "FusionLayer",
    "HistogramContrast",
    "SaliencyAttention",
    "channel_attention",
    "guided_filter",
    "l1_attention",
    "weighted_average",
]

_LEVELS = 256


def _share(own: Tensor, other: Tensor) -> Tensor:
    """Return ``own / (own + other)`` of two tensors that are nowhere negative; 0.5 where both are 0."""
    total = own + other
    defined = total > 0
    return torch.where(defined, own / torch.where(defined, total, 1.0), 0.5)


def _blend(weight: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    return weight * infrared + (1.0 - weight) * visible


def l1_attention(infrared: Tensor, visible: Tensor) -> Tensor:
    """Weigh every pixel by the l1 norm over its channels, smoothed by a 3x3 mean; (7) and (8).

    One weight serves all channels. Outside the image the norm is 0, as in the released code.
    """
    activity = [
        nn.functional.avg_pool2d(torch.sum(torch.abs(features), 1, keepdim=True), 3, 1, 1)
        for features in (infrared, visible)
    ]
    return _blend(_share(activity[0], activity[1]), infrared, visible)


def weighted_average(infrared: Tensor, visible: Tensor) -> Tensor:
    """Return the mean of both maps; (13) with the journal's weights, all 0.5."""
    return 0.5 * infrared + 0.5 * visible


def channel_attention(infrared: Tensor, visible: Tensor) -> Tensor:
    """Weigh every channel by the mean of its magnitudes; (14) to (16)."""
    activity = [torch.mean(torch.abs(features), (2, 3), keepdim=True) for features in (infrared, visible)]
    return _blend(_share(activity[0], activity[1]), infrared, visible)


class HistogramContrast(nn.Module):
    """Saliency of a pixel: the mean distance of its grey level to those of all pixels of its map; (9).

    One table of 256 saliencies per channel is made from the channel's histogram, then looked up. Counts
    are kept by column of the image until the end, so that no map needs reshaping.
    """

    def __init__(self) -> None:
        super().__init__()
        level = torch.arange(float(_LEVELS))
        distance = torch.abs(level[:, None] - level) / (_LEVELS - 1)
        self.register_buffer("distance", distance, persistent=False)
        self.register_buffer("nothing", torch.zeros(_LEVELS, 1), persistent=False)

    def forward(self, levels: Tensor) -> Tensor:
        """Return the saliency in [0, 1] of whole numbers in [0, 255], both ``(B, C, H, W)``."""
        index = levels.long()
        no_counts = levels[:, :, :1, :] * self.nothing  # B, C, 256, W
        # Of the counts' type: under autocast levels may be of half precision while the table is not.
        counts = torch.scatter_add(no_counts, 2, index, torch.ones_like(levels).to(no_counts))
        histogram = torch.mean(counts, 3, keepdim=True)
        histogram = histogram / torch.sum(histogram, 2, keepdim=True)  # B, C, 256, 1
        saliency = torch.matmul(self.distance, histogram)
        return torch.gather(saliency + no_counts, 2, index)


def _box_mean(features: Tensor, radius: int) -> Tensor:
    """Return the mean over a square window, of those of its pixels that lie inside the image."""
    size, mean = 2 * radius + 1, nn.functional.avg_pool2d
    rows = mean(features, (1, size), 1, (0, radius), count_include_pad=False)
    return mean(rows, (size, 1), 1, (radius, 0), count_include_pad=False)


def guided_filter(target: Tensor, guide: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth ``target`` except where ``guide`` has an edge (He et al., "Guided Image Filtering", ECCV 2010).

    Every window explains the target by a line ``slope * guide + offset``, fitted by least squares with
    ``epsilon * slope^2`` added; a pixel's value is the mean over all windows that cover it.

    Args:
        target: ``(B, C, H, W)``.
        guide: ``(B, C, H, W)``, filters the target's channel of the same number.
        radius: Of the window, in pixels; its side is ``2 * radius + 1``.
        epsilon: A guide of much smaller variance than this counts as flat.
    """
    # Average pooling on the CPU takes a third of the time where channels are innermost.
    target = target.contiguous(memory_format=torch.channels_last)
    guide = guide.contiguous(memory_format=torch.channels_last)
    mean_target, mean_guide = _box_mean(target, radius), _box_mean(guide, radius)
    covariance = _box_mean(target * guide, radius) - mean_target * mean_guide
    variance = _box_mean(guide * guide, radius) - mean_guide * mean_guide
    slope = covariance / (variance + epsilon)
    offset = mean_target - slope * mean_guide
    return _box_mean(slope, radius) * guide + _box_mean(offset, radius)


class SaliencyAttention(nn.Module):
    """Weigh every pixel by its histogram contrast, cleaned by a guided filter; (9) to (12).

    Args:
        radius: Of the guided filter, in pixels.
        epsilon: Of the guided filter, for guides in [0, 1].
    """

    def __init__(self, radius: int, epsilon: float) -> None:
        super().__init__()
        self.radius = radius
        self.epsilon = epsilon
        self.contrast = HistogramContrast()

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the fused map."""
        return _blend(self.weight(infrared, visible), infrared, visible)

    def weight(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the infrared map's weight in [0, 1], ``(B, C, H, W)``; the visible one has the rest."""
        guide_infrared, guide_visible = _stretched_together(infrared, visible)
        raw = _share(self.contrast(_levels(guide_infrared)), self.contrast(_levels(guide_visible)))
        return _share(self._cleaned(raw, guide_infrared), self._cleaned(1.0 - raw, guide_visible))

    def _cleaned(self, weight: Tensor, guide: Tensor) -> Tensor:
        return torch.relu(guided_filter(weight, guide, self.radius, self.epsilon))


def _stretched_together(infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Bring both maps of every channel to [0, 1] by one line; a channel without contrast becomes 0."""
    image = (2, 3)
    low = torch.minimum(torch.amin(infrared, image, keepdim=True), torch.amin(visible, image, keepdim=True))
    high = torch.maximum(torch.amax(infrared, image, keepdim=True), torch.amax(visible, image, keepdim=True))
    contrast = high - low
    contrast = torch.where(contrast > 0, contrast, 1.0)
    return (infrared - low) / contrast, (visible - low) / contrast


def _levels(stretched: Tensor) -> Tensor:
    # Mixed half precision may stretch a little too far, and a level is an index.
    return torch.clamp(torch.round(stretched * (_LEVELS - 1)), 0, _LEVELS - 1)


class FusionLayer(nn.Module):
    """The journal's fusion layer; (17).

    Args:
        spatial: The spatial attention.
        with_channels: Average what the spatial and the channel attention give; otherwise the
            spatial attention stands alone.
    """

    def __init__(self, spatial: Strategy, with_channels: bool) -> None:
        super().__init__()
        self.spatial = spatial
        self.with_channels = with_channels

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the fused map of two ``(B, C, H, W)`` maps."""
        fused = self.spatial(infrared, visible)
        if self.with_channels:
            fused = 0.5 * (fused + channel_attention(infrared, visible))
        return fused
