"""``fusion-ros synth``: what it writes is the synthetic world, in files."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from fusion_ros.bags import BagReader, frames
from fusion_ros.cli.main import main
from fusion_ros.frame import Sensor
from fusion_ros.geometry.cameras import PinholeCamera
from fusion_ros.media import read_image
from fusion_ros.synthetic import SyntheticWorld, WorldSettings

SMALL = {
    "rgb_width": 96,
    "rgb_height": 64,
    "thermal_width": 64,
    "thermal_height": 48,
    "thermal_encoding": "mono16",
    "people": 2,
    "cars": 1,
    "thermal_rate_hz": 30.0,
    "seed": 9,
}
OPTIONS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
DURATION = ["--duration", "0.1"]


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(WorldSettings(**SMALL))


@pytest.fixture(scope="module")
def expected(world):
    """What the verb must have written: ``(capture_ns, sensor, frame)``."""
    return list(world.frames(0.1, 1_000_000_000))


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A rendered folder."""
    out = tmp_path_factory.mktemp("synth") / "street"
    assert main(["synth", "--out", str(out), *DURATION, *OPTIONS]) == 0
    return out


def test_a_folder_holds_the_frames_and_their_times(street, expected):
    rows = list(csv.DictReader((street / "timestamps.csv").open()))
    assert len(rows) == len(expected) == 6
    for row, (capture_ns, sensor, frame) in zip(rows, expected, strict=True):
        assert row["sensor"] == sensor.value
        assert (int(row["capture_ns"]), int(row["stamp_ns"])) == (capture_ns, frame.stamp_ns)
        np.testing.assert_array_equal(read_image(street / row["file"]), frame.pixels)
    names = [{file.name for file in (street / sensor.value).iterdir()} for sensor in Sensor]
    assert names[0] == names[1]


def test_a_folder_holds_the_truth_of_each_rgb_frame(street, world, expected):
    rgb_s, thermal_s = ([(c - 10**9) * 1e-9 for c, s, _ in expected if s is sensor][1] for sensor in Sensor)
    truth = world.truth(rgb_s, thermal_s)
    stored = np.load(street / "truth" / "000001.npz")
    np.testing.assert_array_equal(stored["thermal_from_rgb"], truth.thermal_from_rgb)
    np.testing.assert_array_equal(stored["labels"], truth.labels)
    targets = json.loads((street / "truth" / "targets.json").read_text())["000001"]["targets"]
    assert [target["identity"] for target in targets] == [target.identity for target in truth.targets]
    rig = json.loads((street / "rig.json").read_text())
    np.testing.assert_allclose(rig["rgb_from_thermal"], world.rig.rgb_from_thermal)


def test_a_bag_holds_the_frames_and_the_calibration(tmp_path, world, expected):
    out = tmp_path / "bag"
    assert main(["synth", "--out", str(out), "--storage", "mcap", *DURATION, *OPTIONS]) == 0
    with BagReader(out) as bag:
        for sensor, camera in ((Sensor.RGB, world.rig.rgb), (Sensor.THERMAL, world.rig.thermal)):
            originals = [frame for _, s, frame in expected if s is sensor]
            found = list(frames(bag, f"/{sensor.value}/image_raw"))
            assert [f.stamp_ns for f in found] == [f.stamp_ns for f in originals]
            for frame, original in zip(found, originals, strict=True):
                np.testing.assert_array_equal(frame.pixels, original.pixels)
            info = next(bag.messages([f"/{sensor.value}/camera_info"]))
            assert PinholeCamera.from_camera_info(info.message) == camera
            assert info.stamp_ns == originals[0].stamp_ns


def test_the_settings_file_repeats_a_rendering_exactly(street, tmp_path):
    params = ["--params", str(street / "world.yaml"), "--duration", "0.05"]
    assert main(["synth", "--out", str(tmp_path / "again"), "--no-truth", *params]) == 0
    files = [file.relative_to(tmp_path / "again") for file in (tmp_path / "again").rglob("*.png")]
    assert len(files) == 4
    assert all((tmp_path / "again" / file).read_bytes() == (street / file).read_bytes() for file in files)
    assert not (tmp_path / "again" / "truth").exists()


def test_overwriting_leaves_no_frame_of_the_longer_rendering(street, tmp_path, capsys):
    out = shutil.copytree(street, tmp_path / "street")
    command = ["synth", "--out", str(out), "--no-truth", "--duration", "0.05", *OPTIONS, "--thermal_rate_hz", "25"]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    stems = {name: {file.stem for file in (out / name).iterdir()} for name in ("rgb", "thermal")}
    assert stems == {
        "rgb": {"rgb_000000", "rgb_000001"},
        # Not one name occurs twice: with different rates equal numbers would be other moments.
        "thermal": {"thermal_000000", "thermal_000001"},
    }


def test_overwriting_never_removes_a_foreign_folder(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["synth", "--out", str(tmp_path), "--overwrite", *DURATION, *OPTIONS]) == 2
    assert "not a rendering" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--duration", "0"], "--duration: expected at least"),
        (["--start", "0"], "--start: expected at least 1 s"),
        (["--condition", "fog"], "condition: expected one of day, night, smoke"),
    ],
)
def test_impossible_wishes_are_explained(tmp_path, options, reason, capsys):
    assert main(["synth", "--out", str(tmp_path / "x"), *options]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
