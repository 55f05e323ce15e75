"""Public data sets and one's own recordings, by name, and the texts that ask for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fusion_ros.errors import SettingsError, nearest_name
from fusion_ros.settings import SettingField

from .bag import Bag
from .base import DataSet, Found, SetOptions
from .flir_v1 import FlirV1
from .flir_v2 import FlirV2
from .folders import Folders
from .kaist import Kaist
from .llvip import Llvip
from .m3fd import M3fd
from .msrs import Msrs
from .roadscene import RoadScene
from .synthetic import Synthetic
from .tno import Tno
from .tracking import Gtot, Lasher, Rgbt234, VotRgbt, Vtuav
from .video import Video

__all__ = [
    "SETS",
    "DataSet",
    "Found",
    "OpenSet",
    "SetOptions",
    "Source",
    "named",
    "open_sets",
    "parse_source",
    "source_of",
]

SETS: dict[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        Kaist(),
        FlirV1(),
        FlirV2(),
        RoadScene(),
        Tno(),
        Msrs(),
        M3fd(),
        Llvip(),
        Gtot(),
        Rgbt234(),
        Lasher(),
        Vtuav(),
        VotRgbt(),
        Folders(),
        Video(),
        Bag(),
        Synthetic(),
    )
}
"""Every data set by name."""

_OPTION = re.compile(r"([a-z_][a-z0-9_.]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """A data set that was asked for."""

    data_set: DataSet
    root: Path
    options: SetOptions

    def find(self) -> Found:
        """Return what is there; see :meth:`DataSet.find`."""
        return self.data_set.find(self.root, self.options)


@dataclass(frozen=True)
class OpenSet:
    """A data set and what of it was found.

    Attributes:
        label: What its pairs' names begin with: the set's name, with a number where a set comes twice.
    """

    label: str
    data_set: DataSet
    found: Found


def parse_source(text: str) -> Source:
    """Read a text such as ``kaist=/data/kaist,every=20`` or ``folders=data/ir,data/vis``.

    ``SET=PATH``, then options as ``name=value`` after commas; numbers of a list are parted by blanks. Sets of two
    places take a second path after a comma.

    Raises:
        SettingsError: The set or an option is unknown, or a value does not fit.
    """
    name, _, rest = text.partition("=")
    return source_of(name, [part for part in rest.split(",") if part])


def source_of(name: str, parts: Sequence[str] = ()) -> Source:
    """Return the set ``name`` at the paths, and with the ``name=value`` options, among ``parts``.

    Raises:
        SettingsError: As for :func:`parse_source`.
    """
    data_set = named(name)
    paths: list[str] = []
    values: dict[str, Any] = {}
    known = data_set.options.describe()
    for part in parts:
        option = _OPTION.fullmatch(part)
        if option is None:
            paths.append(part)
        elif option[1] not in known:
            raise SettingsError(f"{name} has no option {option[1]!r}; {nearest_name(option[1], known)}")
        else:
            values[option[1]] = _value(known[option[1]], option[2])
    root, further = data_set.read_paths(paths)
    return Source(data_set, root, data_set.options.from_mapping(further | values))


def named(name: str) -> DataSet:
    """Return a data set by name.

    Raises:
        SettingsError: There is none of this name.
    """
    if name not in SETS:
        hint = nearest_name(name, SETS)
        raise SettingsError(f"expected a data set, as in {SETS['kaist'].example!r}, got {name!r}; {hint}")
    return SETS[name]


def open_sets(sources: Sequence[str]) -> tuple[OpenSet, ...]:
    """Find the pairs of several sets, asked for as in :func:`parse_source`.

    The pairs of a set that comes more than once are told apart by its label: ``kaist``, ``kaist2`` and so on.

    Raises:
        SettingsError: A text cannot be read, or a set's tree is not where it says.
    """
    opened = []
    seen: Counter[str] = Counter()
    for text in sources:
        source = parse_source(text)
        name = source.data_set.name
        seen[name] += 1
        found, label = source.find(), name if seen[name] == 1 else f"{name}{seen[name]}"
        if label != name:
            pairs = tuple(replace(pair, name=label + pair.name.removeprefix(name)) for pair in found.pairs)
            found = replace(found, pairs=pairs)
        opened.append(OpenSet(label, source.data_set, found))
    return tuple(opened)


def _value(field: SettingField, text: str) -> Any:
    """Read an option's value; what cannot be read stays text, which :meth:`Settings.from_mapping` then refuses."""
    return [_scalar(field.type, item) for item in text.split()] if field.is_list else _scalar(field.type, text)


def _scalar(kind: type, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text
