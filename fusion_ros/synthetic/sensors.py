"""What weather and sensors do to a perfect picture: smoke, exposure, noise, optics, gain control.

Everything is a function of the seed and the time, so a frame can be made again without the ones before.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from .surfaces import fractal_noise

__all__ = ["ColourSensor", "Smoke", "ThermalSensor", "plateau_curve"]

_NOISE_MARGIN = 48


class Smoke:
    """Smoke that drifts across the street.

    Light is scattered by ``1 - exp(-density * distance)``; long-wave infrared passes almost unhindered.
    """

    COLOUR_PER_M = 0.24
    HEAT_PER_M = 0.004
    GREY = (176.0, 175.0, 172.0)

    def __init__(self, rng: np.random.Generator) -> None:
        self._density = np.clip(1.0 + 0.45 * fractal_noise(rng, (256, 256), 1.5), 0.15, 2.5)

    def veil(self, image: np.ndarray, inverse_depth: np.ndarray, time_s: float) -> np.ndarray:
        """Return the uint8 RGB ``image`` seen through the smoke."""
        density = self._drift(image.shape[:2], time_s)
        depth = 1.0 / np.maximum(inverse_depth, 1e-3)
        passed = cv2.exp(depth * density * -self.COLOUR_PER_M)[..., None]
        grey = np.array(self.GREY, np.float32) * (0.82 + 0.16 * density[..., None])
        return np.clip(grey + (image - grey) * passed, 0, 255).astype(np.uint8)

    def _drift(self, size: tuple[int, int], time_s: float) -> np.ndarray:
        height, width = size
        rows, columns = np.mgrid[0 : 90 : height * 1j, 0 : 120 : width * 1j].astype(np.float32)
        layers = ((0.65, 1.0, 6.0, 1.5), (0.35, 2.0, -4.0, 0.0))  # share, fineness, speed along x and y
        density = np.zeros(size, np.float32)
        for share, fineness, speed_x, speed_y in layers:
            x = fineness * columns + np.float32(speed_x * time_s % len(self._density))
            y = fineness * rows + np.float32(speed_y * time_s % len(self._density))
            density += share * cv2.remap(self._density, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return density


class ColourSensor:
    """A colour camera: soft lens, and noise that grows in the dark.

    Args:
        seed: Seed of the noise.
        size: ``(height, width)``.
        deviation: Noise in 8-bit steps; by night it is set higher by the caller.
    """

    def __init__(self, seed: int, size: tuple[int, int], deviation: float) -> None:
        rng = np.random.default_rng([seed, 11])
        height, width = size[0] + _NOISE_MARGIN, size[1] + _NOISE_MARGIN
        luma = rng.standard_normal((height, width, 1), dtype=np.float32)
        chroma = cv2.GaussianBlur(rng.standard_normal((height, width, 3), dtype=np.float32), (0, 0), 1.2) * 2.5
        self._noise = np.round((0.8 * luma + 0.6 * chroma) * deviation).astype(np.int16)
        self._seed = seed

    def capture(self, image: np.ndarray, time_s: float) -> np.ndarray:
        """Return the uint8 RGB frame that the sensor gives for the radiance ``image``."""
        soft = cv2.GaussianBlur(image, (3, 3), 0.6)
        return cv2.add(soft, _window(self._noise, image.shape[:2], self._seed, time_s), dtype=cv2.CV_8U)


class ThermalSensor:
    """A microbolometer: soft optics, fixed-pattern and temporal noise, shutter events, gain control.

    Args:
        seed: Seed of the noise.
        size: ``(height, width)``.
        deviation_kelvin: Temporal noise (NETD).
        shutter_period_s: Time between flat-field corrections; each redraws the fixed pattern.
    """

    COUNTS_PER_KELVIN = 100.0
    """Counts per kelvin of the 16-bit output: the usual linear scale of 0.01 K."""

    def __init__(self, seed: int, size: tuple[int, int], deviation_kelvin: float, shutter_period_s: float) -> None:
        rng = np.random.default_rng([seed, 12])
        height, width = size[0] + _NOISE_MARGIN, size[1] + _NOISE_MARGIN
        self._noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(deviation_kelvin)
        self._size, self._seed = size, seed
        self._deviation, self._period = deviation_kelvin, shutter_period_s
        self._blur = max(0.5, 0.8 * size[1] / 320)
        self._pattern: tuple[int, np.ndarray] | None = None

    def kelvin(self, scene: np.ndarray, time_s: float) -> np.ndarray:
        """Return the measured ``(H, W)`` float32 temperature for the true one."""
        soft = cv2.GaussianBlur(scene, (0, 0), self._blur)
        soft += self._fixed_pattern(self.epoch(time_s))
        soft += _window(self._noise, self._size, self._seed + 1, time_s)
        return soft

    def counts(self, kelvin: np.ndarray) -> np.ndarray:
        """Return uint16 counts of 0.01 K."""
        return np.clip(kelvin * self.COUNTS_PER_KELVIN + 0.5, 0, 65535).astype(np.uint16)

    def display(self, kelvin: np.ndarray, curve: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return uint8 after the gain ``curve`` (kelvin, grey value), see :func:`plateau_curve`."""
        low, high = float(curve[0][0]), float(curve[0][-1])
        steps = len(curve[0]) - 1
        index = np.clip((kelvin - low) * (steps / (high - low)) + 0.5, 0, steps).astype(np.uint16)
        return curve[1][index]

    def epoch(self, time_s: float) -> int:
        """Return the number of shutter events until ``time_s``; gain and fixed pattern hold in between."""
        return math.floor((time_s + 0.37 * self._period) / self._period)

    def epoch_start(self, epoch: int) -> float:
        """Return the time of a shutter event."""
        return (epoch - 0.37) * self._period

    def _fixed_pattern(self, epoch: int) -> np.ndarray:
        if self._pattern is None or self._pattern[0] != epoch:
            rng = np.random.default_rng([self._seed, 13, epoch & 0xFFFFFFFF])
            columns = rng.standard_normal((1, self._size[1]), dtype=np.float32) * 0.5
            pixels = rng.standard_normal(self._size, dtype=np.float32) * 0.6
            shading = cv2.resize(
                rng.standard_normal((4, 5), dtype=np.float32), self._size[::-1], interpolation=cv2.INTER_CUBIC
            )
            offset = rng.normal(0, 0.15)
            self._pattern = (
                epoch,
                (columns + pixels + shading) * np.float32(self._deviation) + np.float32(offset),
            )
        return self._pattern[1]


