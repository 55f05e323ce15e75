"""The whole evaluation: every recording under every condition with every method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..metrics import DEFAULT_COLUMNS, Column
from .conditions import Condition
from .executors import Executor, Serial
from .recording import Recording
from .results import Evaluation, FrameRecord, MethodFacts, PictureKey, SourceFacts, Thumbnails
from .store import PieceStore, StoredPictures
from .work import Method, Piece, PieceResult

__all__ = ["Plan", "run"]


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
        recordings: With unique names.
        methods: With unique names.
        conditions: The unaltered one first.
        columns: Which metrics.
        part: Independent images in one piece of work.
        thumbnail_px: Width of the small pictures; 0 makes none.
        seed: Of whatever is random.
    """

    recordings: tuple[Recording, ...]
    methods: tuple[Method, ...]
    conditions: tuple[Condition, ...] = (Condition(),)
    columns: tuple[Column, ...] = DEFAULT_COLUMNS
    part: int = 16
    thumbnail_px: int = 360
    seed: int = 0

    def pieces(self) -> list[Piece]:
        """Return all pieces of work in the order in which they are reported.

        A method's pieces follow one another within a condition, so that a process seldom changes the network.
        """
        parts = [part for recording in self.recordings for part in recording.parts(self.part)]
        return [
            Piece(part, method, condition, self.columns, self.thumbnail_px, self.seed)
            for method in self.methods
            for condition in self.conditions
            for part in parts
        ]

    @property
    def count(self) -> int:
        """About how many moments there are in all."""
        moments = sum(recording.count for recording in self.recordings)
        return moments * len(self.methods) * len(self.conditions)


def run(
    plan: Plan,
    folder: Path,
    *,
    facts: Mapping[str, str],
    methods: Sequence[MethodFacts],
    origin: str = "",
    replace_other: bool = False,
    executor: Executor | None = None,
    on_moments: Callable[[int], None] = lambda number: None,
) -> tuple[Evaluation, Mapping[PictureKey, Thumbnails]]:
    """Evaluate; pieces that are finished in ``folder`` already are not done again.

    Args:
        folder: Where finished pieces are kept until the caller has reported and removes it.
        facts: For people: command line, versions, ...
        methods: Descriptions, in the plan's order.
        origin: What results depend on beside the plan, such as commit and versions: pieces of another are not
            taken over.
        replace_other: Discard the beginnings of another evaluation in ``folder``; those of this one are kept.
        executor: Who does the work; this process by default.
        on_moments: Told how many moments were done since it was last called.

    Returns:
        The evaluation, and small pictures by source, frame, method and condition; these are read from ``folder``
        when they are asked for.

    Raises:
        FusionError: A method cannot be run at all, or the folder holds another evaluation.
    """
    pieces = plan.pieces()
    store = PieceStore(folder, pieces, origin, replace_other=replace_other)
    todo = [piece for piece in pieces if piece not in store]
    on_moments(sum(piece.recording.count for piece in set(pieces).difference(todo)))
    for piece, result in (executor or Serial()).run(todo, on_moments):
        store.add(piece, result)
    return _collect(plan, pieces, store, facts, methods)


def _collect(
    plan: Plan,
    pieces: Sequence[Piece],
    store: PieceStore,
    facts: Mapping[str, str],
    methods: Sequence[MethodFacts],
) -> tuple[Evaluation, Mapping[PictureKey, Thumbnails]]:
    frames: list[FrameRecord] = []
    pictures = StoredPictures(store)
    stages: dict[str, dict[str, list[float]]] = {method.name: {} for method in plan.methods}
    found: dict[str, SourceFacts] = {}
    for piece in pieces:
        result = store.get(piece)
        name, method = piece.recording.name, piece.method.name
        frames += result.frames
        pictures.note(piece, result)
        for stage, milliseconds in result.stage_ms.items():
            stages[method].setdefault(stage, []).extend(milliseconds)
        is_first = piece.method == plan.methods[0] and piece.condition == plan.conditions[0]
        found[name] = _merged(found.get(name), result, counts=is_first)
    evaluation = Evaluation(
        facts=dict(facts),
        columns=plan.columns,
        methods=tuple(methods),
        conditions=tuple(condition.facts for condition in plan.conditions),
        sources=tuple(found[recording.name] for recording in plan.recordings),
        frames=tuple(sorted(frames, key=_order(plan))),
        stage_ms={
            method: {stage: _figures(times) for stage, times in of.items()} for method, of in stages.items()
        },
    )
    return evaluation, pictures


def _merged(known: SourceFacts | None, result: PieceResult, *, counts: bool) -> SourceFacts:
    """Add what a piece came across; what every method comes across alike is counted once."""
    if known is None:
        return result.facts
    problems = tuple(dict.fromkeys([*known.problems, *result.facts.problems]))
    if not counts:
        return replace(known, problems=problems)
    other = result.facts
    received = Counter(known.received) + Counter(other.received)
    dropped = {
        kind: dict(Counter(known.dropped.get(kind, {})) + Counter(other.dropped.get(kind, {})))
        for kind in (*known.dropped, *other.dropped)
    }
    return replace(
        known, received=dict(received), paired=known.paired + other.paired, dropped=dropped, problems=problems
    )


def _order(plan: Plan) -> Callable[[FrameRecord], tuple[int, int, int]]:
    recordings = {recording.name: index for index, recording in enumerate(plan.recordings)}
    conditions = {condition.name: index for index, condition in enumerate(plan.conditions)}
    methods = {method.name: index for index, method in enumerate(plan.methods)}
    # Sorting is stable: frames of one piece stay in the order of time.
    return lambda frame: (recordings[frame.source], conditions[frame.condition], methods[frame.method])


def _figures(milliseconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return {"mean": float(np.mean(milliseconds)), "p50": float(p50), "p95": float(p95)}
