"""LLVIP: registered pairs of streets at night."""

from __future__ import annotations

from .folders import FolderSet

__all__ = ["Llvip"]


class Llvip(FolderSet):
    """LLVIP (Jia et al., ICCV Workshops 2021): 12025 pairs for training, 3463 for test."""

    name = "llvip"
    title = "LLVIP, 15488 street scenes, most at night"
    tree = """\
  <root>/
    infrared/train/   010001.jpg ...      visible/train/   010001.jpg ...
    infrared/test/    190001.jpg ...      visible/test/    190001.jpg ..."""
    licence = "its makers' terms of use: not for commercial purposes"
    registered = "Registered by its makers."
    example = "llvip=/data/LLVIP,every=5"
    layouts = ((("infrared/train", "visible/train", "train/"), ("infrared/test", "visible/test", "test/")),)
