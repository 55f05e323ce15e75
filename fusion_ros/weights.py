"""Weights: find a model's folder, check it, and load it strictly.

A model is a folder of two files: tensors (safetensors; never a pickle) and ``card.yaml``, which says
what they are, where they come from and what they must hash to::

    models/reconet/
        card.yaml
        weights.safetensors

Models are looked for, in this order, in the folders of the environment variable
``FUSION_ROS_MODELS``, in the ``models`` folder of the installed ROS package, of the checkout, and of
the Python installation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import WeightsError, nearest_name

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CARD",
    "ModelCard",
    "file_sha256",
    "find_model",
    "load_network",
    "load_upstream",
    "model_folders",
    "model_names",
    "read_card",
    "share_folders",
    "verify",
]

CARD = "card.yaml"
_PACKAGE = "fusion_ros"
_ENVIRONMENT = "FUSION_ROS_MODELS"


@dataclass(frozen=True)
class ModelCard:
    """What there is to know about a set of weights.

    Attributes:
        name: The model's name, equal to its folder's.
        network: Which network to build: a name of ``fusion_ros.networks.NETWORKS``.
        parameters: Trainable parameters.
        file: Name of the tensors' file, beside the card.
        sha256: What that file must hash to.
        licence: Under which terms the weights may be used, an SPDX name where there is one.
        data: What they were trained on, and the licence of that.
        recipe: How: the recipe's name and every setting.
        commit: Commit of the code that trained them.
        seed: Seed of the run.
        date: Day of training, ``YYYY-MM-DD``.
        hardware: Processor, versions and time of the run.
        metrics: Test set -> what was measured -> metric -> mean over the pairs.
        notes: What a user should know besides, one statement each.
    """

    name: str
    network: str
    parameters: int
    file: str
    sha256: str
    licence: str
    data: str
    recipe: Mapping[str, Any]
    commit: str
    seed: int
    date: str
    hardware: str
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the card as YAML, as it is stored."""
        content = dataclasses.asdict(self) | {"notes": list(self.notes)}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def share_folders() -> tuple[Path, ...]:
    """Return the folders that hold this package's data (``models``, ``config``, ``launch``), best first.

    The installed ROS package's share folder, the checkout that this module lies in, and
    ``share/fusion_ros`` of the Python installation; only those that exist.
    """
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    found = [prefix / "share" / _PACKAGE for prefix in prefixes]
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "package.xml").is_file() or (checkout / "models").is_dir():
        found.append(checkout)
    found.append(Path(sys.prefix) / "share" / _PACKAGE)
    return tuple(dict.fromkeys(folder for folder in found if folder.is_dir()))


def model_folders() -> tuple[Path, ...]:
    """Return the folders in which models are looked for, best first; they may be absent."""
    named = [Path(part) for part in os.environ.get(_ENVIRONMENT, "").split(os.pathsep) if part]
    return tuple(dict.fromkeys([*named, *(folder / "models" for folder in share_folders())]))


def model_names() -> tuple[str, ...]:
    """Return the names of all models that can be found, sorted."""
    cards = (card for folder in model_folders() for card in folder.glob(f"*/{CARD}"))
    return tuple(sorted({card.parent.name for card in cards}))


def find_model(model: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        model: A name such as ``reconet``, or a folder. A string is taken for a folder when it holds
            a path separator or starts with ``.`` or ``~``.

    Raises:
        WeightsError: There is no such model; the text lists what was looked at and what is known.
    """
    if isinstance(model, Path) or os.sep in model or model.startswith((".", "~")):
        folder = Path(model).expanduser()
        if not (folder / CARD).is_file():
            raise WeightsError(f"{folder}: expected a model folder with {CARD}, found none")
        return folder
    folders = model_folders()
    for folder in folders:
        if model and (folder / model / CARD).is_file():
            return folder / model
    looked = ", ".join(map(str, folders)) or "nowhere, no model folder exists"
    known = model_names()
    hint = nearest_name(model, known) if known else f"set {_ENVIRONMENT} to the folder that holds your models"
    raise WeightsError(f"no model {model!r}; looked in {looked}; {hint}")


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises:
        WeightsError: The card is absent, is not YAML, or lacks, has too much of, or mistypes a field.
    """
    path = folder / CARD
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{folder}: expected a model folder with {CARD}, found none") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a mapping of fields, got {type(content).__name__}")
    _check_fields(path, content)
    return ModelCard(**content | {"notes": tuple(content.get("notes") or ())})


