"""Going through many images: in threads, since decoding or NumPy takes the time, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")
_THREADS = 8


def in_threads(
    work: Callable[[T], R], items: Sequence[T], *, what: str, unit: str, threads: int = _THREADS
) -> list[R]:
    """Return ``work`` of every item, in their order; an error, or Ctrl-C, leaves the rest undone.

    Args:
        work: What is done with an item.
        items: All of them.
        what: For the progress bar, as is ``unit``.
        unit: What an item is.
        threads: How many do the work; 1 if it may not be done for two items at once.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        return list(tqdm(pool.map(work, items), total=len(items), desc=what, unit=unit, disable=None))
    finally:
        pool.shutdown(cancel_futures=True)
