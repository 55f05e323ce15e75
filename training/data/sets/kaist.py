"""KAIST: 95 000 frames of videos from a car, registered by a beam splitter."""

from __future__ import annotations

import re
from pathlib import Path

from .base import ImageSet, Listing, SetOptions, child, folder_pairs

__all__ = ["Kaist"]

_SET, _VIDEO = re.compile(r"set\d\d", re.IGNORECASE), re.compile(r"V\d\d\d", re.IGNORECASE)
_FOLDERS = ("lwir", "visible")


class Kaist(ImageSet):
    """KAIST Multispectral Pedestrian (Hwang et al., CVPR 2015): sets of videos by day and by night."""

    name = "kaist"
    title = "KAIST Multispectral Pedestrian, 95 000 frames of videos"
    tree = """\
  <root>/          (or <root>/images/)
    set00/ ... set11/
      V000/ ...
        lwir/      I00000.jpg ...
        visible/   I00000.jpg ..."""
    licence = "CC BY-NC-SA 4.0"
    registered = "Registered by a beam splitter; a part of the videos is off by a few pixels."
    example = "kaist=/data/kaist,limit=20000"

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether some video with both folders lies below ``root``."""
        return any(all(child(video, name) for name in _FOLDERS) for video in _videos(root))

    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return the pairs of all videos; a video without one of its folders is left out, with a note."""
        listing = Listing()
        for video in _videos(root):
            infrared, visible = (child(video, name) for name in _FOLDERS)
            place = f"{video.parent.name.lower()}/{video.name.upper()}"
            if infrared and visible:
                folder_pairs(listing, (infrared, visible), self.name, root, prefix=f"{place}/")
            else:
                listing.notes.append(f"{place} has no {'visible' if infrared else 'lwir'} folder; it is left out")
        return listing

    def missing(self, root: Path) -> str:
        """Name the folder that a video lacks."""
        for video in _videos(root):
            absent = [name for name in _FOLDERS if not child(video, name)]
            if absent:
                return f"; missing {', '.join(absent)} in {video}"
        return ""


def _videos(root: Path) -> list[Path]:
    """The folders of all videos below ``root`` or its folder ``images``."""
    place = child(root, "images") or root
    sets = _matching(place, _SET)
    return [video for folder in sets for video in _matching(folder, _VIDEO)]


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_dir())
