"""M3FD: registered pairs from roads, campus and sea, many with targets in smoke or dark."""

from __future__ import annotations

from .folders import FolderSet

__all__ = ["M3fd"]


class M3fd(FolderSet):
    """M3FD (Liu et al., "TarDAL", CVPR 2022): 4200 pairs for detection, 300 for fusion, in folders of one form."""

    name = "m3fd"
    title = "M3FD, 4200 and 300 scenes"
    tree = """\
  <root>/          M3FD_Detection or M3FD_Fusion
    Ir/    00000.png ...   (or ir/)
    Vis/   00000.png ...   (or vis/)"""
    licence = "see its makers' repository (TarDAL); taken as research only"
    registered = "Registered by its makers."
    example = "m3fd=/data/M3FD_Detection"
    layouts = ((("ir", "vis", ""),),)
