"""The offset between the cameras' clocks, measured from what they see.

When something moves in view, both cameras see it at the same instant, whatever their clocks say. Of each
frame only a few numbers are kept that tell how much moved since the frame before, and where; the lag at
which the numbers of the two cameras agree best is the offset of their clocks.

**What is kept of a frame.** Of the change between two thumbnails, all that a new brightness and a new
contrast explain is taken out (flicker, exposure, gain control). The rest gives two kinds of activity, per
unit of the picture's contrast, so that neither unit nor polarity of the pixels matters:

- *shift*: the global displacement along x and y that explains it best (one step of Lucas and Kanade). It has
  a sign, so it knows to from fro, and does not depend on the field of view: best where the cameras move;
- *motion*: the mean absolute change in each cell of a coarse grid. It tells when something passes where:
  best where the cameras stand still and look about the same way.

**How the lag is found.** Both are summed over time, so that rates may differ and frames may be missing,
averaged over the interval of the slower camera at common times, freed from their slow part, brought to one level
over time (a car that passes once would outweigh all people that walk by), and correlated; both count alike.

**What makes it sure.** The peak must be high, stand out from all other lags, also from those beyond the ones
that are searched (a periodic motion has many as high), come of more than one part of the time (a single event
may be a coincidence, or headlights on a road that stays cold), and stay in place whichever part is left out.

**What bounds it.** People who all walk the same way past cameras that stand still come into the view of
one camera before the other's: with a baseline of 6 cm and at 1.4 m/s by 43 ms.

Source: Lucas and Kanade, "An iterative image registration technique" (1981), for the shift.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ImageError
from ..frame import Sensor
from ..settings import Settings, setting

__all__ = ["ClockOffset", "ClockOffsetEstimator", "ClockOffsetSettings"]

_NS = 1_000_000_000
_THUMBNAIL = (24, 32)
_CELLS = (3, 4)
_SHIFT = slice(0, 2)
_MOTION = slice(2, 2 + _CELLS[0] * _CELLS[1])
_NUMBERS = _MOTION.stop
_CLOSEST_NS = 8_000_000  # frames that follow closer than this are passed over: it bounds the memory
_JUMP_BACK_NS = 500_000_000  # a stamp this much older means that time started over, as in pairing
_GAP = 3.0  # an interval this many times the usual one says nothing about when in it something moved
_CLIP_PERCENTILE = 97  # shutter events and cuts weigh no more than the liveliest ordinary frames
_FLOOR_PERCENTILE = 10  # what noise alone changes
_FINEST_S = 0.04  # activity is a mean over at least this long: people and robots move no faster
_SLOW_S = 2.0  # activity is compared with its mean and its usual size over this long
_QUIET = 0.2  # what is quieter than this part of the liveliest time stays so
_RIVALS_S = 2.5  # how far beyond the searched lags a rival is looked for
_LOBE = 3  # what is within so many steps of the peak is no rival
_PARTS = 5
_FEWEST_FRAMES = 20
_STRENGTH = (0.1, 0.3)  # correlation at which the confidence begins to rise, and is full
_DISTINCTNESS = (0.1, 0.5)  # the same, of how far the peak stands out: 1 - rival / peak
_EVENTS = (1.0, 2.0)  # the same, of how many parts of the time the peak comes of
_STEADY_S = 0.04  # uncertainty at which the confidence is halved


@dataclass(frozen=True)
class ClockOffsetSettings(Settings):
    """How the offset between the cameras' clocks is measured."""

    window_s: float = setting(20.0, "Length of time that is looked back at.", unit="s", bounds=(10, 120))
    least_s: float = setting(
        5.0, "Nothing is said before both cameras were seen for this long.", unit="s", bounds=(2, 10)
    )
    search_ms: float = setting(
        500.0, "Largest offset that is looked for, either way.", unit="ms", bounds=(50, 2000)
    )


@dataclass(frozen=True)
class ClockOffset:
    """The measured offset of the cameras' clocks.

    Attributes:
        offset_ms: Thermal minus RGB stamp of one instant, as ``Pair.offset_ns``: positive where the thermal
            clock is ahead or its frames are stamped late. ``thermal_offset_ms`` of pairing is to be its negative.
        confidence: 0 .. 1; below 0.5 the figure is not to be used.
        seconds: How long both cameras were seen within the window.
    """

    offset_ms: float
    confidence: float
    seconds: float


