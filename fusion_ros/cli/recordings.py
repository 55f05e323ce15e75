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
from ..media import Clip, ImageClip, VideoClip, check_rates, frame_from_pixels, natural_key, open_clip, read_image

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
        ImageError: Something is not there, kinds are mixed, no name occurs in all of them, or the cameras'
            videos differ in frame rate.
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
        check_rates(clips["rgb"], clips["thermal"])
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
        """Number of pairs that the containers declare."""
        return min(open_clip(self.rgb, Sensor.RGB).count, open_clip(self.thermal, Sensor.THERMAL).count)

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
        """Begin to read.

        Raises:
            ImageError: One of the videos cannot be opened.
        """
        return _VideoReading(self)


class _VideoReading:
    def __init__(self, recording: VideoRecording) -> None:
        self._recording, self._paired = recording, 0
        rgb, thermal = open_clip(recording.rgb, Sensor.RGB), open_clip(recording.thermal, Sensor.THERMAL)
        self._rgb, self._thermal = _Stream(rgb, rgb.rate_hz), _Stream(thermal, rgb.rate_hz)
        self._fused = {
            label: _Stream(open_clip(path, Sensor.RGB), rgb.rate_hz) for label, path in recording.fused.items()
        }

    def __iter__(self) -> Iterator[Moment]:
        """Yield the pairs, then which videos broke off: a problem between pairs would end a sequence there."""
        while True:
            (rgb, thermal), milliseconds = timed(lambda: (self._rgb.next(), self._thermal.next()))
            if rgb is None or thermal is None:
                break
            name = f"{self._paired:06d}"
            self._paired += 1
            fused = {label: frame.pixels for label, stream in self._fused.items() if (frame := stream.next())}
            yield Moment(name, FramePair(rgb, thermal), fused, milliseconds)
        for stream in (self._rgb, self._thermal, *self._fused.values()):
            if stream.problem:
                yield Moment(stream.clip.file.name, problem=stream.problem)

    def facts(self) -> SourceFacts:
        """Say how many were read; what is left over in a longer video is what its container declares."""
        cameras = {Sensor.RGB.value: self._rgb, Sensor.THERMAL.value: self._thermal}
        received = {name: stream.received for name, stream in {**cameras, **self._fused}.items()}
        dropped = {
            Sensor.RGB.value: self._left_over(self._rgb, self._thermal),
            Sensor.THERMAL.value: self._left_over(self._thermal, self._rgb),
        }
        for label, stream in self._fused.items():
            dropped[label] = {
                "none for a pair": self._paired - stream.read,
                "no pair of its number": stream.received - stream.read,
            }
        counted = {
            name: {reason: number for reason, number in reasons.items() if number}
            for name, reasons in dropped.items()
        }
        return replace(
            self._recording.facts,
            received=received,
            paired=self._paired,
            dropped={name: reasons for name, reasons in counted.items() if reasons},
        )

    def _left_over(self, stream: _Stream, other: _Stream) -> dict[str, int]:
        """Return how many frames of ``stream`` had no partner: because ``other`` broke off, or has no more."""
        rest = stream.received - self._paired
        lost = min(rest, max(0, other.clip.count - self._paired)) if other.problem else 0
        return {"partner cannot be decoded": lost, "beyond the shorter video": rest - lost}


class _Stream:
    """The frames of one video one by one, counted."""

    def __init__(self, clip: VideoClip, rate_hz: float) -> None:
        self.clip, self.read, self.problem = clip, 0, ""
        self._frames, self._is_over = clip.frames(rate_hz), False

    def next(self) -> Frame | None:
        """Return the next frame, or None at the end; ``problem`` then says whether that came too early."""
        try:
            frame = next(self._frames, None)
        except ImageError as error:
            frame, self.problem = None, str(error)
        self._is_over |= frame is None
        self.read += frame is not None
        return frame

    @property
    def received(self) -> int:
        """Number of frames: as its container declares, and once it is over, as there were."""
        return self.read if self._is_over else max(self.read, self.clip.count)


def _image_recording(name: str, clips: Mapping[str, Clip], labels: list[str], is_sequence: bool) -> ImageRecording:
    path, depths = str(clips["rgb"].files[0].parent), _depths(clips)
    if not any(clip.is_folder for clip in clips.values()):
        files = {clips["rgb"].names[0]: tuple(clip.files[0] for clip in clips.values())}
        return ImageRecording(name, path, files, tuple(labels), is_sequence, depths)
    by_name = {kind: {file.stem: file for file in clip.files} for kind, clip in clips.items()}
    pairs = set(by_name["rgb"]) & set(by_name["thermal"])
    if not all(pairs & set(by_name[kind]) for kind in clips):
        raise _nothing_in_common(clips)
    # Fewer fused images than pairs is a choice; a fused image without its pair is a mistake.
    wanted = pairs & set().union(*(by_name[label] for label in labels)) if labels else pairs
    files = {stem: tuple(of.get(stem) for of in by_name.values()) for stem in sorted(wanted, key=natural_key)}
    kinds = labels or ["rgb", "thermal"]
    alone = {kind: tuple(sorted(set(by_name[kind]) - pairs, key=natural_key)) for kind in kinds}
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
