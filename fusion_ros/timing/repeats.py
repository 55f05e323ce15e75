"""Images that a camera shows once more while the other camera goes on.

A thermal camera stands still while its shutter is closed for a correction, and some drivers fill up a low rate of
the sensor by sending each image several times. Such an image is of an earlier time than its stamp says: beside a
new one of the other camera it shows what moves where it no longer is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..frame import Frame, FramePair, Sensor

__all__ = ["Repeat", "RepeatFinder"]

_LOOKS = 32  # along each side: by so many pixels, images are told apart before they are compared whole


@dataclass(frozen=True)
class Repeat:
    """A camera whose image is still the one before, while the other camera's is a newer one.

    Attributes:
        sensor: The camera that repeats its image.
        frames: How many of its frames in a row do so.
        since_ns: Stamp of its frame before these, which showed the same.
        until_ns: Stamp of the latest of these that had a new image beside it.
    """

    sensor: Sensor
    frames: int
    since_ns: int
    until_ns: int

    @property
    def duration_s(self) -> float:
        """Seconds for which the same image has been shown, by the camera's stamps."""
        return (self.until_ns - self.since_ns) / 1e9


class RepeatFinder:
    """Tells of each pair of a stream whether one camera only repeats its image.

    Images are the same if their size, their type and every bit are. Of each camera the latest image is kept, as a
    copy, because the arrays are the caller's and may be filled anew. That is the cost: on one core of an AMD EPYC
    0.2 ms for a pair of 640 x 480, 1 ms for 1920 x 1080, and up to twice that where an image is the same.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images: another recording begins, or time has jumped."""
        self._cameras = {sensor: _Camera() for sensor in Sensor}
        self._newer: Sensor | None = None  # the camera that showed something new since the other one did
        self._run: Repeat | None = None

    def __call__(self, pair: FramePair) -> Repeat | None:
        """Look at the next pair; return which camera repeats its image, None if none does.

        Where neither image is new (a paused world, a still recording), the pair is the one before, and so is the
        answer. A single frame repeats nothing, but is remembered. Stamps that go back start afresh.
        """
        named = {Sensor.RGB: pair.rgb, Sensor.THERMAL: pair.thermal}
        frames = {sensor: frame for sensor, frame in named.items() if frame is not None}
        if any(self._cameras[sensor].is_after(frame) for sensor, frame in frames.items()):
            self.reset()
        before_ns = {sensor: self._cameras[sensor].stamp_ns for sensor in frames}
        fresh = [sensor for sensor, frame in frames.items() if self._cameras[sensor].takes(frame)]
        if fresh:
            newer = fresh[0] if len(fresh) == 1 else None
            if newer is not self._newer:
                self._newer, self._run = newer, None
        if self._newer is None or len(frames) < 2:
            return None
        sensor = self._newer.other
        stamp_ns = frames[sensor].stamp_ns
        run = self._run or Repeat(sensor, 0, before_ns[sensor], stamp_ns)
        self._run = replace(run, frames=run.frames + 1, until_ns=stamp_ns if fresh else run.until_ns)
        return self._run


class _Camera:
    """What one camera showed last, and when."""

    def __init__(self) -> None:
        self.stamp_ns = 0
        self._pixels: np.ndarray | None = None

    def is_after(self, frame: Frame) -> bool:
        """Tell whether what was shown last is of a later time than a frame."""
        return self._pixels is not None and self.stamp_ns > frame.stamp_ns

    def takes(self, frame: Frame) -> bool:
        """Take the next frame; return whether its image is a new one."""
        self.stamp_ns = frame.stamp_ns
        pixels = frame.pixels
        # As it lies in memory: to copy BGR that is viewed as RGB in the order of its view takes 80 times as long.
        along = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in pixels.strides)
        now, kept = pixels[along], self._pixels
        if kept is None or kept.shape != pixels.shape or kept.dtype != pixels.dtype:
            self._pixels = now.copy()[along]
            return True
        if _is_same(kept[along], now):
            return False
        np.copyto(kept[along], now)
        return True


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Compare two images of one shape and type bit by bit."""
    if one.dtype == np.float32:  # of which NaN, a pixel without a reading, is not equal to itself
        one, other = one.view(np.uint32), other.view(np.uint32)
    looks = tuple(slice(None, None, max(1, side // _LOOKS)) for side in one.shape[:2])
    return np.array_equal(one[looks], other[looks]) and np.array_equal(one, other)
