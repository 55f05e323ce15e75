"""Metrics of correlation: how linearly the fused image follows its sources.

Both metrics are made of the ten first and second moments of the three images, which are sums of
products of integers and therefore exact.
"""

from __future__ import annotations

import numpy as np

from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["CORRELATION", "DIFFERENCE_CORRELATION", "correlation"]

_I, _V, _F = range(3)


def correlation(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> float:
    """Return CC, the mean Pearson correlation of the fused image with its two sources: -1 to 1.

    ``CC = (r(I, F) + r(V, F)) / 2``; NaN where one of the three images is flat, because a
    correlation with a constant is undefined.

    Args:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, same size.
        fused: ``(H, W)`` uint8, same size.

    Source: Huang et al., "ReCoNet", ECCV 2022, section 3.1.
    """
    return _correlation(Triple(infrared, visible, fused))


def _covariances(triple: Triple) -> np.ndarray:
    """Return the 3x3 matrix ``P^2 cov`` of infrared, visible, fused, as exact integers where they fit."""
    flat = np.stack([image.ravel() for image in triple.images]).astype(np.float64)
    sums = flat.sum(axis=1)
    # Products of 8-bit values sum without rounding in double precision up to 1e11 pixels.
    return flat @ flat.T * flat.shape[1] - np.outer(sums, sums)


def _correlation(triple: Triple) -> float:
    cov = triple.once(_covariances)
    return (_pearson(cov[_I, _F], cov[_I, _I], cov[_F, _F]) + _pearson(cov[_V, _F], cov[_V, _V], cov[_F, _F])) / 2


def _difference_correlation(triple: Triple) -> float:
    """``r(F - V, I) + r(F - I, V)``, from the moments of the images: the difference itself is never made."""
    cov = triple.once(_covariances)
    total = 0.0
    for source, other in ((_I, _V), (_V, _I)):
        shared = cov[_F, source] - cov[other, source]
        spread = cov[_F, _F] - 2.0 * cov[_F, other] + cov[other, other]
        total += _pearson(shared, spread, cov[source, source])
    return total


def _pearson(shared: float, first: float, second: float) -> float:
    return float(shared / np.sqrt(first * second)) if first > 0 and second > 0 else float("nan")


CORRELATION = MetricSpec(
    "CC",
    "correlation coefficient",
    (Variant("mean_pearson", _correlation, (-1.0, 1.0), "Mean of r(IR, F) and r(VIS, F)."),),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Huang et al., ReCoNet, ECCV 2022, section 3.1",
)

DIFFERENCE_CORRELATION = MetricSpec(
    "SCD",
    "sum of the correlations of differences",
    (
        Variant(
            "sum_corr",
            _difference_correlation,
            (-2.0, 2.0),
            "r(F - VIS, IR) + r(F - IR, VIS): what each source alone explains of the rest.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Aslantas, Bendes, AEU 69, 2015",
)
