"""The published fusion networks: one paper, one file, nothing but tensors."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ..errors import SettingsError, nearest_name
from .reconet import ReCoNetFuser

__all__ = ["NETWORKS", "ReCoNetFuser", "build_network"]

NETWORKS: dict[str, Callable[[], nn.Module]] = {"reconet_fuser": ReCoNetFuser}
"""Network name, as a model card spells it -> how to build it."""


def build_network(name: str) -> nn.Module:
    """Build a network with fresh weights.

    Raises:
        SettingsError: No network has this name; the nearest known one is given.
    """
    if name not in NETWORKS:
        raise SettingsError(f"unknown network {name!r}; {nearest_name(name, NETWORKS)}")
    return NETWORKS[name]()
