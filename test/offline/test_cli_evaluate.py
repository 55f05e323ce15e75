"""`fusion-ros evaluate`: folders, videos and bags in, a report out; what cannot be read is said and counted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.bags import BagReader, BagWriter, frame_of
from fusion_ros.cli.main import main
from fusion_ros.metrics import evaluate
from fusion_ros.pipeline import FusionSettings, open_pipeline

REPORTS = ("report.html", "results.json", "times.json", "frames.csv", "table.md")


def _smooth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.0)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Five pairs of 64 x 48 pixels, colour and grey, and fused images of four of them."""
    for kind, channels, offset in (("rgb", (3,), 0), ("thermal", (), 100), ("mine", (), 200)):
        (tmp_path / kind).mkdir()
        for number in range(5 if kind != "mine" else 4):
            cv2.imwrite(str(tmp_path / kind / f"{number}.png"), _smooth(number + offset, (48, 64, *channels)))
    return tmp_path


def _evaluate(folder: Path, *options: object, out: str = "out") -> int:
    return main(["evaluate", "--out", str(folder / out), "--engine.device", "cpu", *map(str, options)])


def _images(folder: Path) -> list[object]:
    return ["--rgb", folder / "rgb", "--thermal", folder / "thermal"]


def _results(folder: Path, out: str = "out") -> dict:
    return json.loads((folder / out / "results.json").read_text())


def _make_bag(folder: Path, name: str, *more: object) -> Path:
    bag = folder / name
    assert main(["bag", "make", *map(str, (*_images(folder), "--out", bag, *more))]) == 0
    return bag


def test_given_images_are_measured_against_their_sources(folders, capsys):
    assert (
        _evaluate(folders, *_images(folders), "--fused", f"theirs={folders / 'mine'}", "--metrics", "EN,SD,CC")
        == 0
    )
    assert all((folders / "out" / name).stat().st_size > 20 for name in REPORTS)
    frames = list(csv.DictReader((folders / "out" / "frames.csv").open()))
    assert [(row["frame"], row["method"]) for row in frames] == [(str(n), "theirs") for n in range(4)]
    for row in frames:
        files = (folders / kind / f"{row['frame']}.png" for kind in ("thermal", "rgb", "mine"))
        infrared, rgb, fused = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files)
        truth = evaluate(infrared, rgb, fused)
        assert float(row["EN:bits_256"]) == pytest.approx(truth["EN:bits_256"], abs=1e-12)
        assert float(row["CC:mean_pearson"]) == pytest.approx(truth["CC:mean_pearson"], abs=2e-3)  # OpenCV's luma
    assert "4 measured frames" in capsys.readouterr().out


def test_methods_are_run_and_described(folders):
    assert _evaluate(folders, *_images(folders), "--method", "reconet,average", "--metrics", "paper=reconet") == 0
    results = _results(folders)
    reconet, average = results["methods"]
    assert reconet["name"] == "reconet" and len(reconet["weights_sha256"]) == 64 and reconet["parameters"] == 7527
    assert average["weights_sha256"] == ""
    assert results["columns"] == ["EN:bits_256", "SD:population_255", "CC:mean_pearson"]
    assert len(results["frames"]) == 10
    assert "commit" in results["facts"]["fusion_ros"]
    assert set(json.loads((folders / "out" / "times.json").read_text())["stage_ms"]["reconet"]) > {"fuse", "total"}


