"""``fusion-ros synth``: the synthetic rig's recording, as a bag or as a folder of pictures."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from ..bags import STORAGES, BagWriter
from ..errors import SettingsError
from ..frame import Frame, Sensor
from ..synthetic import SyntheticWorld, TargetView, Truth, WorldSettings
from .options import add_settings, settings_from
from .sinks import refuse_existing, write_image

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Render what a thermal and a colour camera see of a seeded synthetic street: same seed, same bytes.

Without --storage the output is a folder: rgb/ and thermal/ with PNG files, timestamps.csv, rig.json
(both cameras and the pose between them) and truth/ with one .npz per RGB frame (thermal_from_rgb,
depth, labels) and targets.json. Names pair by number only where both cameras have the same rate.
With --storage it is a bag with the images and camera infos of both cameras. Either way world.yaml
holds the settings, ready for --params."""

EXAMPLES = """\
fusion-ros synth --out street --duration 2 --thermal_rate_hz 30
fusion-ros synth --out street_bag --storage mcap --duration 10 --condition night --seed 7
fusion-ros synth --out again --params street/world.yaml"""

_TOPICS = {
    Sensor.RGB: ("/rgb/image_raw", "/rgb/camera_info"),
    Sensor.THERMAL: ("/thermal/image_raw", "/thermal/camera_info"),
}
_SETTINGS_FILE = "world.yaml"
_SHORTEST_S = 0.01  # both cameras have captured once by then
Capture = tuple[int, Sensor, Frame]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder or bag to write")
    parser.add_argument("--duration", type=float, default=5.0, metavar="SECONDS", help="default: 5")
    parser.add_argument(
        "--start", type=float, default=1.0, metavar="SECONDS", help="stamp of the world's time zero (default: 1)"
    )
    parser.add_argument("--storage", choices=STORAGES, help="write a bag with this storage, not a folder")
    parser.add_argument("--no-truth", action="store_true", help="leave the ground truth of a folder out")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    add_settings(parser, WorldSettings)


def main(args: argparse.Namespace) -> int:
    """Render and report."""
    if not args.duration >= _SHORTEST_S:
        raise SettingsError(f"--duration: expected at least {_SHORTEST_S:g} s, got {args.duration:g}")
    if not args.start >= 1.0:
        raise SettingsError(f"--start: expected at least 1 s, so that no stamp is negative, got {args.start:g}")
    settings = settings_from(args, WorldSettings)
    if not args.storage:
        _make_room(args.out, args.overwrite)
    world = SyntheticWorld(settings)
    start_ns = round(args.start * 1e9)
    total = round(args.duration * (settings.rgb_rate_hz + settings.thermal_rate_hz))
    captures = tqdm(world.frames(args.duration, start_ns), total=total, unit="frame", disable=None, leave=False)
    if args.storage:
        counts = write_bag(args.out, args.storage, world, captures, args.overwrite)
    else:
        counts = _write_folder(args.out, world, captures, start_ns, with_truth=not args.no_truth)
    (args.out / _SETTINGS_FILE).write_text(yaml.safe_dump(settings.flat(), sort_keys=False))
    print(f"wrote {args.out}: {counts[Sensor.RGB]} RGB and {counts[Sensor.THERMAL]} thermal frames")
    return 0


def _make_room(path: Path, overwrite: bool) -> None:
    """Remove an earlier rendering: frames of a longer one would otherwise stay among the new ones."""
    refuse_existing(path, path.exists() and not (path.is_dir() and not any(path.iterdir())), overwrite)
    if path.exists() and any(path.iterdir()):
        if not (path / _SETTINGS_FILE).is_file():
            raise SettingsError(f"{path} exists and is not a rendering of this verb, so it is not overwritten")
        shutil.rmtree(path)


