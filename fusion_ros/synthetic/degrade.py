"""What night, sun, fog and sensors do to one of the two cameras, by laws of optics.

Laws of light hold in linear light: 8-bit colour is decoded by the sRGB curve (IEC 61966-2-1) and encoded again.
Thermal values are linear already (counts, kelvin), or are taken to be.

Each kind changes one camera (fog both, the thermal one little) and is a function of the pixels, the level, the
seed and the frame's index; only ``thermal_frozen`` remembers frames, in a :class:`Degrader`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ..errors import ImageError, SettingsError
from ..imaging.colour import packed
from . import optics
from .conditions import (
    Alteration,
    ConditionKind,
    add_noise,
    check_pixels,
    gaussian,
    generator,
    grey_span,
    parse_levels,
    readings,
)

__all__ = ["DEGRADATIONS", "Degradation", "Degrader", "parse_degradations"]

Images = tuple[np.ndarray, np.ndarray]

FROZEN = "thermal_frozen"
_KINDS = (
    ConditionKind(
        "darkness",
        "RGB: light falls to this share, the noise stays",
        "%",
        (10.0, 3.0, 1.0),
        (0.1, 100.0),
        worse_is_lower=True,
    ),
    ConditionKind("glare", "RGB: a low sun adds this much of white on average", "%", (10.0, 30.0), (0.0, 100.0)),
    ConditionKind(
        "fog",
        "RGB, thermal little: visibility falls to this distance",
        "m",
        (100.0, 40.0),
        (5.0, 1e5),
        worse_is_lower=True,
    ),
    ConditionKind(
        "thermal_blur", "thermal: out of focus by a Gaussian of this sigma", "px", (1.5, 3.0), (0.1, 50.0)
    ),
    ConditionKind(
        "thermal_low_contrast",
        "thermal: contrast falls to this share",
        "%",
        (30.0, 10.0),
        (0.0, 100.0),
        worse_is_lower=True,
    ),
    ConditionKind(
        FROZEN, "thermal: the first of every so many frames is repeated", "frames", (5.0, 15.0), (2.0, 1e4), True
    ),
)
DEGRADATIONS: Mapping[str, ConditionKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every kind of degradation by name."""

_FULL_WELL = 8000.0  # electrons at white
_READ_NOISE = 4.0  # electrons; both as of a 1/3-inch CMOS sensor with pixels of about 3 um

_CORE = 0.015  # radius of the source's core, of the image's diagonal
_SPREAD = 0.5  # part of the glare that is spread about the source; the rest is even
_SUNLIGHT = (1.0, 0.93, 0.80)  # relative red, green, blue of a low sun

_FOG = optics.FogLayer()
_FOG_OVER_MEAN = 1.8  # brightness of fog, relative to the mean of the scene's light
_BRIGHTEST_FOG = 0.6
_HEAT_EXTINCTION = 0.1  # relative to light

_THERMAL_NOISE = 0.5  # per cent of the grey span: 0.05 K of a span of 10 K


@dataclass(frozen=True)
class Degradation(Alteration):
    """A kind of degradation at one level."""

    KINDS = DEGRADATIONS
    WHAT = "degrade"

    def apply(self, rgb: np.ndarray, thermal: np.ndarray, index: int, seed: int | str) -> Images:
        """Return the two images after the degradation; one that it leaves alone is returned itself.

        Args:
            rgb: ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8.
            thermal: ``(H, W)`` or ``(H, W, C)`` of uint8, uint16 or float32, on any grid.
            index: Number of the frame in its sequence: noise changes with it, the place of the sun does not.
            seed: A number, or a text such as the sequence's name.

        Raises:
            ImageError: One of the images is not such an array.
            SettingsError: The kind is ``thermal_frozen``, which needs a :class:`Degrader`.
        """
        if self.kind == FROZEN:
            raise SettingsError(f"{FROZEN} repeats an earlier frame; use Degrader, which remembers it")
        _check_rgb(rgb)
        check_pixels(thermal)
        return _EFFECTS[self.kind](rgb, thermal, self.level, index, seed)


class Degrader:
    """Degrades the frames of one sequence, in order.

    Its only state is the frame that ``thermal_frozen`` repeats.

    Args:
        degradation: What is done.
        seed: As for :meth:`Degradation.apply`.
    """

    def __init__(self, degradation: Degradation, seed: int | str) -> None:
        self.degradation = degradation
        self._seed = seed
        self._block: int | None = None
        self._held: np.ndarray | None = None

    def __call__(self, rgb: np.ndarray, thermal: np.ndarray, index: int) -> Images:
        """Return the two images of frame ``index`` after the degradation.

        Frozen, a thermal camera shows the first frame that came of each block of as many frames as the level
        says, as it does while its shutter is closed for a correction; the frame shown is read-only.

        Raises:
            ImageError: One of the images is not as for :meth:`Degradation.apply`.
        """
        if self.degradation.kind != FROZEN:
            return self.degradation.apply(rgb, thermal, index, self._seed)
        _check_rgb(rgb)
        check_pixels(thermal)
        block = index // int(self.degradation.level)
        if self._held is None or block != self._block:
            self._block, self._held = block, thermal.copy()
            self._held.flags.writeable = False
        return rgb, self._held

    def reset(self) -> None:
        """Forget the frame, because another sequence begins."""
        self._block = self._held = None


