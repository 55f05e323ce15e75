"""What stands in the sections of the report: numbers as text with their marks, plots, and pictures.

Nothing here is HTML yet, but for the plots.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..chart_style import FAINT, INK, Look, style_of
from ..errors import shortened
from ..metrics import Column
from . import plots
from .html import data_url
from .ranking import Ranks, basis, places, ranks, verdict, worst_and_best
from .results import (
    AS_RECORDED,
    RESIDUAL,
    Evaluation,
    FrameRecord,
    MethodFacts,
    PictureKey,
    SourceFacts,
    Thumbnails,
    by_severity,
)
from .tables import arrow, dropped_in_words, figure, mean_rank, offset_in_words, sensors_in_words

__all__ = ["contents"]

_QUARTER = 0.25
_RESIDUAL_IN_WORDS = "Mean distance between where thermal pixels ended up and where they belong."


@dataclass(frozen=True)
class _Metric:
    """A column in words, or the residual."""

    key: str
    name: str
    title: str
    variant: str
    higher_is_better: bool
    definition: str
    range: str
    source: str = ""

    @property
    def arrow(self) -> str:
        return arrow(self.higher_is_better)

    @property
    def explanation(self) -> str:
        better = "More is better." if self.higher_is_better else "Less is better."
        return "\n".join([self.title, self.definition, f"Range {self.range}. {better}", self.source]).strip()


@dataclass(frozen=True)
class _Method:
    """A method's facts, and what it is drawn with."""

    facts: MethodFacts
    look: Look


@dataclass(frozen=True)
class _Cell:
    """A number, its name where one is needed, and its mark: ``best``, ``second``, ``high``, ``low`` or none."""

    text: str
    mark: str = ""
    undefined: int = 0
    name: str = ""


@dataclass(frozen=True)
class _Panel:
    """A plot of a metric."""

    metric: _Metric
    svg: str


@dataclass(frozen=True)
class _Charts:
    """Plots under one heading."""

    title: str
    note: str
    panels: Sequence[_Panel]


@dataclass(frozen=True)
class _StressTable:
    """One metric by method and condition."""

    metric: _Metric
    conditions: Sequence[str]
    rows: Sequence[Sequence[_Cell]]


@dataclass(frozen=True)
class _Shot:
    """One frame: where it is from, its pictures by name as data URLs, its figures."""

    title: str
    images: Sequence[tuple[str, str]]
    values: Sequence[_Cell]


@dataclass(frozen=True)
class _Gallery:
    """Frames of one method."""

    method: _Method
    worst: Sequence[_Shot]
    best: Sequence[_Shot]


def contents(evaluation: Evaluation, thumbnails: Mapping[PictureKey, Thumbnails]) -> dict[str, object]:
    """Return the template's variables by name.

    Args:
        evaluation: What to show.
        thumbnails: Pictures of the frames of :func:`~fusion_ros.evaluation.ranking.worst_and_best`.

    Raises:
        FusionError: matplotlib is not installed.
    """
    metrics = [_metric(column) for column in evaluation.columns]
    methods = [_Method(facts, style_of(index)) for index, facts in enumerate(evaluation.methods)]
    found = {condition.name: ranks(evaluation, condition.name) for condition in evaluation.conditions}
    recorded = found.get(AS_RECORDED) or ranks(evaluation)
    names = [source.name for source in evaluation.sources]
    galleries = [_gallery(evaluation, method, thumbnails) for method in methods]
    return {
        "title": shortened(names),
        "verdict": _with_names(verdict(evaluation)),
        "tiles": _tiles(evaluation),
        "methods": methods,
        "metrics": metrics,
        "summary": [(metric, _cells(evaluation, metric.key, AS_RECORDED, recorded)) for metric in metrics],
        "basis": _with_names(basis(recorded)),
        "totals": _totals(evaluation, recorded),
        "ranking": _themed(plots.ranking(evaluation)) if len(recorded.ranked) > 1 else "",
        "sources": [_of_source(evaluation, source, metrics) for source in evaluation.sources if metrics],
        "stress": [_of_kind(evaluation, kind, metrics) for kind in plots.stress_kinds(evaluation)],
        "stress_tables": _stress_tables(evaluation, metrics, found),
        "stress_bases": _stress_bases(evaluation, found),
        "galleries": [gallery for gallery in galleries if gallery.worst or gallery.best],
        "pairing": [_pairing(source) for source in evaluation.sources],
        "problems": evaluation.problems,
        "times": _themed(plots.times(evaluation)) if evaluation.stage_ms else "",
        "stages": list(plots.stage_colours(evaluation).items()),
        "times_in_all": _times_in_all(evaluation),
        "facts": list(evaluation.facts.items()),
    }


