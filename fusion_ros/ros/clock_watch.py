"""The offset between the cameras' clocks, measured along the way."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..frame import FramePair, Sensor
from ..settings import setting
from ..timing import ClockOffset, ClockOffsetEstimator, ClockOffsetSettings

__all__ = ["ClockSettings", "ClockWatch"]

_PERIOD_S = 2.0  # an estimate takes milliseconds


@dataclass(frozen=True)
class ClockSettings(ClockOffsetSettings):
    """Whether and how the offset between the cameras' clocks is measured."""

    measure: bool = setting(
        True, "Measure the offset between the cameras' clocks from what they see, and tell it in the diagnostics."
    )


class ClockWatch:
    """Looks at the frames that are fused anyway; used by one thread, but for :meth:`reset` and :attr:`latest`.

    Args:
        settings: Whether, and how.
    """

    def __init__(self, settings: ClockSettings) -> None:
        self._estimator = ClockOffsetEstimator(settings) if settings.measure else None
        self._is_to_forget = False
        self._due_s = time.monotonic() + _PERIOD_S
        self.latest: ClockOffset | None = None
        """The latest estimate, of the stamps as they come; None where there is none yet."""

    def reset(self) -> None:
        """Forget what was seen, at the next pair: time has jumped."""
        self._is_to_forget = True

    def observe(self, frames: FramePair) -> None:
        """Look at a pair: a fraction of a millisecond, and a few milliseconds every other second."""
        if self._estimator is None:
            return
        if self._is_to_forget:
            self._is_to_forget = False
            self._estimator.reset()
            self.latest = None
        for sensor, frame in ((Sensor.RGB, frames.rgb), (Sensor.THERMAL, frames.thermal)):
            if frame is not None:
                self._estimator.observe(sensor, frame.stamp_ns, frame.pixels)
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _PERIOD_S
            self.latest = self._estimator.estimate()
