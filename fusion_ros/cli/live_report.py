"""What a live run did, frame by frame: the books, the latency, the metrics and the pictures."""

from __future__ import annotations

import csv
import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from ..alignment import CoarseAligner, CoarseSettings
from ..bags import BagReader, frame_of
from ..errors import BagError
from ..frame import Frame, Sensor
from ..geometry.warp import resize
from ..imaging import ThermalNormaliser, luma, to_uint8
from ..metrics import evaluate, select_columns
from . import pictures

__all__ = ["LiveReport", "Triple", "contact_sheet", "read_report", "read_triples"]

FUSED_TOPIC = "/fused/image"
_COLUMNS = select_columns("EN,SD,CC,SSIM,Qabf")
DIAGNOSTICS_TOPIC = "/diagnostics"
# Frames that are in no pair without having been dropped.
_NOT_DROPPED = {"pending": "still waiting at the end", "forwarded alone": "shown alone"}


@dataclass(frozen=True)
class LiveReport:
    """The books of one run; counts are frames, per sensor where they are dictionaries.

    Attributes:
        dropped: Sensor -> reason -> frames that are in no pair.
        pairs: What became of each pair.
        latency_ms: From publishing the reference frame to receiving the fused message.
    """

    engine: str
    published: dict[str, int]
    received: dict[str, int]
    dropped: dict[str, dict[str, int]]
    paired: int
    pairs: dict[str, int]
    recorded: int
    rate_hz: float
    latency_ms: dict[str, float]
    stages_ms: dict[str, str]
    offset_ms: dict[str, float]

    @property
    def discrepancies(self) -> list[str]:
        """Where the books do not balance; empty when every frame is accounted for."""
        found = []
        for sensor in self.published:
            accounted = self.paired + sum(self.dropped[sensor].values())
            if accounted != self.received[sensor]:
                found.append(f"{sensor}: {self.received[sensor]} received, {accounted} accounted for")
            if self.received[sensor] > self.published[sensor]:
                found.append(f"{sensor}: {self.received[sensor]} received of {self.published[sensor]} published")
        shown = sum(self.pairs.get(name, 0) for name in ("fused", "rgb_only", "thermal_only"))
        if self.recorded != shown:
            found.append(f"{shown} images published by the fusion node, {self.recorded} received")
        handed_on = self.paired + sum(reasons["forwarded alone"] for reasons in self.dropped.values())
        if sum(self.pairs.values()) != handed_on:
            found.append(f"{handed_on} pairs and single frames, {sum(self.pairs.values())} accounted for")
        return found

    def table(self) -> str:
        """Render for a terminal."""
        rows = [("", *self.published)]
        rows.append(("published", *(str(n) for n in self.published.values())))
        lost = {s: self.published[s] - self.received[s] for s in self.published}
        rows.append(("lost on the way", *(str(n) for n in lost.values())))
        rows.append(("received", *(str(n) for n in self.received.values())))
        reasons = sorted({reason for by in self.dropped.values() for reason in by})
        for reason in reasons:
            numbers = [self.dropped[s].get(reason, 0) for s in self.dropped]
            if any(numbers):
                rows.append((_NOT_DROPPED.get(reason, f"dropped: {reason}"), *map(str, numbers)))
        rows.append(("paired", *(str(self.paired) for _ in self.published)))
        lines = [f"  {name:<24}" + "".join(f"{value:>10}" for value in values) for name, *values in rows]
        for name, number in self.pairs.items():
            if number or name == "fused":
                lines.append(f"  {'pairs ' + name:<24}{number:>10}")
        lines += [
            f"  {'fused received':<24}{self.recorded:>10}   at {self.rate_hz:.1f} Hz",
            f"  {'latency p50 / p95':<24}{self.latency_ms['p50']:>10.1f} / {self.latency_ms['p95']:.1f} ms"
            "   (reference frame published -> fused message received)",
            f"  {'pair offset mean / p95':<24}{self.offset_ms['mean']:>10.1f} / {self.offset_ms['p95']:.1f} ms",
            f"  {'engine':<24}{self.engine}",
        ]
        return "\n".join(lines)

    def write(self, path: Path, **more: object) -> None:
        """Write as JSON, together with ``more``."""
        content = {**asdict(self), "discrepancies": self.discrepancies, **more}
        path.write_text(json.dumps(content, indent=2) + "\n")


def read_report(
    fused_bag: Path, published_csv: Path, received_csv: Path, topics: dict[str, str], reference: str = "rgb"
) -> LiveReport:
    """Balance the books of a run.

    Args:
        fused_bag: What the recorder wrote: the fused topic and the diagnostics.
        published_csv: The player's timeline.
        received_csv: The recorder's timeline.
        topics: Sensor name -> topic as it was published.

    Raises:
        BagError: The fusion node's diagnostics are not in the bag.
    """
    published = _timeline(published_csv)
    received = _timeline(received_csv).get(FUSED_TOPIC, [])
    status = _last_diagnostics(fused_bag)
    sent: dict[int, int] = {}
    for stamp, at in published.get(topics[reference], []):
        sent.setdefault(stamp, at)
    latencies = [(at - sent[stamp]) / 1e6 for stamp, at in received if stamp in sent]
    times = sorted(at for _, at in received)
    span_s = (times[-1] - times[0]) / 1e9 if len(times) > 1 else 0.0
    p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (np.nan, np.nan)
    sensors = list(topics)
    return LiveReport(
        engine=status["hardware_id"],
        published={s: len(published.get(topics[s], [])) for s in sensors},
        received={s: int(status[f"{s} received"]) for s in sensors},
        dropped={s: _dropped(status, s) for s in sensors},
        paired=int(status["paired"]),
        pairs={k.removeprefix("pairs "): int(v) for k, v in status.items() if k.startswith("pairs ")},
        recorded=len(received),
        rate_hz=(len(times) - 1) / span_s if span_s else 0.0,
        latency_ms={"p50": float(p50), "p95": float(p95)},
        stages_ms={k: v for k, v in status.items() if k.endswith("p50/p95 [ms]")},
        offset_ms={"mean": float(status["offset mean [ms]"]), "p95": float(status["offset p95 [ms]"])},
    )


