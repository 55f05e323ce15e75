"""The torch_tensorrt engine without a GPU: what it would build, keep, refuse and give up.

TensorRT and torch_tensorrt are stood in for by fakes: the fake builder, in the real child process, returns
the exported program itself as its engine, and the fake runtime runs that on the memory whose addresses it
was given.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.machinery
import io
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
import torch.nn.functional as F
from torch import nn

from fusion_ros.engines import EngineSettings, open_engine, tensorrt_engine, torch_engine
from fusion_ros.engines.export import exported
from fusion_ros.engines.tensorrt_build import Build
from fusion_ros.engines.tensorrt_cache import EngineKey, cache_folder, engine_path, read_engine, write_engine
from fusion_ros.engines.tensorrt_operators import KNOWN_GAPS, operator_list, unsupported_operators
from fusion_ros.errors import EngineError, SettingsError
from fusion_ros.networks import NETWORKS, ReCoNetFuser, ReCoNetFuserSettings, build_network
from fusion_ros.networks.deployed import DEPLOYED_FORMS, deployed

SIZE = (48, 64)

# --- the list of operators ---------------------------------------------------------------------------

SMALL = {
    "reconet": {"width": 4, "recurrences": 1, "squarings": 2},
    "reconet_fuser": {"width": 4, "recurrences": 1},
    "reconet_fuser_v1": {"width": 4, "recurrences": 1},
    "reconet_micro_register": {"width": 4, "squarings": 2},
    "reconet_unet_register": {"width": 4, "squarings": 2},
    "rfn_tracking": {"channels": 4},
    "rfvif": {"width": 4, "alignment_blocks": 1, "extraction_stages": 1},
}
"""Settings that keep a network's operators and make it small."""


def _choices(name: str) -> list[str]:
    """Return every choice that a network leaves to its settings, but its default."""
    leaves = NETWORKS[name].Settings.describe().values()
    worded = [(leaf, leaf.choices or ()) for leaf in leaves if leaf.type is str]
    return [f"{leaf.name}={value}" for leaf, values in worded for value in values if value != leaf.default]


CASES = [(name, choice) for name in NETWORKS for choice in ("", *_choices(name))]
NAMES = [f"{name}-{choice or 'default'}" for name, choice in CASES]


@pytest.mark.parametrize(
    ("name", "choice"), CASES, ids=[f"{name}-{choice or 'default'}" for name, choice in CASES]
)
def test_tensorrt_has_every_operator_of_every_network_but_known_gaps(name, choice):
    given = dict([choice.split("=")]) if choice else {}
    network = build_network(name, SMALL.get(name, {}) | given)
    missing = unsupported_operators(exported(network, size=SIZE))
    assert bool(missing) == ((name, choice) in KNOWN_GAPS), missing


@pytest.mark.parametrize("network", [*DEPLOYED_FORMS])
def test_tensorrt_has_every_operator_of_the_forms_that_run_on_a_robot(network):
    images = (torch.zeros(1, 1, *SIZE), torch.zeros(1, 1, *SIZE))
    form = deployed(network().eval(), *SIZE, cache_bytes=None)
    assert unsupported_operators(torch.export.export(form, images)) == []


