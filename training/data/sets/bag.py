"""Recordings of two cameras, ROS 1 or ROS 2, as pairs: paired, normalised and aligned as on the robot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fusion_ros.alignment import CoarseAligner
from fusion_ros.bags import BagMessage, BagReader, frame_of
from fusion_ros.errors import BagError, CalibrationError, ImageError, SettingsError
from fusion_ros.frame import Frame, Sensor
from fusion_ros.imaging import ThermalNormaliser, ThermalSettings, luma, to_uint8
from fusion_ros.settings import setting
from fusion_ros.timing import PairingSettings, StampPairer

from ..pairs import MemoryPair, registered
from .aligned import AlignOptions
from .base import DataSet, Found, SetOptions, thinned
from .memory import check_memory

__all__ = ["Bag", "BagOptions"]

_NS = 1_000_000_000
_MOST_PROBLEMS = 5
Stamps = dict[str, tuple[int, int]]
"""Stamps of the RGB and the thermal frame of each pair, in ns, by the pair's stem."""


@dataclass(frozen=True)
class BagOptions(AlignOptions):
    """Which topics, and how their images become pairs; the same settings as of the fusion node."""

    rgb_topic: str = setting("/rgb/image_raw", "Topic of the RGB images, raw or compressed.")
    thermal_topic: str = setting("/thermal/image_raw", "Topic of the thermal images, raw or compressed.")
    pairing: PairingSettings = setting(PairingSettings(), "How frames are paired.")
    thermal: ThermalSettings = setting(ThermalSettings(), "How thermal values become brightness.")


class Bag(DataSet):
    """Recordings of one's own."""

    name = "bag"
    title = "a recording of two cameras, ROS 1 or ROS 2"
    tree = """\
  <root>   a rosbag2 folder, an .mcap or .db3 file, or a .bag file of ROS 1
    /rgb/image_raw       sensor_msgs/Image or CompressedImage   (option rgb_topic)
    /thermal/image_raw   the same, 8 or 16 bits                 (option thermal_topic)"""
    licence = "that of one's own recordings"
    registered = "As the cameras are: see align; by default both are taken to show the same field of view."
    example = "bag=drive1,rgb_topic=/camera/image_raw,thermal_topic=/boson/image_raw,every=10"
    options = BagOptions

    def find(self, root: Path, options: SetOptions | None = None) -> Found:
        """Pair the frames, decode those that are taken, and keep them; see :meth:`DataSet.find`.

        A recording that breaks off gives what can be read of it, and a note.

        Raises:
            SettingsError: There is no bag, it lacks a topic, nothing in it is a pair, or the pairs do not fit into
                memory.
        """
        options = options or self.options()
        topics = {options.rgb_topic: Sensor.RGB, options.thermal_topic: Sensor.THERMAL}
        notes: list[str] = []
        try:
            with BagReader(root, salvage=True) as bag:
                for topic in topics:
                    bag.require(topic)
                notes += bag.damage
                stamps = _paired(_readable(bag, topics, notes), topics, options.pairing, notes)
                if not stamps:
                    raise SettingsError(
                        f"{self.name}: no two frames of {root} are within {options.pairing.tolerance_ms:g} ms; "
                        f"{'; '.join(notes)}; raise pairing.tolerance_ms or set pairing.thermal_offset_ms"
                    )
                wanted = {stem: stamps[stem] for stem in thinned(list(stamps), self.name, options)}
                decoder = _Decoder(f"{self.name}: {root}", wanted, options, notes)
                pairs = decoder.decode(_readable(bag, topics, []), topics)
        except BagError as error:
            raise SettingsError(f"{self.name}: {error}; expected\n{self.tree}") from error
        if not pairs:
            raise SettingsError(f"{self.name}: not one pair of {root} can be decoded: {'; '.join(notes)}")
        return Found(pairs, (), tuple(notes))


def _readable(bag: BagReader, topics: Iterable[str], notes: list[str]) -> Iterator[BagMessage]:
    """Yield messages up to where the recording is damaged, if it is."""
    try:
        yield from bag.messages(topics)
    except BagError as error:
        notes.append(str(error))