def _timeline(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Return topic -> (stamp, moment) of every message, in order; stamps may repeat."""
    rows: dict[str, list[tuple[int, int]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["topic"], []).append((int(row["stamp_ns"]), int(row["monotonic_ns"])))
    return rows


def _last_diagnostics(fused_bag: Path) -> dict[str, str]:
    """Return the fusion node's last word: the values of all its statuses by key."""
    last = None
    with BagReader(fused_bag) as bag:
        for item in bag.messages([DIAGNOSTICS_TOPIC]) if DIAGNOSTICS_TOPIC in bag.topics else ():
            last = item
        if last is None:
            raise BagError(f"{fused_bag} holds no diagnostics: did fusion_node run?")
        statuses = last.message.status
        values = {pair.key: pair.value for status in statuses for pair in status.values}
        return {**values, "hardware_id": statuses[0].hardware_id}


def _dropped(status: dict[str, str], sensor: str) -> dict[str, int]:
    prefix = f"{sensor} dropped: "
    reasons = {key.removeprefix(prefix): int(value) for key, value in status.items() if key.startswith(prefix)}
    for key in ("malformed", "not processed while disabled", "pending"):
        reasons[key] = int(status[f"{sensor} {key}"])
    reasons["forwarded alone"] = int(status[f"{sensor} forwarded alone"])
    return reasons


@dataclass(frozen=True, eq=False)
class Triple:
    """One fused frame with its two sources on the same grid, all uint8; ``rgb`` and ``fused`` may be colour."""

    thermal: np.ndarray
    rgb: np.ndarray
    fused: np.ndarray
    stamp_ns: int

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the fused image, and for comparison of each source taken as the result."""
        visible, fused = (to_uint8(luma(image)) for image in (self.rgb, self.fused))
        return {
            name: evaluate(self.thermal, visible, result, _COLUMNS)
            for name, result in (("fused", fused), ("thermal", self.thermal), ("rgb", visible))
        }


def read_triples(
    source: Path, topics: dict[str, str], fused_bag: Path, number: int, alignment: CoarseSettings
) -> list[Triple]:
    """Return ``number`` fused frames, evenly spread, each with its RGB frame and the nearest thermal frame.

    Args:
        source: The bag that was played.
        topics: Sensor name -> topic in that bag.
        fused_bag: What the recorder wrote.
        number: How many at most.
        alignment: How the fusion node was told to align.
    """
    with BagReader(fused_bag) as bag:
        chosen = _pick([message.stamp_ns for message in bag.messages([FUSED_TOPIC])], number)
        fused = {frame.stamp_ns: frame for frame in _frames(bag, FUSED_TOPIC, set(chosen))}
    align, normalise = CoarseAligner(alignment), ThermalNormaliser()
    with BagReader(source) as bag:
        rgb = {f.stamp_ns: f for f in _frames(bag, topics["rgb"], set(fused))}
        stamps = sorted(m.stamp_ns for m in bag.messages([topics["thermal"]]))
        nearest = {stamp: _nearest(stamps, stamp) for stamp in fused}
        thermal = {f.stamp_ns: normalise(f) for f in _frames(bag, topics["thermal"], set(nearest.values()))}
    triples = []
    for stamp, result in sorted(fused.items()):
        if stamp in rgb and nearest[stamp] in thermal:
            size = result.size
            aligned = to_uint8(align(thermal[nearest[stamp]], size).pixels)
            triples.append(Triple(aligned, resize(_rgb8(rgb[stamp].pixels), size), result.pixels, stamp))
    return triples


def _frames(bag: BagReader, topic: str, stamps: set[int] | None = None) -> Iterable[Frame]:
    for message in bag.messages([topic]):
        if stamps is None or message.stamp_ns in stamps:
            yield frame_of(message)


def _rgb8(pixels: np.ndarray) -> np.ndarray:
    return to_uint8(pixels[..., :3] if pixels.ndim == 3 else pixels)


def _pick(stamps: list[int], number: int) -> list[int]:
    if len(stamps) <= number:
        return stamps
    # Not the very ends: the first frame of a video is rarely its best.
    places = np.linspace(0, len(stamps) - 1, number + 2)[1:-1]
    return [stamps[round(place)] for place in places]


def _nearest(sorted_stamps: list[int], stamp: int) -> int | None:
    place = bisect_left(sorted_stamps, stamp)
    return min(sorted_stamps[max(0, place - 1) : place + 1], key=lambda s: abs(s - stamp), default=None)


def contact_sheet(triples: list[Triple], path: Path) -> None:
    """Write thermal, RGB and fused side by side, one row a frame."""
    rows = [(triple.thermal, triple.rgb, triple.fused) for triple in triples]
    sheet = pictures.contact_sheet(rows, captions=(Sensor.THERMAL.value, "RGB", "fused"))
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
