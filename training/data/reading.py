"""Reading many images: in threads, since decoding is what takes the time, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")
_THREADS = 8


def in_threads(work: Callable[[T], R], items: Sequence[T], *, what: str, unit: str) -> list[R]:
    """Return ``work`` of every item, in their order; an error, or Ctrl-C, leaves the rest undone.

    Args:
        what: For the progress bar, as is ``unit``.
    """
    pool = ThreadPoolExecutor(_THREADS)
    try:
        return list(tqdm(pool.map(work, items), total=len(items), desc=what, unit=unit, disable=None))
    finally:
        pool.shutdown(cancel_futures=True)
