"""How a batch changes the weights: precision, gradients of several processes, clipping, optimiser, average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from . import distributed
from .average import Average
from .batch import Batch
from .recipe import Losses, Stage

__all__ = ["PRECISIONS", "Learner", "NotFinite"]

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Arithmetic of the network's convolutions and matrix products, by name.

Weights, their gradients and all else are float32; so are losses, by :func:`.precision.full_precision`.
"""


class NotFinite(ArithmeticError):
    """The loss or its gradient is infinite or not a number."""


class Learner:
    """What learns in one stage: the parameters of ``stage.trained``; all others of the network are held fixed.

    Args:
        network: The recipe's.
        stage: The stage, with its loss and its optimiser.
        precision: One of :data:`PRECISIONS`; the gradients of float16 are scaled.
        clip_norm: Norm to which a longer gradient is shortened; 0 leaves it as it is.
        ema_decay: Decay of the moving average of the weights; 0 keeps none.

    Attributes:
        average: The moving average, or None.
    """

    def __init__(
        self, network: nn.Module, stage: Stage, *, precision: str, clip_norm: float, ema_decay: float
    ) -> None:
        network.requires_grad_(False)
        for module in stage.trained:
            module.requires_grad_(True)
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimiser = stage.optimiser(self._parameters)
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._device = next(network.parameters()).device
        self._precision = PRECISIONS[precision]
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=precision == "float16")
        self._clip_norm = clip_norm or math.inf
        self._losses = distributed.parallel(_LossOf(network, stage))
        self.average = Average(network, ema_decay) if ema_decay else None

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def rate(self) -> float:
        """Learning rate of the last step, of the optimiser's first group."""
        return self._optimiser.param_groups[0]["lr"]

    def step(self, batch: Batch, number: int, rate: float) -> tuple[dict[str, float], float]:
        """Change the weights once.

        Args:
            batch: On the network's device.
            number: Of this step in its stage, from 1.
            rate: Factor of the learning rate.

        Returns:
            The losses before the change, as means over all processes, and the norm of the gradient.

        Raises:
            NotFinite: The loss or the gradient is not finite; the weights are as they were.
        """
        for group, initial in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = initial * rate
        with distributed.together():
            with torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32):
                losses = self._losses(batch)
            values = _finite(losses)
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(losses["total"]).backward()
        norm = self._gradient_norm()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self.average:
            self.average.update(number)
        return distributed.mean(values), norm

    def _gradient_norm(self) -> float:
        """Shorten the gradient to the norm that is allowed, and return the norm that it had."""
        self._scaler.unscale_(self._optimiser)
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._clip_norm))
        # A scaler leaves such a step out and scales less from then on; without one the weights would be lost.
        if not math.isfinite(norm) and self._scaler.get_scale() <= 1:
            raise NotFinite(f"the gradient is not finite (its norm is {norm})")
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on, beside the network's tensors."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` has returned; the network has its tensors already."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.load_state_dict(state["average"])


class _LossOf(nn.Module):
    """A stage's loss as a module, the form in which several processes can share its gradients."""

    def __init__(self, network: nn.Module, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self._losses = stage.losses

    def forward(self, batch: Batch) -> Losses:
        return self._losses(batch)


def _finite(losses: Losses) -> dict[str, float]:
    """Return the losses as numbers, in one transfer from the device."""
    numbers = torch.stack([loss.detach().double() for loss in losses.values()]).tolist()
    values = dict(zip(losses, numbers, strict=True))
    if not math.isfinite(values["total"]):
        parts = ", ".join(f"{name} {value}" for name, value in values.items() if not math.isfinite(value))
        raise NotFinite(f"the loss is not finite ({parts})")
    return values
