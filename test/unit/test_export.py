"""Exported files compute what the networks compute, and say what they are."""

from __future__ import annotations

import importlib.util
import json
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from fusion_ros import __version__
from fusion_ros.engines import export
from fusion_ros.engines.export import compare_onnx, compare_program, export_onnx, export_program
from fusion_ros.errors import EngineError
from fusion_ros.networks import NETWORKS, FusionNetwork, NetworkSpec, build_network
from fusion_ros.spec import InputRange, Takes

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TOLERANCE = 1e-4
SIZES = [(48, 64), (37, 53), (64, 32)]
SMALL = {
    "fused_features": {"channels": 4},
    "lrrnet": {"blocks": 1},
    "lrrnet_tracking": {"channels": 4, "hidden": 4, "blocks": 1},
    "matching_register": {
        "radius": 1,
        "passes": 2,
        "describing_width": 8,
        "deciding_width": 8,
        "describing_around_width": 8,
        "describing_afar_width": 8,
        "deciding_around_width": 8,
        "deciding_afar_width": 8,
    },
    "reconet": {"width": 4, "recurrences": 1, "squarings": 2},
    "reconet_fuser": {"width": 4},
    "reconet_fuser_v1": {"width": 4},
    "reconet_micro_register": {"width": 4, "squarings": 2},
    "reconet_unet_register": {"width": 4, "squarings": 2},
    "rfn_tracking": {"channels": 4},
    "rfvif": {"width": 4, "alignment_blocks": 1, "extraction_stages": 1},
}


@cache
def _network(name: str) -> FusionNetwork:
    """Build a small network whose every part takes part: layers that start near zero are made larger."""
    torch.manual_seed(7)
    network = build_network(name, SMALL.get(name, {})).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1 and parameter.abs().max() < 1e-2:
                parameter.normal_(std=0.1)
    return network


def _images(network: FusionNetwork, size: tuple[int, int], seed: int = 0) -> list[torch.Tensor]:
    channels = network.settings.channels if network.spec.takes is Takes.FEATURES else 1
    peak = 255 if network.spec.input_range is InputRange.BYTE else 1
    images = np.random.default_rng(seed).random((2, 1, channels, *size), np.float32) * np.float32(peak)
    return [torch.from_numpy(image) for image in images]


def _assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    scale = np.abs(expected).max()
    assert scale > 1e-2, "the network's output is too small to compare"
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= TOLERANCE * max(1.0, scale)


@pytest.fixture
def traced_once(monkeypatch):
    """Let both files of a network be made of one tracing, which is what takes the time."""
    monkeypatch.setattr(export, "exported", _TRACED)


_TRACED = cache(export.exported)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_as_onnx_equals_pytorch_at_any_size(name, traced_once, tmp_path):
    network = _network(name)
    path = tmp_path / "network.onnx"
    export_onnx(network, path)
    session = onnxruntime.InferenceSession(path)
    assert [item.name for item in session.get_inputs()] == list(network.spec.inputs)
    for size in SIZES:
        images = _images(network, size)
        feed = dict(zip(network.spec.inputs, (image.numpy() for image in images), strict=True))
        with torch.no_grad():
            _assert_same(session.run(None, feed)[0], network(*images).numpy())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_as_an_exported_program_equals_pytorch_at_any_size(name):
    network = _network(name)
    program = _TRACED(network, size=None).module()
    for size in SIZES:
        images = _images(network, size)
        with torch.no_grad():
            _assert_same(program(*images).numpy(), network(*images).numpy())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_saved_as_an_exported_program_equals_pytorch(name, tmp_path):
    # Of one size: PyTorch takes long to load open ones. One network with open sizes follows below.
    network = _network(name)
    path = tmp_path / "network.pt2"
    export_program(network, path, size=(37, 53))
    images = _images(network, (37, 53))
    with torch.no_grad():
        _assert_same(torch.export.load(path).module()(*images).numpy(), network(*images).numpy())


def test_a_saved_program_with_open_sizes_equals_pytorch_at_any_size(fuser, tmp_path):
    export_program(fuser, tmp_path / "fuser.pt2")
    comparison = compare_program(fuser, tmp_path / "fuser.pt2", SIZES)
    assert comparison.sizes == tuple(SIZES)
    assert comparison.error < 1e-6


@pytest.fixture(scope="module")
def fuser() -> FusionNetwork:
    return _network("reconet_fuser")


