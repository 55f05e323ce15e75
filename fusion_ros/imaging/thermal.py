"""From thermal values to brightness in [0, 1], without flicker.

Scaling each frame by its own minimum and maximum makes the whole picture go dark the moment a
hot object enters. Here the range comes from robust percentiles, and the map from value to
brightness moves slowly towards the one that the present frame asks for
(:mod:`fusion_ros.imaging.follow`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ImageError, SettingsError
from ..frame import Frame, Unit
from ..settings import Settings, setting
from .colour import luma, packed
from .follow import LinearMap, MapFollower, stretch

__all__ = ["ThermalNormaliser", "ThermalSettings", "single_channel"]

_GREY_TOLERANCE = 3  # levels; what JPEG and video coding do to the channels of a grey image
_SAMPLES = 20_000  # enough for a percentile's error to stay far below the noise, a fraction of the time
_SMALLEST_SPAN = {Unit.COUNTS: 64.0, Unit.KELVIN: 2.0}


@dataclass(frozen=True)
class ThermalSettings(Settings):
    """How thermal values become brightness."""

    mode: str = setting(
        "auto",
        "Source of the range: percentile follows the scene, fixed uses fixed_low and fixed_high, passthrough "
        "scales the pixel type's full range; auto is passthrough for 8-bit intensity and percentile otherwise.",
        choices=("auto", "percentile", "fixed", "passthrough"),
    )
    floats: str = setting(
        "brightness",
        "What float images hold: brightness in [0, 1]; or temperature, in kelvin or degrees Celsius.",
        choices=("brightness", "temperature"),
    )
    low_percentile: float = setting(0.5, "Share of pixels that may become black.", unit="%", bounds=(0.0, 100.0))
    high_percentile: float = setting(
        99.5, "Share of pixels up to which brightness may not saturate.", unit="%", bounds=(0.0, 100.0)
    )
    fixed_low: float = setting(
        0.0, "Value shown black in fixed mode, in the image's own unit.", bounds=(-1e6, 1e6)
    )
    fixed_high: float = setting(
        0.0, "Value shown white in fixed mode, in the image's own unit.", bounds=(-1e6, 1e6)
    )
    time_constant_s: float = setting(
        1.0,
        "Time in which the range follows two thirds of a change; 0 follows at once.",
        unit="s",
        bounds=(0.0, 600.0),
    )
    reset_gap_s: float = setting(
        5.0, "Pause in the stream after which the range is taken afresh.", unit="s", bounds=(0.0, None)
    )
    min_span: float = setting(
        0.0,
        "Smallest range in percentile mode, in the image's own unit, so that a flat scene does not turn into "
        "noise; 0 takes 64 counts of 16-bit images, 2 kelvin of temperatures, or 1/16 of full brightness.",
        bounds=(0.0, None),
    )
    invert: bool = setting(False, "Show hot black instead of white.")

    def check(self) -> None:
        """Check that both ranges are ranges."""
        if self.low_percentile >= self.high_percentile:
            raise SettingsError(
                "expected low_percentile below high_percentile, "
                f"got {self.low_percentile} and {self.high_percentile}"
            )
        if self.mode == "fixed" and self.fixed_low >= self.fixed_high:
            raise SettingsError(
                "mode fixed: expected fixed_low below fixed_high, in the image's own unit, "
                f"got {self.fixed_low} and {self.fixed_high}"
            )


class ThermalNormaliser:
    """Maps the frames of one thermal camera to brightness.

    Its only state is the smoothed map of percentile mode. It starts afresh by itself when stamps
    jump back, after a long pause, and when the unit of the values changes.

    Args:
        settings: Where the range comes from and how fast it moves.
    """

    def __init__(self, settings: ThermalSettings | None = None) -> None:
        self.settings = settings or ThermalSettings()
        self._follower = MapFollower(self.settings.time_constant_s, self.settings.reset_gap_s)
        self._unit: Unit | None = None  # of the values that the map so far is for

    @property
    def range(self) -> tuple[float, float] | None:
        """``(low, high)``: the values shown black and white (the other way round if inverted).

        None before the first frame of percentile mode and in passthrough.
        """
        if self.settings.mode == "fixed":
            return self.settings.fixed_low, self.settings.fixed_high
        return self._follower.map.range if self._follower.map else None

    def reset(self) -> None:
        """Forget the range, for example because another recording begins."""
        self._follower.reset()

    def __call__(self, frame: Frame) -> np.ndarray:
        """Return the frame's brightness, ``(H, W)`` float32 in [0, 1].

        NaN and infinities mean "no reading" (REP-117): they become 0 and do not influence the
        range. A frame without any reading is black and leaves the range alone.

        Raises:
            ImageError: A false-colour or other multi-channel image, or passthrough of temperatures.
        """
        pixels, unit = single_channel(frame.pixels), self._unit_of(frame)
        if self._is_passthrough(pixels.dtype, unit):
            brightness = _full_range(pixels, unit)
        elif self.settings.mode == "fixed":
            brightness = stretch(pixels, self.settings.fixed_low, self.settings.fixed_high)
        else:
            brightness = self._follow(pixels, unit, frame.stamp_ns)
        if self.settings.invert:
            np.subtract(1.0, brightness, out=brightness)
        if np.issubdtype(pixels.dtype, np.floating):
            finite = np.isfinite(pixels)
            if not finite.all():
                brightness[~finite] = 0.0
        return brightness

    def _unit_of(self, frame: Frame) -> Unit:
        """Return the unit of the values: a float image itself does not say whether it holds temperatures."""
        is_float = np.issubdtype(frame.pixels.dtype, np.floating)
        return Unit.KELVIN if is_float and self.settings.floats == "temperature" else frame.unit

    def _is_passthrough(self, dtype: np.dtype, unit: Unit) -> bool:
        if self.settings.mode == "auto":
            return dtype == np.uint8 and unit is Unit.INTENSITY
        return self.settings.mode == "passthrough"

    def _follow(self, pixels: np.ndarray, unit: Unit, stamp_ns: int) -> np.ndarray:
        """Let the map follow the scene and apply it."""
        target_range = self._scene_range(pixels, unit)
        if target_range is None:
            return np.zeros(pixels.shape, np.float32)
        if unit is not self._unit:
            self._follower.reset()
            self._unit = unit
        return self._follower.follow(LinearMap.from_range(*target_range), stamp_ns).apply(pixels)

    def _scene_range(self, pixels: np.ndarray, unit: Unit) -> tuple[float, float] | None:
        """Return the range that this frame alone asks for; None if it has no reading."""
        readings = _readings(_sampled(pixels))
        if readings.size == 0:
            readings = _readings(pixels)
        if readings.size == 0:
            return None
        percentiles = self.settings.low_percentile, self.settings.high_percentile
        low, high = (float(end) for end in np.percentile(readings, percentiles))
        missing = self._smallest_span(pixels.dtype, unit) - (high - low)
        if missing > 0:
            low, high = low - missing / 2, high + missing / 2
        return low, high

    def _smallest_span(self, dtype: np.dtype, unit: Unit) -> float:
        return self.settings.min_span or _SMALLEST_SPAN.get(unit) or _full_scale(dtype) / 16


def _sampled(pixels: np.ndarray) -> np.ndarray:
    stride = max(1, pixels.size // _SAMPLES)
    # Walks through all columns: one that hits some columns only would see their fixed pattern noise.
    while math.gcd(stride, pixels.shape[1]) > 1:
        stride += 1
    return pixels.reshape(-1)[::stride]


def _readings(pixels: np.ndarray) -> np.ndarray:
    if np.issubdtype(pixels.dtype, np.floating):
        return pixels[np.isfinite(pixels)]
    return pixels


def _full_scale(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def _full_range(pixels: np.ndarray, unit: Unit) -> np.ndarray:
    if unit is Unit.KELVIN:
        raise ImageError("passthrough: temperatures have no full range to scale by; use mode percentile or fixed")
    return luma(pixels)


def single_channel(pixels: np.ndarray) -> np.ndarray:
    """Reduce a thermal image to ``(H, W)``; a coded grey image may come as three nearly equal channels.

    Raises:
        ImageError: The channels differ, as those of a false-colour palette do.
    """
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (3, 4):
        raise ImageError(f"expected a thermal image of one channel, got {pixels.dtype} of shape {pixels.shape}")
    red, green, blue = cv2.split(packed(pixels))[:3]
    pairs = (red, green), (green, blue), (blue, red)
    difference = max(cv2.norm(first, second, cv2.NORM_INF) for first, second in pairs)
    if difference > _GREY_TOLERANCE:
        raise ImageError(
            f"expected a grey thermal image, got colour channels up to {difference:.0f} levels apart; "
            "a false-colour palette cannot be undone: set the camera to a grey palette or to 16-bit output"
        )
    return green
