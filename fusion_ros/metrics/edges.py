"""Metrics of edges: what the fused image keeps of its sources' gradients, and what it adds of its own.

Gradients are Sobel differences ``x`` to the right and ``y`` down. Of 8-bit images they are integers, so that
questions such as "equal?" and "stronger?" have exact answers, except in the one variant that is about rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from .pieces import pieces
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["EDGE_TRANSFER", "FUSION_ARTEFACTS"]

_ALMOST_ZERO = 1e-5  # what the toolbox puts in place of every zero
_LEAST_WEIGHT = 0.001
_SOBEL_SUM = 8  # by how much a Sobel difference exceeds the slope in grey levels per pixel


class _Edges(NamedTuple):
    """Gradients of some pixels of one image, float64 each."""

    x: np.ndarray
    y: np.ndarray
    strength: np.ndarray


_Gradients = tuple[np.ndarray, np.ndarray]
"""Differences to the right and down of every pixel of one image, flattened."""


def _sobel(image: np.ndarray, border: int) -> _Gradients:
    x, y = (cv2.Sobel(image, cv2.CV_16S, *order, borderType=border) for order in ((1, 0), (0, 1)))
    return x.ravel(), y.ravel()


def _in_black(triple: Triple) -> list[_Gradients]:
    """Return the gradients of infrared, visible and fused with black beyond the border."""
    return [_sobel(image, cv2.BORDER_CONSTANT) for image in triple.images]


def _mirrored(triple: Triple) -> list[_Gradients]:
    """Return the gradients of infrared, visible and fused, mirrored at the centres of the outermost pixels."""
    return [_sobel(image, cv2.BORDER_REFLECT_101) for image in triple.images]


def _rounded(triple: Triple) -> list[_Gradients]:
    """Return the mirrored gradients of images on [0, 1], summed in the order of the reference code: columns first.

    In flat areas the terms leave about 1e-17 instead of 0, and another order leaves it elsewhere.
    """
    gradients = []
    for image in triple.images:
        grey = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_REFLECT_101) / 255.0
        smooth = (grey[:-2] + 2.0 * grey[1:-1]) + grey[2:]
        step = grey[2:] - grey[:-2]
        x = smooth[:, 2:] - smooth[:, :-2]
        y = (step[:, :-2] + 2.0 * step[:, 1:-1]) + step[:, 2:]
        gradients.append((x.ravel(), y.ravel()))
    return gradients


def _edges(gradients: list[_Gradients]) -> Iterator[list[_Edges]]:
    """Yield the edges of infrared, visible and fused image, piece by piece."""
    for piece in pieces(gradients[0][0].size):
        yield [_with_strength(x[piece].astype(np.float64), y[piece].astype(np.float64)) for x, y in gradients]


def _with_strength(x: np.ndarray, y: np.ndarray) -> _Edges:
    strength = x * x
    strength += y * y
    return _Edges(x, y, np.sqrt(strength, out=strength))


def _one_plus_decay(values: np.ndarray, rate: float, centre: float) -> np.ndarray:
    """Turn values into ``1 + exp(-rate (values - centre))``, in place: what a logistic function divides by."""
    values -= centre
    values *= -rate
    cv2.exp(values, values)  # relative error below 1e-10, five times as fast as NumPy
    values += 1.0
    return values


def _transfer(triple: Triple) -> float:
    kept, total = 0.0, 0.0
    for *sources, fused in _edges(triple.once(_in_black)):
        direction = _direction(fused)
        for source in sources:
            likeness = np.abs(_direction(source) - direction)
            likeness *= -2.0 / np.pi
            likeness += 1.0
            quality = _one_plus_decay(_strength_ratio(source.strength, fused.strength), 15.0, 0.5)
            quality *= _one_plus_decay(likeness, 22.0, 0.8)
            kept += float((source.strength / quality).sum())
            total += float(source.strength.sum())
    return 0.9994 * 0.9879 * kept / total if total > 0.0 else float("nan")


def _direction(edges: _Edges) -> np.ndarray:
    """Return ``atan(y / x)``, and -pi / 2 where x is 0: the sign is that of the definition, whose y points up."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = edges.y / edges.x
    slope[edges.x == 0.0] = -np.inf
    return np.arctan(slope, out=slope)


