"""All pairs of all recordings, by this process or several; what is finished stays finished."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from ...engines import EngineSettings
from ...engines.base import available_cores
from ...engines.classical_engine import ClassicalEngine
from ...errors import EngineError, FusionError, ImageError, SettingsError, WeightsError
from ...files import write_atomically
from ...pipeline import FusionPipeline, FusionSettings
from ..conditions import Condition
from ..executors import worker_pool
from ..recording import Recording
from ..results import AS_RECORDED
from ..work import use_threads
from .aligners import Aligner, open_aligner
from .measure import PairImages, measure_pair
from .results import AlignerFacts, AlignmentEvaluation, AlignmentRecord

__all__ = ["AlignmentPlan", "opened", "pairs_of", "run"]

_FATAL = (WeightsError, EngineError, SettingsError)
_PAIRS_A_PART = 4


@dataclass(frozen=True)
class AlignmentPlan:
    """What to measure.

    Attributes:
        recordings: With unique names.
        aligners: Each with its unique name and the hash of its weights.
        conditions: Misalignments.
        settings: How a pair comes onto one grid, and what runs networks; the model of it is not used.
        seed: Of whatever is random.
    """

    recordings: tuple[Recording, ...]
    aligners: tuple[AlignerFacts, ...]
    conditions: tuple[Condition, ...]
    settings: FusionSettings
    seed: int = 0

    @property
    def count(self) -> int:
        """About how many pairs there are."""
        return sum(recording.count for recording in self.recordings)

    def parts(self) -> list[AlignmentPlan]:
        """Split into plans of a few pairs each, in order; frames of a video or a bag stay together."""
        parts = [part for recording in self.recordings for part in recording.parts(_PAIRS_A_PART)]
        return [replace(self, recordings=(part,)) for part in parts]

    def digest(self, origin: str) -> str:
        """Return a name for its result, which is another one where anything that the result depends on is."""
        engine = replace(self.settings.engine, threads=0)  # how many there are changes nothing
        content = [
            origin,
            [recording.identity for recording in self.recordings],
            [asdict(aligner) for aligner in self.aligners],
            [condition.name for condition in self.conditions],
            repr(replace(self.settings, engine=engine)),
            self.seed,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]


@dataclass(frozen=True, eq=False)
class _Found:
    """What came of a part."""

    records: tuple[AlignmentRecord, ...]
    problems: tuple[str, ...]


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
    parts = plan.parts()
    names = {id(part): part.digest(origin) for part in parts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"{folder}: cannot be made: {error.strerror}") from error
    found = {id(part): _kept(folder, names[id(part)]) for part in parts}
    todo = [part for part in parts if found[id(part)] is None]
    on_pairs(plan.count - sum(part.count for part in todo))
    for part, result in _done(todo, workers):
        found[id(part)] = result
        _keep(folder, names[id(part)], result)
        on_pairs(part.count)
    results = [found[id(part)] for part in parts]
    return AlignmentEvaluation(
        facts=dict(facts),
        aligners=plan.aligners,
        conditions=(AS_RECORDED, *(condition.name for condition in plan.conditions)),
        sequences=tuple(recording.name for recording in plan.recordings if recording.is_sequence),
        records=tuple(record for result in results for record in result.records),
        problems=tuple(problem for result in results for problem in result.problems),
    )


def pairs_of(recording: Recording, settings: FusionSettings) -> Iterator[PairImages | str]:
    """Yield the pairs of a recording on the RGB image's grid; what cannot be read or placed is a text."""
    place = FusionPipeline(ClassicalEngine("average"), settings)
    try:
        for moment in recording.open():
            if moment.pair is None:
                yield f"{recording.name}: {moment.problem}"
                continue
            if not recording.is_sequence:
                place.reset()
            try:
                sources = place(moment.pair, with_image=False, with_sources=True).sources
                if sources is None:
                    raise ImageError("expected an RGB and a thermal frame, got one of them")
                yield PairImages(recording.name, moment.name, sources.infrared, sources.rgb, sources.overlap)
            except _FATAL:
                raise
            except FusionError as error:
                yield f"{recording.name}, {moment.name}: {error}"
    except _FATAL:
        raise
    except FusionError as error:  # the recording breaks off; what was done before stays
        yield f"{recording.name}: {error}"


@cache
def opened(name: str, engine: EngineSettings) -> Aligner:
    """Return an aligner; each process opens it once."""
    return open_aligner(name, engine)


def _do(plan: AlignmentPlan) -> _Found:
    aligners = [opened(aligner.name, plan.settings.engine) for aligner in plan.aligners]
    found: list[AlignmentRecord | str] = []
    for recording in plan.recordings:
        for images in pairs_of(recording, plan.settings):
            if isinstance(images, str):
                found.append(images)
            else:
                found += measure_pair(images, aligners, plan.conditions, plan.seed)
    return _Found(
        tuple(each for each in found if isinstance(each, AlignmentRecord)),
        tuple(each for each in found if isinstance(each, str)),
    )


def _done(parts: Sequence[AlignmentPlan], workers: int) -> Iterator[tuple[AlignmentPlan, _Found]]:
    """Yield each part with its result as soon as it is done."""
    if workers == 1:
        for part in parts:
            yield part, _do(part)
        return
    # Started afresh: a forked process would inherit the locks of running threads.
    context = multiprocessing.get_context("spawn")
    with worker_pool(workers, context, _begin_worker, (max(1, available_cores() // workers),)) as pool:
        futures = {pool.submit(_do, part): part for part in parts}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _begin_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer; it ends the others
    use_threads(threads)


def _keep(folder: Path, name: str, found: _Found) -> None:
    content = {"records": [asdict(record) for record in found.records], "problems": found.problems}
    path = folder / f"{name}.json"
    try:
        write_atomically(path, json.dumps(content).encode())
    except OSError as error:
        raise FusionError(f"{path}: cannot be written: {error.strerror}") from error


def _kept(folder: Path, name: str) -> _Found | None:
    """Return what an earlier attempt found; None where it did not come that far."""
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        records = tuple(AlignmentRecord(**record) for record in content["records"])
        return _Found(records, tuple(content["problems"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
