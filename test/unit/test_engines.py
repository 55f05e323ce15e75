"""Every engine gives what the plain network gives, and says clearly what it cannot do."""

from __future__ import annotations

import builtins
import importlib.util
import logging
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import EngineError, ImageError, SettingsError
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings, build_network

TOLERANCE = 1e-4  # the promise for float32
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
ENGINES = ["torch", pytest.param("openvino", marks=needs_openvino)]


@pytest.fixture(scope="module")
def fuser() -> ReCoNetFuser:
    torch.manual_seed(3)
    network = ReCoNetFuser()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture(params=ENGINES)
def engine(request, fuser):
    opened = open_engine(fuser, EngineSettings(name=request.param, device="cpu", threads=1))
    yield opened
    opened.close()


def _images(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    infrared, visible = np.random.default_rng(seed).random((2, 1, 1, height, width), np.float32)
    return infrared, visible


def _plain(network: nn.Module, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.tensor(infrared), torch.tensor(visible)).numpy()


def test_output_equals_the_plain_network_at_sizes_that_change_mid_stream(engine, fuser):
    for height, width in [(48, 64), (16, 16), (37, 53), (210, 256), (48, 64), (1, 9)]:
        images = _images(height, width, seed=height)
        fused = engine(*images)
        assert fused.shape == (1, 1, height, width)
        assert fused.dtype == np.float32
        assert np.abs(fused - _plain(fuser, *images)).max() < TOLERANCE


@needs_openvino
def test_bfloat16_stays_within_its_stated_error(fuser):
    images = _images(64, 80)
    try:
        opened = open_engine(fuser, EngineSettings(name="openvino", precision="bfloat16"))
    except EngineError as error:
        pytest.skip(str(error))
    assert 0 < np.abs(opened(*images) - _plain(fuser, *images)).max() < 2e-2


def test_torch_does_bfloat16_on_any_cpu(fuser):
    images = _images(32, 40)
    opened = open_engine(fuser, EngineSettings(name="torch", device="cpu", precision="bfloat16"))
    fused = opened(*images)
    assert fused.dtype == np.float32
    assert 0 < np.abs(fused - _plain(fuser, *images)).max() < 2e-2


@needs_cuda
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", TOLERANCE), ("float16", 2e-2)])
def test_cuda_equals_the_plain_network(fuser, precision, tolerance):
    opened = open_engine(fuser, EngineSettings(name="torch", device="cuda", precision=precision))
    for height, width in [(48, 64), (37, 53), (48, 64)]:
        images = _images(height, width)
        assert np.abs(opened(*images) - _plain(fuser, *images)).max() < tolerance


def test_a_result_is_the_callers_to_keep(engine):
    first_images, second_images = _images(24, 32, seed=1), _images(24, 32, seed=2)
    first = engine(*first_images)
    kept = first.copy()
    second = engine(*second_images)
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)
    first += 1  # writable, and nobody else's
    assert np.array_equal(engine(*first_images), kept)
    assert np.array_equal(engine(*second_images), second)


def test_views_and_read_only_images_are_taken_and_left_unchanged(engine, fuser):
    infrared, visible = _images(40, 60)
    views = infrared[:, :, ::-1, 1::2], visible[..., ::-2]
    frozen = [np.ascontiguousarray(view) for view in views]
    for image in frozen:
        image.flags.writeable = False
    expected = _plain(fuser, *frozen)
    assert np.abs(engine(*views) - expected).max() < TOLERANCE
    assert np.abs(engine(*frozen) - expected).max() < TOLERANCE
    assert np.array_equal(views[0], frozen[0])
    assert np.array_equal(views[1], frozen[1])


def test_the_network_is_copied_when_the_engine_is_opened(fuser):
    images = _images(16, 24)
    network = ReCoNetFuser(ReCoNetFuserSettings(width=4)).eval()
    opened = open_engine(network, EngineSettings(name="torch", device="cpu"))
    before = opened(*images)
    with torch.no_grad():
        network.fuse[0].weight.zero_()
    opened.prepare(8, 8)  # a size compiled after the change has the old weights, too
    assert np.array_equal(opened(*images), before)
    assert network.fuse[0].weight.requires_grad


