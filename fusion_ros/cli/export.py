"""``fusion-ros export``: a model's network for other programs, checked after it is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..cards import read_card
from ..errors import EngineError, FusionError
from ..settings import parse_assignments
from ..spec import Gives, InputRange, NetworkSpec, OutputRange, Takes
from ..weights import find_model, load_network
from .options import parse_size

if TYPE_CHECKING:
    from ..engines.export import Comparison
    from ..networks import FusionNetwork

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Write a model's network as an ONNX model (for TensorRT, ONNX Runtime, OpenVINO) or as PyTorch's ExportedProgram.
The file holds the network alone: what to feed it, and what to do with what it gives, is printed and lies in
its metadata. It is loaded again and held against PyTorch before it counts as written."""

EXAMPLES = """\
fusion-ros export reconet --out reconet.onnx
fusion-ros export reconet --out reconet_640x480.onnx --static --size 640x480
fusion-ros export reconet --format ep --out reconet.pt2 --network recurrences=2"""

TOLERANCE = 1e-4
"""Largest difference from PyTorch, relative to the output's largest value where that is above 1."""

_FORMATS = {".onnx": "onnx", ".pt2": "ep"}
_RANGES = {
    InputRange.UNIT: "values in [0, 1]",
    InputRange.BYTE: "values in [0, 255], grey levels as floating point",
    InputRange.STRETCHED: "values in [0, 1], each image stretched from its own minimum and maximum",
}
_IMAGES = {
    OutputRange.UNIT: "an image in [0, 1]; clamp it",
    OutputRange.STRETCHED: "an image without a scale of its own; stretch it from its minimum and maximum",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="name of a model, or path of its folder")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="file to write")
    parser.add_argument(
        "--format",
        choices=("onnx", "ep"),
        help="default: by the name of FILE: .onnx, or .pt2 for ep",
    )
    parser.add_argument("--static", action="store_true", help="fix the image size, which else stays open")
    parser.add_argument("--size", metavar="WxH", help="image size with --static (default: 640x480)")
    parser.add_argument(
        "--network", default="", metavar="name=value,...", help="settings of the network that differ"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")


def main(args: argparse.Namespace) -> int:
    """Export, verify, and say what the file takes and gives."""
    kind = _format(args.format, args.out)
    size = _size(args)
    _check_out(args)
    network = load_network(args.model, parse_assignments(args.network))
    card = read_card(find_model(args.model))
    metadata = {"model": card.name, "licence": card.licence, "weights_sha256": card.sha256}
    if args.network:
        metadata["network_settings"] = args.network
    comparison = _exported(network, kind, args.out, size, metadata)
    print(_report(network, kind, args.out, size, comparison))
    return 0


def _exported(
    network: FusionNetwork, kind: str, out: Path, size: tuple[int, int] | None, metadata: dict[str, str]
) -> Comparison | None:
    """Write the file and hold it against the network; only then does it take the place of an earlier one."""
    from ..engines import export

    write, compare = {
        "onnx": (export.export_onnx, export.compare_onnx),
        "ep": (export.export_program, export.compare_program),
    }[kind]
    draft = out.with_name(f".{out.stem}.draft{out.suffix}")
    try:
        write(network, draft, size=size, metadata=metadata)
        comparison = compare(network, draft, [size] if size else None)
        if comparison is not None and not comparison.error <= TOLERANCE:
            raise EngineError(
                f"{out} was not written: {comparison.reader} gives another output than PyTorch, by "
                f"{comparison.error:.2g}, expected at most {TOLERANCE:g}"
            )
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return comparison


def _report(
    network: FusionNetwork, kind: str, out: Path, size: tuple[int, int] | None, comparison: Comparison | None
) -> str:
    from ..engines import export

    spec = network.spec
    channels = export.example_images(network, (1, 1))[0].shape[1]
    height, width = size or ("height", "width")
    what = f"ONNX, operator set {export.OPSET}" if kind == "onnx" else "ExportedProgram, for torch.export.load"
    lines = [
        f"wrote {out}: {spec.title}, {what}, {out.stat().st_size / 1e6:.2f} MB",
        f"takes {' and '.join(spec.inputs)}: float32 (1, {channels}, {height}, {width}), {_takes(spec)}",
        f"gives {export.output_name(spec)}: float32 {_gives(network, height, width)}",
    ]
    if size is None:
        lines.append(f"height and width: {export.SMALLEST} to {export.LARGEST}, the same for both inputs")
    if comparison is None:
        lines.append("unverified: neither onnxruntime nor openvino is installed to load it again")
    else:
        sizes = ", ".join(f"{width}x{height}" for height, width in comparison.sizes)
        lines.append(f"verified: {comparison.reader} equals PyTorch to {comparison.error:.1g}, at {sizes}")
    return "\n".join(lines)


def _takes(spec: NetworkSpec) -> str:
    return "feature maps in any range" if spec.takes is Takes.FEATURES else _RANGES[spec.input_range]


def _gives(network: FusionNetwork, height: int | str, width: int | str) -> str:
    spec = network.spec
    if spec.gives is Gives.IMAGE:
        return f"(1, 1, {height}, {width}), {_IMAGES[spec.output_range]}"
    if spec.gives is Gives.FLOW:
        return f"(1, 2, {height}, {width}), pixels, x first, where to sample {spec.inputs[0]}"
    stride = network.feature_maps()[0].stride if spec.takes is Takes.IMAGES else 1
    height, width = (_divided(side, stride) for side in (height, width))
    return f"(1, {network.settings.channels}, {height}, {width}), a feature map"


def _divided(side: int | str, stride: int) -> int | str:
    """Return a side of a map with cells of ``stride`` pixels, of an image's side: a number, or words for one."""
    if stride == 1:
        return side
    return side // stride if isinstance(side, int) else f"{side} / {stride}"


def _format(wanted: str | None, out: Path) -> str:
    kind = wanted or _FORMATS.get(out.suffix)
    if kind is None:
        raise FusionError(f"--out: expected a name that ends in .onnx or .pt2, or --format, got {out.name!r}")
    if kind == "ep" and out.suffix != ".pt2":
        raise FusionError(f"--out: torch.export.load reads names that end in .pt2, got {out.name!r}")
    return kind


def _size(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return the fixed ``(h, w)``, or None where it stays open."""
    if not args.static:
        if args.size is not None:
            raise FusionError("--size: expected with --static only; without it height and width stay open")
        return None
    return parse_size(args.size or "640x480")


def _check_out(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.overwrite:
        raise FusionError(f"--out: {args.out} exists; give --overwrite to replace it")
    if args.out.is_dir() or not args.out.absolute().parent.is_dir():
        raise FusionError(f"--out: expected a file in a folder that exists, got {args.out}")
