"""The three images that a metric compares, with what several metrics need of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .images import check_same_size

__all__ = ["Triple"]

T = TypeVar("T")


class Triple:
    """Infrared, visible and fused image of one moment, on one grid.

    Attributes:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, luma.
        fused: ``(H, W)`` uint8, luma.

    Raises:
        ImageError: An image is not 8-bit grey, is less than two pixels high or wide, or the sizes differ.
    """

    def __init__(self, infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> None:
        check_same_size(infrared, visible, fused)
        self.infrared, self.visible, self.fused = infrared, visible, fused
        self._made: dict[Callable[[Triple], object], object] = {}

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Infrared, visible, fused."""
        return self.infrared, self.visible, self.fused

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.fused.shape[0], self.fused.shape[1]

    def once(self, make: Callable[[Triple], T]) -> T:
        """Return ``make(self)``, computed at the first call: what several metrics share is made once.

        May be called by several threads; two that come first at the same moment both compute it.

        Args:
            make: A module-level function; it stands for its own result.
        """
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[return-value]
