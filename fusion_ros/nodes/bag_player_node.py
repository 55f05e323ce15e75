"""bag_player_node: plays a bag of any rosbag format onto live topics, at its own rate.

Messages go out as the serialised bytes that the bag holds, whatever their type. The bag is opened
by whoever makes the node: this module knows no bag format.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage

from ..errors import SettingsError
from ..ros import parameters, qos
from ..ros.messages import begins_with_header, message_class, time_message
from ..settings import Settings, setting
from .timeline import Timeline

__all__ = ["BagPlayerNode", "PlayerSettings", "Replay", "ReplayEvent"]


class ReplayEvent(Protocol):
    """One message that is due."""

    due_s: float
    clock_ns: int
    topic: str
    message: Any


class Replay(Protocol):
    """An opened bag with a timetable."""

    types: Mapping[str, str]
    """Topic as it is to be published -> message type."""

    clock_hz: float
    """Rate of /clock; 0 for none."""

    chosen: bool
    """Whether the user named the topics to play."""

    left_out: Sequence[str]
    """Recorded topics that give way to the player's own /clock."""

    def events(self) -> Iterator[ReplayEvent]:
        """Yield the messages in the order in which they are due."""
        ...

    def clock_ns(self, elapsed_s: float) -> int:
        """Return the bag time this long after the start."""
        ...


# How long reliable subscribers get, at the end, to receive what is still on its way.
_LAST_WORDS = Duration(seconds=5)
# Nobody needs all topics of a bag: this long after the latest subscriber came, all are taken to be there.
_SETTLED_S = 0.5
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class PlayerSettings(Settings):
    """Parameters of bag_player_node beside those of the replay itself."""

    reliability: str = setting(
        "reliable", "Reliability of the publishers.", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(5, "Queue depth of the publishers.", bounds=(1, 1000), read_only=True)
    wait_for_subscribers_s: float = setting(
        0.0,
        "Longest wait, before playing, until every topic that is named has a subscriber, or, where none is named, "
        "any image topic; 0 starts at once.",
        unit="s",
        bounds=(0.0, 3600.0),
        read_only=True,
    )
    timeline: str = setting("", "CSV file that logs when each message was published.", read_only=True)


class BagPlayerNode(Node):
    """Publishes a bag's messages when they are due.

    Args:
        open_replay: Called with the node's own parameters declared; returns the opened bag.
    """

    def __init__(
        self, open_replay: Callable[[Node], Replay], settings_class: type[PlayerSettings], **node_options: Any
    ) -> None:
        super().__init__("bag_player_node", **node_options)
        self.settings = parameters.declare(self, settings_class)
        self._replay = open_replay(self)
        self._timeline = Timeline(self.settings.timeline)
        profile = qos.profile(self.settings.reliability, self.settings.depth)
        self._publishers_by_topic: dict[str, Any] = {}
        self._stamped: set[str] = set()
        for topic, type_name in self._replay.types.items():
            self._advertise(topic, type_name, profile)
        if not self._publishers_by_topic:
            raise SettingsError("none of the bag's topics can be played here")
        if self._replay.left_out:
            self.get_logger().info(
                f"leaving out the bag's {', '.join(self._replay.left_out)}: the player publishes its own /clock "
                f"(clock_hz is {self._replay.clock_hz:g}); set clock_hz to 0 to play the recorded one"
            )
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", 1) if self._replay.clock_hz else None
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._play, name="player", daemon=True)
        self._thread.start()
        self._watch = self.create_timer(0.1, self._end_when_played, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _advertise(self, topic: str, type_name: str, profile: Any) -> None:
        try:
            kind = message_class(type_name)
        except SettingsError as error:
            self.get_logger().warning(f"not playing {topic}: {error}")
            return
        self._publishers_by_topic[topic] = self.create_publisher(kind, topic, profile)
        if begins_with_header(kind):
            self._stamped.add(topic)

    def _play(self) -> None:
        self._await_subscribers()
        self.get_logger().info(f"playing {', '.join(self._publishers_by_topic)}")
        try:
            self._play_events()
        # The boundary of the thread: the executor's thread raises it again, so that the process fails.
        except Exception as error:
            self._error = error

    def _play_events(self) -> None:
        start, ticks, played, late_s = time.monotonic(), 0, 0, 0.0
        for event in self._replay.events():
            # Between messages, too, time has to go on for those who live by it.
            while self._clock_publisher and (tick_s := ticks / self._replay.clock_hz) <= event.due_s:
                if self._stop.wait(max(0.0, start + tick_s - time.monotonic())):
                    return
                self._clock_publisher.publish(ClockMessage(clock=time_message(self._replay.clock_ns(tick_s))))
                ticks += 1
            if self._stop.wait(max(0.0, start + event.due_s - time.monotonic())):
                return
            if event.topic in self._publishers_by_topic:
                late_s = max(late_s, time.monotonic() - start - event.due_s)
                self._publish(event)
                played += 1
        for publisher in self._publishers_by_topic.values():
            publisher.wait_for_all_acked(_LAST_WORDS)
        self.get_logger().info(f"played {played} messages, at most {late_s * 1e3:.1f} ms late")

    def _publish(self, event: ReplayEvent) -> None:
        cdr = bytes(event.message.cdr)
        if event.topic in self._stamped:
            self._timeline.note(event.topic, cdr)
        self._publishers_by_topic[event.topic].publish(cdr)

    def _await_subscribers(self) -> None:
        deadline = time.monotonic() + self.settings.wait_for_subscribers_s
        awaited, waiting = self._awaited(), []
        subscribers, since = 0, time.monotonic()
        while time.monotonic() < deadline and not self._stop.is_set():
            counts = {topic: self._publishers_by_topic[topic].get_subscription_count() for topic in awaited}
            waiting = [topic for topic, count in counts.items() if count == 0]
            if not waiting:
                return
            if sum(counts.values()) != subscribers:
                subscribers, since = sum(counts.values()), time.monotonic()
            if subscribers and not self._replay.chosen:
                waiting = []
                if time.monotonic() - since >= _SETTLED_S:
                    return
            self._stop.wait(0.05)
        if waiting:
            self.get_logger().warning(f"nobody subscribes to {', '.join(waiting)}; playing all the same")

    def _awaited(self) -> list[str]:
        """Return the topics whose subscribers are waited for; of a whole bag the images, as far as it has any."""
        topics = list(self._publishers_by_topic)
        images = [topic for topic in topics if self._replay.types[topic] in _IMAGES]
        return topics if self._replay.chosen else images or topics

    def _end_when_played(self) -> None:
        if self._thread.is_alive():
            return
        if self._error is not None:
            raise self._error
        raise SystemExit(0)

    def close(self) -> None:
        """Stop playing and close the timeline."""
        self._stop.set()
        self._thread.join()
        self._timeline.close()
