"""``fusion-ros models``: what is installed, whether it is intact, and how to get the rest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..cards import ModelCard, read_card
from ..errors import WeightsError
from ..releases import RELEASES, how_to_get, import_command
from ..settings import SettingField
from ..spec import Gives, InputRange, NetworkSpec, OutputRange, Takes
from ..weights import find_model, model_names, models_of, share_folders, user_models, verify
from .tables import table

__all__ = ["EXAMPLES", "HELP", "add_arguments", "main"]

HELP = (
    "List the models that are installed and the methods there are, show a model's card or what a method takes and "
    "gives, or check weights against their checksums."
)

EXAMPLES = """\
fusion-ros models list
fusion-ros models show reconet
fusion-ros models show lrrnet --network
fusion-ros models verify"""

_TAKES = {
    InputRange.UNIT: "in [0, 1]",
    InputRange.BYTE: "in [0, 255]",
    InputRange.STRETCHED: "each stretched to [0, 1] from its own minimum and maximum",
}
_GIVES = {
    Gives.IMAGE: "an image",
    Gives.FLOW: "a flow in pixels",
    Gives.FEATURES: "a feature map",
}
_BECOMES_IMAGE = {
    OutputRange.UNIT: "in [0, 1], clamped",
    OutputRange.STRETCHED: "to be stretched from its own minimum and maximum to [0, 1]",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,verify}")
    actions.add_parser("list", help="one line for every model and every method")
    show = actions.add_parser("show", help="a model's card, or what a network or method takes and gives")
    show.add_argument("name", help="name of a model, a network or a classical method, or path of a model folder")
    show.add_argument("--network", action="store_true", help="the network of this name or model, and its settings")
    check = actions.add_parser("verify", help="check names, or all models, against their checksums")
    check.add_argument("names", nargs="*", metavar="name")


def main(args: argparse.Namespace) -> int:
    """Do one action; verifying fails when any model is damaged."""
    return {"list": _list, "show": _show, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from ..classical import CLASSICAL
    from ..networks import NETWORKS

    cards, unreadable = _cards()
    rows = [
        (folder.name, card.network, f"{card.parameters:,}", card.licence, _where(folder))
        for folder, card in cards.items()
    ]
    head = ("model", "network", "parameters", "licence", "where")
    print(table(head, rows) if rows else "no models are installed")
    having = {card.network for card in cards.values()}
    lacking = [(name, network.spec.title, _way(name)) for name, network in NETWORKS.items() if name not in having]
    if lacking:
        print("\nnetworks without weights here\n")
        print(table(("network", "title", "how to get them, or train your own"), lacking))
    print("\nclassical methods, which need no weights\n")
    print(table(("method", "title"), [(name, method.title) for name, method in CLASSICAL.items()]))
    for error in unreadable:
        print(f"fusion-ros: error: {error}", file=sys.stderr)
    return 2 if unreadable else 0


def _cards() -> tuple[dict[Path, ModelCard], list[WeightsError]]:
    """Read all cards; one that cannot be read must not hide the others."""
    cards, unreadable = {}, []
    for name in model_names():
        folder = find_model(name)
        try:
            cards[folder] = read_card(folder)
        except WeightsError as error:
            unreadable.append(error)
    return cards, unreadable


def _where(folder: Path) -> str:
    if folder.parent == user_models():
        return "yours"
    shipped = {share / "models" for share in share_folders()}
    return "shipped" if folder.parent in shipped else str(folder.parent)


def _way(network: str) -> str:
    return import_command(network) if network in RELEASES else "none are public"


def _show(args: argparse.Namespace) -> int:
    from ..classical import CLASSICAL
    from ..networks import NETWORKS

    name = args.name
    has_card = name in model_names()
    if name in NETWORKS and not has_card:
        print(_network_text(name))
    elif name in CLASSICAL and not has_card:
        method = CLASSICAL[name]
        print(_lines({**_spec_lines(method.spec), "does": method.help, "weights": "none needed"}))
    else:
        card = read_card(find_model(name))
        print(_network_text(card.network) if args.network else _card_text(card))
        if args.network and name in NETWORKS and name != card.network:
            print(f"\nanother network bears the name of this model:\n\n{_network_text(name)}")
    return 0


def _card_text(card: ModelCard) -> str:
    """Return the card as YAML, with a comment that leads on to what is not on it."""
    return f"{card.text()}\n# The network and its settings: fusion-ros models show {card.network} --network"


def _network_text(name: str) -> str:
    """Describe a network as it is built by default: what it takes and gives, and its settings."""
    from ..networks import build_network, count_parameters

    network = build_network(name)
    lines = _spec_lines(network.spec)
    lines["parameters"] = f"{count_parameters(network):,}"
    lines["weights"] = ", ".join(models_of(name)) or f"none installed; {how_to_get(name)}"
    if name in RELEASES:
        lines["held against"] = RELEASES[name].parity
        lines["authors' files"] = ", ".join(part.file for part in RELEASES[name].parts)
        lines["repository"] = f"github.com/{RELEASES[name].origin}, licence: {RELEASES[name].licence}"
    parts = [_lines(lines)]
    maps = [(item.name, str(item.channels), str(item.stride), item.help) for item in network.feature_maps()]
    if maps:
        parts.append(table(("feature map", "channels", "stride", "what it is"), maps))
    settings = [
        (
            leaf.name,
            str(leaf.default),
            ", ".join(map(str, leaf.choices or ())) or leaf.describe_bounds(),
            leaf.help,
        )
        for leaf in network.Settings.describe().values()
    ]
    if settings:
        parts.append(table(("setting", "default", "allowed", "meaning"), settings))
    return "\n\n".join(parts)


def _allowed(leaf: SettingField) -> str:
    return ", ".join(map(str, leaf.choices)) if leaf.choices else leaf.describe_bounds()


def _spec_lines(spec: NetworkSpec) -> dict[str, str]:
    takes = "feature maps in any range" if spec.takes is Takes.FEATURES else _TAKES[spec.input_range]
    gives = _GIVES[spec.gives]
    if spec.gives is Gives.IMAGE:
        gives = f"{gives} {_BECOMES_IMAGE[spec.output_range]}"
    return {
        "name": spec.name,
        "title": spec.title,
        "source": spec.source,
        "takes": f"{' and '.join(spec.inputs)}, {takes}",
        "gives": gives,
        "aligns": "by itself" if spec.aligns else "no: its inputs have to lie on one pixel grid",
    }


def _lines(facts: dict[str, str]) -> str:
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())


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
