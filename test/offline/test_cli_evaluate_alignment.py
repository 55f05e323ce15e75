"""`fusion-ros evaluate --align`: pairs in, a comparison of aligners out."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.cli import evaluate_alignment
from fusion_ros.cli.main import main
from fusion_ros.errors import FusionError
from fusion_ros.evaluation.registration import run as running

REPORTS = ("alignment.csv", "alignment.json", "times.json", "alignment.md", "alignment.png", "alignment.html")


def _scene(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((96, 128), 120.0, np.float32)
    for _ in range(40):
        at = int(rng.integers(128)), int(rng.integers(96))
        cv2.circle(image, at, int(rng.integers(3, 12)), float(rng.integers(0, 256)), -1)
    return np.rint(cv2.GaussianBlur(image, (0, 0), 1.0)).astype(np.uint8)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Five pairs of 128 x 96 pixels that are aligned exactly, the thermal image the negative of the colour one."""
    for kind in ("rgb", "thermal"):
        (tmp_path / kind).mkdir()
    for number in range(5):
        scene = _scene(number)
        cv2.imwrite(str(tmp_path / "rgb" / f"{number}.png"), cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR))
        cv2.imwrite(str(tmp_path / "thermal" / f"{number}.png"), 255 - scene)
    return tmp_path


def _evaluate(folder: Path, *options: object, out: str = "out", align: str = "none,ecc_affine") -> int:
    images = ["--rgb", folder / "rgb", "--thermal", folder / "thermal", "--misalign", "shift:3,affine:4"]
    known = ["--align", align, "--thumbnail", 64, "--out", folder / out]
    return main(["evaluate", *map(str, (*images, *known, *options))])


def _rows(folder: Path, out: str = "out") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / out / "alignment.csv").open()))


def test_aligners_are_compared(folders, capsys):
    assert _evaluate(folders) == 0
    assert all((folders / "out" / name).stat().st_size > 50 for name in REPORTS)
    assert not (folders / "out" / ".unfinished_alignment").exists()
    rows = _rows(folders)
    assert len(rows) == 5 * 2 * 3
    error = {
        (aligner, condition): np.mean(
            [float(r["known_px"]) for r in rows if (r["aligner"], r["condition"]) == (aligner, condition)]
        )
        for aligner in ("none", "ecc_affine")
        for condition in ("as recorded", "shift 3 px", "affine 4 px")
    }
    assert error["none", "shift 3 px"] == pytest.approx(3.0, abs=1e-3) and error["none", "as recorded"] == 0.0
    assert 3.0 < error["none", "affine 4 px"] < 4.0
    assert max(error["ecc_affine", c] for c in ("as recorded", "shift 3 px", "affine 4 px")) < 0.2
    results = json.loads((folders / "out" / "alignment.json").read_text())
    assert results["summaries"]["none"]["shift 3 px"]["far"] == 1.0
    assert set(json.loads((folders / "out" / "times.json").read_text())["ms"]["none"]) == {"mean", "p50", "p95"}
    assert "| ecc\\_affine |" in (folders / "out" / "alignment.md").read_text()
    assert "5 pairs" in capsys.readouterr().out


def test_the_page_shows_pictures_and_needs_nothing_beside_itself(folders):
    assert _evaluate(folders) == 0
    pictures = sorted((folders / "out" / "alignment_pictures").glob("*.png"))
    assert len(pictures) == 6  # three pairs, each as recorded and under one condition
    shapes = {cv2.imread(str(path)).shape for path in pictures}
    assert shapes == {(28 + 3 * (48 + 4), 130 + 3 * (64 + 4), 3)}  # before and two aligners; three pictures each
    page = (folders / "out" / "alignment.html").read_text()
    assert page.count("data:image/jpeg") == 6 and page.count("data:image/png") == 1
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert _evaluate(folders, "--overwrite", "--thumbnail", 0) == 0
    assert not list((folders / "out" / "alignment_pictures").glob("*"))


def test_several_processes_and_a_run_that_goes_on_give_the_same_table(folders, monkeypatch):
    assert _evaluate(folders) == 0
    wanted = (folders / "out" / "alignment.csv").read_bytes()
    assert _evaluate(folders, "--workers", "2", out="two") == 0
    assert (folders / "two" / "alignment.csv").read_bytes() == wanted

    def fails(*_):
        raise FusionError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_alignment, "error_chart", fails)
        assert _evaluate(folders, out="again") == 2
        assert not (folders / "again" / "alignment.csv").exists()
    first = next((folders / "again" / ".unfinished_alignment").glob("*.json"))
    first.write_text(first.read_text()[:100])  # cut off: is done once more
    done = []
    monkeypatch.setattr(running, "_do", lambda plan, do=running._do: done.append(plan) or do(plan))
    assert _evaluate(folders, out="again") == 0
    assert len(done) == 1  # of two parts
    assert (folders / "again" / "alignment.csv").read_bytes() == wanted


