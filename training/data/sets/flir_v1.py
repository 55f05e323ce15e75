"""FLIR ADAS 1: thermal and colour images from a car."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusion_ros.settings import setting

from .aligned import AlignOptions
from .base import ImageSet, Listing, SetOptions, child, folder_pairs

__all__ = ["FlirV1", "FlirV1Options"]

_PARTS = ("train", "val", "video")


@dataclass(frozen=True)
class FlirV1Options(AlignOptions):
    """Which of the two thermal forms is read, and how it is aligned."""

    thermal: str = setting(
        "8bit",
        "8bit: the camera's own display images; 16bit: raw counts, each image stretched by its percentiles.",
        choices=("8bit", "16bit"),
    )


class FlirV1(ImageSet):
    """FLIR Thermal Starter Dataset (2018): 10 228 images from short videos, 4224 from one of 144 s."""

    name = "flir_v1"
    title = "FLIR ADAS version 1, 14 000 images from a car"
    tree = """\
  <root>/
    train/ (and val/, video/)
      RGB/             FLIR_00001.jpg ...
      thermal_8_bit/   FLIR_00001.jpeg ...
      thermal_16_bit/  FLIR_00001.tiff ..."""
    licence = "FLIR's own terms: research and development"
    registered = "Not registered: two cameras side by side, of other size and field of view (see align)."
    example = "flir_v1=/data/FLIR_ADAS_1_3"
    options = FlirV1Options

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether some part with both its folders lies below ``root``."""
        return any(all(self._places(root, part, options)) for part in _PARTS)

    def collect(self, root: Path, options: FlirV1Options) -> Listing:
        """Return the pairs of equal stem in every part; the set lacks some 500 of its colour images."""
        listing = Listing(notes=[options.note()])
        for part in _PARTS:
            infrared, visible = self._places(root, part, options)
            if infrared and visible:
                folders, is_raw = (infrared, visible), options.thermal == "16bit"
                folder_pairs(
                    listing, folders, self.name, root, prefix=f"{part}/", align=options.align, is_raw=is_raw
                )
        if listing.unpaired:
            listing.notes.append(f"{len(listing.unpaired)} images lack their partner, as in the set as published")
        return listing

    def missing(self, root: Path) -> str:
        """Name the folder that a part lacks."""
        for part in _PARTS:
            place = child(root, part)
            if place:
                lacking = [name for name in ("RGB", "thermal_8_bit") if not child(place, name)]
                return f"; missing {', '.join(f'{part}/{name}' for name in lacking)}" if lacking else ""
        return ""

    def _places(self, root: Path, part: str, options: SetOptions) -> tuple[Path | None, Path | None]:
        is_raw = isinstance(options, FlirV1Options) and options.thermal == "16bit"
        return child(root, f"{part}/thermal_{16 if is_raw else 8}_bit"), child(root, f"{part}/RGB")
