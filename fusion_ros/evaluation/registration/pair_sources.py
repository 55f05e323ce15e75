"""Where the pairs that aligners are measured on come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ...engines.classical_engine import ClassicalEngine
from ...errors import EngineError, FusionError, ImageError, SettingsError, WeightsError
from ...pipeline import FusionPipeline, FusionSettings
from ..recording import Recording
from ..results import AS_RECORDED
from .measure import PairImages

__all__ = ["PairSource", "RecordedPairs"]

_FATAL = (WeightsError, EngineError, SettingsError)


class PairSource(Protocol):
    """Pairs in some order; can be pickled."""

    @property
    def name(self) -> str:
        """Short and unique among the sources of an evaluation."""

    @property
    def is_sequence(self) -> bool:
        """Whether its pairs follow one another in time."""

    @property
    def count(self) -> int:
        """About how many pairs it has, for the progress bar."""

    @property
    def identity(self) -> str:
        """What the pairs depend on, such that something else gives another text."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """What its pairs show as they are, before they are misaligned."""

    def parts(self, size: int) -> list[PairSource]:
        """Split into sources of about ``size`` pairs where they are independent, else return itself alone."""

    def pairs(self, settings: FusionSettings) -> Iterator[PairImages | str]:
        """Yield the pairs on the RGB image's grid; what cannot be read or placed is a text.

        Args:
            settings: Of the pipeline that brings them onto one grid.
        """


@dataclass(frozen=True)
class RecordedPairs:
    """The pairs of a recording."""

    recording: Recording

    conditions = (AS_RECORDED,)

    @property
    def name(self) -> str:
        """The recording's."""
        return self.recording.name

    @property
    def is_sequence(self) -> bool:
        """The recording's."""
        return self.recording.is_sequence

    @property
    def count(self) -> int:
        """The recording's."""
        return self.recording.count

    @property
    def identity(self) -> str:
        """The recording's."""
        return self.recording.identity

    def parts(self, size: int) -> list[PairSource]:
        """Split the recording as it can be split."""
        return [RecordedPairs(part) for part in self.recording.parts(size)]

    def pairs(self, settings: FusionSettings) -> Iterator[PairImages | str]:
        """See :class:`PairSource`."""
        place = FusionPipeline(ClassicalEngine("average"), settings)
        try:
            for moment in self.recording.open():
                if moment.pair is None:
                    yield f"{self.name}: {moment.problem}"
                    continue
                if not self.is_sequence:
                    place.reset()
                try:
                    sources = place(moment.pair, with_image=False, with_sources=True).sources
                    if sources is None:
                        raise ImageError("expected an RGB and a thermal frame, got one of them")
                    yield PairImages(self.name, moment.name, sources.infrared, sources.rgb, sources.overlap)
                except _FATAL:
                    raise
                except FusionError as error:
                    yield f"{self.name}, {moment.name}: {error}"
        except _FATAL:
            raise
        except FusionError as error:  # the recording breaks off; what was done before stays
            yield f"{self.name}: {error}"
