"""Model cards: what a set of weights is, where it comes from, and what it must hash to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import WeightsError, shortened

__all__ = ["CARD", "ModelCard", "read_card"]

CARD = "card.yaml"
_OPTIONAL = ("network_settings", "notes")  # fields that a card may lack


@dataclass(frozen=True)
class ModelCard:
    """What there is to know about a set of weights.

    Attributes:
        name: The model's name, equal to its folder's.
        network: Which network to build: a name of ``fusion_ros.networks.NETWORKS``.
        network_settings: The settings that the weights were made for; one not named is the network's default.
        parameters: Trainable parameters.
        file: Name of the tensors' file, beside the card.
        sha256: What that file must hash to.
        licence: Under which terms the weights may be used, an SPDX name where there is one.
        data: What they were trained on, and the licence of that.
        recipe: How: the recipe's name and every setting.
        commit: Commit of the code that trained them.
        seed: Seed of the run; None where it is not known.
        date: Day of training, ``YYYY-MM-DD``.
        hardware: Processor, versions and time of the run.
        metrics: Test set -> what was measured -> metric -> mean over the pairs.
        notes: What a user should know besides, one statement each.
    """

    name: str
    network: str
    network_settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    parameters: int
    file: str
    sha256: str
    licence: str
    data: str
    recipe: Mapping[str, Any]
    commit: str
    seed: int | None
    date: str
    hardware: str
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the card as YAML, as it is stored."""
        content = dataclasses.asdict(self) | {"notes": list(self.notes)}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises:
        WeightsError: The card is absent, is not YAML, or lacks, has too much of, or mistypes a field.
    """
    path = folder / CARD
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{folder}: expected a model folder with {CARD}, found none") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a mapping of fields, got {type(content).__name__}")
    _check_fields(path, content)
    return ModelCard(**content | {"notes": tuple(content.get("notes") or ())})


def _check_fields(path: Path, content: dict[str, Any]) -> None:
    fields = {item.name: item for item in dataclasses.fields(ModelCard)}
    missing = [name for name in fields if name not in content and name not in _OPTIONAL]
    unknown = [str(name) for name in content if name not in fields]
    if missing or unknown:
        raise WeightsError(f"{path}: missing fields: {shortened(missing)}; unknown fields: {shortened(unknown)}")
    kinds = {"str": (str,), "int": (int,), "int | None": (int, type(None)), "tuple[str, ...]": (list,)}
    for name, value in content.items():
        allowed = kinds.get(str(fields[name].type), (dict,))  # annotations are strings; all others are mappings
        if type(value) not in allowed:
            expected = " or ".join(kind.__name__ for kind in allowed)
            raise WeightsError(f"{path}: {name}: expected {expected}, got {type(value).__name__} {value!r}")
