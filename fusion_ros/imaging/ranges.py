"""Brings images into the value range that a network wants, and its output back to an image.

Two of the published methods stretch images from their own minimum to their own maximum, one picture at
a time. On a video that flickers: a single bright pixel that comes and goes changes the brightness of all
others. For a stream the range therefore follows the frames slowly (:mod:`fusion_ros.imaging.follow`); the
first frame of a stream, and so every still picture, gets exactly the authors' rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..settings import Settings, setting
from ..spec import InputRange, NetworkSpec, OutputRange
from .follow import LinearMap, MapFollower

__all__ = ["MethodRanges", "RangeSettings", "RunningRange"]

_EPSILON = 1e-5  # of both methods that stretch; keeps a flat image from a division by zero
# Of the greatest contrast in the stream: a frame with less counts as having this much, or a dull minute would
# raise the gain so far that the frames after it are black and white for seconds.
_LEAST_SHARE = 1 / 16
# A frame with less contrast is flat (a lens cap, a shutter) and says nothing about the range of a stream.
_FLAT_INPUT = 1 / 16
_FLAT_OUTPUT = 1e-3
_LEVELS = 255.0


@dataclass(frozen=True)
class RangeSettings(Settings):
    """How the range of a method that stretches its images follows a stream."""

    time_constant_s: float = setting(
        1.0,
        "Time in which the range follows two thirds of a change; 0 stretches each frame by itself, as the "
        "authors do, which flickers.",
        unit="s",
        bounds=(0.0, 600.0),
    )
    reset_gap_s: float = setting(
        5.0, "Pause in the stream after which the range is taken afresh.", unit="s", bounds=(0.0, None)
    )


class RunningRange:
    """Stretches the images of one stream to [0, 1]; its state is the range so far.

    The first image after construction or :meth:`reset` is stretched by its own minimum and maximum,
    ``(v - min) / (max - min + epsilon)`` (Li et al., LRRNet and RFN-Nest, released code).

    Args:
        settings: How fast the range follows.
        epsilon: Added to the range, in the images' own unit.
        flat: Contrast, in the images' own unit, below which an image leaves the range of the stream alone.
    """

    def __init__(
        self, settings: RangeSettings | None = None, epsilon: float = _EPSILON, flat: float = _FLAT_OUTPUT
    ) -> None:
        settings = settings or RangeSettings()
        self._follower = MapFollower(settings.time_constant_s, settings.reset_gap_s)
        self._epsilon = epsilon
        self._flat = flat
        self._greatest = 0.0  # contrast since the range was taken afresh

    @property
    def range(self) -> tuple[float, float] | None:
        """``(low, high)``: the values that become 0 and 1; None before the first image."""
        return None if self._follower.map is None else self._follower.map.range

    def reset(self) -> None:
        """Forget the range, for example because another recording begins."""
        self._follower.reset()

    def __call__(self, image: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Return a finite floating-point image as float32 in [0, 1], of the same shape, as fresh memory."""
        return self._map(float(image.min()), float(image.max()), stamp_ns).apply(image)

    def _map(self, low: float, high: float, stamp_ns: int) -> LinearMap:
        """Return the map for an image with these extremes, and let the stream's map follow it."""
        starts_afresh = self._follower.starts_afresh(stamp_ns)
        own = LinearMap.from_range(low, high + self._epsilon)
        if high - low < self._flat:
            # The range stays, and so does the stream: many flat frames in a row are no pause in it.
            return own if starts_afresh else self._follower.follow(self._follower.map, stamp_ns)
        self._greatest = high - low if starts_afresh else max(self._greatest, high - low)
        missing = _LEAST_SHARE * self._greatest - (high - low)
        if missing > 0:
            own = LinearMap.from_range(low - missing / 2, high + missing / 2)
        return self._follower.follow(own, stamp_ns)


class MethodRanges:
    """Does what a :class:`NetworkSpec` says about values, for one stream of pairs.

    Args:
        spec: The method's.
        settings: How fast ranges follow, where the method stretches at all.
    """

    def __init__(self, spec: NetworkSpec, settings: RangeSettings | None = None) -> None:
        self.spec = spec
        # Inputs are in [0, 1] here, in 0 to 255 at the authors'.
        self._inputs = [RunningRange(settings, _EPSILON / _LEVELS, _FLAT_INPUT) for _ in spec.inputs]
        self._output = RunningRange(settings)

    def reset(self) -> None:
        """Forget all ranges."""
        for running in (*self._inputs, self._output):
            running.reset()

    def prepare(self, infrared: np.ndarray, visible: np.ndarray, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return two images in [0, 1] in the range that the method takes; they are not changed."""
        images = (infrared, visible)
        if self.spec.input_range is InputRange.BYTE:
            infrared, visible = (image * np.float32(_LEVELS) for image in images)
        elif self.spec.input_range is InputRange.STRETCHED:
            pairs = zip(self._inputs, images, strict=True)
            infrared, visible = (stretch(image, stamp_ns) for stretch, image in pairs)
        return infrared, visible

    def finish(self, output: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Return the method's raw output as an image, float32 in [0, 1]."""
        if self.spec.output_range is OutputRange.STRETCHED:
            image = self._output(output, stamp_ns)
        else:
            image = np.clip(output, 0.0, 1.0)
        if self.spec.truncates:
            np.floor(image * np.float32(_LEVELS), out=image)
            image /= np.float32(_LEVELS)
        return image
