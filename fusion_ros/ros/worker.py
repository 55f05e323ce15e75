"""One worker thread behind a mailbox that holds only the newest item.

Subscription callbacks store and return; all the work happens here. When the worker is slower than
the cameras, what it has not begun yet is overwritten, so that latency stays at one frame instead of
growing with a queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["LatestMailbox", "Worker"]

T = TypeVar("T")


class LatestMailbox(Generic[T]):
    """A thread-safe slot for one item; putting a second one replaces the first."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Store ``item`` and return the one that it replaced, if any."""
        with self._changed:
            replaced, self._item = self._item, item
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Wait for an item and return it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Wake the taker for good and return the item that was never taken, if any."""
        with self._changed:
            self._closed = True
            abandoned, self._item = self._item, None
            self._changed.notify_all()
            return abandoned


class Worker(Generic[T]):
    """Runs ``handle`` on the newest item, in one thread, until stopped.

    Args:
        handle: Called in the worker thread with each item.
        on_error: Called in the worker thread with the item and what ``handle`` raised; the worker goes on.
    """

    def __init__(self, handle: Callable[[T], None], on_error: Callable[[T, Exception], None]) -> None:
        self._handle = handle
        self._on_error = on_error
        self._mailbox: LatestMailbox[T] = LatestMailbox()
        self._thread = threading.Thread(target=self._run, name="fusion_worker", daemon=True)
        self._thread.start()

    def submit(self, item: T) -> T | None:
        """Hand over ``item``; return the one that it replaced, if any."""
        return self._mailbox.put(item)

    def stop(self) -> T | None:
        """Finish the item in hand, end the thread, and return the item that was never begun, if any."""
        abandoned = self._mailbox.close()
        self._thread.join()
        return abandoned

    def _run(self) -> None:
        while (item := self._mailbox.take()) is not None:
            try:
                self._handle(item)
            # The boundary of the thread: whatever one frame does must not end the stream.
            except Exception as error:
                self._on_error(item, error)
