"""RoadScene: 221 registered pairs of road scenes."""

from __future__ import annotations

from .folders import FolderSet

__all__ = ["RoadScene"]


class RoadScene(FolderSet):
    """RoadScene (Xu et al., "FusionDN", AAAI 2020): cut from FLIR's road videos and aligned by hand."""

    name = "roadscene"
    title = "RoadScene, 221 road scenes"
    tree = """\
  <root>/
    cropinfrared/      FLIR_00006.jpg ...   (or ir/)
    crop_LR_visible/   FLIR_00006.jpg ...   (or vis/)"""
    licence = "none stated: research only"
    registered = "Registered by its makers, by hand; some pairs are off by a few pixels."
    example = "roadscene=/data/RoadScene"
    layouts = ((("cropinfrared", "crop_LR_visible", ""),), (("ir", "vis", ""),))
