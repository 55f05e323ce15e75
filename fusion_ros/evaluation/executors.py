"""Who does the pieces: this process, several processes, or a Dask cluster.

The order in which pieces are finished does not matter, since each is its own.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ..engines.base import available_cores
from ..errors import FusionError
from .work import Piece, PieceResult, do_piece, use_threads

__all__ = ["Cluster", "Executor", "Processes", "Serial", "in_processes", "threads_a_worker"]

T = TypeVar("T")

_POLL_S = 0.2
# Started afresh: a forked process would inherit the locks of running OpenMP and OpenVINO threads.
_CONTEXT = multiprocessing.get_context("spawn")


class Executor(Protocol):
    """Does pieces of work."""

    def run(
        self, pieces: Sequence[Piece], on_moments: Callable[[int], None]
    ) -> Iterator[tuple[Piece, PieceResult]]:
        """Yield each piece with its result as soon as it is done.

        Args:
            on_moments: Called with the number of moments that were done since it was last called.

        Raises:
            FusionError: A method cannot be run at all, or a worker died.
        """


class Serial:
    """This process, one piece after the other."""

    def run(
        self, pieces: Sequence[Piece], on_moments: Callable[[int], None]
    ) -> Iterator[tuple[Piece, PieceResult]]:
        """See :class:`Executor`."""
        for piece in pieces:
            yield piece, do_piece(piece, lambda: on_moments(1))


class Processes:
    """Several processes of this machine.

    Args:
        number: How many.
        threads: For each, for OpenCV; the engines' threads are a setting of the methods.
    """

    def __init__(self, number: int, threads: int = 1) -> None:
        self._number, self._threads = number, threads

    def run(
        self, pieces: Sequence[Piece], on_moments: Callable[[int], None]
    ) -> Iterator[tuple[Piece, PieceResult]]:
        """See :class:`Executor`."""
        counter = _CONTEXT.Value("q", 0)
        seen = 0
        with _worker_pool(self._number, self._threads, counter) as pool:
            futures = {pool.submit(_do_counted, piece): piece for piece in pieces}
            waiting = set(futures)
            while waiting:
                finished, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
                # What was done before a worker died is handed out first.
                for future in sorted(finished, key=lambda future: future.exception() is not None):
                    yield futures[future], future.result()
                now = counter.value
                on_moments(now - seen)
                seen = now


def in_processes(
    number: int, function: Callable[..., T], calls: Mapping[int, tuple[Any, ...]]
) -> Iterator[tuple[int, T]]:
    """Yield what a function returns, with the key of the call, as soon as it does.

    Args:
        number: Of processes of this machine, which share its cores.
        function: One that other processes can import.
        calls: Its arguments, which can be pickled, by key.

    Raises:
        FusionError: A process died. What the function raises is raised, too.
    """
    with _worker_pool(number, threads_a_worker(number)) as pool:
        futures = {pool.submit(function, *arguments): key for key, arguments in calls.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def threads_a_worker(workers: int) -> int:
    """Return each one's share of the cores where so many processes work side by side; at least 1."""
    return max(1, available_cores() // workers)


@contextmanager
def _worker_pool(number: int, threads: int, counter: Any = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes, all of which are gone afterwards, also after an interruption.

    Args:
        number: Of processes.
        threads: For each, for OpenCV.
        counter: What :func:`_do_counted` counts with, if that is to be done.

    Raises:
        FusionError: A process died.
    """
    pool = ProcessPoolExecutor(number, mp_context=_CONTEXT, initializer=_begin_worker, initargs=(threads, counter))
    others = set(multiprocessing.active_children())
    try:
        yield pool
        pool.shutdown()
    except BrokenProcessPool as error:
        raise FusionError(
            "a worker process died, most likely for want of memory; what was finished is kept: run the same "
            "command again with fewer --workers"
        ) from error
    finally:
        # After an interruption nobody waits for what is being done: it may be a whole bag.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


class Cluster:
    """A Dask cluster that is there already; its workers must see the same files under the same paths.

    Args:
        address: Of its scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        FusionError: Dask is not installed, or nobody answers at the address.
    """

    def __init__(self, address: str) -> None:
        try:
            from dask.distributed import Client
        except ImportError:
            raise FusionError(
                "--cluster needs Dask, which is not installed here; install it with: pip install distributed"
            ) from None
        try:
            self._client: Any = Client(address, timeout="10s")
        except (OSError, ValueError) as error:
            raise FusionError(f"--cluster: no Dask scheduler answers at {address!r}: {error}") from error

    def run(
        self, pieces: Sequence[Piece], on_moments: Callable[[int], None]
    ) -> Iterator[tuple[Piece, PieceResult]]:
        """See :class:`Executor`."""
        from dask.distributed import as_completed as completed

        futures = {self._client.submit(do_piece, piece, pure=False): piece for piece in pieces}
        try:
            for future in completed(list(futures)):
                piece = futures[future]
                yield piece, _result_of(future)
                on_moments(piece.recording.count)
        finally:
            self._client.cancel(list(futures))
            self._client.close()


def _result_of(future: Any) -> PieceResult:
    try:
        return future.result()
    except FusionError:
        raise
    except Exception as error:  # whatever happens on another machine, and whatever Dask calls it
        raise FusionError(
            f"the cluster could not do a piece of work: {type(error).__name__}: {error}; what was finished is "
            "kept: run the same command again"
        ) from error


_counter: Any = None


def _begin_worker(threads: int, counter: Any) -> None:
    global _counter
    _counter = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer; it ends the others
    use_threads(threads)


def _do_counted(piece: Piece) -> PieceResult:
    def count() -> None:
        with _counter.get_lock():
            _counter.value += 1

    return do_piece(piece, count)
