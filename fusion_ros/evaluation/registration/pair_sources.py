"""Where the pairs that aligners are measured on come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from ...engines.classical_engine import ClassicalEngine
from ...errors import EngineError, FusionError, ImageError, SettingsError, WeightsError
from ...pipeline import FusionPipeline, FusionSettings
from ..recording import Recording, Source
from ..results import AS_RECORDED
from .measure import PairImages

__all__ = ["PairSource", "RecordedPairs"]

_FATAL = (WeightsError, EngineError, SettingsError)


class PairSource(Source, Protocol):
    """Pairs in some order."""

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

    name = property(attrgetter("recording.name"))
    is_sequence = property(attrgetter("recording.is_sequence"))
    count = property(attrgetter("recording.count"))
    identity = property(attrgetter("recording.identity"))

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