def write_bag(
    path: Path, storage: str, world: SyntheticWorld, captures: Iterable[Capture], overwrite: bool
) -> dict[Sensor, int]:
    """Write captures of ``world`` and its cameras' calibrations into a bag; return the frames by sensor.

    Raises:
        BagError: The bag cannot be written, or exists and ``overwrite`` is not set.
    """
    fields = {
        Sensor.RGB: world.rig.rgb.camera_info_fields(),
        Sensor.THERMAL: world.rig.thermal.camera_info_fields(),
    }
    with BagWriter(path, storage, overwrite=overwrite) as writer:
        for capture_ns, sensor, frame in captures:
            image_topic, info_topic = _TOPICS[sensor]
            writer.write_frame(image_topic, frame, capture_ns)
            writer.write_camera_info(info_topic, fields[sensor], frame.stamp_ns, frame.frame_id, capture_ns)
    return {sensor: writer.count(_TOPICS[sensor][0]) for sensor in Sensor}


def _write_folder(
    path: Path, world: SyntheticWorld, captures: Iterable[Capture], start_ns: int, *, with_truth: bool
) -> dict[Sensor, int]:
    same_rate = world.settings.rgb_rate_hz == world.settings.thermal_rate_hz
    times: dict[Sensor, list[tuple[str, int]]] = {sensor: [] for sensor in Sensor}
    path.mkdir(parents=True, exist_ok=True)
    with (path / "timestamps.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("sensor", "file", "stamp_ns", "capture_ns"))
        for capture_ns, sensor, frame in captures:
            number = f"{len(times[sensor]):06d}"
            # Without a common rate equal numbers are other moments: names must not pair then.
            name = number if same_rate else f"{sensor.value}_{number}"
            times[sensor].append((name, capture_ns))
            write_image(path / sensor.value / f"{name}.png", frame.pixels)
            table.writerow((sensor.value, f"{sensor.value}/{name}.png", frame.stamp_ns, capture_ns))
    (path / "rig.json").write_text(json.dumps(_rig(world), indent=2))
    if with_truth:
        _write_truth(path, world, times, start_ns)
    return {sensor: len(found) for sensor, found in times.items()}


def _rig(world: SyntheticWorld) -> dict[str, object]:
    return {
        "rgb": world.rig.rgb.camera_info_fields(),
        "thermal": world.rig.thermal.camera_info_fields(),
        "rgb_from_thermal": world.rig.rgb_from_thermal.tolist(),
    }


def _write_truth(
    path: Path, world: SyntheticWorld, times: dict[Sensor, list[tuple[str, int]]], start_ns: int
) -> None:
    """Write the truth of each RGB frame, with the thermal frame captured nearest to it."""
    (path / "truth").mkdir(exist_ok=True)
    thermal_ns = np.array([capture_ns for _, capture_ns in times[Sensor.THERMAL]])
    targets = {}
    for name, capture_ns in tqdm(times[Sensor.RGB], unit="truth", disable=None, leave=False):
        index = int(np.abs(thermal_ns - capture_ns).argmin())
        thermal_name, nearest_ns = times[Sensor.THERMAL][index]
        truth = world.truth((capture_ns - start_ns) * 1e-9, (int(nearest_ns) - start_ns) * 1e-9)
        np.savez_compressed(
            path / "truth" / f"{name}.npz",
            thermal_from_rgb=truth.thermal_from_rgb,
            depth=truth.depth,
            labels=truth.labels,
        )
        targets[name] = {"thermal": thermal_name, "targets": list(_targets(truth))}
    (path / "truth" / "targets.json").write_text(json.dumps(targets, indent=1))


def _targets(truth: Truth) -> Iterator[dict[str, object]]:
    for target in truth.targets:
        yield {
            "identity": target.identity,
            "kind": target.kind,
            "depth_m": round(float(target.depth_m), 3),
            "kelvin": round(float(target.kelvin), 2),
            "rgb": _view(target.rgb),
            "thermal": _view(target.thermal),
        }


def _view(view: TargetView) -> dict[str, object]:
    box = None if view.box is None else [float(value) for value in view.box]
    return {"box": box, "visibility": round(float(view.visibility), 4)}
