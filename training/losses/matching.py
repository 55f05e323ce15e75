"""Losses of registers that match: how far the flow is off, whether it holds together with another one, and whether
the right displacement was recognised.

Classification learns where regression does not begin to: it is told which of the displacements is the right one,
also while all of them look alike. Kendall et al., "End-to-End Learning of Geometry and Context for Deep Stereo
Regression" (GC-Net), ICCV 2017, section 3.4, for the soft arg-max; the classes next to the truth share it, as in
Tulyakov et al., "Practical Deep Stereo", NeurIPS 2018, but linearly.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_ros.networks.flow import warp

from ..precision import full_precision

__all__ = ["composed", "displacement_loss", "endpoint_loss", "remaining", "smoothed"]

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


@full_precision
def composed(rest: Tensor, flow: Tensor, pitch: int) -> Tensor:
    """Return the flow that does what ``flow`` does and then ``rest``: ``rest(p) + flow(p + rest(p))``.

    The differentiable twin of :func:`fusion_ros.alignment.learned.composed`.

    Args:
        rest: ``(B, 2, h, w)``, found on the image that ``flow`` has moved, in pixels.
        flow: Likewise; beyond its border it goes on as at the border.
        pitch: Pixels from one value of the flows to the next.
    """
    return rest + warp(flow, rest / pitch, "replicate")


@full_precision
def remaining(flow: Tensor, found: Tensor, pitch: int) -> Tensor:
    """Return what remains of a flow when ``found`` has been applied: what, composed with it, gives the flow.

    To first order, which for smooth fields is a few hundredths of what remains.

    Args:
        flow: ``(B, 2, h, w)``, the whole one, in pixels.
        found: Likewise, the part of it that was found.
        pitch: As of :func:`composed`.
    """
    return flow - warp(found, (flow - found) / pitch, "replicate")


@full_precision
def smoothed(flow: Tensor, sigma: float) -> Tensor:
    """Return flows ``(B, 2, h, w)`` under a Gaussian of ``sigma`` values; beyond the border they are as there."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1.0, device=flow.device, dtype=flow.dtype)
    weights = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0).expand(2, 1, 1, -1)
    flow = F.conv2d(F.pad(flow, (reach, reach, 0, 0), mode="replicate"), weights, groups=2)
    return F.conv2d(F.pad(flow, (0, 0, reach, reach), mode="replicate"), weights.mT, groups=2)
