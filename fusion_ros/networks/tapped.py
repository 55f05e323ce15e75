"""A network tapped for its feature maps: an engine gives one array, so all maps travel in one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import SettingsError, nearest_name
from .base import FeatureMap, FusionNetwork, NetworkSpec

__all__ = ["Tapped"]


class Tapped(nn.Module):
    """Gives feature maps of a network instead of its output, flattened, one behind the other.

    Args:
        network: A network with feature maps; it is kept, not copied.
        layers: Names of the maps, in the order in which they are to come; none takes all.

    Attributes:
        spec: The network's, which says what goes in.
        maps: What comes out, in order.

    Raises:
        SettingsError: The network has no map of a name, with the nearest one; or a name comes twice.
    """

    def __init__(self, network: FusionNetwork, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.spec: NetworkSpec = network.spec
        self.maps = _chosen(network, layers)
        self.train(network.training)

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return ``(1, N)``: each of :attr:`maps` as ``(h, w, C)``, of two images ``(1, 1, H, W)``."""
        found = self.network.features(infrared, visible)
        flat = [torch.flatten(found[item.name].permute(0, 2, 3, 1), 1) for item in self.maps]
        return torch.cat(flat, dim=1)

    def shapes(self, height: int, width: int) -> tuple[tuple[int, int, int], ...]:
        """Return ``(h, w, C)`` of each of :attr:`maps` for images of a size.

        Nothing is computed: shapes alone pass through the network.
        """
        network = copy.deepcopy(self.network).to("meta")
        images = [torch.empty(1, 1, height, width, device="meta") for _ in range(2)]
        with torch.no_grad():
            found = network.features(*images)
        return tuple((*found[item.name].shape[2:], found[item.name].shape[1]) for item in self.maps)


def _chosen(network: FusionNetwork, layers: Sequence[str]) -> tuple[FeatureMap, ...]:
    known = {item.name: item for item in network.feature_maps()}
    if not known:
        raise SettingsError(f"{network.spec.title} offers no feature maps")
    for name, number in Counter(layers).items():
        if name not in known:
            raise SettingsError(f"{network.spec.title} has no layer {name!r}; {nearest_name(name, known)}")
        if number > 1:
            raise SettingsError(f"expected each layer once, got {name!r} {number} times")
    return tuple(known[name] for name in layers or known)
