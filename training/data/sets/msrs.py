"""MSRS: registered pairs of road scenes by day and night."""

from __future__ import annotations

from .folders import FolderSet

__all__ = ["Msrs"]


class Msrs(FolderSet):
    """MSRS (Tang et al., "PIAFusion", Information Fusion 2022), from MFNet (Ha et al., IROS 2017)."""

    name = "msrs"
    title = "MSRS, 1444 road scenes by day and night"
    tree = """\
  <root>/
    train/ir/   00001D.png ...      train/vi/   00001D.png ...
    test/ir/    00004N.png ...      test/vi/    00004N.png ...
  or, without its parts, ir/ and vis/"""
    licence = "MIT for the repository; the MFNet images that it is made from state none"
    registered = "Registered by its makers."
    example = "msrs=/data/MSRS"
    layouts = (
        (("train/ir", "train/vi", "train/"), ("test/ir", "test/vi", "test/")),
        (("ir", "vis", ""),),
    )
