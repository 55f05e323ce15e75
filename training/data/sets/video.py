"""Two synchronised videos as pairs of frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from fusion_ros.alignment import CoarseAligner
from fusion_ros.errors import CalibrationError, ImageError, SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.imaging import luma, single_channel, to_uint8
from fusion_ros.media import VIDEO_SUFFIXES, check_rates, open_capture, open_clip
from fusion_ros.settings import setting

from ..pairs import MemoryPair, registered
from .aligned import AlignOptions
from .base import Found, SetOptions, TwoPlaces, thinned
from .memory import check_memory

__all__ = ["Video", "VideoOptions"]

_INFRARED = ("thermal", "infrared", "ir", "lwir")
_VISIBLE = ("rgb", "visible", "vis", "vi")


@dataclass(frozen=True)
class VideoOptions(AlignOptions):
    """Where the visible video is, and how the infrared one reaches its grid."""

    visible: str = setting("", "The visible video; the infrared video is then the first path itself.")


class Video(TwoPlaces):
    """Videos of one's own: frame k of the one belongs to frame k of the other."""

    name = "video"
    title = "two synchronised videos"
    tree = """\
  <root>/
    thermal.mp4   (or infrared, ir, lwir; .avi, .mkv, .mov, ...)
    rgb.mp4       (or visible, vis, vi)
  or two files anywhere: video=THERMAL,RGB"""
    licence = "that of one's own videos"
    registered = "As the cameras are: see align; by default both are taken to show the same field of view."
    example = "video=thermal.mp4,rgb.mp4,every=10"
    options = VideoOptions

    def find(self, root: Path, options: SetOptions | None = None) -> Found:
        """Decode the frames that are taken, and keep them; see :meth:`DataSet.find`.

        A video that breaks off gives what can be decoded of it, and a note.

        Raises:
            SettingsError: A video is not there or cannot be opened, the two differ in frame rate, or the frames
                do not fit into memory.
            ImageError: The infrared video is in false colour.
        """
        options = options or self.options()
        infrared, visible = self._files(root, options)
        with _Frames(infrared, Sensor.THERMAL) as thermal, _Frames(visible, Sensor.RGB) as rgb:
            _check_rates(rgb, thermal)
            declared = min(thermal.count, rgb.count)
            stems = [f"{index:06d}" for index in range(declared)]
            wanted = set(thinned(stems, self.name, options))
            check_memory(f"{self.name}: {root}", len(wanted), rgb.size)
            pairs, decoded = _decode(thermal, rgb, wanted, options, self.name)
        notes = []
        if decoded < declared:
            notes.append(
                f"only {decoded} of {declared} frames of {infrared.name} and {visible.name} can be decoded"
            )
        if not pairs:
            raise SettingsError(
                f"{self.name}: not one frame of {infrared} and {visible} can be decoded; copy them again"
            )
        return Found(tuple(pairs), (), tuple(notes))

    def _files(self, root: Path, options: SetOptions) -> tuple[Path, Path]:
        if isinstance(options, VideoOptions) and options.visible:
            return root, Path(options.visible)
        found = (_video(root, _INFRARED), _video(root, _VISIBLE))
        if not all(found):
            inside = ", ".join(sorted(path.name for path in root.iterdir())[:8]) if root.is_dir() else "no folder"
            raise SettingsError(
                f"{self.name}: {root} does not hold two videos; expected\n{self.tree}\nfound {inside}"
            )
        return found


class _Frames:
    """A video file that is open."""

    def __init__(self, path: Path, sensor: Sensor) -> None:
        self.path = path
        try:
            self.clip = open_clip(path, sensor)
        except ImageError as error:
            raise SettingsError(str(error)) from error
        self._capture = _opened(path)
        sides = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        self.size = tuple(int(self._capture.get(side)) for side in sides)
        # A recorder that is killed, or a stream, leaves no duration.
        self.count = self.clip.count or self._counted()

    def __enter__(self) -> _Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def _counted(self) -> int:
        """Return how many frames there are, and begin anew."""
        count = 0
        while self.advance():
            count += 1
        self._capture.release()
        self._capture = _opened(self.path)
        return count

    def advance(self) -> bool:
        """Go to the next frame, without decoding it; false at the end."""
        return self._capture.grab()

    def current(self) -> np.ndarray | None:
        """Return the frame as RGB, or None where it cannot be decoded."""
        present, pixels = self._capture.retrieve()
        return pixels[..., ::-1] if present else None


def _opened(path: Path) -> cv2.VideoCapture:
    try:
        return open_capture(path)
    except ImageError as error:
        raise SettingsError(str(error)) from error


def _check_rates(rgb: _Frames, thermal: _Frames) -> None:
    try:
        check_rates(rgb.clip, thermal.clip)
    except ImageError as error:
        raise SettingsError(str(error)) from error


def _decode(
    thermal: _Frames, rgb: _Frames, wanted: set[str], options: VideoOptions, name: str
) -> tuple[list[MemoryPair], int]:
    """Return the pairs that are wanted, and how many frames both videos have."""
    aligner = CoarseAligner(options.align)
    pairs, index = [], 0
    with tqdm(total=len(wanted), desc=rgb.path.name, unit="pair", disable=None) as bar:
        while thermal.advance() and rgb.advance():
            stem = f"{index:06d}"
            index += 1
            if stem not in wanted:
                continue
            infrared, visible = thermal.current(), rgb.current()
            if infrared is None or visible is None:
                continue
            try:
                grey = np.ascontiguousarray(single_channel(infrared))
                images = registered(grey, to_uint8(luma(visible)), aligner)
            except (CalibrationError, ImageError) as error:
                raise ImageError(f"{thermal.path}, frame {index - 1}: {error}") from error
            pairs.append(MemoryPair(f"{name}/{stem}", images))
            bar.update()
    return pairs, index


def _video(root: Path, names: tuple[str, ...]) -> Path | None:
    files = sorted(root.iterdir()) if root.is_dir() else []
    videos = (path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and path.stem.lower() in names)
    return next(videos, None)
