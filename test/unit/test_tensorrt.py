"""The torch_tensorrt engine without a GPU: what it would build, keep, refuse and give up.

TensorRT and torch_tensorrt are stood in for by fakes (``fake_tensorrt.py``), which build in the test's own
process, or in the real child process where a test asks for that.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_tensorrt import FAKE_TORCH_TENSORRT, BuildHere, OneFunction, fake_tensorrt

from fusion_ros.engines import EngineSettings, open_engine, tensorrt_engine, torch_engine
from fusion_ros.engines.tensorrt_build import Build
from fusion_ros.engines.tensorrt_cache import EngineKey, write_engine
from fusion_ros.errors import EngineError, SettingsError
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A machine with a GPU and torch_tensorrt, as far as the engine looks; returns the list of builds."""
    builds = tmp_path / "builds"
    package = tmp_path / "site" / "torch_tensorrt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAKE_TORCH_TENSORRT)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("FAKE_BUILDS", str(builds))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fake Orin")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 7))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: types.SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(tensorrt_engine, "version", lambda package: "2.13.0")
    for module in ("fusion_ros.engines", "fusion_ros.engines.tensorrt_engine"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: name)
    monkeypatch.setattr(torch_engine, "cuda_device", lambda wanted: torch.device("cuda", 0))
    monkeypatch.setattr(tensorrt_engine, "cuda_device", lambda wanted: torch.device("cpu"))  # the fakes run there
    monkeypatch.setattr(tensorrt_engine, "Build", BuildHere)
    return lambda: builds.read_text().splitlines() if builds.exists() else []


@pytest.fixture
def child(gpu, monkeypatch):
    """Likewise, with builds in a process of their own, as they really are; that costs seconds."""
    monkeypatch.setattr(tensorrt_engine, "Build", Build)
    return gpu


@pytest.fixture(scope="module")
def fuser() -> ReCoNetFuser:
    torch.manual_seed(5)
    return ReCoNetFuser(ReCoNetFuserSettings(width=2, recurrences=1)).eval()


def _open(network, **values):
    return open_engine(network, EngineSettings.from_mapping({"name": "torch_tensorrt", **values}))


def _images(height, width, seed=0):
    infrared, visible = np.random.default_rng(seed).random((2, 1, 1, height, width), np.float32)
    return infrared, visible


def _difference(engine, network, height, width):
    images = _images(height, width)
    fused = engine(*images)
    assert fused.shape == (1, 1, height, width)
    assert fused.dtype == np.float32
    with torch.no_grad():
        return np.abs(fused - network(*map(torch.tensor, images)).numpy()).max()


def test_a_network_is_built_once_in_half_precision_and_gives_what_pytorch_gives(child, fuser, caplog):
    caplog.set_level(logging.INFO, logger="fusion_ros.engines")
    engine = _open(fuser)
    assert 0 < _difference(engine, fuser, 24, 32) < 5e-3
    assert _difference(engine, fuser, 24, 32) < 5e-3
    assert [line.partition(" ")[2] for line in child()] == ["torch.float16 (1, 1, 24, 32)"]
    assert "building reconet_fuser for 32x24 in float16; this may take minutes" in caplog.text
    assert "built reconet_fuser for 32x24 in float16 in " in caplog.text
    for fact in ("torch_tensorrt 2.13.0 (TensorRT 11.0.0.114)", "Fake Orin", "float16"):
        assert fact in engine.description


def test_a_kept_engine_serves_until_weights_precision_or_size_change(gpu, fuser):
    _open(fuser).prepare(16, 24)
    _open(fuser).prepare(16, 24)
    assert len(gpu()) == 1
    exact = _open(fuser, precision="float32")
    assert _difference(exact, fuser, 16, 24) < 1e-6
    assert len(gpu()) == 2
    other = ReCoNetFuser(fuser.settings).eval()
    other.load_state_dict(fuser.state_dict())
    with torch.no_grad():
        other.fuse[0].weight.view(-1)[0] += 1e-3
    _open(other).prepare(16, 24)
    assert len(gpu()) == 3
    _open(fuser).prepare(16, 25)
    assert len(gpu()) == 4
    _open(ReCoNetFuser(ReCoNetFuserSettings(width=2, recurrences=2))).prepare(16, 24)
    assert len(gpu()) == 5


