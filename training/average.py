"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """The exponential moving average of all tensors of a network, of its parameters and buffers alike.

    ``average <- d average + (1 - d) weights`` after every step, with ``d = min(decay, (1 + n) / (10 + n))`` at
    step ``n``, the decay of TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``: without it the random
    weights of the beginning would stay in the average for some ``1 / (1 - decay)`` steps. Whole numbers, such as
    the counters of batch normalisation, are copied.

    Args:
        network: What is averaged; the average begins with its tensors as they are.
        decay: Share of the old average that a step keeps, in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def update(self, step: int) -> None:
        """Take in the network's tensors after step ``step``, from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in self._network.state_dict().items():
            if tensor.is_floating_point():
                self._tensors[name].lerp_(tensor, 1 - decay)
            else:
                self._tensors[name].copy_(tensor)

    def put_into_network(self) -> None:
        """Make the average the network's own tensors."""
        self._network.load_state_dict(self._tensors)

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """Lend the average to the network for the time of the body."""
        own = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        self.put_into_network()
        try:
            yield
        finally:
            self._network.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged tensors, by the network's names."""
        return self._tensors

    @torch.no_grad()
    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over tensors that :meth:`state_dict` has returned."""
        for name, tensor in tensors.items():
            self._tensors[name].copy_(tensor)
