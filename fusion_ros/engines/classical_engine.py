"""Runs a fusion method that needs no weights, behind the same door as the networks."""

from __future__ import annotations

import cv2
import numpy as np

from ..classical import CLASSICAL
from ..errors import SettingsError, nearest_name
from .base import Plan, SizedEngine

__all__ = ["ClassicalEngine"]


class ClassicalEngine(SizedEngine):
    """Runs one method of :data:`fusion_ros.classical.CLASSICAL` with OpenCV on the CPU.

    Args:
        method: The method's name.

    Raises:
        SettingsError: There is no such method; the nearest name is given.
    """

    def __init__(self, method: str) -> None:
        if method not in CLASSICAL:
            raise SettingsError(f"unknown classical method {method!r}; {nearest_name(method, CLASSICAL)}")
        chosen = CLASSICAL[method]
        description = f"opencv {cv2.__version__} on cpu, float32; {method} needs no weights"
        super().__init__("opencv", "cpu", description, chosen)
        self._function = chosen.function

    def _compile(self, height: int, width: int) -> Plan:
        def plan(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
            images = [np.ascontiguousarray(image[0, 0]) for image in (infrared, visible)]
            try:
                return self._function(*images)[None, None]
            except cv2.error as error:  # no RuntimeError by itself, which is what the base reports
                raise RuntimeError(str(error)) from error

        return plan
