"""Time: which thermal frame belongs to which RGB frame, live and in replay alike."""

from __future__ import annotations

from .clock_offset import ClockOffset, ClockOffsetEstimator, ClockOffsetSettings
from .offsets import OffsetStatistics, OffsetSummary
from .outcome import DropReason, Pair, PairingCounts
from .pairing import PairingSettings, StampPairer
from .repeats import Repeat, RepeatFinder

__all__ = [
    "ClockOffset",
    "ClockOffsetEstimator",
    "ClockOffsetSettings",
    "DropReason",
    "OffsetStatistics",
    "OffsetSummary",
    "Pair",
    "PairingCounts",
    "PairingSettings",
    "Repeat",
    "RepeatFinder",
    "StampPairer",
]
