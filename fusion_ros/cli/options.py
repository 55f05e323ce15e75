"""Command-line options: those made from settings classes, named as in YAML and ROS parameters, and image sizes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import FusionError
from ..settings import SettingField, Settings, load_yaml

__all__ = ["add_settings", "parse_size", "settings_from"]

S = TypeVar("S", bound=Settings)


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
    group = parser.add_argument_group(title)
    for leaf in cls.describe().values():
        _add_leaf(group, leaf, _dotted(prefix, leaf.name))


def settings_from(args: argparse.Namespace, cls: type[S], *, prefix: str = "") -> S:
    """Build the settings: the class's defaults, then the YAML file, then the options given.

    Raises:
        SettingsError: The YAML file cannot be read, or a value is unknown or out of bounds.
    """
    settings = cls()
    if args.params is not None:
        values = load_yaml(args.params)
        settings = settings.updated(_section(values, prefix) if prefix else values)
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


def _section(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what belongs under ``prefix``, written nested or with dotted names."""
    section = dict(values.get(prefix, {}))
    start = f"{prefix}."
    section.update({name[len(start) :]: value for name, value in values.items() if name.startswith(start)})
    return section