def test_a_bag_gives_what_the_pipeline_gives_and_the_same_bytes_at_every_run(folders):
    bag = _make_bag(folders, "drive", "--rate", "20", "--compressed", "png")
    options = ["--bag", bag, "--method", "maximum", "--metrics", "EN,SD,Flicker"]
    assert _evaluate(folders, *options) == _evaluate(folders, *options, out="again") == 0
    for name in ("frames.csv", "results.json"):
        first, second = ((folders / out / name).read_text().replace("again", "out") for out in ("out", "again"))
        assert first == second
    (source,) = _results(folders)["sources"]
    assert source["received"] == {"rgb": 5, "thermal": 5} and source["paired"] == 5
    assert source["offset_ms"]["max"] == 0.0
    pipeline = open_pipeline(FusionSettings(model="maximum"))
    with BagReader(bag) as reader:
        rgb, thermal = (
            [frame_of(m) for m in reader.messages([t])] for t in ("/rgb/image_raw", "/thermal/image_raw")
        )
    from fusion_ros.frame import FramePair
    from fusion_ros.imaging import luma, to_uint8

    for frame, *pair in zip(_results(folders)["frames"], rgb, thermal, strict=True):
        fused = to_uint8(luma(pipeline(FramePair(*pair)).image))
        assert frame["values"]["SD:population_255"] == pytest.approx(np.std(fused.astype(float)), abs=1e-9)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_fused_images_in_a_bag_are_measured_with_the_pair_of_their_stamp(folders, storage):
    bag = _make_bag(folders, "sources", "--rate", "20")
    both = folders / "both"
    with BagReader(bag) as reader, BagWriter(both, storage) as writer:
        for index, message in enumerate(list(reader.messages())):
            writer.write_cdr(message.topic, message.type, message.cdr, message.receive_ns)
            # The node fused every second pair only, and handed it on 10 ms later.
            if message.topic == "/rgb/image_raw" and index % 4 < 2:
                writer.write_cdr("/fused/image", message.type, message.cdr, message.receive_ns + 10_000_000)
    assert _evaluate(folders, "--bag", both, "--fused-topic", "/fused/image", "--metrics", "EN,SD") == 0
    results = _results(folders)
    assert results["methods"][0]["name"] == "fused_image"
    with BagReader(both) as reader:
        fused = [frame_of(message) for message in reader.messages(["/fused/image"])]
    assert 0 < len(fused) < 5
    assert [frame["stamp_ns"] for frame in results["frames"]] == [frame.stamp_ns for frame in fused]
    (source,) = results["sources"]
    assert source["received"]["fused_image"] == len(fused)
    assert source["dropped"]["fused_image"] == {"none for a pair": 5 - len(fused)}
    both_ways = ["--bag", both, "--fused-topic", "/fused/image", "--method", "average", "--metrics", "EN"]
    assert _evaluate(folders, *both_ways, out="methods_too") == 0
    methods = [frame["method"] for frame in _results(folders, "methods_too")["frames"]]
    assert (methods.count("average"), methods.count("fused_image")) == (5, len(fused))


