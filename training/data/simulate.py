"""Misalignment with exact truth, made while training: an infrared image is moved by a known displacement.

The displacements are those of :mod:`fusion_ros.synthetic.misalign`, drawn anew for every sample, and the whole
shifts that Li et al. train on ("Feature dynamic alignment and refinement for infrared-visible image fusion:
Translation robust fusion", RFVIF, Information Fusion 2023, section 4.1). Only geometry changes: ``mixed`` adds no
noise here.

**Convention.** As in :class:`training.batch.Batch`: the flow lives on the visible grid and points into the moved
image, ``original(p) = moved(p + flow(p))``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np

from fusion_ros.errors import AlignmentError, SettingsError, nearest_name
from fusion_ros.geometry.warp import flow_positions, valid_mask, warp_by_flow
from fusion_ros.synthetic.misalign import MISALIGNMENTS, Misalignment, inverse_field

from .augment import Sample, Window, crop, grown
from .pairs import PairImages

__all__ = ["SIMULATORS", "AnyOf", "Deformation", "Simulator", "Translation", "misaligned", "parse_simulator"]

SIMULATORS: Mapping[str, str] = MappingProxyType(
    {
        "none": "nothing moves",
        "translation": "whole shifts, uniform up to this many pixels either way along each axis: translation:8",
        "affine": "random affine map: affine:4 for an RMS displacement of up to 4 px, affine:2..4, affine:4..4",
        "perspective": "random homography, as affine",
        "elastic": "random smooth field, as affine; elastic:easy, normal and hard are as strong as ReCoNet's",
        "mixed": "affine and elastic together, as affine",
    }
)
"""What :func:`parse_simulator` understands, by name, for help texts."""

_RECONET = MappingProxyType({"easy": 2.1, "normal": 2.5, "hard": 3.7})  # px; fusion_ros.synthetic.fields.elastic
_LARGEST_SHIFT = 64
_PEAK = 4  # a displacement's largest length over its RMS; 3.7 was the most in thousands of each kind
_PITCH = 4
_REFINEMENTS = 20
_CONVERGED = 1e-3  # px
_LEVELS = re.compile(r"(?:(\d+(?:\.\d+)?)\.\.)?(\d+(?:\.\d+)?)")  # 4 or 2..4
_DEFORMATIONS = ("affine", "perspective", "elastic", "mixed")


class Simulator(Protocol):
    """Moves infrared images by a known displacement.

    Attributes:
        level: Strength of its strongest displacements in pixels: RMS, or along one axis for translations.
        reach: How many pixels around a window it needs so that nothing invented enters it.
    """

    @property
    def level(self) -> float: ...

    @property
    def reach(self) -> int: ...

    def __call__(self, infrared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the moved image and the flow that undoes it.

        Beyond its border the image is reflected, the border pixel not repeated.

        Args:
            infrared: ``(H, W)`` uint8 or float32, on the visible grid.
            rng: All that is random.

        Returns:
            ``(H, W)`` of the image's type; ``(H, W, 2)`` float32 in pixels, exact wherever it points into the
            moved image.
        """


