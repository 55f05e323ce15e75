"""PyTorch's operations on shapes and parts of tensors, in OpenVINO's; see :mod:`.openvino_operations`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .openvino_layers import shape_of, unknown
from .openvino_runtime import openvino, ops

if TYPE_CHECKING:
    from openvino import Node

__all__ = [
    "GRAPH",
    "chunk",
    "concat",
    "expand",
    "flatten",
    "item",
    "permute",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "unflatten",
    "unsqueeze",
]

GRAPH = (openvino.Node, openvino.Output)
"""What stands for a tensor in a graph."""


def item(data: Any, index: Any) -> Any:
    """Return a slice of a node; also an element of a size or of several results."""
    if not isinstance(data, GRAPH):
        return data[index]
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        missing = len(data.shape) - sum(part is not None for part in index) + 1
        index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
    if not all(isinstance(part, (int, slice)) or part is None for part in index):
        raise unknown(f"indexing by {index!r}")
    kept = [part for part in index if part is not None]
    spans = [slice(part, part + 1 or None) if isinstance(part, int) else part for part in kept]
    cut = [(axis, part.indices(size)) for axis, (part, size) in enumerate(zip(spans, data.shape, strict=False))
           if part != slice(None)]  # fmt: skip
    if cut:
        start, stop, step = np.ascontiguousarray(np.array([limits for _, limits in cut]).T)
        data = ops.slice(data, start, stop, step, np.array([axis for axis, _ in cut]))
    dropped = [axis for axis, part in enumerate(kept) if isinstance(part, int)]
    if dropped:
        data = ops.squeeze(data, np.array(dropped))
    new = [axis for axis, part in enumerate(p for p in index if not isinstance(p, int)) if part is None]
    return ops.unsqueeze(data, np.array(new)) if new else data


def concat(tensors: Sequence[Node], dim: int = 0) -> Node:
    """Join nodes along an axis."""
    return ops.concat(list(tensors), dim) if len(tensors) > 1 else tensors[0]


def stack(tensors: Sequence[Node], dim: int = 0) -> Node:
    """Join nodes along a new axis."""
    rank = len(tensors[0].shape) + 1
    return concat([ops.unsqueeze(tensor, np.array([dim % rank])) for tensor in tensors], dim % rank)


def split(data: Node, sizes: int | Sequence[int], dim: int = 0) -> list[Node]:
    """Return parts of given lengths along an axis."""
    length = shape_of(data)[dim]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    ends = np.cumsum([0, *sizes])
    spans = itertools.pairwise(ends)
    axis = dim % len(data.shape)
    return [item(data, (*[slice(None)] * axis, slice(int(start), int(end)))) for start, end in spans]


def chunk(data: Node, chunks: int, dim: int = 0) -> list[Node]:
    """Return so many parts of about equal length."""
    return split(data, -(-shape_of(data)[dim] // chunks), dim)


def reshape(data: Node, *shape: Any) -> Node:
    """Return the same values in another shape."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    return ops.reshape(data, np.array(sizes, np.int64), special_zero=False)


def flatten(data: Node, start_dim: int = 0, end_dim: int = -1) -> Node:
    """Return several axes as one."""
    shape = list(shape_of(data))
    end = end_dim % len(shape)
    return reshape(data, [*shape[:start_dim], -1, *shape[end + 1 :]])


def unflatten(data: Node, dim: int, sizes: Sequence[int]) -> Node:
    """Return one axis as several."""
    shape = list(shape_of(data))
    axis = dim % len(shape)
    return reshape(data, [*shape[:axis], *sizes, *shape[axis + 1 :]])


def permute(data: Node, *order: Any) -> Node:
    """Return the axes in another order."""
    axes = order[0] if len(order) == 1 else order
    return ops.transpose(data, np.array([axis % len(data.shape) for axis in axes]))


def transpose(data: Node, first: int, second: int) -> Node:
    """Return two axes exchanged."""
    order = list(range(len(data.shape)))
    order[first], order[second] = order[second], order[first]
    return ops.transpose(data, np.array(order))


def expand(data: Node, *shape: Any) -> Node:
    """Repeat axes of length 1; -1 keeps one as it is."""
    sizes = list(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)
    own = [1] * (len(sizes) - len(data.shape)) + list(shape_of(data))
    target = [mine if wanted == -1 else wanted for mine, wanted in zip(own, sizes, strict=True)]
    return ops.broadcast(data, np.array(target))


def unsqueeze(data: Node, dim: int) -> Node:
    """Return it with an axis of length 1 more."""
    return ops.unsqueeze(data, np.array([dim % (len(data.shape) + 1)]))


def squeeze(data: Node, dim: int) -> Node:
    """Return it with an axis of length 1 less."""
    return ops.squeeze(data, np.array([dim]))
