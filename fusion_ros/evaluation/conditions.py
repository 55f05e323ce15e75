"""What is done to the sources before the methods see them, and what it should have been undone by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..frame import Frame, FramePair
from ..synthetic.degrade import Degradation, Degrader
from ..synthetic.misalign import Misalignment
from .results import AS_RECORDED, ConditionFacts

__all__ = ["Altered", "Condition", "Conditioner"]


@dataclass(frozen=True)
class Condition:
    """One stress: a misalignment of the thermal image, a degradation of one camera, or nothing."""

    stress: Misalignment | Degradation | None = None

    @property
    def facts(self) -> ConditionFacts:
        """Its description for the report."""
        if self.stress is None:
            return ConditionFacts()
        return ConditionFacts(
            self.stress.name,
            self.stress.kind,
            self.stress.level,
            self.stress.unit,
            self.is_misalignment,
            worse_is_lower=self.stress.worse_is_lower,
        )

    @property
    def name(self) -> str:
        """Unique among conditions."""
        return AS_RECORDED if self.stress is None else self.stress.name

    @property
    def is_misalignment(self) -> bool:
        """Whether the thermal image's geometry is changed."""
        return isinstance(self.stress, Misalignment)


@dataclass(frozen=True, eq=False)
class Altered:
    """A pair as the methods see it.

    Attributes:
        field: ``(h, w, 2)`` float32 on the thermal image's own grid, in px: the altered image shows at each pixel
            what the true one has at that pixel plus this; None where the geometry is as it was.
    """

    pair: FramePair
    field: np.ndarray | None = None


class Conditioner:
    """Alters the pairs of one recording, the same way at every run.

    A rig does not change its geometry from frame to frame, nor does the sun move: in a sequence what was
    drawn stays, and only noise is drawn anew. Independent pairs are each drawn for by their own names, so that it
    does not matter which others there are.

    Args:
        condition: What to do.
        recording: Name of the recording.
        is_sequence: Whether its pairs follow one another.
        seed: Of the whole evaluation.
    """

    def __init__(self, condition: Condition, recording: str, *, is_sequence: bool, seed: int = 0) -> None:
        self._stress = condition.stress
        self._seed = f"{seed}/{recording}"
        self._is_sequence = is_sequence
        self._degrader: Degrader | None = None

    def __call__(self, pair: FramePair, name: str, index: int) -> Altered:
        """Return the altered pair; the one that came in is left as it is.

        Args:
            name: Of the frame, unique in its recording.
            index: Of the frame in its recording.
        """
        if self._stress is None or pair.rgb is None or pair.thermal is None:
            return Altered(pair)
        seed, index = (self._seed, index) if self._is_sequence else (f"{self._seed}/{name}", 0)
        if isinstance(self._stress, Degradation):
            if self._degrader is None or not self._is_sequence:
                self._degrader = Degrader(self._stress, seed)
            rgb, thermal = self._degrader(pair.rgb.pixels, pair.thermal.pixels, index)
            return Altered(replace(pair, rgb=_with(pair.rgb, rgb), thermal=_with(pair.thermal, thermal)))
        pixels, field = self._stress.apply(pair.thermal.pixels, seed, index)
        return Altered(replace(pair, thermal=_with(pair.thermal, pixels)), field)


def _with(frame: Frame, pixels: np.ndarray) -> Frame:
    return replace(frame, pixels=pixels)
