"""What a recipe gives to the training loop: a network, the stages that train it, and how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .batch import Batch

__all__ = ["Batches", "Losses", "Recipe", "Stage"]

Losses = dict[str, Tensor]
"""Scalar tensors by name; ``total`` is minimised, the others are reported."""


class Batches(Protocol):
    """Where the batches of a stage come from; each is a function of seed, epoch and step alone."""

    steps_per_epoch: int

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` (from 1), on the CPU, beginning with ``first_step`` (from 0)."""


@dataclass(frozen=True)
class Stage:
    """A part of training with parameters, batches and a loss of its own; stages follow one another.

    Attributes:
        name: For progress, history and errors; unique in its recipe.
        epochs: Passes over the batches.
        batches: What it is trained on.
        losses: The loss of one batch, on the network's device.
        trained: The modules whose parameters change; all others are held fixed.
        optimiser: Makes the optimiser of these parameters, with the rate at the start.
        rate: Factor of the learning rate at ``progress`` in [0, 1) of this stage.
        prepare: Puts the network into the mode in which an epoch (from 1, of this stage) trains it.
    """

    name: str
    epochs: int
    batches: Batches
    losses: Callable[[Batch], Losses]
    trained: Sequence[nn.Module]
    optimiser: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]
    rate: Callable[[float], float]
    prepare: Callable[[int], None]


class Recipe(ABC):
    """How one method is trained.

    Attributes:
        network: What is trained, validated and published, on its device.
        stages: In the order of training.
    """

    network: nn.Module
    stages: Sequence[Stage]

    @abstractmethod
    def validate(self, stage: Stage) -> dict[str, float]:
        """Return ``loss`` and metrics of the network as it is, in inference mode, over the validation pairs.

        The network whose ``loss`` is lowest in the last stage is the one that is published.
        """

    def pictures(self, stage: Stage) -> Mapping[str, np.ndarray]:
        """Return pictures of a validation pair to look at, by name: ``(H, W)`` or ``(H, W, 3)`` uint8 RGB."""
        return {}
