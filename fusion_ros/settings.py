"""Settings: frozen dataclasses that describe, check and document themselves.

A settings class sits beside the class that it configures and is the only place where a default
lives. ROS parameters, command-line options, YAML files and the tables in ``docs/`` are all made
from it::

    @dataclass(frozen=True)
    class PairingSettings(Settings):
        tolerance_ms: float = setting(20.0, "Largest time difference inside a pair.", unit="ms", bounds=(0, 1000))
        policy: str = setting("nearest", "How frames are matched.", choices=("nearest", "message_filters"))

Settings nest: a field whose default is a settings object contributes dotted names
(``pairing.tolerance_ms``), the spelling of ROS parameters and YAML alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .errors import SettingsError, nearest_name

__all__ = ["SettingField", "Settings", "load_yaml", "markdown_table", "parse_assignments", "setting", "setting_of"]

S = TypeVar("S", bound="Settings")
_METADATA_KEY = "fusion_ros"
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class SettingField:
    """Everything known about one leaf setting; ``name`` is its dotted path.

    Attributes:
        type: bool, int, float, str, or the element type of a list.
        is_list: Whether the value is a tuple of ``type`` (a ROS array, a YAML list).
        bounds: Inclusive ``(low, high)``; None at an end means open there.
        read_only: Fixed once the owner is configured (a node restart or re-configure changes it).
    """

    name: str
    type: type
    default: Any
    help: str
    unit: str
    bounds: tuple[float | None, float | None] | None
    choices: tuple[Any, ...] | None
    read_only: bool
    is_list: bool

    def check(self, value: Any) -> Any:
        """Return ``value`` as this setting's type, or raise :class:`SettingsError`."""
        if self.is_list:
            if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
                raise SettingsError(f"{self.name}: expected a list of {self.type.__name__}, got {value!r}")
            return tuple(self._check_scalar(item) for item in value)
        return self._check_scalar(value)

    def _check_scalar(self, value: Any) -> Any:
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # YAML and command lines write 20 for 20.0
        if type(value) is not self.type:
            raise SettingsError(
                f"{self.name}: expected {self.type.__name__}, got {type(value).__name__} {value!r}"
            )
        if self.type is float and not math.isfinite(value):
            raise SettingsError(f"{self.name}: expected a finite number, got {value!r}")
        if self.choices is not None and value not in self.choices:
            hint = nearest_name(str(value), map(str, self.choices))
            raise SettingsError(
                f"{self.name}: expected one of {', '.join(map(str, self.choices))}, got {value!r}; {hint}"
            )
        if self.bounds is not None and not self._inside(value):
            raise SettingsError(f"{self.name}: expected {self.describe_bounds()}, got {value!r}")
        return value

    def _inside(self, value: float) -> bool:
        low, high = self.bounds or (None, None)
        return (low is None or value >= low) and (high is None or value <= high)

    def describe_bounds(self) -> str:
        """Say the bounds in words, with the unit: ``0 to 1000 ms``; empty where there are none."""
        low, high = self.bounds or (None, None)
        unit = f" {self.unit}" if self.unit else ""
        if low is not None and high is not None:
            return f"{low:g} to {high:g}{unit}"
        if low is not None:
            return f"at least {low:g}{unit}"
        return f"at most {high:g}{unit}" if high is not None else ""


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    bounds: tuple[float | None, float | None] | None = None,
    choices: tuple[Any, ...] | None = None,
    read_only: bool = False,
    element: type | None = None,
) -> Any:
    """Declare one setting of a :class:`Settings` dataclass.

    Args:
        default: A bool, int, float or str; a tuple of one of these; or a Settings object to nest.
        help: One sentence for people, without the unit.
        unit: For example ``ms``, ``px``, ``Hz``.
        bounds: Inclusive ``(low, high)``; None at an end leaves it open.
        choices: The allowed values.
        read_only: Cannot change while the owner runs.
        element: Element type of a tuple; needed only where the default is empty.
    """
    return field(
        default=default,
        metadata={_METADATA_KEY: (help, unit, bounds, choices, read_only, element)},
    )


def setting_of(owner: type[Settings], name: str, default: Any) -> Any:
    """Declare a setting of another dataclass once more, with another default and all else as it is there."""
    (item,) = (item for item in dataclasses.fields(owner) if item.name == name)
    return field(default=default, metadata=item.metadata)


