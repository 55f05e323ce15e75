"""ReCoNet's registers: which way and how far the moving image has to go.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, section 2.2 and figure 3 (c), and the authors' second code. Both look at the two images
together and give a velocity for every pixel; integrated over unit time, it is the flow.

The micro register: three groups, each fed with all that came before it.

    moving --+--> stem --> group 3 x 3 --> group 5 x 5 --> group 7 x 7
    fixed  --+      |         |    ^          |    ^          |    (each ^ joins all maps to its left)
                    +---------+----+----------+----+          |
                              +---------------+---------------+--> dilated 1, 2, 3 --> velocity

    group:  --> k x k --+--> pool --> k x k --+--> k x k, dilated 2 --+--> k x k --> up --+--> k x k -->
                        |                     +-----------------------+                   |
                        +-----------------------------------------------------------------+

The U-Net register: four halvings down, four doublings up, each joined with the map of its size.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..settings import Settings, setting
from .base import FusionNetwork, Gives, NetworkSpec
from .edges import edge_magnitude
from .flow import integrate

__all__ = ["ReCoNetMicroRegister", "ReCoNetRegister", "ReCoNetRegisterSettings", "ReCoNetUNetRegister"]

_KERNELS = (3, 5, 7)
_DILATIONS = (1, 2, 3)
_FIRST_WEIGHTS = 1e-5  # standard deviation: an untrained register moves nothing


@dataclass(frozen=True)
class ReCoNetRegisterSettings(Settings):
    """How a register is built."""

    inputs: int = setting(2, "Input maps: 2, the images; 4, the images and the edges of each.", choices=(2, 4))
    width: int = setting(16, "Channels of a convolution; inside the U-Net twice as many.", bounds=(1, 512))
    squarings: int = setting(7, "How often the flow is composed with itself to integrate it.", bounds=(0, 16))


class ReCoNetRegister(FusionNetwork):
    """What both registers share: from two images to one flow."""

    Settings = ReCoNetRegisterSettings
    PITCH: ClassVar[int]
    """Height and width of what :meth:`_velocity` takes are multiples of this."""

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the flow that takes the moving image onto the fixed one.

        Args:
            moving: ``(B, 1, H, W)`` in [0, 1], at least 16 x 16.
            fixed: Likewise, of the same size.

        Returns:
            ``(B, 2, H, W)`` float32, x first, in pixels, on the fixed image's grid: what is to be added to a
            pixel's position to find where the moving image is sampled (:func:`.flow.warp`).
        """
        return integrate(self.velocity(moving, fixed), self.settings.squarings)

    def velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the velocity ``(B, 2, H, W)``, in pixels, that is integrated; arguments as of :meth:`forward`."""
        maps = [moving, fixed]
        if self.settings.inputs == 4:
            maps += [edge_magnitude(moving), edge_magnitude(fixed)]
        return self.velocity_of(torch.cat(maps, dim=1))

    def velocity_of(self, maps: Tensor) -> Tensor:
        """Return the velocity ``(B, 2, H, W)``, in pixels.

        What the size lacks to a multiple of :attr:`PITCH` is filled up to the right and below with the
        mirror image, and cut off the result. The mirror image goes on without a step; zeros would be an
        edge, and a repeated border streaks, at the same place in both images, as if nothing had moved.

        Args:
            maps: ``(B, inputs, H, W)``: moving, fixed and, if there are four, the edge magnitude of each.
        """
        height, width = maps.shape[-2], maps.shape[-1]
        filled = F.pad(maps, (0, -width % self.PITCH, 0, -height % self.PITCH), mode="reflect")
        # With a row and a column more there is something to cut off at every size. An exported network would
        # otherwise serve either the sizes that were filled up or those that were not.
        return F.pad(self._velocity(filled), (0, 1, 0, 1))[:, :, :height, :width]

    @abstractmethod
    def _velocity(self, maps: Tensor) -> Tensor:
        """Return the velocity ``(B, 2, H, W)`` of ``(B, inputs, H, W)``, both sizes multiples of :attr:`PITCH`."""


class ReCoNetMicroRegister(ReCoNetRegister):
    """The micro register: 202,418 parameters with two inputs, 202,706 with four."""

    spec = NetworkSpec(
        name="reconet_micro_register",
        title="ReCoNet, micro register",
        source="Huang et al., ReCoNet, ECCV 2022, section 2.2",
        gives=Gives.FLOW,
        inputs=("moving", "fixed"),
    )
    PITCH = 2
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {
        "stem": "stem.group",
        **{f"groups.{g}.full": f"groups.{g}.conv_1.group" for g in range(3)},
        **{f"groups.{g}.coarse": f"groups.{g}.conv_2.group" for g in range(3)},
        **{f"groups.{g}.wide": f"groups.{g}.conv_dil.group" for g in range(3)},
        **{f"groups.{g}.mix": f"groups.{g}.conv_3.group" for g in range(3)},
        **{f"groups.{g}.join": f"groups.{g}.conv_4.group" for g in range(3)},
        **{f"dilated.{d}": f"decoder.conv_d.{d}.group" for d in range(3)},
        "last": "decoder.conv_s",
    }

    def __init__(self, settings: ReCoNetRegisterSettings | None = None) -> None:
        super().__init__(settings)
        width = self.settings.width
        self.stem = _convolution(self.settings.inputs, width)
        self.groups = nn.ModuleList(_Group((1 + g) * width, width, kernel) for g, kernel in enumerate(_KERNELS))
        self.dilated = nn.ModuleList(_convolution(3 * width, width, dilation=d) for d in _DILATIONS)
        self.last = _velocity_convolution(3 * width)

    def _velocity(self, maps: Tensor) -> Tensor:
        stem = self.stem(maps)
        found: list[Tensor] = []  # the groups' maps, first to last
        for group in self.groups:
            found.append(group(torch.cat([*found, stem], dim=1)))
        context = torch.cat(found, dim=1)  # B, 3 * width, H, W
        return self.last(torch.cat([conv(context) for conv in self.dilated], dim=1))


class _Group(nn.Module):
    """A U-Net of one level, with a kernel of its own size."""

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.full = _convolution(inputs, width, kernel)
        self.pool = nn.MaxPool2d(2)
        self.coarse = _convolution(width, width, kernel)
        self.wide = _convolution(width, width, kernel, dilation=2)
        self.mix = _convolution(2 * width, width, kernel)
        self.join = _convolution(2 * width, width, kernel)

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, width, H, W)`` of ``(B, inputs, H, W)``, both sizes even."""
        full = self.full(maps)
        coarse = self.coarse(self.pool(full))
        coarse = self.mix(torch.cat([coarse, self.wide(coarse)], dim=1))
        up = F.interpolate(coarse, size=full.shape[-2:], mode="bilinear", align_corners=False)
        return self.join(torch.cat([full, up], dim=1))


