"""A seeded street with exact ground truth, seen by a colour and a thermal camera."""

from __future__ import annotations

from .truth import Target, TargetView, Truth
from .world import SyntheticWorld, WorldSettings

__all__ = ["SyntheticWorld", "Target", "TargetView", "Truth", "WorldSettings"]
