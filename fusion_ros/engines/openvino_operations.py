"""PyTorch's operations in OpenVINO's, as far as the networks here use them.

Every function takes graph nodes where its PyTorch original takes tensors. The three tables at the end are
what :mod:`fusion_ros.engines.openvino_graph` looks operations up in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .openvino_layers import (
    adaptive_avg_pool,
    avg_pool,
    batch_norm,
    conv2d,
    convolution,
    grid_sample,
    interpolate,
    linear,
    max_pool,
    pad,
    prelu,
    shape_of,
    unknown,
)
from .openvino_runtime import ops
from .openvino_shapes import (
    GRAPH,
    chunk,
    concat,
    expand,
    flatten,
    item,
    permute,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
    unflatten,
    unsqueeze,
)

if TYPE_CHECKING:
    from openvino import Node

__all__ = ["FUNCTIONS", "METHODS", "MODULES"]


def _elementwise(on_nodes: Callable[..., Node], on_numbers: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation that serves nodes and, where sizes are computed, plain numbers."""

    def apply(*arguments: Any) -> Any:
        if not any(isinstance(argument, GRAPH) for argument in arguments):
            return on_numbers(*arguments)
        return on_nodes(*(a if isinstance(a, GRAPH) else np.float32(a) for a in arguments))

    return apply


def _attribute(data: Any, name: str) -> Any:
    if isinstance(data, GRAPH):
        if name == "shape":
            return shape_of(data)
        if name in ("device", "dtype"):
            return None  # of no meaning in a graph; only handed on to functions that make constants
        raise unknown(f"tensor attribute {name}")
    return getattr(data, name)


def _leaky_relu(data: Node, negative_slope: float = 0.01, inplace: bool = False) -> Node:
    return ops.prelu(data, ops.constant(np.array([negative_slope], np.float32)))


def _gelu(data: Node, approximate: str = "none") -> Node:
    return ops.gelu(data, "erf" if approximate == "none" else "tanh")


def _clamp(data: Node, min: Any = None, max: Any = None) -> Node:
    if min is not None:
        data = ops.maximum(data, np.float32(min) if isinstance(min, (int, float)) else min)
    if max is not None:
        data = ops.minimum(data, np.float32(max) if isinstance(max, (int, float)) else max)
    return data


def _reduction(reduce: Callable[..., Node]) -> Callable[..., Node]:
    def apply(data: Node, dim: Any = None, keepdim: bool = False, **_: Any) -> Node:
        axes = range(len(data.shape)) if dim is None else [dim] if isinstance(dim, int) else dim
        return reduce(data, np.array(list(axes), np.int64), keepdim)

    return apply


def _softmax(data: Node, dim: int, **_: Any) -> Node:
    return ops.softmax(data, dim % len(data.shape))


def _arange(*limits: float, **_: Any) -> Node:
    values = np.arange(*limits)
    return ops.constant(values.astype(np.float32))


def _cumulative_sum(data: Node, dim: int) -> Node:
    return ops.cum_sum(data, np.array(dim % len(data.shape)))


def _matmul(first: Node, second: Node) -> Node:
    return ops.matmul(first, second, False, False)


def _where(condition: Node, first: Any, second: Any) -> Node:
    branches = [
        value if isinstance(value, GRAPH) else ops.constant(np.float32(value)) for value in (first, second)
    ]
    return ops.select(condition, *branches)


def _ones_like(data: Node) -> Node:
    return ops.broadcast(np.float32(1), np.array(shape_of(data)))


def _scatter_add(data: Node, dim: int, index: Node, source: Node) -> Node:
    return ops.scatter_elements_update(data, index, source, np.int64(dim), "sum")


def _same(data: Any, *_: Any, **__: Any) -> Any:
    return data


def _floor_divide(first: Any, second: Any) -> Node:
    return ops.floor(ops.divide(first, second))


_add = _elementwise(ops.add, operator.add)
_subtract = _elementwise(ops.subtract, operator.sub)
_multiply = _elementwise(ops.multiply, operator.mul)
_divide = _elementwise(ops.divide, operator.truediv)
_negate = _elementwise(ops.negative, operator.neg)
_mean, _sum = _reduction(ops.reduce_mean), _reduction(ops.reduce_sum)
_amax, _amin = _reduction(ops.reduce_max), _reduction(ops.reduce_min)

