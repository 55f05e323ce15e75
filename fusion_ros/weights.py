"""Weights: find a model's folder, check it, and load it strictly.

A model is a folder of two files: tensors (safetensors; never a pickle) and ``card.yaml``, which says
what they are, where they come from and what they must hash to::

    models/reconet/
        card.yaml
        weights.safetensors

Models are looked for, in this order, in the folders of the environment variable
``FUSION_ROS_MODELS``, in the user's own folder (``$XDG_DATA_HOME/fusion_ros/models``, by default
``~/.local/share/fusion_ros/models``), and in the ``models`` folder of the installed ROS package, of the
checkout, and of the Python installation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cards import CARD, ModelCard, read_card
from .checkpoint_files import read_checkpoint, read_safetensors
from .checkpoints import differences, upstream_names
from .errors import SettingsError, WeightsError, nearest_name
from .files import user_folder
from .releases import ALIASES, how_to_get

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .networks import FusionNetwork

__all__ = [
    "file_sha256",
    "find_model",
    "install_model",
    "load_network",
    "load_upstream",
    "model_folders",
    "model_names",
    "models_of",
    "share_folders",
    "user_models",
    "verify",
]

_WEIGHTS = "weights.safetensors"
_PACKAGE = "fusion_ros"
_ENVIRONMENT = "FUSION_ROS_MODELS"


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


def user_models() -> Path | None:
    """Return the folder of the user's own models, which may be absent; None for a user without a home."""
    own = user_folder("XDG_DATA_HOME")
    return own / "models" if own else None


def model_folders() -> tuple[Path, ...]:
    """Return the folders in which models are looked for, best first; they may be absent."""
    named = [Path(part) for part in os.environ.get(_ENVIRONMENT, "").split(os.pathsep) if part]
    own = user_models()
    installed = [folder / "models" for folder in share_folders()]
    return tuple(dict.fromkeys([*named, *([own] if own else []), *installed]))


def model_names() -> tuple[str, ...]:
    """Return the names of all models that can be found, sorted."""
    cards = (card for folder in model_folders() for card in folder.glob(f"*/{CARD}"))
    return tuple(sorted({card.parent.name for card in cards}))


def models_of(network: str) -> tuple[str, ...]:
    """Return the names of the models for one network, sorted; a card that cannot be read is passed over."""
    names = []
    for name in model_names():
        try:
            if read_card(find_model(name)).network == network:
                names.append(name)
        except WeightsError:
            continue
    return tuple(names)


