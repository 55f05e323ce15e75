"""What a misalignment costs the fused image, where the misalignment is known.

Metrics of fusion compare a fused image with its sources. Of two cameras' images that are called aligned and are
not, they punish an aligner that lays them better than the set's own label. So, as with the known part of an
aligner's error (:mod:`.measure`), the thermal source is the undeformed image as the same aligner lays it. The
fused image of the deformed pair is held against that and the RGB image, and beside it the one that fusing these
two gives. One that does nothing loses what the deformation costs. What sampling once more takes is lost even by
the true answer, which is measured beside the aligners.

Images are fused by Laplacian pyramids, which need no weights and hide no misalignment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...classical.pyramid import laplacian
from ...geometry.warp import inner_rectangle
from ...imaging import to_uint8
from ...metrics import Column, evaluate

__all__ = ["TRUTH", "QualityRecord", "QualitySummary", "Undeformed", "qualities"]

TRUTH = "true answer"
"""Stands for an aligner that leaves the pair as recorded as it is, and undoes every deformation exactly."""

_LEAST_SIDE = 32  # px of what both pairs show; metrics need some room
_DECIMALS = 6  # of a metric: beyond them the number of threads may decide


@dataclass(frozen=True)
class QualityRecord:
    """One metric of one pair that was deformed, aligned and fused.

    Attributes:
        metric: Key of the column, such as ``Qabf:xydeas_255``.
        value: Of the fused image of the deformed pair.
        undeformed: Of the fused image that is had without the deformation, over the same pixels.
    """

    source: str
    frame: str
    aligner: str
    condition: str
    metric: str
    value: float
    undeformed: float


@dataclass(frozen=True)
class QualitySummary:
    """One metric of an aligner under one condition, over all images; NaN where there are none.

    Attributes:
        images: How many.
        mean: Of the images of deformed pairs.
        undeformed: Of those that are had without the deformation.
    """

    images: int
    mean: float
    undeformed: float

    @property
    def kept(self) -> float:
        """The mean as a share of that without the deformation; NaN where that is 0."""
        return self.mean / self.undeformed if self.undeformed else math.nan

    @classmethod
    def of(cls, records: Sequence[QualityRecord]) -> QualitySummary:
        """Return what records of one metric, aligner and condition say together."""
        found = [r for r in records if math.isfinite(r.value) and math.isfinite(r.undeformed)]
        if not found:
            return cls(0, math.nan, math.nan)
        means = (float(np.mean([r.value for r in found])), float(np.mean([r.undeformed for r in found])))
        return cls(len(found), *means)


class Undeformed(NamedTuple):
    """The pair as recorded, as an aligner lays it.

    Attributes:
        thermal: ``(H, W)`` float32 in [0, 1], as the aligner lays it.
        fixed: Likewise: luma of the RGB image.
        seen: ``(H, W)`` bool: where the thermal image lies.
        fused: ``(H, W)`` float32: the two, fused.
    """

    thermal: np.ndarray
    fixed: np.ndarray
    seen: np.ndarray
    fused: np.ndarray

    @classmethod
    def of(cls, thermal: np.ndarray, fixed: np.ndarray, seen: np.ndarray) -> Undeformed:
        """Fuse; arguments as the attributes."""
        return cls(thermal, fixed, seen, laplacian(thermal, fixed))


def qualities(
    aligned: np.ndarray,
    undeformed: Undeformed,
    compared: np.ndarray,
    columns: Sequence[Column],
    names: Mapping[str, str],
) -> Iterator[QualityRecord]:
    """Yield what the fused image of a deformed pair is worth, a record a metric.

    There is none where less than 32 px in either direction are compared.

    Args:
        aligned: ``(H, W)`` float32 in [0, 1]: the deformed thermal image as the aligner lays it.
        undeformed: As the same aligner lays it.
        compared: ``(H, W)`` bool; metrics are taken over a rectangle of it in which the undeformed image is seen.
        columns: Metrics of single images.
        names: The record's ``source``, ``frame``, ``aligner`` and ``condition``.
    """
    where = inner_rectangle(compared & undeformed.seen)
    if min(part.stop - part.start for part in where) < _LEAST_SIDE:
        return
    # Fused whole and cut afterwards: the border of the cut is no border of the images.
    mine = laplacian(aligned, undeformed.fixed)
    thermal, visible, mine, best = (
        to_uint8(image)[where] for image in (undeformed.thermal, undeformed.fixed, mine, undeformed.fused)
    )
    value, reached = (evaluate(thermal, visible, fused, columns) for fused in (mine, best))
    for column in columns:
        key = column.key
        yield QualityRecord(
            **names, metric=key, value=round(value[key], _DECIMALS), undeformed=round(reached[key], _DECIMALS)
        )
