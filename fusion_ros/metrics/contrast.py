"""Metrics of contrast: how far the grey levels of the fused image spread, and how fast they change."""

from __future__ import annotations

import numpy as np

from .images import check_grey
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["AVERAGE_GRADIENT", "SPATIAL_FREQUENCY", "STANDARD_DEVIATION", "standard_deviation"]


def standard_deviation(fused: np.ndarray) -> float:
    """Return SD, the population standard deviation of the grey levels on 0..255: 0 to 127.5.

    ``SD = sqrt(E[(F - E[F])^2])``.

    Args:
        fused: ``(H, W)`` uint8.

    Source: the textbook definition, as in Huang et al., "ReCoNet", ECCV 2022, section 3.1.
    """
    check_grey(fused, "fused")
    return float(np.std(fused, dtype=np.float64))


def _deviation(triple: Triple) -> float:
    return standard_deviation(triple.fused)


def _root_sum(triple: Triple) -> float:
    return triple.once(_deviation) / 255.0 * triple.fused.size**0.5


def _column_deviation(triple: Triple) -> float:
    return float(np.sqrt(np.var(triple.fused, axis=0, dtype=np.float64).mean()))


def _difference_squares(triple: Triple) -> tuple[float, float]:
    """Return the sums of squared differences between neighbours along rows and along columns; exact."""
    fused = triple.fused.astype(np.int32)
    across, down = np.diff(fused, axis=1).ravel(), np.diff(fused, axis=0).ravel()
    return float(across @ across.astype(np.int64)), float(down @ down.astype(np.int64))


def _frequency(triple: Triple) -> float:
    return float(np.sqrt(sum(triple.once(_difference_squares)) / triple.fused.size))


def _frequency_of_pairs(triple: Triple) -> float:
    height, width = triple.size
    across, down = triple.once(_difference_squares)
    return float(np.sqrt(across / (height * (width - 1)) + down / ((height - 1) * width)))


def _frequency_with_border(triple: Triple) -> float:
    last_column, last_row = (line.astype(np.int64) for line in (triple.fused[:, -1], triple.fused[-1]))
    border = float(last_column @ last_column + last_row @ last_row)
    return float(np.sqrt((sum(triple.once(_difference_squares)) + border) / triple.fused.size))


def _gradient_sum(triple: Triple) -> float:
    """Return the sum over pixels of ``sqrt((gx^2 + gy^2) / 2)``, one-sided differences at the border."""
    down, across = np.gradient(triple.fused.astype(np.float64))
    return float(np.sqrt((across * across + down * down) / 2.0).sum())


def _gradient_by_intervals(triple: Triple) -> float:
    height, width = triple.size
    return triple.once(_gradient_sum) / ((height - 1) * (width - 1))


def _gradient_mean(triple: Triple) -> float:
    return triple.once(_gradient_sum) / triple.fused.size


STANDARD_DEVIATION = MetricSpec(
    "SD",
    "standard deviation",
    (
        Variant("population_255", _deviation, (0.0, 127.5), "sqrt of the mean squared deviation, grey levels."),
        Variant(
            "root_sum_sq_01",
            _root_sum,
            (0.0, float("inf")),
            "sqrt of the summed squared deviation on [0, 1], not divided by the number of pixels: the tables of "
            "RFN-Nest and LRRNet. Grows with the image; compare images of one size only.",
        ),
        Variant(
            "rms_of_column_std_255",
            _column_deviation,
            (0.0, 127.5),
            "Root mean square of the columns' own standard deviations: the tables of DIDFuse.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.FUSED,
    source="textbook",
)

SPATIAL_FREQUENCY = MetricSpec(
    "SF",
    "spatial frequency",
    (
        Variant(
            "div_mn", _frequency, (0.0, 361.0), "Sums of squared differences over the number of pixels (VIFB)."
        ),
        Variant(
            "div_diff_count",
            _frequency_of_pairs,
            (0.0, 361.0),
            "Mean squared difference along rows plus that along columns.",
        ),
        Variant(
            "forward_zero_end",
            _frequency_with_border,
            (0.0, 511.0),
            "As div_mn with black beyond the last row and column: the tables of DIDFuse.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.FUSED,
    source="Eskicioglu, Fisher, IEEE Trans. Communications 43, 1995",
)

AVERAGE_GRADIENT = MetricSpec(
    "AG",
    "average gradient",
    (
        Variant(
            "central_mean", _gradient_mean, (0.0, 255.0), "Mean of sqrt((gx^2 + gy^2) / 2), central differences."
        ),
        Variant(
            "central_div_m1n1",
            _gradient_by_intervals,
            (0.0, 1020.0),
            "The same sum over (H - 1)(W - 1): VIFB and the tables of DIDFuse.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.FUSED,
    source="Cui et al., Optics Communications 341, 2015",
)
