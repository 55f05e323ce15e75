"""Options of sets whose two cameras see other fields of view."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.errors import SettingsError
from fusion_ros.settings import setting

from .base import SetOptions

__all__ = ["AlignOptions"]


@dataclass(frozen=True)
class AlignOptions(SetOptions):
    """How the infrared images reach the grid of the visible ones."""

    align: CoarseSettings = setting(
        CoarseSettings(), "How the infrared image reaches the grid of the visible one."
    )

    def check(self) -> None:
        """Check that a homography that is given is used, and that it can be."""
        if self.align.homography and self.align.mode != "homography":
            raise SettingsError(
                f"align.homography is given, but align.mode is {self.align.mode}; set align.mode=homography too"
            )
        CoarseAligner(self.align)

    def note(self) -> str:
        """Say what that makes of the pairs."""
        if self.align.mode == "homography":
            return "brought together by the homography given: near things keep their parallax"
        return (
            f"align.mode is {self.align.mode}: these pairs are not registered; align.homography brings them closer"
        )
