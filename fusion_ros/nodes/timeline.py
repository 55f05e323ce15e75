"""A CSV log of when each stamped message passed a node, comparable between processes of one machine."""

from __future__ import annotations

import csv
import struct
import time
from pathlib import Path

__all__ = ["Timeline", "header_stamp_ns"]


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
        if self._rows:
            self._rows.writerow((topic, header_stamp_ns(cdr), time.monotonic_ns()))

    def close(self) -> None:
        """Write what is buffered and close the file."""
        if self._file:
            self._file.close()


def header_stamp_ns(cdr: bytes) -> int:
    """Return the header stamp of a serialised message without deserialising the rest.

    After 4 bytes of encapsulation come sec (int32) and nanosec (uint32), little-endian when the
    second byte is odd.
    """
    sec, nanosec = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return sec * 1_000_000_000 + nanosec
