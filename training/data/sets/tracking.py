"""Tracking data sets as pairs of frames; their boxes are not looked at."""

from __future__ import annotations

from pathlib import Path

from fusion_ros.errors import SettingsError
from fusion_ros.tracking_sets import SEQUENCE_SETS

from ..pairs import FilePair
from .base import ImageSet, Listing, SetOptions

__all__ = ["Gtot", "Lasher", "Rgbt234", "TrackingFrames", "VotRgbt", "Vtuav"]


class TrackingFrames(ImageSet):
    """A set of sequences: frame k of one camera belongs to frame k of the other.

    Neighbouring frames are nearly the same picture, so ``every=10`` loses little. The set of the same name in
    :data:`fusion_ros.tracking_sets.SEQUENCE_SETS` knows the folders.
    """

    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether a sequence lies below ``root``."""
        return SEQUENCE_SETS[self.name].holds(root)

    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return the pairs of all sequences; one that cannot be paired is left out, with a note."""
        reader, listing = SEQUENCE_SETS[self.name], Listing()
        for folder in reader.folders(root):
            sequence = reader.name_of(root, folder)
            try:
                rgb, thermal = reader.clips(folder)
            except SettingsError as error:
                listing.notes.append(f"{sequence} is left out: {error}")
                continue
            for index, (visible, infrared) in enumerate(zip(rgb.files, thermal.files, strict=False)):
                stem = f"{sequence}/{index:06d}"
                listing.pairs[stem] = FilePair(f"{self.name}/{stem}", infrared, visible)
        return listing


class Gtot(TrackingFrames):
    """GTOT (Li et al., TIP 2016)."""

    name = "gtot"
    title = "GTOT, 50 grey and thermal tracking sequences"
    tree = SEQUENCE_SETS["gtot"].tree
    licence = "none stated: research only"
    registered = "Registered by its makers; some sequences are off by a few pixels."
    example = "gtot=/data/GTOT,every=10"


class Rgbt234(TrackingFrames):
    """RGBT234 (Li et al., Pattern Recognition 2019)."""

    name = "rgbt234"
    title = "RGBT234, 234 tracking sequences, 117 000 pairs of frames"
    tree = SEQUENCE_SETS["rgbt234"].tree
    licence = "none stated: research only"
    registered = "Registered by its makers; some sequences are off by a few pixels."
    example = "rgbt234=/data/RGBT234,every=10"


class Lasher(TrackingFrames):
    """LasHeR (Li et al., TIP 2022)."""

    name = "lasher"
    title = "LasHeR, 1224 tracking sequences, more than 730 000 pairs of frames"
    tree = SEQUENCE_SETS["lasher"].tree
    licence = "none stated: research only"
    registered = "Registered by its makers; parallax is left."
    example = "lasher=/data/LasHeR,every=20"


class Vtuav(TrackingFrames):
    """VTUAV (Zhang et al., CVPR 2022)."""

    name = "vtuav"
    title = "VTUAV, 500 tracking sequences from a drone, 1 700 000 pairs of frames"
    tree = SEQUENCE_SETS["vtuav"].tree
    licence = "none stated: research only"
    registered = "Registered by its makers; parts of the sequences are off by some pixels."
    example = "vtuav=/data/VTUAV,every=50"


class VotRgbt(TrackingFrames):
    """VOT-RGBT (Kristan et al., ICCV Workshops 2019); its images are RGBT234's."""

    name = "vot_rgbt"
    title = "VOT-RGBT 2019 and 2020, 60 of RGBT234's tracking sequences"
    tree = SEQUENCE_SETS["vot_rgbt"].tree
    licence = "none stated: research only"
    registered = "As RGBT234."
    example = "vot_rgbt=/data/VOT-RGBT2019,every=10"
