"""What every fusion method asks of its two arrays, whoever runs it."""

from __future__ import annotations

import numpy as np

from .errors import ImageError

__all__ = ["check_pair"]


def check_pair(
    infrared: np.ndarray,
    visible: np.ndarray,
    leading: tuple[int, ...] = (),
    names: tuple[str, str] = ("infrared", "visible"),
) -> None:
    """Refuse what is not two float32 images of one size, each ``(*leading, H, W)``.

    Args:
        leading: Lengths of the axes before height and width: ``(1, 1)`` for a batch of one channel.
        names: What they are called in an error.

    Raises:
        ImageError: One of them is not, with its name.
    """
    axes = ", ".join([*map(str, leading), "H", "W"])
    for name, image in zip(names, (infrared, visible), strict=True):
        if not isinstance(image, np.ndarray) or image.dtype != np.float32:
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise ImageError(f"{name}: expected an array of float32, got {kind}")
        if image.ndim != len(leading) + 2 or image.shape[:-2] != leading or image.size == 0:
            raise ImageError(f"{name}: expected shape ({axes}), got {image.shape}")
    if infrared.shape != visible.shape:
        raise ImageError(
            f"expected two images on one pixel grid, got {names[0]} {infrared.shape[-2:]} and {names[1]} "
            f"{visible.shape[-2:]} (height, width); align or resize one of them"
        )
