"""Let the C library keep the memory that a step frees, for the next step."""

from __future__ import annotations

import ctypes
import ctypes.util

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h
_LARGEST = 2**31 - 1
_PAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Keep freed memory in this process, and return whether that could be asked for.

    A training step on the CPU allocates and frees hundreds of maps of several megabytes. The GNU C library hands
    each one above 32 MiB, and many below, back to the operating system at once, and the next step pays again for
    every page, which the system clears first: on a virtual machine that can take several times as long as the
    arithmetic. Call it before the first large allocation. Does nothing where another C library is used.
    """
    name = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name else None
    if mallopt is None:
        return False
    answers = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _LARGEST), mallopt(_TOP_PAD, _PAD)]
    return all(answers)