class ReCoNetUNetRegister(ReCoNetRegister):
    """The U-Net register: 100,530 parameters with two inputs, 101,394 with four."""

    spec = NetworkSpec(
        name="reconet_unet_register",
        title="ReCoNet, U-Net register",
        source="Huang et al., ReCoNet, ECCV 2022: the authors' second code",
        gives=Gives.FLOW,
        inputs=("moving", "fixed"),
    )
    PITCH = 16
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {
        **{f"down.{i}": f"unet.encoder.{i}.group" for i in range(4)},
        **{f"up.{i}": f"unet.decoder.{i}.group" for i in range(4)},
        **{f"refine.{i}": f"unet.suffix.{i}.group" for i in range(3)},
        "last": "flow",
    }

    def __init__(self, settings: ReCoNetRegisterSettings | None = None) -> None:
        super().__init__(settings)
        inputs, width = self.settings.inputs, self.settings.width
        wide = 2 * width
        self.down = _chain((inputs, width, wide, wide, wide), stride=2)
        # Every step up but the first takes the step before it and the map of the same size on the way down.
        self.up = nn.ModuleList(_convolution(n, wide) for n in (wide, 2 * wide, 2 * wide, wide + width))
        self.refine = _chain((wide + inputs, wide, width, width))
        self.last = _velocity_convolution(width)

    def _velocity(self, maps: Tensor) -> Tensor:
        passed = [maps]  # full size, 1/2, 1/4, 1/8, 1/16
        for convolution in self.down:
            passed.append(convolution(passed[-1]))
        found = passed.pop()
        for convolution in self.up:
            beside = passed.pop()
            doubled = F.interpolate(convolution(found), size=beside.shape[-2:], mode="nearest")
            found = torch.cat([doubled, beside], dim=1)
        for convolution in self.refine:
            found = convolution(found)
        return self.last(found)


def _convolution(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    """Return a convolution and its activation; zeros outside, the size kept (or divided by the stride)."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation), nn.GELU())


def _chain(channels: Sequence[int], stride: int = 1) -> nn.ModuleList:
    return nn.ModuleList(_convolution(*step, stride=stride) for step in itertools.pairwise(channels))


def _velocity_convolution(inputs: int) -> nn.Conv2d:
    """Return the last convolution, which has no activation and starts near zero."""
    convolution = nn.Conv2d(inputs, 2, 3, padding=1)
    nn.init.normal_(convolution.weight, std=_FIRST_WEIGHTS)
    nn.init.zeros_(convolution.bias)
    return convolution
