"""``fusion-ros compare``: several methods on the same pairs, as one picture; or two evaluations, in numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from tqdm import tqdm

from ..alignment import CoarseSettings
from ..classical import CLASSICAL
from ..errors import FusionError, WeightsError, shortened
from ..evaluation.comparison import compare_evaluations
from ..evaluation.results import Evaluation
from ..frame import Frame, FramePair, Sensor, Unit
from ..imaging import luma, to_uint8
from ..media import open_clip, pair_clips
from ..metrics import Column, evaluate, select_columns
from ..pipeline import FusionResult, FusionSettings, Mode, open_pipeline
from ..spec import Gives
from ..synthetic import SyntheticWorld, WorldSettings
from ..weights import find_model, model_names, verify
from .options import add_settings, settings_from
from .pictures import contact_sheet
from .sinks import refuse_existing, write_image
from .tables import table

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
Fuse the same pairs with several methods, write all of it as one picture, a row a method and a column a
pair, and print each method's metrics and time. The pairs are yours (--rgb and --thermal: images or
folders paired by name), or frames of the synthetic street by day, by night and in smoke. Each pair
stands alone: nothing is carried from one to the next.

With two results of 'fusion-ros evaluate' instead: what changed from the first to the second, metric by metric,
over the frames that both have, and whether that could be chance."""

EXAMPLES = """\
fusion-ros compare --out methods.jpg
fusion-ros compare --rgb drive/rgb --thermal drive/thermal --limit 4 --out mine.jpg
fusion-ros compare --models average,reconet,lrrnet_authors --rgb rgb.png --thermal thermal.png --out few.png
fusion-ros compare before/results.json after/results.json
fusion-ros compare before after --confidence 0.99 --out changes.md"""

