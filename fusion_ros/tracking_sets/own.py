"""Sequences of one's own: two videos or folders of images, and a file of boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ImageError, SettingsError
from ..frame import Sensor
from ..media import VIDEO_SUFFIXES, Clip, VideoClip, check_rates, open_clip
from .base import SequenceSet
from .sequence import FileSequence
from .truth import numbered_truth

__all__ = ["Own"]

_TRUTH = "groundtruth.txt"


class Own(SequenceSet):
    """Recordings of one's own, aligned as far as they were brought together before.

    They end with the last frame that the file of boxes lists. Where both a video and a folder are there, the video
    is read. Folders without a file of boxes are passed over.
    """

    name = "own"
    title = "sequences of one's own"
    tree = """\
  <root>/
    <sequence>/     (or <root> itself)
      rgb.mp4 (or another video, or a folder rgb/ of images)
      thermal.mp4 (or thermal/)
      groundtruth.txt     frame,x,y,width,height a line; frames from 0, in any order, some may be left out"""
    rgb_folder, thermal_folder = "rgb", "thermal"
    truth_files = (_TRUTH,)

    def is_sequence(self, folder: Path) -> bool:
        """Say whether a folder holds both cameras and the file of boxes."""
        cameras = (self.rgb_folder, self.thermal_folder)
        return (folder / _TRUTH).is_file() and all(_camera(folder, name) for name in cameras)

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the boxes of rows that begin with the number of their frame; see :meth:`SequenceSet.boxes`."""
        return self._columns([row[1:] for row in rows])

    def _sequence(self, root: Path, folder: Path) -> FileSequence:
        try:
            rgb = open_clip(_camera(folder, self.rgb_folder), Sensor.RGB)
            thermal = open_clip(_camera(folder, self.thermal_folder), Sensor.THERMAL)
            check_rates(rgb, thermal)
        except ImageError as error:
            raise SettingsError(str(error)) from error
        boxes, absent = numbered_truth(folder / _TRUTH)
        frames = min(_count(rgb), _count(thermal))
        if len(boxes) > frames:
            raise SettingsError(
                f"{folder / _TRUTH}: expected boxes of {frames} frames, as both cameras have, got one of frame "
                f"{len(boxes) - 1}; frames are counted from 0"
            )
        rate_hz = next((clip.rate_hz for clip in (rgb, thermal) if isinstance(clip, VideoClip)), self.rate_hz)
        return FileSequence(self.name_of(root, folder), rgb, thermal, boxes, absent, rate_hz=rate_hz)


def _camera(folder: Path, name: str) -> Path | None:
    """Return the video of a camera, or its folder of images."""
    places = [folder / f"{name}{suffix}" for suffix in VIDEO_SUFFIXES]
    return next((place for place in (*places, folder / name) if place.exists()), None)


def _count(clip: Clip) -> int:
    return clip.count if isinstance(clip, VideoClip) else len(clip.files)
