"""``fusion-ros export``: writes files that other programs read, and says what to feed them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_ros.cli.main import main
from fusion_ros.engines import export
from fusion_ros.engines.export import Comparison
from fusion_ros.weights import load_network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_an_onnx_file_is_written_verified_and_explained(tmp_path, capsys):
    out = tmp_path / "reconet.onnx"
    assert main(["export", "reconet", "--out", str(out), "--network", "recurrences=1"]) == 0
    said = capsys.readouterr().out
    assert "takes infrared and visible: float32 (1, 1, height, width), values in [0, 1]" in said
    assert "gives fused: float32 (1, 1, height, width), an image in [0, 1]; clamp it" in said
    assert "verified: onnxruntime" in said
    metadata = {item.key: item.value for item in onnx.load(out).metadata_props}
    assert metadata["model"] == "reconet"
    assert metadata["network_settings"] == "recurrences=1"
    assert len(metadata["weights_sha256"]) == 64
    images = np.random.default_rng(0).random((2, 1, 1, 40, 56), np.float32)
    fused = onnxruntime.InferenceSession(out).run(None, {"infrared": images[0], "visible": images[1]})[0]
    with torch.no_grad():
        expected = load_network("reconet", {"recurrences": 1})(*map(torch.from_numpy, images)).numpy()
    assert np.abs(fused - expected).max() < 1e-4


def test_an_exported_program_of_one_size_is_loaded_by_pytorch(tmp_path, capsys):
    out = tmp_path / "reconet.pt2"
    assert main(["export", "reconet", "--format", "ep", "--out", str(out), "--static", "--size", "72x40"]) == 0
    said = capsys.readouterr().out
    assert "float32 (1, 1, 40, 72)" in said
    assert "verified: torch" in said
    images = torch.rand(2, 1, 1, 40, 72)
    with torch.no_grad():
        assert torch.equal(torch.export.load(out).module()(*images), load_network("reconet")(*images))


def test_a_file_that_differs_from_pytorch_does_not_stay(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "compare_program", lambda *arguments: Comparison("a reader", ((1, 1),), 0.5))
    out = tmp_path / "reconet.pt2"
    assert main(["export", "reconet", "--out", str(out), "--network", "recurrences=1"]) == 2
    assert "a reader gives another output than PyTorch, by 0.5" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    out.write_bytes(b"an earlier, good one")
    assert main(["export", "reconet", "--out", str(out), "--network", "recurrences=1", "--overwrite"]) == 2
    assert out.read_bytes() == b"an earlier, good one"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_nothing_can_load_here_is_called_unverified(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "compare_onnx", lambda *arguments: None)
    assert main(["export", "reconet", "--out", str(tmp_path / "x.onnx"), "--network", "recurrences=1"]) == 0
    assert "unverified: neither onnxruntime nor openvino is installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reconet", "--out", "x.bin"], "ends in .onnx or .pt2"),
        (["reconet", "--out", "x.ep", "--format", "ep"], "names that end in .pt2"),
        (["reconet", "--out", "x.onnx", "--size", "64x48"], "with --static only"),
        (["reconet", "--out", "x.onnx", "--static", "--size", "64"], "expected WIDTHxHEIGHT"),
        (["reconet", "--out", "there.onnx"], "--overwrite"),
        (["reconet", "--out", "nowhere/x.onnx"], "a folder that exists"),
        (["recon", "--out", "x.onnx"], "no model 'recon'"),
        (["reconet", "--out", "x.onnx", "--network", "widht=3"], "did you mean 'width'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_text("kept")
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]
    assert (tmp_path / "there.onnx").read_text() == "kept"
