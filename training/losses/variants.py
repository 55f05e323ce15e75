"""Where a paper and its authors' code write one loss in two ways."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..precision import full_precision

__all__ = ["Variant", "squared_norm"]

Variant = Literal["code", "paper"]
"""``code``: what the authors' program computes; ``paper``: what the paper's equation says."""


@full_precision
def squared_norm(difference: Tensor, variant: Variant) -> Tensor:
    """Return how large a difference is, as a scalar tensor.

    Args:
        difference: ``(B, ...)``.
        variant: ``code``: the mean of the squares over all elements. ``paper``: the squared Frobenius norm, the
            sum of the squares over an image's elements, and its mean over images; a weight beside it holds for
            one size of image only.
    """
    squares = difference.square()
    return squares.mean() if variant == "code" else squares.flatten(1).sum(1).mean()
