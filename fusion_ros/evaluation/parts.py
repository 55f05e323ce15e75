"""Parts of an evaluation, each with its result in a file of its own: what is finished stays finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import FusionError
from ..files import write_atomically
from ..pipeline import FusionSettings

__all__ = ["Part", "part_digest", "results_of", "settings_identity"]


class Part(Protocol):
    """What is done as a whole, or not at all."""

    @property
    def count(self) -> int:
        """How many steps it has, for the progress bar."""

    def digest(self, origin: str) -> str:
        """Return a name for its result, which is another one where anything that the result depends on is."""


P = TypeVar("P", bound=Part)
R = TypeVar("R")


def results_of(
    parts: Sequence[P],
    folder: Path,
    origin: str,
    *,
    done: Callable[[Mapping[int, P]], Iterable[tuple[int, R]]],
    written: Callable[[R], str],
    read: Callable[[str], R],
    on_steps: Callable[[int], None],
) -> list[R]:
    """Return the results of all parts, in order; those that are finished in ``folder`` already are not done again.

    Args:
        parts: What to do.
        folder: Made if it is not there; where finished parts are kept until the caller removes it.
        origin: What results depend on beside the parts, such as commit and versions.
        done: Does parts, given by their places, and yields each place with its result as soon as there is one.
        written: Returns a result as JSON.
        read: Returns the result that was written so. May raise ValueError, KeyError or TypeError: the part then
            counts as not done.
        on_steps: Told how many steps were done in an earlier attempt; the others are for ``done`` to tell.

    Raises:
        FusionError: The folder cannot be written; and whatever ``done`` raises.
    """
    files = [folder / f"{part.digest(origin)}.json" for part in parts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"{folder}: cannot be made: {error.strerror}") from error
    found = [_kept(file, read) for file in files]
    on_steps(sum(part.count for part, result in zip(parts, found, strict=True) if result is not None))
    todo = {place: parts[place] for place, result in enumerate(found) if result is None}
    for place, result in done(todo):
        found[place] = result
        _keep(files[place], written(result))
    return found


def _keep(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise FusionError(f"{path}: cannot be written: {error.strerror}") from error


def _kept(path: Path, read: Callable[[str], R]) -> R | None:
    """Return what an earlier attempt found; None where it did not come that far."""
    try:
        return read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def part_digest(content: Sequence[object]) -> str:
    """Return a short name that is another one where the content is, of which JSON can hold everything."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]


def settings_identity(settings: FusionSettings) -> str:
    """Return settings as a text that is another one where results are."""
    engine = replace(settings.engine, threads=0)  # how many there are changes nothing
    return repr(replace(settings, engine=engine))
