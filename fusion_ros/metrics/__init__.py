"""Fusion metrics: one file per family, one table.

A name alone does not fix a number in this field, so each metric carries the name of its variant.
All take 8-bit grey images of equal size and never resize, convert or drop anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .contrast import standard_deviation
from .correlation import correlation
from .images import check_same_size
from .information import entropy

__all__ = ["METRICS", "MetricSpec", "correlation", "entropy", "evaluate", "standard_deviation"]

Triple = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class MetricSpec:
    """One row of the table of metrics.

    Attributes:
        name: Column name, as papers print it.
        variant: Which of the definitions under that name this is.
        function: ``(infrared, visible, fused) -> value``.
        higher_is_better: Direction of a better image.
        range: Smallest and largest value that the definition allows.
        source: Where the definition is from.
    """

    name: str
    variant: str
    function: Triple
    higher_is_better: bool
    range: tuple[float, float]
    source: str


def _of_fused(function: Callable[[np.ndarray], float]) -> Triple:
    return lambda infrared, visible, fused: function(fused)


METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("EN", "bits_256", _of_fused(entropy), True, (0.0, 8.0), "Roberts et al. 2008"),
    MetricSpec("SD", "population_255", _of_fused(standard_deviation), True, (0.0, 127.5), "textbook"),
    MetricSpec("CC", "mean_pearson", correlation, True, (-1.0, 1.0), "Huang et al. 2022, section 3.1"),
)
"""Every metric, in the order of a report's columns."""


def evaluate(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> dict[str, float]:
    """Return every metric of one fused image by name.

    Args:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8 luma, same size.
        fused: ``(H, W)`` uint8, same size.

    Returns:
        Name to value; NaN where a metric is undefined, which is said and never dropped.

    Raises:
        ImageError: An image is not 8-bit grey, or the sizes differ.
    """
    check_same_size(infrared, visible, fused)
    return {spec.name: spec.function(infrared, visible, fused) for spec in METRICS}
