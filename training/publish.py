"""Publish a run: its best weights, with a card, as a model folder that the package can load."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fusion_ros.cards import CARD, ModelCard
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.metrics import evaluate
from fusion_ros.networks import build_network, count_parameters
from fusion_ros.weights import file_sha256, load_network, load_upstream

from .data.pairs import Pair, list_pairs, read_names
from .recipes import RECIPES
from .recipes.reconet_fuser import fuse_luma
from .run_folder import RunFolder

__all__ = ["Publication", "measure", "publish"]

WEIGHTS = "weights.safetensors"
OURS = "these weights"


@dataclass(frozen=True)
class Publication:
    """What a person says about weights, beyond what the run knows by itself.

    Attributes:
        name: The model's name, and its folder's.
        licence: Terms of the weights, an SPDX name where there is one.
        data: What they were trained on, with its licence; no paths.
        test_name: What the run's test list is, for the table of metrics.
        notes: Further statements for the card.
        compare: Label -> authors' released tensors, measured on the same pairs.
        replace: Whether a model of this name may be replaced.
    """

    name: str
    licence: str
    data: str
    test_name: str = "test list"
    notes: Sequence[str] = ()
    compare: Mapping[str, Path] = field(default_factory=dict)
    replace: bool = False


def publish(run: RunFolder, publication: Publication, models: Path) -> Path:
    """Write ``models/<name>/`` from a run's best weights, and return that folder.

    The folder is completed elsewhere, loaded as a user would load it, measured, and only then put
    in its place.

    Args:
        run: A run with at least one validated epoch.
        publication: Name, licence, data, and what to compare with.
        models: Folder of the models.

    Raises:
        SettingsError: The model exists and may not be replaced, or the run's network is not the one
            that is deployed under this name.
        WeightsError: The run has no weights yet, or weights to compare with do not load.
    """
    folder = models / publication.name
    if folder.exists() and not publication.replace:
        raise SettingsError(f"{folder} exists; give --replace to replace it, or choose another --name")
    request = run.request()
    _check_deployable(request)
    if not run.best.is_file():
        raise WeightsError(f"{run.path}: expected {run.best.name}, written by the first validation; train on")
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".") as workshop:
        draft = Path(workshop).resolve() / publication.name
        draft.mkdir()
        shutil.copyfile(run.best, draft / WEIGHTS)
        _complete(draft, _card(run, request, publication, draft / WEIGHTS), request, publication)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    return folder


def _complete(draft: Path, card: ModelCard, request: Mapping[str, Any], publication: Publication) -> None:
    """Write the card, load the draft as a user would, measure it, and add the figures to the card."""
    (draft / CARD).write_text(card.text(), encoding="utf-8")
    networks = {OURS: load_network(draft)}
    for label, path in publication.compare.items():
        networks[label] = load_upstream(build_network(request["recipe"]), path)
    card = dataclasses.replace(card, metrics=_metrics(networks, request, publication))
    (draft / CARD).write_text(card.text(), encoding="utf-8")


def measure(network: nn.Module, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return every metric as the plain mean over pairs, with a network in inference mode."""
    rows = []
    for pair in pairs:
        infrared, visible = pair.read()
        rows.append(evaluate(infrared, visible, fuse_luma(network, infrared, visible)))
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def _check_deployable(request: Mapping[str, Any]) -> None:
    spec = RECIPES[request["recipe"]]
    defaults = spec.settings().flat()
    for name in spec.fixed_when_published:
        if request["settings"][name] != defaults[name]:
            raise SettingsError(
                f"the run's {name} is {request['settings'][name]}, but {request['recipe']} is deployed with "
                f"{defaults[name]}; train with the default to publish"
            )


def _metrics(
    networks: Mapping[str, nn.Module], request: Mapping[str, Any], publication: Publication
) -> dict[str, dict[str, dict[str, float]]]:
    data = {name: Path(path) for name, path in request["data"].items()}
    if "test" not in data:
        return {}
    pairs = list_pairs(data["infrared"], data["visible"], read_names(data["test"]))
    table = {label: measure(network, pairs) for label, network in networks.items()}
    return {f"{publication.test_name}, {len(pairs)} pairs": table}


def _card(run: RunFolder, request: Mapping[str, Any], publication: Publication, weights: Path) -> ModelCard:
    spec = RECIPES[request["recipe"]]
    settings = spec.settings.from_mapping(request["settings"])
    environment = run.environment()
    rows = _history(run)
    return ModelCard(
        name=publication.name,
        network=request["recipe"],
        parameters=count_parameters(build_network(request["recipe"])),
        file=WEIGHTS,
        sha256=file_sha256(weights),
        licence=publication.licence,
        data=publication.data,
        recipe={"name": request["recipe"], "best_epoch": _best_epoch(rows), **settings.flat()},
        commit=environment["commit"],
        seed=request["settings"]["seed"],
        date=environment["started"][:10],
        hardware=_hardware(environment, sum(float(row["seconds"]) for row in rows)),
        metrics={},
        notes=(*spec.notes(settings), *publication.notes),
    )


def _hardware(environment: Mapping[str, Any], seconds: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    where = f"{environment['processor']}, {environment['threads']} of {environment['cores']} cores"
    return f"{where}, accelerator {environment['accelerator']}; {versions}; {seconds / 60:.0f} min"


def _history(run: RunFolder) -> list[dict[str, str]]:
    with (run.path / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _best_epoch(rows: Sequence[Mapping[str, str]]) -> int:
    validated = [row for row in rows if row.get("validation_loss")]
    return int(min(validated, key=lambda row: float(row["validation_loss"]))["epoch"])
