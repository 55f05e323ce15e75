"""Pictures and videos from disk as frames.

A clip is what one camera saw: a single image, a folder of images or a video. 16-bit values are
kept; a grey thermal picture that was stored in three channels is reduced to one.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from .errors import ImageError, nearest_name
from .frame import Frame, FramePair, Sensor, Unit
from .imaging import array_from_compressed, single_channel

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "ImageClip",
    "VideoClip",
    "check_rates",
    "frame_from_pixels",
    "natural_key",
    "open_capture",
    "open_clip",
    "pair_clips",
    "read_image",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".webp")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg")
_ENCODINGS = {
    ("uint8", 1): "mono8",
    ("uint16", 1): "mono16",
    ("float32", 1): "32FC1",
    ("uint8", 3): "rgb8",
    ("uint8", 4): "rgba8",
    ("uint16", 3): "rgb16",
}
_NS = 1_000_000_000
# By how much a container's count of frames may be too high: some only estimate it.
_TOLERATED_FRAMES = 2
_TOLERATED_SHARE = 0.02
_TOLERATED_RATES = 1.01  # one rate divided by the other: containers round theirs, as 29.97 to 30


@dataclass(frozen=True)
class ImageClip:
    """Image files in order of their names, see :func:`natural_key`; ``names`` are their stems.

    Attributes:
        is_folder: They are what a folder holds; otherwise one image, whose name is of no importance.
    """

    sensor: Sensor
    files: tuple[Path, ...]
    is_folder: bool

    @property
    def names(self) -> list[str]:
        return [file.stem for file in self.files]

    def frames(self, rate_hz: float) -> Iterator[Frame]:
        """Yield the frames, the first at time 0, ``rate_hz`` of them a second."""
        for index, file in enumerate(self.files):
            yield _named(file, read_image(file), self.sensor, round(index * _NS / rate_hz))


@dataclass(frozen=True)
class VideoClip:
    """A video file.

    Attributes:
        rate_hz: Frame rate that the container declares, or else a usual one.
        count: Number of frames that the container declares: an estimate in some formats.
        declares_rate: Whether the container declares its frame rate.
    """

    sensor: Sensor
    file: Path
    rate_hz: float
    count: int
    declares_rate: bool = True

    def frames(self, rate_hz: float) -> Iterator[Frame]:
        """Yield the frames, the first at time 0, ``rate_hz`` of them a second.

        Raises:
            ImageError: Not one frame can be decoded; or, after the last that can, that many are missing.
        """
        capture = open_capture(self.file)
        index = 0
        try:
            while True:
                present, pixels = capture.read()
                if not present:
                    break
                yield _named(self.file, pixels[..., ::-1], self.sensor, round(index * _NS / rate_hz))
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise ImageError(f"{self.file}: not one frame of this video can be decoded")
        if self.count - index > max(_TOLERATED_FRAMES, _TOLERATED_SHARE * self.count):
            raise ImageError(
                f"{self.file}: damaged: only {index} of {self.count} frames can be decoded; the rest is missing, "
                "and what comes after a gap is not in its place"
            )


Clip = ImageClip | VideoClip


def open_clip(path: str | Path, sensor: Sensor) -> Clip:
    """Return what is at ``path``: an image, a folder of images or a video, told by its suffix.

    Hidden files of a folder are passed over: systems put some beside images, under the images' suffixes.

    Raises:
        ImageError: Nothing is there, the suffix is unknown, or the folder holds no image.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"no {sensor.value} images at {path}")
    if path.is_dir():
        files = sorted(filter(_is_image, path.iterdir()), key=lambda file: (natural_key(file.stem), file.name))
        if not files:
            raise ImageError(f"{path}: no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
        for first, second in itertools.pairwise(files):
            if first.stem == second.stem:
                raise ImageError(f"{path}: {first.name} and {second.name} have one name; remove one of them")
        return ImageClip(sensor, tuple(files), is_folder=True)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _open_video(path, sensor)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageClip(sensor, (path,), is_folder=False)
    raise ImageError(
        f"{path}: expected a folder, an image ({', '.join(IMAGE_SUFFIXES)}) or a video "
        f"({', '.join(VIDEO_SUFFIXES)}), got {path.suffix!r}"
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return what to sort the names of images by: runs of digits count as numbers, so 2 is before 10."""
    # Text and numbers take turns, beginning with text, so that only like is compared with like.
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def open_capture(path: Path) -> cv2.VideoCapture:
    """Open a video file for decoding.

    Raises:
        ImageError: There is no such file, or it is no video that can be decoded.
    """
    if not path.is_file():
        raise ImageError(f"no video at {path}")
    # FFmpeg prints pages about a damaged video; what matters of it is said in our own errors.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ImageError(f"{path}: cannot be opened as a video; is it complete, and its codec supported?")
    return capture


def _open_video(path: Path, sensor: Sensor) -> VideoClip:
    capture = open_capture(path)
    try:
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    declares_rate = rate_hz > 0  # which NaN is not
    return VideoClip(sensor, path, rate_hz if declares_rate else 25.0, max(count, 0), declares_rate)


def check_rates(rgb: Clip, thermal: Clip) -> None:
    """Make sure that the frames of two videos belong together by their numbers; folders of images declare no rate.

    Raises:
        ImageError: The frame rates that both declare differ by more than 1 %.
    """
    if not (isinstance(rgb, VideoClip) and isinstance(thermal, VideoClip)):
        return
    low, high = sorted((rgb.rate_hz, thermal.rate_hz))
    if rgb.declares_rate and thermal.declares_rate and high > _TOLERATED_RATES * low:
        raise ImageError(
            f"{rgb.file}, {thermal.file}: expected two videos of one frame rate, which are paired frame by frame, "
            f"got {rgb.rate_hz:g} and {thermal.rate_hz:g} frames a second; make a bag of them, which is paired by "
            "time: `fusion-ros bag make`, then `... --bag`; or bring one of them to the rate of the other"
        )


def pair_clips(rgb: Clip, thermal: Clip, rate_hz: float) -> tuple[int, list[str], Iterator[tuple[str, FramePair]]]:
    """Pair two clips: images of folders by stem, one image with one image, videos frame by frame.

    Args:
        rate_hz: Frames a second, for the stamps.

    Returns:
        The number of pairs (declared, for videos), the names that have no partner, and an iterator
        of ``(name, pair)``.

    Raises:
        ImageError: The two are not of the same kind, no name occurs in both, or videos differ in frame rate.
    """
    if isinstance(rgb, VideoClip) and isinstance(thermal, VideoClip):
        check_rates(rgb, thermal)
        return min(rgb.count, thermal.count), [], _pair_videos(rgb, thermal, rate_hz)
    if isinstance(rgb, VideoClip) or isinstance(thermal, VideoClip):
        raise ImageError("expected two videos or two folders of images, got one of each; unpack the video first")
    if not (rgb.is_folder or thermal.is_folder):
        return 1, [], _pair_images(rgb, thermal, rate_hz)
    shared = set(rgb.names) & set(thermal.names)
    if not shared:
        raise ImageError(
            f"no image name occurs in both {rgb.files[0].parent} and {thermal.files[0].parent}: for "
            f"{rgb.names[0]!r} {nearest_name(rgb.names[0], thermal.names[:20])}"
        )
    unpaired = sorted(set(rgb.names) ^ set(thermal.names), key=natural_key)
    pairs = _pair_images(_restricted(rgb, shared), _restricted(thermal, shared), rate_hz)
    return len(shared), unpaired, pairs


def _restricted(clip: ImageClip, names: set[str]) -> ImageClip:
    """Return the clip with only ``names``, once each, in order of the names."""
    by_name = {file.stem: file for file in clip.files}
    return replace(clip, files=tuple(by_name[name] for name in sorted(names, key=natural_key)))


def _pair_images(rgb: ImageClip, thermal: ImageClip, rate_hz: float) -> Iterator[tuple[str, FramePair]]:
    for name, first, second in zip(rgb.names, rgb.frames(rate_hz), thermal.frames(rate_hz), strict=True):
        yield name, FramePair(first, second)


def _pair_videos(rgb: VideoClip, thermal: VideoClip, rate_hz: float) -> Iterator[tuple[str, FramePair]]:
    # The shorter video ends the pairing: containers often differ by a frame or two.
    for index, (first, second) in enumerate(zip(rgb.frames(rate_hz), thermal.frames(rate_hz), strict=False)):
        yield f"{index:06d}", FramePair(first, second)


def read_image(path: Path) -> np.ndarray:
    """Read an image with its own depth: ``(H, W)`` or ``(H, W, C)`` in RGB(A) order.

    Raises:
        ImageError: The file cannot be read, or is not a complete image.
    """
    try:
        message = SimpleNamespace(format=path.suffix.lstrip("."), data=path.read_bytes())
        return array_from_compressed(message)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def frame_from_pixels(pixels: np.ndarray, sensor: Sensor, stamp_ns: int) -> Frame:
    """Wrap pixels of one camera; thermal ones become one channel, and counts unless they are 8-bit.

    Raises:
        ImageError: The data type or number of channels is not one that a camera gives, or a thermal
            picture is in false colour.
    """
    if sensor is Sensor.THERMAL and pixels.ndim == 3:
        pixels = single_channel(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    encoding = _ENCODINGS.get((pixels.dtype.name, channels))
    if encoding is None:
        raise ImageError(f"expected 8-bit, 16-bit or float32 images, got {pixels.dtype} x {channels} channels")
    raw = sensor is Sensor.THERMAL and pixels.dtype != np.uint8
    frame_id = f"{sensor.value}_optical_frame"
    return Frame(pixels, stamp_ns, frame_id, encoding, Unit.COUNTS if raw else Unit.INTENSITY)


def _named(file: Path, pixels: np.ndarray, sensor: Sensor, stamp_ns: int) -> Frame:
    try:
        return frame_from_pixels(pixels, sensor, stamp_ns)
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from error