def _with_names(text: str) -> list[str]:
    """Return a text in parts, of which every second one is a method's name."""
    return re.split("`([^`]*)`", text) if text else []


def _tiles(evaluation: Evaluation) -> list[tuple[str, int]]:
    return [
        ("methods", len(evaluation.methods)),
        ("pairs", len({(frame.source, frame.frame) for frame in evaluation.frames})),
        ("sources", len(evaluation.sources)),
        ("metrics", len(evaluation.columns)),
        ("conditions", len(evaluation.conditions)),
        ("problems", len(evaluation.problems)),
    ]


def _metric(column: Column) -> _Metric:
    spec, variant = column.metric, column.variant
    ends = " to ".join("unbounded" if math.isinf(end) else f"{end:g}" for end in variant.range)
    return _Metric(
        column.key, spec.name, spec.title, variant.name, spec.higher_is_better, variant.help, ends, spec.source
    )


def _residual() -> _Metric:
    return _Metric(
        RESIDUAL, "residual", "misalignment that is left", "px", False, _RESIDUAL_IN_WORDS, "0 to unbounded"
    )


def _cells(evaluation: Evaluation, key: str, condition: str, found: Ranks | None) -> list[_Cell]:
    """Return a metric's cells, one a method; without marks where there are no ranks."""
    names = [method.name for method in evaluation.methods]
    means = [evaluation.mean(key, name, condition) for name in names]
    cells = []
    for name, mean in zip(names, means, strict=True):
        mark = ""
        if found is not None:
            mark = "best" if name in found.best[key] else "second" if name in found.second[key] else ""
        undefined = 0 if key == RESIDUAL else evaluation.undefined(key, name, condition)
        cells.append(_Cell(figure(mean, means), mark, undefined))
    return cells


def _totals(evaluation: Evaluation, found: Ranks) -> list[tuple[str, list[str]]]:
    names = [method.name for method in evaluation.methods]
    counts = [sum(1 for _ in evaluation.select(name)) for name in names]
    rows = [("frames", [str(count) for count in counts])]
    if len(names) > 1 and evaluation.columns:
        rows.insert(0, ("best in", [str(len(found.led_by(name))) for name in names]))
        rows.insert(1, ("mean rank", [mean_rank(found, name) for name in names]))
    return rows


def _of_source(evaluation: Evaluation, source: SourceFacts, metrics: Sequence[_Metric]) -> _Charts:
    draw = plots.over_frames if source.is_sequence else plots.spread
    note = f"{source.paired} {'frames in time' if source.is_sequence else 'still images'}"
    return _Charts(source.name, note, _panels(draw(evaluation, source.name), metrics))


def _of_kind(evaluation: Evaluation, kind: str, metrics: Sequence[_Metric]) -> _Charts:
    levels = [condition.name for condition in by_severity(evaluation.conditions) if condition.kind == kind]
    return _Charts(kind, ", ".join(levels), _panels(plots.stress(evaluation, kind), [_residual(), *metrics]))


def _panels(drawn: Mapping[str, str], metrics: Iterable[_Metric]) -> list[_Panel]:
    return [_Panel(metric, _themed(drawn[metric.key])) for metric in metrics if metric.key in drawn]


def _themed(svg: str) -> str:
    """Give a plot the page's colours for texts and lines, which differ by day and night."""
    return svg.replace(INK, "var(--ink)").replace(FAINT, "var(--line)")


