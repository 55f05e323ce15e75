"""Command-line options made from a settings class, so that a default lives in one place."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

from fusion_ros.settings import SettingField, Settings

__all__ = ["add_command", "add_settings", "given_settings"]

S = TypeVar("S", bound=Settings)
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def add_command(commands: Any, name: str, *, help: str, example: str, description: str = "") -> Any:
    """Add a command to what ``add_subparsers`` has returned, with its example as it is written, and return it.

    Args:
        help: One line for the list of commands, without a full stop.
        description: For its own ``--help``; empty takes ``help``.
    """
    return commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_settings(parser: argparse.ArgumentParser, settings: type[Settings]) -> None:
    """Add one ``--option`` for every setting; an option that is not given stays None."""
    group = parser.add_argument_group("settings")
    for name, field in settings.describe().items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"setting.{name}",
            type=_boolean if field.type is bool else field.type,
            nargs="*" if field.is_list else None,
            choices=field.choices,
            metavar=None if field.choices else field.type.__name__.upper(),
            help=_help(field),
        )


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given on the command line, by name."""
    options = vars(arguments).items()
    return {
        name.removeprefix("setting."): v for name, v in options if name.startswith("setting.") and v is not None
    }


def _boolean(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return _WORDS[text.lower()]


def _help(field: SettingField) -> str:
    facts = [field.describe_bounds() if field.bounds else "", f"default {field.default}"]
    return f"{field.help} [{'; '.join(fact for fact in facts if fact)}]".replace("%", "%%")
