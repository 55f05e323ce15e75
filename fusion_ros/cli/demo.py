"""``fusion-ros demo``: the main job, end to end, over real ROS 2: player, fusion_node, recorder."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..alignment import CoarseSettings
from ..bags import IMAGE_TYPES, BagReader, frames
from ..errors import BagError, FusionError
from ..frame import Sensor
from ..synthetic import SyntheticWorld, WorldSettings
from .live_report import DIAGNOSTICS_TOPIC, FUSED_TOPIC, contact_sheet, read_report, read_triples
from .processes import Processes, isolated_environment, node_command
from .synth import Capture, write_bag

HELP = "fuse a recording over real ROS 2 and show what came out"
EXAMPLES = """
  fusion-ros demo
  fusion-ros demo --condition smoke --duration 20
  fusion-ros demo --bag drive/ --rgb /camera/image_raw --thermal /boson/image_raw
"""
# Frames that the metrics are averaged over, and rows of the contact sheet.
_METRIC_FRAMES, _SHEET_ROWS = 12, 4
# The synthetic recording's first moment; any will do.
_START_NS = 1_700_000_000_000_000_000
# Less leaves no pair to look at.
_SHORTEST_S = 1.0
# Time after the last frame for pairing to give up waiting and for a last word of diagnostics.
_DRAIN_S = 2.5


@dataclass(frozen=True)
class Recording:
    """A bag with the two image topics to fuse, by sensor name; sizes are ``(h, w)``."""

    path: Path
    topics: dict[str, str]
    types: dict[str, str]
    seconds: float
    rgb_size: tuple[int, int]
    alignment: CoarseSettings = field(default_factory=CoarseSettings)

    @property
    def live_topics(self) -> dict[str, str]:
        """Sensor name -> the topic that the player publishes its images on."""
        return {
            name: f"/{name}/image_raw" + ("/compressed" if _is_compressed(kind) else "")
            for name, kind in self.types.items()
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recording, or the synthetic world to record."""
    parser.add_argument("--bag", type=Path, help="your own bag; without it a synthetic street is recorded first")
    parser.add_argument("--rgb", help="RGB image topic of --bag")
    parser.add_argument("--thermal", help="thermal image topic of --bag")
    conditions = WorldSettings.describe()["condition"].choices
    parser.add_argument("--condition", default="night", choices=conditions, help="of the synthetic street")
    parser.add_argument("--duration", type=float, default=12.0, help="length of the synthetic recording")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for everything that is written")
    parser.add_argument("--model", default="reconet", help="name of a shipped model, or path of a model folder")
    parser.add_argument("--engine", default="auto", help="auto, torch or openvino")


