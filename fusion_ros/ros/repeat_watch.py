"""How often a camera has only repeated its image lately, for diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..frame import Sensor
from ..fusion_result import FusionResult
from ..timing import Repeat

__all__ = ["RepeatSummary", "RepeatWatch"]

_WINDOW = 150
_OVER_S = 2.0  # without a pair for so long, it is not known what the cameras show


@dataclass(frozen=True)
class RepeatSummary:
    """What the cameras have repeated.

    Attributes:
        current: The camera that repeats its image in the latest pair, for how long and how often; None: none does.
        frames: By camera, how many of its frames since activation have shown the image before once more.
        longest_s: By camera, the longest time for which it has shown one image.
        pairs: How many of the latest pairs the next figure is over.
        shares: By camera, the share of these in which it repeated its image.
    """

    current: Repeat | None = None
    frames: Mapping[Sensor, int] = field(default_factory=lambda: dict.fromkeys(Sensor, 0))
    longest_s: Mapping[Sensor, float] = field(default_factory=lambda: dict.fromkeys(Sensor, 0.0))
    pairs: int = 0
    shares: Mapping[Sensor, float] = field(default_factory=lambda: dict.fromkeys(Sensor, 0.0))


class RepeatWatch:
    """Collects what the results say of repeated images; may be read from another thread.

    Args:
        clock: Seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: Repeat | None = None
        self._latest_s = 0.0
        self._frames = dict.fromkeys(Sensor, 0)
        self._longest_s = dict.fromkeys(Sensor, 0.0)
        self._recent: deque[Sensor | None] = deque(maxlen=_WINDOW)

    def add(self, result: FusionResult) -> None:
        """Note one result."""
        repeat = result.repeat
        with self._lock:
            self._latest, self._latest_s = repeat, self._clock()
            self._recent.append(None if repeat is None else repeat.sensor)
            if repeat is not None:
                self._frames[repeat.sensor] += 1
                self._longest_s[repeat.sensor] = max(self._longest_s[repeat.sensor], repeat.duration_s)

    def summary(self) -> RepeatSummary:
        """Return the figures."""
        with self._lock:
            is_over = self._clock() - self._latest_s > _OVER_S
            recent = list(self._recent)
            return RepeatSummary(
                current=None if is_over else self._latest,
                frames=dict(self._frames),
                longest_s=dict(self._longest_s),
                pairs=len(recent),
                shares={sensor: recent.count(sensor) / max(1, len(recent)) for sensor in Sensor},
            )
