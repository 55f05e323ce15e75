"""``fusion-ros models``: what is installed, and whether it is intact."""

from __future__ import annotations

import argparse

from ..errors import WeightsError
from ..weights import find_model, model_names, read_card, verify
from .tables import table

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = "List the models that are installed, show one's card, or check weights against their checksums."

EXAMPLES = """\
fusion-ros models list
fusion-ros models show reconet
fusion-ros models verify"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,verify}")
    actions.add_parser("list", help="one line for every model")
    show = actions.add_parser("show", help="one model's card: data, recipe, metrics, licence")
    show.add_argument("name", help="name of a model, or path of its folder")
    check = actions.add_parser("verify", help="check names, or all models, against their checksums")
    check.add_argument("names", nargs="*", metavar="name")


def main(args: argparse.Namespace) -> int:
    """Do one action; verifying fails when any model is damaged."""
    return {"list": _list, "show": _show, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    cards = [read_card(find_model(name)) for name in model_names()]
    rows = [(card.name, card.network, f"{card.parameters:,}", card.licence) for card in cards]
    print(table(("model", "network", "parameters", "licence"), rows) if rows else "no models are installed")
    return 0


def _show(args: argparse.Namespace) -> int:
    print(read_card(find_model(args.name)).text())
    return 0


def _verify(args: argparse.Namespace) -> int:
    damaged = 0
    for name in args.names or model_names():
        try:
            card = verify(find_model(name))
            print(f"{name}: intact, sha256 {card.sha256[:16]}...")
        except WeightsError as error:
            damaged += 1
            print(f"{name}: {error}")
    return 2 if damaged else 0
