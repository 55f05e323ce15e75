"""`fusion-ros evaluate --tracking`: sequences in, a comparison of trackers out."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from tracked_clips import COUNT, small_model, true_boxes, write_clips

from fusion_ros.cli import evaluate_tracking
from fusion_ros.cli.main import main
from fusion_ros.errors import FusionError
from fusion_ros.evaluation.tracking import run as running
from fusion_ros.metrics.tracking import track_scores

REPORTS = (
    "tracking.html",
    "tracking.md",
    "tracking.csv",
    "tracks.csv",
    "tracking.json",
    "times.json",
    "tracking.png",
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A recording with truth, and a small model."""
    folder = write_clips(tmp_path_factory.mktemp("drive") / "clips")
    small_model(folder.parent)
    return folder


def _evaluate(clips: Path, out: Path, *options: object, trackers: str = "rgb thermal fused") -> int:
    model = clips.parent / "small"
    described = [f"{name}={name}:{model}" for name in trackers.split()]
    sources = ["--rgb", clips / "rgb", "--thermal", clips / "thermal", "--truth", clips / "groundtruth.txt"]
    engine = ["--engine.name", "torch", "--engine.threads", 1, "--thumbnail", 64]
    return main(["evaluate", "--tracking", *described, *map(str, (*sources, *engine, "--out", out, *options))])


def _rows(out: Path, name: str = "tracking.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((out / name).open()))


def test_trackers_are_compared_by_what_they_look_at(clips, tmp_path, capsys):
    out = tmp_path / "out"
    assert _evaluate(clips, out, "--vot") == 0
    assert all((out / name).stat().st_size > 50 for name in REPORTS)
    assert not (out / ".unfinished_tracking").exists()
    rows = _rows(out)
    assert [(row["sequence"], row["tracker"]) for row in rows] == [
        ("clips", n) for n in ("rgb", "thermal", "fused")
    ]
    tracks = _rows(out, "tracks.csv")
    for row in rows:
        own = [track for track in tracks if track["tracker"] == row["tracker"]]
        boxes = np.array([[float(t[name] or "nan") for name in ("x", "y", "width", "height")] for t in own])
        wanted = track_scores(boxes, true_boxes())
        assert float(row["success"]) == pytest.approx(wanted.success, abs=1e-5)
        assert float(row["overlap"]) == pytest.approx(wanted.overlap, abs=1e-5)
        assert wanted.overlap > 0.6
    content = json.loads((out / "tracking.json").read_text())
    assert content["trackers"][0]["modality"] == "rgb"
    assert len(content["trackers"][0]["weights_sha256"]) == 64
    found = content["vot"]["rgb"]["as recorded"]
    assert (found["runs"], found["failures"], found["robustness"], found["lengths"]) == (5, 0, 1.0, [11, 15])
    assert 0.5 < found["eao"] <= 1.0 and "## From anchors" in (out / "tracking.md").read_text()
    assert set(json.loads((out / "times.json").read_text())["update_ms"]["fused"]) == {"mean", "p50", "p95"}
    assert "fused: success" in capsys.readouterr().out


def test_the_page_shows_charts_and_pictures_and_needs_nothing_beside_itself(clips, tmp_path):
    out = tmp_path / "out"
    assert _evaluate(clips, out, "--misalign", "shift:0,4", trackers="thermal") == 0
    page = (out / "tracking.html").read_text()
    assert page.count("data:image/png") == 2 and page.count("data:image/jpeg") == 1
    assert not re.search(r'(src|href)="(?!data:)', page)
    (picture,) = (out / "tracking_pictures").glob("*.png")
    # RGB over thermal, six frames, with captions and labels.
    assert cv2.imread(str(picture)).shape == (28 + 2 * (45 + 4), 130 + 6 * (64 + 4), 3)
    assert [row["condition"] for row in _rows(out)] == ["as recorded", "shift 4 px"]
    assert (out / "stress.png").exists()
    assert _evaluate(clips, out, "--overwrite", "--thumbnail", 0, trackers="rgb") == 0
    assert not (out / "stress.png").exists() and not list((out / "tracking_pictures").glob("*"))


def test_with_a_misalignment_an_alignment_is_measured_against_none(clips, tmp_path):
    out = tmp_path / "out"
    options = ("--misalign", "shift:8", "--alignment.fine.method", "structural", "--thumbnail", 0)
    assert _evaluate(clips, out, *options, trackers="rgb fused") == 0
    rows = _rows(out)
    names = [(row["tracker"], row["condition"]) for row in rows]
    assert names == [
        (tracker, condition)
        for condition in ("as recorded", "shift 8 px")
        for tracker in ("rgb", "fused", "fused + structural")
    ]
    overlap = {name: row["overlap"] for name, row in zip(names, rows, strict=True)}
    assert overlap["rgb", "shift 8 px"] == overlap["rgb", "as recorded"]
    assert len({overlap[name, "shift 8 px"] for name in ("rgb", "fused", "fused + structural")}) == 3
    described = {t["name"]: t for t in json.loads((out / "tracking.json").read_text())["trackers"]}
    assert "structural" in described["fused + structural"]["description"]
    assert described["fused"]["alignment"] == "none" and "structural" not in described["fused"]["description"]


def test_a_run_that_goes_on_gives_the_same_bytes(clips, tmp_path, monkeypatch):
    wanted, again = tmp_path / "wanted", tmp_path / "again"
    assert _evaluate(clips, wanted, "--misalign", "shift:4", trackers="fused") == 0

    def fails(*_):
        raise FusionError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_tracking, "curve_chart", fails)
        assert _evaluate(clips, again, "--misalign", "shift:4", trackers="fused") == 2
    assert not (again / "tracking.csv").exists()
    done = []
    do = running._do
    monkeypatch.setattr(running, "_do", lambda *args: done.append(args[0].condition.name) or do(*args))
    first = next((again / ".unfinished_tracking").glob("*.json"))
    first.write_text(first.read_text()[:100])  # cut off: is done once more
    assert _evaluate(clips, again, "--misalign", "shift:4", trackers="fused") == 0
    assert len(done) == 1  # of two parts
    for name in ("tracking.csv", "tracks.csv"):
        assert (again / name).read_bytes() == (wanted / name).read_bytes()


