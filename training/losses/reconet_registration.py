"""ReCoNet's registration loss: the flow is to undo a known deformation, and to be smooth.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image Fusion", ECCV
2022, section 2.4, equations 6 to 8.

**The truth.** The authors deform an infrared image by a random field ``phi_random`` and train towards
``-phi_random``, so the norm of equation 7 is that of a sum: ``||phi_pred + phi_random||^2``. They call that
target rough: the two fields live on different grids, and the one is the other's negative only where the
deformation does not change within its own length. Here the target is the exact inverse, the flow with
``registered(p) = infrared(p + flow(p))`` (:func:`fusion_ros.synthetic.misalign.inverse_field`), on the visible
grid like the prediction, and the norm is that of a difference: ``||phi_pred - flow||^2``. For a shift the two
are the same.

Flows are ``(B, 2, H, W)``, x first, in pixels. The paper gives no reductions and no units; means over pixels are
taken, so that no weight depends on the size of a crop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..precision import full_precision
from .gradients import forward_differences

__all__ = ["EdgeRegistrationLoss", "RegistrationLoss", "edge_registration_loss", "registration_loss"]


class RegistrationLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    similarity: Tensor
    smoothness: Tensor


class EdgeRegistrationLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    edges: Tensor
    positions: Tensor
    smoothness: Tensor


@full_precision
def registration_loss(
    predicted: Tensor, flow: Tensor, inside: Tensor | None = None, *, eta: float = 0.78
) -> RegistrationLoss:
    """Return ``eta L_sim + (1 - eta) L_smooth``, the paper's equation 6.

    ``L_sim = mean of |predicted - flow|^2``, in squared pixels (equation 7, see the module);
    ``L_smooth = mean |d phi / dx| + mean |d phi / dy|`` of both components together, by differences of
    neighbours (equation 8).

    Args:
        predicted: ``(B, 2, H, W)``, the network's flow.
        flow: ``(B, 2, H, W)``, the true one.
        inside: ``(B, 1, H, W)``, 1 where the true flow points into the infrared image, 0 where nothing could be
            seen of it; ``L_sim`` is the mean over the former. None takes all pixels.
        eta: Share of similarity against smoothness; the paper's is 0.78.
    """
    similarity = _mean_inside((predicted - flow).square().sum(dim=1, keepdim=True), inside)
    # Twice the mean over both components is the mean over pixels of their sum.
    smoothness = 2 * torch.stack([steps.abs().mean() for steps in forward_differences(predicted)]).sum()
    return RegistrationLoss(eta * similarity + (1 - eta) * smoothness, similarity, smoothness)


@full_precision
def edge_registration_loss(
    predicted: Tensor,
    flow: Tensor,
    moved_edges: Tensor,
    true_edges: Tensor,
    inside: Tensor | None = None,
    *,
    edge_weight: float,
    position_weight: float,
    smoothness_weight: float,
) -> EdgeRegistrationLoss:
    """Return the registration loss of the authors' later code (ReCo+), which has no default weights.

    Edges: mean squared difference of the two edge images. Positions: mean squared difference of the positions
    that are sampled, an image's width and height counting from -1 to 1. Smoothness: half the sum of the mean
    squared differences of neighbours in the moved edge image; it is not the flow that is smoothed.

    Args:
        predicted: ``(B, 2, H, W)``, the network's flow.
        flow: ``(B, 2, H, W)``, the true one.
        moved_edges: ``(B, 1, H, W)``, the infrared image's edges
            (:func:`fusion_ros.networks.edges.edge_magnitude`) warped by the predicted flow.
        true_edges: ``(B, 1, H, W)``, the registered infrared image's edges.
        inside: As for :func:`registration_loss`, for edges and positions; the authors take all pixels.
        edge_weight: Weight of the edges.
        position_weight: Weight of the positions.
        smoothness_weight: Weight of the smoothness.
    """
    height, width = flow.shape[-2:]
    unit = torch.tensor([2 / (width - 1), 2 / (height - 1)], dtype=flow.dtype, device=flow.device)
    edges = _mean_inside((moved_edges - true_edges).square(), inside)
    error = (predicted - flow) * unit[:, None, None]
    positions = _mean_inside(error.square().mean(dim=1, keepdim=True), inside)
    smoothness = torch.stack([steps.square().mean() for steps in forward_differences(moved_edges)]).mean()
    total = edge_weight * edges + position_weight * positions + smoothness_weight * smoothness
    return EdgeRegistrationLoss(total, edges, positions, smoothness)


def _mean_inside(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean of ``(B, 1, H, W)`` over the pixels inside; 0 where there are none."""
    if inside is None:
        return values.mean()
    return (values * inside).sum() / inside.sum().clamp(min=1)
