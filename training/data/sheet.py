"""Contact sheets: a few pairs on one picture, to be looked at before training on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fusion_ros.geometry.warp import resize, warp_by_flow

from .pairs import Pair, PairImages

__all__ = ["contact_sheet", "sampled"]

_CELL = 300
"""Width of one picture, in pixels."""
_GAP, _CAPTION = 8, 22
_PAPER, _INK = 255, (40, 40, 40)
_TITLES = ("infrared", "visible", "overlay: infrared red, visible cyan")


def sampled(pairs: Sequence[Pair], number: int) -> list[Pair]:
    """Return pairs that are spread evenly over all, in their order."""
    places = np.linspace(0, len(pairs) - 1, min(number, len(pairs)))
    return [pairs[round(place)] for place in places]


def contact_sheet(pairs: Sequence[tuple[str, PairImages]]) -> np.ndarray:
    """Return one row a pair, infrared, visible and the two laid over one another, with captions.

    In the overlay, what both show at one place is grey; a coloured fringe shows that they are off. Where the
    flow is known it is undone first.

    Args:
        pairs: Caption and images of each, at least one.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    rows = [_row(caption, images) for caption, images in pairs]
    titles = np.hstack([_text(title, _CELL + _GAP) for title in _TITLES])
    return np.vstack([titles, *rows])


def _row(caption: str, images: PairImages) -> np.ndarray:
    height, width = images.visible.shape
    size = max(1, round(height * _CELL / width)), _CELL
    infrared, visible = (resize(image, size) for image in images[:2])
    undone = infrared if images.flow is None else resize(warp_by_flow(images.infrared, images.flow), size)
    cells = (cv2.merge([infrared] * 3), cv2.merge([visible] * 3), cv2.merge([undone, visible, visible]))
    pictures = np.hstack([_framed(cell) for cell in cells])
    return np.vstack([pictures, _text(f"{caption}   {width} x {height}", pictures.shape[1])])


def _framed(cell: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(cell, 0, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3)


def _text(text: str, width: int) -> np.ndarray:
    strip = np.full((_CAPTION, width, 3), _PAPER, np.uint8)
    ascii_only = text.encode("ascii", "replace").decode()  # OpenCV's letters are no more
    return cv2.putText(strip, ascii_only, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