def test_what_aligned_pairs_are_fused_to_is_measured_where_metrics_are_named(folders):
    asked = ["--metrics", "Qabf,MI,video", "--thermal", folders / "rgb"]
    assert _evaluate(folders, *asked) == 0
    rows = list(csv.DictReader((folders / "out" / "quality.csv").read_text().splitlines()))
    keys = list(dict.fromkeys(row["metric"] for row in rows))
    assert [key.partition(":")[0] for key in keys] == ["Qabf", "MI"]
    assert len(rows) == 5 * 3 * 2 * 2
    found = json.loads((folders / "out" / "alignment.json").read_text())["fused_quality"]
    for key in keys:
        mine = [r for r in rows if (r["aligner"], r["condition"], r["metric"]) == ("none", "shift 3 px", key)]
        assert found["none"]["shift 3 px"][key]["mean"] == pytest.approx(
            np.mean([float(r["value"]) for r in mine])
        )
        kept = [each["shift 3 px"][key]["mean"] / each["shift 3 px"][key]["undeformed"] for each in found.values()]
        truth, nothing, found_by_ecc = kept
        # Drawn areas are perfectly flat, so that every overshoot beside an edge adds to what MI takes for noise.
        least = {"Qabf": 0.9, "MI": 0.8}[key.partition(":")[0]]
        assert nothing < 0.75 < least < min(truth, found_by_ecc), key
        assert max(truth, found_by_ecc) < 1.01, key
        assert f"## Fused quality, {key}" in (folders / "out" / "alignment.md").read_text()
    assert _evaluate(folders, *asked, "--workers", 2, out="again") == 0
    again = list(csv.DictReader((folders / "again" / "quality.csv").read_text().splitlines()))
    for row, other in zip(rows, again, strict=True):
        # ECC's last digit depends on the number of threads, and so may a grey level of what is fused.
        off = 2e-3 * float(row["value"]) if row["aligner"] == "ecc_affine" else 0.0
        assert float(other.pop("value")) == pytest.approx(float(row["value"]), rel=0.0, abs=off)
        assert other == {key: value for key, value in row.items() if key != "value"}


def test_one_bad_file_costs_that_pair_and_is_said(folders, capsys):
    (folders / "rgb" / "2.png").write_bytes((folders / "rgb" / "2.png").read_bytes()[:200])
    assert _evaluate(folders, align="none") == 1
    assert "2.png" in capsys.readouterr().err
    assert {row["frame"] for row in _rows(folders)} == {"0", "1", "3", "4"}
    assert "2.png" in (folders / "out" / "alignment.md").read_text()


def test_a_finished_report_is_kept(folders, capsys):
    assert _evaluate(folders, align="none") == 0
    before = (folders / "out" / "alignment.csv").read_bytes()
    assert _evaluate(folders, align="ecc_affine") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (folders / "out" / "alignment.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--method", "average"], "no use for --method"),
        (["--degrade", "darkness:20"], "no use for --degrade"),
        (["--metrics", "video"], "compares consecutive frames; pairs are aligned one by one"),
        (["--reference", "thermal"], "expected --reference rgb"),
        (["--align", "ecc_afine"], "did you mean 'ecc_affine'?"),
        (["--align", "none,none"], "'none' is named twice"),
        (["--align", " ,"], "expected names separated by commas"),
        (["--misalign", "shift:900"], "expected a level from 0 to 64"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_done(folders, capsys, options, reason):
    assert _evaluate(folders, *options) == 2
    assert reason in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_parallax_of_the_street_is_measured_by_distance(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--align", "none,structural", "--synthetic", "1", "--thumbnail", "64", "--out", str(out)]
    assert main(["evaluate", *words]) == 0
    assert "1 pairs" in capsys.readouterr().out
    assert all((out / name).stat().st_size > 50 for name in (*REPORTS, "parallax.csv"))
    (none, found) = csv.DictReader((out / "alignment.csv").open())
    assert (none["condition"], none["aligner"], found["aligner"]) == ("day", "none", "structural")
    assert none["known_px"] == none["nothing_px"] == found["nothing_px"] != found["known_px"]
    rows = list(csv.DictReader((out / "parallax.csv").open()))
    nearest = [r for r in rows if (r["place"], r["near_m"], r["far_m"]) == ("everywhere", "2.0", "4.0")]
    assert [row["aligner"] for row in nearest] == ["none", "structural"]
    assert 5.0 < float(nearest[0]["mean_px"]) < 8.0  # 6 cm between the cameras, 525 px, 2 to 4 m instead of 15 m
    results = json.loads((out / "alignment.json").read_text())
    assert results["conditions"] == ["day"] and results["parallax"]["none"]["outlines"]["all"]["pairs"] == 1
    text = (out / "alignment.md").read_text()
    assert "## Parallax by distance, outlines" in text and "| 2 to 4 m | 4 to 6 m |" in text
    (picture,) = (out / "alignment_pictures").glob("*.png")
    assert cv2.imread(str(picture)).shape == (
        28 + 2 * (48 + 4),
        130 + 3 * (64 + 4),
        3,
    )  # before, which none is, too
    assert "exact flow" in (out / "alignment.html").read_text()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["0"], "--synthetic: expected 1 to 1000 pairs, got 0"),
        (["1", "--misalign", "shift:3"], "no use for --misalign"),
        (["1", "--metrics", "EN"], "no use for --metrics"),
        (["1", "--rgb", "a", "--thermal", "b"], "no use for --rgb, --thermal"),
        (["1", "--alignment.mode", "resize"], "no use for --alignment.mode"),
        (["1", "--vot"], "--vot: belong to --tracking"),
    ],
)
def test_what_the_street_has_no_use_for_is_refused(tmp_path, capsys, options, reason):
    assert main(["evaluate", "--align", "none", "--out", str(tmp_path / "out"), "--synthetic", *options]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
