"""Pictures of pictures: images in a table, with a text to each column and row."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ["contact_sheet", "tile_of"]

_BORDER = 2
_LINE = 28  # px, height of the line of captions
_MARGIN = 130  # px, width of the column of labels
_EMPTY = 32  # grey level around an image that does not fill its tile


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    tile: tuple[int, int] = (240, 320),
) -> np.ndarray:
    """Return images side by side, one row of them under the other.

    Args:
        rows: uint8 images, grey ``(H, W)`` or RGB ``(H, W, 3)``, of any size: shrunk or grown to fit.
        captions: A text over each column.
        labels: A text before each row.
        tile: ``(h, w)`` of one of them in the sheet.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    bands = [np.hstack([_tile(image, tile) for image in row]) for row in rows]
    if captions:
        bands.insert(0, np.hstack([_text(text, _LINE, tile[1] + 2 * _BORDER) for text in captions]))
    if labels:
        heads = [
            _text(text, band.shape[0], _MARGIN) for text, band in zip(labels, bands[-len(rows) :], strict=True)
        ]
        corner = [_text("", _LINE, _MARGIN)] if captions else []
        bands = [np.hstack(pair) for pair in zip([*corner, *heads], bands, strict=True)]
    return np.vstack(bands)


def tile_of(image: np.ndarray, width: int) -> tuple[int, int]:
    """Return ``(h, w)`` of a tile for images of this one's size: as they are, or shrunk to ``width`` px."""
    height, full_width = image.shape[:2]
    return round(height * min(1.0, width / full_width)), min(width, full_width)


def _tile(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image)
    height, width = size
    scale = min(height / colour.shape[0], width / colour.shape[1])
    shown = cv2.resize(colour, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:height, :width]
    tile = np.full((height, width, 3), _EMPTY, np.uint8)
    top, left = (height - shown.shape[0]) // 2, (width - shown.shape[1]) // 2
    tile[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return cv2.copyMakeBorder(tile, *[_BORDER] * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _text(text: str, height: int, width: int) -> np.ndarray:
    """Return a white field with a text in the middle of its height, shrunk where it would not fit."""
    field = np.full((height, width, 3), 255, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.6
    (wide, high), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= min(1.0, (width - 12) / max(1, wide))
    return cv2.putText(field, text, (8, (height + high) // 2), font, scale, (0, 0, 0), 1, cv2.LINE_AA)