MODULES: dict[type[nn.Module], Callable[..., Any]] = {
    nn.AdaptiveAvgPool2d: lambda module, data: adaptive_avg_pool(data, module.output_size),
    nn.BatchNorm2d: batch_norm,
    nn.Conv2d: convolution,
    nn.GELU: lambda module, data: _gelu(data, module.approximate),
    nn.Identity: lambda module, data: data,
    nn.LeakyReLU: lambda module, data: _leaky_relu(data, module.negative_slope),
    nn.Linear: linear,
    nn.MaxPool2d: lambda module, data: max_pool(
        data, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
    ),
    nn.PReLU: prelu,
    nn.ReLU: lambda module, data: ops.relu(data),
    nn.Sigmoid: lambda module, data: ops.sigmoid(data),
    nn.Tanh: lambda module, data: ops.tanh(data),
    nn.Upsample: lambda module, data: interpolate(
        data, module.size, module.scale_factor, module.mode, module.align_corners
    ),
}
"""Module class -> its operation, called with the module and its inputs."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    F.adaptive_avg_pool2d: adaptive_avg_pool,
    F.avg_pool2d: avg_pool,
    F.conv2d: conv2d,
    F.gelu: _gelu,
    F.grid_sample: grid_sample,
    F.interpolate: interpolate,
    F.leaky_relu: _leaky_relu,
    F.max_pool2d: max_pool,
    F.pad: pad,
    F.pixel_shuffle: lambda data, factor: ops.depth_to_space(data, "depth_first", factor),
    F.pixel_unshuffle: lambda data, factor: ops.space_to_depth(data, "depth_first", factor),
    F.relu: lambda data, inplace=False: ops.relu(data),
    F.sigmoid: ops.sigmoid,
    F.softmax: _softmax,
    F.tanh: ops.tanh,
    getattr: _attribute,
    operator.add: _add,
    operator.floordiv: _elementwise(_floor_divide, operator.floordiv),
    operator.getitem: item,
    operator.gt: _elementwise(ops.greater, operator.gt),
    operator.matmul: _matmul,
    operator.mod: _elementwise(ops.floor_mod, operator.mod),
    operator.mul: _multiply,
    operator.neg: _negate,
    operator.pow: _elementwise(ops.power, operator.pow),
    operator.sub: _subtract,
    operator.truediv: _divide,
    torch.abs: ops.abs,
    torch.add: _add,
    torch.amax: _amax,
    torch.amin: _amin,
    torch.arange: _arange,
    torch.cat: concat,
    torch.chunk: chunk,
    torch.clamp: _clamp,
    torch.conv2d: conv2d,
    torch.cumsum: _cumulative_sum,
    torch.div: _divide,
    torch.exp: ops.exp,
    torch.flatten: flatten,
    torch.gather: lambda data, dim, index: ops.gather_elements(data, index, dim),
    torch.matmul: _matmul,
    torch.maximum: ops.maximum,
    torch.mean: _mean,
    torch.minimum: ops.minimum,
    torch.mul: _multiply,
    torch.ones_like: _ones_like,
    torch.relu: ops.relu,
    torch.reshape: reshape,
    torch.round: lambda data: ops.round(data, "half_to_even"),
    torch.scatter_add: _scatter_add,
    torch.sigmoid: ops.sigmoid,
    torch.sign: ops.sign,
    torch.softmax: _softmax,
    torch.split: split,
    torch.sqrt: ops.sqrt,
    torch.stack: stack,
    torch.sub: _subtract,
    torch.sum: _sum,
    torch.tanh: ops.tanh,
    torch.unsqueeze: unsqueeze,
    torch.where: _where,
}
"""Function -> its operation, called as the function is."""

METHODS: dict[str, Callable[..., Any]] = {
    "abs": ops.abs,
    "add": _add,
    "amax": _amax,
    "amin": _amin,
    "chunk": chunk,
    "clamp": _clamp,
    "contiguous": _same,
    "div": _divide,
    "exp": ops.exp,
    "expand": expand,
    "flatten": flatten,
    "float": _same,
    "long": lambda data: ops.convert(data, "i64"),
    "mean": _mean,
    "mul": _multiply,
    "permute": permute,
    "relu": ops.relu,
    "reshape": reshape,
    "sigmoid": ops.sigmoid,
    "sign": ops.sign,
    "size": lambda data, dim=None: shape_of(data) if dim is None else shape_of(data)[dim],
    "softmax": _softmax,
    "split": split,
    "sqrt": ops.sqrt,
    "squeeze": squeeze,
    "sub": _subtract,
    "sum": _sum,
    "tanh": ops.tanh,
    "to": _same,
    "transpose": transpose,
    "unflatten": unflatten,
    "unsqueeze": unsqueeze,
    "view": reshape,
}
"""Name of a tensor's method -> its operation, called with the tensor and the arguments."""