def test_videos_are_sequences(folders):
    for kind in ("rgb", "thermal"):
        writer = cv2.VideoWriter(str(folders / f"{kind}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
        for number in range(5):
            writer.write(cv2.cvtColor(_smooth(number, (48, 64)), cv2.COLOR_GRAY2BGR))
        writer.release()
    videos = ["--rgb", folders / "rgb.avi", "--thermal", folders / "thermal.avi"]
    assert _evaluate(folders, *videos, "--method", "average", "--metrics", "EN,Flicker") == 0
    values = [frame["values"]["Flicker:unexplained_change"] for frame in _results(folders)["frames"]]
    assert values[0] is None and None not in values[1:]


def test_stress_is_reported_by_condition(folders):
    stress = ["--misalign", "shift:2,elastic:2", "--degrade", "darkness:20"]
    assert _evaluate(folders, *_images(folders), "--method", "average", "--metrics", "CC", *stress) == 0
    results = _results(folders)
    assert [condition["kind"] for condition in results["conditions"]] == ["", "shift", "elastic", "darkness"]
    shifted = [frame for frame in results["frames"] if frame["condition"] == results["conditions"][1]["name"]]
    assert [frame["residual_px"] for frame in shifted] == pytest.approx([2.0] * 5, abs=1e-4)
    assert "shift" in (folders / "out" / "report.html").read_text()


def test_names_choose_images(folders):
    (folders / "split.txt").write_text("3.png\n1\n")
    options = ["--names", folders / "split.txt", "--method", "average", "--metrics", "EN"]
    assert _evaluate(folders, *_images(folders), *options) == 0
    assert [frame["frame"] for frame in _results(folders)["frames"]] == ["3", "1"]
    for text in (b"77\n", b"caf\xe9\n", b"\n"):
        (folders / "split.txt").write_bytes(text)
        assert _evaluate(folders, *_images(folders), *options, "--overwrite") == 2


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _spoil(folders: Path, what: str) -> None:
    if what == "truncated":
        _truncate(folders / "rgb" / "2.png")
    elif what == "depth":
        cv2.imwrite(str(folders / "thermal" / "2.png"), np.full((48, 64), 3000, np.uint16))
    elif what == "size":
        cv2.imwrite(str(folders / "mine" / "2.png"), np.zeros((20, 20), np.uint8))
    elif what == "fused depth":
        cv2.imwrite(str(folders / "mine" / "2.png"), np.zeros((48, 64), np.uint16))
    else:
        (folders / "thermal" / "2.png").unlink()


@pytest.mark.parametrize(
    ("what", "options", "reason"),
    [
        ("truncated", ["--method", "average"], "2.png: expected a complete image"),
        (
            "depth",
            ["--method", "average"],
            "2.png: expected uint8 pixels as in the other thermal images, got uint16",
        ),
        ("partner", ["--method", "average"], "2: the rgb image has no partner"),
        ("size", ["--fused", "{}/mine"], "2, mine: expected three images of equal size"),
        ("fused depth", ["--fused", "{}/mine"], "2.png: expected an 8-bit fused image, got uint16"),
    ],
)
def test_one_bad_file_costs_that_frame_and_is_said(folders, capsys, what, options, reason):
    _spoil(folders, what)
    options = [option.format(folders) for option in options]
    assert _evaluate(folders, *_images(folders), *options, "--metrics", "EN") == 1
    assert reason in capsys.readouterr().err
    results = _results(folders)
    assert "2" not in [frame["frame"] for frame in results["frames"]]
    assert len(results["frames"]) == (4 if "--method" in options else 3)
    assert any(reason in problem for source in results["sources"] for problem in source["problems"])


def test_one_bad_bag_does_not_cost_the_others(folders, capsys):
    good, bad = _make_bag(folders, "good", "--storage", "mcap"), folders / "bad.mcap"
    _truncate(shutil.copy(next(good.glob("*.mcap")), bad))
    assert _evaluate(folders, "--bag", bad, good, "--method", "average", "--metrics", "EN") == 1
    assert "bad" in capsys.readouterr().err
    results = _results(folders)
    assert {frame["source"] for frame in results["frames"]} == {"good"}
    assert [bool(source["problems"]) for source in results["sources"]] == [True, False]


def test_a_topic_that_is_not_there_is_answered_with_those_that_are(folders, capsys):
    bag = _make_bag(folders, "drive")
    assert _evaluate(folders, "--bag", bag, "--thermal-topic", "/flir/image", "--method", "average") == 2
    error = capsys.readouterr().err
    assert "no topic '/flir/image'" in error
    assert "/rgb/image_raw" in error and "/thermal/image_raw" in error


def test_an_unknown_storage_is_named(folders, capsys):
    bag = _make_bag(folders, "drive")
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("mcap", "lmdb"))
    for file in bag.glob("*.mcap"):
        file.rename(file.with_suffix(".lmdb"))
    assert _evaluate(folders, "--bag", bag, "--method", "average") == 2
    assert "lmdb" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "nothing to evaluate on"),
        (["--rgb", "{}/rgb"], "expected --rgb and --thermal together"),
        (["--bag", "{}/nowhere"], "no bag at"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--metrics", "SSMI"], "did you mean 'SSIM'"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--metrics", "paper=lrnet"], "did you mean 'lrrnet'"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--method", "avarage"], "average"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--method", "average,average"], "named twice"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--misalign", "shft:3"], "did you mean 'shift'"),
        (
            ["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--fused", "{}/mine", "--misalign"],
            "cannot be made anew",
        ),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--workers", "0"], "--workers"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--method", ","], "--method: expected names"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--fused", "={}/mine"], "expected LABEL=PATH"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--misalign", ""], "misalign"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--salvage"], "--salvage belongs to a --bag"),
        (["--bag", "{}/rgb", "--sequence"], "--sequence belongs to folders"),
        (["--bag", "{}/rgb", "{}/mine/../rgb"], "is given twice"),
        (["--bag", "{}/rgb", "--rgb-topic", "/a", "--thermal-topic", "/a"], "expected two topics"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--fused", "{}/mine", "{}/rgb/../mine"], "named twice"),
        (
            ["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--degrade", "thermal_frozen:5"],
            "repeats an earlier frame",
        ),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--metrics", "video"], "compares consecutive frames"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--model", "average"], "--method"),
        (["--rgb", "{}/rgb", "--thermal", "{}/thermal", "--fused-topic", "/x"], "topic of a --bag"),
    ],
)
def test_mistakes_are_said_before_any_work(folders, capsys, options, reason):
    assert _evaluate(folders, *(option.format(folders) for option in options)) == 2
    assert reason in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_a_finished_report_is_not_replaced_by_accident(folders, capsys):
    options = [*_images(folders), "--method", "average", "--metrics", "EN"]
    assert _evaluate(folders, *options) == 0
    assert _evaluate(folders, *options) == 2
    assert "--overwrite" in capsys.readouterr().err
    (folders / "out" / "notes.txt").write_text("mine")
    assert _evaluate(folders, *options, "--overwrite") == 0
    assert (folders / "out" / "notes.txt").read_text() == "mine"


def test_a_report_may_lie_beside_what_it_is_about(folders):
    options = [*_images(folders), "--method", "average", "--metrics", "EN", "--overwrite"]
    assert main(["evaluate", *map(str, options), "--out", str(folders)]) == 0
    assert (folders / "report.html").exists() and len(list((folders / "rgb").iterdir())) == 5


def test_fused_images_of_some_pairs_are_measured_on_those(folders):
    shutil.copytree(folders / "mine", folders / "v1.2")
    for number in (0, 1):
        (folders / "v1.2" / f"{number}.png").unlink()
    fused = ["--fused", folders / "mine", folders / "v1.2"]
    assert _evaluate(folders, *_images(folders), *fused, "--metrics", "EN") == 0
    methods = [frame["method"] for frame in _results(folders)["frames"]]
    assert (methods.count("mine"), methods.count("v1.2")) == (4, 2)
    (source,) = _results(folders)["sources"]
    assert source["dropped"] == {"v1.2": {"none for a pair": 2}}
    cv2.imwrite(str(folders / "mine" / "77.png"), np.zeros((48, 64), np.uint8))
    assert _evaluate(folders, *_images(folders), *fused, "--metrics", "EN", out="again") == 1