def main(args: argparse.Namespace) -> int:
    """Run the demo; 0 when every frame is accounted for."""
    if not args.bag and (args.rgb or args.thermal):
        raise FusionError("--rgb and --thermal name topics of a bag: give it with --bag (make demo BAG=...)")
    if not args.duration >= _SHORTEST_S:
        raise FusionError(f"--duration: expected at least {_SHORTEST_S:g} s, got {args.duration:g}")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"--out: {args.out} cannot be made: {error.strerror}") from error
    recording = open_recording(args.bag, args.rgb, args.thermal) if args.bag else _synthetic(args)
    _run(recording, args)
    fused_bag = args.out / "fused"
    report = read_report(fused_bag, args.out / "published.csv", args.out / "received.csv", recording.live_topics)
    print(f"\n{report.table()}")
    if not report.recorded:
        raise FusionError(f"nothing was fused; see {args.out / 'fusion_node.log'}")
    triples = read_triples(recording.path, recording.topics, fused_bag, _METRIC_FRAMES, recording.alignment)
    metrics = _mean_metrics([triple.metrics() for triple in triples])
    _print_metrics(metrics)
    step = max(1, len(triples) // _SHEET_ROWS)
    contact_sheet(triples[::step][:_SHEET_ROWS], args.out / "contact_sheet.png")
    report.write(args.out / "report.json", bag=str(recording.path), topics=recording.topics, metrics=metrics)
    print(f"\n  wrote {fused_bag} (MCAP), {args.out / 'contact_sheet.png'}, {args.out / 'report.json'}")
    for discrepancy in report.discrepancies:
        print(f"  the books do not balance: {discrepancy}")
    return 1 if report.discrepancies else 0


def open_recording(path: Path, rgb: str | None, thermal: str | None) -> Recording:
    """Look at a bag of the user's.

    Raises:
        BagError: The bag cannot be read, or a topic is not named, not there or no image topic.
    """
    with BagReader(path) as bag:
        if not rgb or not thermal:
            listed = ", ".join(bag.image_topics()) or "none"
            raise BagError(f"name both topics (RGB=... THERMAL=..., --rgb, --thermal); {path} has these: {listed}")
        topics = {Sensor.RGB.value: rgb, Sensor.THERMAL.value: thermal}
        types = {name: bag.require(topic, IMAGE_TYPES).type for name, topic in topics.items()}
        first = next(iter(frames(bag, rgb)), None)
        if first is None:
            raise BagError(f"{path}: {rgb} holds no image")
        return Recording(path, topics, types, (bag.end_ns - bag.start_ns) / 1e9, first.size)


def _synthetic(args: argparse.Namespace) -> Recording:
    path = args.out / "synthetic"
    world = SyntheticWorld(WorldSettings(condition=args.condition))
    captures = _with_progress(world.frames(args.duration, _START_NS), args.duration)
    write_bag(path, "mcap", world, captures, overwrite=True)
    recording = open_recording(path, "/rgb/image_raw", "/thermal/image_raw")
    return replace(recording, alignment=CoarseSettings.for_rig(world.rig))


def _with_progress(captures: Iterator[Capture], seconds: float) -> Iterator[Capture]:
    with tqdm(total=seconds, desc="recording a synthetic street", unit="s", bar_format=_BAR) as bar:
        for capture in captures:
            yield capture
            bar.update((capture[0] - _START_NS) / 1e9 - bar.n)


_BAR = "{desc}: {percentage:3.0f}%|{bar:40}| {n:.1f}/{total:.1f} s"


def _run(recording: Recording, args: argparse.Namespace) -> None:
    """Let the three processes work, and end them in the order in which nothing gets lost."""
    out = args.out.resolve()
    _make_room(out / "fused", recording.path)
    with Processes(isolated_environment()) as processes:
        processes.start("recorder", _recorder(out), out / "recorder.log")
        processes.start("fusion_node", _fusion(recording, args), out / "fusion_node.log")
        processes.await_log("recorder", "recording", 60)
        processes.await_log("fusion_node", "active:", 120)
        processes.start("player", _player(recording, out), out / "player.log")
        processes.await_log("player", "playing", 60)
        _watch(processes, recording.seconds)
        time.sleep(_DRAIN_S)
        processes.require_alive("fusion_node", "recorder")
        # First the fusion node, whose last diagnostics the recorder is to have.
        processes.interrupt("fusion_node")
        processes.wait("fusion_node", 20)
        time.sleep(0.5)
        processes.interrupt("recorder")
        processes.wait("recorder", 20)


def _make_room(fused: Path, source: Path) -> None:
    """Remove an earlier run's fused bag, and nothing else."""
    if source.resolve() in (fused, *fused.parents):
        raise FusionError(f"{source} is where the fused bag goes; choose another folder with --out (OUT=...)")
    if not fused.exists():
        return
    if not (fused / "metadata.yaml").is_file():
        raise FusionError(f"{fused} exists and is not a bag, so it is not removed; choose another --out (OUT=...)")
    shutil.rmtree(fused)


def _watch(processes: Processes, seconds: float) -> None:
    start = time.monotonic()
    with tqdm(total=seconds, desc="fusing it over ROS 2", unit="s", bar_format=_BAR) as bar:
        while "player" not in (ended := processes.ended()):
            processes.require_alive("fusion_node", "recorder")
            bar.update(min(time.monotonic() - start, seconds) - bar.n)
            time.sleep(0.1)
        bar.update(seconds - bar.n)
    if ended["player"]:
        processes.require_alive("player")


def _recorder(out: Path) -> list[str]:
    topics = [f"{FUSED_TOPIC}:sensor_msgs/msg/Image", f"{DIAGNOSTICS_TOPIC}:diagnostic_msgs/msg/DiagnosticArray"]
    parameters = {"topics": topics, "out": str(out / "fused"), "timeline": str(out / "received.csv")}
    return node_command("recorder_node", parameters)


def _fusion(recording: Recording, args: argparse.Namespace) -> list[str]:
    parameters: dict[str, Any] = {
        "model": str(args.model),
        "engine.name": args.engine,
        "qos.input_reliability": "reliable",
        # A recorder that is held up by the disk for a moment is to miss nothing.
        "qos.output_depth": 30,
        "input.height": recording.rgb_size[0],
        "input.width": recording.rgb_size[1],
    }
    parameters |= {f"alignment.{name}": value for name, value in recording.alignment.flat().items() if value != ()}
    for name, kind in recording.types.items():
        parameters[f"input.{name}_transport"] = "compressed" if _is_compressed(kind) else "raw"
    return node_command("fusion_node", parameters)


def _player(recording: Recording, out: Path) -> list[str]:
    live = recording.live_topics
    parameters = {
        "bag": str(recording.path.resolve()),
        "topics": list(recording.topics.values()),
        "remap": [f"{topic}:={live[name]}" for name, topic in recording.topics.items()],
        "clock_hz": 0.0,
        "wait_for_subscribers_s": 30.0,
        "timeline": str(out / "published.csv"),
    }
    return node_command("bag_player_node", parameters)


def _is_compressed(type_name: str) -> bool:
    return type_name.endswith("/CompressedImage")


def _mean_metrics(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    if not rows:
        return {}
    return {
        image: {name: sum(row[image][name] for row in rows) / len(rows) for name in rows[0][image]}
        for image in rows[0]
    }


def _title(key: str) -> str:
    return key.partition(":")[0]  # each in its default variant


def _print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    if not metrics:
        return
    names = list(metrics["fused"])
    print(f"\n  {'metric (mean of frames)':<24}" + "".join(f"{_title(name):>10}" for name in names))
    for image, values in metrics.items():
        print(f"  {image:<24}" + "".join(f"{values[name]:>10.3f}" for name in names))