def find_model(model: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        model: A name such as ``reconet``, or a folder. A string is taken for a folder when it holds
            a path separator or starts with ``.`` or ``~``.

    Raises:
        WeightsError: There is no such model; the text says what was looked at and what is known, and for a
            network how to get weights for it.
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
    raise WeightsError(_not_found(model, looked))


def _not_found(model: str, looked: str) -> str:
    from .classical import CLASSICAL
    from .networks import NETWORKS

    if model in CLASSICAL:
        return f"{model} is a classical method: it has no weights, and none to load"
    network = model if model in NETWORKS else ALIASES.get(model, model)
    if network in NETWORKS:
        installed = models_of(network)
        name = f"under that name; its installed weights: {', '.join(installed)}" if installed else "as yet"
        return f"no weights for {model} are installed {name}; looked in {looked}; {how_to_get(network)}"
    models = model_names()
    hint = nearest_name(model, {*models, *NETWORKS, *CLASSICAL})
    advice = "" if models else f"; set {_ENVIRONMENT} to the folder that holds your models"
    return f"no model {model!r}; looked in {looked}; {hint}{advice}"


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


def load_network(model: str | Path, settings: Mapping[str, Any] | None = None) -> FusionNetwork:
    """Find, verify and load a model; returns its network on the CPU, in inference mode.

    Args:
        model: A name or a folder, as for :func:`find_model`.
        settings: Settings of the network that win over the card's, for what the weights leave open: how often
            a recurrence runs, which fusion rule is used.

    Raises:
        WeightsError: The model is unknown or damaged, its tensors do not belong to its network, or a setting
            asks for a network of other tensors.
        SettingsError: The card names an unknown network, or the network has no such setting.
    """
    from .networks import build_network

    folder = find_model(model)
    card = verify(folder)
    path = folder / card.file
    tensors = read_safetensors(path)  # of a model, no other format is ever opened
    try:
        network = build_network(card.network, {**card.network_settings, **(settings or {})})
    except SettingsError as error:
        raise SettingsError(f"{card.name}: {error}") from error
    try:
        _load_strictly(network, tensors, path)
    except WeightsError as error:
        wrong = _unfit(card, settings or {}, tensors)
        if not wrong:
            raise
        raise WeightsError(
            f"{error}; these weights were made for another value of {', '.join(wrong)}: leave it out, or choose "
            "other weights"
        ) from None
    return network.eval()


def _unfit(card: ModelCard, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the settings to blame where the tensors fit without them: each that misfits alone, else all."""
    from .networks import build_network

    def fits(changes: Mapping[str, Any]) -> bool:
        try:
            network = build_network(card.network, {**card.network_settings, **changes})
        except SettingsError:
            return False
        return not differences(network.state_dict(), tensors)

    if not fits({}):
        return []
    return [name for name, value in settings.items() if not fits({name: value})] or list(settings)


def load_upstream(network: nn.Module, path: Path) -> nn.Module:
    """Load the authors' released tensors into our network, and return it in inference mode.

    The authors' names are translated by the network's ``UPSTREAM_PREFIXES``. Their files are not
    shipped: ``path`` is one file that the user has, with all of the network's tensors.

    Raises:
        WeightsError: The file is absent or damaged, the network has no table of upstream names, or the
            tensors do not belong to it.
    """
    if not getattr(network, "UPSTREAM_PREFIXES", {}):
        raise WeightsError(f"{type(network).__name__} has no table of upstream names, so it cannot load {path}")
    ours = {theirs: own for own, theirs in upstream_names(network).items()}
    tensors = {ours.get(name, name): tensor for name, tensor in read_checkpoint(path).items()}
    _load_strictly(network, tensors, path)
    return network.eval()


def install_model(models: Path, card: ModelCard, tensors: Mapping[str, Tensor], *, replace: bool = False) -> Path:
    """Write the model folder ``models/<card.name>/`` and return it.

    The folder is completed elsewhere, loaded as a user would load it, and only then moved in place: a
    failure leaves what was there before.

    Args:
        models: Folder of the models; made where it is absent.
        card: The card, but for its file and checksum, which are filled in.
        tensors: What the file is to hold, by our names.
        replace: Whether a model of this name may be replaced.

    Raises:
        WeightsError: The model exists and may not be replaced, the tensors do not belong to the card's network,
            or the folder cannot be written.
    """
    folder = models / card.name
    if folder.exists() and not (folder / CARD).is_file():
        raise WeightsError(f"{folder} exists and is no model folder; move it away, or choose another name")
    if folder.exists() and not replace:
        raise WeightsError(f"{folder} exists; give --replace to replace it, or choose another --name")
    try:
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models, prefix=".") as workshop:
            draft = Path(workshop) / card.name
            _write(draft, card, tensors)
            load_network(draft)
            _move_in_place(draft, folder, Path(workshop) / "replaced")
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written: {error}") from error
    return folder


def _write(folder: Path, card: ModelCard, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder.mkdir()
    path = folder / _WEIGHTS
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # a full disk, for one
        raise WeightsError(f"{path}: cannot be written: {error}") from error
    complete = dataclasses.replace(card, file=_WEIGHTS, sha256=file_sha256(path))
    (folder / CARD).write_text(complete.text(), encoding="utf-8")
    path.chmod((folder / CARD).stat().st_mode)  # safetensors lets nobody but the owner read


def _move_in_place(draft: Path, folder: Path, aside: Path) -> None:
    was_there = folder.exists()
    if was_there:
        folder.replace(aside)
    try:
        draft.replace(folder)
    except OSError:
        if was_there:
            aside.replace(folder)
        raise


def _load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    problem = differences(network.state_dict(), tensors)
    if problem:
        raise WeightsError(f"{path} does not belong to {type(network).__name__}: {problem}")
    network.load_state_dict(tensors, strict=True)
