"""How the fine alignment has fared lately, for diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..alignment.fine import FineAlignment, State

__all__ = ["AlignmentSummary", "AlignmentWatch"]

_WINDOW = 30
_PAUSE_S = 10.0  # a longer time in which nobody looked is no doubt: it is counted anew


@dataclass(frozen=True)
class AlignmentSummary:
    """The fine alignment at one moment.

    Attributes:
        state: Where the field comes from.
        confidence: Of the latest estimate.
        mean_px: Mean length of the field.
        reason: Why the latest estimate was not believed; empty where it was.
        estimates: How many of the recent estimates the next figure is over.
        held_share: Share of them that were not believed.
        doubtful_s: Seconds for which no estimate has been believed, up to the latest one and since the last pause.
    """

    state: State = State.NONE
    confidence: float = 0.0
    mean_px: float = 0.0
    reason: str = ""
    estimates: int = 0
    held_share: float = 0.0
    doubtful_s: float = 0.0


class AlignmentWatch:
    """Collects what the fine alignment says of each pair; may be read from another thread.

    Args:
        clock: Seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: FineAlignment | None = None
        self._believed: deque[bool] = deque(maxlen=_WINDOW)
        # When an estimate was last believed; at first and after a pause, when one was made.
        self._believed_s: float | None = None
        self._estimated_s = self._sought_s = 0.0

    def add(self, alignment: FineAlignment | None, *, is_sought: bool = True) -> None:
        """Note the alignment of one pair.

        Args:
            alignment: What is known at this pair; None: nothing looks for it.
            is_sought: An estimate could have been made of this pair: both cameras show something new.
        """
        with self._lock:
            self._latest = alignment
            if alignment is None or not is_sought:
                return
            now_s = self._clock()
            if now_s - self._sought_s > _PAUSE_S:
                self._believed_s = None
            self._sought_s = now_s
            if not alignment.is_new:
                return
            self._estimated_s = now_s
            is_believed = alignment.state in (State.MEASURED, State.UNCHANGED)
            self._believed.append(is_believed)
            if is_believed or self._believed_s is None:
                self._believed_s = self._estimated_s

    def summary(self) -> AlignmentSummary | None:
        """Return the figures; None where nothing looks for a fine alignment, or no pair has come."""
        with self._lock:
            latest, believed = self._latest, list(self._believed)
            doubtful_s = self._estimated_s - self._believed_s if self._believed_s is not None else 0.0
        if latest is None:
            return None
        held_share = believed.count(False) / len(believed) if believed else 0.0
        return AlignmentSummary(
            latest.state,
            latest.confidence,
            latest.mean_px,
            latest.reason,
            len(believed),
            held_share,
            doubtful_s,
        )
