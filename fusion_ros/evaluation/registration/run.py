"""All pairs of all recordings, by this process or several; what is finished stays finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from ...engines import EngineSettings
from ...metrics import Column
from ...pipeline import FusionSettings
from ..conditions import Condition
from ..executors import in_processes
from ..parts import part_digest, results_of, settings_identity
from .aligners import Aligner, open_aligner
from .measure import measure_pair
from .pair_sources import PairSource
from .parallax import ParallaxRecord
from .quality import QualityRecord
from .results import AlignerFacts, AlignmentEvaluation, AlignmentRecord

__all__ = ["AlignmentPlan", "opened", "run"]

_PAIRS_A_PART = 4


@dataclass(frozen=True)
class AlignmentPlan:
    """What to measure.

    Attributes:
        sources: Of the pairs, with unique names.
        aligners: Each with its unique name and the hash of its weights.
        conditions: Misalignments that the pairs are given; none where the truth about them as they are is known.
        settings: How a pair comes onto one grid, and what runs networks; the model of it is not used.
        seed: Of whatever is random.
        columns: Metrics of the fused image of each deformed pair, if any.
    """

    sources: tuple[PairSource, ...]
    aligners: tuple[AlignerFacts, ...]
    conditions: tuple[Condition, ...]
    settings: FusionSettings
    seed: int = 0
    columns: tuple[Column, ...] = ()

    @property
    def count(self) -> int:
        """About how many pairs there are."""
        return sum(source.count for source in self.sources)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions of the records: what the pairs show as they are, then what they are given."""
        shown = [name for source in self.sources for name in source.conditions]
        return (*dict.fromkeys(shown), *(condition.name for condition in self.conditions))

    def parts(self) -> list[AlignmentPlan]:
        """Split into plans of a few pairs each, in order; frames of a video or a bag stay together."""
        parts = [part for source in self.sources for part in source.parts(_PAIRS_A_PART)]
        return [replace(self, sources=(part,)) for part in parts]

    def digest(self, origin: str) -> str:
        """Return a name for its result, which is another one where anything that the result depends on is."""
        content = [
            origin,
            [source.identity for source in self.sources],
            [asdict(aligner) for aligner in self.aligners],
            [condition.name for condition in self.conditions],
            settings_identity(self.settings),
            self.seed,
            [column.key for column in self.columns],
        ]
        return part_digest(content)


@dataclass(frozen=True, eq=False)
class _Found:
    """What came of a part."""

    records: tuple[AlignmentRecord, ...]
    problems: tuple[str, ...]
    parallax: tuple[ParallaxRecord, ...] = ()
    quality: tuple[QualityRecord, ...] = ()


def run(
    plan: AlignmentPlan,
    folder: Path,
    *,
    facts: Mapping[str, str],
    origin: str = "",
    workers: int = 1,
    on_pairs: Callable[[int], None] = lambda number: None,
) -> AlignmentEvaluation:
    """Measure; parts that are finished in ``folder`` already are not done again.

    Args:
        folder: Where finished parts are kept until the caller has reported and removes it.
        facts: For people: command line, versions, ...
        origin: What results depend on beside the plan, such as commit and versions.
        workers: Processes.
        on_pairs: Told how many pairs were done since it was last called.

    Raises:
        FusionError: An aligner cannot be run at all, a worker died, or the folder cannot be written.
    """
    results = results_of(
        plan.parts(),
        folder,
        origin,
        done=lambda parts: _done(parts, workers, on_pairs),
        written=_written,
        read=_read,
        on_steps=on_pairs,
    )
    return AlignmentEvaluation(
        facts=dict(facts),
        aligners=plan.aligners,
        conditions=plan.condition_names,
        sequences=tuple(source.name for source in plan.sources if source.is_sequence),
        records=tuple(record for result in results for record in result.records),
        problems=tuple(problem for result in results for problem in result.problems),
        parallax=tuple(record for result in results for record in result.parallax),
        quality=tuple(record for result in results for record in result.quality),
        metrics=tuple(column.key for column in plan.columns),
    )


@cache
def opened(name: str, engine: EngineSettings) -> Aligner:
    """Return an aligner; each process opens it once."""
    return open_aligner(name, engine)


def _do(plan: AlignmentPlan) -> _Found:
    aligners = [opened(aligner.name, plan.settings.engine) for aligner in plan.aligners]
    found: list[AlignmentRecord | ParallaxRecord | QualityRecord | str] = []
    for source in plan.sources:
        for images in source.pairs(plan.settings):
            if isinstance(images, str):
                found.append(images)
            else:
                found += measure_pair(images, aligners, plan.conditions, plan.seed, plan.columns)
    return _Found(
        tuple(each for each in found if isinstance(each, AlignmentRecord)),
        tuple(each for each in found if isinstance(each, str)),
        tuple(each for each in found if isinstance(each, ParallaxRecord)),
        tuple(each for each in found if isinstance(each, QualityRecord)),
    )


def _done(
    parts: Mapping[int, AlignmentPlan], workers: int, on_pairs: Callable[[int], None]
) -> Iterator[tuple[int, _Found]]:
    """Yield each part's place with its result as soon as it is done."""
    if workers == 1:
        for place, part in parts.items():
            yield place, _do(part)
            on_pairs(part.count)
        return
    for place, found in in_processes(workers, _do, {place: (part,) for place, part in parts.items()}):
        yield place, found
        on_pairs(parts[place].count)


def _written(found: _Found) -> str:
    return json.dumps(asdict(found))


def _read(text: str) -> _Found:
    content = json.loads(text)
    records = tuple(AlignmentRecord(**record) for record in content["records"])
    parallax = tuple(ParallaxRecord(**record) for record in content["parallax"])
    quality = tuple(QualityRecord(**record) for record in content["quality"])
    return _Found(records, tuple(content["problems"]), parallax, quality)
