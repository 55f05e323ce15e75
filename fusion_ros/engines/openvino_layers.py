"""Convolution, pooling, padding and resampling in OpenVINO's operations.

Every function is called as its PyTorch original (``torch.nn.functional``) is, with graph nodes for tensors;
those for modules take the module first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..errors import EngineError
from .openvino_runtime import openvino, ops

if TYPE_CHECKING:
    from openvino import Node

__all__ = [
    "adaptive_avg_pool",
    "avg_pool",
    "batch_norm",
    "constant",
    "conv2d",
    "convolution",
    "grid_sample",
    "interpolate",
    "linear",
    "max_pool",
    "pad",
    "prelu",
    "shape_of",
    "unknown",
]

_PAD_MODES = {"constant": "constant", "zeros": "constant", "reflect": "reflect", "replicate": "edge"}


def unknown(text: str) -> EngineError:
    """Return the refusal of an operation."""
    return EngineError(f"{text} is not known to the OpenVINO engine; set engine.name to torch")


def constant(tensor: torch.Tensor) -> Node:
    """Return a tensor's present values as a node; floating point becomes float32."""
    values = tensor.detach().cpu()
    return ops.constant((values.float() if values.is_floating_point() else values).contiguous().numpy())


def _two(value: float | Sequence[float]) -> list[Any]:
    return [value, value] if isinstance(value, (int, float)) else list(value)


def pad(data: Node, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Node:
    if mode not in _PAD_MODES or len(pad) not in (2, 4):
        raise unknown(f"padding of mode {mode!r} with {len(pad)} numbers")
    amounts = np.zeros((2, len(data.shape)), np.int64)
    for axis, pair in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        amounts[:, -1 - axis] = pair
    if not amounts.any():
        return data
    if amounts.min() < 0 and mode != "constant":  # cropping, to PyTorch and to OpenVINO
        raise unknown(f"padding of mode {mode!r} by a negative number")
    return ops.pad(data, *np.ascontiguousarray(amounts), _PAD_MODES[mode], np.float32(value or 0))


def conv2d(
    data: Node,
    weight: Node,
    bias: Node | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Node:
    if isinstance(padding, str):
        raise unknown(f"a convolution with padding {padding!r}")
    geometry = _two(stride), _two(padding), _two(padding), _two(dilation)
    if groups == 1:
        result = ops.convolution(data, weight, *geometry)
    else:
        outputs, inputs, *kernel = shape_of(weight)
        grouped = ops.reshape(weight, np.array([groups, outputs // groups, inputs, *kernel]), special_zero=False)
        result = ops.group_convolution(data, grouped, *geometry)
    return result if bias is None else ops.add(result, ops.reshape(bias, np.array([1, -1, 1, 1]), False))


def convolution(module: nn.Conv2d, data: Node) -> Node:
    padding = module.padding
    if padding == "same" and any(size % 2 == 0 for size in module.kernel_size):
        raise unknown("a convolution of an even size with padding 'same'")
    if padding == "same":
        padding = [d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if module.padding_mode != "zeros":
        data = pad(data, module._reversed_padding_repeated_twice, module.padding_mode)
        padding = 0
    bias = None if module.bias is None else constant(module.bias)
    return conv2d(data, constant(module.weight), bias, module.stride, padding, module.dilation, module.groups)


def batch_norm(module: nn.BatchNorm2d, data: Node) -> Node:
    with torch.no_grad():
        scale = torch.rsqrt(module.running_var.double() + module.eps)
        scale = scale if module.weight is None else scale * module.weight
        offset = -module.running_mean * scale
        offset = offset if module.bias is None else offset + module.bias
    shaped = (constant(values.reshape(1, -1, 1, 1)) for values in (scale, offset))
    return ops.add(ops.multiply(data, next(shaped)), next(shaped))


def linear(module: nn.Linear, data: Node) -> Node:
    result = ops.matmul(data, constant(module.weight), False, True)
    return result if module.bias is None else ops.add(result, constant(module.bias))


def prelu(module: nn.PReLU, data: Node) -> Node:
    return ops.prelu(data, constant(module.weight))


def max_pool(
    data: Node, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Node:  # fmt: skip
    # return_indices is False: torch has another function that returns them.
    rounding = "ceil_torch" if ceil_mode else "floor"
    strides = _two(kernel_size if stride is None else stride)
    pads = _two(padding)
    pooled = openvino.opset14.max_pool(data, strides, _two(dilation), pads, pads, _two(kernel_size), rounding)
    return pooled.output(0)


def avg_pool(
    data: Node, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Node:  # fmt: skip
    if divisor_override is not None or ceil_mode:
        raise unknown("average pooling with a divisor of its own or in ceil mode")
    strides = _two(kernel_size if stride is None else stride)
    pads = _two(padding)
    return ops.avg_pool(data, strides, pads, pads, _two(kernel_size), not count_include_pad)


def adaptive_avg_pool(data: Node, output_size: Any) -> Node:
    if _two(output_size) != [1, 1]:
        raise unknown("adaptive average pooling to more than one value")
    return ops.reduce_mean(data, np.array([2, 3]), True)


def interpolate(
    data: Node, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Node:  # fmt: skip
    if mode not in ("nearest", "bilinear") or antialias:
        raise unknown(f"resizing of mode {mode!r}")
    height, width = shape_of(data)[-2:]
    factors = [1.0, 1.0] if scale_factor is None else [float(factor) for factor in _two(scale_factor)]
    if size is None:
        size = [int(height * factors[0]), int(width * factors[1])]
    target = np.array(_two(size), np.int64)
    # PyTorch derives the coordinates from the sizes, or from the factor where only that is given.
    by_factor = scale_factor is not None and not recompute_scale_factor
    scales = np.array(factors if by_factor else target / [height, width], np.float32)
    how = {"nearest": ("nearest", "asymmetric"), "bilinear": ("linear_onnx", "half_pixel")}[mode]
    coordinates = "align_corners" if align_corners else how[1]
    return ops.interpolate(
        data,
        scales if by_factor else target,
        how[0],
        "scales" if by_factor else "sizes",
        axes=np.array([2, 3]),
        coordinate_transformation_mode=coordinates,
        nearest_mode="floor",
    )


def grid_sample(
    data: Node, grid: Node, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Node:
    attributes = {"align_corners": bool(align_corners), "mode": mode, "padding_mode": padding_mode}
    return ops.grid_sample(data, grid, attributes)


def shape_of(data: Node) -> tuple[int, ...]:
    """Return the fixed sizes of a node."""
    return tuple(data.shape)
