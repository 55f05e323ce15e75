"""Write a network for other programs: ONNX, or PyTorch's ExportedProgram.

The file holds the network alone. Value ranges are the caller's affair, as everywhere, so they go into the
file's metadata, under the names of :class:`~fusion_ros.spec.NetworkSpec`. What was written can be loaded
again and held against the network.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from .. import __version__
from ..errors import EngineError
from ..spec import Gives, InputRange, NetworkSpec, Takes

__all__ = [
    "LARGEST",
    "METADATA_FILE",
    "OPSET",
    "SMALLEST",
    "Comparison",
    "compare_onnx",
    "compare_program",
    "example_images",
    "export_onnx",
    "export_program",
    "exported",
    "first_line",
    "output_name",
]

OPSET = 18
"""The ONNX operator set in which PyTorch's exporter is written; a newer one would be converted from it."""

SMALLEST, LARGEST = 32, 4096
"""Heights and widths for which a file with open sizes is made."""

METADATA_FILE = "fusion_ros.json"
"""Name of the metadata inside a file of ``torch.export.save``."""

_OUTPUTS = {Gives.IMAGE: "fused", Gives.FLOW: "flow", Gives.FEATURES: "features"}
_TRACED = (48, 64)  # (h, w) of the images on which a network with open sizes is traced
_COMPARED = ((48, 64), (37, 53), (80, 48))  # one odd, one upright


@dataclass(frozen=True)
class Comparison:
    """How a written file compares with the network.

    Attributes:
        reader: What ran the file, with its version.
        sizes: The ``(h, w)`` that were compared.
        error: Largest absolute difference, relative to the network's largest value where that is above 1.
    """

    reader: str
    sizes: tuple[tuple[int, int], ...]
    error: float


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``network`` as an ONNX model in float32, operator set 18, for one pair of images.

    Args:
        network: A network with a ``spec``, which names the inputs. It is copied.
        path: File to write; it is whole or absent.
        size: ``(h, w)`` of the images, or None to leave both open, from 32 to 4096.
        metadata: More for the file's metadata, such as the licence and the weights' sha256.

    Raises:
        EngineError: The packages onnx and onnxscript are not installed, or the network cannot be exported.
    """
    missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise EngineError(
            f"exporting to ONNX needs {' and '.join(missing)}; install with 'pip install {' '.join(missing)}', "
            "or export an ExportedProgram (format ep)"
        )
    program = exported(network, size=size)
    axes = {2: "height", 3: "width"} if size is None else None
    with _said_as_engine_error("to ONNX", network), _quiet():
        model = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(network.spec.inputs),
            output_names=[output_name(network.spec)],
            dynamic_shapes=(axes, axes),
            verbose=False,
        )
    model.model.metadata_props.update(_metadata(network.spec, metadata))
    with _replacing(path) as part:
        model.save(part, external_data=False)


def export_program(
    network: nn.Module,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``network`` as ``torch.export.save`` does; arguments as for :func:`export_onnx`.

    ``torch.export.load`` reads it. As that unpickles, load such files only where you know who made them.

    Raises:
        EngineError: The network cannot be exported.
    """
    program = exported(network, size=size)
    with _quiet(), _replacing(path) as part, part.open("wb") as file:
        torch.export.save(
            program, file, extra_files={METADATA_FILE: json.dumps(_metadata(network.spec, metadata))}
        )


def exported(network: nn.Module, *, size: tuple[int, int] | None) -> ExportedProgram:
    """Return ``network`` as an ExportedProgram for one pair of images of its parameters' type and device.

    Args:
        size: ``(h, w)``, or None to leave both open, from 32 to 4096.

    Raises:
        EngineError: The network cannot be exported.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    images = example_images(network, size or _TRACED)
    side = Dim.DYNAMIC(min=SMALLEST, max=LARGEST)
    axes = {2: side, 3: side} if size is None else None
    with _said_as_engine_error("with sizes left open" if size is None else "for one size", network), _quiet():
        return torch.export.export(network, images, dynamic_shapes=(axes, axes))


def example_images(network: nn.Module, size: tuple[int, int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return two random inputs ``(1, C, H, W)`` in the range, type and place that ``network`` wants."""
    spec: NetworkSpec | None = getattr(network, "spec", None)
    channels = network.settings.channels if spec is not None and spec.takes is Takes.FEATURES else 1
    peak = 255 if spec is not None and spec.input_range is InputRange.BYTE else 1
    weight = next(network.parameters(), torch.zeros(()))
    generator = torch.Generator().manual_seed(seed)
    first, second = peak * torch.rand(2, 1, channels, *size, generator=generator).to(weight.device, weight.dtype)
    return first, second