def _check_fields(path: Path, content: dict[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(ModelCard)}
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in content]
    unknown = [str(name) for name in content if name not in fields]
    if missing or unknown:
        raise WeightsError(f"{path}: missing fields: {_some(missing)}; unknown fields: {_some(unknown)}")
    kinds = {"str": str, "int": int, "tuple[str, ...]": list}
    for name, value in content.items():
        kind = kinds.get(str(fields[name].type), dict)  # annotations are strings; all others are mappings
        if type(value) is not kind:
            raise WeightsError(f"{path}: {name}: expected {kind.__name__}, got {type(value).__name__} {value!r}")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def verify(folder: Path) -> ModelCard:
    """Check a model's file against its card, and return the card.

    Raises:
        WeightsError: The card is unusable, or the file is absent or not the one that the card describes.
    """
    card = read_card(folder)
    path = folder / card.file
    if not path.is_file():
        raise WeightsError(f"{path}: expected the weights that {CARD} names, found no file")
    got = file_sha256(path)
    if got != card.sha256:
        raise WeightsError(
            f"{path} is damaged or was replaced: expected sha256 {card.sha256}, got {got}; install the model again"
        )
    return card


def load_network(model: str | Path) -> nn.Module:
    """Find, verify and load a model; returns its network on the CPU, in inference mode.

    Args:
        model: A name or a folder, as for :func:`find_model`.

    Raises:
        WeightsError: The model is unknown or damaged, or its tensors do not belong to its network.
        SettingsError: The card names an unknown network.
    """
    from .networks import build_network

    folder = find_model(model)
    card = verify(folder)
    path = folder / card.file
    network = build_network(card.network)
    _load_strictly(network, _read_tensors(path), path)
    return network.eval()


def load_upstream(network: nn.Module, path: Path) -> nn.Module:
    """Load the authors' released tensors into our network, and return it in inference mode.

    The authors' names are translated by the network's ``UPSTREAM_PREFIXES``. Their files are not
    shipped: ``path`` is a safetensors copy that the user has.

    Raises:
        WeightsError: The file is absent or damaged, the network has no table of upstream names, or the
            tensors do not belong to it.
    """
    prefixes: Mapping[str, str] | None = getattr(network, "UPSTREAM_PREFIXES", None)
    if prefixes is None:
        raise WeightsError(f"{type(network).__name__} has no table of upstream names, so it cannot load {path}")
    ours = {theirs: own for own, theirs in prefixes.items()}
    tensors = {_translate(name, ours): tensor for name, tensor in _read_tensors(path).items()}
    _load_strictly(network, tensors, path)
    return network.eval()


def _translate(name: str, prefixes: Mapping[str, str]) -> str:
    for theirs, own in prefixes.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return own + name[len(theirs) :]
    return name  # reported as unexpected by the strict comparison


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"no weights file at {path}") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: expected a complete safetensors file, got another or a cut one: {error}"
        ) from error


def _load_strictly(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    expected = network.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        raise WeightsError(
            f"{path} does not belong to {type(network).__name__}: missing: {_some(missing)}; "
            f"unexpected: {_some(unexpected)}"
        )
    wrong = [
        f"{name} expected {tuple(tensor.shape)}, got {tuple(tensors[name].shape)}"
        for name, tensor in expected.items()
        if tensor.shape != tensors[name].shape
    ]
    if wrong:
        raise WeightsError(f"{path} does not belong to {type(network).__name__}: shapes differ: {_some(wrong)}")
    network.load_state_dict(tensors, strict=True)


def _some(names: list[str], limit: int = 3) -> str:
    """List the first few names, and count the rest."""
    if not names:
        return "none"
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
