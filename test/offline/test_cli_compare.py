"""`fusion-ros compare`: the same pairs through several methods."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from fusion_ros import weights
from fusion_ros.cli.main import main
from fusion_ros.cli.pictures import contact_sheet

RNG = np.random.default_rng(0)


@pytest.fixture
def folders(tmp_path):
    """Three pairs whose RGB images are grey levels 40, 80, 120 and whose thermal ones are 200."""
    for name in ("rgb", "thermal"):
        (tmp_path / name).mkdir()
    for number, level in enumerate((40, 80, 120)):
        cv2.imwrite(str(tmp_path / "rgb" / f"{number}.png"), np.full((30, 40, 3), level, np.uint8))
        cv2.imwrite(str(tmp_path / "thermal" / f"{number}.png"), np.full((30, 40), 200, np.uint8))
    return tmp_path


def _compare(folders, *options):
    paths = ["--rgb", str(folders / "rgb"), "--thermal", str(folders / "thermal")]
    return main(["compare", *paths, "--out", str(folders / "out.png"), "--engine.device", "cpu", *options])


def test_a_row_a_method_and_a_column_a_pair(folders, capsys):
    assert _compare(folders, "--models", "average,maximum", "--width", "40") == 0
    sheet = cv2.imread(str(folders / "out.png"))[..., 0]
    assert sheet.shape[0] == 4 * 34  # RGB, thermal, two methods; tiles of 30 px with a border of 2
    centres = [sheet[34 * row + 17, -3 * 44 + 22 :: 44].tolist() for row in range(4)]
    assert centres[0] == [40, 80, 120]
    assert centres[1] == [200, 200, 200]
    assert centres[2] == pytest.approx([120, 140, 160], abs=1)
    assert centres[3] == [200, 200, 200]
    printed = capsys.readouterr().out
    for text in ("average", "maximum", "EN", "CC", "3 pairs, 2 methods"):
        assert text in printed


def test_pairs_are_spread_evenly_when_there_are_too_many(folders, capsys):
    assert _compare(folders, "--models", "average", "--limit", "2", "--width", "40") == 0
    sheet = cv2.imread(str(folders / "out.png"))[..., 0]
    assert sheet[17, -2 * 44 + 22 :: 44].tolist() == [40, 120]
    assert "2 pairs, 1 methods" in capsys.readouterr().out


def test_without_pairs_it_shows_the_synthetic_street_with_all_that_is_installed(
    tmp_path, repository, capsys, monkeypatch
):
    # One of the shipped models is enough; all of them would take a minute.
    shutil.copytree(repository / "models" / "reconet", tmp_path / "models" / "reconet")
    monkeypatch.setattr(weights, "share_folders", lambda: (tmp_path,))
    out = tmp_path / "methods.jpg"
    assert main(["compare", "--out", str(out), "--width", "64"]) == 0
    printed = capsys.readouterr().out
    for name in ("average", "laplacian", "pca", "reconet", "3 pairs"):
        assert name in printed
    assert cv2.imread(str(out)).std() > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "avrage"], "average"),
        (["--models", "average", "--limit", "0"], "--limit: expected at least 1, got 0"),
        (["--models", "average,"], "expected names separated by commas, got an empty one"),
        (["--model", "average"], "name the methods to compare with --models"),
        (["--width", "0"], "--width: expected at least 16 px, got 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(folders, options, message, capsys):
    assert _compare(folders, *options) == 2
    assert message in capsys.readouterr().err
    assert not (folders / "out.png").exists()


def test_one_camera_alone_is_refused(folders, capsys):
    assert main(["compare", "--rgb", str(folders / "rgb"), "--out", str(folders / "o.png")]) == 2
    assert "expected --rgb and --thermal, or neither" in capsys.readouterr().err


def test_a_picture_of_no_kind_is_refused_before_the_work_begins(folders, capsys):
    paths = ["--rgb", str(folders / "rgb"), "--thermal", str(folders / "thermal")]
    assert main(["compare", *paths, "--out", str(folders / "out"), "--models", "average"]) == 2
    assert "--out: expected a picture, .jpg or .png" in capsys.readouterr().err


def test_what_has_no_partner_is_named(folders, capsys):
    (folders / "thermal" / "2.png").rename(folders / "thermal" / "other.png")
    assert _compare(folders, "--models", " average, pca", "--width", "40") == 0
    assert "2 images have no partner and are left out: 2, other" in capsys.readouterr().out


def test_a_damaged_model_is_left_out_with_the_reason(folders, tmp_path, monkeypatch, capsys):
    broken = tmp_path / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "card.yaml").write_text("name: broken")
    monkeypatch.setenv("FUSION_ROS_MODELS", str(broken.parent))
    assert _compare(folders, "--width", "40") == 0
    printed = capsys.readouterr().out
    assert "left out:" in printed
    assert "missing fields" in printed
    assert "reconet" in printed


def test_an_existing_picture_is_not_replaced_unasked(folders, capsys):
    (folders / "out.png").write_bytes(b"precious")
    assert _compare(folders, "--models", "average") == 2
    assert (folders / "out.png").read_bytes() == b"precious"
    assert _compare(folders, "--models", "average", "--overwrite") == 0


def test_a_sheet_keeps_the_shape_of_its_images():
    wide = np.full((10, 40), 200, np.uint8)
    sheet = contact_sheet([[wide]], tile=(20, 20))
    assert sheet.shape == (24, 24, 3)
    column = sheet[2:22, 12, 0]
    assert (column == 200).sum() == 5  # 20 px wide, a quarter as high


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """The same pairs evaluated with the average and with the maximum."""
    folders = tmp_path_factory.mktemp("evaluations")
    for kind in ("rgb", "thermal"):
        (folders / kind).mkdir()
        for number in range(8):
            cv2.imwrite(str(folders / kind / f"{number}.png"), RNG.integers(0, 256, (30, 40), np.uint8))
    for pipeline in ("average", "maximum"):
        options = ["--rgb", folders / "rgb", "--thermal", folders / "thermal", "--method", pipeline]
        words = ["evaluate", *options, "--metrics", "EN,SD,AG", "--out", folders / pipeline, "--thumbnail", "0"]
        assert main([*map(str, words)]) == 0
    return folders


def test_two_evaluations_are_compared_metric_by_metric(evaluations, capsys):
    files = [str(evaluations / "average" / "results.json"), str(evaluations / "maximum")]
    assert main(["compare", *files, "--out", str(evaluations / "changes.md")]) == 0
    printed = capsys.readouterr().out
    results = [json.loads((evaluations / name / "results.json").read_text()) for name in ("average", "maximum")]
    first, second = (result["means"][0]["SD:population_255"] for result in results)
    assert "average -> maximum" in printed
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("SD"))
    assert float(row[4]) == pytest.approx(second - first, abs=0.01)
    assert "| " in (evaluations / "changes.md").read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{}/average"], "expected two evaluations to compare, got 1"),
        (["{}/average", "{}/nowhere.json"], "nowhere.json: cannot be read"),
        (["{}/average", "{}/rgb/0.png"], "0.png"),
        (["{}/average", "{}/maximum", "--models", "pca"], "--models belongs to pictures"),
        (["{}/average", "{}/maximum", "--out", "x.jpg"], "expected a .md file"),
        (["{}/average", "{}/maximum", "--confidence", "95"], "confidence"),
        ([], "--out: expected the picture"),
    ],
)
def test_what_is_no_pair_of_evaluations_is_said(evaluations, capsys, words, reason):
    capsys.readouterr()
    assert main(["compare", *(word.format(evaluations) for word in words)]) == 2
    assert reason in capsys.readouterr().err
