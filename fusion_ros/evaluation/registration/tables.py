"""Aligners against one another as tables, the same in Markdown and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..document import Document, Table
from ..results import AS_RECORDED
from .parallax import EVERYWHERE, FEWEST, OUTLINES, TABLE, WHOLE, ParallaxSummary
from .quality import TRUTH
from .results import FAR_PX, AlignmentEvaluation, Summary

__all__ = ["document", "markdown", "tables"]


def tables(evaluation: AlignmentEvaluation) -> list[Table]:
    """Return what is worth reading: the known part, the label error, the pairs as recorded, failures and times.

    Of rendered pairs: the errors over all pixels, by distance, failures and times.
    """
    if evaluation.parallax:
        by_distance = [_by_distance(evaluation, place) for place in (EVERYWHERE, OUTLINES)]
        return [_of_parallax(evaluation), *by_distance, _failures(evaluation)]
    stressed = [name for name in evaluation.conditions if name != AS_RECORDED]
    found = [_of_known_part(evaluation, stressed)] if stressed else []
    found.append(_as_recorded(evaluation))
    if stressed:
        note = "Distance from the pairs' own labels: mean px (median)."
        found.append(_by_condition(evaluation, "Label error", note, stressed, _label_cell))
        found += [_of_quality(evaluation, stressed, metric) for metric in evaluation.metrics]
    return [*found, _failures(evaluation)]


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
        believed = sum(s.believed for s in summaries) / max(1, sum(s.images for s in summaries))
        milliseconds = _milliseconds(evaluation, aligner.name)
        rows.append([aligner.name, *cells, _px(mean), _px(label), _share(believed), milliseconds])
    means = [[s.known_mean for s in summaries] + [mean] for summaries, mean in zip(found, overall, strict=True)]
    return Table(
        "Known part error",
        "Answer on the deformed pair against the answer on the pair as recorded and the known deformation: mean "
        f"px (median), share of images above {FAR_PX:g} px; believed: share of the answers that the pipeline "
        "would take; median ms a call. An aligner that falls into the same wrong place every time is consistent, "
        "too: a label error as recorded that is far larger than the others' gives it away.",
        ["aligner", *conditions, "mean of all", "label, as recorded", "believed", "ms"],
        rows,
        _best_of_columns(means),
    )


def _as_recorded(evaluation: AlignmentEvaluation) -> Table:
    rows = []
    for aligner in evaluation.aligners:
        found = evaluation.summary(aligner.name, AS_RECORDED)
        added = (found.known_mean, found.known_median, evaluation.gated(aligner.name), found.label_mean)
        believed = f"{found.believed} of {found.images}"
        cells = [*map(_px, added[:3]), believed, _px(added[3]), _milliseconds(evaluation, aligner.name)]
        rows.append([aligner.name, *cells])
    return Table(
        "As recorded",
        "Added error: how far the aligner moves its own result when it is run once more; gated: what the pipeline "
        "takes of that, which leaves a pair alone that gets no better; believed: on how many pairs it does. Label "
        "error: how far the aligner moves the pair from its own label, whose offset is not known. Mean px; median "
        "ms a call.",
        ["aligner", "added", "added, median", "added, gated", "believed", "label", "ms"],
        rows,
    )


def _of_parallax(evaluation: AlignmentEvaluation) -> Table:
    rows, values = [], []
    for aligner in evaluation.aligners:
        found = evaluation.at_distance(aligner.name)
        outlines = evaluation.at_distance(aligner.name, place=OUTLINES).mean_px
        by_kind = [evaluation.summary(aligner.name, name).known_mean for name in evaluation.conditions]
        believed = sum(evaluation.summary(aligner.name, name).believed for name in evaluation.conditions)
        taken = evaluation.gated(aligner.name)
        values.append([found.mean_px, found.median_px, found.p90_px, found.far, outlines, *by_kind, taken])
        cells = [*map(_px, values[-1][:3]), _share(found.far), *map(_px, values[-1][4:])]
        milliseconds = _milliseconds(evaluation, aligner.name)
        rows.append([aligner.name, *cells, f"{believed} of {found.pairs}", milliseconds])
    pairs = evaluation.at_distance(evaluation.aligners[0].name).pairs
    return Table(
        "Parallax",
        "Distance from the exact flow over the pixels that both cameras see, px: mean, median, and what nine of "
        f"ten pixels stay below; share of the pixels above {FAR_PX:g} px; the mean on outlines that both cameras "
        f"see. Means over {pairs} rendered pairs, each of which counts alike. Then the mean by what they show; "
        "gated: the mean as the pipeline takes it, which does nothing where it does not believe an answer; "
        "believed: how many it does; median ms a call.",
        ["aligner", "mean", "median", "p90", f"above {FAR_PX:g} px", "outlines", *evaluation.conditions, "gated",
         "believed", "ms"],
        rows,
        _best_of_columns(values),
    )  # fmt: skip


def _by_distance(evaluation: AlignmentEvaluation, place: str) -> Table:
    names = [aligner.name for aligner in evaluation.aligners]
    at = {span: [evaluation.at_distance(name, span, place) for name in names] for span in (WHOLE, *TABLE)}
    at = {span: found for span, found in at.items() if found[0].pairs}  # all are compared over the same pixels
    cells = [[_by_distance_cell(found[row]) for found in at.values()] for row in range(len(names))]
    shares = [f"{_share(found[0].pixels / at[WHOLE][0].pixels)}, {found[0].pairs}" for found in at.values()]
    means = [[found[row].mean_px for found in at.values()] for row in range(len(names))]
    return Table(
        f"Parallax by distance, {place}",
        f"Mean px (median), what nine of ten pixels stay below, share above {FAR_PX:g} px; means over the pairs "
        f"that have at least {FEWEST} pixels there.",
        ["aligner", *(span.name for span in at)],
        [*([name, *row] for name, row in zip(names, cells, strict=True)), ["share of the pixels, pairs", *shares]],
        _best_of_columns(means),
    )


def _by_distance_cell(found: ParallaxSummary) -> str:
    return f"{_px(found.mean_px)} ({_px(found.median_px)}), {_px(found.p90_px)}, {_share(found.far)}"


def _of_quality(evaluation: AlignmentEvaluation, conditions: Sequence[str], metric: str) -> Table:
    rows = []
    for aligner in (TRUTH, *(aligner.name for aligner in evaluation.aligners)):
        found = [evaluation.fused_quality(aligner, name, metric) for name in conditions]
        rows.append([aligner, *(_quality_cell(each.mean, each.kept) for each in found)])
    return Table(
        f"Fused quality, {metric}",
        "Of the deformed pair, aligned and fused by Laplacian pyramids, against the RGB image and the undeformed "
        "thermal image as the same aligner lays it: mean, and its share of what fusing those two gives. The true "
        "answer loses what sampling takes.",
        ["aligner", *conditions],
        rows,
    )


def _quality_cell(mean: float, kept: float) -> str:
    return "-" if math.isnan(mean) else f"{mean:.3f} ({100.0 * kept:.1f} %)"


def _failures(evaluation: AlignmentEvaluation) -> Table:
    return _by_condition(
        evaluation,
        "Failures",
        "Images on which the aligner found nothing; the flow that it gave, zero as a rule, is measured.",
        evaluation.conditions,
        lambda s: f"{s.failures} of {s.images}",
    )


def _best_of_columns(values: Sequence[Sequence[float]]) -> frozenset[tuple[int, int]]:
    """Return row and column of the smallest value of each column, counted after the aligners' names."""
    return frozenset(
        (row, column + 1) for column in range(len(values[0])) for row in _least([line[column] for line in values])
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
