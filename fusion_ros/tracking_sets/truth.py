"""Files of boxes: a line a frame, numbers parted by commas, blanks or tabs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import SettingsError

__all__ = ["as_truth", "bounds_of_corners", "numbered_truth", "read_rows"]

_BETWEEN = re.compile(r"[,\s]+")


def read_rows(path: Path) -> list[list[float]]:
    """Return the numbers of each line; blank lines at the end and lines that begin with ``#`` are passed over.

    Raises:
        SettingsError: The file is absent or empty, or a line holds something else than numbers.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a file with a box a line: {error}") from error
    rows = [_numbers(path, number, line) for number, line in enumerate(lines, start=1) if line[:1] != "#"]
    if not rows:
        raise SettingsError(f"{path}: expected a box a line, found none; copy the file again")
    return rows


def _numbers(path: Path, number: int, line: str) -> list[float]:
    try:
        return [float(part) for part in _BETWEEN.split(line.strip()) if part]
    except ValueError:
        raise SettingsError(f"{path}, line {number}: expected numbers, got {line.strip()[:60]!r}") from None


def bounds_of_corners(rows: list[list[float]]) -> np.ndarray:
    """Return the boxes ``(N, 4)`` that bound the corners of each row, ``x1, y1, x2, y2, ...``.

    Corners are points of the image's plane, so the width is the difference of their x, as in the VOT toolkit. A
    row without two whole corners, such as the code for an unknown region, gives NaN.
    """
    boxes = np.full((len(rows), 4), np.nan)
    for box, row in zip(boxes, rows, strict=True):
        if len(row) >= 4 and len(row) % 2 == 0:
            x, y = np.array(row[0::2]), np.array(row[1::2])
            box[:] = x.min(), y.min(), np.ptp(x), np.ptp(y)
    return boxes


def as_truth(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell present from absent targets among ``(N, 4)`` boxes: NaN, or no width or height, means absent.

    Returns:
        Boxes, NaN where the target is absent, and ``(N,)`` bool, True where it is.
    """
    absent = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1))
    return np.where(absent[:, None], np.nan, boxes), absent


def numbered_truth(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read ``frame, x, y, width, height`` a line, frames counted from 0, in any order.

    Returns:
        Boxes ``(N, 4)`` and absence ``(N,)`` up to the last frame that is listed. A frame that is not listed has
        no truth: NaN, and not absent. One that is listed with NaN, or without width or height, is absent.

    Raises:
        SettingsError: As for :func:`read_rows`; or a line has not five numbers, or two name one frame.
    """
    rows = read_rows(path)
    for row in rows:
        if len(row) != 5 or not (row[0] >= 0 and row[0].is_integer()):
            raise SettingsError(f"{path}: expected lines of frame,x,y,width,height, got {row}")
    listed = np.array(rows)
    places = listed[:, 0].astype(int)
    if len(np.unique(places)) < len(places):
        raise SettingsError(f"{path}: expected at most one line for a frame, but some frames have two")
    boxes, absent = np.full((places.max() + 1, 4), np.nan), np.zeros(places.max() + 1, bool)
    boxes[places], absent[places] = as_truth(listed[:, 1:])
    return boxes, absent
