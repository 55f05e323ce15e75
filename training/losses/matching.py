"""Losses of registers that match: how far the flow is off, and whether the right displacement was recognised.

Classification learns where regression does not begin to: it is told which of the displacements is the right one,
also while all of them look alike. Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo
Regression" (GC-Net), ICCV 2017, section 3.4, for the soft arg-max; the classes next to the truth share it, as in
Tulyakov et al., "Practical Deep Stereo", NeurIPS 2018, but linearly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import full_precision

__all__ = ["displacement_loss", "endpoint_loss"]

_EPSILON = 0.01  # px squared: below 0.1 px the loss is nearly a parabola


@full_precision
def endpoint_loss(predicted: Tensor, flow: Tensor, inside: Tensor) -> Tensor:
    """Return the mean distance of two flows in pixels, ``sqrt(|predicted - flow|^2 + 0.01)``.

    Args:
        predicted: ``(B, 2, h, w)``.
        flow: ``(B, 2, h, w)``, the true one.
        inside: ``(B, 1, h, w)``, 1 where it counts, 0 elsewhere.
    """
    distance = torch.sqrt((predicted - flow).square().sum(dim=1, keepdim=True) + _EPSILON)
    return (distance * inside).sum() / inside.sum().clamp(min=1)


@full_precision
def displacement_loss(logits: Tensor, displacement: Tensor, inside: Tensor) -> Tensor:
    """Return the cross-entropy of displacements against the true one, shared by the four whole ones around it.

    Args:
        logits: ``(B, (2 r + 1)^2, h, w)``, of whole displacements from ``-r`` to ``r`` along each axis, row
            by row.
        displacement: ``(B, 2, h, w)``, the true one in the same steps, x first.
        inside: ``(B, 1, h, w)``, 1 where it counts; what lies beyond ``r`` never does.
    """
    side = round(logits.shape[1] ** 0.5)
    radius = side // 2
    reached = inside * (displacement.abs().amax(dim=1, keepdim=True) < radius)
    place = displacement.clamp(-radius, radius - 1e-3) + radius
    whole = place.floor()
    part = place - whole
    x, y = whole.long().unbind(dim=1)
    likely = logits.log_softmax(dim=1)
    total = torch.zeros_like(reached)
    for right in (0, 1):
        for below in (0, 1):
            share = (part[:, :1] if right else 1 - part[:, :1]) * (part[:, 1:] if below else 1 - part[:, 1:])
            total = total - share * likely.gather(1, ((y + below) * side + x + right)[:, None])
    return (total * reached).sum() / reached.sum().clamp(min=1)
