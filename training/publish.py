"""Publish a run: its best weights, with a card, as a model folder that the package can load."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from fusion_ros.cards import ModelCard
from fusion_ros.checkpoint_files import read_safetensors
from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import SettingsError, WeightsError, shortened
from fusion_ros.metrics import DEFAULT_COLUMNS, evaluate
from fusion_ros.networks import FusionNetwork, Gives, count_parameters
from fusion_ros.settings import parse_assignments
from fusion_ros.weights import install_model, load_network

from .data.pairs import Pair
from .data.sets import open_sets
from .data.splits import part_of
from .deployed import fuse_images
from .memory import keep_freed_memory
from .options import add_command
from .recipes import RECIPES, TrainingSettings
from .run_folder import RunFolder

__all__ = ["Publication", "add_publish", "measure", "publish"]

OURS = "these weights"
PATHS = ("vgg", "start", "teacher")
"""Settings that may hold a path, of which a card names only the end."""
EXAMPLE = """\
example:
  # measured on the test parts of two sets, beside weights of the authors that were imported before
  python -m training publish runs/lrrnet --name lrrnet --licence Apache-2.0 --trained-on "RoadScene, 160 pairs" \\
      --test roadscene=/data/RoadScene --test tno=/data/TNO --compare "authors' weights=lrrnet_authors"
"""


@dataclass(frozen=True)
class Publication:
    """What a person says about weights, beyond what the run knows by itself.

    Attributes:
        name: The model's name, and its folder's.
        licence: Terms of the weights, an SPDX name where there is one.
        trained_on: What they were trained on, with its licence; no paths.
        tests: Data sets whose test parts they are measured on, as for ``--data``.
        notes: Further statements for the card.
        compare: Label -> model that is measured on the same pairs, a name or a folder.
        half: Whether to store the weights in float16, half as large; they are used in float32 all the same.
        replace: Whether a model of this name may be replaced.
        network: Settings of the network, for what the weights leave open, that the model is to have for its own.
    """

    name: str
    licence: str
    trained_on: str
    tests: Sequence[str] = ()
    notes: Sequence[str] = ()
    compare: Mapping[str, str] = field(default_factory=dict)
    half: bool = False
    replace: bool = False
    network: Mapping[str, Any] = field(default_factory=dict)


def publish(run: RunFolder, publication: Publication, models: Path) -> Path:
    """Write ``models/<name>/`` from a run's best weights, and return that folder.

    The model is completed elsewhere, loaded as a user would load it, measured, and only then put in its place.

    Args:
        run: A run with at least one validated epoch of its last stage.
        publication: Name, licence, data, and what to measure on and compare with.
        models: Folder of the models.

    Raises:
        SettingsError: The model exists and may not be replaced, a setting of the network is none, a data set is
            not where it is said to be, or there is one for a network that gives no image.
        WeightsError: The run has no weights yet, a model to compare with does not load, or the folder cannot be
            written.
    """
    folder = models / publication.name
    if folder.exists() and not publication.replace:
        raise SettingsError(f"{folder} exists; give --replace to replace it, or choose another --name")
    request, rows = run.request(), _validated(run)
    if not (run.best.is_file() and rows):
        raise WeightsError(
            f"{run.path}: expected {run.best.name}, written by the first validation of the last stage; train on"
        )
    tensors = read_safetensors(run.best)
    if publication.half:
        tensors = _halved(tensors)
    card = _card(run, request, rows, publication)
    with tempfile.TemporaryDirectory() as workshop:
        metrics = _metrics(install_model(Path(workshop), card, tensors), publication)
    card = dataclasses.replace(card, metrics=metrics)
    return install_model(models, card, tensors, replace=publication.replace)


def pairs_for_test(text: str) -> tuple[Pair, ...]:
    """Return the test part of a data set that is asked for as on the command line.

    Raises:
        SettingsError: The set is not there, or has no test part.
    """
    (opened,) = open_sets([text])
    name = opened.data_set.name
    pairs = tuple(pair for pair in opened.found.pairs if part_of(name, pair.name.partition("/")[2]) == "test")
    if not pairs:
        raise SettingsError(
            f"{text}: expected pairs of the set's test part, found none among {len(opened.found.pairs)}"
        )
    return pairs


def measure(networks: Mapping[str, FusionNetwork], pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Return for each network every default metric as the plain mean over pairs.

    A metric that is not defined for a pair (NaN) makes the mean so.

    Args:
        networks: Label -> network in inference mode; each runs in the fastest engine that there is.
        pairs: With registered images.
    """
    keep_freed_memory()
    exact = EngineSettings(precision="float32")
    engines = {label: open_engine(network, exact) for label, network in networks.items()}
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in networks}
    for pair in tqdm(pairs, "measuring", disable=None):
        infrared, visible, _ = pair.read()
        for label, engine in engines.items():
            fused = fuse_images(engine, infrared, visible)
            values = evaluate(infrared, visible, fused, DEFAULT_COLUMNS)
            rows[label].append({column.metric.name: values[column.key] for column in DEFAULT_COLUMNS})
    names = [column.metric.name for column in DEFAULT_COLUMNS]
    return {
        label: {name: round(float(np.mean([row[name] for row in some])), 4) for name in names}
        for label, some in rows.items()
    }


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    too_large = [name for name, tensor in halved.items() if not bool(tensor.isfinite().all())]
    if too_large:
        raise WeightsError(f"values of {shortened(too_large)} do not fit float16; publish without --half")
    return halved


