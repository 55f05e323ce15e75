"""``python -m training`` as a user types it: what it asks for, refuses, leaves behind and goes on with."""

from __future__ import annotations

import argparse
import csv
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from small_trainings import scene, write_folders

import training.recipes.reconet
from training.__main__ import _parser, main
from training.data import held_out
from training.data.fingerprints import fingerprint
from training.recipes import RECIPES
from training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

# Two epochs of two steps each on eight of ten pairs, a moment's work.
QUICK = ["--epochs", "2", "--width", "4", "--recurrences", "1", "--crop", "16", "--batch", "4"]
QUICK += ["--metric-pairs", "1", "--tensorboard", "false", "--validation-share", "0.2"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folders(tmp_path) -> Path:
    """Ten pairs."""
    return write_folders(tmp_path / "data", 10)


def _train(folders: Path, run: Path, *options: str) -> int:
    return main(["reconet_fuser", "--data", f"folders={folders}", "--run", str(run), *QUICK, *options])


def _request(run: Path) -> dict:
    return yaml.safe_load((run / "settings.yaml").read_text())


# --- what is asked for ---


def test_a_training_writes_its_run_folder_and_says_where_the_best_weights_are(folders, tmp_path, caplog):
    caplog.set_level("INFO")
    assert _train(folders, tmp_path / "run", "--learning-rate", "0.01") == 0
    request = _request(tmp_path / "run")
    assert (request["recipe"], request["small"]) == ("reconet_fuser", False)
    assert request["data"] == {"data": [f"folders={folders}"]}
    assert (request["settings"]["crop"], request["settings"]["learning_rate"]) == (16, 0.01)
    assert request["settings"]["gamma"] == 0.28  # as by default
    assert request["pairs"]["validation"] == ["folders/8", "folders/9"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "settings.yaml",
        "environment.yaml",
        "history.csv",
        "last.pt",
        "previous.pt",
        "best.safetensors",
    }
    assert f"{tmp_path / 'run' / 'best.safetensors'} has the lowest validation loss" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected --data SET=PATH"),
        (["--data", "roadscen=/data"], "got 'roadscen'; did you mean 'roadscene'?"),
        (["--data", "folders=/nowhere"], "/nowhere"),
        (["--data", "synthetic=0:4", "--learning-rate", "7"], "learning_rate: expected 1e-08 to 1, got 7"),
        (["--data", "synthetic=0:4", "--simulate", "elastik:4"], "no kind 'elastik'"),
        (["--data", "synthetic=0:4", "--metrics", "EN,XY"], "XY"),
        (["--data", "synthetic=0:4", "--test", "/nowhere.txt"], "/nowhere.txt"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_leaves_no_folder(tmp_path, caplog, options, message):
    assert main(["didfuse", *options, "--run", str(tmp_path / "run")]) == 1
    assert message in caplog.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("crop", "shrunk", "message"),
    [("64", (), "expected at least 64 x 64 pixels"), ("16", ("8", "9"), "expected at least 16 x 16 pixels")],
    ids=["training", "validation"],
)
def test_images_that_cannot_be_used_leave_no_folder(folders, tmp_path, caplog, crop, shrunk, message):
    for name in shrunk:
        for kind in ("ir", "vis"):
            cv2.imwrite(str(folders / kind / f"{name}.png"), scene(0)[:14])
    assert _train(folders, tmp_path / "run", "--crop", crop) == 1
    assert message in caplog.text
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_leaves_no_folder(folders, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _train(folders, tmp_path / "run", "--device", "cuda") == 1
    assert "expected a CUDA device, found none; use --device cpu" in caplog.text
    assert not (tmp_path / "run").exists()


def test_lists_say_what_is_trained_validated_and_tested_on(folders, tmp_path):
    (tmp_path / "train.txt").write_text("# ours\n0.png\nfolders/1\n2\n3\n")
    (tmp_path / "validation.txt").write_text("4.png\n")
    (tmp_path / "test.txt").write_text("9\nunrelated\n")
    lists = [f"--{name}={tmp_path / name}.txt" for name in ("train", "validation", "test")]
    assert _train(folders, tmp_path / "run", *lists) == 0
    assert _request(tmp_path / "run")["pairs"] == {
        "train": [f"folders/{number}" for number in range(4)],
        "validation": ["folders/4"],
    }


def test_a_test_list_is_kept_out_of_the_rest(folders, tmp_path, caplog):
    (tmp_path / "test.txt").write_text("2\n9\n")
    assert _train(folders, tmp_path / "run", "--test", str(tmp_path / "test.txt")) == 0
    pairs = _request(tmp_path / "run")["pairs"]
    assert not {"folders/2", "folders/9"} & {*pairs["train"], *pairs["validation"]}
    (tmp_path / "train.txt").write_text("1\n2\n")
    lists = ("--train", str(tmp_path / "train.txt"), "--test", str(tmp_path / "test.txt"))
    assert _train(folders, tmp_path / "other", *lists) == 1
    assert "1 pair(s) of the test list are in the train list too: folders/2" in caplog.text


def test_images_of_a_test_set_are_left_out_with_a_warning(folders, tmp_path, caplog, monkeypatch):
    held = [held_out.HeldOut(f"forged/{number}", fingerprint(scene(2 * number, (40, 48)))) for number in (3, 9)]
    monkeypatch.setattr(held_out, "read_held_out", lambda: held)
    assert _train(folders, tmp_path / "run") == 0
    assert "2 pair(s) are images of a test set and are left out" in caplog.text
    assert "folders/3 (is forged/3)" in caplog.text
    pairs = _request(tmp_path / "run")["pairs"]
    assert {*pairs["train"], *pairs["validation"]} == {f"folders/{number}" for number in (0, 1, 2, 4, 5, 6, 7, 8)}


def test_small_begins_from_the_small_variant_and_what_is_given_wins(folders, tmp_path):
    arguments = ["reconet_fuser", "--data", f"folders={folders}", "--run", str(tmp_path / "run"), "--small"]
    assert main([*arguments, *QUICK, "--contrast-weight", "2"]) == 0
    request = _request(tmp_path / "run")
    small = RECIPES["reconet_fuser"].SMALL
    assert request["small"] is True
    assert request["settings"]["brightness"] == small["brightness"] == 1.1
    assert (request["settings"]["contrast_weight"], request["settings"]["epochs"]) == (2.0, 2)


# --- going on ---


def _interrupt_at(call: int, monkeypatch) -> None:
    """Let Ctrl-C come at one call of the loss."""
    loss, calls = training.recipes.reconet.fusion_loss, iter(range(1, 1000))

    def interrupted(*arguments, **options):
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return loss(*arguments, **options)

    monkeypatch.setattr(training.recipes.reconet, "fusion_loss", interrupted)


def _history(run: Path) -> list[dict]:
    with (run / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_run_that_is_interrupted_and_resumed_equals_an_unbroken_one(folders, tmp_path, caplog, monkeypatch):
    options = ("--epochs", "3", "--flip", "true", "--intensity", "0.3", "--ema-decay", "0.5")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _train(folders, whole, *options) == 0
    with monkeypatch.context() as patch:
        _interrupt_at(4, patch)  # two steps and a validation are an epoch
        assert _train(folders, cut, *options) == 1
    assert "stage fuse, epoch 2 of 3, step 1 of 2; saved: 1 epoch(s) and 1 step(s)" in caplog.text
    assert f"go on with --resume {cut}" in caplog.text
    assert main(["reconet_fuser", "--resume", str(cut)]) == 0
    assert _history(cut) == _history(whole)
    assert (cut / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    ends = [RunFolder(run).load()["network"] for run in (cut, whole)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_resume_takes_the_runs_own_settings_and_pairs(folders, tmp_path, caplog):
    run = tmp_path / "run"
    assert _train(folders, run) == 0
    before = (run / "settings.yaml").read_text()
    for arguments, message in (
        (["reconet_fuser", "--data", f"folders={folders}", "--run", str(run), *QUICK], "already holds a run"),
        (["reconet_fuser", "--resume", str(run), "--crop", "32"], "leave out crop"),
        (["reconet_fuser", "--resume", str(run), "--data", "synthetic"], "leave out data"),
        (["reconet_fuser", "--resume", str(run), "--small"], "leave out small"),
        (["lrrnet", "--resume", str(run)], "is a run of reconet_fuser, not of lrrnet"),
        (["reconet_fuser", "--resume", str(tmp_path / "nothing")], "holds no training run"),
    ):
        assert main(arguments) == 1
        assert message in caplog.text
    assert main(["reconet_fuser", "--resume", str(run)]) == 0  # nothing is left to do
    for kind in ("ir", "vis"):
        (folders / kind / "0.png").unlink()
    assert main(["reconet_fuser", "--resume", str(run)]) == 1
    assert "the pairs are not those that the run began with" in caplog.text
    assert (run / "settings.yaml").read_text() == before


# --- the other commands, and help ---


def test_data_sets_are_listed_and_looked_at(folders, capsys, caplog):
    assert main(["data", "list", "kaist", "tno"]) == 0
    out = capsys.readouterr().out
    assert "kaist: KAIST" in out and "example:    tno=/data/TNO" in out and "llvip" not in out
    assert main(["data", "check", "folders", str(folders)]) == 0
    assert "pairs       10: 10 train" in capsys.readouterr().out
    (folders / "ir" / "3.png").write_bytes(b"")
    assert main(["data", "check", "folders", str(folders)]) == 1
    assert "1 pair(s) cannot be read" in caplog.text


def _parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield a parser and all below it, each with its command."""
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                yield from _parsers(below, f"{name} {command}".strip())


@pytest.mark.parametrize("command", [name for name, _ in _parsers(_parser())])
def test_each_help_has_examples_that_the_program_understands(command):
    parser = dict(_parsers(_parser()))[command]
    _, _, examples = parser.format_help().partition("example")
    lines = re.findall(r"-m training (.*)", examples.replace("\\\n", " "))
    assert lines, command
    for line in lines:
        assert line.startswith(command), line
        assert _parser().parse_args(shlex.split(line)).run_command, line


@pytest.mark.parametrize("name", RECIPES)
def test_help_lists_every_setting_with_its_default(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    _, _, settings = text.rpartition(" settings: ")
    options = {part.split()[0]: part for part in f" {settings}".split(" --")[1:]}
    for setting, field in RECIPES[name].Settings.describe().items():
        assert f"default {field.default}]" in options[setting.replace("_", "-")]
    for setting, value in RECIPES[name].SMALL.items():
        assert f"{setting} {value}" in text
