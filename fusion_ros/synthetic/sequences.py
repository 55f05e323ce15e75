"""Tracking sequences of the synthetic street: frames of both cameras, and exact boxes of one target."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from ..errors import ImageError
from ..frame import Frame, FramePair, Sensor, Unit
from ..geometry.warp import WarpMaps, homography_maps, remap
from .degrade import Degradation, Degrader, parse_degradations
from .sequence_table import SEQUENCE_ATTRIBUTES, TRACKING_SEQUENCES, SequenceDefinition
from .stream import FRAME_IDS
from .truth import Box
from .world import SyntheticWorld, build_rig

__all__ = ["SEQUENCE_ATTRIBUTES", "TRACKING_SEQUENCES", "SequenceDefinition", "SyntheticSequence"]

_RENDERER = (
    1  # to be raised when the same definition comes to give other pixels or boxes: what is kept is then void
)
_HIDDEN = 0.1  # a target of which less is seen is absent
_FOLDERS = {Sensor.RGB: "rgb", Sensor.THERMAL: "thermal"}
_TRUTH = "truth.npz"
_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class _Sight:
    """The target's whole box within the image, NaN where there is none, and the share of it that is seen."""

    boxes: np.ndarray
    visibility: np.ndarray


class SyntheticSequence:
    """A row of :data:`TRACKING_SEQUENCES`, rendered; satisfies ``fusion_ros.tracking_sets.TrackingSequence``.

    Boxes bound the target as it would be seen if nothing stood in front of it, as far as it lies within the RGB
    image. It is absent where less than 10 % of its pixels are seen: it has no box there.

    The two cameras take their pictures at the same times, each on its own grid.

    Args:
        definition: What to render.
        cache: Folder that keeps what was rendered, and is looked into first. A sequence takes some tens of
            seconds to render, and about 30 MB to keep. Without it, frames are rendered each time.
        raw_thermal: Give the thermal image on the thermal camera's grid. By default it is brought onto the RGB
            grid by :attr:`rgb_from_thermal`; 0 where the thermal camera sees nothing.
    """

    def __init__(
        self, definition: SequenceDefinition, cache: Path | None = None, *, raw_thermal: bool = False
    ) -> None:
        self.definition = definition
        self._cache = cache
        self._raw_thermal = raw_thermal

    @property
    def name(self) -> str:
        """Its name in the table."""
        return self.definition.name

    @property
    def attributes(self) -> frozenset[str]:
        """Names in :data:`SEQUENCE_ATTRIBUTES`."""
        return self.definition.attributes

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        return self.definition.rate_hz

    @property
    def boxes(self) -> np.ndarray:
        """``(N, 4)`` float64 ``(x, y, width, height)`` in RGB pixels; NaN where the target is absent."""
        return np.where(self.absent[:, None], np.nan, self._sight.boxes)

    @property
    def absent(self) -> np.ndarray:
        """``(N,)`` bool, True where less than 10 % of the target is seen by the RGB camera."""
        return self.visibility < _HIDDEN

    @property
    def visibility(self) -> np.ndarray:
        """``(N,)`` float64, the share of the target that the RGB camera sees; see :class:`TargetView`."""
        return self._sight.visibility

    @cached_property
    def rgb_from_thermal(self) -> np.ndarray:
        """Homography ``(3, 3)`` that takes thermal pixels to RGB pixels at the target's median distance.

        Row by row it is the setting ``homography`` of :class:`fusion_ros.alignment.CoarseSettings`. What is nearer
        or farther, and what the lenses distort, stays off by a pixel or two.
        """
        return build_rig(self.definition.world).homography(self.definition.distance_m)

    def frames(self) -> Iterator[FramePair]:
        """Yield the pairs, the first at time 0.

        Raises:
            ImageError: A frame that was kept cannot be read.
            OSError: The cache cannot be written.
        """
        images = self._rendered() if self._cache is None else self._read(self._kept())
        for index, (rgb, thermal) in enumerate(images):
            stamp_ns = round(index * _NS / self.rate_hz)
            shown = thermal if self._raw_thermal else remap(thermal, self._maps)
            yield FramePair(
                Frame(rgb, stamp_ns, FRAME_IDS[Sensor.RGB], "rgb8", Unit.INTENSITY),
                Frame(shown, stamp_ns, FRAME_IDS[Sensor.THERMAL], "mono8", Unit.INTENSITY),
            )

    @cached_property
    def _maps(self) -> WarpMaps:
        rig = build_rig(self.definition.world)
        return homography_maps(self.rgb_from_thermal, rig.thermal.size, rig.rgb.size)

    @property
    def _times_s(self) -> list[float]:
        return [self.definition.start_s + index / self.rate_hz for index in range(self.definition.frames)]

    @cached_property
    def _sight(self) -> _Sight:
        if self._cache is None:
            return self._observed()
        with np.load(self._kept() / _TRUTH) as file:
            return _Sight(file["boxes"], file["visibility"])

    def _observed(self) -> _Sight:
        """Ask the world's truth at each frame."""
        world = _world(self.definition)
        boxes, visibility = [], []
        for time_s in self._times_s:
            seen = world.target_view(self.definition.target, time_s)
            boxes.append(_within(seen.whole if seen else None, world.rig.rgb.size))
            visibility.append(seen.visibility if seen else 0.0)
        return _Sight(np.array(boxes, np.float64), np.array(visibility, np.float64))

    def _rendered(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Render RGB and thermal image of each frame, degraded."""
        degraders = [Degrader(kind, self.name) for kind in _degradations(self.definition)]
        world = _world(self.definition)
        for index, time_s in enumerate(self._times_s):
            rgb, thermal = world.rgb_image(time_s), world.thermal_image(time_s)
            for degrader in degraders:
                rgb, thermal = degrader(rgb, thermal, index)
            yield rgb, thermal

    def _kept(self) -> Path:
        """Return the folder of the rendered sequence; render it where it is not there."""
        assert self._cache is not None
        folder = self._cache / f"{self.name}-{_key(self.definition)}"
        if (folder / _TRUTH).is_file():
            return folder
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        try:
            for sensor in Sensor:
                (partial / _FOLDERS[sensor]).mkdir(parents=True, exist_ok=True)
            for index, (rgb, thermal) in enumerate(self._rendered()):
                _write(partial, Sensor.RGB, index, rgb[..., ::-1])
                _write(partial, Sensor.THERMAL, index, thermal)
            sight = self._observed()
            np.savez(partial / _TRUTH, boxes=sight.boxes, visibility=sight.visibility)
            if not (folder / _TRUTH).is_file():  # another process may have been faster
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    def _read(self, folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(self.definition.frames):
            rgb = _image(folder, Sensor.RGB, index, cv2.IMREAD_COLOR)[..., ::-1]
            yield np.ascontiguousarray(rgb), _image(folder, Sensor.THERMAL, index, cv2.IMREAD_GRAYSCALE)


@lru_cache(maxsize=1)
def _world(definition: SequenceDefinition) -> SyntheticWorld:
    """The street of a sequence; kept here, so that a sequence stays small enough to be sent to another process."""
    return SyntheticWorld(definition.world, definition.obstacles)


def _key(definition: SequenceDefinition) -> str:
    """What a definition's pixels and boxes depend on, as a short text."""
    seen = replace(definition, attributes=frozenset(), distance_m=1.0)
    return hashlib.sha256(f"{_RENDERER} {seen} {seen.world}".encode()).hexdigest()[:12]


def _within(box: Box | None, size: tuple[int, int]) -> Box:
    """The part of a box within an image of ``(height, width)``; NaN where there is none."""
    if box is None:
        return (np.nan,) * 4
    x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(size[1]), x + width), min(float(size[0]), y + height)
    return (left, top, right - left, bottom - top) if right > left and bottom > top else (np.nan,) * 4


def _degradations(definition: SequenceDefinition) -> tuple[Degradation, ...]:
    return parse_degradations(definition.degradations) if definition.degradations else ()


def _file(folder: Path, sensor: Sensor, index: int) -> Path:
    return folder / _FOLDERS[sensor] / f"{index:04d}.png"


def _write(folder: Path, sensor: Sensor, index: int, image: np.ndarray) -> None:
    path = _file(folder, sensor, index)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"{path}: cannot be written")


def _image(folder: Path, sensor: Sensor, index: int, mode: int) -> np.ndarray:
    path = _file(folder, sensor, index)
    image = cv2.imread(str(path), mode)
    if image is None:
        raise ImageError(f"{path}: cannot be read; delete {folder}, and it is rendered again")
    return image