class ClockOffsetEstimator:
    """Measures the offset of two cameras' clocks from their images; see the module for how.

    Stamps are compared as they come, so what pairing adds to them has no part in it. It has no thread and
    no lock: calls must not overlap.
    """

    def __init__(self, settings: ClockOffsetSettings | None = None) -> None:
        self.settings = settings or ClockOffsetSettings()
        self._window_ns = round(self.settings.window_s * _NS)
        self.reset()

    def reset(self) -> None:
        """Forget all that was seen."""
        self._histories = {sensor: _History() for sensor in Sensor}

    def observe(self, sensor: Sensor, stamp_ns: int, pixels: np.ndarray) -> None:
        """Take one frame of a camera; a fraction of a millisecond, the pixels are not kept.

        A frame that is late is passed over, and so is one that repeats the one before (a driver that fills up a
        slow camera's rate). A stamp that is older by half a second or more means that time started over:
        all is forgotten.

        Args:
            sensor: The camera it is from.
            stamp_ns: Its stamp by that camera's clock.
            pixels: ``(H, W)`` or ``(H, W, C)`` of any number type, unit and polarity. What isn't finite is
                taken for the mean of the rest.

        Raises:
            ImageError: ``pixels`` is not such an array.
        """
        thumbnail = _thumbnail(pixels)
        history = self._histories[sensor]
        if history.stamps_ns:
            elapsed_ns = stamp_ns - history.seen_ns
            if elapsed_ns <= -_JUMP_BACK_NS:
                self.reset()
                history = self._histories[sensor]
            elif elapsed_ns <= 0 or stamp_ns - history.stamps_ns[-1] < _CLOSEST_NS:
                return
        history.add(stamp_ns, thumbnail, self._window_ns)

    def estimate(self) -> ClockOffset | None:
        """Return the offset over the window, or None until there is enough; a few milliseconds.

        None too where a camera's picture never changed. Where something changed but does not tell the
        offset (noise, a periodic motion, different scenes), the confidence is low.
        """
        rgb, thermal = self._histories[Sensor.RGB], self._histories[Sensor.THERMAL]
        if min(len(rgb.stamps_ns), len(thermal.stamps_ns)) < _FEWEST_FRAMES:
            return None
        start_ns = max(rgb.stamps_ns[0], thermal.stamps_ns[0])
        end_ns = min(rgb.stamps_ns[-1], thermal.stamps_ns[-1])
        if end_ns - start_ns < self.settings.least_s * _NS:
            return None
        signals = [history.signal(start_ns) for history in (rgb, thermal)]
        width_s = max(_FINEST_S, *(signal.interval_s for signal in signals))
        step_s = min(width_s / 2, _FINEST_S)
        margin_s = self.settings.search_ms / 1e3
        times_s = np.arange(-margin_s, (end_ns - start_ns) / _NS + margin_s, step_s)
        sampled = [signal.at(times_s, width_s) for signal in signals]
        seconds = float(np.count_nonzero(sampled[0][1] & sampled[1][1]) * step_s)
        if seconds < self.settings.least_s:
            return None
        activities = [_levelled(*one, steps=round(_SLOW_S / step_s)) for one in sampled]
        curves = _correlation_of_parts(*activities, lags=round((margin_s + _RIVALS_S) / step_s))
        if not np.any(curves):
            return None
        lag, confidence = _judge(curves, reach=math.ceil(margin_s / step_s) + 1, step_s=step_s)
        return ClockOffset(1e3 * lag * step_s, confidence, seconds)


class _History:
    """What is kept of one camera: when its picture changed, and how."""

    def __init__(self) -> None:
        self.stamps_ns: deque[int] = deque()
        self.seen_ns = 0
        self._numbers: deque[np.ndarray] = deque()  # of the change since the stamp before, each (_NUMBERS,)
        self._thumbnail: np.ndarray | None = None

    def add(self, stamp_ns: int, thumbnail: np.ndarray, window_ns: int) -> None:
        """Note a frame that is newer than all before, and forget what is older than it by the window."""
        before = thumbnail if self._thumbnail is None else self._thumbnail
        self.seen_ns = stamp_ns
        if self._thumbnail is None or not np.array_equal(before, thumbnail):
            self.stamps_ns.append(stamp_ns)
            self._numbers.append(_change(before, thumbnail))
            self._thumbnail = thumbnail
        while len(self.stamps_ns) > 1 and self.stamps_ns[0] < stamp_ns - window_ns:
            self.stamps_ns.popleft()
            self._numbers.popleft()

    def signal(self, origin_ns: int) -> _Signal:
        """Return the activity over time; times count from ``origin_ns``."""
        stamps_s = (np.array(self.stamps_ns) - origin_ns) / _NS
        return _Signal(stamps_s, np.array(self._numbers, np.float64)[1:])


