"""The published fusion networks: one paper, one file, nothing but tensors.

``NETWORKS`` names them all; :mod:`fusion_ros.networks.base` says what they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SettingsError, nearest_name
from .base import (
    FeatureMap,
    FusionNetwork,
    Gives,
    InputRange,
    NetworkSpec,
    OutputRange,
    count_multiply_adds,
    count_parameters,
)
from .didfuse import DIDFuse, DIDFuseSettings
from .fused_features import FusedFeatures, FusedFeaturesSettings
from .lrrnet import LRRNet, LRRNetSettings
from .lrrnet_tracking import LRRNetTracking, LRRNetTrackingSettings
from .matching_register import MatchingRegister, MatchingRegisterSettings
from .reconet import ReCoNetFuser, ReCoNetFuserSettings
from .reconet_joint import ReCoNet, ReCoNetSettings
from .reconet_registers import ReCoNetMicroRegister, ReCoNetRegisterSettings, ReCoNetUNetRegister
from .reconet_v1 import ReCoNetFuserV1, ReCoNetFuserV1Settings
from .rfn_nest import RFNNest, RFNNestSettings
from .rfn_tracking import RFNTracking, RFNTrackingSettings
from .rfvif import RFVIF, RFVIFSettings

__all__ = [
    "NETWORKS",
    "RFVIF",
    "DIDFuse",
    "DIDFuseSettings",
    "FeatureMap",
    "FusedFeatures",
    "FusedFeaturesSettings",
    "FusionNetwork",
    "Gives",
    "InputRange",
    "LRRNet",
    "LRRNetSettings",
    "LRRNetTracking",
    "LRRNetTrackingSettings",
    "MatchingRegister",
    "MatchingRegisterSettings",
    "NetworkSpec",
    "OutputRange",
    "RFNNest",
    "RFNNestSettings",
    "RFNTracking",
    "RFNTrackingSettings",
    "RFVIFSettings",
    "ReCoNet",
    "ReCoNetFuser",
    "ReCoNetFuserSettings",
    "ReCoNetFuserV1",
    "ReCoNetFuserV1Settings",
    "ReCoNetMicroRegister",
    "ReCoNetRegisterSettings",
    "ReCoNetSettings",
    "ReCoNetUNetRegister",
    "build_network",
    "count_multiply_adds",
    "count_parameters",
]

NETWORKS: dict[str, type[FusionNetwork]] = {
    network.spec.name: network
    for network in (
        ReCoNet,
        ReCoNetFuser,
        ReCoNetFuserV1,
        ReCoNetMicroRegister,
        ReCoNetUNetRegister,
        MatchingRegister,
        RFVIF,
        RFNNest,
        RFNTracking,
        LRRNet,
        LRRNetTracking,
        DIDFuse,
        FusedFeatures,
    )
}
"""Network name, as a model card spells it -> its class."""


def build_network(name: str, settings: Mapping[str, Any] | None = None) -> FusionNetwork:
    """Build a network with fresh weights.

    Args:
        name: A name of :data:`NETWORKS`.
        settings: Values of the network's settings that differ from the paper's.

    Raises:
        SettingsError: No network has this name, or it has no such setting; the nearest known one is given.
    """
    if name not in NETWORKS:
        raise SettingsError(f"unknown network {name!r}; {nearest_name(name, NETWORKS)}")
    network = NETWORKS[name]
    return network(network.Settings.from_mapping(settings or {}))
