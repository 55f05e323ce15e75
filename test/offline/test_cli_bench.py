"""`fusion-ros bench` measures what it says it measures."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest

from fusion_ros.cli.main import main
from fusion_ros.cli.measuring import Candidate, measure

QUICK = ["bench", "--engines", "torch", "--seconds", "0", "--threads", "1", "--size", "40x24"]


def test_a_run_prints_and_writes_every_method_for_every_size(tmp_path, capsys):
    file = tmp_path / "bench.json"
    options = ["--methods", "reconet_fuser,lrrnet,reconet", "--size", "32x32", "--json", str(file)]
    assert main([*QUICK, *options]) == 0
    report = json.loads(file.read_text())
    rows = report["methods"]
    assert [(row["method"], row["size"], row["candidate"]) for row in rows] == [
        (method, size, candidate)
        for method in ("reconet_fuser", "lrrnet", "reconet")
        for size in ("40x24", "32x32")
        for candidate in ("plain torch, eager", "torch")
    ]
    for plain, engine in zip(rows[::2], rows[1::2], strict=True):
        assert plain["ratio"] == 1
        assert engine["ratio"] == pytest.approx(plain["median_ms"] / engine["median_ms"])
        assert engine["fps"] == pytest.approx(1000 / engine["median_ms"])
        assert engine["max_error"] < 1e-4
        assert engine["min_ms"] <= engine["median_ms"]
    assert rows[0]["multiply_adds"] == 20_844 * 40 * 24
    assert rows[4]["multiply_adds"] == 46_116 * 40 * 24
    assert set(report["classical_ms"]["32x32"]) >= {"average", "laplacian", "pca"}
    assert {"normalise", "fuse", "merge", "all"} <= set(report["stages_ms"]["40x24"])
    assert "profiles" not in report  # as nothing was asked for
    printed = capsys.readouterr().out
    assert re.search(r"^matrix product: [1-9]\d* GFLOP/s on 1 cores$", printed, re.MULTILINE)
    for text in ("processor:", "torch 2", "ratio", "40x24", "32x32", "lrrnet", "peak MB", "laplacian"):
        assert text in printed


needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO (make test installs it)"
)


@needs_openvino
def test_a_profile_says_what_openvinos_time_goes_into(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert main([*QUICK, "--methods", "didfuse", "--profile", "--json", str(file)]) == 0
    (found,) = json.loads(file.read_text())["profiles"]
    assert (found["method"], found["size"]) == ("didfuse", "40x24")
    # What DIDFuse is made of: convolutions, over joined maps; nothing of it takes no time.
    assert {"Convolution", "Concat"} <= found["operation_ms"].keys()
    assert all(ms >= 0 for ms in found["operation_ms"].values())
    printed = capsys.readouterr().out
    lines = printed.partition("time in OpenVINO by type of operation")[2].splitlines()[3:]
    rows = [line.split() for line in lines[: lines.index("")]]
    assert {row[2] for row in rows} >= {"Convolution", "all"}
    shares = [float(row[-1]) for row in rows]
    assert shares[-1] == 100
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5 * len(rows))


def test_memory_and_errors_are_those_of_the_call():
    import numpy as np

    def modest(infrared, visible):
        return infrared + visible

    def greedy(infrared, visible):
        waste = np.ones(50_000_000, np.float32)  # 200 MB, written, freed at the end
        return infrared + visible + 0.25 * waste[0]

    images = np.full((2, 1, 1, 8, 8), 0.25, np.float32)
    plain, wasteful = measure("m", 0, [Candidate("plain", modest), Candidate("greedy", greedy)], images, 0.0)
    assert plain.max_error == 0
    assert wasteful.max_error == pytest.approx(0.25)
    if wasteful.peak_mb is not None:
        assert 150 < wasteful.peak_mb < 300
        assert plain.peak_mb < 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "640"], "--size: expected WIDTHxHEIGHT such as 640x480, got '640'"),
        (["--engines", "torhc"], "did you mean 'torch'"),
        (["--precision", "int8"], "precision: expected one of auto, float32"),
        (["--threads", "-2"], "threads: expected 0 to 256"),
        (["--json", "no/such/folder/x.json"], "--json: there is no folder no/such/folder"),
        (["--methods", "lrnet"], "no method 'lrnet'; did you mean 'lrrnet'"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options, message, capsys):
    assert main([*QUICK, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_precision_that_one_engine_lacks_leaves_the_others_to_measure(capsys):
    options = ["--methods", "reconet_fuser", "--size", "24x24", "--seconds", "0", "--precision", "bfloat16"]
    assert main(["bench", *options]) == 0
    printed = capsys.readouterr().out
    assert "not measured: precision: expected auto, float16 or float32 with the torch_tensorrt engine" in printed
    assert "torch" in printed.partition("not measured")[2]
