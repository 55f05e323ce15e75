"""When each message of a bag is due: pure scheduling, without a clock and without sleeping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import BagError, SettingsError
from ..settings import Settings, setting
from .reader import BagMessage, BagReader

__all__ = ["Replay", "ReplayEvent", "ReplaySettings"]

_ARROW = ":="
_CLOCK = "/clock"
_SHORTEST_LAP_S = 0.001  # below this a loop is nothing but a flood


@dataclass(frozen=True)
class ReplaySettings(Settings):
    """How a bag is played back."""

    rate: float = setting(1.0, "Speed relative to the recording; 2 plays twice as fast.", bounds=(0.001, 1000.0))
    loop: bool = setting(False, "Start again at the beginning when the end is reached.")
    start_offset_s: float = setting(0.0, "Skip this much of the beginning.", unit="s", bounds=(0.0, None))
    duration_s: float = setting(
        0.0, "Play this much of the recording; 0 plays to the end.", unit="s", bounds=(0.0, None)
    )
    topics: tuple[str, ...] = setting((), "Topics to play; none given plays all.", element=str)
    remap: tuple[str, ...] = setting((), "Topics to publish under another name, each as from:=to.", element=str)
    clock_hz: float = setting(
        100.0,
        "Rate of /clock messages in wall time, in place of any that the bag holds; 0 publishes no clock.",
        unit="Hz",
        bounds=(0.0, 1000.0),
    )

    def check(self) -> None:
        """Check that every entry of ``remap`` can be read."""
        self.renamed()

    def renamed(self) -> dict[str, str]:
        """Return the new topic name by the recorded one.

        Raises:
            SettingsError: An entry of ``remap`` is not of the form ``from:=to``, or repeats a topic.
        """
        names: dict[str, str] = {}
        for entry in self.remap:
            recorded, arrow, published = entry.partition(_ARROW)
            if not (arrow and recorded and published):
                raise SettingsError(f"remap: expected from:=to, got {entry!r}")
            if recorded in names:
                raise SettingsError(f"remap: {recorded} is renamed twice")
            names[recorded] = published
        return names


@dataclass(frozen=True, eq=False)
class ReplayEvent:
    """One message to publish.

    Attributes:
        due_s: Seconds after the start of the replay, on the player's monotonic clock.
        clock_ns: Bag time at that moment, for ``/clock``; jumps back where a loop begins anew.
        topic: The name to publish under, after remapping.
    """

    due_s: float
    clock_ns: int
    topic: str
    message: BagMessage


class Replay:
    """The timetable of one replay.

    Attributes:
        topics: Published name of each topic that is played, by its recorded name.
        types: Message type of each topic, by its published name.
        clock_hz: Rate of /clock in wall time; 0 for none.
        chosen: Whether the settings name the topics to play.
        left_out: Recorded topics that would go out as ``/clock`` beside the player's own, and are not played.

    Args:
        reader: An open bag; it must stay open while events are drawn.
        settings: Which part, how fast, under which names.

    Raises:
        BagError: A topic to play or to rename is not in the bag, topics of different types get one
            name, nothing but a clock is to be played, or nothing lies in the chosen part.
    """

    def __init__(self, reader: BagReader, settings: ReplaySettings | None = None) -> None:
        self.settings = settings or ReplaySettings()
        self._reader = reader
        self._names = self.settings.renamed()
        for topic in (*self.settings.topics, *self._names):
            reader.require(topic, {info.type for info in reader.topics.values()})
        self.clock_hz = self.settings.clock_hz
        self.chosen = bool(self.settings.topics)
        self.topics = {topic: self._names.get(topic, topic) for topic in self.settings.topics or reader.topics}
        # Two clocks on one topic: time would jump between them with each message.
        self.left_out = tuple(t for t, name in self.topics.items() if self.clock_hz and name == _CLOCK)
        for topic in self.left_out:
            del self.topics[topic]
        if self.left_out and not self.topics:
            raise BagError(
                f"nothing to play: {', '.join(self.left_out)} gives way to the player's own {_CLOCK}; "
                "set clock_hz to 0 to play the recorded one"
            )
        self.types = self._published_types()
        self.start_ns = reader.start_ns + round(self.settings.start_offset_s * 1e9)
        self.stop_ns = reader.end_ns
        if self.settings.duration_s:
            self.stop_ns = min(self.stop_ns, self.start_ns + round(self.settings.duration_s * 1e9))
        if next(self._messages(), None) is None:
            length_s = (reader.end_ns - reader.start_ns) / 1e9
            raise BagError(
                f"nothing to play: no message in the chosen part (from {self.settings.start_offset_s:g} s on, "
                f"the recording is {length_s:.3f} s long)"
            )

        if self.settings.loop and self.lap_s < _SHORTEST_LAP_S:
            raise BagError(f"the chosen part is too short to loop: one pass takes {self.lap_s:.3g} s")

    @property
    def lap_s(self) -> float:
        """How long one pass takes on the player's clock."""
        return (self.stop_ns - self.start_ns) / 1e9 / self.settings.rate

    def clock_ns(self, elapsed_s: float) -> int:
        """Return the bag time ``elapsed_s`` seconds after the start, for ``/clock`` between messages.

        Starts over with each loop; without looping it stops at the end.
        """
        if self.settings.loop:
            elapsed_s %= self.lap_s
        return min(self.start_ns + round(elapsed_s * self.settings.rate * 1e9), self.stop_ns)

    def events(self) -> Iterator[ReplayEvent]:
        """Yield the messages in the order they are due; endless where ``loop`` is set.

        A loop goes on in due time and jumps back in bag time, as ``ros2 bag play --loop`` does.
        """
        lap = 0
        while True:
            begin_s = lap * self.lap_s
            for message in self._messages():
                due_s = begin_s + (message.receive_ns - self.start_ns) / 1e9 / self.settings.rate
                yield ReplayEvent(due_s, message.receive_ns, self.topics[message.topic], message)
            if not self.settings.loop:
                return
            lap += 1

    def _published_types(self) -> dict[str, str]:
        types: dict[str, str] = {}
        for recorded, published in self.topics.items():
            kind = self._reader.topics[recorded].type
            if types.setdefault(published, kind) != kind:
                raise BagError(f"remap: {published} would carry two types, {types[published]} and {kind}")
        return types

    def _messages(self) -> Iterator[BagMessage]:
        return self._reader.messages(self.topics, self.start_ns, self.stop_ns)
