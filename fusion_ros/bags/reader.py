"""Reading recordings of every kind through one small interface."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import BagError, nearest_name
from ..timing.stamps import HEADER_BYTES, header_stamp_ns
from .codec import MessageCodec
from .sources import FORMAT_ERRORS, OpenedSource, Source, open_sources

__all__ = ["IMAGE_TYPES", "BagMessage", "BagReader", "TopicInfo"]

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: its message type such as ``sensor_msgs/msg/Image``, and how many there are."""

    name: str
    type: str
    count: int


@dataclass(frozen=True, eq=False)
class BagMessage:
    """One recorded message, decoded only when asked.

    Attributes:
        receive_ns: When the recorder received it; the acquisition time is in the message's header.
    """

    topic: str
    type: str
    receive_ns: int
    _raw: bytes = field(repr=False)
    _codec: MessageCodec = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the record in the bag."""
        return len(self._raw)

    @cached_property
    def cdr(self) -> bytes:
        """The message as ROS 2 CDR bytes, ready to publish; rewritten where ROS 1 recorded it."""
        return self._codec.cdr(self._raw)

    @cached_property
    def message(self) -> Any:
        """The message as an object with the ROS 2 type's fields as attributes."""
        return self._codec.message(self._raw)

    @property
    def stamp_ns(self) -> int | None:
        """The header's stamp, read without decoding the rest; None for a type without a header.

        Raises:
            BagError: The record is too short to hold its header.
        """
        if not self._codec.starts_with_header:
            return None
        if len(self.cdr) < HEADER_BYTES:
            raise BagError(f"{self.topic}: a record is too short to hold a header: {len(self.cdr)} bytes")
        return header_stamp_ns(self.cdr)


class BagReader:
    """One recording: a rosbag2 folder, a bare ``.mcap`` or ``.db3`` file, or ``.bag`` files of ROS 1.

    Several paths are read as one recording, merged by time. Use it as a context manager::

        with BagReader("drive/") as bag:
            for message in bag.messages(["/rgb/image_raw"]):
                ...

    Times are integer nanoseconds of the recorder's clock; an interval includes its start and not
    its end.

    Args:
        paths: At least one.
        salvage: Read a damaged recording as far as it goes; ``damage`` then says what is missing.
            Without it such a recording is refused, so that nobody evaluates half a drive unawares.

    Raises:
        BagError: A path does not exist, is not a bag, has a storage that cannot be read, or is damaged.
    """

    def __init__(self, *paths: str | Path, salvage: bool = False) -> None:
        if not paths:
            raise BagError("expected at least one path of a bag, got none")
        self.paths = tuple(Path(path) for path in paths)
        self.damage: tuple[str, ...] = ()
        self._sources: list[Source] = []
        self._codecs: dict[tuple[int, int], MessageCodec] = {}
        try:
            for path in self.paths:
                for opened in open_sources(path, salvage=salvage):
                    self._add(opened)
        except BaseException:
            self.close()
            raise
        self.topics: dict[str, TopicInfo] = self._list_topics()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files; closing twice is allowed."""
        while self._sources:
            self._sources.pop().close()

    @property
    def count(self) -> int:
        """Number of messages in the recording."""
        return sum(topic.count for topic in self.topics.values())

    @property
    def start_ns(self) -> int:
        """Receive time of the first message; 0 for an empty bag."""
        return min((source.start_time for source in self._filled()), default=0)

    @property
    def end_ns(self) -> int:
        """The first instant after the last message (half-open); 0 for an empty bag."""
        return max((source.end_time for source in self._filled()), default=0)

    def image_topics(self) -> list[str]:
        """Names of the topics that carry raw or compressed images."""
        return [topic.name for topic in self.topics.values() if topic.type in IMAGE_TYPES]

    def require(self, topic: str, types: str | Iterable[str] = IMAGE_TYPES) -> TopicInfo:
        """Return a topic's description.

        Raises:
            BagError: The bag has no such topic (those that it has are named), or its type is not in ``types``.
        """
        types = (types,) if isinstance(types, str) else tuple(types)
        info = self.topics.get(topic)
        if info is None:
            raise BagError(f"{self._name()} has no topic {topic!r}; {self._hint(topic, types)}")
        if info.type not in types:
            raise BagError(f"{topic}: expected a topic of type {' or '.join(types)}, got {info.type}")
        return info

    def messages(
        self,
        topics: Iterable[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Yield messages in receive order, at or after ``start_ns`` and before ``stop_ns``.

        Args:
            topics: Names to read; None reads all.

        Raises:
            BagError: A named topic does not exist, or the recording turns out damaged on the way.
        """
        wanted = set(self.topics) if topics is None else set(topics)
        for name in sorted(wanted - set(self.topics)):
            self.require(name)
        streams = [self._stream(index, wanted, start_ns, stop_ns) for index in range(len(self._sources))]
        return heapq.merge(*streams, key=lambda message: message.receive_ns)

    def _stream(
        self, index: int, wanted: set[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[BagMessage]:
        source = self._sources[index]
        connections = [item for item in source.connections if item.topic in wanted]
        if not connections:
            return  # the readers take an empty selection for "everything"
        records = source.messages(connections, start_ns, stop_ns)
        delivered = 0
        while True:
            try:
                record = next(records, None)
            except FORMAT_ERRORS as error:
                raise BagError(
                    f"{self._name()} is damaged: {delivered} messages could be read, then: {error}"
                ) from error
            if record is None:
                return
            connection, receive_ns, raw = record
            delivered += 1
            codec = self._codecs[index, connection.id]
            yield BagMessage(connection.topic, connection.msgtype, receive_ns, raw, codec)

    def _add(self, opened: OpenedSource) -> None:
        index = len(self._sources)
        self._sources.append(opened.source)
        self.damage += (opened.damage,) if opened.damage else ()
        for connection in opened.source.connections:
            self._codecs[index, connection.id] = MessageCodec(connection, ros1=opened.ros1)

    def _list_topics(self) -> dict[str, TopicInfo]:
        topics: dict[str, TopicInfo] = {}
        connections = [item for source in self._sources for item in source.connections]
        for item in sorted(connections, key=lambda connection: connection.topic):
            known = topics.get(item.topic, TopicInfo(item.topic, item.msgtype, 0))
            if known.type != item.msgtype:
                raise BagError(
                    f"{item.topic} carries two types, {known.type} and {item.msgtype}; split the recording"
                )
            topics[item.topic] = TopicInfo(item.topic, item.msgtype, known.count + item.msgcount)
        return topics

    def _filled(self) -> list[Source]:
        return [source for source in self._sources if source.message_count]

    def _hint(self, topic: str, types: tuple[str, ...]) -> str:
        """Name the topics of the types wanted, or all where there is none, with the nearest first."""
        candidates = [name for name, other in self.topics.items() if other.type in types] or list(self.topics)
        if not candidates:
            return "it has no topics at all"
        hint, listed = nearest_name(topic, candidates), ", ".join(candidates)
        return f"{hint} It has {listed}" if hint.endswith("?") else f"it has {listed}"

    def _name(self) -> str:
        return ", ".join(map(str, self.paths))
