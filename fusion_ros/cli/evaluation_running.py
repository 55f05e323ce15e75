"""How an evaluation runs: what it refuses, the threads that its workers share, how far it is, what went wrong."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from tqdm import tqdm

from ..errors import FusionError
from ..evaluation.executors import threads_a_worker
from ..pipeline import FusionSettings

__all__ = ["Progress", "origin_of", "print_problems", "progress", "refuse_options", "with_shared_threads"]

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far it is, given the number of steps; what it gives is called with how many more are done."""

_NOT_GIVEN = {"fused": [], "bag": [], "sequence": False, "salvage": False, "metrics": "default"}
"""What options are that were not given; settings are absent then, all others None."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar, where there is a terminal; see :data:`Progress`."""
    with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
        yield lambda number: bar.update(number)


def with_shared_threads(settings: FusionSettings, workers: int) -> FusionSettings:
    """Return the settings with engines that leave one another room: each worker gets its share of the cores.

    Threads that were chosen stay, and a single worker leaves the choice to the engine.
    """
    threads = settings.engine.threads or (threads_a_worker(workers) if workers > 1 else 0)
    return replace(settings, engine=replace(settings.engine, threads=threads))


def refuse_options(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """Raise :class:`FusionError` where one of the named options is given.

    Args:
        args: The verb's.
        names: Of options that mean nothing here, as ``args`` has them.
        reason: Why they do not; the options follow it.
    """
    values = vars(args)
    given = [name for name in names if name in values and values[name] != _NOT_GIVEN.get(name)]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise FusionError(f"{reason} {options}: leave that out")


def origin_of(facts: Mapping[str, str]) -> str:
    """Return what results depend on beside what is evaluated: commit and versions, which the facts name."""
    return f"{facts['fusion_ros']} {facts['packages']}"


def print_problems(problems: Sequence[str]) -> None:
    """Print what could not be read or done to stderr, a line each."""
    for problem in problems:
        print(f"fusion-ros: {problem}", file=sys.stderr)