class _Of(nn.Module):
    """A network of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, infrared, visible):
        return self.function(infrared, visible)


# What torch_tensorrt 2.13.0's own lowering and converter registry say of each.
SUPPORTED = {
    "standard deviation": lambda a, b: a.std() + b,
    "instance norm": lambda a, b: F.instance_norm(a) + b,
    "largest values": lambda a, b: a.max(1)[0] + b,
    "max pooling": lambda a, b: F.max_pool2d(a, 2) + F.max_pool2d(b, 2),
    "resizing": lambda a, b: F.interpolate(a, scale_factor=2, mode="bilinear") + F.interpolate(b, scale_factor=2),
    "sampling": lambda a, b: F.grid_sample(a, torch.cat([b, b], 1).permute(0, 2, 3, 1), align_corners=True),
    "unfolding": lambda a, b: F.unfold(a, 3).sum() + b,
    "selecting where": lambda a, b: a[:, 0, b[0, 0, :, 0].gt(0)].sum(),
}
UNSUPPORTED = {
    "aten._linalg_svd.default: no converter": lambda a, b: torch.linalg.svdvals(a[:, 0]).sum() + b,
    "aten.erfinv.default: no converter": lambda a, b: torch.erfinv(a) + b,
    "aten._fft_r2c.default: no converter": lambda a, b: torch.fft.rfft2(a).abs().sum() + b,
    "aten.median.default: no converter": lambda a, b: a.median() + b,
    "aten.max.dim: only the first": lambda a, b: a.max(1)[1] + b,
    "aten.max_pool2d.default: no dilation": lambda a, b: F.max_pool2d(a, 3, ceil_mode=True).sum() + b,
    "aten.avg_pool2d.default: no ceil_mode": lambda a, b: F.avg_pool2d(a, 3, ceil_mode=True).sum() + b,
    "aten._to_copy.default: to float32": lambda a, b: (a.double() + b.double()).float(),
}


@pytest.mark.parametrize("function", SUPPORTED.values(), ids=SUPPORTED)
def test_what_torch_tensorrt_converts_is_known(function):
    assert unsupported_operators(exported(_Of(function), size=SIZE)) == []


@pytest.mark.parametrize(("line", "function"), UNSUPPORTED.items(), ids=UNSUPPORTED)
def test_what_torch_tensorrt_does_not_convert_is_named_with_the_reason(line, function):
    (found,) = unsupported_operators(exported(_Of(function), size=SIZE))
    assert found.startswith(line)


def test_every_operator_in_the_list_exists_in_pytorch():
    listed = operator_list()
    for name in listed.converted | listed.replaced | listed.static_only | set(listed.conditions):
        space, _, rest = name.partition(".")
        if rest:
            operator, _, overload = rest.partition(".")
            packet = getattr(getattr(torch.ops, space), operator)
            assert not overload or overload in packet.overloads(), name


# --- kept engines ------------------------------------------------------------------------------------

KEY = EngineKey(
    network="reconet",
    graph="a" * 64,
    weights="b" * 64,
    shape=(1, 1, 480, 640),
    precision="float16",
    gpu="Orin",
    capability="8.7",
    torch="2.13.0",
    torch_tensorrt="2.13.0",
    tensorrt="11.0.0",
    cuda="13.2",
    fusion_ros="0.1.0",
)
ENGINE = bytes(range(256)) * 40


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_an_engine_is_another_one_when_anything_it_depends_on_changes(field, tmp_path):
    other = dataclasses.replace(KEY, **{field: (1, 1, 480, 641) if field == "shape" else "x"})
    assert engine_path(tmp_path, other) != engine_path(tmp_path, KEY)
    path = tmp_path / "renamed.engine"
    write_engine(path, KEY, ENGINE)
    assert read_engine(path, KEY) == ENGINE
    assert read_engine(path, other) is None


def test_a_kept_engine_is_found_by_its_key_alone_and_read_by_nobody_else(tmp_path):
    folder = tmp_path / "new" / "cache"
    path = engine_path(folder, KEY)
    assert path.name.startswith("reconet-640x480-float16-")
    assert read_engine(path, KEY) is None
    write_engine(path, KEY, ENGINE)
    assert read_engine(path, KEY) == ENGINE
    assert [file.name for file in folder.iterdir()] == [path.name]
    assert folder.stat().st_mode & 0o077 == path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "contents"),
        (lambda data: data[:-700] + bytes([data[-700] ^ 1]) + data[-699:], "contents"),
        (lambda data: data[:40], "header"),
        (lambda data: b"", "no engine of this format"),
        (lambda data: b"\x80\x04" + data, "no engine of this format"),
        (lambda data: data.replace(b'"Orin"', b'"Orun"'), "something else"),
        (lambda data: data.replace(b'{"key"', b'["key"'), "header"),
    ],
)
def test_a_damaged_engine_is_not_used_and_says_why(damage, reason, tmp_path, caplog):
    path = tmp_path / "x.engine"
    write_engine(path, KEY, ENGINE)
    path.write_bytes(damage(path.read_bytes()))
    assert read_engine(path, KEY) is None
    assert reason in caplog.text
    assert "built again" in caplog.text


def test_an_engine_that_others_may_write_is_not_used(tmp_path, caplog):
    path = tmp_path / "x.engine"
    write_engine(path, KEY, ENGINE)
    path.chmod(0o666)
    assert read_engine(path, KEY) is None
    assert "may be written by others" in caplog.text


def test_an_engine_that_cannot_be_kept_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    write_engine(tmp_path / "file" / "x.engine", KEY, ENGINE)
    assert "could not be written" in caplog.text


def test_engines_are_kept_where_the_user_said_else_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("") == tmp_path / "fusion_ros" / "tensorrt"
    assert cache_folder("/elsewhere") == Path("/elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder("") == Path("/home/someone/.cache/fusion_ros/tensorrt")


# --- the engine, with fakes --------------------------------------------------------------------------

FAKE_TORCH_TENSORRT = """
import io, os, time, types
import torch

