"""Images and videos as recordings that can be evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import ImageError, nearest_name
from ..evaluation.recording import Moment, files_state, timed
from ..evaluation.results import SourceFacts
from ..frame import Frame, FramePair, Sensor
from .media import Clip, ImageClip, VideoClip, frame_from_pixels, open_clip, pair_clips, read_image

__all__ = ["ImageRecording", "VideoRecording", "open_recording"]

_RATE_HZ = 25.0  # images carry no time; any steady rate serves
_NS = 1_000_000_000


def open_recording(
    rgb: str, thermal: str, fused: Mapping[str, str], *, is_sequence: bool
) -> ImageRecording | VideoRecording:
    """Return two folders of images, two images, or two videos as one recording.

    Args:
        fused: Label to folder, image or video of images that are fused already.
        is_sequence: Whether the images of a folder follow one another in time; videos always do.

    Raises:
        ImageError: Something is not there, kinds are mixed, or no name occurs in all of them.
    """
    clips = {"rgb": open_clip(rgb, Sensor.RGB), "thermal": open_clip(thermal, Sensor.THERMAL)}
    clips |= {label: open_clip(path, Sensor.RGB) for label, path in fused.items()}
    kinds = {type(clip) for clip in clips.values()}
    if len(kinds) > 1:
        raise ImageError(
            "expected folders of images for all cameras and fused images, or videos for all; got "
            + ", ".join(f"{'a video' if isinstance(c, VideoClip) else 'images'} for {n}" for n, c in clips.items())
        )
    name = Path(rgb).resolve().parent.name or Path(rgb).name
    if kinds == {VideoClip}:
        return VideoRecording(name, rgb, thermal, dict(fused))
    return _image_recording(name, clips, list(fused), is_sequence)


@dataclass(frozen=True)
class ImageRecording:
    """Image files that belong together by name.

    Attributes:
        files: Name of the frame to its files: RGB, thermal, then fused ones in the order of ``labels``, None where
            there is none.
        depths: Data type that the RGB and the thermal images are expected to have.
        alone: Sensor name or label to the names of its images that belong to no pair.
        first: Place of the first of these files in the whole recording.
    """

    name: str
    path: str
    files: Mapping[str, tuple[Path | None, ...]]
    labels: tuple[str, ...]
    is_sequence: bool
    depths: tuple[str, str]
    alone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first: int = 0

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.files)

    @property
    def facts(self) -> SourceFacts:
        """What is known without reading it."""
        dropped = {kind: {"no partner": len(names)} for kind, names in self.alone.items() if names}
        received = {sensor.value: self.count + len(self.alone.get(sensor.value, ())) for sensor in Sensor}
        for place, label in enumerate(self.labels, 2):
            number = sum(files[place] is not None for files in self.files.values())
            received[label] = number + len(self.alone.get(label, ()))
            if number < self.count:
                dropped.setdefault(label, {})["none for a pair"] = self.count - number
        return SourceFacts(self.name, "images", self.path, self.is_sequence, received, self.count, dropped)

    @property
    def identity(self) -> str:
        """Every file with its size and time of change."""
        states = (f"{name}: {files_state(filter(None, files))}" for name, files in self.files.items())
        return "\n".join([self.name, str(self.is_sequence), *self.labels, *states])

    def parts(self, size: int) -> list[ImageRecording]:
        """Split, unless the frames follow one another."""
        if self.is_sequence:
            return [self]
        names = list(self.files)
        return [
            replace(
                self,
                files={name: self.files[name] for name in names[start : start + size]},
                alone=self.alone if start == 0 else {},
                first=start,
            )
            for start in range(0, len(names), size)
        ]

    def open(self) -> _ImageReading:
        """Begin to read."""
        return _ImageReading(self)


class _ImageReading:
    def __init__(self, recording: ImageRecording) -> None:
        self._recording = recording

    def __iter__(self) -> Iterator[Moment]:
        own = self._recording
        for kind, names in own.alone.items():
            for name in names:
                yield Moment(name, problem=f"{name}: the {kind} image has no partner of this name")
        for index, (name, files) in enumerate(own.files.items(), own.first):
            stamp_ns = round(index * _NS / _RATE_HZ)
            try:
                pair, milliseconds = timed(lambda files=files, stamp=stamp_ns: self._pair(files, stamp))
                given = zip(own.labels, files[2:], strict=True)
                fused = {label: _fused(file) for label, file in given if file is not None}
                yield Moment(name, pair, fused, milliseconds)
            except ImageError as error:
                yield Moment(name, problem=str(error))

    def _pair(self, files: tuple[Path | None, ...], stamp_ns: int) -> FramePair:
        frames = [
            _frame(file, sensor, stamp_ns, depth)
            for file, sensor, depth in zip(
                files, (Sensor.RGB, Sensor.THERMAL), self._recording.depths, strict=False
            )
        ]
        return FramePair(*frames)

    def facts(self) -> SourceFacts:
        return self._recording.facts


@dataclass(frozen=True)
class VideoRecording:
    """Two videos whose frames belong together by number, and videos of fused images by label."""

    name: str
    rgb: str
    thermal: str
    fused: Mapping[str, str]
    is_sequence: bool = True

    @property
    def count(self) -> int:
        """Number of frames that the containers declare."""
        return self._pairs()[0]

    @property
    def facts(self) -> SourceFacts:
        """What is known without reading it."""
        return SourceFacts(self.name, "video", str(Path(self.rgb).parent), self.is_sequence)

    @property
    def identity(self) -> str:
        """The files with their sizes and times of change."""
        return f"{files_state(map(Path, (self.rgb, self.thermal, *self.fused.values())))} {self}"

    def parts(self, size: int) -> list[VideoRecording]:
        """Return itself: frames of a video follow one another."""
        return [self]

    def open(self) -> _VideoReading:
        """Begin to read."""
        return _VideoReading(self, self._pairs()[1])

    def _pairs(self) -> tuple[int, Iterator[tuple[str, FramePair]]]:
        rgb, thermal = open_clip(self.rgb, Sensor.RGB), open_clip(self.thermal, Sensor.THERMAL)
        count, _, pairs = pair_clips(rgb, thermal, rgb.rate_hz)
        return count, pairs


class _VideoReading:
    def __init__(self, recording: VideoRecording, pairs: Iterator[tuple[str, FramePair]]) -> None:
        self._recording, self._pairs, self._read = recording, pairs, 0

    def __iter__(self) -> Iterator[Moment]:
        clips = {label: open_clip(path, Sensor.RGB) for label, path in self._recording.fused.items()}
        others = {label: clip.frames(_RATE_HZ) for label, clip in clips.items()}
        while True:
            item, milliseconds = timed(lambda: next(self._pairs, None))
            if item is None:
                return
            self._read += 1
            fused = {label: frame.pixels for label, frames in others.items() if (frame := next(frames, None))}
            yield Moment(*item, fused, milliseconds)

    def facts(self) -> SourceFacts:
        """Say how many were read; what is left over in the longer video is what its container declares."""
        own = self._recording
        received = {
            sensor.value: max(self._read, open_clip(path, sensor).count)
            for sensor, path in ((Sensor.RGB, own.rgb), (Sensor.THERMAL, own.thermal))
        }
        dropped = {
            sensor: {"beyond the shorter video": number - self._read}
            for sensor, number in received.items()
            if number > self._read
        }
        return replace(own.facts, received=received, paired=self._read, dropped=dropped)


def _image_recording(name: str, clips: Mapping[str, Clip], labels: list[str], is_sequence: bool) -> ImageRecording:
    path, depths = str(clips["rgb"].files[0].parent), _depths(clips)
    if all(len(clip.files) == 1 for clip in clips.values()):
        files = {clips["rgb"].names[0]: tuple(clip.files[0] for clip in clips.values())}
        return ImageRecording(name, path, files, tuple(labels), is_sequence, depths)
    by_name = {kind: {file.stem: file for file in clip.files} for kind, clip in clips.items()}
    pairs = set(by_name["rgb"]) & set(by_name["thermal"])
    if not all(pairs & set(by_name[kind]) for kind in clips):
        raise _nothing_in_common(clips)
    # Fewer fused images than pairs is a choice; a fused image without its pair is a mistake.
    wanted = pairs & set().union(*(by_name[label] for label in labels)) if labels else pairs
    files = {stem: tuple(of.get(stem) for of in by_name.values()) for stem in sorted(wanted)}
    kinds = labels or ["rgb", "thermal"]
    alone = {kind: tuple(sorted(set(by_name[kind]) - pairs)) for kind in kinds}
    return ImageRecording(name, path, files, tuple(labels), is_sequence, depths, alone)


def _nothing_in_common(clips: Mapping[str, Clip]) -> ImageError:
    folders = {label: clip.files[0].parent for label, clip in clips.items()}
    wanted = clips["rgb"].names[0]
    for label, clip in clips.items():
        if not set(clip.names) & set(clips["rgb"].names):
            hint = nearest_name(wanted, clip.names[:20])
            return ImageError(
                f"no image name occurs in both {folders['rgb']} and {folders[label]}: for {wanted!r} {hint}"
            )
    return ImageError(f"no image name occurs in all of {', '.join(map(str, folders.values()))}")


def _depths(clips: Mapping[str, Clip]) -> tuple[str, str]:
    """Return the data types of the first readable image of each camera: what the others should have, too."""
    rgb, thermal = (_first_depth(clips[sensor.value]) for sensor in Sensor)
    return rgb, thermal


def _first_depth(clip: ImageClip) -> str:
    for file in clip.files:
        try:
            return read_image(file).dtype.name
        except ImageError:
            continue
    return "uint8"


def _frame(file: Path, sensor: Sensor, stamp_ns: int, depth: str) -> Frame:
    pixels = read_image(file)
    if pixels.dtype != depth:
        raise ImageError(
            f"{file}: expected {depth} pixels as in the other {sensor.value} images, got {pixels.dtype}; a camera "
            "does not change its depth: evaluate the two kinds apart"
        )
    try:
        return frame_from_pixels(pixels, sensor, stamp_ns)
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from error


def _fused(file: Path) -> np.ndarray:
    pixels = read_image(file)
    if pixels.dtype != np.uint8:
        raise ImageError(
            f"{file}: expected an 8-bit fused image, got {pixels.dtype}; metrics are defined on 8 bits"
        )
    return pixels
