"""Bags as recordings that can be evaluated."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..bags import BagMessage, BagReader, frame_of
from ..errors import FusionError, ImageError
from ..evaluation.recording import Moment, files_state, timed
from ..evaluation.replay import Arrival, PairedReplay
from ..evaluation.results import SourceFacts
from ..frame import FramePair, Sensor
from ..timing import Pair, PairingSettings

__all__ = ["BagRecording"]

_NS = 1_000_000_000


@dataclass(frozen=True)
class BagRecording:
    """A bag, gone through with the pairing of the fusion node.

    Attributes:
        topics: Topic of the RGB images, of the thermal images.
        fused: Label to topic of images that were fused when the bag was recorded.
        salvage: Read a damaged bag as far as it goes.
    """

    name: str
    path: str
    topics: tuple[str, str]
    pairing: PairingSettings
    fused: Mapping[str, str] = field(default_factory=dict)
    salvage: bool = False
    is_sequence: bool = True

    @property
    def count(self) -> int:
        """The most pairs that there can be; 0 where the bag cannot be read, which is said later."""
        try:
            with BagReader(self.path, salvage=self.salvage) as bag:
                return min(bag.require(topic).count for topic in self.topics)
        except FusionError:
            return 0

    @property
    def identity(self) -> str:
        """The files with sizes and times of change, the topics, the pairing."""
        path = Path(self.path)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return f"{self.name}: {files_state(files)} {self.topics} {dict(self.fused)} {self.pairing} {self.salvage}"

    def parts(self, size: int) -> list[BagRecording]:
        """Return itself: what it holds is one recording."""
        return [self]

    def open(self) -> _BagReading:
        """Begin to read.

        Raises:
            BagError: The bag cannot be read, or has no such topics; those that it has are named.
        """
        return _BagReading(self)


class _BagReading:
    def __init__(self, recording: BagRecording) -> None:
        self._recording = recording
        self._bag = BagReader(recording.path, salvage=recording.salvage)
        for topic in (*recording.topics, *recording.fused.values()):
            self._bag.require(topic)
        self._waiting: OrderedDict[int, Pair[Arrival]] = (
            OrderedDict()
        )  # by the RGB stamp, until the fused image comes
        self._replay = PairedReplay(self._arrivals(), recording.pairing)
        self._ready: list[tuple[int, BagMessage]] = []

    def __iter__(self) -> Iterator[Moment]:
        with closing(self._bag):
            for damage in self._bag.damage:
                yield Moment("", problem=damage)
            yield from self._fused_moments() if self._recording.fused else map(_moment, self._replay)

    def facts(self) -> SourceFacts:
        own, replay = self._recording, self._replay
        return SourceFacts(
            own.name, "bag", own.path, True, replay.received, replay.paired, replay.dropped, replay.offset_ms
        )

    def _arrivals(self) -> Iterator[Arrival]:
        """Yield the images of both cameras; fused ones on the way are kept for their pair."""
        sensors = dict(zip(self._recording.topics, (Sensor.RGB, Sensor.THERMAL), strict=True))
        for message in self._bag.messages([*sensors, *self._recording.fused.values()]):
            stamp_ns = message.stamp_ns
            if message.topic in sensors:
                decode = partial(frame_of, message)
                yield Arrival(sensors[message.topic], stamp_ns, message.receive_ns, decode)
            else:
                self._ready.append((stamp_ns, message))

    def _fused_moments(self) -> Iterator[Moment]:
        """Yield a moment for each pair whose fused image is in the bag, in the order of the fused images.

        A fused image carries the RGB frame's stamp, and was recorded after it.
        """
        (label,) = self._recording.fused
        for pair in self._replay:
            self._waiting[pair.rgb_stamp_ns] = pair
            yield from self._matched(label)
        yield from self._matched(label)

    def _matched(self, label: str) -> Iterator[Moment]:
        still: list[tuple[int, BagMessage]] = []
        for stamp_ns, message in self._ready:
            pair = self._waiting.pop(stamp_ns, None)
            if pair is None:
                still.append((stamp_ns, message))
                continue
            moment = _moment(pair)
            try:
                yield replace(moment, fused={label: frame_of(message).pixels})
            except ImageError as error:
                yield Moment(moment.name, problem=f"{moment.name}: fused image: {error}")
            while self._waiting and next(iter(self._waiting)) < stamp_ns:
                self._waiting.popitem(last=False)  # was never fused: the node had newer ones to do
        self._ready = still


def _moment(pair: Pair[Arrival]) -> Moment:
    name = f"{pair.rgb_stamp_ns // _NS}.{pair.rgb_stamp_ns % _NS:09d}"
    try:
        frames, milliseconds = timed(lambda: FramePair(pair.rgb.decode(), pair.thermal.decode(), pair.offset_ns))
    except FusionError as error:
        return Moment(name, problem=f"{name}: {error}")
    return Moment(name, frames, {}, milliseconds)
