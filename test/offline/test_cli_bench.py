"""`fusion-ros bench` measures what it says it measures."""

from __future__ import annotations

import json

import pytest

from fusion_ros.cli.main import main

QUICK = ["bench", "--model", "untrained", "--engines", "torch", "--seconds", "0", "--threads", "1"]


def test_a_run_prints_and_writes_every_candidate_for_every_size(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert main([*QUICK, "--size", "40x24", "--size", "32x32", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    rows = report["engines"]
    assert [(row["size"], row["candidate"]) for row in rows] == [
        ("40x24", "plain network, eager"),
        ("40x24", "torch"),
        ("32x32", "plain network, eager"),
        ("32x32", "torch"),
    ]
    for plain, engine in (rows[:2], rows[2:]):
        assert plain["ratio"] == 1
        assert engine["ratio"] == pytest.approx(plain["median_ms"] / engine["median_ms"])
        assert engine["fps"] == pytest.approx(1000 / engine["median_ms"])
        assert engine["max_error"] < 1e-4
        assert engine["min_ms"] <= engine["median_ms"]
    assert set(report["stages_ms"]) == {"40x24", "32x32"}
    assert {"normalise", "fuse", "merge", "all"} <= set(report["stages_ms"]["40x24"])
    printed = capsys.readouterr().out
    for text in ("processor:", "torch 2", "ratio", "40x24", "32x32"):
        assert text in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "640"], "--size: expected WIDTHxHEIGHT such as 640x480, got '640'"),
        (["--engines", "torhc"], "did you mean 'torch'"),
        (["--precision", "int8"], "precision: expected one of float32"),
        (["--threads", "-2"], "threads: expected 0 to 256"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options, message, capsys):
    assert main([*QUICK, *options]) == 2
    assert message in capsys.readouterr().err
