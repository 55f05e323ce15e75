"""Fused features for trackers: one small backbone for both cameras, and a fusion head between its two outputs.

RFN-Nest (Li et al., Information Fusion 73, 2021, section 5) and LRRNet (Li et al., IEEE TPAMI 2023, section 5.4)
put their fusion modules between the two branches of Siamese trackers with a ResNet-50. Here the same modules stand
behind a backbone that runs on a robot's CPU, and whose features are trained for a correlation filter.
The backbone sees contrast without its strength, so a veil before one camera would count as much as a person
before the other. Therefore the camera that sees more contrast at a place, compared with the rest of its image, is
given more weight there, an activity level as those of DenseFuse (Li and Wu, IEEE TIP 28, 2019). Each camera is its
own measure: a thermal image of little contrast may show as much as a colour image of much.

    infrared --> local contrast --> backbone ---> balance ---+
                                     (same)          |       +--> head --> fused
    visible ---> local contrast --> backbone ---> balance ---+

A cell of the feature maps stands for 4 x 4 pixels: cell (x, y) is centred at pixel (4 x + 1.5, 4 y + 1.5), as
:class:`fusion_ros.feature_grid.FeatureGrid` has it, and no layer moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, Gives, NetworkSpec
from .lrrnet_tracking import LRRNetTracking, LRRNetTrackingSettings
from .rfn_tracking import RFNTracking, RFNTrackingSettings

__all__ = [
    "STRIDE",
    "CameraFeatures",
    "FeatureBackbone",
    "FusedFeatures",
    "FusedFeaturesSettings",
    "balanced",
    "local_contrast",
    "sum_and_difference",
]

STRIDE = 4
"""Pixel pitch of the cells."""

_AROUND = 7  # cells: side of the box whose mean and deviation are a pixel's surroundings
_FAINT = 0.02  # of the range: a deviation about as large as this may be noise, and features of it stay weaker
_LEAST = 0.005  # of the range: a deviation below it is noise, wherever it is
_COEFFICIENTS, _BLOCKS = 8, 1  # of LRRNet's module: with those of its paper it would cost more than all else
_TWICE = ("concatenation", "sum_and_difference")  # fusions that give twice the channels
_WEAK = 0.05  # mean square of a cell's features; what is weaker stays weak


@dataclass(frozen=True)
class FusedFeaturesSettings(Settings):
    """How the network is built."""

    channels: int = setting(32, "Channels of each camera's features.", bounds=(2, 512))
    head: str = setting(
        "rfn",
        "The trained head: the RFN of RFN-Nest's tracker, or LRRNet's module.",
        choices=("rfn", "lrrnet"),
    )
    fusion: str = setting(
        "head",
        "What fuses the cameras' features: the trained head; or their sum; or nothing, both stand side by side; "
        "or their sum and, beside it, their difference. The last two are twice the channels.",
        choices=("head", "sum", "concatenation", "sum_and_difference"),
    )
    difference: float = setting(
        0.55,
        "Weight of the difference where it stands beside the sum; 1 says the same as both cameras side by side.",
        bounds=(0, 1),
    )
    balance: float = setting(
        0.4,
        "Power of its local contrast, relative to its whole image's, with which a camera counts beside the other; "
        "0: both count alike everywhere.",
        bounds=(0, 4),
    )


class CameraFeatures(NamedTuple):
    """What the backbone makes of one image.

    Attributes:
        values: ``(B, C, h, w)`` features, of both signs.
        contrast: ``(B, 1, h, w)``: standard deviation of the grey values around a cell, and of the faintest noise,
            so that it is never 0; in units of its root mean square over the image.
    """

    values: Tensor
    contrast: Tensor


class FusedFeatures(FusionNetwork):
    """Backbone and head: 66,048 parameters; 1.63 G multiply-adds for 640 x 480, 0.71 G of them before the head."""

    spec = NetworkSpec(
        name="fused_features",
        title="fused features",
        source="ours, with the fusion modules for tracking of RFN-Nest and LRRNet",
        gives=Gives.FEATURES,
    )
    Settings = FusedFeaturesSettings

    def __init__(self, settings: FusedFeaturesSettings | None = None) -> None:
        super().__init__(settings)
        self.backbone = FeatureBackbone(self.settings.channels)
        self.head = _head(self.settings)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the fused features of two registered images.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 1], at least 8 x 8.
            visible: Likewise, on the same pixel grid.

        Returns:
            ``(B, C, H / 4, W / 4)``, rounded down, of both signs; twice the channels if side by side,
            or sum and difference.
        """
        return self.fuse(self.backbone(infrared), self.backbone(visible))

    def fuse(self, infrared: CameraFeatures, visible: CameraFeatures) -> Tensor:
        """Return the fused features of both cameras' own."""
        maps = balanced(infrared, visible, self.settings.balance)
        if self.settings.fusion == "sum":
            return torch.add(*maps)
        if self.settings.fusion == "concatenation":
            return torch.cat(maps, dim=1)
        if self.settings.fusion == "sum_and_difference":
            return sum_and_difference(*maps, self.settings.difference)
        return self.head(*maps)

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the fused features and each camera's own."""
        channels = self.settings.channels
        fused = 2 * channels if self.settings.fusion in _TWICE else channels
        return (
            FeatureMap("fused", fused, STRIDE, "Fused features of both cameras."),
            FeatureMap("infrared", channels, STRIDE, "Features of the infrared image alone."),
            FeatureMap("visible", channels, STRIDE, "Features of the visible image alone."),
        )

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return the fused features and each camera's own; see :meth:`forward`."""
        of_infrared, of_visible = self.backbone(infrared), self.backbone(visible)
        fused = self.fuse(of_infrared, of_visible)
        return {"fused": fused, "infrared": of_infrared.values, "visible": of_visible.values}


