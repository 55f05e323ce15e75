"""Start, spin and stop one node: the same few lines for every executable."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import FusionError

__all__ = ["StoppableNode", "explained", "run_lifecycle_node", "run_node"]

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def explained(transition: Transition) -> Transition:
    """Log what a transition callback raises; rclpy turns it into ERROR without a word.

    What the user can mend makes the transition fail, and is one line; anything else is told with its traceback.
    """

    @functools.wraps(transition)
    def logged(node: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except FusionError as error:
            node.get_logger().error(f"cannot {transition.__name__.removeprefix('on_')}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            node.get_logger().error("".join(traceback.format_exception(error)))
            raise

    return logged


class StoppableNode(LifecycleNode, ABC):
    """A lifecycle node that ends the same way whatever makes it end: what works stops, and what is held is freed.

    ``_stop`` and ``_free`` are also called when there is nothing to stop or to free.

    Attributes:
        steady: A clock that simulated time does not stop, as it does when a bag ends: what is missing must still
            be said then.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        super().__init__(name, **node_options)
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics_timer: Any = None

    def publish_diagnostics_every(self, period_s: float) -> None:
        """Publish diagnostics with this period from now on, in place of an earlier one."""
        if self._diagnostics_timer is not None:
            self.destroy_timer(self._diagnostics_timer)
        self._diagnostics_timer = self.create_timer(period_s, self.publish_diagnostics, clock=self.steady)

    @abstractmethod
    def publish_diagnostics(self) -> None:
        """Tell the state of the node."""

    @explained
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, and finish what is in hand."""
        self._stop()
        return super().on_deactivate(state)

    @explained
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what configuring made."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free whatever is still there."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @explained
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a defect, so that the node can be configured again."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @abstractmethod
    def _stop(self) -> None:
        """Undo what activating did."""

    @abstractmethod
    def _free(self) -> None:
        """Undo what configuring did."""


class _Stop(BaseException):
    """SIGINT or SIGTERM arrived."""


def run_lifecycle_node(make: Callable[[], LifecycleNode], args: list[str] | None = None) -> int:
    """Run a lifecycle node with an ``autostart`` setting; 0 on a wish to stop, 1 when it cannot work."""

    def start(node: LifecycleNode) -> bool:
        if not node.settings.autostart:
            return True
        return (
            node.trigger_configure() is TransitionCallbackReturn.SUCCESS
            and node.trigger_activate() is TransitionCallbackReturn.SUCCESS
        )

    def stop(node: LifecycleNode) -> None:
        # A manager may have shut it down already; then there is no such transition any more.
        with contextlib.suppress(RuntimeError):
            node.trigger_shutdown()
        node.publish_diagnostics()

    return _run(make, start, stop, args)


def run_node(make: Callable[[], Node], args: list[str] | None = None) -> int:
    """Run an ordinary node with a ``close()`` method."""
    return _run(make, lambda node: True, lambda node: node.close(), args)


def _run(
    make: Callable[[], Any], start: Callable[[Any], bool], stop: Callable[[Any], None], args: list[str] | None
) -> int:
    # Our own handlers, so that a node can still publish its last words before the context goes down.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stop)
    node = None
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if not start(node):
            return 1
        while rclpy.ok():
            # Bounded: Python runs our signal handlers only between two waits.
            executor.spin_once(timeout_sec=0.2)
        return 0
    except _Stop:
        return 0
    except ExternalShutdownException:
        return 0
    except FusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        try:
            if node is not None:
                stop(node)
                node.destroy_node()
        finally:
            rclpy.try_shutdown()


def _raise_stop(number: int, frame: Any) -> None:
    # A second signal must be able to end a shutdown that hangs.
    signal.signal(number, signal.SIG_DFL)
    raise _Stop
