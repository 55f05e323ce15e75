"""ReCoNet's joint loss of fusion and registration.

Huang et al., "ReCoNet: Recurrent Correction Network for Fast and Efficient Multi-modality Image
Fusion", ECCV 2022, section 2.4, equation 2.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..precision import full_precision
from .reconet_fusion import FusionLoss, fusion_loss
from .reconet_registration import RegistrationLoss, registration_loss

__all__ = ["FusionLoss", "JointLoss", "RegistrationLoss", "fusion_loss", "joint_loss", "registration_loss"]


class JointLoss(NamedTuple):
    """The loss and its parts, each a scalar tensor, the parts without their weights in ``total``."""

    total: Tensor
    fusion: Tensor
    registration: Tensor


@full_precision
def joint_loss(fusion: Tensor, registration: Tensor, *, fusion_share: float = 0.6) -> JointLoss:
    """Return ``lambda L_fuse + (1 - lambda) L_reg`` of two totals, lambda being ``fusion_share``."""
    return JointLoss(fusion_share * fusion + (1 - fusion_share) * registration, fusion, registration)
