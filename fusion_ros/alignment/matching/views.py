"""Moments of a recording that say something about how two cameras lie to each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["RigView", "ViewChooser", "lack_of_structure"]

_THUMBNAIL = (32, 24)
_CELL = 8  # px over which is averaged before contrast is measured, so that noise does not count as structure
_SMALLEST_CONTRAST = 0.02
_SMALLEST_SHARE = 0.3  # of the contrast that survives averaging; white noise keeps an eighth
_LARGEST_CLIPPED = 0.8  # share of pixels at one end of the range
_SAME = 0.004  # mean difference of thumbnails, one grey level: noise alone
_OTHER = 0.02


@dataclass(frozen=True, eq=False)
class RigView:
    """What both cameras saw at one moment.

    Attributes:
        name: Of the frame.
        rgb: ``(H, W)`` float32 in [0, 1], finite: the luma of the RGB image.
        thermal: ``(h, w)`` float32 in [0, 1], finite: the brightness of the thermal image.
    """

    name: str
    rgb: np.ndarray
    thermal: np.ndarray


def lack_of_structure(image: np.ndarray) -> str:
    """Say why nothing can be found in an image ``(H, W)`` in [0, 1]; empty where something can."""
    clipped = max(float((image <= 0.004).mean()), float((image >= 0.996).mean()))
    if clipped > _LARGEST_CLIPPED:
        return "is black or saturated"
    small = _averaged(image)
    contrast = float(small.std())
    if contrast < _SMALLEST_CONTRAST:
        return "is flat"
    return "is noise" if contrast < _SMALLEST_SHARE * float(image.std()) else ""


class ViewChooser:
    """Keeps the most telling moments of a recording, spread over its length.

    The recording is cut into ``limit`` parts of equal length; of each the moment with the most structure in
    both images is kept. Moments that show what an earlier one showed are passed over: they are no new evidence.

    Args:
        limit: Most moments that are kept.
        count: About how many moments will be offered.

    Attributes:
        refused: Why moments were passed over, with how many.
        offered: How many moments there were.
    """

    def __init__(self, limit: int, count: int) -> None:
        self.refused: Counter[str] = Counter()
        self.offered = 0
        self._limit, self._count = limit, max(count, 1)
        self._best: dict[int, tuple[float, RigView]] = {}
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []

    def offer(self, view: RigView) -> None:
        """Look at the next moment."""
        part = min(self.offered * self._limit // self._count, self._limit - 1)
        self.offered += 1
        reason = self._reason(view)
        if reason:
            self.refused[reason] += 1
            return
        structure = min(_structured_share(view.rgb), _structured_share(view.thermal))
        if part not in self._best or structure > self._best[part][0]:
            self._best[part] = (structure, view)

    @property
    def views(self) -> list[RigView]:
        """What is kept, in order."""
        return [self._best[part][1] for part in sorted(self._best)]

    def _reason(self, view: RigView) -> str:
        for name, image in (("RGB", view.rgb), ("thermal", view.thermal)):
            lack = lack_of_structure(image)
            if lack:
                return f"the {name} image {lack}"
        rgb, thermal = _thumbnail(view.rgb), _thumbnail(view.thermal)
        changes = [(_difference(rgb, first), _difference(thermal, second)) for first, second in self._seen]
        for of_rgb, of_thermal in changes:
            if of_rgb > _OTHER and of_thermal == 0.0:
                return "the thermal image is frozen"
            if of_thermal > _OTHER and of_rgb == 0.0:
                return "the RGB image is frozen"
        if any(max(change) < _SAME for change in changes):
            return "nothing new since an earlier frame"
        self._seen.append((rgb, thermal))
        return ""


def _averaged(image: np.ndarray) -> np.ndarray:
    size = tuple(max(2, length // _CELL) for length in image.shape[::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).mean())


def _structured_share(image: np.ndarray) -> float:
    """Return the share of the image, cut into 8 x 6 cells, in which brightness changes."""
    small = cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)
    cells = small.reshape(6, 8, 8, 8).std(axis=(1, 3))
    return float((cells > _SMALLEST_CONTRAST).mean())
