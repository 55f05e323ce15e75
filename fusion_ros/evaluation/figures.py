"""Figures as reports and JSON hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["time_figures", "without_nan"]

T = TypeVar("T")


def time_figures(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return ``mean``, ``p50`` and ``p95``, in milliseconds; empty where there are no times."""
    if not milliseconds:
        return {}
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return {"mean": float(np.mean(milliseconds)), "p50": float(p50), "p95": float(p95)}


def without_nan(values: Mapping[str, T]) -> dict[str, T | None]:
    """Return values as JSON can hold them: None for NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }
