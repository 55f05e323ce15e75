"""The authors' checkpoints: how the files of a release become our tensors.

A release is one file or several, whose names and shapes say what they are: :func:`adapt` joins them, checks them
strictly, and says whether they are the released tensors.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint_files import read_checkpoint
from .errors import SettingsError, WeightsError, shortened
from .releases import RELEASES, Part, Release

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .networks import FusionNetwork

__all__ = ["Adapted", "adapt", "differences", "fingerprint", "upstream_names"]


@dataclass(frozen=True)
class Adapted:
    """The authors' weights in our network.

    Attributes:
        network: Loaded, on the CPU, in inference mode.
        settings: What the tensors' shapes say about how it is built.
        is_release: Whether the tensors are the released ones, value by value; None where those are not known.
    """

    network: FusionNetwork
    settings: Mapping[str, Any]
    is_release: bool | None


def adapt(name: str, paths: Sequence[Path]) -> Adapted:
    """Load the authors' files into our network.

    Args:
        name: A network of :data:`RELEASES`.
        paths: Its files, in any order; copies in which they are already joined will do.

    Raises:
        WeightsError: A file cannot be read, is another method's, is not all that is needed, or holds
            tensors of wrong names, shapes or values.
    """
    from .networks import build_network

    release = RELEASES[name]
    files = ", ".join(map(str, paths))
    joined = _join(name, [(path, read_checkpoint(path)) for path in paths])
    settings = _settings_from(release, joined)
    try:
        network = build_network(name, settings)
    except SettingsError as error:
        raise WeightsError(f"{files}: the shapes ask for a network that cannot be built: {error}") from error
    ours = upstream_names(network)
    expected = {ours[own]: tensor for own, tensor in network.state_dict().items()}
    problem = differences(expected, joined)
    if problem:
        raise WeightsError(f"{files}: not the weights of {name}: {problem}{_resembles(joined, name)}")
    _check_values(expected, joined, files)
    network.load_state_dict({own: joined[theirs] for own, theirs in ours.items()}, strict=True)
    _check_output(network.eval(), files)
    is_release = fingerprint(joined) == release.fingerprint if release.fingerprint else None
    return Adapted(network, settings, is_release)


def upstream_names(network: nn.Module) -> dict[str, str]:
    """Return the authors' name of every tensor of a network, by our name."""
    prefixes: Mapping[str, str] = getattr(network, "UPSTREAM_PREFIXES", {})
    longest_first = sorted(prefixes, key=len, reverse=True)
    names = {}
    for name in network.state_dict():
        own = next((own for own in longest_first if name == own or name.startswith(f"{own}.")), "")
        names[name] = prefixes[own] + name[len(own) :] if own else name
    return names


