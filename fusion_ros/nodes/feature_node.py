"""feature_node: fusion_node that offers fused features, and no fused image unless it is asked for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..features import FeatureSettings
from ..pipeline_opening import ALONE
from ..settings import setting, setting_of
from .fusion_node import FusionNode, FusionNodeSettings
from .spinning import run_lifecycle_node

__all__ = ["FeatureNode", "FeatureNodeSettings", "NodeFeatures", "main"]


@dataclass(frozen=True)
class NodeFeatures(FeatureSettings):
    """Which feature maps feature_node offers."""

    model: str = setting_of(FeatureSettings, "model", "fused_features")


@dataclass(frozen=True)
class FeatureNodeSettings(FusionNodeSettings):
    """All parameters of feature_node: those of fusion_node with other defaults."""

    model: str = setting_of(FusionNodeSettings, "model", "none")
    repeated: str = setting_of(FusionNodeSettings, "repeated", ALONE)
    features: NodeFeatures = setting(NodeFeatures(), "Which feature maps are offered.")


class FeatureNode(FusionNode):
    """Pairs and aligns two camera streams and publishes fused features."""

    NAME: ClassVar[str] = "feature_node"
    SETTINGS: ClassVar[type[FusionNodeSettings]] = FeatureNodeSettings


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the process's exit code."""
    return run_lifecycle_node(FeatureNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