@dataclass(frozen=True)
class Settings:
    """Base of all settings dataclasses; see the module's example."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(item.default, Settings):
                if type(value) is not type(item.default):
                    raise SettingsError(
                        f"{item.name}: expected {type(item.default).__name__}, got {type(value).__name__}"
                    )
                continue
            object.__setattr__(self, item.name, _describe(item, prefix="").check(value))
        self.check()

    def check(self) -> None:
        """Check rules that span several fields; raise :class:`SettingsError`. Override where needed."""

    @classmethod
    def describe(cls, prefix: str = "") -> dict[str, SettingField]:
        """Return every leaf setting by dotted name, in order of declaration."""
        leaves: dict[str, SettingField] = {}
        for item in dataclasses.fields(cls):
            if isinstance(item.default, Settings):
                leaves.update(type(item.default).describe(f"{prefix}{item.name}."))
            else:
                leaf = _describe(item, prefix)
                leaves[leaf.name] = leaf
        return leaves

    @classmethod
    def from_mapping(cls: type[S], values: Mapping[str, Any]) -> S:
        """Build from dotted or nested names; what is not named keeps its default.

        Raises:
            SettingsError: An unknown name (the nearest known one is given), a wrong type, or a
                value outside its bounds or choices.
        """
        return cls().updated(values)

    def updated(self: S, values: Mapping[str, Any]) -> S:
        """Return a copy with the dotted or nested ``values`` replaced, checked like ``from_mapping``."""
        flat = _flatten(values)
        known = self.describe()
        for name in flat:
            if name not in known:
                raise SettingsError(f"unknown setting {name!r}; {nearest_name(name, known)}")
        # Checked here as well as in __post_init__ so that the message carries the dotted name.
        return self._replaced({name: known[name].check(value) for name, value in flat.items()})

    def _replaced(self: S, flat: Mapping[str, Any]) -> S:
        changes: dict[str, Any] = {}
        for name, value in flat.items():
            head, _, rest = name.partition(".")
            if rest:
                changes.setdefault(head, {})[rest] = value
            else:
                changes[head] = value
        for head, value in changes.items():
            nested = getattr(self, head)
            if isinstance(nested, Settings):
                changes[head] = nested._replaced(value)
        return dataclasses.replace(self, **changes)

    def flat(self) -> dict[str, Any]:
        """Return every leaf value by dotted name."""
        values: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Settings):
                values.update({f"{item.name}.{name}": leaf for name, leaf in value.flat().items()})
            else:
                values[item.name] = value
        return values


def _describe(item: dataclasses.Field, prefix: str) -> SettingField:
    if item.default is MISSING or _METADATA_KEY not in item.metadata:
        raise TypeError(f"{item.name}: declare settings with setting(default, help, ...)")
    help, unit, bounds, choices, read_only, element = item.metadata[_METADATA_KEY]
    is_list = isinstance(item.default, tuple)
    kind = element or (type(item.default[0]) if is_list else type(item.default))
    if kind not in _SCALARS:
        raise TypeError(f"{item.name}: a setting is a bool, int, float or str, not {kind.__name__}")
    return SettingField(
        f"{prefix}{item.name}", kind, item.default, help, unit, bounds, choices, read_only, is_list
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read settings from a YAML file, plain or in ROS form (``node: ros__parameters: ...``).

    In ROS form the sections of all nodes in the file are merged.

    Raises:
        SettingsError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from error
    except IsADirectoryError:
        raise SettingsError(f"{path}: expected a YAML file, got a folder") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a mapping of names to values, got {type(content).__name__}")
    sections = [v["ros__parameters"] for v in content.values() if isinstance(v, dict) and "ros__parameters" in v]
    if not sections:
        return content
    merged: dict[str, Any] = {}
    for section in sections:
        merged.update(_flatten(section or {}))
    return merged


def parse_assignments(text: str) -> dict[str, Any]:
    """Read ``name=value`` settings separated by commas, each value as in YAML: ``blocks=4, fusion=l1``.

    Raises:
        SettingsError: A part has no name, no value, or a value that is not a single one; or a name comes twice.
    """
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = (side.strip() for side in part.partition("="))
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = None
        if not (separator and name and isinstance(parsed, _SCALARS)):
            raise SettingsError(f"expected name=value, such as blocks=4, got {part!r}")
        if name in values:
            raise SettingsError(f"{name} is set twice, to {values[name]!r} and to {parsed!r}")
        values[name] = parsed
    return values


def markdown_table(cls: type[Settings]) -> str:
    """Render a settings class as a Markdown table for the documentation."""
    rows = ["| name | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for leaf in cls.describe().values():
        kind = f"{leaf.type.__name__}[]" if leaf.is_list else leaf.type.__name__
        allowed = ", ".join(f"`{c}`" for c in leaf.choices) if leaf.choices else leaf.describe_bounds()
        default = list(leaf.default) if leaf.is_list else leaf.default
        unit = f" ({leaf.unit})" if leaf.unit else ""
        fixed = " Fixed once configured." if leaf.read_only else ""
        rows.append(f"| `{leaf.name}` | {kind} | `{default!r}` | {allowed} | {leaf.help}{unit}{fixed} |")
    return "\n".join(rows) + "\n"