class _Signal:
    """Activity as sums since the first frame, from which its mean over any time follows.

    Args:
        stamps_s: ``(N,)``, increasing.
        changes: ``(N - 1, _NUMBERS)``, what changed from each frame to the next.
    """

    def __init__(self, stamps_s: np.ndarray, changes: np.ndarray) -> None:
        intervals_s = np.diff(stamps_s)
        self.interval_s = float(np.median(intervals_s))
        changes = changes.copy()
        changes[:, _MOTION] -= np.percentile(changes[:, _MOTION], _FLOOR_PERCENTILE, axis=0)
        for kind in (_SHIFT, _MOTION):
            sizes = np.linalg.norm(changes[:, kind], axis=1)
            limit = np.percentile(sizes, _CLIP_PERCENTILE)
            changes[:, kind] *= np.minimum(1.0, limit / np.maximum(sizes, 1e-12))[:, None]
        # The last column sums the time itself, without gaps: where it stands still, nothing is known.
        known = (intervals_s <= _GAP * self.interval_s)[:, None]
        rows = known * np.column_stack([changes, intervals_s])
        self._stamps_s = stamps_s
        self._sums = np.vstack([np.zeros(_NUMBERS + 1), np.cumsum(rows, axis=0)])

    def at(self, times_s: np.ndarray, width_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the activity per second over ``width_s`` around each time, ``(T, _NUMBERS)``, and where known."""
        gained = self._sums_until(times_s + width_s / 2) - self._sums_until(times_s - width_s / 2)
        known = gained[:, -1] > 0.5 * width_s
        return np.where(known[:, None], gained[:, :-1] / np.maximum(gained[:, -1:], 1e-9), 0.0), known

    def _sums_until(self, times_s: np.ndarray) -> np.ndarray:
        index = np.clip(np.searchsorted(self._stamps_s, times_s) - 1, 0, len(self._stamps_s) - 2)
        start_s, end_s = self._stamps_s[index], self._stamps_s[index + 1]
        part = np.clip((times_s - start_s) / (end_s - start_s), 0.0, 1.0)[:, None]
        return self._sums[index] * (1 - part) + self._sums[index + 1] * part


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return one channel of an image as a soft ``_THUMBNAIL`` in float32."""
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or pixels.size == 0 or pixels.dtype.kind not in "uif":
        raise ImageError(
            "expected an image of integers or floats, (H, W) or (H, W, C) without an empty axis, "
            f"got {pixels.shape} of {pixels.dtype}"
        )
    if pixels.ndim == 3:
        pixels = pixels[..., min(1, pixels.shape[2] - 1)]  # of a colour image the green channel
    rows, columns = _THUMBNAIL
    # Of a large image only every so many pixels are read; at least 8 x 8 of them make one of the thumbnail.
    stride = max(1, min(pixels.shape[0] // (8 * rows), pixels.shape[1] // (8 * columns)))
    few = pixels[::stride, ::stride].astype(np.float32)
    finite = np.isfinite(few)
    if not finite.all():
        few[~finite] = few[finite].mean() if finite.any() else 0.0
    small = cv2.resize(few, (columns, rows), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (3, 3), 0)


def _change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return shift and motion between two thumbnails, ``(_NUMBERS,)`` float32; zeros where they are uniform."""
    middle = 0.5 * (before + after)  # the same for both directions of time: it shifts nothing
    level = float(middle.mean())
    middle -= level
    change = after - before
    change -= change.mean()
    variance = float(np.vdot(middle, middle)) / middle.size
    numbers = np.zeros(_NUMBERS, np.float32)
    if variance <= (1e-6 * level) ** 2:  # no more than rounding leaves
        return numbers
    change -= middle * (float(np.vdot(change, middle)) / middle.size / variance)
    along_x = cv2.Sobel(middle, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    along_y = cv2.Sobel(middle, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    steepness = float(np.vdot(along_x, along_x) + np.vdot(along_y, along_y))
    # Brightness stays with what moves: change = -shift . gradient
    numbers[0] = -float(np.vdot(along_x, change)) / max(steepness, 1e-12)
    numbers[1] = -float(np.vdot(along_y, change)) / max(steepness, 1e-12)
    cells = cv2.resize(np.abs(change), _CELLS[::-1], interpolation=cv2.INTER_AREA)  # means over cells
    numbers[_MOTION] = cells.ravel() / math.sqrt(variance)
    return numbers


def _levelled(activity: np.ndarray, known: np.ndarray, steps: int) -> np.ndarray:
    """Return ``(T, N)`` less its mean over ``steps`` around, over its size there; 0 where it is not ``known``."""
    number = np.maximum(_running_sum(known[:, None].astype(float), steps), 1.0)
    level = (activity - _running_sum(activity * known[:, None], steps) / number) * known[:, None]
    for kind in (_SHIFT, _MOTION):
        squares = (level[:, kind] ** 2).sum(axis=1, keepdims=True)
        size = np.sqrt(np.maximum(_running_sum(squares, steps) / number, 0.0))
        level[:, kind] /= np.maximum(size, max(_QUIET * float(size.max()), 1e-12))
    return level


def _running_sum(values: np.ndarray, steps: int) -> np.ndarray:
    """Return the sums of ``(T, N)`` over about ``steps`` around each time."""
    half = steps // 2
    sums = np.cumsum(np.pad(values, ((half + 1, half), (0, 0))), axis=0)
    return sums[2 * half + 1 :] - sums[: -2 * half - 1]


def _correlation_of_parts(rgb: np.ndarray, thermal: np.ndarray, lags: int) -> np.ndarray:
    """Correlate two activities ``(T, _NUMBERS)`` by parts of the time, ``(_PARTS, 2 * lags + 1)``.

    Column ``lags + k`` compares RGB with what the thermal camera saw ``k`` steps later. The sum over the
    parts is a correlation coefficient, the mean of both kinds of activity.
    """
    scaled = np.empty_like(rgb)
    for kind in (_SHIFT, _MOTION):
        norms = np.linalg.norm(rgb[:, kind]) * np.linalg.norm(thermal[:, kind])
        scaled[:, kind] = rgb[:, kind] * (0.5 / max(float(norms), 1e-12))
    length = cv2.getOptimalDFTSize(len(rgb) + lags)
    spectrum = np.fft.rfft(thermal.T.copy(), length)
    part = np.arange(len(rgb)) * _PARTS // len(rgb)
    curves = np.empty((_PARTS, 2 * lags + 1))
    for index in range(_PARTS):
        of_part = np.fft.rfft(scaled.T * (part == index), length)
        curve = np.fft.irfft((np.conj(of_part) * spectrum).sum(axis=0), length)
        curves[index] = np.concatenate([curve[-lags:], curve[: lags + 1]])
    return curves


def _judge(curves: np.ndarray, reach: int, step_s: float) -> tuple[float, float]:
    """Return the lag of the peak within ``reach``, in steps of ``step_s``, and the confidence in it."""
    total = curves.sum(axis=0)
    middle = len(total) // 2
    index, place = _peak(total, reach)
    height = float(total[index])
    if height <= 0 or abs(index - middle) == reach:  # at the edge the curve still rises towards something beyond
        return place - middle, 0.0
    left, right = index - _LOBE, index + _LOBE
    while left > 0 and total[left - 1] < total[left]:
        left -= 1
    while right < len(total) - 1 and total[right + 1] < total[right]:
        right += 1
    rival = max(total[:left].max(initial=0.0), total[right + 1 :].max(initial=0.0))
    events = height**2 / float((curves[:, index] ** 2).sum())  # 1 if one part gives all, _PARTS if all alike
    # Jackknife: the standard error of the place from the answers without one part each.
    error_s = step_s * np.std([_peak(total - curve, reach)[1] for curve in curves]) * math.sqrt(_PARTS - 1)
    confidence = 1 / (1 + (error_s / _STEADY_S) ** 2)
    for value, limits in ((height, _STRENGTH), (1 - rival / height, _DISTINCTNESS), (events, _EVENTS)):
        confidence *= np.interp(value, limits, (0.0, 1.0))
    return place - middle, float(confidence)


def _peak(curve: np.ndarray, reach: int) -> tuple[int, float]:
    """Return the index of the highest point within ``reach`` of the middle, and the top of a parabola there."""
    start = len(curve) // 2 - reach
    index = start + int(np.argmax(curve[start : start + 2 * reach + 1]))
    before, here, after = curve[index - 1 : index + 2].tolist()
    bend = before - 2 * here + after
    if here < max(before, after) or bend >= 0:  # it rises beyond the reach, or is flat
        return index, float(index)
    return index, index + 0.5 * (before - after) / bend
