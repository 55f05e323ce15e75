"""``fusion-ros metrics``: every metric with its variants, and what papers' tables are made of."""

from __future__ import annotations

import argparse
import textwrap

from ..errors import SettingsError, nearest_name
from ..metrics import METRICS, PAPERS, MetricSpec
from .tables import table

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = """\
List the metrics that 'fusion-ros evaluate --metrics' takes. Each name is a family of definitions that published
tables mix; a column is always one of them. The first variant is the default."""

EXAMPLES = """\
fusion-ros metrics
fusion-ros metrics SD
fusion-ros metrics --papers"""

_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="?", help="show this metric with its sources")
    parser.add_argument("--papers", action="store_true", help="show which variants the papers' tables hold")


def main(args: argparse.Namespace) -> int:
    """Print."""
    if args.papers:
        print(table(("--metrics", "columns"), [(f"paper={name}", ", ".join(PAPERS[name])) for name in PAPERS]))
    elif args.name is None:
        print(table(("metric", "better", "variants, default first", "what"), [_row(m) for m in METRICS.values()]))
    elif args.name in METRICS:
        print(_details(METRICS[args.name]))
    else:
        raise SettingsError(f"there is no metric {args.name!r}; {nearest_name(args.name, METRICS)}")
    return 0


def _row(metric: MetricSpec) -> tuple[str, str, str, str]:
    variants = ", ".join(variant.name for variant in metric.variants)
    return metric.name, _direction(metric), variants, metric.title


def _direction(metric: MetricSpec) -> str:
    return "higher" if metric.higher_is_better else "lower"


def _details(metric: MetricSpec) -> str:
    lines = [f"{metric.name}, {metric.title}: {_direction(metric)} is better", f"source: {metric.source}"]
    for variant in metric.variants:
        low, high = variant.range
        needs = f"; needs the Python package {variant.requires}" if variant.requires else ""
        lines += ["", f"{metric.name}:{variant.name}  ({low:g} to {high:g}{needs})"]
        lines += textwrap.wrap(variant.help, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)