def _metrics(draft: Path, publication: Publication) -> dict[str, dict[str, dict[str, float]]]:
    """Measure the draft, and what it is compared with, on every data set: a card's ``metrics``."""
    networks = {OURS: load_network(draft)}
    spec = networks[OURS].spec
    if publication.tests and spec.gives is not Gives.IMAGE:
        raise SettingsError(
            f"--test: expected a network that gives an image, {spec.title} gives {spec.gives.value}; leave it out"
        )
    networks |= {label: load_network(model) for label, model in publication.compare.items()}
    metrics = {}
    for text in publication.tests:
        pairs = pairs_for_test(text)
        metrics[f"{text.partition('=')[0]}, test part, {len(pairs)} pairs"] = measure(networks, pairs)
    return metrics


def _card(
    run: RunFolder, request: Mapping[str, Any], rows: Sequence[Mapping[str, str]], publication: Publication
) -> ModelCard:
    """Return the card but for file, checksum and metrics; ``rows`` are those of :func:`_validated`."""
    recipe = RECIPES[request["recipe"]]
    settings = _without_folders(recipe.Settings.from_mapping(request["settings"]))
    network = recipe.build_network(settings)
    chosen = network.settings.updated(publication.network).flat()
    defaults = type(network.settings)().flat()
    environment = run.environment()
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    half = ("Stored in float16; the figures are those of the weights as stored.",) if publication.half else ()
    small = ("Trained with the recipe's small variant, meant for CPUs.",) if request["small"] else ()
    return ModelCard(
        name=publication.name,
        network=network.spec.name,
        network_settings={name: value for name, value in chosen.items() if value != defaults[name]},
        parameters=count_parameters(network),
        file="",
        sha256="",
        licence=publication.licence,
        data=publication.trained_on,
        recipe={"name": request["recipe"], "best_epoch": int(best["epoch"]), **settings.flat()},
        commit=environment["commit"],
        seed=settings.seed,
        date=environment["started"][:10],
        hardware=_hardware(environment, sum(float(row["seconds"]) for row in _history(run))),
        metrics={},
        notes=(*small, *recipe.notes(settings), *half, *publication.notes),
    )


def _hardware(environment: Mapping[str, Any], seconds: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    where = f"{environment['processor']}, {environment['threads']} of {environment['cores']} cores"
    return f"{where}, accelerator {environment['accelerator']}; {versions}; {seconds / 60:.0f} min"


def _without_folders(settings: TrainingSettings) -> TrainingSettings:
    values = settings.flat()
    return settings.updated({name: Path(values[name]).name for name in PATHS if values.get(name)})


def _history(run: RunFolder) -> list[dict[str, str]]:
    """Return the rows of the epochs; none before the first is complete."""
    path = run.path / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _validated(run: RunFolder) -> list[dict[str, str]]:
    """Return the rows of the last stage whose validation loss is a number: those that the best is one of."""
    rows = [row for row in _history(run) if row.get("validation_loss")]
    last = [row for row in rows if row["stage"] == rows[-1]["stage"]]
    return [row for row in last if math.isfinite(float(row["validation_loss"]))]


def add_publish(commands: Any) -> None:
    """Add the command ``publish``."""
    parser = add_command(
        commands,
        "publish",
        help="write weights and card into models/",
        description="Write the best weights of a run, with a card, as a model that fusion_ros can load.",
        example=EXAMPLE,
    )
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--licence", required=True, help="terms of the weights, for example Apache-2.0")
    parser.add_argument("--trained-on", required=True, help="what it was trained on, and the licence of that")
    parser.add_argument("--note", action="append", default=[], help="a statement for the card; may be repeated")
    parser.add_argument(
        "--test",
        action="append",
        default=[],
        metavar="SET=PATH",
        help="measure on the test part of this data set; may be repeated",
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="LABEL=MODEL",
        help="measure this model on the same pairs, a name or a folder; may be repeated",
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models [%(default)s]")
    parser.add_argument(
        "--network",
        default="",
        metavar="NAME=VALUE,...",
        help="settings of the network that the model is to have, such as fusion=sum",
    )
    parser.add_argument("--half", action="store_true", help="store float16, half as large; used in float32")
    parser.add_argument("--replace", action="store_true", help="replace a model of this name")
    parser.set_defaults(run_command=_publish)


def _publish(options: argparse.Namespace) -> None:
    compare = {}
    for item in options.compare:
        label, separator, model = item.partition("=")
        if not separator:
            raise SettingsError(f"--compare: expected LABEL=MODEL, got {item!r}")
        compare[label] = model
    publication = Publication(
        options.name,
        options.licence,
        options.trained_on,
        options.test,
        options.note,
        compare,
        options.half,
        options.replace,
        parse_assignments(options.network),
    )
    folder = publish(RunFolder(options.run), publication, options.models)
    logging.getLogger(__name__).info("published %s", folder)
