"""Runs a network with TensorRT on an NVIDIA GPU: the engine for the computer on board.

torch_tensorrt turns the exported network into a serialised TensorRT engine, in a process of its own
(:mod:`.tensorrt_build`); the engine is kept in the user's cache (:mod:`.tensorrt_cache`) and run by TensorRT's own
runtime. So where the engine is kept already, torch_tensorrt itself is not imported.

Written against the documentation of torch_tensorrt 2.13 and TensorRT 11.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import logging
import re
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from .. import __version__
from ..errors import EngineError
from ..networks.deployed import deployed
from .base import EngineSettings, Plan, SizedEngine
from .export import first_line
from .tensorrt_build import Build
from .tensorrt_cache import EngineKey, cache_folder, engine_path, read_engine, write_engine
from .tensorrt_operators import operator_list, unsupported_operators
from .torch_engine import as_tensor, cuda_device

__all__ = ["TensorRTEngine"]

log = logging.getLogger(__name__)

_OLDEST = (2, 10)  # the first release that takes every type in the network as it is written
_DTYPES = {"float32": torch.float32, "float16": torch.float16}
_TYPE_NAMES = {torch.float32: "FLOAT", torch.float16: "HALF"}
_CHECKED_SIZE = (64, 64)  # (h, w) of the images on which a network's operators are looked at


class TensorRTEngine(SizedEngine):
    """Runs the network's deployed form, as one strip, with TensorRT.

    Building for an image size takes minutes; it is announced in the log, done once for each size, and ended
    by :meth:`close` from another thread.

    Args:
        network: A trained network; copied, not changed.
        settings: Device, precision (``auto`` is float16) and the folder of kept engines.
        why: Ends the description, for example ``chosen because ...``.

    Raises:
        EngineError: There is no CUDA device, torch_tensorrt is not installed or too old, or the network has an
            operator that TensorRT cannot compute.
    """

    def __init__(self, network: nn.Module, settings: EngineSettings, why: str = "") -> None:
        self._device = _gpu(settings.device)
        self._tensorrt, self._versions = _tensorrt()
        self._precision = settings.precision_on("cuda")
        self._cache = cache_folder(settings.cache)
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        self._build: Build | None = None
        self._lock = threading.Lock()
        _check_operators(self._network)
        name = torch.cuda.get_device_name(self._device)
        versions = f"{self._versions['torch_tensorrt']} (TensorRT {self._versions['tensorrt']})"
        described = f"torch_tensorrt {versions} on {self._device} ({name}), {self._precision}"
        super().__init__("torch_tensorrt", str(self._device), described, network, why)

    def close(self) -> None:
        """Free the plans, and end a build that is under way in another thread."""
        with self._lock:
            self._is_closed = True
            build = self._build
        if build is not None:
            build.cancel()
        super().close()

    def _compile(self, height: int, width: int) -> Plan:
        module = copy.deepcopy(deployed(self._network, height, width, cache_bytes=None))
        module = module.to(self._device, _DTYPES[self._precision])
        program = _exported(module, height, width, _DTYPES[self._precision], self._device)
        key = self._key(program, (1, 1, height, width))
        path = engine_path(self._cache, key)
        kept = read_engine(path, key)
        if kept is not None:
            try:
                return _TensorRTPlan(self._tensorrt, kept, program, self._device)
            except RuntimeError as error:
                log.warning("%s is not usable (%s); the engine is built again", path, error)
        engine = self._built(program, f"{key.network} for {width}x{height} in {self._precision}", path)
        plan = _TensorRTPlan(self._tensorrt, engine, program, self._device)
        write_engine(path, key, engine)
        return plan

    def _built(self, program: ExportedProgram, what: str, path: Path) -> bytes:
        log.info("torch_tensorrt: building %s; this may take minutes, and is kept as %s", what, path)
        start = time.monotonic()
        build = Build(program, str(self._device), path.parent / "timing.cache", what)
        with self._lock:
            if self._is_closed:
                raise EngineError(f"the {self.name} engine was closed before {what} was built")
            self._build = build
        try:
            engine = build.run()
        finally:
            self._build = None
        log.info("torch_tensorrt: built %s in %.0f s", what, time.monotonic() - start)
        return engine

    def _key(self, program: ExportedProgram, shape: tuple[int, ...]) -> EngineKey:
        major, minor = torch.cuda.get_device_capability(self._device)
        return EngineKey(
            network=self.spec.name,
            graph=hashlib.sha256(program.graph_module.code.encode()).hexdigest(),
            weights=_weights_hash(program),
            shape=shape,
            precision=self._precision,
            gpu=torch.cuda.get_device_name(self._device),
            capability=f"{major}.{minor}",
            cuda=str(torch.version.cuda),
            fusion_ros=__version__,
            **self._versions,
        )


class _TensorRTPlan:
    """A serialised engine, loaded, with memory for its inputs and its output.

    Raises:
        RuntimeError: TensorRT cannot read the engine, or it is not one of this program.
    """

    def __init__(self, tensorrt: Any, engine: bytes, program: ExportedProgram, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            # The logger and the runtime have to live as long as what was made with them.
            self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
            self._runtime = tensorrt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(engine)
            if self._engine is None:
                raise RuntimeError("TensorRT cannot read it")
            inputs, outputs = _names(tensorrt, self._engine)
            images, fused = _signature(program)
            if set(inputs) != set(images) or len(outputs) != 1:
                raise RuntimeError(f"expected inputs {', '.join(images)} and one output, got {', '.join(inputs)}")
            expected = {**images, outputs[0]: fused}
            _check_tensors(tensorrt, self._engine, expected)
            self._context = self._engine.create_execution_context()
            self._stream = torch.cuda.Stream(device)
            memory = {
                name: torch.zeros(item.shape, dtype=item.dtype, device=device) for name, item in expected.items()
            }
            for name, tensor in memory.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
        self._images = [memory[name] for name in images]
        self._fused = memory[outputs[0]]

    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            for slot, image in zip(self._images, (infrared, visible), strict=True):
                slot.copy_(as_tensor(image))
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise RuntimeError("TensorRT could not run the engine; its log on standard error says why")
            return self._fused.float().cpu().numpy()  # waits for the stream


def _gpu(wanted: str) -> torch.device:
    device = cuda_device(wanted)
    if device is None:
        count = torch.cuda.device_count()
        raise EngineError(
            "the torch_tensorrt engine needs an NVIDIA GPU and a CUDA build of PyTorch, and "
            f"PyTorch {torch.__version__} sees {count} CUDA devices, {wanted!r} not among them; check the driver, "
            "install a CUDA build of PyTorch (on a Jetson the one made for its JetPack), or set engine.name to "
            "openvino or torch"
        )
    return device


def _tensorrt() -> tuple[Any, dict[str, str]]:
    """Return TensorRT's module, and the versions that a built engine depends on."""
    torch_version = torch.__version__
    release = ".".join(torch_version.split(".")[:2])
    way = (
        f"install the release made for PyTorch {torch_version}: 'pip install torch-tensorrt=={release}.*' (on a "
        "Jetson the one made for its JetPack); or set engine.name to torch"
    )
    if find_spec("torch_tensorrt") is None:
        raise EngineError(f"the torch_tensorrt engine needs torch_tensorrt, which is not installed; {way}")
    try:
        found = _torch_tensorrt_version()
        module = importlib.import_module("tensorrt")
    except Exception as error:  # a library that is missing or too new shows in many ways
        raise EngineError(
            f"torch_tensorrt is installed, but TensorRT cannot be loaded ({error}); {way}"
        ) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if numbers < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise EngineError(f"expected torch_tensorrt {oldest} or newer, got {found}; {way}")
    return module, {"torch": torch_version, "torch_tensorrt": found, "tensorrt": module.__version__}


