"""How an evaluation runs: the threads that its workers share, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from tqdm import tqdm

from ..engines.base import available_cores
from ..pipeline import FusionSettings

__all__ = ["Progress", "progress", "with_shared_threads"]

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far it is, given the number of steps; what it gives is called with how many more are done."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar, where there is a terminal; see :data:`Progress`."""
    with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
        yield lambda number: bar.update(number)


def with_shared_threads(settings: FusionSettings, workers: int) -> FusionSettings:
    """Return the settings with engines that leave one another room: each worker gets its share of the cores.

    Threads that were chosen stay, and a single worker leaves the choice to the engine.
    """
    threads = settings.engine.threads or (max(1, available_cores() // workers) if workers > 1 else 0)
    return replace(settings, engine=replace(settings.engine, threads=threads))