def test_boxes_that_are_not_listed_are_not_known(clips, tmp_path):
    sparse = write_clips(tmp_path / "sparse", range(0, COUNT, 5))
    words = ["--tracking", f"rgb:{clips.parent / 'small'}", "--sequences", f"own={sparse.parent}"]
    assert main(["evaluate", *words, "--engine.name", "torch", "--out", str(tmp_path / "out")]) == 0
    (row,) = _rows(tmp_path / "out")
    assert (row["sequence"], row["frames"]) == ("sparse", "4")
    assert len(_rows(tmp_path / "out", "tracks.csv")) == COUNT


def test_a_sequence_that_cannot_be_read_is_said(clips, tmp_path, capsys):
    broken = write_clips(tmp_path / "broken")
    (tmp_path / "small").symlink_to(clips.parent / "small")
    (broken / "rgb" / "005.png").write_bytes((broken / "rgb" / "005.png").read_bytes()[:200])
    assert _evaluate(broken, tmp_path / "out", trackers="rgb") == 2
    error = capsys.readouterr().err
    assert "005.png" in error and "not one target could be followed" in error
    assert not (tmp_path / "out" / "tracking.csv").exists()


def test_a_finished_report_is_kept(clips, tmp_path, capsys):
    assert _evaluate(clips, tmp_path / "out", trackers="rgb") == 0
    before = (tmp_path / "out" / "tracking.csv").read_bytes()
    assert _evaluate(clips, tmp_path / "out", trackers="thermal") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "tracking.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "average"], "no use for --method"),
        (["--align", "none", "--metrics", "EN"], "no use for --align, --metrics"),
        (["--features.model", "x"], "no use for --features.model"),
        (["--reference", "thermal"], "expected --reference rgb"),
        (["--misalign", "shift:900"], "expected a level from 0 to 64"),
        (["--synthetic", "1000"], "--synthetic: expected 1 to"),
        (["--sequences", "gtot"], "expected NAME=PATH"),
        (["--tracker.scales", "0"], "scales: expected 1 to"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_done(clips, tmp_path, capsys, options, reason):
    assert _evaluate(clips, tmp_path / "out", *options, trackers="rgb") == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--tracking", "rgb"], "nothing to track on"),
        (["--tracking", "rgb", "--rgb", "x", "--truth", "y"], "expected --rgb, --thermal and --truth together"),
        (["--tracking", "colour", "--synthetic", "1"], "no modality 'colour'"),
        (["--synthetic", "--vot"], "--vot, --synthetic: belong to --tracking"),
    ],
)
def test_what_is_missing_is_named(tmp_path, capsys, words, reason):
    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(("options", "expected"), [((), "alone"), (("--repeated", "fuse"), "fuse")])
def test_repeated_images_are_left_out_before_trackers_of_both_cameras_unless_it_is_told_otherwise(
    clips, tmp_path, options, expected
):
    assert _evaluate(clips, tmp_path / "out", *options) == 0
    content = json.loads((tmp_path / "out" / "tracking.json").read_text())
    assert [tracker["repeated"] for tracker in content["trackers"]] == ["fuse", "fuse", expected]
