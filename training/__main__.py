"""``python -m training``: train a fusion network, look at data sets, publish weights."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from fusion_ros.errors import FusionError, SettingsError

from . import distributed
from .data import check, held_out
from .data.fingerprints import default_cache
from .data.pairs import Split, read_names
from .data.sets import open_sets
from .data.splits import NameLists, split_found
from .loop import train
from .options import add_command, add_settings, given_settings
from .plot import add_plot
from .publish import add_publish
from .recipes import RECIPES
from .run_folder import RunFolder

EXAMPLES = """\
examples:
  # what data sets there are, and whether one is complete and readable
  python -m training data list
  python -m training data check kaist /data/kaist --out kaist.png

  # the paper's recipe on two data sets; a run for two CPU cores and 20 minutes; two folders of one's own
  python -m training lrrnet --data kaist=/data/kaist,limit=20000 --device cuda
  python -m training lrrnet --data roadscene=/data/RoadScene --small
  python -m training didfuse --data folders=my/ir,my/vis --run runs/mine --epochs 60

  # on two GPUs
  torchrun --nproc-per-node 2 -m -- training rfvif --data kaist=/data/kaist --device cuda

  # go on after an interruption; look at the curves; publish
  python -m training lrrnet --resume runs/lrrnet
  python -m training plot runs/lrrnet --out curves.png
  python -m training publish runs/lrrnet --name my_lrrnet --licence Apache-2.0 --trained-on "KAIST, set00 to set05"
"""
LISTS = ("train", "validation", "test")
SOURCES = ("data", *LISTS)


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
    for name, recipe in RECIPES.items():
        _add_recipe(commands, name, recipe.summary)
    example = "example:\n  python -m training data list\n"
    look = add_command(commands, "data", help="look at data sets", example=example)
    data = look.add_subparsers(required=True, metavar="command")
    check.add_commands(data)
    held_out.add_commands(data)
    add_publish(commands)
    add_plot(commands)
    return parser


def _add_recipe(commands: Any, name: str, summary: str) -> None:
    recipe = RECIPES[name]
    example = f"example:\n  python -m training {name} --data roadscene=/data/RoadScene --small\n"
    parser = add_command(commands, name, help=f"train {summary}", example=example)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        action="append",
        metavar="SET=PATH",
        help="a data set and where it lies, with options after commas; may be repeated; see 'data list'",
    )
    data.add_argument(
        "--train", type=Path, metavar="FILE", help="list of the pairs to use [by the set's own split]"
    )
    data.add_argument("--validation", type=Path, metavar="FILE", help="list of the pairs to validate on")
    data.add_argument("--test", type=Path, metavar="FILE", help="list of pairs that must be in neither")
    run = parser.add_argument_group("run")
    folder = run.add_mutually_exclusive_group()
    folder.add_argument(
        "--run", type=Path, default=Path("runs") / name, help="folder of the new run [%(default)s]"
    )
    folder.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run, with its own settings")
    small = ", ".join(f"{setting} {value}" for setting, value in recipe.SMALL.items())
    run.add_argument(
        "--small", action="store_true", help=f"begin from settings for two CPU cores and 20 minutes: {small}"
    )
    add_settings(parser, recipe.Settings)
    parser.set_defaults(run_command=_train, recipe=name)


def _train(options: argparse.Namespace) -> None:
    run = RunFolder(options.resume or options.run)
    if options.resume:
        request = _resumed(run, options)
    else:
        request = _requested(options)
        if distributed.is_main():
            run.check_new()  # now, not after every image has been looked at
    recipe_type = RECIPES[request["recipe"]]
    settings = recipe_type.Settings.from_mapping(request["settings"])
    split = _split(request["data"], settings.validation_share)
    names = {"train": [pair.name for pair in split.train], "validation": [pair.name for pair in split.validation]}
    if options.resume and names != request["pairs"]:
        raise SettingsError(
            f"{run.path}: the pairs are not those that the run began with; restore data sets and lists"
        )
    recipe = recipe_type(settings, split)
    if not options.resume:
        recipe.check_images()
        if distributed.is_main():
            run.start(request | {"pairs": names})  # only now: a run that cannot begin leaves no folder behind
    train(recipe, run, settings)


def _requested(options: argparse.Namespace) -> dict[str, Any]:
    if not options.data:
        raise SettingsError(
            "expected --data SET=PATH (or --resume RUN); 'python -m training data list' names sets"
        )
    data = {"data": options.data} | {name: str(path) for name in LISTS if (path := getattr(options, name))}
    recipe = RECIPES[options.recipe]
    begin = dict(recipe.SMALL) if options.small else {}
    settings = recipe.Settings.from_mapping(begin | given_settings(options))
    return {"recipe": options.recipe, "small": options.small, "data": data, "settings": settings.flat()}


def _resumed(run: RunFolder, options: argparse.Namespace) -> dict[str, Any]:
    request = run.request()
    if request["recipe"] != options.recipe:
        raise SettingsError(f"{run.path} is a run of {request['recipe']}, not of {options.recipe}")
    given = [*given_settings(options), *(name for name in (*SOURCES, "small") if getattr(options, name))]
    if given:
        raise SettingsError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
    return request


def _split(data: Mapping[str, Any], validation_share: float) -> Split:
    """Open the data sets, split them, and take out every image that results are reported on."""
    lists = {name: read_names(Path(data[name])) for name in LISTS if name in data}
    split = split_found(open_sets(data["data"]), NameLists(**lists), validation_share=validation_share)
    return held_out.check(split, default_cache())


if __name__ == "__main__":
    sys.exit(main())
