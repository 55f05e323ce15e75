"""Writes a PyTorch network as an OpenVINO graph, operation by operation.

OpenVINO's own converter does more and needs more: it runs the network to trace it, by a PyTorch
interface that is deprecated, and reports each use to its maker. Here the network's forward function is
read symbolically (``torch.fx``): nothing is run, and a graph of 3,000 operations takes a fifth of a second.
The sizes of the graph are fixed, so that arithmetic on sizes is done while it is written. A network that
uses an operation not listed in :mod:`fusion_ros.engines.openvino_operations` is refused with that
operation's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, fx, nn

from ..errors import EngineError
from .openvino_layers import constant, unknown
from .openvino_operations import FUNCTIONS, METHODS, MODULES
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
    except (fx.proxy.TraceError, TypeError) as error:
        raise EngineError(
            f"{type(network).__name__} cannot run on OpenVINO, what it computes depends on its inputs "
            f"({error}); set engine.name to torch"
        ) from error
    inputs = [ops.parameter(list(shape), np.float32) for shape in shapes]
    return openvino.Model([_Writer(traced).run(*inputs)], inputs, type(network).__name__)


class _Writer(fx.Interpreter):
    """Runs a traced network on graph nodes instead of tensors; sizes are plain numbers."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # a refusal speaks for itself

    def get_attr(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = super().get_attr(target, args, kwargs)
        return constant(value) if isinstance(value, Tensor) else value

    def call_module(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        module = self.fetch_attr(target)
        return _known(MODULES, type(module), f"module {type(module).__name__}")(module, *args, **kwargs)

    def call_function(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = f"function {getattr(target, '__name__', target)}"
        return _called(_known(FUNCTIONS, target, name), name, args, kwargs)

    def call_method(self, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = f"tensor method {target}"
        return _called(_known(METHODS, target, name), name, args, kwargs)


def _known(table: dict[Any, Callable[..., Any]], key: Any, text: str) -> Callable[..., Any]:
    if key not in table:
        raise unknown(text)
    return table[key]


def _called(operation: Callable[..., Any], text: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return operation(*args, **kwargs)
    except TypeError as error:  # an argument that the operation is not known with
        raise unknown(f"{text} with these arguments ({error})") from error
