"""A CSV log of when each stamped message passed a node, comparable between processes of one machine."""

from __future__ import annotations

import csv
import time
from pathlib import Path

from ..timing.stamps import HEADER_BYTES, header_stamp_ns

__all__ = ["Timeline"]


class Timeline:
    """Writes ``topic, stamp_ns, monotonic_ns`` rows; does nothing without a path.

    ``monotonic_ns`` is the system-wide monotonic clock, so the rows of two processes on the same
    machine can be subtracted.
    """

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("w", newline="") if path else None
        self._rows = csv.writer(self._file) if self._file else None
        if self._rows:
            self._rows.writerow(("topic", "stamp_ns", "monotonic_ns"))

    def note(self, topic: str, cdr: bytes) -> None:
        """Log that a serialised message, one that begins with a header, is passing now."""
        if self._rows and len(cdr) >= HEADER_BYTES:
            self._rows.writerow((topic, header_stamp_ns(cdr), time.monotonic_ns()))

    def close(self) -> None:
        """Write what is buffered and close the file."""
        if self._file:
            self._file.close()
