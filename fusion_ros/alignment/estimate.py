"""What a fine alignment finds: a flow, and how sure it is of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Estimate", "Estimator"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """One answer.

    Attributes:
        flow: ``(H, W, 2)`` float32, x first, in pixels, on the fixed image's grid and pointing into the moving
            image: ``aligned(p) = moving(p + flow(p))`` (:func:`fusion_ros.geometry.warp.warp_by_flow`).
        confidence: 0 to 1; 0 where nothing could be found, as on blank images.
    """

    flow: np.ndarray
    confidence: float


class Estimator(Protocol):
    """Finds where a moving image lies on a fixed one that was taken by a camera of another kind.

    Attributes:
        name: How it is called in settings and reports.
    """

    name: str

    def __call__(
        self,
        moving: np.ndarray,
        fixed: np.ndarray,
        *,
        valid: np.ndarray | None = None,
        start: np.ndarray | None = None,
    ) -> Estimate:
        """Estimate once.

        Args:
            moving: ``(H, W)`` float32 in [0, 1], finite, roughly on the fixed image's grid.
            fixed: Likewise, of the same size.
            valid: ``(H, W)`` bool, False where the moving camera sees nothing; None where it sees everything.
            start: ``(H, W, 2)`` flow to begin with, as an earlier frame's; None begins with zero.

        Raises:
            ImageError: The arrays are not such images.
        """
