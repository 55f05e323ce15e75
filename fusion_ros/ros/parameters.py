"""ROS parameters made from a settings class: names, defaults, descriptions and bounds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ..errors import SettingsError, nearest_name
from ..settings import SettingField, Settings

__all__ = ["declare", "refuse_unknown", "reject", "updated"]

S = TypeVar("S", bound=Settings)
_INT64 = 2**63 - 1
# Parameters that rclpy itself declares from overrides.
_RCLPY_NAMES = ("use_sim_time", "start_type_description_service")


def declare(node: Node, cls: type[S], *, changeable: bool = False) -> S:
    """Declare every setting of ``cls`` on ``node`` and return what the overrides make of it.

    Args:
        changeable: The node takes changes while it runs, by a callback of its own; otherwise ROS is told that
            the parameters are read-only.

    Raises:
        SettingsError: An override has the wrong type or lies outside its bounds, or is unknown.
    """
    fields = cls.describe()
    refuse_unknown(node, fields)
    values = {}
    for leaf in fields.values():
        default = list(leaf.default) if leaf.is_list else leaf.default
        try:
            values[leaf.name] = node.declare_parameter(
                leaf.name, default, _descriptor(leaf, read_only=not changeable)
            ).value
        except InvalidParameterTypeException as error:
            raise SettingsError(f"{error}; write 1.0 rather than 1 for a floating-point parameter") from error
        except InvalidParameterValueException:
            # rclpy names the parameter but not its bounds; our own check says both.
            leaf.check(_override(node, leaf.name))
            raise
    return cls.from_mapping(values)


def refuse_unknown(node: Node, known: Iterable[str]) -> None:
    """Raise :class:`SettingsError` for overrides that no setting takes: rclpy ignores them in silence."""
    allowed = set(known) | set(_RCLPY_NAMES)
    for name in _overrides(node):
        if name not in allowed and not name.startswith("qos_overrides."):
            raise SettingsError(f"unknown parameter {name!r}; {nearest_name(name, allowed)}")


def updated(settings: S, changes: list[Parameter], *, configured: bool) -> S:
    """Return ``settings`` with run-time parameter ``changes`` applied; foreign parameters are left alone.

    Raises:
        SettingsError: A value is refused, or the setting is fixed while the node is configured.
    """
    known = settings.describe()
    values = {change.name: change.value for change in changes if change.name in known}
    for name in values:
        if configured and known[name].read_only:
            raise SettingsError(f"{name} is fixed while the node is configured; clean it up first, then set it")
    return settings.updated(values)


def reject(error: SettingsError) -> SetParametersResult:
    """Return the answer that refuses a parameter change, with the reason."""
    return SetParametersResult(successful=False, reason=str(error))


def _descriptor(leaf: SettingField, *, read_only: bool) -> ParameterDescriptor:
    unit = f" [{leaf.unit}]" if leaf.unit else ""
    descriptor = ParameterDescriptor(description=f"{leaf.help}{unit}", read_only=read_only)
    # An empty list has no type that rclpy could infer; ours is checked by the settings class.
    descriptor.dynamic_typing = leaf.is_list and not leaf.default
    if leaf.choices:
        descriptor.additional_constraints = f"one of: {', '.join(map(str, leaf.choices))}"
    if leaf.bounds and not leaf.is_list:
        low, high = leaf.bounds
        if leaf.type is float:
            top = sys.float_info.max
            span = FloatingPointRange(
                from_value=-top if low is None else float(low), to_value=top if high is None else float(high)
            )
            descriptor.floating_point_range = [span]
        else:
            span = IntegerRange(
                from_value=-_INT64 if low is None else int(low), to_value=_INT64 if high is None else int(high)
            )
            descriptor.integer_range = [span]
    return descriptor


def _overrides(node: Node) -> dict[str, Parameter]:
    # rclpy has no public way to read the overrides of parameters that are not declared (yet).
    return getattr(node, "_parameter_overrides", {})


def _override(node: Node, name: str) -> Any:
    override = _overrides(node).get(name)
    return None if override is None else override.value
