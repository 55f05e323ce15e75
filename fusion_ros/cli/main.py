"""The door to all verbs.

A verb is a module in this package with four names:

- ``HELP``: what it does, in a few sentences.
- ``EXAMPLES``: command lines to start from, printed at the end of its ``--help``.
- ``add_arguments(parser)``: declares its options.
- ``main(args) -> int``: does it and returns the exit status.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from .. import __version__
from ..errors import FusionError, nearest_name

__all__ = ["VERBS", "main", "verb_parser"]

VERBS = {
    "fuse": "fuse two images, two folders of images or two videos",
    "calibrate": "find where the thermal image lies in the RGB image, from recordings or a board",
    "compare": "several methods on the same pairs as one picture, or two evaluations in numbers",
    "evaluate": "measure methods on folders, videos and bags: numbers, plots, a report",
    "track": "follow a target through two videos, two folders of images or a bag",
    "metrics": "list the metrics with their variants",
    "synth": "render a synthetic rig's recording with exact ground truth",
    "bag": "make a bag from pictures, or say what is in one",
    "models": "list, show and verify the models that are installed",
    "import-weights": "make a model of the weights that a method's authors released",
    "export": "write a model's network as ONNX or as PyTorch's ExportedProgram",
    "play": "play a bag onto live ROS topics",
    "run": "start the nodes that a YAML file lists, without ros2 launch",
    "demo": "fuse a recording over real ROS 2 and show what came out",
    "bench": "what each method costs in each engine, against the plain network",
}
"""Verb by name, with the one line that the overview shows; the module has the same name, with underscores."""

_FAILED = 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141


_NEGATIVE_NUMBER = re.compile(r"^-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)


class _Parser(argparse.ArgumentParser):
    """Names the nearest known option when one is misspelled, and takes numbers such as -3e-05 for numbers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = _NEGATIVE_NUMBER  # argparse's own knows no exponents

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]!r}; {self._hint(unknown[0])}")
        return found

    def error(self, message: str) -> NoReturn:
        raise FusionError(f"{self.prog}: {message}; see '{self.prog} --help'")

    def _hint(self, wrong: str) -> str:
        parsers = [self, *_subparsers(self).values()]
        options = [option for parser in parsers for action in parser._actions for option in action.option_strings]
        return nearest_name(wrong.partition("=")[0], set(options))


def verb_parser(name: str) -> argparse.ArgumentParser:
    """Return the argument parser of one verb."""
    module = _load(name)
    parser = _Parser(prog=f"fusion-ros {name}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    parser.set_defaults(verb_main=module.main)
    examples = textwrap.dedent(module.EXAMPLES.strip("\n")).rstrip()
    _add_examples(parser, examples)
    for subparser in _subparsers(parser).values():
        own = [line for line in examples.splitlines() if line.startswith(subparser.prog)]
        _add_examples(subparser, "\n".join(own))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0 is success, 2 a failure that was explained on stderr, 130 an interruption by Ctrl-C.
    """
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except FusionError as error:
        print(f"fusion-ros: error: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print("fusion-ros: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`). Nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"fusion-ros: error: {where}{error.strerror or error}", file=sys.stderr)
        return _FAILED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"fusion-ros {__version__}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise FusionError(f"no verb {verb!r}; {nearest_name(verb, VERBS)}; see 'fusion-ros --help'")
    try:
        args = verb_parser(verb).parse_args(rest)
    except SystemExit as stop:  # argparse leaves this way after printing --help
        return int(stop.code or 0)
    status = args.verb_main(args)
    sys.stdout.flush()  # here, so that a closed pipe is met inside the handler above
    return status


def _load(verb: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__package__}.{verb.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__package__.partition(".")[0]):
            raise
        raise FusionError(
            f"'fusion-ros {verb}' needs the Python package {error.name!r}, which is not installed here"
        ) from error


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {help}" for name, help in VERBS.items())
    return (
        "usage: fusion-ros <verb> [options]\n\n"
        "Thermal and colour cameras in, one fused image out.\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n"
        "  --help     show this overview; 'fusion-ros <verb> --help' explains a verb\n"
        "  --version  show the version\n\n"
        "examples:\n"
        "  fusion-ros fuse --rgb rgb.png --thermal thermal.png --out fused.png\n"
        "  fusion-ros synth --out demo_bag --storage mcap --duration 10\n"
        "  fusion-ros bag info demo_bag"
    )


def _add_examples(parser: argparse.ArgumentParser, examples: str) -> None:
    parser.epilog = f"examples:\n{textwrap.indent(examples, '  ')}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a verb's actions, such as ``bag make``, by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found