def plateau_curve(
    kelvin: np.ndarray, plateau: float = 0.012, linear: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey-value curve of a plateau-equalising gain control: ``(kelvin, uint8)`` samples.

    A histogram that is clipped at ``plateau`` of the pixels per bin is equalised, then mixed with a
    ``linear`` share of the plain range, so that large even areas do not take all the contrast. The
    coldest 8 % (the sky) may saturate; a square keeps the large middle dark, so that people stand out.

    Source: Silverman, "Display and enhancement of infrared images" (1993), plateau equalisation.
    """
    low, high = np.percentile(kelvin, (8.0, 99.95))
    middle, span = (low + high) / 2, max(high - low, 4.0) * 1.08
    samples = np.linspace(middle - span / 2, middle + span / 2, 513)
    histogram = np.histogram(kelvin, bins=512, range=(samples[0], samples[-1]))[0] / kelvin.size
    equalised = np.concatenate([[0.0], np.cumsum(np.minimum(histogram, plateau))])
    equalised /= equalised[-1]
    grey = ((1 - linear) * equalised + linear * np.linspace(0, 1, 513)) ** 2.0
    return samples, np.round(8 + 240 * grey).astype(np.uint8)


def _window(noise: np.ndarray, size: tuple[int, int], seed: int, time_s: float) -> np.ndarray:
    """Cut a window out of the noise at a place that depends on seed and time alone."""
    rng = np.random.default_rng([seed, round(time_s * 1e6) & 0xFFFFFFFFFFFF])
    top, left = (int(value) for value in rng.integers(0, _NOISE_MARGIN, 2))
    return noise[top : top + size[0], left : left + size[1]]
