"""Aligners against one another as tables, the same in Markdown and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..document import Document, Table
from ..results import AS_RECORDED
from .results import FAR_PX, AlignmentEvaluation, Summary

__all__ = ["document", "markdown", "tables"]


def tables(evaluation: AlignmentEvaluation) -> list[Table]:
    """Return what is worth reading: the known part, the label error, the pairs as recorded, failures and times."""
    stressed = [name for name in evaluation.conditions if name != AS_RECORDED]
    found = [_of_known_part(evaluation, stressed)] if stressed else []
    found.append(_as_recorded(evaluation))
    if stressed:
        note = "Distance from the pairs' own labels: mean px (median)."
        found.append(_by_condition(evaluation, "Label error", note, stressed, _label_cell))
    found.append(
        _by_condition(
            evaluation,
            "Failures",
            "Images on which the aligner found nothing; the flow that it gave, zero as a rule, is measured.",
            evaluation.conditions,
            lambda s: f"{s.failures} of {s.images}",
        )
    )
    return found


def document(evaluation: AlignmentEvaluation) -> Document:
    """Return what is worth reading, in order, with how it was made."""
    return Document("Alignment", tables(evaluation), evaluation.aligners, evaluation.problems, evaluation.facts)


def markdown(evaluation: AlignmentEvaluation) -> str:
    """Return the evaluation as a document in Markdown; in each column the best is bold."""
    return document(evaluation).markdown()


def _of_known_part(evaluation: AlignmentEvaluation, conditions: Sequence[str]) -> Table:
    found = [[evaluation.summary(a.name, name) for name in conditions] for a in evaluation.aligners]
    overall = [evaluation.overall(aligner.name) for aligner in evaluation.aligners]
    rows = []
    for aligner, summaries, mean in zip(evaluation.aligners, found, overall, strict=True):
        cells = [f"{_px(s.known_mean)} ({_px(s.known_median)}), {_share(s.far)}" for s in summaries]
        label = evaluation.summary(aligner.name, AS_RECORDED).label_mean
        rows.append([aligner.name, *cells, _px(mean), _px(label), _milliseconds(evaluation, aligner.name)])
    means = [[s.known_mean for s in summaries] + [mean] for summaries, mean in zip(found, overall, strict=True)]
    best = {(row, column + 1) for column in range(len(means[0])) for row in _least([m[column] for m in means])}
    return Table(
        "Known part error",
        "Answer on the deformed pair against the answer on the pair as recorded and the known deformation: mean "
        f"px (median), share of images above {FAR_PX:g} px; median ms a call. An aligner that falls into the same "
        "wrong place every time is consistent, too: a label error as recorded that is far larger than the others' "
        "gives it away.",
        ["aligner", *conditions, "mean of all", "label, as recorded", "ms"],
        rows,
        frozenset(best),
    )


def _as_recorded(evaluation: AlignmentEvaluation) -> Table:
    rows = []
    for aligner in evaluation.aligners:
        found = evaluation.summary(aligner.name, AS_RECORDED)
        cells = [_px(value) for value in (found.known_mean, found.known_median, found.label_mean)]
        rows.append([aligner.name, *cells, _milliseconds(evaluation, aligner.name)])
    return Table(
        "As recorded",
        "Added error: how far the aligner moves its own result when it is run once more. Label error: how far it "
        "moves the pair from its own label, whose offset is not known. Mean px; median ms a call.",
        ["aligner", "added", "added, median", "label", "ms"],
        rows,
    )


def _by_condition(
    evaluation: AlignmentEvaluation,
    title: str,
    note: str,
    conditions: Sequence[str],
    cell: Callable[[Summary], str],
) -> Table:
    rows = [
        [a.name, *(cell(evaluation.summary(a.name, name)) for name in conditions)] for a in evaluation.aligners
    ]
    return Table(title, note, ["aligner", *conditions], rows)


def _label_cell(found: Summary) -> str:
    return f"{_px(found.label_mean)} ({_px(found.label_median)})"


def _least(values: Sequence[float]) -> list[int]:
    """Return the places of the smallest value as it is shown; none where there is nothing to compare."""
    shown = [round(value, 2) for value in values if math.isfinite(value)]
    if len(shown) < 2:
        return []
    return [place for place, value in enumerate(values) if round(value, 2) == min(shown)]


def _px(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100.0 * value:.0f} %"


def _milliseconds(evaluation: AlignmentEvaluation, aligner: str) -> str:
    times = evaluation.times_ms(aligner)
    return f"{times['p50']:.1f}" if times else "-"