class FeatureBackbone(nn.Module):
    """Features of one image of either camera: two halvings, and a residual of two 3x3 convolutions.

    A correlation filter weighs cells by their energy, which a few strong edges would have to themselves. So each
    cell's features are divided by their root mean square, as HOG's blocks are, but for weak ones, which stay weak.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 2
        self.first = nn.Conv2d(1, narrow, 4, stride=2, padding=1)
        self.second = nn.Conv2d(narrow, channels, 4, stride=2, padding=1)
        self.gather = nn.Conv2d(channels, narrow, 3, padding=1)
        self.spread = nn.Conv2d(narrow, channels, 3, padding=1)

    def forward(self, image: Tensor) -> CameraFeatures:
        """Return the features of ``(B, 1, H, W)`` in [0, 1] on a grid of ``(H / 4, W / 4)``, rounded down.

        The mean square of a cell's features is below 1.
        """
        normalised, variance = local_contrast(image)
        plain = self.second(torch.relu(self.first(normalised)))
        features = plain + self.spread(torch.relu(self.gather(torch.relu(plain))))
        energy = (features * features).mean(dim=1, keepdim=True)
        variance = variance + _LEAST**2
        contrast = torch.sqrt(variance) / torch.sqrt(variance.mean(dim=(2, 3), keepdim=True))
        return CameraFeatures(features / torch.sqrt(energy + _WEAK), contrast)


def _head(settings: FusedFeaturesSettings) -> nn.Module:
    if settings.head == "rfn":
        return RFNTracking(RFNTrackingSettings(channels=settings.channels))
    return LRRNetTracking(LRRNetTrackingSettings(settings.channels, _COEFFICIENTS, _BLOCKS))


def balanced(infrared: CameraFeatures, visible: CameraFeatures, power: float) -> tuple[Tensor, Tensor]:
    """Return both cameras' features, ``(B, C, h, w)``, weighed cell by cell by how much each sees there.

    The weights are ``2 c^p / (c^p + d^p)`` with a camera's contrast c, the other's d, and the power p. They add
    up to 2, so that two cameras whose contrast is spread alike keep their features.
    """
    weight = 2 / (1 + (visible.contrast / infrared.contrast) ** power)
    return infrared.values * weight, visible.values * (2 - weight)


def sum_and_difference(infrared: Tensor, visible: Tensor, weight: float) -> Tensor:
    """Return what two cameras' features ``(B, C, h, w)`` agree in, then what they differ in, ``(B, 2 C, h, w)``.

    With a weight of 1 it is a rotation of both side by side, and to a linear filter the same. With less, what one
    camera alone shows, its noise included, counts for less than what both show.
    """
    half = 0.5**0.5
    return torch.cat([half * (infrared + visible), half * weight * (infrared - visible)], dim=1)


def local_contrast(image: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract what is around each pixel on average, and divide by how much it varies there.

    Around is a box of 7 x 7 cells of 4 px, fewer at the border. Its moments are interpolated bilinearly between
    cells. Where nothing varies, as in a black or saturated image, the result is 0; where only faint noise does,
    it stays small, so that a camera that sees nothing says little.

    Args:
        image: ``(B, 1, H, W)`` in [0, 1].

    Returns:
        The same, of mean 0 and a deviation of at most about 1; rows and columns beyond the last whole cell are
        left out. And the variance around the cells' centres, ``(B, 1, H / 4, W / 4)``, of the squared range.
    """
    height, width = image.shape[-2] // STRIDE * STRIDE, image.shape[-1] // STRIDE * STRIDE
    image = F.pad(image, (0, 1, 0, 1))[..., :height, :width]  # see ReCoNetRegister.velocity_of
    centred = image - _of_pixels(_surroundings(image))
    variance = _surroundings(centred * centred)
    return centred / torch.sqrt(_of_pixels(variance) + _FAINT**2), variance


def _surroundings(values: Tensor) -> Tensor:
    """Return the mean around every cell, ``(B, 1, H / 4, W / 4)``."""
    cells = F.avg_pool2d(values, STRIDE)
    return F.avg_pool2d(cells, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)


def _of_pixels(cells: Tensor) -> Tensor:
    """Interpolate between the centres of cells."""
    return F.interpolate(cells, scale_factor=float(STRIDE), mode="bilinear")
