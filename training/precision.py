"""Full precision for what half of it spoils: losses, and what is drawn for the network to see.

Under autocast a convolution or a matrix product is computed, and given, in half precision, whatever its inputs
are. For a network that is what was asked for. A variance as the difference of two means, a Gram matrix of
values up to 255 or a position in pixels is wrong by more than its own size then, or infinite.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["full_precision"]

P = ParamSpec("P")
T = TypeVar("T")
_HALVES = (torch.float16, torch.bfloat16)


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of tensors: it is computed without autocast, and half precision inputs become float32.

    Tensors may be arguments or lie in tuples and lists; what is float32 or float64 stays so. Gradients pass.
    """

    @functools.wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> T:
        kind = next((tensor.device.type for tensor in _tensors((args, tuple(kwargs.values())))), "cpu")
        with torch.autocast(kind, enabled=False):
            return function(*map(_full, args), **{name: _full(value) for name, value in kwargs.items()})

    return computed


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _full(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALVES else value
    if isinstance(value, (tuple, list)):
        parts = [_full(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
