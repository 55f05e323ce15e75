"""Matching across cameras without a target: where a rig's thermal images lie in its RGB images."""

from __future__ import annotations

from .rig import MatchingSettings, RigMatch, match_rig
from .views import RigView, ViewChooser

__all__ = ["MatchingSettings", "RigMatch", "RigView", "ViewChooser", "match_rig"]
