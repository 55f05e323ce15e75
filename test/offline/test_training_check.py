"""``data check`` and ``data list``: what they find, what they show, and the exit status."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.errors import FusionError, ImageError, SettingsError
from training.data.check import add_commands, examine
from training.data.pairs import PairImages
from training.data.sets import SETS
from training.data.sheet import contact_sheet, sampled


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*arguments: object) -> int:
    """Run a command as the program does; 1 where it fails."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args([str(argument) for argument in arguments])
    try:
        options.run_command(options)
    except FusionError:
        return 1
    return 0


def texture(seed: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (8, 10)).astype(np.float32)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Six sound pairs."""
    for folder, first in (("ir", 0), ("vis", 100)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(6):
            cv2.imwrite(str(tmp_path / "data" / folder / f"{index}.png"), texture(first + index))
    return tmp_path / "data"


def test_a_sound_set_is_counted_and_passes(folders, capsys):
    assert run("check", "folders", folders) == 0
    out = capsys.readouterr().out
    assert "6: 6 train, 0 validation, 0 test" in out
    assert "6 of 80 x 60" in out
    assert "6 of 8 bits" in out


def test_infrared_images_of_16_bits_are_counted_as_such(folders, capsys):
    for file in sorted((folders / "ir").iterdir())[:2]:
        cv2.imwrite(str(file), 100 * texture(0).astype(np.uint16))
    assert run("check", "folders", folders) == 0
    assert "2 of 16 bits" in capsys.readouterr().out


def test_what_is_wrong_is_counted_named_and_ends_with_status_one(folders, capsys):
    broken = folders / "ir" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    cv2.imwrite(str(folders / "vis" / "2.png"), texture(0, (60, 81)))
    cv2.imwrite(str(folders / "vis" / "3.png"), texture(0).astype(np.uint16))
    (folders / "vis" / "5.png").unlink()
    assert run("check", "folders", folders) == 1
    out = capsys.readouterr().out
    assert "unreadable  3" in out
    assert "1.png: expected a complete image" in out
    assert "pair 'folders/2': expected equal sizes" in out
    assert "3.png: expected 8 bits a sample, got uint16" in out
    assert "unpaired    1: ir/5.png" in out
    report = examine("folders", SETS["folders"].find(folders))
    assert report.sizes == Counter({(60, 80): 2})
    assert not report.is_sound


def test_an_image_that_lacks_its_partner_alone_is_status_one(folders):
    (folders / "ir" / "0.png").unlink()
    assert run("check", "folders", folders) == 1


def test_parts_and_held_out_images_are_reported(shared, capsys):
    data = shared / "data"
    assert run("check", "roadscene", data / "roadscene") == 0
    out = capsys.readouterr().out
    assert "221: 160 train, 20 validation, 41 test" in out
    assert "held out    0 of" in out
    assert run("check", "folders", data / "flir" / "train" / "ir", data / "flir" / "train" / "vis") == 0
    out = capsys.readouterr().out
    assert "held out    32 of" in out
    assert "folders/149 is roadscene/FLIR_08932" in out


def test_options_of_the_set_are_taken_and_wrong_ones_refused(folders, capsys):
    assert run("check", "folders", folders, "--option", "every=2", "--option", "seed=1") == 0
    assert "3: 3 train" in capsys.readouterr().out
    assert run("check", "folders", folders, "--option", "evry=2") == 1
    assert run("check", "folders", folders / "ir") == 1


def test_the_sheet_shows_both_images_and_one_over_the_other(folders, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert run("check", "folders", folders, "--out", sheet) == 0
    picture = cv2.imread(str(sheet))
    cell = cv2.resize(texture(0), (300, 225), interpolation=cv2.INTER_LINEAR).astype(int)
    visible = cv2.resize(texture(100), (300, 225), interpolation=cv2.INTER_LINEAR).astype(int)
    first = picture[22 : 22 + 225].astype(int)
    for channel in range(3):
        assert np.abs(first[:, :300, channel] - cell).max() <= 1
        assert np.abs(first[:, 308:608, channel] - visible).max() <= 1
        shown = cell if channel == 2 else visible  # blue and green are the visible image, red the infrared one
        assert np.abs(first[:, 616:916, channel] - shown).max() <= 1
    assert run("check", "folders", folders, "--out", tmp_path / "absent" / "sheet.png") == 1


def test_where_the_flow_is_known_the_overlay_undoes_it():
    visible = texture(1)
    moved = np.roll(visible, 4, axis=1)  # what is at x is seen at x + 4
    flow = np.zeros((60, 80, 2), np.float32)
    flow[..., 0] = 4
    overlay = contact_sheet([("pair", PairImages(moved, visible, flow))])[22:247, 616:880].astype(int)
    assert np.abs(overlay[..., 0] - overlay[..., 1]).max() <= 1
    known_as_registered = contact_sheet([("pair", PairImages(moved, visible))])[22:247, 616:880].astype(int)
    assert np.abs(known_as_registered[..., 0] - known_as_registered[..., 1]).max() > 20


def test_sampled_pairs_are_spread_over_the_set():
    assert sampled(list(range(100)), 3) == [0, 50, 99]
    assert sampled(list(range(2)), 8) == [0, 1]


def test_a_set_of_which_nothing_can_be_read_has_no_sheet(folders, tmp_path):
    for path in (folders / "ir").iterdir():
        path.write_bytes(b"")
    assert run("check", "folders", folders, "--out", tmp_path / "sheet.png") == 1
    assert not (tmp_path / "sheet.png").exists()


def test_every_set_is_listed_with_its_tree_and_an_example_that_works(capsys):
    assert run("list") == 0
    out = capsys.readouterr().out
    for data_set in SETS.values():
        assert f"{data_set.name}: {data_set.title}" in out
        assert data_set.tree in out
        assert data_set.example.startswith(data_set.name)
    assert run("list", "kaist") == 0
    assert "llvip" not in capsys.readouterr().out
    assert run("list", "kaits") == 1


def test_a_wrong_root_is_answered_with_the_tree(tmp_path):
    with pytest.raises(SettingsError, match="infrared/train/"):
        SETS["llvip"].find(tmp_path)
    assert issubclass(SettingsError, FusionError) and issubclass(ImageError, FusionError)