def test_an_engine_prepared_in_one_thread_runs_in_another(engine, fuser):
    images = _images(30, 44)
    engine.prepare(30, 44)
    results = []
    worker = threading.Thread(target=lambda: results.append(engine(*images)))
    worker.start()
    worker.join()
    assert np.abs(results[0] - _plain(fuser, *images)).max() < TOLERANCE


def test_preparing_compiles_ahead_and_only_the_latest_sizes_are_kept(engine, caplog):
    caplog.set_level(logging.INFO, logger="fusion_ros.engines")

    def compiled() -> list[str]:
        return [record.getMessage().rsplit(" ")[-1] for record in caplog.records if "preparing" in record.msg]

    engine.prepare(16, 20)
    engine(*_images(16, 20))
    assert compiled() == ["20x16"]
    for height in (17, 18, 19):
        engine(*_images(height, 20))
    engine(*_images(18, 20))
    assert compiled() == ["20x16", "20x17", "20x18", "20x19"]
    engine(*_images(16, 20))  # dropped as the fourth size came
    assert compiled()[-1] == "20x16"


@pytest.mark.parametrize(
    ("infrared", "visible", "message"),
    [
        (np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32), r"shape \(1, 1, H, W\), got \(8, 8\)"),
        (np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.float32), r"infrared: .*\(1, 3, 8, 8\)"),
        (np.zeros((1, 1, 0, 8), np.float32), np.zeros((1, 1, 0, 8), np.float32), "infrared: expected shape"),
        (np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 1, 8, 9), np.float32), "one pixel grid"),
        (np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.uint8), "visible: .*float32.*got uint8"),
        (np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 8, 8)), "infrared: .*got float64"),
        ([[[[0.0]]]], np.zeros((1, 1, 1, 1), np.float32), "infrared: expected an array.*got list"),
    ],
)
def test_what_is_not_a_pair_of_images_is_refused(engine, infrared, visible, message):
    with pytest.raises(ImageError, match=message):
        engine(infrared, visible)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_is_refused(engine, value):
    infrared, visible = _images(20, 20)
    visible[0, 0, 13, 7] = value
    with pytest.raises(ImageError, match="visible: expected finite values"):
        engine(infrared, visible)


def test_an_impossible_size_cannot_be_prepared(engine):
    with pytest.raises(ImageError, match="at least 1, got 0 and 640"):
        engine.prepare(0, 640)


def test_a_closed_engine_says_so(engine):
    images = _images(8, 8)
    engine(*images)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed; open a new one"):
        engine(*images)


def test_the_description_names_engine_device_precision_and_threads(engine):
    assert engine.description.startswith(f"{engine.name} ")
    for fact in ("on cpu", "float32", "1 threads"):
        assert fact in engine.description


def _hide(monkeypatch, package: str) -> None:
    """Make ``package`` look not installed, even if it was imported before."""
    real_import, real_find = builtins.__import__, importlib.util.find_spec

    def hiding_import(name, *args, **kwargs):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hiding_import)
    monkeypatch.setattr("fusion_ros.engines.find_spec", lambda name: None if name == package else real_find(name))
    for module in ("openvino_engine", "openvino_graph", "openvino_runtime"):
        monkeypatch.delitem(sys.modules, f"fusion_ros.engines.{module}", raising=False)


def test_asking_for_an_engine_that_is_not_installed_tells_how_to_get_it(fuser, monkeypatch):
    _hide(monkeypatch, "openvino")
    with pytest.raises(EngineError, match="pip install openvino"):
        open_engine(fuser, EngineSettings(name="openvino"))


def test_auto_without_openvino_takes_torch_and_says_why(fuser, monkeypatch):
    _hide(monkeypatch, "openvino")
    opened = open_engine(fuser, EngineSettings(device="cpu"))
    assert opened.name == "torch"
    assert "OpenVINO, which is faster, is not installed" in opened.description


