"""Stamps of serialised messages, read without decoding the rest."""

from __future__ import annotations

import struct

__all__ = ["HEADER_BYTES", "header_stamp_ns"]

HEADER_BYTES = 12
"""How much of a serialised message holds its encapsulation and its stamp."""


def header_stamp_ns(cdr: bytes) -> int:
    """Return the stamp of a CDR message that begins with a ``std_msgs/Header``, in nanoseconds.

    After 4 bytes of encapsulation come sec (int32) and nanosec (uint32), little-endian when the second
    byte is odd. At least ``HEADER_BYTES`` bytes are needed.
    """
    sec, nanosec = struct.unpack_from("<iI" if cdr[1] & 1 else ">iI", cdr, 4)
    return sec * 1_000_000_000 + nanosec
