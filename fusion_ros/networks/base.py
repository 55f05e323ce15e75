"""What all networks have in common: one protocol for all methods.

A network takes two single-channel images on one pixel grid, ``network(infrared, visible)``, in the
value range in which its paper defines it; :class:`fusion_ros.spec.NetworkSpec` says which.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..settings import Settings
from ..spec import FeatureMap, Gives, InputRange, NetworkSpec, OutputRange

__all__ = [
    "FeatureMap",
    "FusionNetwork",
    "Gives",
    "InputRange",
    "NetworkSpec",
    "OutputRange",
    "count_multiply_adds",
    "count_parameters",
]


class FusionNetwork(nn.Module, ABC):
    """Base of all networks.

    Args:
        settings: How it is built; None takes the paper's values.
    """

    spec: ClassVar[NetworkSpec]
    Settings: ClassVar[type[Settings]]

    # The names of our modules -> the names in the authors' checkpoint, as prefixes; empty where no
    # checkpoint was released.
    UPSTREAM_PREFIXES: ClassVar[dict[str, str]] = {}

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings if settings is not None else self.Settings()

    @abstractmethod
    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return what :attr:`spec` says, of two ``(B, 1, H, W)`` images."""

    def feature_maps(self) -> tuple[FeatureMap, ...]:
        """Describe what :meth:`features` gives; empty where it gives nothing."""
        return ()

    def features(self, infrared: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Return every map of :meth:`feature_maps` by name, each ``(B, channels, H / stride, W / stride)``."""
        return {}


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters; running statistics are none."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_multiply_adds(network: nn.Module, height: int, width: int, channels: int = 1) -> int:
    """Return the multiply-adds of the convolutions and matrix products for one pair of this size.

    Nothing is computed: shapes alone pass through the network.
    """
    import copy

    from torch.utils.flop_counter import FlopCounterMode

    shapes: Any = copy.deepcopy(network).eval().to("meta")
    images = [torch.empty(1, channels, height, width, device="meta") for _ in range(2)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shapes(*images)
    return counter.get_total_flops() // 2
