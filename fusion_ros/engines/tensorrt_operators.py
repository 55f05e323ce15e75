"""Which operators of a network TensorRT can compute, told without a GPU.

``tensorrt_operators.yaml`` lists what torch_tensorrt converts, decomposes and removes; its head says from
which release. :func:`unsupported_operators` holds an exported network against it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.fx import GraphModule, Node

__all__ = ["KNOWN_GAPS", "OperatorList", "operator_list", "unsupported_operators"]

_LIST = Path(__file__).with_name("tensorrt_operators.yaml")
KNOWN_GAPS = {
    (
        "rfn_nest",
        "fusion=nuclear_norm",
    ): "needs singular values, for which TensorRT has no layer (aten._linalg_svd)",
}
"""(network, setting) -> why TensorRT cannot run that network with that setting; all else it can."""

_CASTS = {torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int32, torch.int64, torch.bool}
_INDEX_TYPES = {torch.int32, torch.int64, torch.bool}


@dataclass(frozen=True)
class OperatorList:
    """What one release of torch_tensorrt does with each operator.

    Attributes:
        version: The release.
        commit: Its commit.
        converted: Operators with a converter; a name without an overload stands for all overloads.
        replaced: Operators that are taken apart, removed or replaced before conversion.
        static_only: Operators whose converter needs fixed sizes.
        conditions: Operator -> what its converter takes, where it does not take every call.
    """

    version: str
    commit: str
    converted: frozenset[str]
    replaced: frozenset[str]
    static_only: frozenset[str]
    conditions: dict[str, str]


@cache
def operator_list() -> OperatorList:
    """Return the list that comes with the package."""
    data = yaml.safe_load(_LIST.read_text(encoding="utf-8"))
    return OperatorList(
        version=data["version"],
        commit=data["commit"],
        converted=frozenset([*data["converted"], *data["python"], *data["kept"]]),
        replaced=frozenset([*data["decomposed"], *data["lowered"]]),
        static_only=frozenset(data["static_only"]),
        conditions=data["conditions"],
    )


def unsupported_operators(program: torch.export.ExportedProgram) -> list[str]:
    """Return what TensorRT could not compute of ``program``, one line for each operator; empty where it can all.

    The program is decomposed first, as torch_tensorrt does before it converts. PyTorch's own decompositions
    stand in for torch_tensorrt's: an operator with a converter is left whole, all others are taken apart as
    far as PyTorch can. The conditions of converters are checked where the graph shows them (modes, types,
    unused results); what TensorRT itself refuses while it builds cannot be seen here.
    """
    listed = operator_list()
    decomposed = program.run_decompositions(_decompositions(listed))
    found = {}
    for node in _calls(decomposed.graph_module):
        reason = _reason(node, listed)
        if reason:
            found[_name(node.target)] = reason
    return [f"{name}: {reason}" for name, reason in sorted(found.items())]


def _decompositions(listed: OperatorList) -> dict[Any, Callable[..., Any]]:
    """Return PyTorch's decompositions without those of operators that have a converter."""
    table = torch.export.default_decompositions()
    return {
        target: table[target]
        for target in list(table)
        if not _is_in(_name(target), listed.converted) or _is_in(_name(target), listed.replaced)
    }


def _calls(module: GraphModule) -> Iterator[Node]:
    for part in module.modules():
        if isinstance(part, GraphModule):
            yield from (node for node in part.graph.nodes if node.op == "call_function" and not _is_asserted(node))


def _is_asserted(node: Node) -> bool:
    """Tell whether a value serves an assertion alone, and goes with it."""
    return bool(node.users) and all(_name(user.target) == "aten._assert_scalar.default" for user in node.users)


def _reason(node: Node, listed: OperatorList) -> str:
    name = _name(node.target)
    if node.target is operator.getitem or _is_in(name, listed.replaced):
        return ""
    if not _is_in(name, listed.converted):
        return "no converter"
    if name in listed.static_only and _has_symbolic_size(node):
        return "fixed sizes only"
    check = _CHECKS.get(name)
    return listed.conditions[name] if check is not None and not check(node) else ""


def _name(target: Any) -> str:
    return str(target) if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", str(target))


def _is_in(name: str, names: frozenset[str]) -> bool:
    return name in names or (name.count(".") == 2 and name.rpartition(".")[0] in names)


def _has_symbolic_size(node: Node) -> bool:
    values = [argument.meta.get("val") for argument in [node, *node.all_input_nodes]]
    sizes = [size for value in values if isinstance(value, torch.Tensor) for size in value.shape]
    return any(isinstance(size, torch.SymInt) for size in sizes)


def _uses_first_result_only(node: Node) -> bool:
    return all(user.target is operator.getitem and user.args[1] == 0 for user in node.users)


def _argument(node: Node, position: int, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else default


def _pools_plainly_by_mean(node: Node) -> bool:
    return not _argument(node, 4, False) and _argument(node, 6, None) is None


def _pools_plainly_by_maximum(node: Node) -> bool:
    dilation = _argument(node, 4, 1)
    dilations = dilation if isinstance(dilation, (list, tuple)) else [dilation]
    return all(step == 1 for step in dilations) and not _argument(node, 5, False)


def _indexes_by_integers(node: Node) -> bool:
    return all(index is None or index.meta["val"].dtype in _INDEX_TYPES for index in node.args[1])


def _is_logical(node: Node) -> bool:
    return all(argument.meta["val"].dtype == torch.bool for argument in node.all_input_nodes)


def _sorts_few(node: Node) -> bool:
    dim = _argument(node, 1, -1)
    return node.args[0].meta["val"].shape[dim] <= 3840


_FIRST_RESULT_ONLY = (
    "aten._native_batch_norm_legit.no_stats",
    "aten._native_batch_norm_legit_no_training.default",
    "aten.max.dim",
    "aten.min.dim",
    "aten.native_batch_norm.default",
    "aten.native_group_norm.default",
)
_LOGICAL = (
    "aten.bitwise_and.Tensor",
    "aten.bitwise_or.Tensor",
    "aten.bitwise_xor.Tensor",
    "aten.bitwise_not.default",
)
_CHECKS: dict[str, Callable[[Node], bool]] = {
    **dict.fromkeys(_FIRST_RESULT_ONLY, _uses_first_result_only),
    **dict.fromkeys(_LOGICAL, _is_logical),
    **dict.fromkeys([f"aten.avg_pool{n}d.default" for n in (1, 2, 3)], _pools_plainly_by_mean),
    **dict.fromkeys([f"aten.max_pool{n}d.default" for n in (1, 2, 3)], _pools_plainly_by_maximum),
    **dict.fromkeys(["aten.index.Tensor", "aten.index_put.default"], _indexes_by_integers),
    "aten._to_copy.default": lambda node: node.kwargs.get("dtype") in _CASTS,
    "aten.sort.default": _sorts_few,
}
"""Operator -> whether its converter takes this call; the words for it are in the list."""