_CONDITIONS = ("day", "night", "smoke")
_TIME_S = 2.0
_RATE_HZ = 25.0
_METRICS = "EN,SD,CC,SCD,SSIM,VIF,Qabf"
_OF_PICTURES = ("rgb", "thermal", "models", "limit", "width", "metrics")
_LIMIT, _WIDTH = 6, 320


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "results", nargs="*", metavar="RESULTS", help="two evaluations: results.json, or the folder that holds it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="picture to write (.jpg or .png); of two evaluations, a .md file"
    )
    parser.add_argument(
        "--confidence", type=float, default=0.95, metavar="P", help="of two evaluations' intervals (default: 0.95)"
    )
    parser.add_argument("--metrics", metavar="NAME,...", help=f"of the picture's table (default: {_METRICS})")
    parser.add_argument(
        "--models", metavar="NAME,...", help="models and classical methods (default: all that are installed)"
    )
    parser.add_argument(
        "--rgb", metavar="PATH", help="image or folder of the RGB camera (default: synthetic frames)"
    )
    parser.add_argument("--thermal", metavar="PATH", help="the same of the thermal camera")
    parser.add_argument("--limit", type=int, metavar="N", help=f"pairs at most, evenly spread (default: {_LIMIT})")
    parser.add_argument("--width", type=int, metavar="PX", help=f"width of one picture (default: {_WIDTH})")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic street (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    add_settings(parser, FusionSettings)


def main(args: argparse.Namespace) -> int:
    """Fuse, write, report; or compare two evaluations."""
    if args.results:
        return _compare_evaluations(args)
    if args.out is None:
        raise FusionError("--out: expected the picture to write (.jpg or .png), or two evaluations to compare")
    columns = select_columns(_METRICS if args.metrics is None else args.metrics)
    limit, width = (
        default if given is None else given for given, default in ((args.limit, _LIMIT), (args.width, _WIDTH))
    )
    for single in {"model", "network"} & set(vars(args)):
        raise FusionError(f"--{single} is for one method; name the methods to compare with --models")
    if args.out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise FusionError(f"--out: expected a picture, .jpg or .png, got {str(args.out)!r}")
    if width < 16:
        raise FusionError(f"--width: expected at least 16 px, got {width}")
    refuse_existing(args.out, args.out.exists(), args.overwrite)
    models = _models(args.models)
    settings = replace(settings_from(args, FusionSettings), network="")  # a network's own, and so for one method
    if args.rgb is None and args.thermal is None:
        settings, pairs = _synthetic(settings, args.seed)
    elif args.rgb is None or args.thermal is None:
        raise FusionError("expected --rgb and --thermal, or neither for synthetic frames; got one of them")
    else:
        pairs = _own(args.rgb, args.thermal, limit)
    pictures, rows = [], []
    for model in tqdm(models, unit="method", disable=None, leave=False):
        results = _fused(pairs, replace(settings, model=model))
        pictures.append([result.image for result in results])
        rows.append((model, *_figures(results, columns)))
    thermal, rgb = zip(*(result.sources[:2] for result in results), strict=True)  # the same for every method
    tile = round(width * rgb[0].shape[0] / rgb[0].shape[1]), width
    print(table(("method", *map(_title, columns), "fuse ms"), rows))
    labels = ["RGB", "thermal", *map(_short, models)]
    write_image(args.out, contact_sheet([rgb, thermal, *pictures], labels=labels, tile=tile))
    print(f"wrote {args.out}: {len(pairs)} pairs, {len(models)} methods")
    return 0


def _compare_evaluations(args: argparse.Namespace) -> int:
    """Print, and write where asked, what changed from one evaluation to another."""
    given = [f"--{name}" for name in _OF_PICTURES if getattr(args, name) is not None]
    if given:
        raise FusionError(f"{given[0]} belongs to pictures of methods; two evaluations hold their own frames")
    if len(args.results) != 2:
        raise FusionError(f"expected two evaluations to compare, got {len(args.results)}")
    if args.out is not None:
        if args.out.suffix.lower() != ".md":
            raise FusionError(f"--out: expected a .md file for two evaluations, got {str(args.out)!r}")
        refuse_existing(args.out, args.out.exists(), args.overwrite)
        if not args.out.parent.is_dir():
            raise FusionError(f"--out: there is no folder {args.out.parent}")
    first, second = (Evaluation.read(_results_file(Path(text))) for text in args.results)
    comparison = compare_evaluations(first, second, confidence=args.confidence)
    print(comparison.to_text())
    if args.out is not None:
        args.out.write_text(comparison.to_markdown(), encoding="utf-8")
        print(f"wrote {args.out}")
    return 0


def _results_file(path: Path) -> Path:
    return path / "results.json" if path.is_dir() else path


def _title(column: Column) -> str:
    return column.metric.name if column.variant is column.metric.default else column.key


def _models(given: str | None) -> list[str]:
    """Return the methods named, or every one that gives an image, networks last."""
    if given is not None:
        return [_checked(name) for name in map(str.strip, given.split(","))]
    from ..networks import NETWORKS

    found = []
    for name in model_names():
        try:
            network = NETWORKS.get(verify(find_model(name)).network)
        except WeightsError as error:
            print(f"left out: {error}")
            continue
        if network is not None and network.spec.gives is Gives.IMAGE:
            found.append(name)
    return [*CLASSICAL, *found]


def _checked(name: str) -> str:
    if not name:
        raise FusionError("--models: expected names separated by commas, got an empty one")
    if name not in CLASSICAL:
        find_model(name)  # says where it looked and what to do
    return name


def _short(model: str) -> str:
    return Path(model).name if "/" in model else model


def _synthetic(settings: FusionSettings, seed: int) -> tuple[FusionSettings, list[FramePair]]:
    """Return one pair for each condition, and the settings with the rig's own alignment."""
    pairs = []
    for condition in _CONDITIONS:
        world = SyntheticWorld(WorldSettings(seed=seed, condition=condition))
        rgb = Frame(world.rgb_image(_TIME_S), 0, encoding="rgb8")
        pairs.append(FramePair(rgb, Frame(world.thermal_image(_TIME_S), 0, unit=Unit.INTENSITY)))
    coarse = CoarseSettings.for_rig(world.rig)
    alignment = replace(settings.alignment, mode=coarse.mode, homography=coarse.homography)
    return replace(settings, alignment=alignment), pairs


def _own(rgb: str, thermal: str, limit: int) -> list[FramePair]:
    if limit < 1:
        raise FusionError(f"--limit: expected at least 1, got {limit}")
    count, unpaired, pairs = pair_clips(open_clip(rgb, Sensor.RGB), open_clip(thermal, Sensor.THERMAL), _RATE_HZ)
    if unpaired:
        print(f"{len(unpaired)} images have no partner and are left out: {shortened(unpaired, limit=5)}")
    wanted = set(np.linspace(0, max(count - 1, 0), min(limit, max(count, 1))).round().astype(int).tolist())
    return [pair for index, (_, pair) in enumerate(pairs) if index in wanted]


def _fused(pairs: Sequence[FramePair], settings: FusionSettings) -> list[FusionResult]:
    """Fuse each pair as if it were the first of its stream."""
    pipeline = open_pipeline(settings)
    results = []
    for pair in pairs:
        pipeline.prepare(*(pair.rgb if settings.reference == "rgb" else pair.thermal).size)
        pipeline.reset()
        results.append(pipeline(pair, with_sources=True))
    pipeline.engine.close()
    return results


def _figures(results: Sequence[FusionResult], columns: Sequence[Column]) -> Iterator[str]:
    """Yield the mean of each metric over the pairs, of the luma, and the mean time of the network."""
    scores = []
    for result in results:
        thermal, rgb, _ = result.sources
        scores.append(evaluate(thermal, to_uint8(luma(rgb)), to_uint8(luma(result.image)), columns))
    for column in columns:
        yield f"{fmean(score[column.key] for score in scores):.4f}"
    yield f"{fmean(r.stage_ms['fuse'] for r in results if r.mode is Mode.FUSED):.1f}"
