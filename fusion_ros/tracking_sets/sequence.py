"""What a tracking sequence is: frames of two cameras, and where one target is in each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import ImageError, SettingsError
from ..frame import FramePair
from ..media import Clip

__all__ = ["FileSequence", "TrackingSequence"]


class TrackingSequence(Protocol):
    """A video of both cameras in which one target is known.

    A box is ``(x, y, width, height)`` in pixels of the RGB image: x, y the first column and row (counted from 0),
    width and height numbers of columns and rows.
    """

    @property
    def name(self) -> str:
        """Its name, unique in its set."""
        ...

    @property
    def attributes(self) -> frozenset[str]:
        """What makes it hard, in the words of its set."""
        ...

    @property
    def boxes(self) -> np.ndarray:
        """``(N, 4)`` float64, a box for each frame; rows of NaN where there is no truth."""
        ...

    @property
    def absent(self) -> np.ndarray:
        """``(N,)`` bool, True where the target is truly out of sight."""
        ...

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        ...

    def frames(self) -> Iterator[FramePair]:
        """Yield the ``N`` pairs, aligned as far as the set is.

        Raises:
            ImageError: A frame cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class FileSequence:
    """A sequence whose frames lie on disk; see :class:`TrackingSequence` for what is not said here.

    Attributes:
        rgb: Images in their order, or a video. It may hold more frames than there are boxes.
        thermal: The same of the other camera; frame k belongs to frame k.

    Raises:
        SettingsError: Boxes and absence do not fit together.
    """

    name: str
    rgb: Clip
    thermal: Clip
    boxes: np.ndarray
    absent: np.ndarray
    attributes: frozenset[str] = frozenset()
    rate_hz: float = 25.0

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4 or self.absent.shape != self.boxes.shape[:1]:
            raise SettingsError(
                f"{self.name}: expected boxes (N, 4) and absent (N,), got {self.boxes.shape} and "
                f"{self.absent.shape}"
            )

    def frames(self) -> Iterator[FramePair]:
        """Yield a pair for each row of ``boxes``, the first at time 0; 16-bit thermal values are kept.

        Raises:
            ImageError: A frame cannot be read, or a video holds fewer frames than there are boxes.
        """
        given = 0
        both = zip(self.rgb.frames(self.rate_hz), self.thermal.frames(self.rate_hz), strict=False)
        for rgb, thermal in itertools.islice(both, len(self.boxes)):
            yield FramePair(rgb, thermal)
            given += 1
        if given < len(self.boxes):
            raise ImageError(
                f"{self.name}: expected {len(self.boxes)} frames of both cameras, one for each box, got {given}; "
                "copy the sequence again"
            )
