"""Tracking sequences on disk: public data sets and one's own, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import SettingsError, nearest_name
from .base import SequenceSet
from .own import Own
from .public import Gtot, Lasher, Rgbt234, VotRgbt, Vtuav
from .sequence import FileSequence, TrackingSequence
from .truth import numbered_truth

__all__ = [
    "SEQUENCE_SETS",
    "FileSequence",
    "SequenceSet",
    "TrackingSequence",
    "find_sequences",
    "numbered_truth",
]

SEQUENCE_SETS: Mapping[str, SequenceSet] = MappingProxyType(
    {reader.name: reader for reader in (Gtot(), Rgbt234(), Lasher(), Vtuav(), VotRgbt(), Own())}
)
"""Every set of sequences by name."""


def find_sequences(name: str, path: str | Path) -> tuple[FileSequence, ...]:
    """Return the sequences of the set ``name`` at ``path``, in order of their names; no pixel is read.

    Args:
        name: A name in :data:`SEQUENCE_SETS`.
        path: Folder of the set, or of one sequence.

    Raises:
        SettingsError: There is no such set, or as for :meth:`SequenceSet.find`.
    """
    if name not in SEQUENCE_SETS:
        raise SettingsError(f"there is no set of sequences {name!r}; {nearest_name(name, SEQUENCE_SETS)}")
    return SEQUENCE_SETS[name].find(Path(path))