def output_name(spec: NetworkSpec) -> str:
    """Return the name of the output: ``fused``, ``flow`` or ``features``."""
    return _OUTPUTS[spec.gives]


def compare_program(network: nn.Module, path: Path, sizes: Sequence[tuple[int, int]] | None = None) -> Comparison:
    """Load what :func:`export_program` wrote just now and hold it against ``network``.

    Args:
        sizes: ``(h, w)`` to compare at; None takes three small ones.
    """
    with _quiet():
        module = torch.export.load(path).module()
    return _compared(network, module, f"torch {torch.__version__}", sizes)


def compare_onnx(
    network: nn.Module, path: Path, sizes: Sequence[tuple[int, int]] | None = None
) -> Comparison | None:
    """Load an ONNX model and hold it against ``network``; None where neither ONNX Runtime nor OpenVINO is there.

    Args:
        sizes: ``(h, w)`` to compare at; None takes three small ones.
    """
    if find_spec("onnxruntime") is not None:
        return _compared(network, _onnxruntime_reader(path), f"onnxruntime {version('onnxruntime')}", sizes)
    if find_spec("openvino") is not None:
        return _compared(network, _openvino_reader(path), f"openvino {version('openvino')}", sizes)
    return None


def _onnxruntime_reader(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(*images: Tensor) -> Tensor:
        return torch.from_numpy(
            session.run(None, {name: image.numpy() for name, image in zip(names, images, strict=True)})[0]
        )

    return run


def _openvino_reader(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    from .openvino_runtime import core

    model = core().compile_model(core().read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(*images: Tensor) -> Tensor:
        return torch.from_numpy(model([image.numpy() for image in images])[0].copy())

    return run


def _compared(
    network: nn.Module,
    run: Callable[[Tensor, Tensor], Tensor],
    reader: str,
    sizes: Sequence[tuple[int, int]] | None,
) -> Comparison:
    sizes = tuple(sizes or _COMPARED)
    errors = []
    for seed, size in enumerate(sizes):
        images = example_images(network, size, seed)
        with torch.no_grad():
            expected, got = network(*images), run(*images)
        if got.shape != expected.shape:
            raise EngineError(
                f"{reader}: expected an output of shape {tuple(expected.shape)} from the exported file, got "
                f"{tuple(got.shape)}; export with a fixed size"
            )
        errors.append(float((got - expected).abs().max()) / max(1.0, float(expected.abs().max())))
    return Comparison(reader, sizes, max(errors))


def _metadata(spec: NetworkSpec, more: Mapping[str, str] | None) -> dict[str, str]:
    return {
        "producer": f"fusion_ros {__version__}",
        "network": spec.name,
        "title": spec.title,
        "source": spec.source,
        "input_range": spec.input_range.value,
        "output_range": spec.output_range.value,
        "takes": spec.takes.value,
        "gives": spec.gives.value,
        **(more or {}),
    }


@contextlib.contextmanager
def _said_as_engine_error(how: str, network: nn.Module) -> Iterator[None]:
    """Raise what PyTorch's exporters raise, which is of many kinds, as one error of ours."""
    try:
        yield
    except Exception as error:
        spec: NetworkSpec | None = getattr(network, "spec", None)
        title = spec.title if spec is not None else type(network).__name__
        raise EngineError(f"{title} cannot be exported {how}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text that says something, or the error's kind where it has no text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's exporters from warning of packages that our networks do not need, and of their own ways."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write to, and put it in its place when it is whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