@needs_openvino
def test_auto_without_a_gpu_takes_openvino_and_says_why(fuser, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    opened = open_engine(fuser)
    assert (opened.name, opened.device) == ("openvino", "cpu")
    assert "there is no CUDA device" in opened.description


@needs_openvino
def test_signals_still_arrive_when_the_older_of_two_engines_has_gone():
    program = """
import os, signal
from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings
network = ReCoNetFuser(ReCoNetFuserSettings(width=2))
first, second = (open_engine(network, EngineSettings(name="openvino")) for _ in range(2))
for engine in (first, second):
    engine.prepare(16, 16)
del first, engine
del second
signal.signal(signal.SIGINT, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGINT)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_a_cuda_device_that_is_not_there_is_refused(fuser, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("auto", "torch"):
        with pytest.raises(EngineError, match=r"engine\.device: expected a CUDA device, 'cuda:5'"):
            open_engine(fuser, EngineSettings(name=name, device="cuda:5"))


def test_torch_refuses_float16_on_a_cpu(fuser):
    with pytest.raises(EngineError, match="no float16 on a CPU"):
        open_engine(fuser, EngineSettings(name="torch", device="cpu", precision="float16"))


OPEN_AND_WATCH = """
import sys
seen = []
watched = ("socket.", "subprocess.", "os.fork", "os.posix_spawn")
import torch
from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings, build_network
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(watched) else None)
engine = open_engine(ReCoNetFuser(ReCoNetFuserSettings(width=2)), EngineSettings(name="openvino"))
engine.prepare(8, 8)
print(engine.name, seen, "openvino_telemetry" in sys.modules)
"""


@needs_openvino
def test_openvino_starts_no_process_and_opens_no_connection(repository):
    run = subprocess.run(
        [sys.executable, "-c", OPEN_AND_WATCH], cwd=repository, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "openvino [] False"


@needs_openvino
def test_openvino_refuses_a_network_that_it_does_not_know(fuser):
    class Softened(nn.Module):
        def forward(self, infrared, visible):
            return torch.erf(infrared + visible)

    opened = open_engine(Softened(), EngineSettings(name="openvino"))
    with pytest.raises(EngineError, match=r"function erf is not known.*engine\.name to torch"):
        opened.prepare(8, 8)


@pytest.mark.parametrize("name", ENGINES)
def test_an_output_that_is_not_finite_is_no_image(name):
    class Overflowing(nn.Module):
        def forward(self, infrared, visible):
            return torch.exp(infrared * 1e4) - visible

    opened = open_engine(Overflowing(), EngineSettings(name=name, device="cpu"))
    with pytest.raises(EngineError, match=r"Overflowing gave NaN or infinity; .*float32"):
        opened(*_images(8, 8))


@needs_openvino
def test_openvino_refuses_to_sample_at_rounded_positions():
    network = build_network("reconet", {"register": "unet"}).eval()
    try:
        opened = open_engine(network, EngineSettings(name="openvino", precision="bfloat16"))
    except EngineError as error:
        pytest.skip(str(error))
    with pytest.raises(EngineError, match=r"ReCoNet samples at positions.*set engine\.precision to float32"):
        opened.prepare(32, 32)


@needs_openvino
def test_openvino_refuses_a_network_that_branches_on_its_input():
    class Branching(nn.Module):
        def forward(self, infrared, visible):
            return infrared if infrared.sum() > 0 else visible

    opened = open_engine(Branching(), EngineSettings(name="openvino"))
    with pytest.raises(EngineError, match="depends on its inputs"):
        opened.prepare(8, 8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "gpu"}, "expected auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:"}, "got 'cuda:'"),
        ({"name": "openvino", "device": "cuda:0"}, "for a CUDA device set name to torch"),
        ({"name": "onnx"}, "expected one of auto, torch_tensorrt, torch, openvino"),
        ({"precision": "int8"}, "expected one of auto, float32, float16, bfloat16"),
        ({"threads": -1}, "expected 0 to 256"),
        ({"thread": 1}, "did you mean 'threads'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        EngineSettings.from_mapping(values)


def test_the_processs_own_thread_count_survives_an_engine(fuser):
    before = torch.get_num_threads()
    open_engine(fuser, EngineSettings(name="torch", device="cpu", threads=before + 1))(*_images(16, 16))
    assert torch.get_num_threads() == before


@needs_openvino
def test_operations_are_timed_only_where_that_was_asked_for(fuser):
    from fusion_ros.engines.openvino_engine import OpenVINOEngine

    settings = EngineSettings(name="openvino", device="cpu", threads=1)
    images = _images(24, 32)
    timed, plain = OpenVINOEngine(fuser, settings, profile=True), OpenVINOEngine(fuser, settings)
    np.testing.assert_allclose(timed(*images), plain(*images), atol=1e-6)
    assert timed.operation_ms(24, 32)["Convolution"] > 0
    with pytest.raises(EngineError, match="opened with profile=True"):
        plain.operation_ms(24, 32)