@pytest.mark.parametrize("damage", ["bytes", "not an engine", "another size"])
def test_a_kept_engine_that_cannot_be_used_is_built_again_with_a_warning(gpu, fuser, damage, tmp_path, caplog):
    folder = tmp_path / "kept"
    _open(fuser, cache=str(folder)).prepare(16, 24)
    (path,) = folder.glob("*.engine")
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        content = b"not an engine"
        if damage == "another size":
            _open(fuser, cache=str(tmp_path / "other")).prepare(8, 8)
            (other,) = (tmp_path / "other").glob("*.engine")
            content = other.read_bytes().split(b"\n", 2)[2]
        key = json.loads(path.read_bytes().split(b"\n", 2)[1])["key"]
        write_engine(path, EngineKey(**key | {"shape": tuple(key["shape"])}), content)
    builds = len(gpu())
    assert _difference(_open(fuser, cache=str(folder)), fuser, 16, 24) < 5e-3
    assert len(gpu()) == builds + 1
    assert "the engine is built again" in caplog.text
    _open(fuser, cache=str(folder)).prepare(16, 24)
    assert len(gpu()) == builds + 1


def test_what_an_engine_is_kept_under_is_the_same_in_another_process():
    lines = textwrap.dedent("""
        import hashlib, torch
        from fusion_ros.engines import tensorrt_engine
        from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings
        torch.manual_seed(5)
        network = ReCoNetFuser(ReCoNetFuserSettings(width=2, recurrences=1)).half().eval()
        program = tensorrt_engine._exported(network, 16, 24, torch.float16, torch.device("cpu"))
        print(hashlib.sha256(program.graph_module.code.encode()).hexdigest())
        print(tensorrt_engine._weights_hash(program))
    """)
    runs = [
        subprocess.run(
            [sys.executable, "-c", lines],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def _wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a process that ended and was not waited for yet still has its number
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_closing_the_engine_ends_a_build_under_way(child, fuser, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "hang")
    engine = _open(fuser)
    errors = []

    def prepare():
        try:
            engine.prepare(16, 24)
        except EngineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=prepare)
    thread.start()
    _wait_for(child)
    engine.close()
    thread.join(30)
    assert not thread.is_alive()
    assert "cancelled" in errors[0]
    assert not _is_running(int(child()[0].split()[0]))
    with pytest.raises(EngineError, match="closed"):
        engine.prepare(16, 24)


def test_a_build_does_not_outlive_its_caller(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_BUILD", "hang")
    lines = textwrap.dedent("""
        import torch
        from pathlib import Path
        from fusion_ros.engines.tensorrt_build import Build
        class Sum(torch.nn.Module):
            def forward(self, a, b):
                return a + b
        program = torch.export.export(Sum(), (torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)))
        Build(program, "cpu", Path("timing.cache"), "a sum").run()
    """)
    caller = subprocess.Popen([sys.executable, "-c", lines], env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        _wait_for(gpu)
        child = int(gpu()[0].split()[0])
        assert _is_running(child)
    finally:
        caller.send_signal(signal.SIGKILL)
        caller.wait()
    try:
        _wait_for(lambda: not _is_running(child))
    finally:
        if _is_running(child):
            os.kill(child, signal.SIGKILL)


def test_a_failed_build_says_why(child, fuser, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_BUILD", "fail")
    with pytest.raises(EngineError, match=r"could not build reconet_fuser for 24x16.*no tactic was found"):
        _open(fuser).prepare(16, 24)
    assert not list((tmp_path / "cache").rglob("*.engine"))


def test_what_a_build_has_measured_is_kept_for_the_next(child, fuser, tmp_path):
    for size in ((16, 24), (24, 24)):
        _open(fuser).prepare(*size)
    (kept,) = (tmp_path / "cache").rglob("timing.cache")
    assert kept.read_bytes() == b"measured " * 2


def test_a_folder_that_cannot_be_written_does_not_cost_the_engine(child, fuser, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    engine = _open(fuser)
    engine.prepare(16, 24)
    image = np.full((1, 1, 16, 24), 0.5, np.float32)
    assert engine(image, image).shape == image.shape


def test_without_a_gpu_the_engine_is_refused_with_a_way_out(fuser, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"needs an NVIDIA GPU.*Jetson.*engine\.name to openvino or torch"):
        _open(fuser)


def test_without_torch_tensorrt_the_engine_is_refused_with_the_version_to_install(gpu, fuser, monkeypatch):
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: None)
    release = ".".join(torch.__version__.split(".")[:2])
    with pytest.raises(EngineError, match=rf"not installed.*pip install torch-tensorrt=={release}\.\*.*Jetson"):
        _open(fuser)


def test_a_torch_tensorrt_that_is_too_old_is_refused(gpu, fuser, monkeypatch):
    monkeypatch.setattr(tensorrt_engine, "version", lambda package: "2.9.0+cu130")
    with pytest.raises(EngineError, match=r"expected torch_tensorrt 2\.10 or newer, got 2\.9\.0"):
        _open(fuser)


def test_a_tensorrt_that_does_not_load_is_refused_with_the_reason(gpu, fuser, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="TensorRT cannot be loaded"):
        _open(fuser)


def test_a_network_with_an_operator_that_tensorrt_lacks_is_refused_before_anything_is_built(gpu):
    with pytest.raises(EngineError, match=r"aten\.erfinv\.default: no converter; set engine\.name to torch"):
        _open(OneFunction(lambda a, b: torch.erfinv(a) + b))
    assert gpu() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "cpu"}, "device: expected auto, cuda or cuda:N with the torch_tensorrt engine"),
        ({"precision": "bfloat16"}, "precision: expected auto, float16 or float32 with the torch_tensorrt engine"),
    ],
)
def test_settings_that_tensorrt_cannot_serve_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        EngineSettings.from_mapping({"name": "torch_tensorrt", **values})


