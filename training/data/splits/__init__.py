"""Which pairs are for training, validation and test: rules in files beside this one, and lists of one's own.

``<set>.txt`` holds a rule a line, ``<part> <pattern>``. A pair whose stem is written out belongs to that part,
else to that of the first pattern that fits it (``*`` stands for anything, ``/`` too), else to training. Lines that
begin with ``#`` say where the rules come from. A set without a file is all for training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_ros.errors import SettingsError, shortened

from ..pairs import Pair, Split

if TYPE_CHECKING:
    from ..sets import OpenSet

__all__ = ["PARTS", "NameLists", "part_of", "split_found"]

PARTS = ("train", "validation", "test")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class NameLists:
    """Names of pairs as a person lists them: whole (``kaist/set00/V000/I00000``) or without the set's name.

    Attributes:
        train: The pairs to train on, beside those of ``validation``; None takes the set's own rule.
        validation: The pairs to validate on; None takes the set's own rule.
        test: Pairs that are neither trained nor validated on.
    """

    train: Sequence[str] | None = None
    validation: Sequence[str] | None = None
    test: Sequence[str] = ()


def part_of(name: str, stem: str) -> str:
    """Return the part, one of :data:`PARTS`, that a pair of the set ``name`` belongs to by the set's own rules."""
    exact, patterns = _rules(name)
    if stem in exact:
        return exact[stem]
    return next((part for part, pattern in patterns if pattern.match(stem)), "train")


def split_found(
    opened: Sequence[OpenSet], lists: NameLists | None = None, *, validation_share: float = 0.1
) -> Split:
    """Split what was found into training and validation; what is for test is in neither.

    A list of one's own replaces the sets' rules for that part; a test list comes on top of them. Where neither a
    list nor a rule names pairs to validate on, it is the last ``validation_share`` of each set's names: neighbours
    in a video are alike, so pairs drawn at random would be half known.

    Args:
        opened: From :func:`training.data.sets.open_sets`.
        lists: Names of one's own.
        validation_share: Share for validation of a set that no list and no rule splits.

    Raises:
        SettingsError: A list names pairs that are not there, lists overlap, or nothing is left to train on.
    """
    lists = lists or NameLists()
    names = {pair.name for item in opened for pair in item.found.pairs}
    listed = {part: _matched(part, getattr(lists, part), names) for part in PARTS}
    _check_apart(listed)
    train: list[Pair] = []
    validation: list[Pair] = []
    for item in opened:
        parts = _by_rule(item)
        test = {pair.name for pair in parts["test"]} | listed["test"]
        if lists.train is not None:
            parts["train"] = [pair for pair in item.found.pairs if pair.name in listed["train"]]
            test -= listed["train"]
        if lists.validation is not None:
            parts["validation"] = [pair for pair in item.found.pairs if pair.name in listed["validation"]]
            test -= listed["validation"]
        elif not parts["validation"]:
            parts["validation"] = _last(parts["train"], validation_share)
        looked_at = {pair.name for pair in parts["validation"]}
        validation += [pair for pair in parts["validation"] if pair.name not in test]
        train += [pair for pair in parts["train"] if pair.name not in test | looked_at]
    if not train:
        raise SettingsError(
            f"nothing is left to train on: all {len(names)} pair(s) are held out for validation or test; "
            "give other data, or a training list of your own"
        )
    if not validation:
        raise SettingsError(f"nothing is left to validate on beside {len(train)} pair(s) to train on; list some")
    return Split(tuple(train), tuple(validation))


def _by_rule(item: OpenSet) -> dict[str, list[Pair]]:
    parts: dict[str, list[Pair]] = {part: [] for part in PARTS}
    for pair in item.found.pairs:
        parts[part_of(item.data_set.name, _stem(pair.name))].append(pair)
    return parts


def _last(pairs: Sequence[Pair], share: float) -> list[Pair]:
    if len(pairs) < 2 or share == 0:
        return []
    by_name = sorted(pairs, key=lambda pair: pair.name)
    return by_name[len(pairs) - max(1, round(share * len(pairs))) :]


def _matched(part: str, wanted: Sequence[str] | None, names: set[str]) -> set[str]:
    """Return the whole names that a list means; a test list may name more than there is."""
    if wanted is None:
        return set()
    by_stem: dict[str, set[str]] = {}
    for name in names:
        by_stem.setdefault(_stem(name), set()).add(name)
    found: set[str] = set()
    absent = []
    for name in wanted:
        meant = {name} & names or by_stem.get(name, set())
        if not meant:
            absent.append(name)
        found |= meant
    if absent and part != "test":
        raise SettingsError(
            f"the {part} list names {shortened([repr(name) for name in absent])}, which are not among the pairs"
        )
    return found


def _check_apart(listed: dict[str, set[str]]) -> None:
    for part, other in (("train", "test"), ("validation", "test")):
        both = sorted(listed[part] & listed[other])
        if both:
            raise SettingsError(
                f"{len(both)} pair(s) of the {other} list are in the {part} list too: {shortened(both)}; "
                f"take them out of the {part} list"
            )


def _stem(name: str) -> str:
    return name.partition("/")[2] or name


@cache
def _rules(name: str) -> tuple[dict[str, str], list[tuple[str, re.Pattern[str]]]]:
    """Return the rules of a set: parts by whole stem, and patterns in their order."""
    exact: dict[str, str] = {}
    patterns = []
    path = _FOLDER / f"{name}.txt"
    for line in path.read_text().splitlines() if path.is_file() else ():
        if not line or line.startswith("#"):
            continue
        part, _, pattern = line.partition(" ")
        if part not in PARTS or not pattern:
            raise SettingsError(f"{path}: expected '<part> <pattern>', got {line!r}")
        if "*" in pattern:
            patterns.append((part, re.compile(translate(pattern))))
        else:
            exact[pattern] = part
    return exact, patterns
