"""Sets whose infrared and visible images lie in folders of their own, and plain folders of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

from fusion_ros.settings import setting

from .base import ImageSet, Listing, SetOptions, TwoPlaces, child, folder_pairs

__all__ = ["FolderOptions", "FolderSet", "Folders", "Layout"]

Layout = tuple[tuple[str, str, str], ...]
"""The folders of a set: infrared, visible, and what is put before the stems of their pairs."""
_INFRARED = ("ir", "infrared", "thermal", "lwir")
_VISIBLE = ("vis", "vi", "visible", "rgb")


class FolderSet(ImageSet):
    """A set whose pairs are images of equal stem in two folders, once or for each of its parts.

    Attributes:
        layouts: The forms in which copies of the set come; the first that is there is taken.
    """

    layouts: ClassVar[tuple[Layout, ...]]

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether both folders of some part lie below ``root``."""
        return any(_places(layout, root) for layout in self.layouts)

    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return all pairs of the first layout that is there."""
        listing = Listing()
        layout = next(layout for layout in self.layouts if _places(layout, root))
        for infrared, visible, prefix in _places(layout, root):
            folder_pairs(listing, (infrared, visible), self.name, root, prefix=prefix)
        absent = _half(layout, root)
        if absent:
            listing.notes.append(f"{absent} is missing: what lies in the folder that belongs to it is in no pair")
        return listing

    def missing(self, root: Path) -> str:
        """Name the folder that is missing beside one that is there."""
        absent = next(filter(None, (_half(layout, root) for layout in self.layouts)), "")
        return f"; missing {absent}" if absent else ""


@dataclass(frozen=True)
class FolderOptions(SetOptions):
    """Where the visible images are."""

    visible: str = setting(
        "", "Folder of the visible images; the infrared images are then in the first path itself."
    )


class Folders(TwoPlaces, FolderSet):
    """Pairs of one's own."""

    name = "folders"
    title = "folders of one's own"
    tree = """\
  <root>/
    ir/ (or infrared/, thermal/, lwir/)   0001.png ...
    vis/ (or vi/, visible/, rgb/)         0001.png ...   the same stems
  or two folders anywhere: folders=IR,VIS"""
    licence = "that of one's own images"
    registered = "Taken to be registered; pairs of unequal size are refused."
    example = "folders=data/ir,data/vis"
    options = FolderOptions
    layouts = tuple(((infrared, visible, ""),) for infrared, visible in product(_INFRARED, _VISIBLE))

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether both folders are there, below ``root`` or as given."""
        if isinstance(options, FolderOptions) and options.visible:
            return root.is_dir() and Path(options.visible).is_dir()
        return super().fits(root, options)

    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return the pairs of the two folders."""
        if not (isinstance(options, FolderOptions) and options.visible):
            return super().collect(root, options)
        listing = Listing()
        folder_pairs(listing, (root, Path(options.visible)), self.name, root)
        return listing


def _places(layout: Layout, root: Path) -> list[tuple[Path, Path, str]]:
    """The parts of a layout of which both folders are there."""
    parts = [(child(root, infrared), child(root, visible), prefix) for infrared, visible, prefix in layout]
    return [(infrared, visible, prefix) for infrared, visible, prefix in parts if infrared and visible]


def _half(layout: Layout, root: Path) -> str:
    """The folder that is missing beside its partner, or nothing."""
    for infrared, visible, _ in layout:
        if bool(child(root, infrared)) != bool(child(root, visible)):
            return visible if child(root, infrared) else infrared
    return ""
