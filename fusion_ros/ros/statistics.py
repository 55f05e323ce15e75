"""Counts and timings of a running node, shared between its threads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

__all__ = ["Problem", "Rate", "Statistics", "Timings"]

_WINDOW = 150


class Problem(NamedTuple):
    """Something that went wrong: how often, its latest text, and when that was on the monotonic clock."""

    number: int
    text: str
    latest_s: float


class Rate:
    """Events per second over the last few seconds; falls to 0 when events stop."""

    def __init__(self, horizon_s: float = 3.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._horizon_s = horizon_s
        self._clock = clock
        self._times: deque[float] = deque()

    def tick(self) -> None:
        """Note one event, now."""
        self._times.append(self._clock())

    def value(self) -> float:
        """Return events per second."""
        now = self._clock()
        while self._times and self._times[0] < now - self._horizon_s:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        # From the first event to now once the stream has paused, else from first to last.
        span = max(self._times[-1] - self._times[0], 1e-9)
        interval = span / (len(self._times) - 1)
        return 1.0 / max(interval, now - self._times[-1])


class Timings:
    """Recent durations by name, with their percentiles."""

    def __init__(self) -> None:
        self._values: dict[str, deque[float]] = {}

    def add(self, values_ms: Iterable[tuple[str, float]]) -> None:
        """Note durations in milliseconds."""
        for name, value in values_ms:
            self._values.setdefault(name, deque(maxlen=_WINDOW)).append(value)

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Return name -> (p50, p95) in milliseconds over the recent frames."""
        return {name: tuple(np.percentile(list(v), (50, 95))) for name, v in self._values.items()}


class Statistics:
    """Thread-safe collection of a node's counters, rates, timings and named problems."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._rates: dict[str, Rate] = {}
        self._timings = Timings()
        self._problems: dict[str, Problem] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += number

    def tick(self, name: str) -> None:
        """Note one event of a rate."""
        with self._lock:
            self._rates.setdefault(name, Rate()).tick()

    def time(self, values_ms: dict[str, float]) -> None:
        """Note stage durations in milliseconds."""
        with self._lock:
            self._timings.add(values_ms.items())

    def problem(self, kind: str, text: str) -> bool:
        """Count a problem of a kind and keep its latest text; True the first time, when it is worth a log line."""
        with self._lock:
            number = self._problems[kind].number if kind in self._problems else 0
            self._problems[kind] = Problem(number + 1, text, time.monotonic())
            return number == 0

    def counts(self) -> dict[str, int]:
        """Return all counters."""
        with self._lock:
            return dict(self._counts)

    def rate(self, name: str) -> float:
        """Return a rate in Hz; 0 where nothing was noted."""
        with self._lock:
            return self._rates[name].value() if name in self._rates else 0.0

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Return stage name -> (p50, p95) in milliseconds."""
        with self._lock:
            return self._timings.percentiles()

    def problems(self) -> dict[str, Problem]:
        """Return what went wrong so far, by kind."""
        with self._lock:
            return dict(self._problems)
