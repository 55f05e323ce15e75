"""Runs a network with OpenVINO on the CPU: the fastest engine where there is no GPU."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
from torch import nn

from ..errors import EngineError
from ..networks.deployed import deployed
from .base import EngineSettings, Plan, SizedEngine, available_cores
from .openvino_graph import openvino_graph
from .openvino_runtime import core, openvino

__all__ = ["OpenVINOEngine"]

# Precision -> (OpenVINO's name of it, the capability that a processor must report for it)
_PRECISIONS = {"float32": ("f32", "FP32"), "float16": ("f16", "FP16"), "bfloat16": ("bf16", "BF16")}


class OpenVINOEngine(SizedEngine):
    """Runs the network's deployed form, in strips that fit the cache, with OpenVINO.

    Args:
        network: A trained network; copied, not changed.
        settings: Precision and threads.
        why: Ends the description, for example ``chosen because ...``.
        profile: Let OpenVINO time every operation, for :meth:`operation_ms`; that costs a little time itself.

    Raises:
        EngineError: The processor has no arithmetic of the precision asked for.
    """

    def __init__(
        self, network: nn.Module, settings: EngineSettings, why: str = "", *, profile: bool = False
    ) -> None:
        self._core = core()
        self._network = copy.deepcopy(network).eval().requires_grad_(False)
        threads = settings.threads or available_cores()
        precision = settings.precision_on("cpu")
        self._options = {
            "INFERENCE_PRECISION_HINT": self._supported(precision),
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads nailed to cores wait for whatever else runs there, and a robot runs much else.
            "ENABLE_CPU_PINNING": False,
            "PERF_COUNT": profile,
        }
        version = openvino.__version__.partition("-")[0]
        described = f"openvino {version} on cpu, {precision}, {threads} threads"
        super().__init__("openvino", "cpu", described, network, why)

    def _compile(self, height: int, width: int) -> Plan:
        shape = (1, 1, height, width)
        graph = openvino_graph(deployed(self._network, height, width), shape, shape)
        is_short = self._options["INFERENCE_PRECISION_HINT"] != "f32"
        if is_short and any(node.get_type_name() == "GridSample" for node in graph.get_ops()):
            raise EngineError(
                f"{self.spec.title} samples at positions, which OpenVINO would round with all else, by up to a "
                "pixel; set engine.precision to float32, or engine.name to torch, which keeps them exact"
            )
        return _RequestPlan(self._core.compile_model(graph, "CPU", self._options).create_infer_request())

    def operation_ms(self, height: int, width: int) -> dict[str, float]:
        """Return what each type of operation takes for images of a size, longest first.

        Returns:
            OpenVINO's name of the type, such as ``Convolution`` -> milliseconds of all of that type in one call:
            the mean over all calls with this size. What was merged into another operation is left out.

        Raises:
            EngineError: The engine was opened without ``profile``, or is closed.
        """
        if not self._options["PERF_COUNT"]:
            raise EngineError("expected an engine that was opened with profile=True, got one that times nothing")
        taken: Counter[str] = Counter()
        for item in self._plan(height, width).request.get_profiling_info():
            taken[item.node_type] += item.real_time.total_seconds() * 1e3
        return {name: ms for name, ms in taken.most_common() if ms > 0}

    def _supported(self, precision: str) -> str:
        name, capability = _PRECISIONS[precision]
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if capability not in capabilities:
            raise EngineError(
                f"engine.precision: {precision} is not supported by this processor "
                f"({self._core.get_property('CPU', 'FULL_DEVICE_NAME')}); set it to auto or float32"
            )
        return name


class _RequestPlan:
    """A compiled graph, with memory for one call."""

    def __init__(self, request: openvino.InferRequest) -> None:
        self.request = request

    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        images = [np.ascontiguousarray(image) for image in (infrared, visible)]
        return self.request.infer(images, share_inputs=True, share_outputs=False)[0]