def differences(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> str:
    """Say how the names and shapes of two sets of tensors differ; empty where they do not."""
    missing = sorted(expected.keys() - got.keys())
    unexpected = sorted(got.keys() - expected.keys())
    if missing or unexpected:
        return f"missing: {shortened(missing)}; unexpected: {shortened(unexpected)}"
    wrong = [
        f"{name} expected {tuple(tensor.shape)}, got {tuple(got[name].shape)}"
        for name, tensor in expected.items()
        if tensor.shape != got[name].shape
    ]
    return f"shapes differ: {shortened(wrong)}" if wrong else ""


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of names, shapes and values, which no file format changes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int64)
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _join(name: str, files: Sequence[tuple[Path, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """Join a release's files under the authors' names, without what wrappers put before them."""
    release = RELEASES[name]
    expected = _expected_names(name, {})
    joined: dict[str, Tensor] = {}
    sources: dict[str, Path] = {}
    for path, tensors in files:
        takes = {part.title: _take(part, expected, tensors) for part in release.parts}
        if not any(takes.values()):
            problem = differences(dict.fromkeys(expected), tensors)  # type: ignore[arg-type]
            raise WeightsError(f"{path}: not the weights of {name}: {problem}{_resembles(tensors, name)}")
        for title, take in takes.items():
            if take and title in sources:
                raise WeightsError(f"{sources[title]} and {path}: both hold the {title} of {name}; give one")
            if take:
                sources[title] = path
                joined.update({joined_name: tensors[own] for joined_name, own in take.items()})
        for stray, tensor in _left_over(tensors, takes.values(), release).items():
            joined[f"{stray} (again)" if stray in joined else stray] = tensor
    for part in release.parts:
        if part.title not in sources:
            given = ", ".join(str(path) for path, _ in files)
            raise WeightsError(
                f"{given}: the {part.title} of {name} is missing; give its file as well: {part.file} of "
                f"github.com/{release.repository}"
            )
    return joined


def _take(part: Part, expected: Iterable[str], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return which tensors of a file are a release's part: name once joined -> name in the file.

    What stands before the expected names in the file is dropped: ``module.`` of DataParallel,
    ``register.`` of a Lightning module, or what somebody put there who joined the files.
    """
    wanted = [name[len(part.added) :] for name in expected if name.startswith(part.heads)]
    before = Counter(
        name[: -len(want)] for want in wanted for name in tensors if name == want or name.endswith(f".{want}")
    )
    if not before:
        return {}
    prefix = before.most_common(1)[0][0]
    names = {part.added + name[len(prefix) :]: name for name in tensors if name.startswith(prefix)}
    return {joined: name for joined, name in names.items() if joined.startswith(part.heads)}


def _left_over(
    tensors: Mapping[str, Tensor], takes: Iterable[Mapping[str, str]], release: Release
) -> dict[str, Tensor]:
    used = {own for take in takes for own in take.values()}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in used and not name.startswith(release.beside)
    }


def _expected_names(name: str, settings: Mapping[str, Any]) -> list[str]:
    from .networks import build_network

    return list(upstream_names(build_network(name, settings)).values())


def _settings_from(release: Release, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what the shapes say about how the network is built."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    settings = {}
    for name, probe in release.settings.items():
        try:
            settings[name] = probe(shapes)
        except (KeyError, IndexError):
            continue  # reported as missing, or of a wrong shape, by the strict comparison
    return settings


def _resembles(tensors: Mapping[str, Tensor], asked: str) -> str:
    """Say which other network the names fit; empty where none."""
    from .networks import NETWORKS, build_network

    for name in NETWORKS:
        if name in RELEASES and name != asked and _names_fit(name, tensors):
            return f"; it looks like {name}: 'fusion-ros import-weights {name} ...'"
        if build_network(name).state_dict().keys() == tensors.keys():
            return (
                f"; its names are this project's own, those of {name}: nothing is to be imported, "
                "a model folder with a card is all it needs"
            )
    return ""


def _names_fit(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Return whether a file holds one or more whole parts of a release, and nothing else."""
    release = RELEASES[name]
    expected = _expected_names(name, {})
    takes = {part: take for part in release.parts if (take := _take(part, expected, tensors))}
    if not takes or _left_over(tensors, takes.values(), release):
        return False
    joined = {joined: tensors[own] for take in takes.values() for joined, own in take.items()}
    try:
        expected = _expected_names(name, _settings_from(release, joined))
    except SettingsError:
        return False
    heads = tuple(head for part in takes for head in part.heads)
    return {name for name in expected if name.startswith(heads)} == joined.keys()


def _check_values(expected: Mapping[str, Tensor], got: Mapping[str, Tensor], files: str) -> None:
    import torch

    for name, tensor in got.items():
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise WeightsError(f"{files}: {name}: expected {expected[name].dtype}, got {tensor.dtype}")
    bad = sorted(name for name, tensor in got.items() if not torch.isfinite(tensor).all())
    if bad:
        raise WeightsError(f"{files}: expected finite weights, got NaN or infinity in {shortened(bad)}")


def _check_output(network: FusionNetwork, files: str) -> None:
    """Run the network once: finite weights may still make an output that is not, by a negative variance."""
    import torch

    images = torch.rand(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = network(images[0], images[1])
    if not torch.isfinite(output).all():
        raise WeightsError(f"{files}: expected weights with which the output is finite, got NaN or infinity in it")
