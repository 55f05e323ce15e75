"""Recordings are decoded into memory once; whether they fit is said before, not by the system afterwards."""

from __future__ import annotations

import os
from pathlib import Path

from fusion_ros.errors import SettingsError

__all__ = ["check_memory"]

_SHARE = 0.5  # of what is free: training needs memory, too


def check_memory(what: str, count: int, size: tuple[int, int]) -> None:
    """Refuse to decode more pairs than fit into half of the free memory.

    Args:
        what: Names the recording.
        count: Number of pairs.
        size: ``(H, W)`` of the visible images, whose grid both images are on; a byte a pixel.

    Raises:
        SettingsError: They do not fit.
    """
    needed, free = 2 * count * size[0] * size[1], _free_bytes()
    if needed > _SHARE * free:
        raise SettingsError(
            f"{what}: {count} pairs of {size[1]} x {size[0]} pixels take {needed / 2**30:.1f} GiB, and only "
            f"{free / 2**30:.1f} GiB of memory are free; take fewer with every=N or limit=N"
        )


def _free_bytes() -> int:
    """Memory that can be had without swapping."""
    facts = Path("/proc/meminfo")
    for line in facts.read_text().splitlines() if facts.is_file() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
