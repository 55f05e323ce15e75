"""TNO: the classic test pairs of image fusion."""

from __future__ import annotations

import re
from pathlib import Path

from ..pairs import FilePair, list_files
from .base import Listing, SetOptions, below
from .folders import FolderSet

__all__ = ["Tno"]

_NUMBERED = re.compile(r"(IR|VIS)_?(\d+)", re.IGNORECASE)


class Tno(FolderSet):
    """TNO Image Fusion Dataset (Toet, "The TNO Multiband Image Data Collection", Data in Brief 2017)."""

    name = "tno"
    title = "TNO, the classic test set (all held out for test)"
    tree = """\
  <root>/
    ir/    01.png ...
    vis/   01.png ...
  or, in one folder, IR1.png VIS1.png IR2.png VIS2.png ..."""
    licence = "see figshare, article 1008029; copies in folders state none"
    registered = "Registered by its makers."
    example = "tno=/data/TNO"
    layouts = ((("ir", "vis", ""),),)

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether both folders, or numbered images, lie at ``root``."""
        return super().fits(root, options) or _kinds(root) == {"IR", "VIS"}

    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return the pairs of the folders, or those of equal number."""
        if super().fits(root, options):
            return super().collect(root, options)
        listing, files = Listing(), _numbered(root)
        for number in files["IR"].keys() & files["VIS"].keys():
            listing.pairs[number] = FilePair(f"{self.name}/{number}", files["IR"][number], files["VIS"][number])
        for own, other in (("IR", "VIS"), ("VIS", "IR")):
            listing.unpaired += [below(path, root) for n, path in files[own].items() if n not in files[other]]
        return listing


def _kinds(root: Path) -> set[str]:
    matches = (_NUMBERED.fullmatch(path.stem) for path in (root.iterdir() if root.is_dir() else ()))
    return {match[1].upper() for match in matches if match}


def _numbered(root: Path) -> dict[str, dict[str, Path]]:
    """Images such as ``IR1`` and ``VIS1`` by kind and number."""
    files: dict[str, dict[str, Path]] = {"IR": {}, "VIS": {}}
    for stem, path in list_files(root).items():
        match = _NUMBERED.fullmatch(stem)
        if match:
            files[match[1].upper()][f"{int(match[2]):02d}"] = path
    return files
