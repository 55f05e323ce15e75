"""Bags as recordings that can be evaluated."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..bags import BagMessage, BagReader, frame_of
from ..errors import BagError, FusionError, ImageError
from ..evaluation.recording import Moment, files_state, timed
from ..evaluation.replay import Arrival, PairedReplay
from ..evaluation.results import SourceFacts
from ..frame import FramePair, Sensor
from ..timing import Pair, PairingSettings

__all__ = ["BagRecording"]

_NS = 1_000_000_000
_PATIENCE_NS = 10 * _NS  # how long a pair and its fused image may be apart in the recorder's time


@dataclass(frozen=True)
class BagRecording:
    """A bag, gone through with the pairing of the fusion node.

    Attributes:
        topics: Topic of the RGB images, of the thermal images.
        fused: Label to topic of images that were fused when the bag was recorded; one at most.
        reference: Camera whose stamp the fused images carry.
        salvage: Read a damaged bag as far as it goes.
    """

    name: str
    path: str
    topics: tuple[str, str]
    pairing: PairingSettings
    fused: Mapping[str, str] = field(default_factory=dict)
    reference: Sensor = Sensor.RGB
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
    def facts(self) -> SourceFacts:
        """What is known without reading it."""
        return SourceFacts(self.name, "bag", self.path, self.is_sequence)

    @property
    def identity(self) -> str:
        """The files with sizes and times of change, the topics, the pairing."""
        path = Path(self.path)
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        return f"{files_state(files)} {self}"

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
        try:
            for topic in (*recording.topics, *recording.fused.values()):
                self._bag.require(topic)
        except BagError:
            self._bag.close()
            raise
        self._replay = PairedReplay(self._arrivals(), recording.pairing)
        self._now_ns = 0
        self._waiting: deque[Pair[Arrival]] = deque()  # for their fused images
        self._fused: OrderedDict[int, BagMessage] = OrderedDict()  # by stamp, for their pairs
        fused = recording.fused.values()
        self._awaited = {message.stamp_ns for message in self._bag.messages(fused)} if fused else set()
        self._counts = Counter[str]()

    def __iter__(self) -> Iterator[Moment]:
        with closing(self._bag):
            for damage in self._bag.damage:
                yield Moment("", problem=damage)
            yield from self._with_fused() if self._recording.fused else map(_moment, self._replay)

    def facts(self) -> SourceFacts:
        replay, dropped, received = self._replay, dict(self._replay.dropped), dict(self._replay.received)
        for label in self._recording.fused:
            received[label] = self._counts["fused"]
            reasons = {
                "no pair of its stamp": self._counts["fused"] - self._counts["matched"],
                "none for a pair": replay.paired - self._counts["matched"],
            }
            dropped[label] = {reason: number for reason, number in reasons.items() if number}
        facts = self._recording.facts
        return replace(facts, received=received, paired=replay.paired, dropped=dropped, offset_ms=replay.offset_ms)

    def _arrivals(self) -> Iterator[Arrival]:
        """Yield the images of both cameras; fused ones on the way are kept for their pair."""
        sensors = dict(zip(self._recording.topics, (Sensor.RGB, Sensor.THERMAL), strict=True))
        for message in self._bag.messages([*sensors, *self._recording.fused.values()]):
            self._now_ns = message.receive_ns
            if message.topic in sensors:
                decode = partial(frame_of, message)
                yield Arrival(sensors[message.topic], message.stamp_ns, message.receive_ns, decode)
                continue
            self._counts["fused"] += 1
            self._fused[message.stamp_ns] = message
            while self._now_ns - next(iter(self._fused.values())).receive_ns > _PATIENCE_NS:
                self._fused.popitem(last=False)

    def _with_fused(self) -> Iterator[Moment]:
        """Yield every pair, with its fused image where there is one: that with the reference frame's stamp."""
        for pair in self._replay:
            self._waiting.append(pair)
            while self._waiting and self._is_decided(self._waiting[0]):
                yield self._fused_moment(self._waiting.popleft())
        while self._waiting:
            yield self._fused_moment(self._waiting.popleft())

    def _is_decided(self, pair: Pair[Arrival]) -> bool:
        """Whether a pair's fused image is here, or comes no more: there is none in the bag, or time is up."""
        stamp_ns, received_ns = self._stamp_ns(pair), max(pair.rgb.receive_ns, pair.thermal.receive_ns)
        is_late = self._now_ns - received_ns > _PATIENCE_NS
        return stamp_ns in self._fused or stamp_ns not in self._awaited or is_late

    def _fused_moment(self, pair: Pair[Arrival]) -> Moment:
        moment = _moment(pair)
        message = self._fused.pop(self._stamp_ns(pair), None)
        if message is None:
            return moment
        self._counts["matched"] += 1
        (label,) = self._recording.fused
        try:
            return replace(moment, fused={label: frame_of(message).pixels})
        except ImageError as error:
            return Moment(moment.name, problem=f"{moment.name}: fused image: {error}")

    def _stamp_ns(self, pair: Pair[Arrival]) -> int:
        return pair.rgb_stamp_ns if self._recording.reference is Sensor.RGB else pair.thermal_stamp_ns


def _moment(pair: Pair[Arrival]) -> Moment:
    name = f"{pair.rgb_stamp_ns // _NS}.{pair.rgb_stamp_ns % _NS:09d}"
    try:
        frames, milliseconds = timed(lambda: FramePair(pair.rgb.decode(), pair.thermal.decode(), pair.offset_ns))
    except FusionError as error:
        return Moment(name, problem=f"{name}: {error}")
    return Moment(name, frames, {}, milliseconds)
