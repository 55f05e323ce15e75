"""Fusion metrics: one file per family, one table.

A name alone does not fix a number in this field, so each metric is a family of named variants, and a
column of a table is one variant. All take 8-bit grey images of equal size and never resize, convert or drop
anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import SettingsError
from .contrast import standard_deviation
from .correlation import correlation
from .information import entropy
from .registration import EndpointError, corner_error, endpoint_error
from .spec import Column, MetricSpec, Needs, Variant
from .table import DEFAULT_COLUMNS, METRICS, PAPERS, select_columns
from .triple import Triple
from .video import warp_error

__all__ = [
    "DEFAULT_COLUMNS",
    "METRICS",
    "PAPERS",
    "Column",
    "EndpointError",
    "MetricSpec",
    "Needs",
    "Triple",
    "Variant",
    "corner_error",
    "correlation",
    "endpoint_error",
    "entropy",
    "evaluate",
    "measure",
    "select_columns",
    "standard_deviation",
    "warp_error",
]


def evaluate(
    infrared: np.ndarray,
    visible: np.ndarray,
    fused: np.ndarray,
    columns: Iterable[Column] = DEFAULT_COLUMNS,
    *,
    threads: int = 1,
) -> dict[str, float]:
    """Return metrics of one fused image, by column.

    Args:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8 luma, same size.
        fused: ``(H, W)`` uint8, same size.
        columns: Which, from :func:`select_columns`; what they share is computed once. Those that need a
            video are not for here.
        threads: How many metrics may be computed at the same time; the values are the same.

    Returns:
        Column key to value; NaN where a metric is undefined, which is said and never dropped.

    Raises:
        ImageError: An image is not 8-bit grey, or the sizes differ.
        SettingsError: A column needs a video, or an optional package that is not installed.
    """
    columns = tuple(columns)
    for column in columns:
        if column.metric.needs is Needs.VIDEO:
            raise SettingsError(f"metrics: {column.key} compares two consecutive frames; evaluate a sequence")
    return measure(Triple(infrared, visible, fused), columns, threads=threads)


def measure(triple: Triple, columns: Iterable[Column], *, threads: int = 1) -> dict[str, float]:
    """Return what :func:`evaluate` does, of a triple that is there already."""
    columns = tuple(columns)
    if threads == 1:
        return {column.key: column.variant.function(triple) for column in columns}
    # NumPy and OpenCV let go of Python's lock while they work. The last metrics of the table take longest.
    with ThreadPoolExecutor(threads) as pool:
        futures = {column.key: pool.submit(column.variant.function, triple) for column in reversed(columns)}
        return {column.key: futures[column.key].result() for column in columns}