def _strength_ratio(source: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """Return the weaker over the stronger, or where they are equal that strength, as the reference code does."""
    ratio = np.minimum(source, fused)
    with np.errstate(invalid="ignore"):
        ratio /= np.maximum(source, fused)
    np.copyto(ratio, fused, where=source == fused)
    return ratio


def _transfer_per_pixel(triple: Triple) -> float:
    summed = 0.0
    for edges in _edges(triple.once(_in_black)):
        *sources, fused = (np.maximum(each.strength, _ALMOST_ZERO) for each in edges)
        *directions, direction = (np.arctan(y / np.where(x == 0.0, _ALMOST_ZERO, x)) for x, y, _ in edges)
        kept = 0.0
        for source, own in zip(sources, directions, strict=True):
            quality = _one_plus_decay(np.minimum(source, fused) / np.maximum(source, fused), 10.0, 0.5)
            quality *= _one_plus_decay(np.abs(1.0 - np.abs(own - direction) * (2.0 / np.pi)), 20.0, 0.75)
            kept = kept + source / quality
        summed += float((kept / (sources[0] + sources[1])).sum())
    return summed / triple.fused.size


def _artefacts(triple: Triple) -> float:
    return _mean_loss(triple.once(_mirrored))


def _artefacts_rounded(triple: Triple) -> float:
    return _mean_loss(_rounded(triple))


def _mean_loss(gradients: list[_Gradients]) -> float:
    """Return Nabf on [0, 1], where no slope reaches 2 and so every pixel weighs the same."""
    lost = 0.0
    for edges in _edges(gradients):
        added = _added(edges)
        lost += sum(float(_loss(source, edges[2], added).sum()) for source in edges[:2])
    return lost / (2 * gradients[0][0].size)


def _artefacts_weighted(triple: Triple) -> float:
    lost, total = 0.0, 0.0
    for edges in _edges(triple.once(_mirrored)):
        added = _added(edges)
        for source in edges[:2]:
            slope = source.strength / _SOBEL_SUM
            weight = np.where(slope >= 2.0, slope**1.5, _LEAST_WEIGHT)
            lost += float(_loss(source, edges[2], added) @ weight[added])
            total += float(weight.sum())
    return lost / total


def _added(edges: list[_Edges]) -> np.ndarray:
    """Return the indices of the pixels whose fused gradient exceeds those of both sources."""
    infrared, visible, fused = (each.strength for each in edges)
    return np.flatnonzero(fused > np.maximum(infrared, visible))


def _loss(source: _Edges, fused: _Edges, added: np.ndarray) -> np.ndarray:
    """Return ``1 - Q`` of a source at the pixels of an added edge."""
    x, y, strength = (part[added] for part in source)
    fused_x, fused_y, fused_strength = (part[added] for part in fused)
    y[strength == 0.0] = 1.0  # where there is no gradient, atan(x / y) is 0 by definition
    along = x * fused_x + y * fused_y
    with np.errstate(divide="ignore"):
        along /= x * fused_y - y * fused_x
    # | |a - b| - pi/2 |, of angles between -pi/2 and pi/2, is a right angle less the angle between two lines.
    likeness = np.arctan(np.abs(along, out=along), out=along)
    likeness *= 2.0 / np.pi
    quality = _one_plus_decay(likeness, 22.0, 0.5)
    quality *= _one_plus_decay(strength / fused_strength, 19.0, 0.5)
    return 1.0 - np.sqrt(0.9999 * 0.9995 / quality)


EDGE_TRANSFER = MetricSpec(
    "Qabf",
    "edge information transferred",
    (
        Variant(
            "xydeas_255",
            _transfer,
            (0.0, 1.0),
            "Share of the sources' edge strength and direction that the fused image keeps, weighted by strength, "
            "black beyond the border, as in VIFB. NaN where both sources are black.",
        ),
        Variant(
            "liu_pixel_mean",
            _transfer_per_pixel,
            (0.0, 1.0),
            "Mean over pixels of each pixel's own share, with other constants, and directions equal after half a "
            "turn: the toolbox of Liu et al., TPAMI 2012.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Xydeas, Petrovic, Electronics Letters 36, 2000",
)

FUSION_ARTEFACTS = MetricSpec(
    "Nabf",
    "fusion artefacts",
    (
        Variant(
            "modified_01_exact_gradient",
            _artefacts,
            (0.0, 1.0),
            "What the sources do not explain of edges stronger than both of theirs, over images on [0, 1], where "
            "all pixels weigh the same, from gradients without rounding.",
        ),
        Variant(
            "modified_01",
            _artefacts_rounded,
            (0.0, 1.0),
            "The same with the rounding of the reference code, which takes part of the flat areas for edges: the "
            "tables of RFN-Nest and LRRNet.",
        ),
        Variant(
            "modified_255",
            _artefacts_weighted,
            (0.0, 1.0),
            "The same over images on 0..255, weighted by the sources' slopes from two grey levels per pixel on.",
        ),
    ),
    higher_is_better=False,
    needs=Needs.TRIPLE,
    source="Shreyamsha Kumar, Signal, Image and Video Processing 7, 2013; after Petrovic, Xydeas 2005",
)
