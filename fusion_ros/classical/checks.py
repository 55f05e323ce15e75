"""What every classical method asks of its two images."""

from __future__ import annotations

import numpy as np

from ..errors import ImageError

__all__ = ["check_pair"]


def check_pair(infrared: np.ndarray, visible: np.ndarray) -> None:
    """Refuse what is not two float32 images ``(H, W)`` of one size.

    Raises:
        ImageError: One of them is not, with its name.
    """
    for name, image in (("infrared", infrared), ("visible", visible)):
        if not isinstance(image, np.ndarray) or image.dtype != np.float32:
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise ImageError(f"{name}: expected an array of float32, got {kind}")
        if image.ndim != 2 or image.size == 0:
            raise ImageError(f"{name}: expected shape (H, W), got {image.shape}")
    if infrared.shape != visible.shape:
        raise ImageError(
            f"expected two images on one pixel grid, got infrared {infrared.shape} and visible "
            f"{visible.shape} (height, width); align or resize one of them"
        )
