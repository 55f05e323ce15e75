"""ReCoNet whole: register, then fuse, trained as one.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, figure 3 (b). The paper moves the visible image; here the image that is not the
reference moves, and nothing in the network tells the one case from the other.

    reference --+-------------------------------------------+
                +--> register --> velocity --> integrate    +--> recurrent fuser --> fused
                |                                  |        |
    other ------+------------------------------> warp ------+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..settings import Settings, setting
from .base import FeatureMap, FusionNetwork, NetworkSpec
from .flow import integrate, warp
from .reconet import ReCoNetFuser, ReCoNetFuserSettings, Recurrence
from .reconet_registers import (
    ReCoNetMicroRegister,
    ReCoNetRegister,
    ReCoNetRegisterSettings,
    ReCoNetUNetRegister,
)

__all__ = ["Correction", "ReCoNet", "ReCoNetSettings"]

_REGISTERS: dict[str, type[ReCoNetRegister]] = {"micro": ReCoNetMicroRegister, "unet": ReCoNetUNetRegister}


@dataclass(frozen=True)
class ReCoNetSettings(Settings):
    """How the joint network is built."""

    register: str = setting("micro", "Which register aligns the images.", choices=tuple(_REGISTERS))
    inputs: int = setting(
        2, "Input maps of the register: 2, the images; 4, the images and the edges of each.", choices=(2, 4)
    )
    squarings: int = setting(7, "How often the flow is composed with itself to integrate it.", bounds=(0, 16))
    reference: str = setting(
        "visible", "The image that stands still; the other one is moved onto it.", choices=("visible", "infrared")
    )
    border: str = setting(
        "zeros", "What the moved image shows of what lies outside it.", choices=("zeros", "replicate")
    )
    width: int = setting(64, "Channels of each dilated convolution of the fuser.", bounds=(1, 1024))
    recurrences: int = setting(3, "How often the fuser is run; all runs share the same weights.", bounds=(1, 16))


class Correction(NamedTuple):
    """All that the joint network finds, on the reference's grid.

    Attributes:
        fused: ``(B, 1, H, W)`` in (-1, 1), as the recurrent fuser gives it.
        moved: ``(B, 1, H, W)``, the image that is not the reference, moved onto it.
        flow: ``(B, 2, H, W)`` float32, x first, in pixels: what is added to a pixel's position to find where
            the image that is not the reference is sampled.
        velocity: ``(B, 2, H, W)``, what the flow was integrated from.
        steps: What every recurrence of the fuser gives, first to last.
    """

    fused: Tensor
    moved: Tensor
    flow: Tensor
    velocity: Tensor
    steps: list[Recurrence]


class ReCoNet(FusionNetwork):
    """Register and recurrent fuser: 209,945 parameters with the micro register and two inputs."""

    spec = NetworkSpec(
        name="reconet",
        title="ReCoNet",
        source="Huang et al., ReCoNet, ECCV 2022",
        aligns=True,
    )
    Settings = ReCoNetSettings

    def __init__(self, settings: ReCoNetSettings | None = None) -> None:
        super().__init__(settings)
        chosen = self.settings
        self.register = _REGISTERS[chosen.register](
            ReCoNetRegisterSettings(inputs=chosen.inputs, squarings=chosen.squarings)
        )
        self.fuser = ReCoNetFuser(ReCoNetFuserSettings(width=chosen.width, recurrences=chosen.recurrences))

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Align and fuse two single-channel images.

        Args:
            infrared: ``(B, 1, H, W)`` in [0, 1], at least 16 x 16.
            visible: Likewise, luminance, of the same size and roughly of the same view.

        Returns:
            ``(B, 1, H, W)`` in (-1, 1) on the grid of the settings' reference: to be clamped, never
            stretched, when it becomes an image.
        """
        return self.correct(infrared, visible).fused

    def correct(self, infrared: Tensor, visible: Tensor) -> Correction:
        """Return all that is found on the way; arguments as for :meth:`forward`."""
        infrared_moves = self.settings.reference == "visible"
        moving, fixed = (infrared, visible) if infrared_moves else (visible, infrared)
        velocity = self.register.velocity(moving, fixed)
        flow = integrate(velocity, self.register.settings.squarings)
        moved = warp(moving, flow, self.settings.border)
        steps = self.fuser.unroll(*((moved, fixed) if infrared_moves else (fixed, moved)))
        return Correction(steps[-1].fused, moved, flow, velocity, steps)

    def registered(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Return both images on the reference's grid, ready for the fuser."""
        if self.settings.reference == "visible":
            return warp(infrared, self.register(infrared, visible), self.settings.border), visible
        return infrared, warp(visible, self.register(visible, infrared), self.settings.border)

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe the fuser's attention maps and the flow."""
        flow = FeatureMap("flow", 2, 1, "Where the moved image was sampled, x first, in pixels from each pixel.")
        return (*self.fuser.feature_maps(), flow)

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return the attention maps of the last recurrence, and the flow."""
        found = self.correct(infrared, visible)
        last = found.steps[-1]
        return {
            "attention_infrared": last.attention_infrared,
            "attention_visible": last.attention_visible,
            "flow": found.flow,
        }
