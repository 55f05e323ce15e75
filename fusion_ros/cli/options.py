"""Command-line options: those made from settings classes, named as in YAML and ROS parameters, and image sizes."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import FusionError, SettingsError, nearest_name
from ..pipeline import FusionSettings
from ..settings import SettingField, Settings, load_yaml
from ..timing import ClockOffsetSettings, PairingSettings

__all__ = ["add_settings", "parse_size", "settings_from"]

S = TypeVar("S", bound=Settings)

_FUSION_NODE = (
    *PairingSettings.describe("pairing."),
    *ClockOffsetSettings.describe("clock."),
    "clock.measure",
    "input.rgb_transport",
    "input.thermal_transport",
    "input.width",
    "input.height",
    "qos.input_reliability",
    "qos.input_depth",
    "qos.output_reliability",
    "qos.output_depth",
    "autostart",
    "always_compute",
    "diagnostics_period_s",
    "use_sim_time",
    "start_type_description_service",
)
"""Parameters of fusion_node beside FusionSettings; the node itself cannot be imported where ROS is absent."""
_ROS_OVERRIDES = "qos_overrides."
_PREFIXES = "settings_prefixes"


def add_settings(
    parser: argparse.ArgumentParser, cls: type[Settings], *, prefix: str = "", title: str = "settings"
) -> None:
    """Add one option per leaf setting of ``cls`` (``--pairing.tolerance_ms 20``), and ``--params``.

    A bool becomes a pair of switches (``--loop`` and ``--no-loop``), a list takes several values.

    Args:
        prefix: Put before every name with a dot, for a verb that takes several settings classes; the
            YAML file then has a section of that name.
        title: Heading of the options in the verb's help.
    """
    if "--params" not in parser._option_string_actions:
        parser.add_argument(
            "--params",
            metavar="FILE.yaml",
            help="settings from a YAML file, plain or in ROS form; options on the command line win",
        )
    parser.set_defaults(**{_PREFIXES: (*(parser.get_default(_PREFIXES) or ()), prefix)})
    group = parser.add_argument_group(title)
    for leaf in cls.describe().values():
        _add_leaf(group, leaf, _dotted(prefix, leaf.name))


def settings_from(args: argparse.Namespace, cls: type[S], *, prefix: str = "") -> S:
    """Build the settings: the class's defaults, then the YAML file, then the options given.

    A class without a prefix leaves the sections of the file to the classes whose prefixes they are. A file written
    for fusion_node also serves the verbs that fuse: what only the node can use is named on stderr.

    Raises:
        SettingsError: The YAML file cannot be read, or a value is unknown or out of bounds.
    """
    settings = cls()
    if args.params is not None:
        values = _flat(load_yaml(args.params))
        values = _section(values, prefix) if prefix else _own(values, args, cls)
        settings = settings.updated(values)
    given = {}
    for name in cls.describe():
        key = _dotted(prefix, name)
        if hasattr(args, key):
            given[name] = getattr(args, key)
    return settings.updated(given)


def parse_size(text: str) -> tuple[int, int]:
    """Return ``(h, w)`` of what ``--size`` was given: ``WIDTHxHEIGHT``.

    Raises:
        FusionError: The text is not two positive numbers with an x between them.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise FusionError(f"--size: expected WIDTHxHEIGHT such as 640x480, got {text!r}")
    return int(match[2]), int(match[1])


class _Switch(argparse.Action):
    """``--name`` stores true, ``--no-name`` stores false."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        positive = option_strings[0]
        super().__init__([positive, f"--no-{positive[2:]}"], dest, nargs=0, **rest)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string == self.option_strings[0])


def _add_leaf(group: argparse._ArgumentGroup, leaf: SettingField, name: str) -> None:
    # An option that is not given leaves no trace, so that it cannot override the YAML file.
    common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(leaf)}
    if leaf.type is bool and not leaf.is_list:
        group.add_argument(f"--{name}", action=_Switch, **common)
        return
    metavar = "{" + ",".join(map(str, leaf.choices)) + "}" if leaf.choices else leaf.type.__name__.upper()
    nargs = "*" if leaf.is_list else None
    group.add_argument(f"--{name}", type=leaf.type, metavar=metavar, nargs=nargs, **common)


def _help(leaf: SettingField) -> str:
    default = " ".join(map(str, leaf.default)) if leaf.is_list else leaf.default
    facts = [] if leaf.choices else [leaf.describe_bounds() or leaf.unit]
    facts.append(f"default: {default if default != '' else 'none'}")
    return f"{leaf.help} ({'; '.join(filter(None, facts))})".replace("%", "%%")


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _flat(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return nested values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{start}{name}.") if isinstance(value, Mapping) else {f"{start}{name}": value})
    return flat


def _section(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in values.items() if name.startswith(start)}


def _own(values: Mapping[str, Any], args: argparse.Namespace, cls: type[Settings]) -> dict[str, Any]:
    """Return what is for ``cls``, which has no prefix; say what nobody uses.

    Raises:
        SettingsError: A name is of no class of this verb, nor of the node that the file may have been written for.
    """
    own = cls.describe()
    sections = tuple(f"{prefix}." for prefix in getattr(args, _PREFIXES) if prefix)
    rest = [name for name in values if name not in own and not name.startswith(sections)]
    known: Collection[str] = _FUSION_NODE if issubclass(cls, FusionSettings) else ()
    for name in rest:
        if name not in known and not (known and name.startswith(_ROS_OVERRIDES)):
            raise SettingsError(f"unknown setting {name!r}; {nearest_name(name, [*own, *known])}")
    if rest:
        print(f"fusion-ros: {args.params}: not used here: {', '.join(rest)}", file=sys.stderr)
    return {name: value for name, value in values.items() if name in own}