def convert(program, arg_inputs, device, disable_tf32, timing_cache_path):
    with open(os.environ["FAKE_BUILDS"], "a") as file:
        file.write(f"{os.getpid()} {arg_inputs[0].dtype} {tuple(arg_inputs[0].shape)}\\n")
    what = os.environ.get("FAKE_BUILD", "")
    if what == "hang":
        time.sleep(600)
    if what == "fail":
        raise RuntimeError("no tactic was found")
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()

dynamo = types.SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert)
"""


class _FakeEngine:
    def __init__(self, data: bytes):
        self.program = torch.export.load(io.BytesIO(data))
        values = {node.name: node.meta.get("val") for node in self.program.graph.nodes}
        self.tensors = {name: values[name] for name in self.program.graph_signature.user_inputs}
        self.tensors["output0"] = values[self.program.graph_signature.user_outputs[0]]
        self.num_io_tensors = 3

    def get_tensor_name(self, i):
        return [*reversed(self.tensors)][i]  # in an order of its own

    def get_tensor_mode(self, name):
        return "out" if name == "output0" else "in"

    def get_tensor_shape(self, name):
        return list(self.tensors[name].shape)

    def get_tensor_dtype(self, name):
        return {torch.float16: "half", torch.float32: "float"}[self.tensors[name].dtype]

    def create_execution_context(self):
        return _FakeContext(self)


class _FakeContext:
    def __init__(self, engine):
        self.engine = engine
        self.memory = {}

    def set_tensor_address(self, name, address):
        value = self.engine.tensors[name]
        size = value.numel() * value.element_size()
        content = (ctypes.c_uint8 * size).from_address(address)
        self.memory[name] = torch.frombuffer(content, dtype=value.dtype).reshape(value.shape)

    def execute_async_v3(self, stream):
        images = [self.memory[name] for name in self.engine.program.graph_signature.user_inputs]
        self.memory["output0"].copy_(self.engine.program.module()(*images))
        return True


class _BuildHere(Build):
    """A build without a process of its own."""

    def run(self) -> bytes:
        namespace = {}
        exec(FAKE_TORCH_TENSORRT, namespace)
        images, _ = self._program.example_inputs
        return namespace["convert"](self._program, list(images), None, True, "")


class _FakeRuntime:
    def __init__(self, logger):
        pass

    def deserialize_cuda_engine(self, data):
        try:
            return _FakeEngine(data)
        except Exception:
            return None


class _FakeLogger:
    WARNING = 2

    def __init__(self, level):
        pass


def _fake_tensorrt() -> types.ModuleType:
    module = types.ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    module.__version__ = "11.0.0.114"
    module.Logger = _FakeLogger
    module.Runtime = _FakeRuntime
    module.TensorIOMode = types.SimpleNamespace(INPUT="in", OUTPUT="out")
    module.DataType = types.SimpleNamespace(HALF="half", FLOAT="float")
    return module


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
    monkeypatch.setitem(sys.modules, "tensorrt", _fake_tensorrt())
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
    monkeypatch.setattr(tensorrt_engine, "Build", _BuildHere)
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


# --- what is refused, and what auto takes ------------------------------------------------------------


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
        _open(_Of(lambda a, b: torch.erfinv(a) + b))
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
        (_Of(lambda a, b: torch.erfinv(a) + b), "auto", False, "cannot compute _Of: aten.erfinv.default"),
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