@dataclass(frozen=True)
class Translation:
    """Shifts by whole pixels, uniform in ``-largest`` to ``largest`` on each axis.

    So nothing is interpolated: two crops of one image at different positions, as RFVIF is trained.
    """

    largest: int

    def __post_init__(self) -> None:
        if not 1 <= self.largest <= _LARGEST_SHIFT:
            raise SettingsError(
                f"translation: expected 1 to {_LARGEST_SHIFT} px, got {self.largest}; for example translation:8"
            )

    @property
    def level(self) -> float:
        """The largest shift along an axis."""
        return float(self.largest)

    @property
    def reach(self) -> int:
        """The largest shift."""
        return self.largest

    def __call__(self, infrared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Simulator`."""
        x, y = rng.integers(-self.largest, self.largest + 1, 2)
        height, width = infrared.shape
        margins = (self.largest,) * 4
        wide = cv2.copyMakeBorder(np.ascontiguousarray(infrared), *margins, cv2.BORDER_REFLECT_101)
        top, left = self.largest + y, self.largest + x
        moved = wide[top : top + height, left : left + width]
        return moved, np.full((height, width, 2), (-x, -y), np.float32)


@dataclass(frozen=True)
class Deformation:
    """One of the smooth kinds of :data:`fusion_ros.synthetic.misalign.MISALIGNMENTS`, at random levels.

    Attributes:
        kind: affine, perspective, elastic or mixed.
        low: Smallest RMS displacement in pixels, over the image that is given.
        high: Largest one; levels are uniform between the two.
    """

    kind: str
    low: float
    high: float

    def __post_init__(self) -> None:
        MISALIGNMENTS[self.kind].check(self.high)
        if not 0.0 <= self.low <= self.high or self.high == 0.0:
            raise SettingsError(
                f"{self.kind}: expected levels that rise and end above 0 px, got {self.low:g} to {self.high:g}; "
                f"for example {self.kind}:4 or {self.kind}:2..4"
            )

    @property
    def level(self) -> float:
        """The largest RMS displacement."""
        return self.high

    @property
    def reach(self) -> int:
        """The largest displacement of a pixel, and what bicubic sampling needs around it."""
        return math.ceil(_PEAK * self.high) + 2

    def __call__(self, infrared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Simulator`; the flow is exact to some 0.003 px."""
        level = self.high - (self.high - self.low) * rng.random()
        field = Misalignment(self.kind, level).field(infrared.shape, int(rng.integers(1 << 32)))
        try:
            flow = _inverse(field)
        except AlignmentError:
            return self(infrared, rng)  # of the strongest fields some fold: another is drawn
        x, y = flow_positions(field)
        moved = cv2.remap(np.ascontiguousarray(infrared), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        return moved, flow


@dataclass(frozen=True)
class AnyOf:
    """Another simulator for every sample, each as often as the others."""

    choices: tuple[Simulator, ...]

    @property
    def level(self) -> float:
        """The largest of them."""
        return max(choice.level for choice in self.choices)

    @property
    def reach(self) -> int:
        """The largest of them."""
        return max(choice.reach for choice in self.choices)

    def __call__(self, infrared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Simulator`."""
        return self.choices[int(rng.integers(len(self.choices)))](infrared, rng)


def parse_simulator(text: str) -> Simulator | None:
    """Return the simulator that a text names, or None for ``none``.

    Args:
        text: One or several joined by ``+``, of which every sample gets one. A name in :data:`SIMULATORS` and how
            far things move, such as ``translation:8``, ``affine:4`` (an RMS displacement uniform in 0 to 4
            pixels), ``affine:2..4``, or ``elastic:hard`` (ReCoNet's name for a displacement that is the same in
            every sample).

    Raises:
        SettingsError: The name is unknown, or what follows it is not understood or out of bounds.
    """
    if "+" in text:
        choices = [parse_simulator(part) for part in text.split("+")]
        if None in choices:
            raise SettingsError(f"misalignment: {text!r}: none cannot be one of several; leave it out")
        return AnyOf(tuple(choice for choice in choices if choice is not None))
    name, _, amount = text.strip().partition(":")
    if name not in SIMULATORS:
        raise SettingsError(f"misalignment: there is no kind {name!r}; {nearest_name(name, SIMULATORS)}")
    levels = _LEVELS.fullmatch(amount)
    if name == "none" and not amount:
        return None
    if name == "translation" and amount.isdecimal():
        return Translation(int(amount))
    if name == "elastic" and amount in _RECONET:
        return Deformation(name, _RECONET[amount], _RECONET[amount])
    if name in _DEFORMATIONS and levels:
        return Deformation(name, float(levels[1] or 0.0), float(levels[2]))
    raise SettingsError(f"misalignment: {text!r} is not understood; {name}: {SIMULATORS[name]}")


def misaligned(
    images: PairImages, window: Window, simulator: Simulator | None, rng: np.random.Generator
) -> Sample:
    """Return a window of a pair, its infrared image moved by the pair's own displacement and by a simulated one.

    The simulated displacement moves what the infrared camera saw, so the two flows follow one another. Real pixels
    from around the window are moved into it, where the image has them.

    Args:
        images: A pair. With a flow of its own, ``registered`` is sampled from it; otherwise it is the pair's
            infrared image, as exact as the pair.
        window: Where, inside the image.
        simulator: None to move nothing.
        rng: For the simulator.
    """
    own = images.flow
    reach = 0 if simulator is None else simulator.reach
    if own is not None:
        reach += math.ceil(np.abs(own[window]).max())
    wide, inner = grown(window, reach, images.visible.shape)
    infrared, _, own = crop(images, wide)
    moved, flow = (infrared, None) if simulator is None else simulator(infrared, rng)
    registered = infrared
    seen = np.ones(infrared.shape, bool)
    if own is not None:
        registered = warp_by_flow(infrared, own)
        seen = valid_mask(*flow_positions(own), infrared.shape)
        flow = own if flow is None else own + warp_by_flow(flow, own)
    if flow is None:
        flow = np.zeros((*infrared.shape, 2), np.float32)
    flow, moved = flow[inner], moved[inner]
    inside = seen[inner] & _between_centres(flow)
    return Sample(moved, images.visible[window], registered[inner], flow, inside)


def _between_centres(flow: np.ndarray) -> np.ndarray:
    """Where a flow points to a place between the outermost pixel centres, which can be interpolated."""
    height, width = flow.shape[:2]
    x, y = flow_positions(flow)
    return (x >= 0.0) & (x <= width - 1.0) & (y >= 0.0) & (y <= height - 1.0)


def _inverse(field: np.ndarray) -> np.ndarray:
    """Return the flow that undoes a smooth field, like :func:`inverse_field` at a third of its cost.

    It is found at every fourth pixel, interpolated, and refined at all pixels by the same iteration.

    Raises:
        AlignmentError: The field folds.
    """
    height, width = field.shape[:2]
    coarse = cv2.split(_PITCH * inverse_field(field[::_PITCH, ::_PITCH] / _PITCH))
    nodes = np.meshgrid(*(np.arange(side, dtype=np.float32) / _PITCH for side in (width, height)))
    flow = cv2.merge([_interpolated(axis, *nodes) for axis in coarse])
    axes = cv2.split(field)
    for _ in range(_REFINEMENTS):
        x, y = flow_positions(flow)
        previous, flow = flow, -cv2.merge([_interpolated(axis, x, y) for axis in axes])
        if cv2.norm(flow, previous, cv2.NORM_INF) < _CONVERGED:
            break
    return flow


def _interpolated(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # One channel at a time: OpenCV 5 samples that exactly, two of them at 1/32 px.
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
