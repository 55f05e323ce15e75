"""What deformations and degradations have in common: kinds that come in levels, and their random numbers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import ClassVar

import cv2
import numpy as np

from ..errors import ImageError, SettingsError, nearest_name

__all__ = [
    "Alteration",
    "ConditionKind",
    "add_noise",
    "check_pixels",
    "find_kind",
    "gaussian",
    "generator",
    "grey_span",
    "parse_levels",
    "readings",
]

_DEFAULT = "default"
_DEPTHS: Mapping[type, int] = {np.uint8: cv2.CV_8U, np.uint16: cv2.CV_16U, np.float32: cv2.CV_32F}
_QUANTILES = 1 << 15  # on either side of the median
_SAMPLES = 20_000  # for a percentile; its error stays far below the noise that is made from it


@dataclass(frozen=True)
class ConditionKind:
    """One kind of alteration of the source images.

    Attributes:
        name: As in ``shift:3``.
        help: What is done and what its level means, one sentence.
        unit: Of the level.
        levels: The ones taken where none is given.
        bounds: Smallest and largest level.
        is_whole: The level is a whole number.
        worse_is_lower: The level is what is left, such as a visibility, so that lower ones alter more.
    """

    name: str
    help: str
    unit: str
    levels: tuple[float, ...]
    bounds: tuple[float, float]
    is_whole: bool = False
    worse_is_lower: bool = False

    def check(self, level: float) -> None:
        """Check a level.

        Raises:
            SettingsError: The level is out of bounds, or not whole where it has to be.
        """
        low, high = self.bounds
        if not low <= level <= high or (self.is_whole and level != int(level)):
            number = "a whole number" if self.is_whole else "a level"
            raise SettingsError(
                f"{self.name}: expected {number} from {low:g} to {high:g} {self.unit}, got {level!r}; "
                f"for example {self.name}:{self.levels[0]:g}"
            )

    def describe(self, level: float) -> str:
        """Return the name that people see, such as ``shift 3 px``."""
        return f"{self.name.replace('_', ' ')} {level:g} {self.unit}"


def parse_levels(text: str, kinds: Mapping[str, ConditionKind], what: str) -> tuple[tuple[str, float], ...]:
    """Return the (kind, level) pairs that a text names, each once, in the order named.

    Args:
        text: Entries separated by commas: ``shift:3`` (kind and level), ``shift`` (a kind at its usual
            levels), ``default`` (every kind at its usual levels).
        kinds: Name to kind.
        what: What is being named, as the start of an error message.

    Raises:
        SettingsError: A kind is unknown, or a level is no number or out of bounds.
    """
    pairs = [pair for entry in text.split(",") for pair in _pairs(entry.strip(), kinds, what)]
    return tuple(dict.fromkeys(pairs))


def find_kind(name: str, kinds: Mapping[str, ConditionKind], what: str) -> ConditionKind:
    """Return a kind by name.

    Raises:
        SettingsError: There is none of this name.
    """
    if name not in kinds:
        raise SettingsError(f"{what}: there is no kind {name!r}; {nearest_name(name, kinds)}")
    return kinds[name]


@dataclass(frozen=True)
class Alteration:
    """A kind of alteration at one level; each family of kinds is a subclass.

    Attributes:
        kind: A name in ``KINDS``.
        level: How much, in the kind's unit.

    Raises:
        SettingsError: There is no such kind, or the level is out of bounds.
    """

    KINDS: ClassVar[Mapping[str, ConditionKind]]
    WHAT: ClassVar[str]
    """What is being named, as the start of an error message."""

    kind: str
    level: float

    def __post_init__(self) -> None:
        find_kind(self.kind, self.KINDS, self.WHAT).check(self.level)

    @property
    def unit(self) -> str:
        """Unit of the level, such as ``px``, ``deg`` or ``%``."""
        return self.KINDS[self.kind].unit

    @property
    def worse_is_lower(self) -> bool:
        """Whether lower levels alter more."""
        return self.KINDS[self.kind].worse_is_lower

    @property
    def name(self) -> str:
        """For people, such as ``shift 5 px``."""
        return self.KINDS[self.kind].describe(self.level)


def generator(*words: object) -> np.random.Generator:
    """Return random numbers that depend on the words alone, in every process alike."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, words)).encode()))


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal numbers, float32: each one of 65,536 quantiles, which is faster than drawing it."""
    return np.take(_normal_quantiles(), rng.integers(0, 2 * _QUANTILES, shape, dtype=np.uint16))


@lru_cache(maxsize=1)
def _normal_quantiles() -> np.ndarray:
    at = (np.arange(_QUANTILES) + 0.5) / (2 * _QUANTILES)
    lower = np.fromiter(map(NormalDist().inv_cdf, at), np.float32, _QUANTILES)
    return np.concatenate([lower, -lower[::-1]])


def readings(pixels: np.ndarray) -> np.ndarray:
    """Return the values of an image in one row, without NaN and infinities, which mean "no reading"."""
    values = pixels.reshape(-1)
    if np.issubdtype(pixels.dtype, np.floating):
        return values[np.isfinite(values)]
    return values


def grey_span(pixels: np.ndarray) -> float:
    """Return the span of grey values from black to white, which noise in per cent refers to.

    The full scale of 8-bit images. Images of 16 bits and of floating point use a part of their type's range
    that only the camera knows (counts, kelvin): theirs is the span that they would be displayed with, between
    their 0.5 and 99.5 percentiles; 0 for a flat image.
    """
    if pixels.dtype == np.uint8:
        return 255.0
    values = readings(pixels)
    values = values[:: max(1, values.size // _SAMPLES) | 1]  # odd: no few columns of an even width
    if values.size == 0:
        return 0.0
    low, high = np.percentile(values, (0.5, 99.5))
    return float(high - low)


def add_noise(pixels: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Return an image with independent Gaussian noise at each pixel; type and shape stay, integers saturate.

    All channels of a pixel get the same noise, so that a grey image that is coded as colour stays grey.
    """
    noise = gaussian(rng, pixels.shape[:2])
    noise *= np.float32(deviation)
    if pixels.ndim == 3:
        noise = cv2.merge([noise] * pixels.shape[2])
    return cv2.add(np.ascontiguousarray(pixels), noise, dtype=_DEPTHS[pixels.dtype.type]).reshape(pixels.shape)


def check_pixels(pixels: np.ndarray) -> None:
    """Check that an image is one that can be altered.

    Raises:
        ImageError: It is not ``(H, W)`` or ``(H, W, C)`` of uint8, uint16 or float32, with up to 4 channels.
    """
    if (
        pixels.dtype not in tuple(_DEPTHS)
        or pixels.ndim not in (2, 3)
        or pixels.shape[2:] > (4,)
        or 0 in pixels.shape
    ):
        raise ImageError(
            "expected (H, W) or (H, W, C) pixels of uint8, uint16 or float32 with at most 4 channels, "
            f"got {pixels.dtype} {pixels.shape}"
        )


def _pairs(entry: str, kinds: Mapping[str, ConditionKind], what: str) -> list[tuple[str, float]]:
    if entry == _DEFAULT:
        return [(kind.name, level) for kind in kinds.values() for level in kind.levels]
    name, colon, number = entry.partition(":")
    kind = find_kind(name, kinds, what)
    if not colon:
        return [(name, level) for level in kind.levels]
    try:
        level = float(number)
    except ValueError:
        example = f"{name}:{kind.levels[0]:g}"
        raise SettingsError(
            f"{what}: {name}: expected a number of {kind.unit}, such as {example}, got {number!r}"
        ) from None
    kind.check(level)
    return [(name, level)]
