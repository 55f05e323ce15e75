"""The door: overview, versions, errors on one line, interruption, closed pipes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fusion_ros import __version__
from fusion_ros.cli.main import VERBS, main, verb_parser

OUR_VERBS = (
    *("bag", "bench", "calibrate", "compare", "evaluate", "export", "fuse", "import-weights", "metrics", "models"),
    *("synth", "track"),
)


def test_the_overview_names_every_verb(capsys):
    assert main([]) == main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_the_overview_imports_no_verb_and_no_heavy_package():
    program = (
        "import sys; from fusion_ros.cli.main import main; main(['--help']); "
        "print([m for m in ('numpy', 'cv2', 'rosbags', 'torch', 'fusion_ros.cli.bag') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fusion-ros {__version__}\n"


@pytest.mark.parametrize("verb", OUR_VERBS)
def test_the_help_of_a_verb_ends_with_examples_that_its_own_parser_accepts(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    examples = text.split("examples:\n")[1].strip().splitlines()
    assert examples
    for line in examples:
        words = line.split()
        assert words[:2] == ["fusion-ros", verb]
        verb_parser(verb).parse_args(words[2:])


def test_the_help_of_an_action_shows_its_own_examples(capsys):
    assert main(["bag", "make", "--help"]) == 0
    examples = capsys.readouterr().out.split("examples:\n")[1].strip().splitlines()
    assert len(examples) == 3
    assert all("fusion-ros bag make" in line for line in examples)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["bga"], "no verb 'bga'; did you mean 'bag'"),
        (["bag", "info", "--quik", "x"], "unknown argument '--quik'; did you mean '--quick'"),
        (["bag", "make"], "required: --rgb, --thermal, --out"),
        (["bag", "info", "/nowhere"], "no bag at /nowhere"),
        (["synth", "--out", "x", "--seed", "abc"], "--seed: invalid int value: 'abc'"),
    ],
)
def test_a_mistake_gives_one_clear_line_and_status_2(words, reason, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fusion-ros: error: ")
    assert shown.err.count("\n") == 1
    assert reason in shown.err


def test_ctrl_c_gives_status_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fusion_ros.cli.bag.main", interrupted)
    assert main(["bag", "info", "x"]) == 130
    assert capsys.readouterr().err == "fusion-ros: interrupted\n"


def test_what_the_system_refuses_is_one_clear_line(monkeypatch, capsys):
    def refuse(args):
        raise PermissionError(13, "Permission denied", "/models/card.yaml")

    monkeypatch.setattr("fusion_ros.cli.models.main", refuse)
    assert main(["models", "list"]) == 2
    assert capsys.readouterr().err == "fusion-ros: error: /models/card.yaml: Permission denied\n"


def test_a_missing_package_is_named_instead_of_a_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rosbags", None)
    for name in [name for name in sys.modules if name.startswith(("fusion_ros.bags", "fusion_ros.cli.bag"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("rosbags.")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["bag", "info", "x"]) == 2
    assert "needs the Python package 'rosbags" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m fusion_ros.cli bag make --help | true"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.stderr == ""


def test_the_module_runs_as_a_program():
    run = subprocess.run(
        [sys.executable, "-m", "fusion_ros.cli", "bag", "info", "/nowhere"], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "fusion-ros: error: no bag at /nowhere\n"
