"""``python -m training``: train a network on paired folders, and publish the weights."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from fusion_ros.errors import FusionError, SettingsError

from .data.pairs import Split, list_pairs, read_names, split_pairs
from .loop import train
from .options import add_settings, given_settings
from .publish import Publication, publish
from .recipes import RECIPES
from .run_folder import RunFolder

EXAMPLES = """\
examples:
  # train on two folders whose images are paired by file name
  python -m training reconet_fuser --infrared data/ir --visible data/vis

  # with lists, one file name a line; nothing of the test list may be trained on
  python -m training reconet_fuser --infrared data/ir --visible data/vis \\
      --train data/train.txt --validation data/val.txt --test data/test.txt --run runs/mine --epochs 100

  # go on after an interruption
  python -m training reconet_fuser --resume runs/mine

  # write weights and card into models/
  python -m training publish runs/mine --name my_fuser --licence Apache-2.0 --data "my own 400 pairs"
"""
DATA_OPTIONS = ("infrared", "visible", "train", "validation", "test")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the process's exit status (0 done, 1 failed)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with logging_redirect_tqdm():
            options.run_command(options)
    except FusionError as error:
        logging.getLogger(__name__).error("error: %s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m training",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, spec in RECIPES.items():
        _add_recipe(
            commands.add_parser(name, help=f"train {spec.summary}", description=f"Train {spec.summary}."), name
        )
    _add_publish(commands.add_parser("publish", help="write weights and card into models/"))
    return parser


def _add_recipe(parser: argparse.ArgumentParser, name: str) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--infrared", type=Path, help="folder of infrared images")
    data.add_argument("--visible", type=Path, help="folder of visible images; pairs have equal file stems")
    data.add_argument(
        "--train", type=Path, help="list of the pairs to use, validation included [all but the test list]"
    )
    data.add_argument("--validation", type=Path, help="list of pairs to validate on, taken out of training")
    data.add_argument("--test", type=Path, help="list of pairs that must be in neither of the two")
    run = parser.add_argument_group("run").add_mutually_exclusive_group()
    run.add_argument("--run", type=Path, default=Path("runs") / name, help="folder of the new run [%(default)s]")
    run.add_argument("--resume", type=Path, help="folder of the run to go on with, with its own settings")
    add_settings(parser, RECIPES[name].settings)
    parser.set_defaults(run_command=_train, recipe=name)


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write the best weights of a run, with a card, as a model that fusion_ros can load."
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--licence", required=True, help="terms of the weights, for example Apache-2.0")
    parser.add_argument("--data", required=True, help="what it was trained on, and the licence of that")
    parser.add_argument("--test-name", default="test list", help="what the run's test list is [%(default)s]")
    parser.add_argument("--note", action="append", default=[], help="a statement for the card; may be repeated")
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="LABEL=FILE",
        help="measure the authors' weights (safetensors, their names) on the same pairs; may be repeated",
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models [%(default)s]")
    parser.add_argument("--replace", action="store_true", help="replace a model of this name")
    parser.set_defaults(run_command=_publish)


def _publish(options: argparse.Namespace) -> None:
    compare = {}
    for item in options.compare:
        label, separator, path = item.partition("=")
        if not separator:
            raise SettingsError(f"--compare: expected LABEL=FILE, got {item!r}")
        compare[label] = Path(path)
    publication = Publication(
        options.name, options.licence, options.data, options.test_name, options.note, compare, options.replace
    )
    folder = publish(RunFolder(options.run), publication, options.models)
    logging.getLogger(__name__).info("published %s", folder)


def _train(options: argparse.Namespace) -> None:
    run = RunFolder(options.resume or options.run)
    request = _resumed(run, options) if options.resume else _requested(options)
    split = _split(request)
    names = {"train": [pair.name for pair in split.train], "validation": [pair.name for pair in split.validation]}
    if options.resume and names != request["pairs"]:
        raise SettingsError(
            f"{run.path}: the pairs are not those that the run began with; restore folders and lists"
        )
    spec = RECIPES[options.recipe]
    recipe = spec.build(spec.settings.from_mapping(request["settings"]), split)
    if not options.resume:
        run.start(request | {"pairs": names})  # only now: a run that cannot begin leaves no folder behind
    history = train(recipe, run)
    logging.getLogger(__name__).info("%d epochs done; best weights: %s", len(history), run.best)


def _requested(options: argparse.Namespace) -> dict[str, Any]:
    if options.infrared is None or options.visible is None:
        raise SettingsError("expected --infrared FOLDER and --visible FOLDER (or --resume RUN)")
    data = {name: str(value) for name in DATA_OPTIONS if (value := getattr(options, name)) is not None}
    settings = RECIPES[options.recipe].settings.from_mapping(given_settings(options))
    return {"recipe": options.recipe, "data": data, "settings": settings.flat()}


def _resumed(run: RunFolder, options: argparse.Namespace) -> dict[str, Any]:
    request = run.request()
    if request["recipe"] != options.recipe:
        raise SettingsError(f"{run.path} is a run of {request['recipe']}, not of {options.recipe}")
    given = [*given_settings(options), *(name for name in DATA_OPTIONS if getattr(options, name) is not None)]
    if given:
        raise SettingsError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
    return request


def _split(request: dict[str, Any]) -> Split:
    data = {name: Path(path) for name, path in request["data"].items()}
    names = {part: read_names(data[part]) if part in data else None for part in ("train", "validation", "test")}
    test = names["test"] or ()
    if names["train"] is None:
        pairs = [pair for pair in list_pairs(data["infrared"], data["visible"]) if pair.name not in test]
    else:
        pairs = list_pairs(data["infrared"], data["visible"], [*names["train"], *(names["validation"] or ())])
    return split_pairs(
        pairs,
        validation=names["validation"],
        test=test,
        validation_share=request["settings"]["validation_share"],
    )


if __name__ == "__main__":
    sys.exit(main())
