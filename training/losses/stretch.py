"""An output without a scale of its own, stretched to an image as its network's authors do."""

from __future__ import annotations

from torch import Tensor

from ..precision import full_precision

__all__ = ["stretched"]

_EPSILON = 1e-5  # the authors' of LRRNet and RFN-Nest; what a flat output is divided by


@full_precision
def stretched(output: Tensor, *, whole_batch: bool = False) -> Tensor:
    """Return ``(o - min) / (max - min + 1e-5)``, in [0, 1]; the gradient passes through minimum and maximum.

    Args:
        output: ``(B, 1, H, W)`` in any range.
        whole_batch: One minimum and one maximum for all images, instead of each image's own.
    """
    dims = (0, 1, 2, 3) if whole_batch else (1, 2, 3)
    low, high = output.amin(dims, keepdim=True), output.amax(dims, keepdim=True)
    return (output - low) / (high - low + _EPSILON)
