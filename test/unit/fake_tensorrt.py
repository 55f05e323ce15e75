"""TensorRT and torch_tensorrt, stood in for on a machine without a GPU.

The fake builder returns the exported program itself as its engine; the fake runtime runs that on the memory whose
addresses it was given.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import io
import os
import types

import torch
from torch import nn

from fusion_ros.engines.tensorrt_build import Build

FAKE_TORCH_TENSORRT = """
import io, os, time, types
import torch

def convert(program, arg_inputs, device, disable_tf32, timing_cache_path):
    with open(os.environ["FAKE_BUILDS"], "a") as file:
        file.write(f"{os.getpid()} {arg_inputs[0].dtype} {tuple(arg_inputs[0].shape)}\\n")
    what = os.environ.get("FAKE_BUILD", "")
    if what == "hang":
        time.sleep(600)
    with open(timing_cache_path, "ab") as file:
        file.write(b"measured ")
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


class BuildHere(Build):
    """A build without a process of its own."""

    def run(self) -> bytes:
        namespace = {}
        exec(FAKE_TORCH_TENSORRT, namespace)
        images, _ = self._program.example_inputs
        return namespace["convert"](self._program, list(images), None, True, os.devnull)


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


def fake_tensorrt() -> types.ModuleType:
    module = types.ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    module.__version__ = "11.0.0.114"
    module.Logger = _FakeLogger
    module.Runtime = _FakeRuntime
    module.TensorIOMode = types.SimpleNamespace(INPUT="in", OUTPUT="out")
    module.DataType = types.SimpleNamespace(HALF="half", FLOAT="float")
    return module


class OneFunction(nn.Module):
    """A network of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, infrared, visible):
        return self.function(infrared, visible)
