"""Writes a PyTorch network as an OpenVINO graph, operation by operation.

OpenVINO's own converter does more and needs more: it runs the network to trace it, by a PyTorch
interface that is deprecated, and reports each use to its maker. Here the network's forward function is
read symbolically (``torch.fx``): nothing is run, and a graph of 3,000 operations takes a fifth of a second.
A network that uses an operation not listed below is refused with that operation's name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn

from ..errors import EngineError
from .openvino_runtime import openvino, ops

if TYPE_CHECKING:
    from openvino import Node

__all__ = ["openvino_graph"]


def openvino_graph(network: nn.Module, *shapes: tuple[int, ...]) -> openvino.Model:
    """Return ``network`` as a graph for inputs of fixed ``shapes``, all float32.

    Raises:
        EngineError: The network uses an operation that is not known here, or decides by its inputs'
            values or sizes what to compute.
    """
    try:
        traced = fx.symbolic_trace(network)
    except fx.proxy.TraceError as error:
        raise EngineError(
            f"{type(network).__name__} cannot run on OpenVINO, what it computes depends on its inputs "
            f"({error}); set engine.name to torch"
        ) from error
    inputs = [ops.parameter(list(shape), np.float32) for shape in shapes]
    return openvino.Model([_Writer(traced).run(*inputs)], inputs, type(network).__name__)


class _Writer(fx.Interpreter):
    """Runs a traced network on graph nodes instead of tensors."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # a refusal speaks for itself

    def call_module(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        module = self.fetch_attr(target)
        return _known(_MODULES, type(module), f"module {type(module).__name__}")(module, *args, **kwargs)

    def call_function(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        return _known(_FUNCTIONS, target, f"function {target.__name__}")(*args, **kwargs)

    def call_method(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        raise _unknown(f"tensor method {target}")


def _known(table: dict[Any, Callable[..., Node]], key: Any, text: str) -> Callable[..., Node]:
    if key not in table:
        raise _unknown(text)
    return table[key]


def _unknown(text: str) -> EngineError:
    return EngineError(f"{text} is not known to the OpenVINO engine; set engine.name to torch")


def _convolution(module: nn.Conv2d, data: Node) -> Node:
    if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise _unknown("a grouped convolution, or one padded otherwise than with a number of zeros,")
    pads, stride, dilation = list(module.padding), list(module.stride), list(module.dilation)
    result = ops.convolution(data, _constant(module.weight), stride, pads, pads, dilation)
    if module.bias is None:
        return result
    return ops.add(result, _constant(module.bias.reshape(1, -1, 1, 1)))


def _pad(data: Node, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Node:
    if mode != "constant" or len(pad) != 4:
        raise _unknown(f"padding of mode {mode!r} with {len(pad)} numbers")
    left, right, top, bottom = pad
    begin, end = np.array([0, 0, top, left]), np.array([0, 0, bottom, right])
    return ops.pad(data, begin, end, mode, np.float32(value or 0))


def _slice(data: Node, index: tuple[slice, ...]) -> Node:
    if not all(isinstance(part, slice) for part in index):
        raise _unknown(f"indexing by {index!r}")
    cut = [(axis, part) for axis, part in enumerate(index) if part != slice(None)]
    sizes = list(data.shape)
    limits = np.array([part.indices(sizes[axis]) for axis, part in cut])  # start, stop, step
    start, stop, step = np.ascontiguousarray(limits.T)
    return ops.slice(data, start, stop, step, np.array([axis for axis, _ in cut]))


def _concat(tensors: list[Node], dim: int = 0) -> Node:
    return ops.concat(list(tensors), dim) if len(tensors) > 1 else tensors[0]


def _constant(tensor: torch.Tensor) -> Node:
    return ops.constant(tensor.detach().float().cpu().numpy())


_MODULES: dict[type[nn.Module], Callable[..., Any]] = {nn.Conv2d: _convolution}

_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.add: ops.add,
    operator.getitem: _slice,
    operator.mul: ops.multiply,
    nn.functional.pad: _pad,
    torch.cat: _concat,
    torch.maximum: ops.maximum,
    torch.relu: ops.relu,
    torch.sigmoid: ops.sigmoid,
    torch.tanh: ops.tanh,
}
