"""FLIR ADAS 2: two synchronised videos, and images of two cameras that are not in pairs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fusion_ros.errors import SettingsError

from ..pairs import FilePair, list_files
from .aligned import AlignOptions
from .base import ImageSet, Listing, SetOptions, below, child

__all__ = ["FlirV2"]

_MAP = "rgb_to_thermal_vid_map.json"
_FRAME = re.compile(r"video-(?P<video>.+)-frame-(?P<frame>\d+)-[^-]+")
_IMAGE_PARTS = ("train", "val")


class FlirV2(ImageSet):
    """Teledyne FLIR Free ADAS Thermal Dataset v2 (2022).

    Only the 3749 frames of the videos are synchronised; a file says which belong together. The images for training
    and validation were drawn from each camera by itself: where a video's and a frame's number do occur in both,
    they are a pair, which in the set as published is hardly ever so.
    """

    name = "flir_v2"
    title = "FLIR ADAS version 2, 3749 synchronised frames of videos"
    tree = f"""\
  <root>/
    {_MAP}
    video_rgb_test/data/         video-<id>-frame-000000-<hash>.jpg ...
    video_thermal_test/data/     video-<id>-frame-000000-<hash>.jpg ...
    images_rgb_train/data/       (and images_rgb_val, images_thermal_train, images_thermal_val; may be absent)"""
    licence = "Teledyne FLIR's own terms: research and development"
    registered = (
        "Synchronised, not registered: two cameras side by side, of other size and field of view (see align)."
    )
    example = "flir_v2=/data/FLIR_ADAS_v2,every=5"
    options = AlignOptions

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether the synchronised videos, or both cameras' images of a part, lie below ``root``."""
        videos = (root / _MAP).is_file() and all(_places(root, "video", "test"))
        return videos or any(all(_places(root, "images", part)) for part in _IMAGE_PARTS)

    def collect(self, root: Path, options: AlignOptions) -> Listing:
        """Return the frames that the map joins, and images of equal video and frame."""
        listing = Listing(notes=[options.note()])
        for part in _IMAGE_PARTS:
            infrared, visible = _places(root, "images", part)
            if infrared and visible:
                self._add_images(listing, part, infrared, visible, options)
        infrared, visible = _places(root, "video", "test")
        if infrared and visible and (root / _MAP).is_file():
            self._add_video(listing, root, infrared, visible, options)
        return listing

    def missing(self, root: Path) -> str:
        """Name what the videos lack."""
        places = zip(
            ("video_thermal_test/data", "video_rgb_test/data"), _places(root, "video", "test"), strict=True
        )
        absent = [name for name, place in places if not place]
        absent += [] if (root / _MAP).is_file() else [_MAP]
        return f"; missing {', '.join(absent)}" if len(absent) < 3 else ""

    def _add_video(
        self, listing: Listing, root: Path, infrared: Path, visible: Path, options: AlignOptions
    ) -> None:
        thermal_files, rgb_files = list_files(infrared), list_files(visible)
        partners = {Path(rgb).stem: Path(thermal).stem for rgb, thermal in _read_map(root / _MAP).items()}
        for rgb, thermal in partners.items():
            if rgb in rgb_files and thermal in thermal_files:
                self._add(listing, f"video/{rgb}", thermal_files[thermal], rgb_files[rgb], options)
        known = set(partners.values())
        listing.unpaired += [
            below(path, root) for stem, path in rgb_files.items() if partners.get(stem) not in thermal_files
        ]
        listing.unpaired += [below(path, root) for stem, path in thermal_files.items() if stem not in known]
        lost = [stem for rgb, stem in partners.items() if rgb not in rgb_files and stem in thermal_files]
        listing.unpaired += [below(thermal_files[stem], root) for stem in lost]

    def _add_images(
        self, listing: Listing, part: str, infrared: Path, visible: Path, options: AlignOptions
    ) -> None:
        thermal_files, rgb_files = _by_frame(infrared), _by_frame(visible)
        both = thermal_files.keys() & rgb_files.keys()
        for key in both:
            self._add(listing, f"{part}/{rgb_files[key].stem}", thermal_files[key], rgb_files[key], options)
        listing.notes.append(
            f"{part}: {len(both)} pairs among {len(thermal_files)} thermal and {len(rgb_files)} RGB images, which "
            "the set does not offer in pairs"
        )

    def _add(self, listing: Listing, stem: str, infrared: Path, visible: Path, options: AlignOptions) -> None:
        listing.pairs[stem] = FilePair(f"{self.name}/{stem}", infrared, visible, options.align)


def _places(root: Path, kind: str, part: str) -> tuple[Path | None, Path | None]:
    return child(root, f"{kind}_thermal_{part}/data"), child(root, f"{kind}_rgb_{part}/data")


def _by_frame(folder: Path) -> dict[tuple[str, int], Path]:
    matches = ((_FRAME.fullmatch(stem), path) for stem, path in list_files(folder).items())
    return {(match["video"], int(match["frame"])): path for match, path in matches if match}


def _read_map(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; copy it again") from error
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path}: expected RGB file names with their thermal ones, got {type(content).__name__}"
        )
    return content
