"""What can be evaluated: recordings that give moments, however they are stored.

A recording is a value that can be sent to another process; opening it gives a *reading*, which is
gone through once and knows afterwards what it came across. What is on disk is the business of the caller
(:mod:`fusion_ros.cli.recordings`); here is only what the evaluation needs of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ..frame import FramePair
from .results import SourceFacts

__all__ = ["Moment", "Reading", "Recording", "Source", "files_state", "timed"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Moment:
    """One pair of a recording, or the reason why there is none.

    Attributes:
        name: Of the frame, unique within the recording.
        pair: Both frames; None where something could not be read.
        fused: Fused images that were made elsewhere, by their label; uint8, ``(H, W)`` or ``(H, W, 3)`` RGB. A
            label that is absent has no image for this pair, which is no problem.
        decode_ms: What reading and decoding both frames took.
        problem: What could not be read, one sentence.
    """

    name: str
    pair: FramePair | None = None
    fused: Mapping[str, np.ndarray] = field(default_factory=dict)
    decode_ms: float = 0.0
    problem: str = ""


class Reading(Protocol):
    """One way through a recording."""

    def __iter__(self) -> Iterator[Moment]:
        """Yield the moments in order; what cannot be read is a moment with a problem."""

    def facts(self) -> SourceFacts:
        """Say what was come across so far, without problems."""


class Source(Protocol):
    """What an evaluation goes through; can be pickled."""

    @property
    def name(self) -> str:
        """Short and unique among the sources of an evaluation."""

    @property
    def is_sequence(self) -> bool:
        """Whether what it gives follows one another in time, so that methods may carry something on."""

    @property
    def count(self) -> int:
        """About how much it gives, for the progress bar."""

    @property
    def identity(self) -> str:
        """What it depends on, such that a changed file, say, gives another text."""


class Recording(Source, Protocol):
    """Where moments come from."""

    @property
    def facts(self) -> SourceFacts:
        """What is known without reading it."""

    def parts(self, size: int) -> list[Recording]:
        """Split into recordings of about ``size`` moments where they are independent, else return itself alone."""

    def open(self) -> Reading:
        """Begin to read.

        Raises:
            FusionError: It cannot be read at all.
        """


def files_state(files: Iterable[Path]) -> str:
    """Return a text that is another one once a file was changed, for :attr:`Recording.identity`."""
    states = []
    for file in files:
        try:
            found = file.stat()
            states.append(f"{file} {found.st_size} {found.st_mtime_ns}")
        except OSError:
            states.append(f"{file} absent")
    return "; ".join(states)


def timed(make: Callable[[], T]) -> tuple[T, float]:
    """Return what ``make`` returns, and how many milliseconds it took."""
    start = time.perf_counter()
    made = make()
    return made, (time.perf_counter() - start) * 1e3
