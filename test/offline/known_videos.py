"""Videos whose every frame is known, and damage to them that costs known frames."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

__all__ = ["break_off", "write_video"]


def write_video(path: Path, count: int, rate_hz: float = 10.0) -> None:
    """Write ``count`` frames of 32 x 16 pixels at ``rate_hz`` as MJPG; frame ``k`` is grey, ``20 k`` or 255."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate_hz, (32, 16))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((16, 32, 3), min(20 * index, 255), np.uint8))
    writer.release()


def break_off(path: Path, kept: int) -> None:
    """Overwrite the frames of such an ``.avi`` from number ``kept`` on with zeros; header and index stay."""
    data = path.read_bytes()
    start, index = data.index(b"movi"), data.index(b"idx1")
    frames = [start + found.start() for found in re.finditer(b"00dc", data[start:index])]
    path.write_bytes(data[: frames[kept]] + bytes(index - frames[kept]) + data[index:])