def _paired(
    messages: Iterable[BagMessage], topics: dict[str, Sensor], settings: PairingSettings, notes: list[str]
) -> Stamps:
    """Return which stamps belong together; nothing is decoded."""
    pairer: StampPairer[int] = StampPairer(settings)
    pairs, now_ns = [], 0
    for message in messages:
        now_ns, stamp_ns = message.receive_ns, message.stamp_ns
        pairs += pairer.add(topics[message.topic], stamp_ns, stamp_ns, now_ns)
    pairs += pairer.flush(now_ns)
    counts = pairer.counts
    received = {sensor.value: counts.received[sensor] for sensor in Sensor}
    notes.append(f"{counts.paired} pairs of {received['rgb']} RGB and {received['thermal']} thermal frames")
    both = [(pair.rgb, pair.thermal) for pair in pairs if pair.rgb is not None and pair.thermal is not None]
    return {f"{rgb // _NS}.{rgb % _NS:09d}": (rgb, thermal) for rgb, thermal in both}


@dataclass
class _Decoder:
    """Decodes the frames of the pairs that are wanted, in one pass."""

    what: str
    wanted: Stamps
    options: BagOptions
    notes: list[str]
    frames: dict[tuple[Sensor, int], np.ndarray] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def decode(self, messages: Iterable[BagMessage], topics: dict[str, Sensor]) -> tuple[MemoryPair, ...]:
        """Return the pairs, in order of their stamps.

        Raises:
            SettingsError: They do not fit into memory, or the alignment does not fit the images.
        """
        normaliser, aligner = ThermalNormaliser(self.options.thermal), CoarseAligner(self.options.align)
        stem_of = {
            (sensor, stamp): stem for stem, both in self.wanted.items() for sensor, stamp in _by_sensor(both)
        }
        pairs: dict[str, MemoryPair] = {}
        for message in tqdm(messages, desc=self.what, unit="frame", disable=None):
            key = topics[message.topic], message.stamp_ns
            stem = stem_of.get(key)
            if stem is None or stem in pairs or not self._keep(key, message, normaliser):
                continue
            own = list(_by_sensor(self.wanted[stem]))
            if all(part in self.frames for part in own):
                visible, infrared = (self.frames.pop(part) for part in own)
                if not pairs:
                    check_memory(self.what, len(self.wanted), visible.shape)
                pairs[stem] = self._pair(stem, infrared, visible, aligner)
        self._note_problems(len(pairs))
        return tuple(pairs[stem] for stem in self.wanted if stem in pairs)

    def _keep(self, key: tuple[Sensor, int], message: BagMessage, normaliser: ThermalNormaliser) -> bool:
        try:
            frame = frame_of(message)
            self.frames[key] = _grey(frame, normaliser if key[0] is Sensor.THERMAL else None)
        except (BagError, ImageError) as error:
            self.problems.append(f"{message.topic}: {error}")
            return False
        return True

    def _pair(self, stem: str, infrared: np.ndarray, visible: np.ndarray, aligner: CoarseAligner) -> MemoryPair:
        try:
            return MemoryPair(f"{Bag.name}/{stem}", registered(infrared, visible, aligner))
        except CalibrationError as error:
            raise SettingsError(f"{self.what}: {error}") from error

    def _note_problems(self, decoded: int) -> None:
        missing = len(self.wanted) - decoded
        if missing:
            shown = "; ".join(self.problems[:_MOST_PROBLEMS])
            self.notes.append(f"{missing} pairs cannot be decoded: {shown}")


def _by_sensor(stamps: tuple[int, int]) -> Sequence[tuple[Sensor, int]]:
    return (Sensor.RGB, stamps[0]), (Sensor.THERMAL, stamps[1])


def _grey(frame: Frame, normaliser: ThermalNormaliser | None) -> np.ndarray:
    return to_uint8(normaliser(frame) if normaliser else luma(frame.pixels))