def _torch_tensorrt_version() -> str:
    try:
        return version("torch_tensorrt")
    except PackageNotFoundError:  # built from source, without a package around it
        return importlib.import_module("torch_tensorrt").__version__


def _check_operators(network: nn.Module) -> None:
    """Refuse now what would fail after minutes.

    Raises:
        EngineError: The network cannot be exported, or has an operator that TensorRT cannot compute.
    """
    height, width = _CHECKED_SIZE
    module = deployed(network, height, width, cache_bytes=None)
    missing = unsupported_operators(_exported(module, height, width, torch.float32, torch.device("cpu")))
    if missing:
        raise EngineError(
            f"TensorRT (torch_tensorrt {operator_list().version}) cannot compute {type(network).__name__}: "
            f"{', '.join(missing)}; set engine.name to torch"
        )


def _exported(
    module: nn.Module, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> ExportedProgram:
    images = tuple(torch.zeros(1, 1, height, width, dtype=dtype, device=device) for _ in range(2))
    try:
        with torch.no_grad():
            return torch.export.export(module, images)
    except Exception as error:  # the exporter raises many kinds
        name, reason = type(module).__name__, first_line(error)
        raise EngineError(f"{name} cannot be exported for TensorRT: {reason}; set engine.name to torch") from error


def _weights_hash(program: ExportedProgram) -> str:
    digest = hashlib.sha256()
    tensors = {**program.state_dict, **program.constants}
    for name in sorted(tensors):
        tensor = tensors[name]
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _signature(program: ExportedProgram) -> tuple[dict[str, Tensor], Tensor]:
    """Return what goes in, by name and in order, and what comes out, as tensors without memory."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    images = {name: values[name] for name in program.graph_signature.user_inputs}
    (fused,) = program.graph_signature.user_outputs
    return images, values[fused]


def _names(tensorrt: Any, engine: Any) -> tuple[list[str], list[str]]:
    """Return the names of an engine's inputs and outputs."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]
    return inputs, [name for name in names if name not in inputs]


def _check_tensors(tensorrt: Any, engine: Any, expected: dict[str, Tensor]) -> None:
    """Hold an engine's shapes and types against the program's: memory of another size would be overrun."""
    for name, tensor in expected.items():
        wanted = tuple(tensor.shape), getattr(tensorrt.DataType, _TYPE_NAMES[tensor.dtype])
        got = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        if got != wanted:
            raise RuntimeError(f"{name}: expected shape and type {wanted}, got {got}")
