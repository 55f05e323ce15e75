"""``fusion-ros import-weights``: the authors' released files, as a model that the package can load."""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from ..cards import CARD, ModelCard
from ..checkpoints import Adapted, adapt
from ..errors import WeightsError, nearest_name
from ..releases import ALIASES, RELEASES, Release, how_to_get
from ..weights import file_sha256, install_model, model_folders, user_models

__all__ = ["EXAMPLES", "HELP", "add_arguments", "import_weights", "main"]

HELP = """\
Make a model of weights that a method's authors released, and that you have. Files of torch.save, also
of old versions, Lightning checkpoints and safetensors are read; nothing but tensors is loaded from them.
The model lands in your own folder, ~/.local/share/fusion_ros/models, where --model finds it by name."""

EXAMPLES = """\
fusion-ros import-weights lrrnet final_lrr_net.model
fusion-ros import-weights didfuse Encoder_weight_IJCAI.pkl Decoder_weight_IJCAI.pkl
fusion-ros import-weights reconet params.pth --name reconet_eccv --out my_models"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("method", help=f"whose weights they are: {', '.join((*ALIASES, *RELEASES))}")
    parser.add_argument("files", nargs="+", type=Path, metavar="file", help="the authors' files, in any order")
    parser.add_argument("--name", help="name of the model (default: <method>_authors)")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of models to write into (default: your own)"
    )
    parser.add_argument("--replace", action="store_true", help="replace a model of this name")


def main(args: argparse.Namespace) -> int:
    """Import, and say what came of it and how to use it."""
    network = _network(args.method)
    models = args.out or user_models()
    if models is None:
        raise WeightsError("you have no home folder to put models into; give --out")
    adapted, folder = import_weights(network, args.files, models, name=args.name, replace=args.replace)
    print(_report(network, adapted, folder))
    return 0


def import_weights(
    network: str, files: Sequence[Path], models: Path, *, name: str | None = None, replace: bool = False
) -> tuple[Adapted, Path]:
    """Write ``models/<name>/`` from the authors' files; return what was read and that folder.

    Args:
        network: Whose weights they are: a name of ``RELEASES``.
        files: The files, in any order.
        models: Folder of models to write into.
        name: The model's name; ``<network>_authors`` where None.
        replace: Whether a model of this name may be replaced.

    Raises:
        WeightsError: A file is not what it has to be, or the model may not or cannot be written. What was
            there before is as it was.
    """
    name = f"{network}_authors" if name is None else name
    _check_name(name, models)
    adapted = adapt(network, files)
    card = _card(name, network, adapted, files)
    return adapted, install_model(models, card, adapted.network.state_dict(), replace=replace)


def _network(method: str) -> str:
    from ..networks import NETWORKS

    network = ALIASES.get(method, method)
    if network in RELEASES:
        return network
    if network in NETWORKS:
        raise WeightsError(f"{method}: there is nothing to import: {how_to_get(network)}")
    raise WeightsError(
        f"no method {method!r} with weights to import; {nearest_name(method, (*ALIASES, *RELEASES))}"
    )


def _check_name(name: str, models: Path) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise WeightsError(f"--name: expected letters, digits, '_', '-' and '.', got {name!r}")
    searched = [folder.resolve() for folder in model_folders()]
    if models.resolve() not in searched:
        return
    for other in searched:
        if other != models.resolve() and (other / name / CARD).is_file():
            raise WeightsError(
                f"a model {name!r} is installed in {other} already, and one of the two would hide the other; "
                "choose another --name"
            )


def _card(name: str, network: str, adapted: Adapted, files: Sequence[Path]) -> ModelCard:
    from ..networks import count_parameters

    release = RELEASES[network]
    authors = _is_authors(release, adapted)
    return ModelCard(
        name=name,
        network=network,
        network_settings=dict(adapted.settings),
        parameters=count_parameters(adapted.network),
        file="",
        sha256="",
        licence=release.licence if authors else "not known",
        data=f"as published by the authors ({release.origin})" if authors else "not known",
        recipe={
            "name": "as published by the authors" if authors else "not known",
            "repository": f"https://github.com/{release.repository}",
            "imported_from": [{"file": path.name, "sha256": file_sha256(path)} for path in files],
        },
        commit=release.commit if authors else "not known",
        seed=None,
        date=datetime.date.today().isoformat(),
        hardware="not known",
        metrics={},
        notes=tuple(_notes(release, adapted)),
    )


def _is_authors(release: Release, adapted: Adapted) -> bool:
    """Return whether the values are the authors', as far as can be told."""
    return release.has_weights and adapted.is_release is not False


def _notes(release: Release, adapted: Adapted) -> list[str]:
    notes = ["Imported, not trained here; the date is the day of the import."]
    if adapted.is_release:
        notes.append(f"Value by value the tensors that were released ({release.origin}).")
    elif _is_authors(release, adapted):
        notes.append(f"Could not be compared with what was released ({release.origin}): that was never at hand.")
    else:
        notes.append(
            f"Fits the network of {release.repository}, but these are no values released there: who trained them "
            "sets their terms."
        )
    if _is_authors(release, adapted):
        notes.append(release.notice or "The authors state no licence: these weights are not ours to distribute.")
        notes += [release.about] if release.about else []
    notes.append(f"The network's code is held against {release.parity}.")
    return notes


def _report(network: str, adapted: Adapted, folder: Path) -> str:
    from ..networks import NETWORKS, count_parameters
    from ..spec import Gives

    release, spec = RELEASES[network], NETWORKS[network].spec
    is_searched = folder.parent.resolve() in [searched.resolve() for searched in model_folders()]
    model = folder.name if is_searched else str(folder.resolve())
    use = f"fusion-ros fuse --rgb rgb.png --thermal thermal.png --out fused.png --model {model}"
    if spec.gives is not Gives.IMAGE:
        use = f"fusion_ros.weights.load_network({model!r}) in Python; it gives a {spec.gives.value}, not an image"
    licence = release.licence if _is_authors(release, adapted) else "not known"
    settings = ", ".join(f"{name} {value}" for name, value in adapted.settings.items())
    lines = [
        f"{folder.name}: {spec.title}, {count_parameters(adapted.network):,} parameters"
        f"{settings and f' ({settings})'}, in {folder}",
        f"licence: {licence}",
        *(f"note: {note}" for note in _notes(release, adapted)),
        f"use it: {use}",
    ]
    return "\n".join(lines)