def test_the_published_table_of_rfn_nest_comes_out_of_its_published_images(shared, tmp_path):
    """Table 5 of the paper, its own row, to the digits that it prints."""
    data = shared / "data"
    options = ["--thermal", data / "tno21/ir", "--rgb", data / "tno21/vis", "--metrics", "paper=rfn_nest"]
    options += ["--fused", f"rfn_nest={data / 'reference/rfn_nest_tno21'}", "--thumbnail", "0", "--workers", "2"]
    assert _evaluate(tmp_path, *options) == 0
    (means,) = _results(tmp_path)["means"]
    published = {
        "EN:bits_256": 6.84134,
        "SD:root_sum_sq_01": 71.90131,
        "MI:twice_en": 13.68269,
        "Nabf:modified_01": 0.07288,
        "SCD:sum_corr": 1.83676,
        "MS-SSIM:mef_3scale": 0.91456,
    }
    assert {key: means[key] for key in published} == pytest.approx(published, abs=6e-6)
    assert means["method"] == "rfn_nest"


def test_fused_images_that_come_late_or_out_of_order_find_their_pairs(folders, capsys):
    bag = _make_bag(folders, "sources", "--rate", "20")
    both = folders / "both"
    with BagReader(bag) as reader, BagWriter(both, "mcap") as writer:
        messages = [(message.receive_ns, message.topic, message) for message in reader.messages()]
        images = [message for _, topic, message in messages if topic == "/rgb/image_raw"]
        for place, message in enumerate(images):
            delay = 180_000_000 if place % 2 else 20_000_000  # every second one after the next one
            messages.append((message.receive_ns + delay, "/fused/image", message))
        for receive_ns, topic, message in sorted(messages, key=lambda item: item[:2]):
            writer.write_cdr(topic, message.type, message.cdr, receive_ns)
    assert _evaluate(folders, "--bag", both, "--fused-topic", "/fused/image", "--metrics", "EN") == 0
    results = _results(folders)
    assert len(results["frames"]) == 5 and results["sources"][0]["dropped"]["fused_image"] == {}
    options = ["--bag", both, "--fused-topic", "/fused/image", "--method", "average", "--metrics", "EN"]
    assert (
        _evaluate(folders, *options, "--reference", "thermal", out="other") == 0
    )  # both cameras share their stamps


def test_fused_images_of_other_stamps_are_said(folders, capsys):
    bag = _make_bag(folders, "sources", "--rate", "20")
    shifted = _make_bag(folders, "shifted", "--rate", "20", "--start", "1.005")
    both = folders / "both"
    with BagReader(bag) as reader, BagReader(shifted) as other, BagWriter(both, "mcap") as writer:
        for message in [*reader.messages(), *other.messages(["/rgb/image_raw"])]:
            is_fused = message.topic == "/rgb/image_raw" and message.stamp_ns % 10_000_000
            topic = "/fused/image" if is_fused else message.topic
            writer.write_cdr(topic, message.type, message.cdr, message.receive_ns)
    options = ["--bag", both, "--fused-topic", "/fused/image", "--method", "average", "--metrics", "EN"]
    assert _evaluate(folders, *options) == 1
    error = capsys.readouterr().err
    assert "not one frame of fused_image" in error and "5 no pair of its stamp" in error


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_ctrl_c_twice_ends_a_run_with_workers_and_the_same_command_goes_on(folders):
    for kind in ("rgb", "thermal"):
        for number in range(5, 60):
            shutil.copy(folders / kind / f"{number % 5}.png", folders / kind / f"{number}.png")
    words = [*_images(folders), "--method", "average,laplacian", "--workers", "2", "--out", folders / "out"]
    command = [sys.executable, "-m", "fusion_ros.cli", "evaluate", *map(str, words)]
    # A shell starts background jobs deaf to Ctrl-C, and so may whatever runs this test.
    deaf_no_more = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True, **deaf_no_more)
    work = folders / "out" / ".unfinished"
    limit = time.monotonic() + 60
    while not list(work.glob("*.zip")) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.02)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    error = process.communicate(timeout=60)[1]
    # The second one may come when Python is already ending, and then ends it at once.
    assert process.returncode in (130, -signal.SIGINT) and "interrupted" in error
    assert "Traceback" not in error
    assert not (folders / "out" / "report.html").exists()
    assert main(["evaluate", *map(str, words)]) == 0
    assert len(_results(folders)["frames"]) == 120