def parse_degradations(text: str) -> tuple[Degradation, ...]:
    """Return the degradations that a text names: ``default``, or such as ``darkness:10,fog``.

    A kind without a level stands for its usual levels.

    Raises:
        SettingsError: A kind is unknown, or a level is no number or out of bounds.
    """
    return tuple(Degradation(kind, level) for kind, level in parse_levels(text, DEGRADATIONS, "degrade"))


def _darkness(rgb: np.ndarray, thermal: np.ndarray, level: float, index: int, seed: int | str) -> Images:
    """Fewer photons at the same exposure and gain: shot noise (Poisson's, in its normal limit) and read noise.

    Source: EMVA Standard 1288, "Standard for characterization of image sensors and cameras", linear model.
    """
    electrons = optics.decode(rgb)
    electrons *= np.float32(_FULL_WELL * level / 100.0)
    noise = gaussian(generator("darkness", seed, index), rgb.shape)
    noise *= np.sqrt(electrons + np.float32(_READ_NOISE**2))
    electrons += noise
    electrons *= np.float32(1.0 / _FULL_WELL)
    return optics.encode(electrons), thermal


def _glare(rgb: np.ndarray, thermal: np.ndarray, level: float, index: int, seed: int | str) -> Images:
    """A source of light in the upper half of the view: it saturates, and what the lens scatters veils the rest."""
    height, width = rgb.shape[:2]
    across, down = generator("glare", seed).uniform((0.2, 0.1), (0.8, 0.5))
    core = _CORE * math.hypot(height, width)
    light = optics.glare_light((height, width), (across * width, down * height), core, _SPREAD)
    light *= np.float32(level / 100.0)
    linear = optics.decode(rgb)
    linear += light if rgb.ndim == 2 else light[..., None] * np.array(_SUNLIGHT, np.float32)
    return optics.encode(linear), thermal


def _fog(rgb: np.ndarray, thermal: np.ndarray, level: float, index: int, seed: int | str) -> Images:
    """Koschmieder's law in a layer of fog over flat ground. Fog is grey, and as bright as the scene's own light.

    The level is the meteorological optical range, over which 5 % of the light is left (CIE S 017:2020). For heat
    the extinction is taken as a tenth, as in smoke, haze and artificial fog; the droplets of dense natural fog are
    larger and hide heat better (Hagen, "The influence of natural and artificial fogs on visible and infrared
    imaging", Proc. SPIE 10765, 2018). The air is as warm as the median pixel.
    """
    per_m = -math.log(0.05) / level
    light = optics.decode(rgb)
    airlight = min(_BRIGHTEST_FOG, _FOG_OVER_MEAN * float(light.mean()))
    light = optics.veil(light, np.exp(-per_m * _FOG.distance(rgb.shape[:2])), airlight)
    air = readings(thermal)
    passed = np.exp(-_HEAT_EXTINCTION * per_m * _FOG.distance(thermal.shape[:2]))
    heat = optics.veil(thermal, passed, float(np.median(air)) if air.size else 0.0)
    return optics.encode(light), optics.saturated(heat, thermal.dtype)


def _thermal_blur(rgb: np.ndarray, thermal: np.ndarray, level: float, index: int, seed: int | str) -> Images:
    return rgb, cv2.GaussianBlur(packed(thermal), (0, 0), level).reshape(thermal.shape)


def _thermal_low_contrast(
    rgb: np.ndarray, thermal: np.ndarray, level: float, index: int, seed: int | str
) -> Images:
    """Things about equally warm, as after rain or at dawn: contrast about the mean falls, the noise stays."""
    values = readings(thermal)
    mean = float(values.mean(dtype=np.float64)) if values.size else 0.0
    flat = thermal.astype(np.float32)
    flat *= np.float32(level / 100.0)
    flat += np.float32((1.0 - level / 100.0) * mean)
    deviation = _THERMAL_NOISE / 100.0 * grey_span(thermal)
    noisy = add_noise(flat, deviation, generator("thermal_low_contrast", seed, index))
    return rgb, optics.saturated(noisy, thermal.dtype)


_EFFECTS: Mapping[str, Callable[[np.ndarray, np.ndarray, float, int, int | str], Images]] = MappingProxyType(
    {
        "darkness": _darkness,
        "glare": _glare,
        "fog": _fog,
        "thermal_blur": _thermal_blur,
        "thermal_low_contrast": _thermal_low_contrast,
    }
)


def _check_rgb(rgb: np.ndarray) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or rgb.shape[2:] not in ((), (3,)) or 0 in rgb.shape:
        raise ImageError(f"expected an RGB image (H, W, 3), or grey (H, W), of uint8, got {rgb.dtype} {rgb.shape}")