@pytest.fixture(scope="module")
def onnx_file(fuser, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "fuser.onnx"
    export_onnx(fuser, path, metadata={"licence": "CC0-1.0", "weights_sha256": "0" * 64})
    return path


def test_an_onnx_model_is_valid_and_names_its_sizes_and_its_operator_set(onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", export.OPSET)]
    for value in (*model.graph.input, *model.graph.output):
        sides = value.type.tensor_type.shape.dim
        assert [side.dim_value or side.dim_param for side in sides] == [1, 1, "height", "width"]
    assert [value.name for value in model.graph.output] == ["fused"]


def test_both_files_carry_what_the_user_has_to_know(fuser, onnx_file, tmp_path):
    export_program(fuser, tmp_path / "fuser.pt2", metadata={"licence": "CC0-1.0", "weights_sha256": "0" * 64})
    extra = {export.METADATA_FILE: ""}
    torch.export.load(tmp_path / "fuser.pt2", extra_files=extra)
    in_onnx = {item.key: item.value for item in onnx.load(onnx_file).metadata_props}
    assert json.loads(extra[export.METADATA_FILE]) == in_onnx
    assert in_onnx["network"] == "reconet_fuser"
    assert (in_onnx["input_range"], in_onnx["output_range"]) == ("unit", "unit")
    assert in_onnx["licence"] == "CC0-1.0"
    assert in_onnx["weights_sha256"] == "0" * 64
    assert in_onnx["producer"] == f"fusion_ros {__version__}"


def test_a_fixed_size_is_fixed_and_equals_pytorch(fuser, tmp_path):
    path = tmp_path / "fuser.onnx"
    export_onnx(fuser, path, size=(33, 47))
    session = onnxruntime.InferenceSession(path)
    assert [item.shape for item in session.get_inputs()] == [[1, 1, 33, 47]] * 2
    images = _images(fuser, (33, 47))
    feed = {"infrared": images[0].numpy(), "visible": images[1].numpy()}
    with torch.no_grad():
        _assert_same(session.run(None, feed)[0], fuser(*images).numpy())


class _Wrong(FusionNetwork):
    """Not what was exported."""

    spec = NetworkSpec(name="wrong", title="Wrong", source="none")

    def __init__(self, fuser, times):
        nn.Module.__init__(self)
        self.fuser, self.times = fuser, times

    def forward(self, infrared, visible):
        return self.fuser(infrared, visible) * self.times


@pytest.mark.parametrize("reader", ["onnxruntime", "openvino"])
def test_comparing_finds_a_file_that_computes_something_else(fuser, onnx_file, reader, monkeypatch):
    if importlib.util.find_spec(reader) is None:
        pytest.skip(f"{reader} is not installed")
    monkeypatch.setattr(export, "find_spec", lambda name: reader if name == reader else None)
    same = compare_onnx(fuser, onnx_file)
    assert same.reader.startswith(reader)
    assert same.error < 1e-5
    assert len(same.sizes) == 3
    assert compare_onnx(_Wrong(fuser, 1.01), onnx_file).error > 1e-4


def test_without_a_reader_nothing_is_claimed(fuser, onnx_file, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert compare_onnx(fuser, onnx_file) is None


def test_without_the_packages_the_way_to_get_them_is_named(fuser, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(EngineError, match="needs onnxscript; install with 'pip install onnxscript'"):
        export_onnx(fuser, tmp_path / "fuser.onnx")


class _Branching(FusionNetwork):
    spec = NetworkSpec(name="branching", title="Branching network", source="none")

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, infrared, visible):
        return infrared if infrared.sum() > 0 else visible


class _Median(_Branching):
    def forward(self, infrared, visible):
        return infrared.flatten().median() + visible


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_Branching(), "Branching network cannot be exported with sizes left open"),
        (_Median(), "cannot be exported to ONNX"),
    ],
)
def test_a_network_that_cannot_be_exported_is_named_and_leaves_no_file(network, message, tmp_path):
    with pytest.raises(EngineError, match=message):
        export_onnx(network, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_singular_values_are_the_one_thing_onnx_cannot_express(tmp_path):
    network = build_network("rfn_nest", {"fusion": "nuclear_norm"})
    with pytest.raises(EngineError, match="cannot be exported to ONNX"):
        export_onnx(network, tmp_path / "x.onnx")