def test_auto_takes_torch_tensorrt_where_it_is_installed_beside_a_gpu(gpu, fuser):
    engine = open_engine(fuser)
    assert engine.name == "torch_tensorrt"
    assert "chosen because there is a CUDA device" in engine.description


@pytest.mark.parametrize(
    ("network", "precision", "hidden", "reason"),
    [
        (None, "auto", True, "torch_tensorrt is not installed"),
        (None, "bfloat16", False, "torch_tensorrt has no bfloat16"),
        (
            OneFunction(lambda a, b: torch.erfinv(a) + b),
            "auto",
            False,
            "cannot compute OneFunction: aten.erfinv.default",
        ),
    ],
)
def test_auto_takes_torch_on_the_gpu_where_torch_tensorrt_does_not_serve_and_says_why(
    gpu, fuser, monkeypatch, network, precision, hidden, reason
):
    if hidden:
        monkeypatch.setattr("fusion_ros.engines.find_spec", lambda name: None)
    engine = open_engine(network or fuser, EngineSettings(precision=precision))
    assert (engine.name, engine.device) == ("torch", "cuda:0")
    assert ("float16" if precision == "auto" else precision) in engine.description
    assert reason in engine.description


def test_precision_is_half_on_a_gpu_and_full_on_a_cpu_unless_it_is_set():
    assert EngineSettings().precision_on("cuda") == "float16"
    assert EngineSettings().precision_on("cpu") == "float32"
    assert EngineSettings(precision="bfloat16").precision_on("cuda") == "bfloat16"
