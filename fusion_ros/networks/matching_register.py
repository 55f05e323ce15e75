"""A register that matches: ReCoNet's task where the two images do not look alike.

ReCoNet's registers (Huang et al., ECCV 2022) regress the field from the two images side by side, which begins to
learn where infrared and visible images are similar, as on digits, and hardly anywhere else. Here the images
are first turned into descriptors that are alike where the scene is the same; all small displacements are compared;
and only what the comparison says is looked at to decide, so that the network can never see, and never
learns by heart, what the images show.

    moving --> gradients in 8 directions --> describe --> warp --+
                                               (same)            +--> compare all displacements --> decide --> flow
    fixed  --> gradients in 8 directions --> describe -----------+              (9 x 9)               |         |
                                                          ^-------------- once more from there -------+---------+

The direction channels are those of CFOG (Ye et al., TGRS 2019), comparing and warping follow PWC-Net (Sun et al.,
CVPR 2018), the decision is a soft arg-max over displacements (GC-Net, Kendall et al., ICCV 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FusionNetwork, Gives, NetworkSpec
from .flow import warp

__all__ = ["MatchingRegister", "MatchingRegisterSettings", "Pass"]

_DIRECTIONS = 8
_FAINT = 0.004  # of the range per pixel: weaker gradients are noise
_DESCRIBED, _DECIDED = 4, 8  # px: pitch of the descriptors, and of the flow
_FIRST_LEARNED, _FIRST_FIXED = 10.0, 6.0  # weights of the two kinds of descriptors in the comparison


@dataclass(frozen=True)
class MatchingRegisterSettings(Settings):
    """How the register is built."""

    width: int = setting(32, "Channels of the first convolution.", bounds=(1, 512))
    describing_width: int = setting(48, "Channels while describing.", bounds=(1, 512))
    descriptor: int = setting(32, "Channels of a descriptor.", bounds=(1, 512))
    describing_around_width: int = setting(
        48, "Channels while looking around to describe, at half the pitch of describing.", bounds=(1, 512)
    )
    describing_afar_width: int = setting(
        96, "Channels while looking afar to describe, at a quarter of it.", bounds=(1, 512)
    )
    deciding_width: int = setting(64, "Channels while deciding.", bounds=(1, 512))
    deciding_around_width: int = setting(
        96, "Channels while looking around to decide, at half the pitch of deciding.", bounds=(1, 512)
    )
    deciding_afar_width: int = setting(
        128, "Channels while looking afar to decide, at a quarter of it.", bounds=(1, 512)
    )
    radius: int = setting(
        4, "Largest displacement that one pass finds along each axis, in steps of 4 px.", bounds=(1, 8)
    )
    passes: int = setting(2, "How often to look, each time from where the last look led.", bounds=(1, 8))


class Pass(NamedTuple):
    """What one look gives.

    Attributes:
        comparison: ``(B, N, H/4, W/4)``: how alike the descriptors are at each of the N displacements.
        logits: ``(B, N, H/8, W/8)`` of the displacements, row by row from the upper left.
        before: ``(B, 2, H/8, W/8)``, the flow that the look began with, in pixels.
        flow: ``(B, 2, H/8, W/8)``, the flow after it, in pixels.
    """

    comparison: Tensor
    logits: Tensor
    before: Tensor
    flow: Tensor


class MatchingRegister(FusionNetwork):
    """Describe, compare, decide; 1,994,067 parameters. Moving and fixed image may be of either kind."""

    spec = NetworkSpec(
        name="matching_register",
        title="matching register",
        source="ours, after ReCoNet's register (Huang et al., ECCV 2022)",
        gives=Gives.FLOW,
        inputs=("moving", "fixed"),
    )
    Settings = MatchingRegisterSettings

    directions: Tensor
    displacements: Tensor

    def __init__(self, settings: MatchingRegisterSettings | None = None) -> None:
        super().__init__(settings)
        chosen = self.settings
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        angles = [k * math.pi / _DIRECTIONS for k in range(_DIRECTIONS)]
        directions = torch.stack([math.cos(angle) * sobel + math.sin(angle) * sobel.T for angle in angles])
        self.register_buffer("directions", directions[:, None], persistent=False)
        self.describing = nn.Sequential(
            nn.Conv2d(_DIRECTIONS, chosen.width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(chosen.width, chosen.describing_width, 3, stride=2, padding=1),
            nn.ReLU(),
            *(_Residual(chosen.describing_width, dilation) for dilation in (1, 2, 4, 1)),
            _Surroundings(chosen.describing_width, chosen.describing_around_width, chosen.describing_afar_width),
            nn.Conv2d(chosen.describing_width, chosen.descriptor, 1),
        )
        # How much the learned and the fixed descriptors count, as logarithms.
        self.learned = nn.Parameter(torch.tensor(math.log(_FIRST_LEARNED)))
        self.fixed = nn.Parameter(torch.tensor(math.log(_FIRST_FIXED)))
        steps = torch.arange(-chosen.radius, chosen.radius + 1.0)
        down, across = torch.meshgrid(steps, steps, indexing="ij")
        displacements = torch.stack([across, down]).reshape(2, -1, 1, 1) * _DESCRIBED
        self.register_buffer("displacements", displacements, persistent=False)
        count = displacements.shape[1]
        self.deciding = nn.Sequential(
            nn.Conv2d(count, chosen.deciding_width, 3, stride=2, padding=1),
            nn.ReLU(),
            *(_Residual(chosen.deciding_width, dilation) for dilation in (1, 2, 4, 1)),
            _Surroundings(chosen.deciding_width, chosen.deciding_around_width, chosen.deciding_afar_width),
            _Residual(chosen.deciding_width, 1),
            nn.Conv2d(chosen.deciding_width, count, 1),
        )
        with torch.no_grad():
            self.deciding[-1].weight *= 0.1

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the flow that takes the moving image onto the fixed one.

        Args:
            moving: ``(B, 1, H, W)`` in [0, 1], at least 32 x 32.
            fixed: Likewise, of the same size.

        Returns:
            ``(B, 2, H, W)`` float32, x first, in pixels, on the fixed image's grid: what is to be added to a
            pixel's position to find where the moving image is sampled (:func:`.flow.warp`).
        """
        height, width = fixed.shape[-2], fixed.shape[-1]
        # Filled up to a multiple of 8 with the mirror image, which goes on without an edge.
        filling = (0, -width % _DECIDED, 0, -height % _DECIDED)
        images = [F.pad(image, filling, mode="reflect") for image in (moving, fixed)]
        flow = self.look(*images)[-1].flow
        flow = F.interpolate(flow, scale_factor=float(_DECIDED), mode="bilinear")
        return F.pad(flow, (0, 1, 0, 1))[:, :, :height, :width]  # see ReCoNetRegister.velocity_of

    def look(self, moving: Tensor, fixed: Tensor) -> list[Pass]:
        """Return what every pass gives, first to last; sizes are multiples of 8."""
        moving, fixed = self.described(moving), self.described(fixed)
        passes: list[Pass] = []
        for _ in range(self.settings.passes):
            before = passes[-1].flow if passes else None
            if before is not None and self.training:
                before = before.detach()  # a pass learns what it adds; where it begins is the last one's to learn
            passes.append(self._pass(moving, fixed, before))
        return passes

    def described(self, image: Tensor) -> Tensor:
        """Return descriptors ``(B, D, H/4, W/4)``, scaled by how much they count, of ``(B, 1, H, W)``."""
        padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
        gradients = F.avg_pool2d(torch.abs(F.conv2d(padded, self.directions)), 2)
        energy = (gradients * gradients).mean(dim=1, keepdim=True)
        around = F.avg_pool2d(F.pad(energy, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
        gradients = gradients / (torch.sqrt(around + 1e-8) + _FAINT)
        learned = _unit(self.describing(gradients), 1e-4)
        averaged = F.avg_pool2d(F.pad(F.avg_pool2d(gradients, 2), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        fixed = _unit(averaged - averaged.mean(dim=1, keepdim=True), 1e-2)
        return torch.cat([learned * torch.exp(self.learned / 2), fixed * torch.exp(self.fixed / 2)], dim=1)

    def compared(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the scalar product of descriptors at every displacement, ``(B, N, H/4, W/4)``."""
        radius, height, width = self.settings.radius, fixed.shape[-2], fixed.shape[-1]
        side, reach = 2 * radius, 2 * radius + 1
        # In blocks of 2 r x 2 r cells: all that the cells of one can meet lies in four blocks around it, and one
        # product of matrices compares them. Displacement by displacement memory is read every time.
        right, below = -width % side, -height % side
        own = F.pixel_unshuffle(F.pad(fixed, (0, right, 0, below)), side)
        met = F.pixel_unshuffle(F.pad(moving, (radius, radius + right, radius, radius + below)), side)
        down, across = own.shape[-2], own.shape[-1]
        met = met.unflatten(1, (-1, side, side))  # channels, rows and columns in a block, blocks down, across
        met = torch.cat([met[:, :, :, :, :-1], met[:, :, :, :, 1:]], dim=2)
        met = torch.cat([met[..., :-1], met[..., 1:]], dim=3)
        met = met.flatten(2, 3).flatten(3).permute(0, 3, 1, 2)
        own = own.unflatten(1, (-1, side * side)).flatten(3).permute(0, 3, 2, 1)
        products = torch.matmul(own, met).unflatten(2, (side, side))
        # Of (row, column, row met, column met) wanted are those met at most 2 r further on.
        products = _skewed(products, 3, 1).unflatten(4, (2 * side, 2 * side))[..., :reach].flatten(3)
        products = _skewed(products, 2, reach).unflatten(3, (side, 2 * side, reach))[:, :, :, :, :reach]
        products = products.flatten(4).flatten(2, 3).permute(0, 3, 2, 1).flatten(1, 2)
        return F.pixel_shuffle(products.unflatten(2, (down, across)), side)[:, :, :height, :width]

    def _pass(self, moving: Tensor, fixed: Tensor, before: Tensor | None) -> Pass:
        if before is not None:
            at_descriptors = F.interpolate(before, scale_factor=_DECIDED / _DESCRIBED, mode="bilinear")
            moving = warp(moving, at_descriptors / _DESCRIBED, "replicate")
        comparison = self.compared(moving, fixed)
        # What the neighbourhood says as it is, and what is learned to make of it.
        halved = F.avg_pool2d(comparison, _DECIDED // _DESCRIBED)
        around = F.avg_pool2d(F.pad(halved, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        logits = self.deciding(comparison) + around
        # In float32 whatever the type of the weights: shorter ones know pixels of a large flow coarsely.
        found = (logits.float().softmax(dim=1)[:, None] * self.displacements.float()).sum(dim=2)
        before = found * 0 if before is None else before
        return Pass(comparison, logits, before, before + found)


class _Residual(nn.Module):
    """A dilated convolution and one of a single pixel, added to what came in."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.mix.weight *= 0.3
            self.mix.bias.zero_()

    def forward(self, data: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` of the same."""
        return F.relu(data + self.mix(F.relu(self.wide(data))))


class _Surroundings(nn.Module):
    """What is seen around a place, up to some 40 places from it: what a wall or a road says itself is nothing.

    Two halvings down and two doublings up, as in a U-Net (Ronneberger et al., MICCAI 2015), but what comes up is
    added.
    """

    def __init__(self, channels: int, around: int, afar: int) -> None:
        super().__init__()
        self.to_around = nn.Conv2d(channels, around, 3, stride=2, padding=1)
        self.around = _Residual(around, 1)
        self.to_afar = nn.Conv2d(around, afar, 3, stride=2, padding=1)
        self.afar = nn.Sequential(*(_Residual(afar, dilation) for dilation in (1, 2, 4, 1)))
        self.from_afar = nn.Conv2d(afar, around, 1)
        self.together = nn.Sequential(_Residual(around, 1), _Residual(around, 2))
        self.from_around = nn.Conv2d(around, channels, 1)

    def forward(self, data: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` of the same."""
        # Two places wider on each side: what is afar is never a single place, which would be exported by itself.
        wider = F.pad(data, (2, 2, 2, 2), mode="replicate")
        around = self.around(F.relu(self.to_around(wider)))
        afar = self.afar(F.relu(self.to_afar(around)))
        afar = F.interpolate(self.from_afar(afar), size=around.shape[2:], mode="bilinear")
        around = self.together(F.relu(around + afar))
        around = F.interpolate(self.from_around(around), size=wider.shape[2:], mode="bilinear")
        return F.relu(data + around[:, :, 2:-2, 2:-2])


def _skewed(rows: Tensor, axis: int, step: int) -> Tensor:
    """Return the rows along ``axis``, the last but one, each begun ``step`` later than the one before it.

    What they then lack at their ends has no meaning.
    """
    count, length = rows.shape[axis], rows.shape[axis + 1]
    moved = F.pad(rows.flatten(axis), (0, count * step)).unflatten(axis, (count, length + step))
    return moved[..., :length]


def _unit(vectors: Tensor, floor: float) -> Tensor:
    """Return vectors ``(B, C, H, W)`` of length 1, those shorter than the root of ``floor`` shorter."""
    return vectors / torch.sqrt((vectors * vectors).sum(dim=1, keepdim=True) + floor)