def _stress_tables(
    evaluation: Evaluation, metrics: Sequence[_Metric], found: Mapping[str, Ranks]
) -> list[_StressTable]:
    if len(evaluation.conditions) < 2:
        return []
    conditions = by_severity(evaluation.conditions)
    misaligned = [condition.name for condition in conditions if condition.is_misalignment]
    tables = (
        [_StressTable(_residual(), misaligned, _rows(evaluation, RESIDUAL, misaligned, {}))] if misaligned else []
    )
    names = [condition.name for condition in conditions]
    return tables + [_StressTable(m, names, _rows(evaluation, m.key, names, found)) for m in metrics]


def _stress_bases(evaluation: Evaluation, found: Mapping[str, Ranks]) -> list[tuple[str, list[str]]]:
    """Return conditions, and over which of their frames the methods are ranked where not all have the same."""
    conditions: dict[str, list[str]] = {}
    for condition in by_severity(evaluation.conditions):
        conditions.setdefault(basis(found[condition.name]), []).append(condition.name)
    return [(", ".join(names), _with_names(text)) for text, names in conditions.items() if text]


def _rows(
    evaluation: Evaluation, key: str, conditions: Sequence[str], found: Mapping[str, Ranks]
) -> list[tuple[_Cell, ...]]:
    columns = [_cells(evaluation, key, condition, found.get(condition)) for condition in conditions]
    return list(zip(*columns, strict=True))


def _gallery(evaluation: Evaluation, method: _Method, thumbnails: Mapping[PictureKey, Thumbnails]) -> _Gallery:
    frames = list(evaluation.select(method.facts.name))
    share = {
        column.key: places(
            [frame.values.get(column.key, math.nan) for frame in frames], column.metric.higher_is_better
        )
        / max(1, len(frames))
        for column in evaluation.columns
    }
    at = {id(frame): index for index, frame in enumerate(frames)}

    def shot(frame: FrameRecord) -> _Shot:
        places_here = {key: float(of[at[id(frame)]]) for key, of in share.items()}
        pictures = thumbnails.get((frame.source, frame.frame, frame.method, frame.condition))
        return _Shot(f"{frame.source} / {frame.frame}", _images(pictures), _values(evaluation, frame, places_here))

    worst, best = worst_and_best(evaluation, method.facts.name)
    return _Gallery(method, [shot(frame) for frame in worst], [shot(frame) for frame in best])


def _images(pictures: Thumbnails | None) -> list[tuple[str, str]]:
    """Return name and data URL of each picture."""
    if pictures is None:
        return []
    jpegs = {"thermal": pictures.thermal, "RGB": pictures.rgb, "fused": pictures.fused}
    return [(name, data_url(jpeg, "jpeg")) for name, jpeg in jpegs.items()]


def _values(evaluation: Evaluation, frame: FrameRecord, share: Mapping[str, float]) -> list[_Cell]:
    """Return a frame's figures; ``share`` is its place among the method's frames, up to 1 for the last."""
    cells = []
    for column in evaluation.columns:
        value = frame.values.get(column.key, math.nan)
        mark = "high" if share[column.key] <= _QUARTER else "low" if share[column.key] > 1.0 - _QUARTER else ""
        mark = "" if math.isnan(value) else mark
        cells.append(_Cell(figure(value, [value]), mark, name=column.metric.name))
    return cells


def _pairing(source: SourceFacts) -> dict[str, str]:
    return {
        "name": source.name,
        "kind": source.kind,
        "path": source.path,
        "received": sensors_in_words(source.received),
        "paired": str(source.paired),
        "dropped": dropped_in_words(source.dropped),
        "offsets": offset_in_words(source),
    }


def _times_in_all(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return method, mean, median and 95th percentile in ms, and frames a second."""
    totals = {method: found["total"] for method, found in evaluation.stage_ms.items() if "total" in found}
    columns = [[total[name] for total in totals.values()] for name in ("mean", "p50", "p95")]
    columns.append([1e3 / mean if mean > 0.0 else math.inf for mean in columns[0]])
    return list(zip(totals, *([figure(value, column) for value in column] for column in columns), strict=True))
