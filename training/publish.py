"""Publish a run: its best weights, with a card, as a model folder that the package can load."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fusion_ros.cards import CARD, ModelCard
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.metrics import DEFAULT_COLUMNS, evaluate
from fusion_ros.networks import FusionNetwork, count_parameters
from fusion_ros.weights import file_sha256, load_network

from .data.pairs import Pair
from .data.sets import open_sets
from .data.splits import part_of
from .deployed import fuse_images
from .memory import keep_freed_memory
from .recipes import RECIPES
from .run_folder import RunFolder

__all__ = ["Publication", "add_publish", "measure", "publish"]

WEIGHTS = "weights.safetensors"
OURS = "these weights"
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
        replace: Whether a model of this name may be replaced.
    """

    name: str
    licence: str
    trained_on: str
    tests: Sequence[str] = ()
    notes: Sequence[str] = ()
    compare: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False


def publish(run: RunFolder, publication: Publication, models: Path) -> Path:
    """Write ``models/<name>/`` from a run's best weights, and return that folder.

    The folder is completed elsewhere, loaded as a user would load it, measured, and only then put
    in its place.

    Args:
        run: A run with at least one validated epoch of its last stage.
        publication: Name, licence, data, and what to measure on and compare with.
        models: Folder of the models.

    Raises:
        SettingsError: The model exists and may not be replaced, or a data set is not where it is said to be.
        WeightsError: The run has no weights yet, or a model to compare with does not load.
    """
    folder = models / publication.name
    if folder.exists() and not publication.replace:
        raise SettingsError(f"{folder} exists; give --replace to replace it, or choose another --name")
    request = run.request()
    if not run.best.is_file():
        raise WeightsError(
            f"{run.path}: expected {run.best.name}, written by the first validation of the last stage; train on"
        )
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".") as workshop:
        draft = Path(workshop).resolve() / publication.name
        draft.mkdir()
        shutil.copyfile(run.best, draft / WEIGHTS)
        _complete(draft, _card(run, request, publication, draft / WEIGHTS), publication)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    return folder


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
        networks: Label -> network in inference mode.
        pairs: With registered images.
    """
    keep_freed_memory()
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in networks}
    for pair in tqdm(pairs, "measuring", disable=None):
        infrared, visible, _ = pair.read()
        for label, network in networks.items():
            fused = fuse_images(network, infrared, visible)
            values = evaluate(infrared, visible, fused, DEFAULT_COLUMNS)
            rows[label].append({column.metric.name: values[column.key] for column in DEFAULT_COLUMNS})
    names = [column.metric.name for column in DEFAULT_COLUMNS]
    return {
        label: {name: round(float(np.mean([row[name] for row in some])), 4) for name in names}
        for label, some in rows.items()
    }


def _complete(draft: Path, card: ModelCard, publication: Publication) -> None:
    """Write the card, load the draft as a user would, measure it, and add the figures to the card."""
    (draft / CARD).write_text(card.text(), encoding="utf-8")
    networks = {OURS: load_network(draft)}
    networks |= {label: load_network(model) for label, model in publication.compare.items()}
    metrics = {}
    for text in publication.tests:
        pairs = pairs_for_test(text)
        metrics[f"{text.partition('=')[0]}, test part, {len(pairs)} pairs"] = measure(networks, pairs)
    (draft / CARD).write_text(dataclasses.replace(card, metrics=metrics).text(), encoding="utf-8")


def _card(run: RunFolder, request: Mapping[str, Any], publication: Publication, weights: Path) -> ModelCard:
    recipe = RECIPES[request["recipe"]]
    settings = recipe.Settings.from_mapping(request["settings"])
    network = recipe.build_network(settings)
    defaults = type(network.settings)().flat()
    environment = run.environment()
    rows = _history(run)
    small = ("Trained with the recipe's small variant, meant for CPUs.",) if request["small"] else ()
    return ModelCard(
        name=publication.name,
        network=network.spec.name,
        network_settings={
            name: value for name, value in network.settings.flat().items() if value != defaults[name]
        },
        parameters=count_parameters(network),
        file=WEIGHTS,
        sha256=file_sha256(weights),
        licence=publication.licence,
        data=publication.trained_on,
        recipe={"name": request["recipe"], "best_epoch": _best_epoch(rows), **settings.flat()},
        commit=environment["commit"],
        seed=settings.seed,
        date=environment["started"][:10],
        hardware=_hardware(environment, sum(float(row["seconds"]) for row in rows)),
        metrics={},
        notes=(*small, *recipe.notes(settings), *publication.notes),
    )


def _hardware(environment: Mapping[str, Any], seconds: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    where = f"{environment['processor']}, {environment['threads']} of {environment['cores']} cores"
    return f"{where}, accelerator {environment['accelerator']}; {versions}; {seconds / 60:.0f} min"


def _history(run: RunFolder) -> list[dict[str, str]]:
    with (run.path / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _best_epoch(rows: Sequence[Mapping[str, str]]) -> int:
    """Epoch of the last stage with the lowest validation loss."""
    validated = [row for row in rows if row["stage"] == rows[-1]["stage"] and row.get("validation_loss")]
    return int(min(validated, key=lambda row: float(row["validation_loss"]))["epoch"])


def add_publish(commands: Any) -> None:
    """Add the command ``publish``."""
    parser = commands.add_parser(
        "publish",
        help="write weights and card into models/",
        description="Write the best weights of a run, with a card, as a model that fusion_ros can load.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        options.replace,
    )
    folder = publish(RunFolder(options.run), publication, options.models)
    logging.getLogger(__name__).info("published %s", folder)
