"""What every metric accepts: 8-bit grey images of one size."""

from __future__ import annotations

import numpy as np

from ..errors import ImageError

__all__ = ["check_grey", "check_same_size"]


def check_grey(image: np.ndarray, name: str = "image") -> None:
    """Refuse anything but a non-empty ``(H, W)`` uint8 image.

    A float image would not fail by itself: it would give another, wrong number (a histogram of
    distinct values, a deviation 255 times too small).

    Raises:
        ImageError: Another type or shape.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = getattr(image, "dtype", type(image).__name__)
        raise ImageError(f"{name}: expected uint8, got {got}; round a [0, 1] image to 0..255 first")
    if image.ndim != 2 or image.size == 0:
        raise ImageError(f"{name}: expected grey (H, W), got shape {image.shape}; turn colour into luma first")


def check_same_size(infrared: np.ndarray, visible: np.ndarray, fused: np.ndarray) -> None:
    """Refuse three images that are not all uint8, grey, of equal size, and at least 2 x 2 pixels.

    Raises:
        ImageError: Says which image is wrong.
    """
    for image, name in ((infrared, "infrared"), (visible, "visible"), (fused, "fused")):
        check_grey(image, name)
    if not infrared.shape == visible.shape == fused.shape:
        raise ImageError(
            f"expected three images of equal size, got infrared {infrared.shape}, visible {visible.shape}, "
            f"fused {fused.shape}; metrics never resize, bring them onto one grid first"
        )
    if min(fused.shape) < 2:
        raise ImageError(
            f"expected images of at least 2 x 2 pixels, got shape {fused.shape}; a line has no gradient to measure"
        )
